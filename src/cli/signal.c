/* SPDX-License-Identifier: Apache-2.0 */
/* signal and kill: a signal to one exec's process group, or to everything inside. */
#include <stdlib.h>

#include "base/jsonw.h"
#include "cli/session.h"

static int send_signal(const char *command, const char *standard, int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *arguments;
	int next, status = immure_cli_session_open(command, argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "signal", f.session.user_signal ? f.session.user_signal : standard);
	if (f.session.has_exec)
		immure_jsonw_uint(&w, "exec", f.session.exec);
	immure_jsonw_end(&w, '}');
	arguments = immure_buf_take(&b);
	status = immure_cli_session_ask(session, "signal", arguments, f.json);
	free(arguments);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}

int immure_cli_signal(int argc, char **argv)
{
	return send_signal("signal", "TERM", argc, argv);
}

int immure_cli_kill(int argc, char **argv)
{
	return send_signal("kill", "KILL", argc, argv);
}
