/* SPDX-License-Identifier: Apache-2.0 */
/* run --cleanup: the command runs in a session, which stays for whoever wants to look at
 * what a failure left. */
#include "cli/session.h"

static bool wants_more(const struct immure_runflags *f)
{
	return f->result || f->prove || f->trace_time || f->session.pool || f->session.session;
}

static void keep(immure_session *session)
{
	struct immure_error *err = NULL;

	if (immure_session_detach(session, &err) < 0) {
		(void)immure_cli_fail(err); /* the command's status stands */
		return;
	}
	immure_cli_say("kept for inspection: immure exec %s -- COMMAND; end it with: immure stop --rm %s",
		       immure_session_id(session), immure_session_id(session));
}

int immure_cli_run_kept(struct immure_runflags *f, const char *const *argv)
{
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	int status;

	if (wants_more(f)) {
		immure_cli_say("run: --cleanup: a run in a session has no --result, --prove or --trace-time, and "
			       "is of its own");
		return IMMURE_EXIT_FAILED;
	}
	if (immure_cli_create_session(f, true, &session, &err) < 0)
		return immure_cli_fail(err);
	f->cwd = NULL; /* the session starts there */
	status = immure_cli_exec_in(session, f, argv);
	if (f->session.keep_always || status != 0)
		keep(session);
	immure_session_free(session);
	return status;
}
