/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the kernel's and the system's text files. mountinfo is believed
 * or refused as a whole, because masks depend on it. */
#include "facts/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads a decimal number that ends at `end`; advances past it. */
static bool take_u32(char **p, char end, uint32_t *ret)
{
	uint64_t v = 0;
	char *s = *p;

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s); s++) {
		v = v * 10 + (uint64_t)(*s - '0');
		if (v > UINT32_MAX)
			return false;
	}
	if (*s != end)
		return false;
	*p = s + 1;
	*ret = (uint32_t)v;
	return true;
}

/* Cuts the next space-separated field, which must not be empty. */
static char *take_field(char **p)
{
	char *s = *p, *e;

	if (!s || !*s || *s == ' ')
		return NULL;
	e = strchr(s, ' ');
	if (e)
		*e++ = '\0';
	*p = e;
	return s;
}

/* \ooo, as the kernel writes space, tab, newline, backslash and '#'. */
static bool unescape(char *s)
{
	char *out = s;

	for (; *s; out++) {
		if (*s != '\\') {
			*out = *s++;
			continue;
		}
		if (s[1] < '0' || s[1] > '3' || s[2] < '0' || s[2] > '7' || s[3] < '0' ||
		    s[3] > '7')
			return false;
		*out = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
		if (*out == '\0')
			return false;
		s += 4;
	}
	*out = '\0';
	return true;
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = list; s; s = strchr(s, ',')) {
		if (*s == ',')
			s++;
		if (strncmp(s, word, n) == 0 && (s[n] == '\0' || s[n] == ','))
			return true;
	}
	return false;
}

/* id parent major:minor root target options [optional ...] - fstype source super */
static bool parse_mount(char *line, struct immure_fact_mount *m)
{
	char *root, *target, *options, *tag, *fstype, *source;

	if (!take_u32(&line, ' ', &m->id) || !take_u32(&line, ' ', &m->parent) ||
	    !take_u32(&line, ':', &m->major) || !take_u32(&line, ' ', &m->minor))
		return false;
	root = take_field(&line);
	target = root ? take_field(&line) : NULL;
	options = target ? take_field(&line) : NULL;
	if (!options || !unescape(root) || !unescape(target) || target[0] != '/')
		return false;
	do
		tag = take_field(&line);
	while (tag && strcmp(tag, "-") != 0);
	if (!tag)
		return false;
	fstype = take_field(&line);
	if (!fstype || !line)
		return false;
	/* A source may be empty: then two spaces follow each other. */
	source = *line == ' ' ? line++ : take_field(&line);
	if (!source || !unescape(fstype))
		return false;
	m->root = root;
	m->target = target;
	m->fstype = fstype;
	m->super = line ? line : "";
	m->readonly = has_word(options, "ro");
	return true;
}

int immure_facts_parse_mountinfo(struct immure_arena *a, const char *text,
				 struct immure_fact_mount **ret, size_t *ret_n)
{
	char *copy = immure_arena_strdup(a, text), *line, *next;
	struct immure_fact_mount *mounts;
	size_t n = 0, i = 0;

	for (const char *s = text; (s = strchr(s, '\n')); s++)
		n++;
	mounts = immure_arena_alloc(a, (n + 1) * sizeof(*mounts));
	if (!copy || !mounts)
		return -ENOMEM;
	for (line = copy; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (!parse_mount(line, &mounts[i++]))
			return -EINVAL;
	}
	*ret = mounts;
	*ret_n = i;
	return 0;
}

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)s[i]))
			return false;
	return true;
}

/* "<pointer>: refs8 proto8 flags8 type4 state2 inode[ path]". Returns what
 * follows the inode, NULL when the line is not an entry's first one. */
static char *unix_entry(char *line)
{
	static const unsigned char widths[] = { 8, 8, 8, 4, 2 };
	size_t n = strcspn(line, ":");
	char *s = line + n;

	if (n < 8 || n > 16 || !is_hex(line, n) || *s++ != ':')
		return NULL;
	for (size_t i = 0; i < sizeof(widths); i++) {
		if (*s++ != ' ' || !is_hex(s, widths[i]))
			return NULL;
		s += widths[i];
	}
	n = strspn(s, " ");
	if (n == 0 || !isdigit((unsigned char)s[n]))
		return NULL;
	return s + n + strspn(s + n, "0123456789");
}

static int compare_strings(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void sort_unique(struct immure_strv *l)
{
	size_t out = 0;

	if (l->n < 2)
		return;
	qsort(l->v, l->n, sizeof(*l->v), compare_strings);
	for (size_t i = 0; i < l->n; i++)
		if (out == 0 || strcmp(l->v[out - 1], l->v[i]) != 0)
			l->v[out++] = l->v[i];
	l->n = out;
}

/* Names are written raw, so one with a newline goes on in the next line: what
 * does not look like an entry belongs to the name before it. */
int immure_facts_parse_unix(struct immure_arena *a, const char *text, struct immure_strv *ret)
{
	char *copy = immure_arena_strdup(a, text), *line, *next;
	struct immure_strv l = { 0 };
	char *open = NULL;

	if (!copy)
		return -ENOMEM;
	line = strchr(copy, '\n'); /* after the heading */
	for (line = line ? line + 1 : NULL; line && *line; line = next) {
		char *rest;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		rest = unix_entry(line);
		if (!rest) {
			if (open)
				line[-1] = '\n'; /* was the end of the name */
			continue;
		}
		open = NULL;
		/* What was bound through a descriptor has a name for its binder alone,
		 * like one without a slash before it. */
		if (rest[0] == ' ' && rest[1] == '/' &&
		    strncmp(rest + 1, "/proc/self/fd/", strlen("/proc/self/fd/")) != 0) {
			open = rest + 1;
			(void)immure_strv_add(a, &l, open); /* a->failed is checked below */
		}
	}
	if (a->failed)
		return -ENOMEM;
	sort_unique(&l);
	*ret = l;
	return 0;
}

/* name:password:uid:gid:gecos:home:shell */
int immure_facts_parse_passwd(struct immure_arena *a, const char *text, uint32_t uid,
			      const char **ret_name, const char **ret_home)
{
	const char *line, *next;

	for (line = text; *line; line = next) {
		const char *f[7] = { line };
		size_t n = 1, len = strcspn(line, "\n");
		char *end;

		next = line + len + (line[len] == '\n');
		for (size_t i = 0; i < len && n < 7; i++)
			if (line[i] == ':')
				f[n++] = line + i + 1;
		if (n < 7 || f[1] - f[0] < 2 || !isdigit((unsigned char)*f[2]))
			continue;
		errno = 0;
		if (strtoull(f[2], &end, 10) != uid || errno || *end != ':')
			continue;
		*ret_name = immure_arena_strndup(a, f[0], (size_t)(f[1] - f[0] - 1));
		*ret_home = immure_arena_strndup(a, f[5], (size_t)(f[6] - f[5] - 1));
		return *ret_name && *ret_home ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

const char *immure_facts_env(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}
