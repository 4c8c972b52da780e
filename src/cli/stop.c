/* SPDX-License-Identifier: Apache-2.0 */
/* Ends a session: SIGTERM to everything inside, then SIGKILL, then cleaning up. */
#include "cli/session.h"

int immure_cli_stop(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	struct immure_error *err = NULL;
	int next, status = immure_cli_session_open("stop", argc, argv, &f, &session, &next);
	uint64_t grace;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	grace = f.force ? 0 : f.session.has_grace ? f.session.grace_ms : 2000;
	status = 0;
	if (immure_session_stop(session, grace, f.session.remove ? IMMURE_SESSION_REMOVE : 0, &err) < 0)
		status = immure_cli_fail(err);
	else if (f.json)
		status = immure_cli_print("{\"state\":\"SEALED\"}\n");
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
