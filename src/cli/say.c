/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

static void add_line(struct immure_buf *lines, const struct immure_buf *text, const char *end)
{
	immure_buf_puts(lines, "immure: ");
	if (immure_buf_ok(text) && text->data)
		immure_buf_put_printable(lines, text->data, text->len);
	else
		immure_buf_puts(lines, "out of memory");
	immure_buf_puts(lines, end);
}

void immure_cli_say_collected(struct immure_buf *lines)
{
	if (immure_buf_ok(lines) && lines->len)
		(void)immure_write_all(STDERR_FILENO, lines->data, lines->len); /* nowhere else to tell */
	immure_buf_done(lines);
}

static void put_line(const struct immure_buf *text, const char *end)
{
	struct immure_buf line = IMMURE_BUF_INIT;

	add_line(&line, text, end);
	immure_cli_say_collected(&line);
}

void immure_cli_collect(struct immure_buf *lines, const char *fmt, ...)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	immure_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	add_line(lines, &text, "\n");
	immure_buf_done(&text);
}

void immure_cli_say(const char *fmt, ...)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	immure_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	put_line(&text, "\n");
	immure_buf_done(&text);
}

void immure_cli_say_raw(bool raw, const char *fmt, ...)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	immure_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	put_line(&text, raw ? "\r\n" : "\n");
	immure_buf_done(&text);
}

static int exit_status(int32_t code)
{
	if (code == IMMURE_ERR_NOT_EXECUTABLE)
		return IMMURE_EXIT_NOT_EXECUTABLE;
	if (code == IMMURE_ERR_NOT_FOUND)
		return IMMURE_EXIT_NOT_FOUND;
	return IMMURE_EXIT_FAILED;
}

int immure_cli_fail(struct immure_error *err)
{
	const char *hint = err ? immure_error_hint(err) : "";
	int status = exit_status(err ? immure_error_code(err) : 0);

	if (!err)
		immure_cli_say("failed: no reason was given");
	else if (hint && hint[0])
		immure_cli_say("%s; %s", immure_error_text(err), hint);
	else
		immure_cli_say("%s", immure_error_text(err));
	immure_error_free(err);
	return status;
}

void immure_cli_add_other(struct immure_error *err, const struct immure_error *other)
{
	const char *own = immure_error_hint(err);
	char *had;

	if (!other || immure_error_code(other) != IMMURE_ERR_GAP)
		return;
	had = strdup(own ? own : "");
	immure_error_set_hint(err, "%s%s%s; %s", had ? had : "", had && had[0] ? "; " : "",
			      immure_error_text(other), immure_error_hint(other));
	free(had);
}

int immure_cli_print(const char *text)
{
	int r = text ? immure_write_all(STDOUT_FILENO, text, strlen(text)) : -ENOMEM;

	if (r >= 0)
		return 0;
	immure_cli_say("standard output: %s", strerror(-r));
	return IMMURE_EXIT_FAILED;
}
