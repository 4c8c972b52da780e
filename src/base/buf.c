/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct immure_buf *b, size_t extra)
{
	size_t want, cap;
	char *p;

	if (b->failed)
		return false;
	if (extra > SIZE_MAX / 2 - b->len - 1) {
		b->failed = true;
		return false;
	}
	want = b->len + extra + 1;
	if (want <= b->cap)
		return true;
	cap = b->cap ? b->cap : 128;
	while (cap < want)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

void immure_buf_reserve(struct immure_buf *b, size_t len)
{
	(void)reserve(b, len); /* remembered in b->failed */
}

void immure_buf_done(struct immure_buf *b)
{
	free(b->data);
	*b = (struct immure_buf)IMMURE_BUF_INIT;
}

void immure_buf_put(struct immure_buf *b, const void *data, size_t len)
{
	if (!reserve(b, len))
		return;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void immure_buf_puts(struct immure_buf *b, const char *s)
{
	immure_buf_put(b, s, strlen(s));
}

void immure_buf_putc(struct immure_buf *b, char c)
{
	immure_buf_put(b, &c, 1);
}

void immure_buf_vprintf(struct immure_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if (!reserve(b, (size_t)n))
		return;
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap); /* sized above */
	b->len += (size_t)n;
}

void immure_buf_printf(struct immure_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	immure_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void immure_buf_put_u32(struct immure_buf *b, uint32_t v)
{
	unsigned char p[4];

	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
	immure_buf_put(b, p, sizeof(p));
}

void immure_buf_put_u64(struct immure_buf *b, uint64_t v)
{
	immure_buf_put_u32(b, (uint32_t)v);
	immure_buf_put_u32(b, (uint32_t)(v >> 32));
}

size_t immure_utf8_len(const char *s, size_t len, uint32_t *ret_codepoint)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s;
	size_t n;
	uint32_t cp;

	if (len == 0)
		return 0;
	if (p[0] < 0x80) {
		n = 1;
		cp = p[0];
	} else if ((p[0] & 0xe0) == 0xc0) {
		n = 2;
		cp = p[0] & 0x1fU;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		cp = p[0] & 0x0fU;
	} else if ((p[0] & 0xf8) == 0xf0) {
		n = 4;
		cp = p[0] & 0x07U;
	} else {
		return 0;
	}
	if (n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = (cp << 6) | (p[i] & 0x3fU);
	}
	if (n > 1 && (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)))
		return 0;
	if (ret_codepoint)
		*ret_codepoint = cp;
	return n;
}

/* Characters that reorder or hide what a reader sees. */
static bool deceptive(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f) ||
	       (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

void immure_buf_put_printable(struct immure_buf *b, const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint32_t cp = 0;
		size_t n = immure_utf8_len(s + i, len - i, &cp);

		if (n == 0) {
			immure_buf_printf(b, "\\x%02x", (unsigned char)s[i]);
			i++;
			continue;
		}
		if (!deceptive(cp))
			immure_buf_put(b, s + i, n);
		else if (cp < 0x100)
			immure_buf_printf(b, "\\x%02x", cp);
		else
			immure_buf_printf(b, "\\u{%x}", cp);
		i += n;
	}
	if (len == 0)
		immure_buf_put(b, "", 0);
}

char *immure_buf_take(struct immure_buf *b)
{
	char *ret;

	if (!b->failed && !b->data)
		(void)reserve(b, 0), b->data ? (void)(b->data[0] = '\0') : (void)0;
	if (b->failed) {
		immure_buf_done(b);
		return NULL;
	}
	ret = b->data;
	*b = (struct immure_buf)IMMURE_BUF_INIT;
	return ret;
}
