/* SPDX-License-Identifier: Apache-2.0 */
/* Who the command is inside, and who that is outside. */
#ifndef IMMURE_PLAN_IDENTITY_H
#define IMMURE_PLAN_IDENTITY_H

#include "policy/policy.h"

/* As num of IDMAP, for every identity but an image's. */
void immure_plan_ids(enum immure_identity identity, uint32_t uid, uint32_t gid, uint64_t ret[4]);

#endif
