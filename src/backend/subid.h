/* SPDX-License-Identifier: Apache-2.0 */
/* Id maps with the caller's sub-id range (subuid(5)), written by the setuid
 * helpers newuidmap(1) and newgidmap(1) from the system's directories. */
#ifndef IMMURE_BACKEND_SUBID_H
#define IMMURE_BACKEND_SUBID_H

#include <stdbool.h>

#include "base/error.h"
#include "plan/plan.h"

int32_t immure_subid_write_maps(const struct immure_op *op, int pid, struct immure_error **err);
/* First range in subuid(5) text for a user by name or number; false = none. */
bool immure_subid_range(const char *text, const char *user, uint32_t uid, uint32_t *ret_first,
			uint32_t *ret_count);

#endif
