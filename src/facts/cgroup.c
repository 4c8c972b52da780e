/* SPDX-License-Identifier: Apache-2.0 */
/* Where a leaf cgroup of ours can be made.
 *
 * v2: a process may be put into a leaf only by someone who may write to
 * cgroup.procs of the nearest common ancestor of the old and the new place, and
 * a cgroup that holds processes cannot pass controllers on (except the true
 * root). So candidates are the ancestors of our own cgroup, and ourselves last.
 * An ordinary user takes the nearest (what systemd delegated ends there); root
 * takes the topmost, which is no service's own subtree.
 *
 * v1: each controller has a tree of its own and none of these rules; a leaf
 * below our own cgroup in it inherits the limits that hold for us.
 *
 * Hybrid hosts mount both; the one that can set more limits wins, v2 on a tie. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

enum { HAS_MEMORY = 1, HAS_PIDS = 2, HAS_CPU = 4 };

static bool list_has(const char *list, size_t len, const char *word, char sep)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < len; i++) {
		size_t end = i;

		while (end < len && list[end] != sep && list[end] != '\n')
			end++;
		if (end - i == n && memcmp(list + i, word, n) == 0)
			return true;
		i = end;
	}
	return false;
}

static unsigned int controllers(const char *s)
{
	size_t n = strlen(s);

	return (list_has(s, n, "memory", ' ') ? HAS_MEMORY : 0u) |
	       (list_has(s, n, "pids", ' ') ? HAS_PIDS : 0u) |
	       (list_has(s, n, "cpu", ' ') ? HAS_CPU : 0u);
}

/* Finds our path in one hierarchy: "id:controllers:path". controller "" is v2. */
static char *own_path(struct immure_arena *a, const char *text, const char *controller)
{
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		const char *c = memchr(line, ':', len), *p;

		p = c ? memchr(c + 1, ':', len - (size_t)(c + 1 - line)) : NULL;
		if (p && p[1] == '/') {
			size_t n = (size_t)(p - c - 1);

			if (*controller ? list_has(c + 1, n, controller, ',') : n == 0)
				return immure_arena_strndup(a, p + 1, len - (size_t)(p + 1 - line));
		}
		line += len + (line[len] == '\n');
	}
	return NULL;
}

/* The directory of cgroup `path` as seen through a mount whose root is m->root. */
static char *place(struct immure_arena *a, const struct immure_fact_mount *m, const char *path)
{
	const char *rest = path;

	if (!immure_path_is_normal(path) || !immure_path_is_normal(m->root) ||
	    !immure_path_is_normal(m->target) || !immure_path_is_under(path, m->root))
		return NULL;
	if (strcmp(m->root, "/") != 0)
		rest += strlen(m->root);
	if (rest[0] == '\0' || strcmp(rest, "/") == 0)
		return immure_arena_strdup(a, m->target);
	return immure_arena_printf(a, "%s%s", m->target, rest);
}

static const char *find_v1(struct immure_arena *a, const char *text, const char *controller,
			   const struct immure_fact_mount *mounts, size_t n,
			   const struct immure_cgroup_fs *fs)
{
	char *path = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct immure_fact_mount *m = &mounts[i];
		char *dir;

		if (strcmp(m->fstype, "cgroup") != 0 || m->readonly ||
		    !list_has(m->super, strlen(m->super), controller, ','))
			continue;
		if (!path)
			path = own_path(a, text, controller);
		dir = path ? place(a, m, path) : NULL;
		if (dir && fs->writable(fs->ctx, dir, false))
			return dir;
	}
	return NULL;
}

struct v2_choice {
	const char *dir;
	unsigned int has;
	bool enable;
};

/* What limits a leaf directly below dir could carry. */
static void judge_v2(const char *dir, bool root, const struct immure_cgroup_fs *fs,
		     struct v2_choice *best)
{
	char buf[512];
	unsigned int has, could;
	bool enable = false;

	if (!fs->writable(fs->ctx, dir, true))
		return;
	if (fs->read(fs->ctx, dir, "cgroup.subtree_control", buf, sizeof(buf)) < 0)
		return;
	has = controllers(buf);
	if (fs->read(fs->ctx, dir, "cgroup.controllers", buf, sizeof(buf)) < 0)
		return;
	could = controllers(buf);
	if (could & ~has) {
		/* The true root has no cgroup.type and may pass controllers on
		 * although processes are in it; others only when they are empty. */
		bool top = root && fs->read(fs->ctx, dir, "cgroup.type", buf, sizeof(buf)) < 0;

		if (top || fs->read(fs->ctx, dir, "cgroup.procs", buf, sizeof(buf)) == 0) {
			has = could;
			enable = true;
		}
	}
	if (__builtin_popcount(has) > __builtin_popcount(best->has))
		*best = (struct v2_choice){ dir, has, enable };
}

char *immure_facts_own_cgroup2(struct immure_arena *a, const char *text, const struct immure_fact_mount *mounts,
			       size_t n, const struct immure_fact_mount **ret_mount)
{
	for (size_t i = 0; i < n; i++) {
		const struct immure_fact_mount *m = &mounts[i];
		char *path;

		if (strcmp(m->fstype, "cgroup2") != 0 || m->readonly)
			continue;
		*ret_mount = m;
		path = own_path(a, text, "");
		return path ? place(a, m, path) : NULL;
	}
	return NULL;
}

static void find_v2(struct immure_arena *a, const char *text,
		    const struct immure_fact_mount *mounts, size_t n, bool root,
		    const struct immure_cgroup_fs *fs, struct v2_choice *best)
{
	const unsigned int all = HAS_MEMORY | HAS_PIDS | HAS_CPU;
	const struct immure_fact_mount *m = NULL;
	const char *candidates[16];
	size_t count = 0;

	for (char *dir = immure_facts_own_cgroup2(a, text, mounts, n, &m); dir && count < 16;) {
		candidates[count++] = dir;
		dir = strcmp(dir, m->target) == 0 ? NULL : immure_path_dirname(a, dir);
	}
	/* Ourselves last: we are in it, so it rarely can pass anything on. */
	for (size_t i = 0; i < count && best->has != all; i++)
		judge_v2(candidates[root ? count - 1 - i : (i + 1) % count], root, fs, best);
}

void immure_facts_find_cgroup(struct immure_arena *a, const char *cgroup,
			      const struct immure_fact_mount *mounts, size_t mounts_n, bool root,
			      const struct immure_cgroup_fs *fs, struct immure_cgroup_facts *ret)
{
	struct immure_cgroup_facts c = { 0 };
	struct v2_choice v2 = { 0 };
	unsigned int v1;

	find_v2(a, cgroup, mounts, mounts_n, root, fs, &v2);
	if (v2.has != (HAS_MEMORY | HAS_PIDS | HAS_CPU)) {
		c.v1_memory = find_v1(a, cgroup, "memory", mounts, mounts_n, fs);
		c.v1_pids = find_v1(a, cgroup, "pids", mounts, mounts_n, fs);
		c.v1_cpu = find_v1(a, cgroup, "cpu", mounts, mounts_n, fs);
		c.v1_cpuacct = find_v1(a, cgroup, "cpuacct", mounts, mounts_n, fs);
	}
	v1 = (c.v1_memory ? HAS_MEMORY : 0u) | (c.v1_pids ? HAS_PIDS : 0u) |
	     (c.v1_cpu ? HAS_CPU : 0u);
	if (__builtin_popcount(v1) > __builtin_popcount(v2.has)) {
		c.kind = IMMURE_CGROUP_V1;
		v2.has = v1;
	} else {
		c = (struct immure_cgroup_facts){ 0 };
		c.kind = v2.has ? IMMURE_CGROUP_V2 : IMMURE_CGROUP_NONE;
		c.v2 = v2.dir;
		c.v2_enable = v2.enable;
	}
	c.memory = v2.has & HAS_MEMORY;
	c.pids = v2.has & HAS_PIDS;
	c.cpu = v2.has & HAS_CPU;
	*ret = c;
}

static bool real_writable(void *ctx, const char *dir, bool v2)
{
	char procs[4096];

	(void)ctx;
	if (access(dir, W_OK | X_OK) < 0)
		return false;
	if (!v2)
		return true;
	return snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir) < (int)sizeof(procs) &&
	       access(procs, W_OK) == 0;
}

static int real_read(void *ctx, const char *dir, const char *name, char *buf, size_t cap)
{
	char path[4096];
	IMMURE_CLEANUP_FD int fd = -1;
	ssize_t n;

	(void)ctx;
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return (int)n;
}

const struct immure_cgroup_fs immure_cgroup_real_fs = {
	.writable = real_writable,
	.read = real_read,
};
