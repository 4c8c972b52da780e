/* SPDX-License-Identifier: Apache-2.0 */
/* net show|allow|deny: the rules of a living session's network. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonr.h"
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

enum { VALUES = 4096 };

static void put(struct immure_buf *b, const char *name, const struct immure_jsonr *r,
		const struct immure_jsonr_value *v)
{
	const struct immure_jsonr_value *e;
	const char *sep = "";

	if (!v || v->type == IMMURE_JSON_NULL)
		return;
	immure_buf_printf(b, "%s: ", name);
	if (v->type == IMMURE_JSON_STRING)
		immure_buf_puts(b, v->text);
	else if (v->type != IMMURE_JSON_ARRAY)
		immure_buf_printf(b, "%lld", (long long)v->integer);
	else
		for (e = immure_jsonr_first(r, v); e; e = immure_jsonr_after(r, v, e), sep = ", ")
			immure_buf_printf(b, "%s%s", sep, e->text);
	immure_buf_puts(b, "\n");
}

/* One page as lines; how many denials were on it. The rules stand before the first. */
static long show_page(char *text, bool first, struct immure_buf *out)
{
	static const char *const keys[] = { "state", "way", "allow", "deny", "denials", "failures",
					    "untold" };
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	const struct immure_jsonr_value *network, *lines, *e;
	struct immure_jsonr r;
	long n = 0;

	if (v && immure_jsonr_parse(&r, text, strlen(text), v, VALUES) == 0) {
		network = immure_jsonr_get(&r, v, "network");
		if (first)
			put(out, "mode", &r, immure_jsonr_get(&r, v, "mode"));
		for (size_t i = 0; first && i < sizeof(keys) / sizeof(keys[0]); i++) {
			char name[32] = "network.";

			(void)strcat(name, keys[i]); /* fits */
			put(out, name, &r, immure_jsonr_get(&r, network, keys[i]));
		}
		lines = immure_jsonr_get(&r, network, "lines");
		for (e = immure_jsonr_first(&r, lines); e; e = immure_jsonr_after(&r, lines, e), n++)
			immure_buf_printf(out, "  %s\n", e->text);
	}
	free(v);
	return n;
}

static int show_all(immure_session *session)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	size_t from = 1;
	int status = 0;
	long n = 1;

	while (n > 0 && status == 0) {
		struct immure_error *err = NULL;
		char arguments[64], *text = NULL;

		(void)snprintf(arguments, sizeof(arguments), "{\"from\":%zu}", from);
		if (immure_session_request(session, "net", arguments, &text, &err) < 0) {
			status = immure_cli_fail(err);
			break;
		}
		n = show_page(text, from == 1, &out);
		from += (size_t)n;
		immure_string_free(text);
	}
	if (status == 0)
		status = immure_cli_print(immure_buf_ok(&out) ? out.data : NULL);
	immure_buf_done(&out);
	return status;
}

static bool is_verb(const char *word)
{
	return strcmp(word, "show") == 0 || strcmp(word, "allow") == 0 || strcmp(word, "deny") == 0;
}

/* Changes the rules, and shows how they are then. */
static int change(immure_session *session, const char *verb, int argc, char **argv, bool json)
{
	struct immure_error *err = NULL;
	char *text = arguments(verb, argc, argv), *answer = NULL;
	int status = 0;

	if (immure_session_request(session, "net", text, &answer, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = json ? immure_cli_print_json(answer) : show_all(session);
	free(text);
	immure_string_free(answer);
	return status;
}

int immure_cli_net(int argc, char **argv)
{
	const char *verb;
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status;
	bool show;

	if (argc > 2 && argv[1][0] != '-' && !is_verb(argv[1]) && is_verb(argv[2])) {
		char *first = argv[1]; /* the session's name may come first */

		argv[1] = argv[2];
		argv[2] = first;
	}
	verb = argc > 1 ? argv[1] : "";
	show = strcmp(verb, "show") == 0;
	if (!is_verb(verb) && verb[0] != '-') {
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
	} else if (show && !f.json) {
		status = show_all(session);
	} else {
		status = change(session, verb, argc - next, argv + next, f.json);
	}
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
