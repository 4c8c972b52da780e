/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_SESSION_JANITOR_H
#define IMMURE_SESSION_JANITOR_H

#include "kernel/cgroup.h"

/* A cgroup directory outlives everything that is killed, so a session with one
 * has a child that only waits for its supervisor's end and then removes the
 * leaf. It is started before the leaf is made, and holds one pipe end and the
 * leaf's paths. */
struct immure_janitor {
	int pid;
	int pipe_fd;
};

#define IMMURE_JANITOR_INIT { .pid = -1, .pipe_fd = -1 }

/* The child is one that waits for any child do not see (__WCLONE).
 * dir: a directory to be removed as well with all that is in it, NULL = none.
 * after: called there when the supervisor died and these are removed, so that
 * nothing of the session runs any more; may be NULL. */
int immure_janitor_start(struct immure_janitor *j, struct immure_cgroup *c, const char *dir,
			 void (*after)(void *), void *ctx);
/* The leaf was removed in the ordinary way. */
void immure_janitor_dismiss(struct immure_janitor *j);

#endif
