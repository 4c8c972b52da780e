/* SPDX-License-Identifier: Apache-2.0 */
/* One way to make a plan true. Choosing and explaining are the planner's; what
 * is here only starts the process that is, or becomes, the session's init. */
#ifndef IMMURE_BACKEND_BACKEND_H
#define IMMURE_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/seen.h"
#include "base/error.h"
#include "kernel/cgroup.h"
#include "plan/plan.h"

struct immure_ahead;

struct immure_backend_child {
	int pid;
	int pidfd;
	int init_pidfd; /* where the child is not init itself, but leads to it */
	int ahead_fd;   /* the child gets its network namespace by it (ahead.h); -1 = makes it */
	struct immure_ahead *ahead; /* begun for this one, by whoever starts it; NULL = the plan's, if any */
	bool within;    /* it was born in a copy of mounts that many are made after (ahead.h) */
	bool filtered;  /* before: the child may be born under filters that were put on ahead; then,
			 * and in the child: it was */
	void (*meanwhile)(void *ctx); /* what is done while it is made; NULL, or not called: nothing */
	void *meanwhile_ctx;
	void *state;    /* the backend's own, from prepare to done */
};

struct immure_backend {
	const char *name; /* as plan->backend */

	/* Whether the child waits for id maps that are written from outside; may be
	 * NULL, then write_maps is too. */
	bool (*maps_outside)(const struct immure_plan *p);
	int32_t (*write_maps)(const struct immure_plan *p, int pid, struct immure_error **err);

	/* With become: what it will need, since a child allocates nothing. *ret_seen, one
	 * per operation, is for init and the backend's. done undoes it, from any state. */
	int32_t (*prepare)(const struct immure_plan *p, struct immure_backend_child *child,
			   const struct immure_backend_seen **ret_seen, struct immure_error **err);
	void (*done)(struct immure_backend_child *child);

	/* Makes the child. In it entry(ctx) is called, which must not return. cgroup:
	 * NULL, or what the child is put into where that can be done at birth. */
	int32_t (*spawn)(const struct immure_plan *p, const struct immure_cgroup *cgroup,
			 void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret,
			 struct immure_error **err);

	/* Called in the child, which is in its cgroup. NULL: the child is init already.
	 * Else it executes the program that leads to init, which is handed both
	 * descriptors (init/handover.h); returns -errno when it could not, and in
	 * *ret_what what failed. No allocation, no locks. */
	int (*become)(const struct immure_plan *p, struct immure_backend_child *self,
		      int report_fd, int handover_fd, const char **ret_what);
	/* What that program said when init did not arrive, in buf; "" = nothing. */
	void (*complaint)(struct immure_backend_child *child, char *buf, size_t len);
};

/* NULL: this build has none of that name. */
const struct immure_backend *immure_backend_by_name(const char *name);

#endif
