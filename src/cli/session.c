/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonr.h"

struct immure_session_options immure_cli_session_options(char *path)
{
	struct immure_session_options o = { .size = sizeof(o), .env = (const char *const *)environ };

	if (immure_cli_own_program("immure", path))
		o.supervisor = path;
	return o;
}

int immure_cli_session_open(const char *command, int argc, char **argv, struct immure_runflags *flags,
			    immure_session **ret, int *ret_next)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_error *err = NULL;
	int status = immure_runflags_parse(command, argc, argv, flags);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (flags->first >= argc) {
		immure_cli_say("%s: which session? `immure ps` lists them", command);
		immure_runflags_done(flags);
		return IMMURE_EXIT_FAILED;
	}
	if (immure_session_open(argv[flags->first], &o, ret, &err) < 0) {
		immure_runflags_done(flags);
		return immure_cli_fail(err);
	}
	*ret_next = flags->first + 1;
	if (*ret_next < argc && strcmp(argv[*ret_next], "--") == 0)
		++*ret_next;
	return IMMURE_CLI_GO_ON;
}

int immure_cli_print_json(char *text)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *line;
	int status;

	immure_buf_puts(&b, text ? text : "");
	immure_buf_putc(&b, '\n');
	line = immure_buf_take(&b);
	status = immure_cli_print(line);
	free(line);
	return status;
}

enum { VALUES = 8192 };

static void put_list(struct immure_buf *b, const struct immure_jsonr *r, const struct immure_jsonr_value *v)
{
	for (const struct immure_jsonr_value *e = immure_jsonr_first(r, v); e; e = immure_jsonr_after(r, v, e)) {
		const struct immure_jsonr_value *m = e->type == IMMURE_JSON_OBJECT ? immure_jsonr_first(r, e) : e;

		for (; m; m = e == m ? NULL : immure_jsonr_after(r, e, m)) {
			immure_buf_putc(b, ' ');
			if (m->type == IMMURE_JSON_STRING)
				immure_buf_put_printable(b, m->text, m->len);
		}
		if (e->type == IMMURE_JSON_OBJECT && e->next < v->next)
			immure_buf_putc(b, ',');
	}
}

static void put_line(struct immure_buf *b, const struct immure_jsonr *r, const struct immure_jsonr_value *v,
		     const char *within)
{
	if (v->type == IMMURE_JSON_OBJECT) {
		for (const struct immure_jsonr_value *e = immure_jsonr_first(r, v); e;
		     e = immure_jsonr_after(r, v, e))
			put_line(b, r, e, v->key ? v->key : "");
		return;
	}
	if (v->type == IMMURE_JSON_NULL || (v->type == IMMURE_JSON_STRING && !v->len) ||
	    (v->type == IMMURE_JSON_ARRAY && !v->size))
		return;
	immure_buf_printf(b, "%s%s%s:%s", within, within[0] ? "." : "", v->key ? v->key : "",
			  v->type == IMMURE_JSON_ARRAY ? "" : " ");
	if (v->type == IMMURE_JSON_ARRAY)
		put_list(b, r, v);
	else if (v->type == IMMURE_JSON_STRING)
		immure_buf_put_printable(b, v->text, v->len);
	else if (v->type == IMMURE_JSON_BOOL)
		immure_buf_puts(b, v->integer ? "yes" : "no");
	else
		immure_buf_printf(b, "%lld", (long long)v->integer);
	immure_buf_putc(b, '\n');
}

int immure_cli_print_lines(char *text)
{
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonr r;
	char *lines;
	int status;

	if (v && immure_jsonr_parse(&r, text, strlen(text), v, VALUES) == 0)
		put_line(&b, &r, &v[0], "");
	lines = immure_buf_take(&b);
	status = immure_cli_print(lines);
	free(lines);
	free(v);
	return status;
}

int immure_cli_session_ask(immure_session *session, const char *op, const char *arguments, bool json)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int status;

	if (immure_session_request(session, op, arguments, &text, &err) < 0)
		return immure_cli_fail(err);
	status = json ? immure_cli_print_json(text) : immure_cli_print_lines(text);
	immure_string_free(text);
	return status;
}
