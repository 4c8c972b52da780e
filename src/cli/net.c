/* SPDX-License-Identifier: Apache-2.0 */
/* net show|allow|deny: the rules of a living session's network. */
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/session.h"

static char *arguments(const char *verb, int argc, char **argv)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	if (strcmp(verb, "show") != 0) {
		immure_jsonw_array(&w, verb);
		for (int i = 0; i < argc; i++)
			immure_jsonw_str(&w, NULL, argv[i]);
		immure_jsonw_end(&w, ']');
	}
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&b);
}

int immure_cli_net(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool show = strcmp(verb, "show") == 0;
	struct immure_runflags f;
	immure_session *session = NULL;
	char *text;
	int next, status;

	if (!show && strcmp(verb, "allow") != 0 && strcmp(verb, "deny") != 0 && verb[0] != '-') {
		immure_cli_say("net: show, allow or deny? immure net show SESSION");
		return IMMURE_EXIT_FAILED;
	}
	/* Options follow the verb: it takes the place of the command's name. */
	status = immure_cli_session_open("net", verb[0] == '-' ? argc : argc - 1,
					 verb[0] == '-' ? argv : argv + 1, &f, &session, &next);
	if (status != IMMURE_CLI_GO_ON)
		return status;
	argc--;
	argv++;
	if (!show && next >= argc) {
		immure_cli_say("net: %s: which host? such as example.com:443", verb);
		status = IMMURE_EXIT_FAILED;
	} else {
		text = arguments(verb, argc - next, argv + next);
		status = immure_cli_session_ask(session, "net", text, f.json);
		free(text);
	}
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
