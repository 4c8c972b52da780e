/* SPDX-License-Identifier: Apache-2.0 */
/* What a session uses, once or every second. */
#include <time.h>

#include "cli/session.h"

int immure_cli_stats(int argc, char **argv)
{
	const struct timespec second = { .tv_sec = 1 };
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("stats", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	do {
		status = immure_cli_session_ask(session, "stats", NULL, f.json);
		if (status == 0 && f.session.follow && nanosleep(&second, NULL) < 0)
			break;
	} while (status == 0 && f.session.follow);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
