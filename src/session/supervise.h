/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor of one session: makes it, stands between it and the caller
 * (streams, terminal, signals, limits), takes it down, and accounts for it. */
#ifndef IMMURE_SESSION_SUPERVISE_H
#define IMMURE_SESSION_SUPERVISE_H

#include <stdbool.h>

#include "plan/plan.h"
#include "session/result.h"

/* A program that is executed inside before the command, exactly as the command
 * would be; the command is started only when judge() says so. */
struct immure_before {
	int program_fd; /* an ELF file, executed by descriptor */
	int stdin_fd;
	int report_fd;  /* its descriptor 3 */
	int timeout_ms;
	/* wait status of the program, -1: killed after the timeout. 0 goes on; 1
	 * ends the session, and the result says refused; a negative code with err
	 * set is a failure. */
	int32_t (*judge)(void *ctx, int status, struct immure_result *result,
			 struct immure_error **err);
	void (*release)(void *ctx); /* nothing of this is needed any more; may be NULL */
	void *ctx;
};

struct immure_supervise_options {
	int stdio[3];           /* borrowed; -1 = /dev/null */
	int control_fd;         /* -1, or where requests come from: its end ends the session */
	int notes_fd;           /* -1, or where lines go while the command runs */
	bool trace;
	bool count;             /* also record what costs something: processes, plan hash */
	const char *egress;     /* path of immure-egress; NULL: the installed one */
	const char *state_dir;  /* for the quarantine, may be NULL */
	const char *approval;   /* a token of the mediator's, may be NULL */
	const struct immure_before *before; /* may be NULL */
};

/* A request on control_fd: one datagram. */
enum { IMMURE_CONTROL_SIGNAL = 1, IMMURE_CONTROL_APPROVAL = 2, IMMURE_CONTROL_TOKEN = 128 };
struct immure_control_msg {
	uint32_t type;  /* APPROVAL: before the supervisor is started, value bytes of a token follow */
	int32_t value;
};

int32_t immure_session_supervise(const struct immure_plan *plan,
				 const struct immure_supervise_options *options,
				 struct immure_result **ret, struct immure_error **err);

#endif
