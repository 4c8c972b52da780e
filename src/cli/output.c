/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a command's output, printed: stdout to ours, then stderr. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/jsonr.h"
#include "cli/session.h"

enum { VALUES = 64, DENIAL_VALUES = 4096 };

/* fd < 0: only reads on. One piece: bytes printed, 0 at the end, or -1 with an exit status in *ret. */
static long print_piece(char *text, int fd, uint64_t *cursor, int *ret)
{
	struct immure_jsonr_value v[VALUES];
	const struct immure_jsonr_value *data, *at;
	struct immure_jsonr r;
	long n;

	if (immure_jsonr_parse(&r, text, strlen(text), v, VALUES) < 0)
		return 0;
	data = immure_jsonr_get(&r, v, "data");
	at = immure_jsonr_get(&r, v, "cursor");
	if (!data || !at)
		return 0;
	if ((uint64_t)at->integer > *cursor)
		immure_cli_say("%llu bytes before this are not kept",
			       (unsigned long long)at->integer - (unsigned long long)*cursor);
	n = immure_base64_decode((char *)(uintptr_t)data->text, data->len);
	if (n > 0 && fd >= 0 && immure_write_all(fd, data->text, (size_t)n) < 0) {
		*ret = IMMURE_EXIT_FAILED;
		return -1;
	}
	*cursor = (uint64_t)at->integer + (n > 0 ? (uint64_t)n : 0);
	return n;
}

static int print_stream(immure_session *session, uint64_t exec, const char *stream, int fd, bool json)
{
	uint64_t cursor = 0;
	int status = 0;
	long n = 1;

	while (n > 0 && status == 0) {
		struct immure_error *err = NULL;
		char arguments[128], *text = NULL;

		(void)snprintf(arguments, sizeof(arguments),
			       "{\"exec\":%llu,\"stream\":\"%s\",\"cursor\":%llu}", (unsigned long long)exec,
			       stream, (unsigned long long)cursor);
		if (immure_session_request(session, "output", arguments, &text, &err) < 0)
			return immure_cli_fail(err);
		if (json)
			status = immure_cli_print_json(text);
		n = print_piece(text, json ? -1 : fd, &cursor, &status);
		immure_string_free(text);
	}
	return status;
}

/* One page: how many there were, or -1. */
static long denials_page(immure_session *session, size_t from, bool json, int *ret)
{
	struct immure_jsonr_value *v = calloc(DENIAL_VALUES, sizeof(*v));
	const struct immure_jsonr_value *lines = NULL, *e;
	struct immure_error *err = NULL;
	struct immure_jsonr r;
	char arguments[64], *text = NULL;
	long n = 0;

	(void)snprintf(arguments, sizeof(arguments), "{\"from\":%zu}", from);
	if (immure_session_request(session, "net", arguments, &text, &err) < 0) {
		*ret = immure_cli_fail(err);
	} else if (v) {
		char *copy = strdup(text);

		if (copy && immure_jsonr_parse(&r, copy, strlen(copy), v, DENIAL_VALUES) == 0)
			lines = immure_jsonr_get(&r, immure_jsonr_get(&r, v, "network"), "lines");
		for (e = immure_jsonr_first(&r, lines); lines && e; e = immure_jsonr_after(&r, lines, e), n++)
			if (!json)
				immure_cli_say("%s", e->text);
		if (json && n)
			*ret = immure_cli_print_json(text);
		free(copy);
	}
	immure_string_free(text);
	free(v);
	return n;
}

int immure_cli_print_denials(immure_session *session, bool json, uint64_t *told)
{
	int status = 0;
	long n;

	while ((n = denials_page(session, (size_t)*told + 1, json, &status)) > 0 && status == 0)
		*told += (uint64_t)n;
	return status;
}

int immure_cli_print_denial(const char *event, bool raw)
{
	struct immure_jsonr_value v[VALUES];
	const struct immure_jsonr_value *line;
	struct immure_jsonr r;
	char *text = strdup(event);
	int e = !text ? -ENOMEM : immure_jsonr_parse(&r, text, strlen(text), v, VALUES) < 0 ? -EPROTO : 0;

	line = e == 0 ? immure_jsonr_get(&r, v, "line") : NULL;
	if (line && line->type == IMMURE_JSON_STRING)
		immure_cli_say_raw(raw && isatty(STDERR_FILENO), "%s", line->text);
	free(text);
	return e;
}

int immure_cli_print_output(immure_session *session, uint64_t exec, bool json)
{
	int status = print_stream(session, exec, "stdout", STDOUT_FILENO, json);

	return status ? status : print_stream(session, exec, "stderr", STDERR_FILENO, json);
}
