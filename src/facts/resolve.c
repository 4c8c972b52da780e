/* SPDX-License-Identifier: Apache-2.0 */
/* What stands at the paths that the planner asks about. Most of them have no
 * symlink on the way, so that is tried first: then the real path is the path,
 * and an absent one costs a single system call. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "kernel/dirset.h"

static int open_path(const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(O_PATH | O_CLOEXEC | flags),
		.resolve = RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static bool means_absent(int r)
{
	return r == -ENOENT || r == -ENOTDIR;
}

/* The path of an open descriptor. -ESTALE when the file was removed meanwhile,
 * cannot be seen from our root, or there is no /proc to ask. */
static int path_of(struct immure_arena *a, int fd, const char **ret)
{
	char name[32], text[4096 + 1];
	struct stat at, self;
	ssize_t n;

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, text, sizeof(text) - 1);
	if (n < 0)
		return -ESTALE;
	text[n] = '\0';
	if (n == (ssize_t)sizeof(text) - 1 || !immure_path_is_normal(text))
		return -ESTALE;
	/* " (deleted)" may be part of a name; only asking again tells. */
	if (n > 10 && strcmp(text + n - 10, " (deleted)") == 0 &&
	    (lstat(text, &at) < 0 || fstat(fd, &self) < 0 || at.st_ino != self.st_ino ||
	     at.st_dev != self.st_dev))
		return -ESTALE;
	*ret = immure_arena_strdup(a, text);
	return *ret ? 0 : -ENOMEM;
}

static int read_link(struct immure_arena *a, int fd, const char **ret)
{
	char text[4096 + 1];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));

	if (n < 0)
		return -errno;
	if (n == (ssize_t)sizeof(text))
		return -ENAMETOOLONG;
	*ret = immure_arena_strndup(a, text, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

/* There is a symlink somewhere on the way, perhaps at the end. */
static int examine_links(struct immure_arena *a, struct immure_fact_path *p)
{
	IMMURE_CLEANUP_FD int last = open_path(p->path, O_NOFOLLOW, 0);
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st;
	int r;

	if (last < 0)
		return last;
	if (fstat(last, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode)) {
		p->link = true;
		r = read_link(a, last, &p->link_target);
		if (r < 0)
			return r;
		fd = open_path(p->path, 0, 0);
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			return -errno;
	}
	r = path_of(a, fd >= 0 ? fd : last, &p->real);
	if (r < 0)
		return r;
	immure_facts_set_stat(p, &st);
	return 0;
}

/* *plain: there is no openat2 here, found out once a call. A seccomp filter
 * older than the call answers EPERM, which the call itself never does. */
static void examine_one(struct immure_arena *a, struct immure_fact_path *p, bool *plain)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st;
	int r;

	if (!*plain) {
		fd = open_path(p->path, 0, RESOLVE_NO_SYMLINKS);
		*plain = fd == -ENOSYS || fd == -EPERM;
	}
	if (*plain) {
		immure_facts_walk(a, p->path, p);
		return;
	}
	if (fd >= 0) {
		if (fstat(fd, &st) < 0) {
			p->errnum = errno;
			return;
		}
		p->real = p->path;
		immure_facts_set_stat(p, &st);
		return;
	}
	r = fd == -ELOOP ? examine_links(a, p) : fd;
	if (r == -ESTALE) {
		p->link = false; /* no /proc, or it changed under us: look again by hand */
		p->link_target = NULL;
		immure_facts_walk(a, p->path, p);
		return;
	}
	if (r < 0 && !means_absent(r))
		p->errnum = -r;
}

/* ---- many at once ----
 *
 * The paths are walked as a tree, one directory at a time, each opened once and
 * never through a symlink; in a directory with many names to look for, one pass
 * over its entries rules out most of them. Whatever is not plain on the way (a
 * link, a refusal) is left to examine_one(). */

enum { MANY_NAMES = 6, ENTRIES_MOST = 4000, SIZE_PER_NAME = 80 };

struct batch {
	struct immure_arena *a;
	struct immure_fact_path **v; /* sorted */
	bool plain;
};

static size_t name_len(const char *s)
{
	size_t n = 0;

	while (s[n] && s[n] != '/')
		n++;
	return n;
}

static void each_alone(struct batch *b, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		examine_one(b->a, b->v[i], &b->plain);
}

/* What a link says, put after its directory, the len first bytes of path (with the slash).
 * ".." at its beginning leads to the parent, because no link led to the directory; further on
 * what it means has to be looked up. False: it is not known, or too long. */
static bool spell_out(const char *path, size_t len, const char *text, char *ret, size_t size)
{
	int n;

	while (text[0] == '.' && text[1] == '.' && text[2] == '/') {
		text += 3;
		len -= len > 1;
		while (path[len - 1] != '/')
			len--;
	}
	n = text[0] == '/' ? snprintf(ret, size, "%s", text) :
			     snprintf(ret, size, "%.*s%s", (int)len, path, text);
	return n > 0 && (size_t)n < size && immure_path_is_normal(ret);
}

/* Most links lead to something without another one on the way: then its path is plain from
 * what the link says. dir is open, and path names the link in it from at on. False: it is left
 * to examine_one(). */
static bool plain_link(struct batch *b, int dir, const char *name, size_t at, struct immure_fact_path *p)
{
	char text[256], real[512];
	ssize_t n = b->plain ? -1 : readlinkat(dir, name, text, sizeof(text) - 1);
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st;

	if (n <= 0 || n == (ssize_t)sizeof(text) - 1)
		return false;
	text[n] = '\0';
	if (!spell_out(p->path, at, text, real, sizeof(real)))
		return false;
	fd = open_path(real, 0, RESOLVE_NO_SYMLINKS);
	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	p->link = true;
	p->link_target = immure_arena_strdup(b->a, text);
	p->real = immure_arena_strdup(b->a, real);
	immure_facts_set_stat(p, &st);
	return true;
}

static void examine_below(struct batch *b, int dir, size_t from, size_t to, size_t at);

/* v[from..to) all have the component of length len at offset at. */
static void examine_name(struct batch *b, int dir, size_t from, size_t to, size_t at, size_t len)
{
	char name[256];
	struct stat st;
	size_t i = from;
	int sub;

	if (len >= sizeof(name)) {
		each_alone(b, from, to);
		return;
	}
	memcpy(name, b->v[from]->path + at, len);
	name[len] = '\0';
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			each_alone(b, from, to);
		return;
	}
	if (S_ISLNK(st.st_mode)) {
		if (from < to && b->v[from]->path[at + len] == '\0' && plain_link(b, dir, name, at, b->v[from]))
			from++;
		each_alone(b, from, to);
		return;
	}
	for (; i < to && b->v[i]->path[at + len] == '\0'; i++) {
		b->v[i]->real = b->v[i]->path;
		immure_facts_set_stat(b->v[i], &st);
	}
	if (i == to || !S_ISDIR(st.st_mode))
		return;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0 && errno == EACCES) /* may be passed through, not listed */
		sub = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0) {
		each_alone(b, i, to);
		return;
	}
	examine_below(b, sub, i, to, at + len + 1);
	immure_close(&sub);
}

/* A listing costs about half a lookup an entry, and a directory's size tells
 * roughly how many it may have. */
static bool listing_pays(const struct batch *b, int dir, size_t from, size_t to, size_t at)
{
	struct stat st;
	size_t distinct = 0;

	if (to - from < MANY_NAMES)
		return false;
	for (size_t i = from; i < to; i++) {
		const char *name = b->v[i]->path + at;

		if (i == from || strncmp(b->v[i - 1]->path + at, name, name_len(name) + 1) != 0)
			distinct++;
	}
	return distinct >= MANY_NAMES && fstat(dir, &st) == 0 && st.st_size >= 0 &&
	       (size_t)st.st_size <= distinct * SIZE_PER_NAME;
}

static void examine_below(struct batch *b, int dir, size_t from, size_t to, size_t at)
{
	struct immure_dirset names = { .complete = false };

	if (listing_pays(b, dir, from, to, at))
		immure_dirset_read(&names, dir, ENTRIES_MOST);
	for (size_t i = from, next; i < to; i = next) {
		const char *name = b->v[i]->path + at;
		size_t len = name_len(name);

		for (next = i + 1; next < to; next++)
			if (strncmp(b->v[next]->path + at, name, len) != 0 ||
			    (b->v[next]->path[at + len] != '/' && b->v[next]->path[at + len] != '\0'))
				break;
		if (immure_dirset_may_have(&names, name, len))
			examine_name(b, dir, i, next, at, len);
	}
}

void immure_facts_resolve(struct immure_arena *a, struct immure_fact_path **v, size_t n)
{
	IMMURE_CLEANUP_FD int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct batch b = { .a = a, .v = v };

	/* "/" itself, when asked for, sorts first and has no component. */
	size_t from = n && v[0]->path[1] == '\0' ? 1 : 0;

	each_alone(&b, 0, top < 0 ? n : from);
	if (top >= 0)
		examine_below(&b, top, from, n, 1);
}
