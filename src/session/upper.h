/* SPDX-License-Identifier: Apache-2.0 */
/* Where copy-on-write workspaces put what was changed in them:
 *
 *   STATE/workspaces/ID/   0700, ours; .new.ID while it is being made
 *     lock                 write-locked (OFD) for as long as something may write there
 *     plan                 the sealed plan: which workspace, and what may not land in it
 *     meta                 since when, for which session
 *     upper, work          overlayfs's own: upper is what a hostile program left
 *
 * A directory in whose upper nothing is goes when the session ends; any other stays until
 * somebody has applied or discarded it. */
#ifndef IMMURE_SESSION_UPPER_H
#define IMMURE_SESSION_UPPER_H

#include <limits.h>
#include <time.h>

#include "plan/plan.h"
#include "session/registry.h"

struct immure_upper {
	char path[PATH_MAX]; /* "" = none */
	char id[IMMURE_ID_LEN + 1];
	int lock_fd;
};

#define IMMURE_UPPER_INIT { .lock_fd = -1 }

struct immure_upper_meta {
	struct timespec since;            /* CLOCK_REALTIME_COARSE, before anything ran */
	uint64_t created_ms;
	char session[IMMURE_ID_LEN + 1];  /* "" = a run */
	uint64_t dev, ino;                /* of the workspace */
};

/* Where the plan's changes are to be kept; NULL: nothing is. */
const struct immure_op *immure_upper_op(const struct immure_plan *p);
/* Makes one, locked. session: its id, "" for a run: that is the id of this too. */
int32_t immure_upper_make(const struct immure_plan *p, const char *session, struct immure_upper *ret,
			  struct immure_error **err);
/* Before anything was written there: it is as changed since then. 0 or -errno. */
int immure_upper_set_since(const struct immure_upper *u, const struct timespec *since);
/* When nothing writes there any more: 1 it stays, 0 there was nothing and it is gone, or
 * -errno. Lets go of the lock. Once more: 0. */
int immure_upper_end(struct immure_upper *u);

/* For those who look later. Opens STATE/workspaces/ID; -ENOENT, -EPERM ... */
int immure_upper_open(const char *state_dir, const char *id, int *ret_dir);
int immure_upper_meta(int dir, struct immure_upper_meta *ret);
/* The plan that it was made for; the caller destroys it. */
int32_t immure_upper_plan(int dir, struct immure_plan **ret, struct immure_error **err);
/* Takes the lock: a descriptor, or -EAGAIN: it is in use. */
int immure_upper_lock(int dir);
/* Nothing is in its upper. */
bool immure_upper_is_empty(int dir);
/* Removes all of it. The lock must be held. */
int immure_upper_remove(const char *state_dir, const char *id);
/* Each id, half-made ones (".new.ID") as they are called. */
int immure_upper_each(const char *state_dir, int (*each)(void *ctx, const char *name), void *ctx);

#endif
