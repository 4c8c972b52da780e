/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what is recorded of sessions that have ended; --force ends them first. */
#include <string.h>

#include "cli/session.h"

static int remove_one(const char *name, const struct immure_runflags *f)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_error *err = NULL;
	immure_session *session = NULL;

	if (f->force && immure_session_open(name, &o, &session, NULL) == 0) {
		int32_t r = immure_session_stop(session, 0, IMMURE_SESSION_REMOVE, &err);

		immure_session_free(session);
		return r < 0 ? immure_cli_fail(err) : 0;
	}
	return immure_session_remove(name, &o, &err) < 0 ? immure_cli_fail(err) : 0;
}

int immure_cli_rm(int argc, char **argv)
{
	struct immure_runflags f;
	int status = immure_runflags_parse("rm", argc, argv, &f), worst = 0;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first >= argc) {
		immure_cli_say("rm: which session? `immure ps --all` lists them");
		worst = IMMURE_EXIT_FAILED;
	}
	for (int i = f.first; i < argc; i++) {
		status = remove_one(argv[i], &f);
		worst = status ? status : worst;
	}
	if (f.json && !worst)
		worst = immure_cli_print("{\"removed\":true}\n");
	immure_runflags_done(&f);
	return worst;
}
