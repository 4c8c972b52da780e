/* SPDX-License-Identifier: Apache-2.0 */
/* A session that waits was set up by a plan without a workspace: cgroup, namespaces,
 * identity, network and the mounts that everybody gets. It becomes what a caller's
 * plan says if that plan only adds to what is done already. Then all of the caller's
 * plan is applied in the end, in an order that leaves the same as its own would. */
#ifndef IMMURE_PLAN_FIT_H
#define IMMURE_PLAN_FIT_H

#include "plan/plan.h"

/* *ret_now: for each operation of the caller's plan whether it is to be applied to
 * the session still, of the MOUNT stage; allocated in a. -IMMURE_ERR_POLICY with the
 * policy key that the plans differ in: the session cannot become that, or the plan
 * asks for more than the pool's: writable places beside the workspace, hosts. */
int32_t immure_plan_fit(const struct immure_plan *base, const struct immure_plan *plan,
			struct immure_arena *a, bool **ret_now, struct immure_error **err);
/* What is mounted now covers what was mounted below it: that is to be done again. */
void immure_plan_cover(const struct immure_plan *plan, bool *now);

#endif
