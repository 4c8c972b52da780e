/* SPDX-License-Identifier: Apache-2.0 */
/* What stands at the paths that the planner asks about. Most of them have no
 * symlink on the way, so that is tried first: then the real path is the path,
 * and an absent one costs a single system call. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/sort.h"
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

void immure_facts_set_stat(struct immure_fact_path *p, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR: p->type = 'd'; break;
	case S_IFREG: p->type = 'f'; break;
	case S_IFLNK: p->type = 'l'; break;
	case S_IFSOCK: p->type = 's'; break;
	case S_IFIFO: p->type = 'p'; break;
	case S_IFBLK: p->type = 'b'; break;
	case S_IFCHR: p->type = 'c'; break;
	default: p->errnum = EINVAL; break;
	}
	p->mode = st->st_mode & 07777;
	p->uid = st->st_uid;
	p->gid = st->st_gid;
	p->dev = st->st_dev;
	p->ino = st->st_ino;
	p->nlink = st->st_nlink;
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

static void examine_all(struct batch *b, size_t n)
{
	IMMURE_CLEANUP_FD int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* "/" itself, when asked for, sorts first and has no component. */
	size_t from = n && b->v[0]->path[1] == '\0' ? 1 : 0;

	each_alone(b, 0, top < 0 ? n : from);
	if (top >= 0)
		examine_below(b, top, from, n, 1);
}

static int compare_paths(const void *x, const void *y)
{
	const struct immure_fact_path *a = x, *b = y;

	return strcmp(a->path, b->path);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* ---- finding one again ----
 *
 * The planner looks up each of some hundred paths, most of them several times.
 * The index is a hash table with open addressing, at most half full: a slot is
 * the place in paths plus one, 0 = empty. */

/* Paths differ at their ends: the last sixteen bytes and the length. */
static uint32_t hash(const char *s)
{
	const uint64_t odd = 0x9e3779b97f4a7c15U;
	size_t n = strlen(s);
	uint64_t h = n * odd, w;

	if (n < 8) {
		for (; *s; s++)
			h = (h ^ (unsigned char)*s) * odd;
		return (uint32_t)(h >> 32);
	}
	memcpy(&w, s + n - 8, sizeof(w));
	h = (h ^ w) * odd;
	memcpy(&w, s + (n < 16 ? 0 : n - 16), sizeof(w));
	h = (h ^ h >> 29 ^ w) * odd;
	return (uint32_t)(h >> 32);
}

static void make_index(struct immure_facts *f)
{
	size_t slots = 64;

	f->path_index = NULL;
	if (f->paths_n > UINT16_MAX / 2)
		return;
	while (slots < 2 * f->paths_n)
		slots *= 2;
	f->path_index = immure_arena_alloc(&f->arena, slots * sizeof(*f->path_index));
	f->path_slots = slots;
	for (size_t i = 0; f->path_index && i < f->paths_n; i++) {
		size_t at = hash(f->paths[i].path) & (slots - 1);

		while (f->path_index[at])
			at = (at + 1) & (slots - 1);
		f->path_index[at] = (uint16_t)(i + 1);
	}
}

const struct immure_fact_path *immure_facts_path(const struct immure_facts *f, const char *path)
{
	struct immure_fact_path key = { .path = path };

	if (f->paths_n == 0)
		return NULL;
	if (!f->path_index)
		return bsearch(&key, f->paths, f->paths_n, sizeof(key), compare_paths);
	for (size_t at = hash(path);; at++) {
		unsigned int i = f->path_index[at & (f->path_slots - 1)];

		if (i == 0)
			return NULL;
		if (strcmp(f->paths[i - 1].path, path) == 0)
			return &f->paths[i - 1];
	}
}

static int32_t examine(struct immure_facts *f, const struct immure_strv *paths, bool own,
		       struct immure_error **err)
{
	struct immure_fact_path *all;
	struct batch batch = { .a = &f->arena };
	const void **sorted;
	size_t n = f->paths_n, out = 0, fresh = 0;

	for (size_t i = 0; !own && i < paths->n; i++) /* the planner's are */
		if (!immure_path_is_normal(paths->v[i]))
			return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "facts", paths->v[i],
					   "%s: not an absolute, normal path", paths->v[i]);
	n += paths->n;
	all = immure_arena_alloc(&f->arena, (n + 1) * sizeof(*all));
	sorted = immure_arena_alloc(&f->arena, 2 * (n + 1) * sizeof(*sorted));
	batch.v = immure_arena_alloc(&f->arena, (n + 1) * sizeof(*batch.v));
	if (!all || !sorted || !batch.v)
		goto oom;
	for (size_t i = 0; i < f->paths_n; i++)
		sorted[i] = f->paths[i].path;
	if (paths->n)
		memcpy(sorted + f->paths_n, paths->v, paths->n * sizeof(*sorted));
	immure_sort(sorted, n, sorted + n + 1, compare_strings);
	for (size_t i = 0; i < n; i++) {
		const struct immure_fact_path *known;

		if (out > 0 && strcmp(all[out - 1].path, sorted[i]) == 0)
			continue;
		known = immure_facts_path(f, sorted[i]);
		if (known) {
			all[out++] = *known;
			continue;
		}
		all[out].path = own ? sorted[i] : immure_arena_strdup(&f->arena, sorted[i]);
		if (!all[out].path)
			goto oom;
		batch.v[fresh++] = &all[out++];
	}
	examine_all(&batch, fresh);
	if (f->arena.failed)
		goto oom;
	f->paths = all;
	f->paths_n = out;
	make_index(f);
	if (f->arena.failed)
		goto oom;
	return 0;
oom:
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
}

int32_t immure_facts_examine(struct immure_facts *f, const struct immure_strv *paths,
			     struct immure_error **err)
{
	return examine(f, paths, false, err);
}

int32_t immure_facts_examine_own(struct immure_facts *f, const struct immure_strv *paths,
				 struct immure_error **err)
{
	return examine(f, paths, true, err);
}
