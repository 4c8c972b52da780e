/* SPDX-License-Identifier: Apache-2.0 */
/* What the attacker is told to attack: lines "KIND VALUE", derived from the
 * plan and the bait alone, so that the judge can derive them again. */
#ifndef IMMURE_EVIDENCE_TARGETS_H
#define IMMURE_EVIDENCE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct immure_plan;
struct immure_bait;

void immure_targets_write(const struct immure_plan *plan, const struct immure_bait *bait,
			  struct immure_buf *out);
/* How many lines of this kind text has. */
size_t immure_targets_count(const char *text, const char *kind);
/* The value of the first line of this kind as a number, 0 when there is none. */
uint64_t immure_targets_number(const char *text, const char *kind);
/* The value of a limit line "rlimit NAME N". */
bool immure_targets_rlimit(const char *text, const char *name, uint64_t *ret);

#endif
