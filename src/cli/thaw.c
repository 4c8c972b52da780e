/* SPDX-License-Identifier: Apache-2.0 */
/* Lets a frozen session go on. */
#include "cli/session.h"

int immure_cli_thaw(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("thaw", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = immure_cli_session_ask(session, "thaw", NULL, f.json);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
