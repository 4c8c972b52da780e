/* SPDX-License-Identifier: Apache-2.0 */
/* The native backend: a child in new namespaces that becomes the session's
 * init. What it does inside is src/init's; choosing and explaining are the
 * planner's. */
#ifndef IMMURE_BACKEND_NATIVE_H
#define IMMURE_BACKEND_NATIVE_H

#include <stdbool.h>

#include "base/error.h"
#include "kernel/cgroup.h"
#include "plan/plan.h"

struct immure_native_child {
	int pid;
	int pidfd;
};

/* Whether the id maps must be written from outside: another identity than the
 * caller's own, sub-id ranges, or groups that only root can take away. */
bool immure_native_maps_outside(const struct immure_plan *p);

/* clone3 with the plan's namespaces (and into the v2 cgroup). In the child
 * entry(ctx) is called and must not return. */
int32_t immure_native_spawn(const struct immure_plan *p, const struct immure_cgroup *cgroup,
			    void (*entry)(void *ctx), void *ctx, struct immure_native_child *ret,
			    struct immure_error **err);

/* Writes the child's id maps; the child waits for it. */
int32_t immure_native_write_maps(const struct immure_plan *p, int pid, struct immure_error **err);

#endif
