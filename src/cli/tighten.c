/* SPDX-License-Identifier: Apache-2.0 */
/* tighten deny|read-only: paths that a living session may not reach or change any more. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/session.h"

/* Paths of the session; a relative one is meant from where we are, as elsewhere. */
static char *arguments(const char *verb, int argc, char **argv)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char real[PATH_MAX];

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_array(&w, strcmp(verb, "deny") == 0 ? "deny" : "read_only");
	for (int i = 0; i < argc; i++)
		immure_jsonw_str(&w, NULL, argv[i][0] != '/' && realpath(argv[i], real) ? real : argv[i]);
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&b);
}

int immure_cli_tighten(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct immure_runflags f;
	immure_session *session = NULL;
	char *text;
	int next, status;

	if (strcmp(verb, "deny") != 0 && strcmp(verb, "read-only") != 0 && verb[0] != '-') {
		immure_cli_say("tighten: deny or read-only? immure tighten deny SESSION PATH");
		return IMMURE_EXIT_FAILED;
	}
	/* Options follow the verb: it takes the place of the command's name. */
	status = immure_cli_session_open("tighten", verb[0] == '-' ? argc : argc - 1,
					 verb[0] == '-' ? argv : argv + 1, &f, &session, &next);
	if (status != IMMURE_CLI_GO_ON)
		return status;
	argc--;
	argv++;
	if (next >= argc) {
		immure_cli_say("tighten: %s: which path?", verb);
		status = IMMURE_EXIT_FAILED;
	} else {
		text = arguments(verb, argc - next, argv + next);
		status = immure_cli_session_ask(session, "tighten", text, f.json);
		free(text);
	}
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
