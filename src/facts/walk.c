/* SPDX-License-Identifier: Apache-2.0 */
/* Path resolution by hand, a component and a descriptor at a time: the slow way
 * for hosts without openat2 (before Linux 5.6, or an old seccomp filter around
 * us). Links of procfs that lead to an open file ("magic") are not followed. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif

enum { MAX_LINKS = 40 };

struct walk {
	int dir;               /* O_PATH of what `real` names */
	char real[PATH_MAX];   /* "" is the root */
	char rest[PATH_MAX];   /* what is still to be resolved */
	unsigned int links;
};

/* In procfs only the links in its root directory (inode 1: self, mounts, net,
 * thread-self) are ordinary ones. */
static bool is_magic(int link, int parent)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(link, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return false;
	return fstat(parent, &st) < 0 || st.st_ino != 1;
}

static int enter(struct walk *w, int *fd)
{
	immure_close(&w->dir);
	w->dir = immure_take_fd(fd);
	return 0;
}

static int go_root(struct walk *w)
{
	int fd = open("/", O_PATH | O_CLOEXEC | O_DIRECTORY);

	if (fd < 0)
		return -errno;
	w->real[0] = '\0';
	return enter(w, &fd);
}

static int go_up(struct walk *w)
{
	char *slash = strrchr(w->real, '/');
	int fd;

	if (!slash)
		return 0;
	fd = openat(w->dir, "..", O_PATH | O_CLOEXEC | O_DIRECTORY);
	if (fd < 0)
		return -errno;
	*slash = '\0';
	return enter(w, &fd);
}

static int append(char *to, const char *name)
{
	size_t n = strlen(to), len = strlen(name);

	if (n + 1 + len >= PATH_MAX)
		return -ENAMETOOLONG;
	to[n] = '/';
	memcpy(to + n + 1, name, len + 1);
	return 0;
}

/* Puts a link's text before what is left to resolve. */
static int follow(struct walk *w, const char *target)
{
	char joined[PATH_MAX];
	size_t len = strlen(target);

	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (len + 1 + strlen(w->rest) >= sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(joined, target, len);
	joined[len] = '/';
	strcpy(joined + len + 1, w->rest);
	strcpy(w->rest, joined);
	return target[0] == '/' ? go_root(w) : 0;
}

static int step(struct immure_arena *a, struct walk *w, const char *name, bool last_asked,
		struct immure_fact_path *ret)
{
	IMMURE_CLEANUP_FD int fd = -1;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;
	int r;

	fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode)) {
		r = append(w->real, name);
		return r < 0 ? r : enter(w, &fd);
	}
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		return -errno;
	if (n == (ssize_t)sizeof(target))
		return -ENAMETOOLONG;
	target[n] = '\0';
	if (last_asked) {
		ret->link = true;
		ret->link_target = immure_arena_strdup(a, target);
	}
	return is_magic(fd, w->dir) ? -ELOOP : follow(w, target);
}

static int walk(struct immure_arena *a, struct walk *w, struct immure_fact_path *ret)
{
	int r = go_root(w);

	while (r >= 0) {
		char name[NAME_MAX + 1];
		size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/");

		if (n == 0)
			break;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, w->rest + skip, n);
		name[n] = '\0';
		memmove(w->rest, w->rest + skip + n, strlen(w->rest + skip + n) + 1);
		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			r = go_up(w);
			continue;
		}
		/* An expanded link leaves a slash behind it, so nothing at all
		 * remains only at the last component that was asked for. */
		r = step(a, w, name, w->rest[0] == '\0' && !ret->link, ret);
	}
	return r;
}

void immure_facts_walk(struct immure_arena *a, const char *path, struct immure_fact_path *ret)
{
	struct walk w = { .dir = -1 };
	struct stat st;
	int r;

	if (strlen(path) >= sizeof(w.rest)) {
		ret->errnum = ENAMETOOLONG;
		return;
	}
	strcpy(w.rest, path);
	r = walk(a, &w, ret);
	if (r >= 0 && fstat(w.dir, &st) < 0)
		r = -errno;
	if (r >= 0) {
		ret->real = immure_arena_strdup(a, w.real[0] ? w.real : "/");
		immure_facts_set_stat(ret, &st);
	} else if (r != -ENOENT && r != -ENOTDIR) {
		ret->errnum = -r;
	}
	immure_close(&w.dir);
}
