/* SPDX-License-Identifier: Apache-2.0 */
/* One way to make a plan true. Choosing and explaining are the planner's; what
 * is here only starts the process that is, or becomes, the session's init. */
#ifndef IMMURE_BACKEND_BACKEND_H
#define IMMURE_BACKEND_BACKEND_H

#include <stdbool.h>

#include "base/error.h"
#include "kernel/cgroup.h"
#include "plan/plan.h"

struct immure_backend_child {
	int pid;
	int pidfd;
};

struct immure_backend {
	const char *name; /* as plan->backend */

	/* Whether the child waits for id maps that are written from outside; may be
	 * NULL, then write_maps is too. */
	bool (*maps_outside)(const struct immure_plan *p);
	int32_t (*write_maps)(const struct immure_plan *p, int pid, struct immure_error **err);

	/* Makes the child. In it entry(ctx) is called, which must not return. cgroup:
	 * NULL, or what the child is put into where that can be done at birth. */
	int32_t (*spawn)(const struct immure_plan *p, const struct immure_cgroup *cgroup,
			 void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret,
			 struct immure_error **err);

	/* Called in the child when its streams are in place. NULL: the child is
	 * init already. Else it executes the program that leads to init, which is
	 * handed report_fd (see init/message.h); returns -errno when it could not,
	 * and in *ret_what what failed. No allocation, no locks. */
	int (*become)(const struct immure_plan *p, int report_fd, const char **ret_what);
};

/* NULL: this build has none of that name. */
const struct immure_backend *immure_backend_by_name(const char *name);

#endif
