/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text readers of src/facts: mountinfo, unix sockets, passwd, and finding a
 * cgroup. The first byte chooses; the rest is the text (for the cgroup: two, with
 * a NUL between). What is accepted must have the promised shape.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "facts/internal.h"
#include "fuzz.h"

static void mountinfo(struct immure_arena *a, const char *text)
{
	struct immure_fact_mount *m = NULL;
	size_t n = 0;
	int r = immure_facts_parse_mountinfo(a, text, &m, &n);

	if (r != 0 && r != -EINVAL)
		abort();
	for (size_t i = 0; i < n; i++)
		if (m[i].target[0] != '/' || !m[i].root[0] || !m[i].fstype[0] || !m[i].super)
			abort();
}

static void sockets(struct immure_arena *a, const char *text)
{
	struct immure_strv l;

	if (immure_facts_parse_unix(a, text, &l) != 0)
		abort();
	for (size_t i = 0; i < l.n; i++)
		if (l.v[i][0] != '/' || (i > 0 && strcmp(l.v[i - 1], l.v[i]) >= 0))
			abort();
}

static void passwd(struct immure_arena *a, const char *text)
{
	const char *name = NULL, *home = NULL;

	if (immure_facts_parse_passwd(a, text, 1000, &name, &home) == 0 &&
	    (!name[0] || strpbrk(name, ":\n") || strpbrk(home, ":\n")))
		abort();
}

static bool writable(void *ctx, const char *dir, bool v2)
{
	(void)ctx;
	(void)v2;
	if (dir[0] != '/' || strstr(dir, "/../"))
		abort(); /* never asks outside of a mount */
	return true;
}

static int read_file(void *ctx, const char *dir, const char *name, char *buf, size_t cap)
{
	const char *text = ctx;
	size_t n = strlen(text) < cap ? strlen(text) : cap - 1;

	(void)dir;
	(void)name;
	memcpy(buf, text, n);
	buf[n] = '\0';
	return (int)n;
}

static void cgroup(struct immure_arena *a, char *mounts, char *own)
{
	const struct immure_cgroup_fs fs = { own, writable, read_file };
	struct immure_cgroup_facts c;
	struct immure_fact_mount *m;
	size_t n;

	if (immure_facts_parse_mountinfo(a, mounts, &m, &n) != 0)
		return;
	immure_facts_find_cgroup(a, own, m, n, false, &fs, &c);
	if ((c.memory || c.pids || c.cpu) != (c.kind != IMMURE_CGROUP_NONE) ||
	    (c.kind == IMMURE_CGROUP_V2) != (c.v2 != NULL))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	char *text;

	if (len < 1)
		return 0;
	text = malloc(len + 1);
	if (!text)
		return 0;
	memcpy(text, data + 1, len - 1);
	text[len - 1] = text[len] = '\0';
	switch (data[0] % 4) {
	case 0: mountinfo(&a, text); break;
	case 1: sockets(&a, text); break;
	case 2: passwd(&a, text); break;
	default:
		if (strlen(text) < len - 1)
			cgroup(&a, text, text + strlen(text) + 1);
		break;
	}
	immure_arena_done(&a);
	free(text);
	return 0;
}
