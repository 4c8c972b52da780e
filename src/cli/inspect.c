/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is known of a session. */
#include "cli/session.h"

int immure_cli_inspect(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("inspect", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = immure_cli_session_ask(session, "inspect", NULL, f.json);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
