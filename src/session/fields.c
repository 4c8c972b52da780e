/* SPDX-License-Identifier: Apache-2.0 */
#include "session/fields.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char digits[] = "0123456789ABCDEF";

static bool plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '%';
}

void immure_field_put(struct immure_buf *b, const char *s)
{
	if (!s || !*s) {
		immure_buf_putc(b, '-');
		return;
	}
	if (strcmp(s, "-") == 0) {
		immure_buf_puts(b, "%2D");
		return;
	}
	for (size_t n; *s; s += n) {
		for (n = 0; plain((unsigned char)s[n]);)
			n++;
		immure_buf_put(b, s, n);
		if (s[n]) {
			unsigned char c = (unsigned char)s[n++];

			immure_buf_putc(b, '%');
			immure_buf_putc(b, digits[c >> 4]);
			immure_buf_putc(b, digits[c & 15]);
		}
	}
}

static int hex_value(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

int immure_field_get(const char *word, size_t len, char *ret, size_t cap)
{
	bool dash = len == 3 && memcmp(word, "%2D", 3) == 0;
	size_t out = 0;

	if (len == 0 || cap == 0)
		return -EINVAL;
	if (len == 1 && word[0] == '-') {
		ret[0] = '\0';
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)word[i];

		if (c == '%') {
			int hi = i + 2 < len ? hex_value(word[i + 1]) : -1;
			int lo = i + 2 < len ? hex_value(word[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EINVAL;
			c = (unsigned char)(hi << 4 | lo);
			if (c == 0 || (plain(c) && !dash))
				return -EINVAL; /* one text, one way to write it */
			i += 2;
		} else if (!plain(c)) {
			return -EINVAL;
		}
		if (out + 1 >= cap)
			return -ENAMETOOLONG;
		ret[out++] = (char)c;
	}
	ret[out] = '\0';
	return 0;
}

void immure_fields_begin(struct immure_buf *b, const char *kind)
{
	immure_buf_printf(b, "immure-%s 1\n", kind);
}

void immure_fields_str(struct immure_buf *b, const char *key, const char *value)
{
	immure_buf_puts(b, key);
	immure_buf_putc(b, ' ');
	immure_field_put(b, value);
	immure_buf_putc(b, '\n');
}

void immure_fields_uint(struct immure_buf *b, const char *key, uint64_t value)
{
	immure_buf_printf(b, "%s %llu\n", key, (unsigned long long)value);
}

int immure_field_uint(const char *word, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (len == 0 || len > 20 || (len > 1 && word[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned int d = (unsigned int)(unsigned char)word[i] - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return -EINVAL;
		v = v * 10 + d;
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

static int one_field(const char *line, size_t len,
		     int (*each)(void *ctx, const char *key, const char *word, size_t len),
		     void *ctx)
{
	const char *space = memchr(line, ' ', len);
	char key[32];
	size_t n;

	if (!space)
		return -EINVAL;
	n = (size_t)(space - line);
	if (n == 0 || n >= sizeof(key) || memchr(line, '\0', n))
		return -EINVAL;
	memcpy(key, line, n);
	key[n] = '\0';
	return each(ctx, key, space + 1, len - n - 1);
}

int immure_fields_each(const char *text, size_t len, const char *kind,
		       int (*each)(void *ctx, const char *key, const char *word, size_t len),
		       void *ctx)
{
	char head[48];
	int n = snprintf(head, sizeof(head), "immure-%s 1\n", kind), r = 0;

	if (n < 0 || (size_t)n >= sizeof(head) || len < (size_t)n ||
	    memcmp(text, head, (size_t)n) != 0)
		return -EINVAL;
	text += n;
	len -= (size_t)n;
	while (len > 0 && r == 0) {
		const char *end = memchr(text, '\n', len);

		if (!end)
			return -EINVAL;
		r = one_field(text, (size_t)(end - text), each, ctx);
		len -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	return r;
}
