/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonw.h"

#include <string.h>

/* How many bytes from s on stand for themselves: most of what is ever written. */
static size_t plain(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\')
		n++;
	return n;
}

void immure_json_quote(struct immure_buf *out, const char *s, size_t len)
{
	size_t i = 0;

	immure_buf_putc(out, '"');
	while (i < len) {
		size_t n = plain(s + i, len - i);
		unsigned char c;

		if (n > 0) {
			immure_buf_put(out, s + i, n);
			i += n;
			continue;
		}
		n = immure_utf8_len(s + i, len - i, NULL);
		c = (unsigned char)s[i];
		if (n == 0) {
			immure_buf_printf(out, "\\ufffd%02x", c);
			i++;
			continue;
		}
		if (n == 1 && (c < 0x20 || c == 0x7f))
			immure_buf_printf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			immure_buf_printf(out, "\\%c", c);
		else
			immure_buf_put(out, s + i, n);
		i += n;
	}
	immure_buf_putc(out, '"');
}

static void newline(struct immure_jsonw *w)
{
	if (w->indent)
		immure_buf_printf(w->out, "\n%*s", w->indent * w->depth, "");
}

static void lead(struct immure_jsonw *w, const char *key)
{
	if (w->need_comma)
		immure_buf_putc(w->out, ',');
	if (w->depth > 0)
		newline(w);
	if (key) {
		immure_json_quote(w->out, key, strlen(key));
		immure_buf_puts(w->out, w->indent ? ": " : ":");
	}
	w->need_comma = true;
}

void immure_jsonw_init(struct immure_jsonw *w, struct immure_buf *out, int indent)
{
	*w = (struct immure_jsonw){ .out = out, .indent = indent };
}

static void opened(struct immure_jsonw *w, const char *key, char c)
{
	lead(w, key);
	immure_buf_putc(w->out, c);
	w->depth++;
	w->need_comma = false;
}

void immure_jsonw_object(struct immure_jsonw *w, const char *key)
{
	opened(w, key, '{');
}

void immure_jsonw_array(struct immure_jsonw *w, const char *key)
{
	opened(w, key, '[');
}

void immure_jsonw_end(struct immure_jsonw *w, char close)
{
	w->depth--;
	if (w->need_comma)
		newline(w);
	immure_buf_putc(w->out, close);
	w->need_comma = true;
	if (w->depth == 0 && w->indent)
		immure_buf_putc(w->out, '\n');
}

void immure_jsonw_str(struct immure_jsonw *w, const char *key, const char *s)
{
	if (!s) {
		immure_jsonw_null(w, key);
		return;
	}
	lead(w, key);
	immure_json_quote(w->out, s, strlen(s));
}

void immure_jsonw_int(struct immure_jsonw *w, const char *key, int64_t v)
{
	lead(w, key);
	immure_buf_printf(w->out, "%lld", (long long)v);
}

void immure_jsonw_uint(struct immure_jsonw *w, const char *key, uint64_t v)
{
	lead(w, key);
	immure_buf_printf(w->out, "%llu", (unsigned long long)v);
}

void immure_jsonw_bool(struct immure_jsonw *w, const char *key, bool v)
{
	lead(w, key);
	immure_buf_puts(w->out, v ? "true" : "false");
}

void immure_jsonw_null(struct immure_jsonw *w, const char *key)
{
	lead(w, key);
	immure_buf_puts(w->out, "null");
}

void immure_jsonw_raw(struct immure_jsonw *w, const char *key, const char *json)
{
	lead(w, key);
	immure_buf_puts(w->out, json);
}
