/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modes and times of files, where Landlock does not look at them and there are no mounts
 * that would keep them: whoever owns a file may change them, wherever it is. So no command
 * may. What lies where the plan lets it write is changed for it, by the supervisor: the
 * path is read once, resolved here beneath such a place and never out of it, and what was
 * found is changed by its descriptor. What the kernel would not let the caller do, or what
 * would make a program run as somebody else, is not done.
 */
#ifndef IMMURE_SESSION_METADATA_H
#define IMMURE_SESSION_METADATA_H

#include "kernel/notify.h"
#include "plan/plan.h"

struct immure_metadata {
	int listener_fd; /* -1 = none; with names it is the broker's */
	const struct immure_plan *plan;
	const char *session_dir; /* what the plan's SESSION_DIR stands for */
};

/* Answers what waits, a bounded number of calls; closes the listener when nobody is left. */
void immure_metadata_step(struct immure_metadata *m);
/* One that came by another's listener: 0, or -errno to be the answer. m may be NULL. */
int immure_metadata_answer(const struct immure_metadata *m, int listener_fd, const struct immure_notice *n);

#endif
