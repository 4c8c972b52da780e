/* SPDX-License-Identifier: Apache-2.0 */
/* The session's side of its network, made from outside, where it was another program
 * that made the namespace: whoever made the user namespace that owns it may enter
 * both, and nobody inside needs a right for it. */
#ifndef IMMURE_SESSION_PLUMB_H
#define IMMURE_SESSION_PLUMB_H

#include "plan/plan.h"
#include "session/gatekeeper.h"

/* init_pid, held by init_pidfd: inside, and waiting. Nothing when the plan needs none. */
int32_t immure_plumb_outside(const struct immure_plan *plan, int init_pid, int init_pidfd,
			     struct immure_gatekeeper *g, struct immure_error **err);

#endif
