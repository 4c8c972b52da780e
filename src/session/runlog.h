/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a run of one command (policy key journal): in a directory of its own
 * below the one that the policy names, written as a session's is. */
#ifndef IMMURE_SESSION_RUNLOG_H
#define IMMURE_SESSION_RUNLOG_H

#include "plan/plan.h"
#include "session/journal.h"

struct immure_runlog {
	struct immure_journal journal; /* fd -1: the plan asks for none */
	int dir_fd;
	uint64_t session_seq, exec_seq;
};

#define IMMURE_RUNLOG_INIT { .journal = IMMURE_JOURNAL_INIT, .dir_fd = -1 }

/* Does nothing when the plan asks for none. */
int32_t immure_runlog_open(const struct immure_plan *plan, struct immure_runlog *ret,
			   struct immure_error **err);
/* Before the command can start; when it fails, do not start it. */
int32_t immure_runlog_asked(struct immure_runlog *l, const char *command, struct immure_error **err);
/* A refusal or a denial. */
void immure_runlog_denied(struct immure_runlog *l, const char *what, const char *why);
/* All is over; why: of what did not start, NULL = it ran, and ended so. */
void immure_runlog_done(struct immure_runlog *l, int exit_status, const char *why);

#endif
