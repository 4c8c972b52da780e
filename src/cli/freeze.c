/* SPDX-License-Identifier: Apache-2.0 */
/* Nobody in the session runs until it is thawed. */
#include "cli/session.h"

int immure_cli_freeze(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("freeze", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = immure_cli_session_ask(session, "freeze", NULL, f.json);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
