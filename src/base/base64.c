/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void immure_base64_put(struct immure_buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	char group[4 * 192];
	size_t n = 0;

	immure_buf_reserve(out, (len + 2) / 3 * 4);
	while (len > 0) {
		uint32_t v = (uint32_t)p[0] << 16 | (len > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (len > 2 ? p[2] : 0);

		group[n++] = alphabet[v >> 18];
		group[n++] = alphabet[v >> 12 & 63];
		group[n++] = len > 1 ? alphabet[v >> 6 & 63] : '=';
		group[n++] = len > 2 ? alphabet[v & 63] : '=';
		p += len > 2 ? 3 : len;
		len -= len > 2 ? 3 : len;
		if (n == sizeof(group)) {
			immure_buf_put(out, group, n);
			n = 0;
		}
	}
	immure_buf_put(out, group, n);
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long immure_base64_decode(char *text, size_t len)
{
	size_t pad = len > 0 && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;
	char *to = text;

	if (len % 4 != 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		size_t real = i + 4 == len ? 4 - pad : 4;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < real ? digit(text[i + k]) : 0;

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (uint32_t)d;
		}
		if ((real == 2 && v & 0xffff) || (real == 3 && v & 0xff))
			return -EINVAL; /* two texts for the same bytes */
		*to++ = (char)(v >> 16);
		if (real > 2)
			*to++ = (char)(v >> 8);
		if (real > 3)
			*to++ = (char)v;
	}
	return to - text;
}
