/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a session's view of files that every plan with an empty root begins with: id
 * maps, a private tree of mounts, a root of our own and in it a /dev. The maker (ahead.h)
 * makes it in the namespaces that init is born in, while the plan is made. What the plan
 * says of it is compared before init is born there, and init goes on from it.
 */
#ifndef IMMURE_BACKEND_AHEAD_VIEW_H
#define IMMURE_BACKEND_AHEAD_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/mount.h"
#include "plan/plan.h"

struct immure_ahead_view {
	bool wanted;
	int root_fd; /* of the new root's mount, in the table that maker and caller share; -1 = none */
	uint64_t ids[4]; /* as those of IDMAP */
	char uid_map[64], gid_map[64];
	struct immure_mount_words root;
};

/* In the caller, before there is a maker. ids: as those of IDMAP. */
void immure_ahead_view_init(struct immure_ahead_view *v, const uint64_t ids[4]);
/* In the maker, on memory that it shares: system calls only. 0 or -errno, and then the
 * namespaces are of no use. */
long immure_ahead_view_make(struct immure_ahead_view *v);
/* Whether that is what the plan says. */
bool immure_ahead_view_fits(const struct immure_ahead_view *v, const struct immure_plan *p);

#endif
