/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper directory beside the real one. Of overlayfs's marks these count:
 *
 *   character device 0:0          a whiteout: what the real tree has there is removed
 *   directory, opaque attribute   what the real directory has and this one has not, is removed
 *   file, origin attribute        was copied up: there was a real one then
 *
 * Everything else in an upper directory is a whole object that covers the real one;
 * metacopy and redirect_dir are off.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "base/path.h"
#include "changes/changes.h"

struct walk {
	struct immure_changes *c;
	struct immure_error **err;
	dev_t dev;           /* of the real tree */
	char path[IMMURE_CHANGES_PATH + 260];
	size_t len;
};

struct place { /* one directory of both */
	int upper, real;     /* real -1: nothing there, or no directory */
	size_t depth;
	bool opaque, setgid;
	const char *refused; /* everything in it is */
	struct immure_guard_repo repo;
	const char *name;
};

static int32_t fail(struct walk *w, int errnum, const char *what)
{
	return immure_fail(w->err, errnum == E2BIG ? IMMURE_ERR_UNSUPPORTED : IMMURE_ERR_IO, errnum, "diff", w->path,
			   "%s: %s: %s", w->path[0] ? w->path : ".", what, strerror(errnum));
}

static struct immure_change *add(struct walk *w, enum immure_change_kind kind, const struct stat *now,
				 const struct stat *was)
{
	struct immure_changes *c = w->c;
	struct immure_change *ch;

	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		void *v = c->n < IMMURE_CHANGES_MAX ? reallocarray(c->v, cap, sizeof(*c->v)) : NULL;

		if (!v) {
			(void)fail(w, c->n < IMMURE_CHANGES_MAX ? ENOMEM : E2BIG, "too many changes");
			return NULL;
		}
		c->v = v;
		c->cap = cap;
	}
	ch = &c->v[c->n];
	*ch = (struct immure_change){ .kind = (uint8_t)kind };
	ch->path = immure_arena_strdup(&c->arena, w->path);
	if (!ch->path) {
		(void)fail(w, ENOMEM, "too many changes");
		return NULL;
	}
	if (now) {
		ch->type = immure_change_type(now->st_mode);
		ch->mode = now->st_mode & 07777;
		ch->size = S_ISREG(now->st_mode) ? (uint64_t)now->st_size : 0;
	}
	if (was) {
		ch->was = immure_change_type(was->st_mode);
		ch->was_mode = was->st_mode & 07777;
		ch->ino = was->st_ino;
		ch->ctim = was->st_ctim;
	}
	c->n++;
	return ch;
}

/* ---- conflicts ---- */

static bool is_later(const struct walk *w, const struct stat *st)
{
	const struct timespec *since = &w->c->meta.since;

	if (st->st_ctim.tv_sec < since->tv_sec ||
	    (st->st_ctim.tv_sec == since->tv_sec && st->st_ctim.tv_nsec < since->tv_nsec))
		return false;
	return !immure_log_is_ours(w->c, st->st_ino, &st->st_ctim);
}

/* Something below a directory that would be removed is newer than the session. */
static bool newer_below(const struct walk *w, int dir, const char *name, size_t depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool newer = false;
	int r = 0;

	if (!d || depth > IMMURE_CHANGES_DEPTH) {
		if (d)
			(void)closedir(d);
		else
			immure_close(&fd);
		return true; /* what cannot be looked at is not removed unasked */
	}
	while (!newer && (e = immure_readdir(d, &r))) {
		struct stat st;

		newer = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_later(w, &st) ||
			st.st_dev != w->dev;
		if (!newer && S_ISDIR(st.st_mode))
			newer = newer_below(w, dirfd(d), e->d_name, depth + 1);
	}
	newer = newer || r < 0; /* a part of it is not all of it */
	(void)closedir(d); /* read only: nothing is lost */
	return newer;
}

static const char *conflict(const struct walk *w, const struct place *p, const char *name,
			    enum immure_change_kind kind, const struct stat *was)
{
	if (!was)
		return NULL;
	if (is_later(w, was)) /* of a directory: also that it is another one, though an empty one */
		return "it was changed since";
	if (S_ISDIR(was->st_mode) && (kind == IMMURE_CHANGE_REMOVED || kind == IMMURE_CHANGE_REPLACED))
		return newer_below(w, p->real, name, p->depth) ? "something in it was changed since" : NULL;
	return NULL;
}

/* ---- one entry ---- */

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static bool has_mark(int fd, const char *name)
{
	return fgetxattr(fd, name, NULL, 0) >= 0;
}

static bool was_copied_up(int dir, const char *name)
{
	struct stat st;
	IMMURE_CLEANUP_FD int fd = immure_content_open(dir, name, &st);

	return fd >= 0 && has_mark(fd, "user.overlay.origin");
}

static int32_t removed(struct walk *w, const struct place *p, const char *name, const struct stat *was)
{
	struct immure_change *ch = add(w, IMMURE_CHANGE_REMOVED, NULL, was);

	if (!ch)
		return -IMMURE_ERR_NOMEM;
	ch->refused = p->refused ? p->refused : was->st_dev != w->dev ? "another file system is mounted there" :
		      immure_guard_path(w->c->guard, ch->path, true, -1, name, p->depth);
	ch->conflict = conflict(w, p, name, IMMURE_CHANGE_REMOVED, was);
	return 0;
}

static const char *judge(struct walk *w, const struct place *p, const char *name, const struct stat *now,
			 const struct stat *was)
{
	const char *why = p->refused ? p->refused : immure_guard_stat(now, p->setgid);
	char text[4096];
	ssize_t n;

	if (!why && was && was->st_dev != w->dev)
		why = "another file system is mounted there";
	if (!why)
		why = immure_guard_path(w->c->guard, w->path, !S_ISDIR(now->st_mode) || (was && !S_ISDIR(was->st_mode)),
					p->upper, name, p->depth);
	if (!why)
		why = immure_guard_repo(w->c->guard, &p->repo, p->name, name);
	if (why || !S_ISLNK(now->st_mode))
		return why;
	n = readlinkat(p->upper, name, text, sizeof(text) - 1);
	if (n < 0)
		return "a link that cannot be read";
	text[n] = '\0';
	return strlen(text) == (size_t)n ? immure_guard_link(w->c->guard, text, p->depth) : "no link";
}

/* 1 the same, 0 not, or -errno. */
static int same_object(const struct place *p, const char *name, const struct stat *now)
{
	if (S_ISLNK(now->st_mode)) {
		char a[4096], b[4096];
		ssize_t n = readlinkat(p->upper, name, a, sizeof(a)), m = readlinkat(p->real, name, b, sizeof(b));

		return n >= 0 && n == m && memcmp(a, b, (size_t)n) == 0;
	}
	struct stat st;
	IMMURE_CLEANUP_FD int upper = immure_content_open(p->upper, name, &st);
	IMMURE_CLEANUP_FD int real = immure_content_open(p->real, name, &st);

	/* What cannot be read of the real one is told as changed. */
	return upper < 0 ? upper : real < 0 ? 0 : immure_content_same(upper, real);
}

static int32_t plain(struct walk *w, const struct place *p, const char *name, const struct stat *now,
		     const struct stat *was)
{
	enum immure_change_kind kind = IMMURE_CHANGE_ADDED;
	struct immure_change *ch;
	struct stat dir;
	int same;

	if (was && (was->st_mode & S_IFMT) != (now->st_mode & S_IFMT)) {
		kind = IMMURE_CHANGE_REPLACED;
	} else if (was && (S_ISREG(now->st_mode) || S_ISLNK(now->st_mode))) {
		same = same_object(p, name, now);
		if (same < 0)
			return fail(w, -same, "cannot be read");
		if (same && (S_ISLNK(now->st_mode) || (was->st_mode & 07777) == (now->st_mode & 07777)))
			return 0;
		kind = same ? IMMURE_CHANGE_MODE : IMMURE_CHANGE_MODIFIED;
	} else if (was) {
		kind = IMMURE_CHANGE_MODIFIED; /* of a type that is refused anyway */
	}
	ch = add(w, kind, now, was);
	if (!ch)
		return -IMMURE_ERR_NOMEM;
	ch->refused = judge(w, p, name, now, was);
	ch->conflict = conflict(w, p, name, kind, was);
	/* Where nobody took anything away, it was moved here from another place. */
	if (kind == IMMURE_CHANGE_ADDED && S_ISREG(now->st_mode) && p->real >= 0 &&
	    fstat(p->real, &dir) == 0 && is_later(w, &dir) && was_copied_up(p->upper, name))
		ch->conflict = "it was removed since";
	return 0;
}

static int32_t walk_dir(struct walk *w, struct place *p);

static int open_upper(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	unsigned int before;

	if (fd < 0 && errno == EACCES) {
		fd = immure_open_anyway(dir, name, O_DIRECTORY, 0700, &before);
		if (fd >= 0)
			(void)!fchmod(fd, before); /* readable to its owner only, at worst */
		return fd;
	}
	return fd < 0 ? -errno : fd;
}

static int32_t directory(struct walk *w, const struct place *p, const char *name, const struct stat *now,
			 const struct stat *was)
{
	bool both = was && S_ISDIR(was->st_mode);
	struct place sub = { .real = -1, .depth = p->depth + 1, .name = name, .refused = p->refused };
	struct immure_change *ch = NULL;
	int32_t r;

	if (!both || (was->st_mode & 0777) != (now->st_mode & 0777)) {
		ch = add(w, both ? IMMURE_CHANGE_MODE : was ? IMMURE_CHANGE_REPLACED : IMMURE_CHANGE_ADDED, now, was);
		if (!ch)
			return -IMMURE_ERR_NOMEM;
		ch->refused = judge(w, p, name, now, was);
		ch->conflict = conflict(w, p, name, ch->kind, was);
		if (ch->refused && !both)
			sub.refused = ch->refused;
	}
	/* Hooks that land in what stands there are obeyed as those of a new one are. */
	if (both && !sub.refused)
		sub.refused = immure_guard_repo(w->c->guard, &p->repo, p->name, name);
	if (both && was->st_dev != w->dev)
		sub.refused = "another file system is mounted there";
	if (sub.depth > IMMURE_CHANGES_DEPTH)
		return fail(w, ELOOP, "too deep");
	sub.upper = open_upper(p->upper, name);
	if (sub.upper < 0)
		return fail(w, -sub.upper, "cannot be read");
	/* Below an opaque directory nothing of the real tree was seen, marked or not. */
	sub.opaque = p->opaque || has_mark(sub.upper, "user.overlay.opaque");
	if (both)
		sub.real = openat(p->real, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (both && sub.real < 0)
		sub.refused = "the real directory cannot be read";
	r = walk_dir(w, &sub);
	immure_close(&sub.upper);
	immure_close(&sub.real);
	return r;
}

static int32_t entry(struct walk *w, const struct place *p, const char *name)
{
	size_t before = w->len, n = strlen(name);
	struct stat now, was, *real = NULL;
	int32_t r;

	if (w->len + n + 2 > IMMURE_CHANGES_PATH)
		return fail(w, ENAMETOOLONG, "too deep");
	if (w->len)
		w->path[w->len++] = '/';
	memcpy(w->path + w->len, name, n + 1);
	w->len += n;
	if (p->real >= 0 && fstatat(p->real, name, &was, AT_SYMLINK_NOFOLLOW) == 0)
		real = &was;
	if (fstatat(p->upper, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		r = errno == ENOENT ? 0 : fail(w, errno, "cannot be examined");
	else if (is_whiteout(&now))
		r = real ? removed(w, p, name, real) : 0;
	else if (S_ISDIR(now.st_mode))
		r = directory(w, p, name, &now, real);
	else
		r = plain(w, p, name, &now, real);
	w->len = before;
	w->path[before] = '\0';
	return r;
}

/* ---- one directory ---- */

/* In an opaque directory what only the real one has is gone. */
static int32_t missing(struct walk *w, const struct place *p, const struct immure_names *upper, const struct immure_names *real)
{
	int32_t r = 0;

	for (size_t i = 0; r == 0 && i < real->n; i++) {
		size_t before = w->len, n = strlen(real->v[i]);
		struct stat was;

		if (immure_names_has(upper, real->v[i]))
			continue;
		if (fstatat(p->real, real->v[i], &was, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (w->len + n + 2 > IMMURE_CHANGES_PATH)
			return fail(w, ENAMETOOLONG, "too deep");
		(void)snprintf(w->path + w->len, sizeof(w->path) - w->len, "%s%s", w->len ? "/" : "", real->v[i]);
		w->len = strlen(w->path);
		r = removed(w, p, real->v[i], &was);
		w->len = before;
		w->path[before] = '\0';
	}
	return r;
}

static void look_for_repository(struct place *p, const struct immure_names *upper, const struct immure_names *real)
{
	struct stat st;

	for (size_t i = 0; i < upper->n; i++)
		if (fstatat(p->upper, upper->v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&st))
			immure_guard_see(&p->repo, upper->v[i]);
	for (size_t i = 0; i < real->n; i++)
		immure_guard_see(&p->repo, real->v[i]);
}

static int32_t walk_dir(struct walk *w, struct place *p)
{
	struct immure_names upper = { 0 }, real = { 0 };
	struct stat st;
	int r = immure_names_read(p->upper, IMMURE_CHANGES_MAX, &upper);
	int32_t ret = 0;

	if (r == 0 && p->real >= 0)
		r = immure_names_read(p->real, IMMURE_CHANGES_MAX, &real);
	if (r < 0)
		ret = fail(w, -r, "cannot be read");
	p->setgid = p->real >= 0 && fstat(p->real, &st) == 0 && st.st_mode & S_ISGID;
	look_for_repository(p, &upper, &real);
	for (size_t i = 0; ret == 0 && i < upper.n; i++)
		ret = entry(w, p, upper.v[i]);
	if (ret == 0 && p->opaque && p->real >= 0)
		ret = missing(w, p, &upper, &real);
	immure_names_done(&upper);
	immure_names_done(&real);
	return ret;
}

/* With "/" before every other byte, so that what is below something follows it at once. */
static int compare(const char *a, const char *b)
{
	unsigned int x, y;

	while (*a == *b && *a)
		a++, b++;
	x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1U : 0;
	y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1U : 0;
	return (x > y) - (x < y);
}

static int by_path(const void *x, const void *y)
{
	const struct immure_change *a = x, *b = y;

	return compare(a->path, b->path);
}

struct immure_change *immure_changes_find(const struct immure_changes *c, const char *path)
{
	const struct immure_change key = { .path = path };

	return c->n ? bsearch(&key, c->v, c->n, sizeof(*c->v), by_path) : NULL;
}

int32_t immure_changes_walk(struct immure_changes *c, struct immure_error **err)
{
	struct walk w = { .c = c, .err = err };
	struct place top = { .upper = c->upper_fd, .real = c->real_fd, .name = "" };
	struct stat st;
	int32_t r;

	c->n = 0;
	if (c->real_fd >= 0 && fstat(c->real_fd, &st) == 0)
		w.dev = st.st_dev;
	r = walk_dir(&w, &top);
	if (r == 0 && c->n)
		qsort(c->v, c->n, sizeof(*c->v), by_path);
	for (size_t i = 0; r == 0 && c->why_not && i < c->n; i++)
		c->v[i].refused = c->why_not;
	return r;
}
