/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a JSON document: comments, and where a value stands. The reader
 * says what is in it; messages need to say on which line. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

size_t immure_json_line(const char *text, size_t at)
{
	size_t n = 1;

	for (size_t i = 0; i < at; i++)
		n += text[i] == '\n';
	return n;
}

static int refuse(struct immure_json_failure *f, const char *text, size_t at, const char *why)
{
	f->line = immure_json_line(text, at);
	(void)snprintf(f->text, sizeof(f->text), "%s", why);
	return -EINVAL;
}

/* End of the string that opens at i: the place after its closing quote. */
static size_t skip_string(const char *text, size_t len, size_t i)
{
	for (i++; i < len && text[i] != '"'; i++)
		if (text[i] == '\\' && i + 1 < len)
			i++;
	return i < len ? i + 1 : len;
}

/* Blanks a comment; returns the place after it, or 0 when it has no end. */
static size_t blank_comment(char *text, size_t len, size_t i)
{
	bool block = text[i + 1] == '*';
	size_t start = i;

	for (; i < len; i++) {
		if (!block && text[i] == '\n')
			return i;
		if (block && i >= start + 2 && i + 1 < len && text[i] == '*' && text[i + 1] == '/') {
			text[i] = text[i + 1] = ' ';
			return i + 2;
		}
		if (text[i] != '\n')
			text[i] = ' ';
	}
	return block ? 0 : len;
}

int immure_json_strip(char *text, size_t len, struct immure_json_failure *f)
{
	size_t i = 0, depth = 0;

	while (i < len) {
		char c = text[i];

		if (c == '\0')
			return refuse(f, text, i, "a NUL byte");
		if (c == '"') {
			size_t end = skip_string(text, len, i);
			const char *nul = memchr(text + i, '\0', end - i);

			if (nul)
				return refuse(f, text, (size_t)(nul - text), "a NUL byte");
			i = end;
			continue;
		}
		if (c == '/' && i + 1 < len && (text[i + 1] == '/' || text[i + 1] == '*')) {
			size_t end = blank_comment(text, len, i);

			if (end == 0)
				return refuse(f, text, i, "a comment that does not end");
			i = end;
			continue;
		}
		if ((c == '[' || c == '{') && ++depth > IMMURE_JSON_DEPTH)
			return refuse(f, text, i, "nested too deeply");
		if ((c == ']' || c == '}') && depth > 0)
			depth--;
		i++;
	}
	return 0;
}

static size_t skip_space(const char *text, size_t len, size_t i)
{
	while (i < len && strchr(" \t\r\n", text[i]) && text[i])
		i++;
	return i;
}

size_t immure_json_start(const char *text, size_t len)
{
	return skip_space(text, len, 0);
}

size_t immure_json_token(const char *text, size_t len, size_t at)
{
	size_t i = at;

	if (at < len && text[at] == '"')
		return skip_string(text, len, at) - at;
	while (i < len && text[i] && !strchr(" \t\r\n,:[]{}\"", text[i]))
		i++;
	return i - at;
}

/* The place after the value at i, brackets and all. */
static size_t skip_value(const char *text, size_t len, size_t i)
{
	size_t depth = 0;

	do {
		i = skip_space(text, len, i);
		if (i >= len)
			return len;
		if (text[i] == '[' || text[i] == '{') {
			depth++;
			i++;
		} else if (text[i] == ']' || text[i] == '}') {
			depth -= depth > 0;
			i++;
		} else if (text[i] == ',' || text[i] == ':') {
			i++;
		} else {
			size_t n = immure_json_token(text, len, i);

			i += n ? n : 1;
		}
	} while (depth > 0);
	return i;
}

bool immure_json_child(const char *text, size_t len, size_t at, size_t n, size_t *ret_key,
		       size_t *ret_value)
{
	bool object = at < len && text[at] == '{';
	size_t i = at + 1;

	if (at >= len || (!object && text[at] != '['))
		return false;
	for (;;) {
		size_t key, value;

		i = key = value = skip_space(text, len, i);
		if (i >= len || text[i] == ']' || text[i] == '}')
			return false;
		if (object) {
			i = skip_space(text, len, i + immure_json_token(text, len, i));
			if (i >= len || text[i] != ':')
				return false;
			i = value = skip_space(text, len, i + 1);
		}
		if (n-- == 0) {
			*ret_key = key;
			*ret_value = value;
			return value < len;
		}
		i = skip_space(text, len, skip_value(text, len, i));
		if (i >= len || text[i] != ',')
			return false;
		i++;
	}
}
