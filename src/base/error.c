/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static char oom_text[] = "out of memory";
static char oom_empty[] = "";
static struct immure_error oom_error = {
	.code = IMMURE_ERR_NOMEM,
	.errnum = 12,
	.stage = oom_empty,
	.subject = oom_empty,
	.text = oom_text,
	.hint = oom_empty,
};

/* Text may quote names that a stranger chose: terminals must not obey it. */
static char *printable(const char *s)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_buf_put_printable(&b, s ? s : "", strlen(s ? s : ""));
	return immure_buf_take(&b);
}

__attribute__((format(printf, 1, 0)))
static char *vformat(const char *fmt, va_list ap)
{
	char *raw = NULL, *ret;

	if (vasprintf(&raw, fmt, ap) < 0)
		return NULL;
	ret = printable(raw);
	free(raw);
	return ret;
}

void immure_error_free(immure_error *err)
{
	if (!err || err == &oom_error)
		return;
	free(err->stage);
	free(err->subject);
	free(err->text);
	free(err->hint);
	free(err);
}

int32_t immure_fail(struct immure_error **err, int32_t code, int errnum,
		    const char *stage, const char *subject, const char *fmt, ...)
{
	struct immure_error *e;
	va_list ap;

	if (!err || *err)
		return -code;
	e = calloc(1, sizeof(*e));
	if (!e)
		goto oom;
	e->code = code;
	e->errnum = errnum < 0 ? -errnum : errnum;
	e->stage = printable(stage);
	e->subject = printable(subject);
	e->hint = printable("");
	va_start(ap, fmt);
	e->text = vformat(fmt, ap);
	va_end(ap);
	if (!e->stage || !e->subject || !e->hint || !e->text) {
		immure_error_free(e);
		goto oom;
	}
	*err = e;
	return -code;
oom:
	*err = &oom_error;
	return -IMMURE_ERR_NOMEM;
}

void immure_error_set_hint(struct immure_error *err, const char *fmt, ...)
{
	va_list ap;
	char *hint;

	if (!err || err == &oom_error)
		return;
	va_start(ap, fmt);
	hint = vformat(fmt, ap);
	va_end(ap);
	if (!hint)
		return;
	free(err->hint);
	err->hint = hint;
}

int32_t immure_error_code(const immure_error *err)
{
	return err ? err->code : 0;
}

int32_t immure_error_errno(const immure_error *err)
{
	return err ? err->errnum : 0;
}

const char *immure_error_stage(const immure_error *err)
{
	return err ? err->stage : "";
}

const char *immure_error_subject(const immure_error *err)
{
	return err ? err->subject : "";
}

const char *immure_error_text(const immure_error *err)
{
	return err ? err->text : "";
}

const char *immure_error_hint(const immure_error *err)
{
	return err ? err->hint : "";
}
