/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the sealed form; seal.c describes it. */
#ifndef IMMURE_PLAN_SEAL_H
#define IMMURE_PLAN_SEAL_H

#include <stdatomic.h>

#include "plan/compile.h"

#define IMMURE_SEAL_MAGIC "IMPL"
#define IMMURE_SEAL_VERSION 1u
#define IMMURE_SEAL_FIXED 7u /* strings in the header */
#define IMMURE_SEAL_HEADER (4u + 4u + 8u + 4u * 5u + 4u * IMMURE_SEAL_FIXED)
#define IMMURE_SEAL_OPS_MAX 65536u
#define IMMURE_SEAL_GAPS_MAX 4096u
#define IMMURE_SEAL_LEN_MAX (64u * 1024u * 1024u)

/* state: 0 not computed, 1 somebody is writing it, 2 there. */
struct immure_plan_digest {
	_Atomic int state;
	char text[65];
};
/* check.c: what is wrong, NULL = nothing. */
const char *immure_plan_check_op(const struct immure_op *op, uint32_t least_stage);
const char *immure_plan_check_whole(const struct immure_plan *p);

bool immure_plan_add_digest(struct immure_plan *p);
void immure_plan_set_digest(struct immure_plan_digest *d, const unsigned char digest[32]);

#endif
