/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of requests, brought to the form in which rules are written. A path
 * that servers disagree about is refused instead of guessed. */
#include "egress/http1.h"

#include <errno.h>
#include <string.h>

static int refuse(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EPROTO;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool unreserved(unsigned char b)
{
	return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
	       b == '-' || b == '.' || b == '_' || b == '~';
}

/* One escape; what it stands for is at most the three bytes it took. */
static int escape(const char *s, size_t len, char *out, const char **ret_why)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char b;

	if (len < 3 || hex(s[1]) < 0 || hex(s[2]) < 0)
		return refuse(ret_why, "a broken escape in the path");
	b = (unsigned char)(hex(s[1]) << 4 | hex(s[2]));
	if (b < 0x20 || b == 0x7f || b == '/' || b == '\\' || b == '%' || b == ';')
		return refuse(ret_why, "an escape in the path that servers read in two ways");
	if (unreserved(b)) {
		*out = (char)b;
		return 1;
	}
	out[0] = '%';
	out[1] = digits[b >> 4];
	out[2] = digits[b & 15];
	return 3;
}

int immure_http_path(const char *path, size_t len, char *out, const char **ret_why)
{
	size_t n = 0;

	if (len == 0) { /* http://host without a path */
		memcpy(out, "/", 2);
		return 0;
	}
	if (path[0] != '/')
		return refuse(ret_why, "the path does not start with \"/\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char b = (unsigned char)path[i];
		int k = 1;

		if (b == '%') {
			k = escape(path + i, len - i, out + n, ret_why);
			if (k < 0)
				return k;
			i += 2;
		} else if (b <= ' ' || b >= 0x7f || strchr("\\;?#\"<>^`{|}", b)) {
			return refuse(ret_why, "a byte in the path that servers read in two ways");
		} else {
			out[n] = (char)b;
		}
		n += (size_t)k;
	}
	out[n] = '\0';
	for (const char *s = out; *s;) {
		size_t segment = strcspn(++s, "/");

		if ((segment == 0 && *s) || (segment == 1 && s[0] == '.') ||
		    (segment == 2 && s[0] == '.' && s[1] == '.'))
			return refuse(ret_why, "an empty, \".\" or \"..\" segment in the path");
		s += segment;
	}
	return 0;
}

bool immure_http_rule_has_path(const struct immure_netrule *rule, const char *path)
{
	if (!rule->path)
		return true;
	if (rule->path_prefix)
		return strncmp(path, rule->path, strlen(rule->path)) == 0;
	return strcmp(path, rule->path) == 0;
}
