/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroup leaves for the sandboxes of a pool with a template, made before the template,
 * which has their descriptors: one for each command at a time, and another's when
 * nothing of the one before is in it any more. */
#ifndef IMMURE_SESSION_POOL_LEAVES_H
#define IMMURE_SESSION_POOL_LEAVES_H

#include "base/error.h"
#include "kernel/cgroup.h"
#include "plan/plan.h"
#include "session/janitor.h"

struct immure_pool_leaves {
	struct immure_cgroup *v;
	uint32_t n;
	struct immure_janitor janitor;
};

#define IMMURE_POOL_LEAVES_INIT { .janitor = IMMURE_JANITOR_INIT }

/* count of them, with the plan's limits; none where the plan has no leaf. */
int32_t immure_pool_leaves_make(struct immure_pool_leaves *l, const struct immure_plan *plan,
				uint32_t count, struct immure_error **err);
/* When nothing runs in them. From any state; 0 or -errno when one could not be removed. */
int immure_pool_leaves_done(struct immure_pool_leaves *l);

#endif
