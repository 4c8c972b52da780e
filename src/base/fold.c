/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fold.h"

#include <stdbool.h>
#include <stdint.h>

/* Default_Ignorable_Code_Point of Unicode, which ext4, f2fs and tmpfs leave out of a name's
 * folded form: ".g<U+200C>it" is found as ".git". */
static const struct {
	uint32_t first, last;
} ignored[] = {
	{ 0xad, 0xad },	    { 0x34f, 0x34f },	{ 0x61c, 0x61c },   { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },
	{ 0x180b, 0x180f }, { 0x200b, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x206f }, { 0x3164, 0x3164 },
	{ 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfff8 }, { 0x1bca0, 0x1bca3 },
	{ 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
};

static bool is_ignored(uint32_t c)
{
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		if (c >= ignored[i].first && c <= ignored[i].last)
			return true;
	return false;
}

/* How many bytes the code point at p has; 1 for a byte that begins none. */
static size_t code_point(const unsigned char *p, uint32_t *ret)
{
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
	uint32_t c = n == 4 ? p[0] & 7U : n == 3 ? p[0] & 15U : n == 2 ? p[0] & 31U : p[0];

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*ret = 0;
			return 1;
		}
		c = c << 6 | (p[i] & 63U);
	}
	*ret = n == 1 && c >= 0x80 ? 0 : c;
	return n;
}

const char *immure_fold_name(const char *name, char to[IMMURE_FOLD_NAME])
{
	const unsigned char *p = (const unsigned char *)name;
	size_t len = 0;

	while (*p && *p < 0x80)
		p++;
	if (!*p)
		return name;
	for (p = (const unsigned char *)name; *p;) {
		uint32_t c;
		size_t n = code_point(p, &c);

		if (len + n >= IMMURE_FOLD_NAME)
			break; /* longer than any name of a file */
		if (c == 0x17f || c == 0x212a) /* long s, the sign of Kelvin */
			to[len++] = c == 0x17f ? 's' : 'k';
		else
			for (size_t i = 0; i < n && !is_ignored(c); i++)
				to[len++] = (char)p[i];
		p += n;
	}
	to[len] = '\0';
	return to;
}
