/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <string.h>

bool immure_path_is_normal(const char *p)
{
	if (p[0] != '/')
		return false;
	if (p[1] == '\0')
		return true;
	for (const char *c = p; *c == '/';) {
		size_t n = 0;

		while (c[1 + n] && c[1 + n] != '/')
			n++;

		if (n == 0 || (n == 1 && c[1] == '.') || (n == 2 && c[1] == '.' && c[2] == '.'))
			return false;
		c += 1 + n;
	}
	return true;
}

char *immure_path_normalize(struct immure_arena *a, const char *p)
{
	size_t len = strlen(p), out = 0;
	char *ret;

	if (p[0] != '/')
		return NULL;
	ret = immure_arena_alloc(a, len + 2);
	if (!ret)
		return NULL;
	while (*p) {
		size_t n;

		while (*p == '/')
			p++;
		n = strcspn(p, "/");
		if (n == 0)
			break;
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return NULL;
		if (!(n == 1 && p[0] == '.')) {
			ret[out++] = '/';
			memcpy(ret + out, p, n);
			out += n;
		}
		p += n;
	}
	if (out == 0)
		ret[out++] = '/';
	ret[out] = '\0';
	return ret;
}

char *immure_path_join(struct immure_arena *a, const char *base, const char *p)
{
	if (p[0] == '/')
		return immure_arena_strdup(a, p);
	if (strcmp(base, "/") == 0)
		return immure_arena_printf(a, "/%s", p);
	return immure_arena_printf(a, "%s/%s", base, p);
}

/* Asked thousands of times for a plan, of paths that mostly differ in their first
 * component: so no length is looked for, and nothing is called. */
bool immure_path_is_under(const char *p, const char *base)
{
	size_t i = 0;

	if (base[0] == '/' && base[1] == '\0')
		return p[0] == '/';
	for (; base[i]; i++)
		if (p[i] != base[i])
			return false;
	return p[i] == '\0' || p[i] == '/';
}

size_t immure_path_depth(const char *p)
{
	size_t n = 0;

	for (; *p; p++)
		if (*p == '/' && p[1])
			n++;
	return n;
}

const char *immure_path_basename(const char *p)
{
	const char *s = strrchr(p, '/');

	return s && s[1] ? s + 1 : p;
}

char *immure_path_dirname(struct immure_arena *a, const char *p)
{
	const char *s = strrchr(p, '/');

	if (!s || s == p)
		return immure_arena_strdup(a, "/");
	return immure_arena_strndup(a, p, (size_t)(s - p));
}
