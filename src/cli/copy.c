/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "cli/cli.h"

int immure_copy_bytes(int from, int to)
{
	struct stat st;
	char buf[65536];

	if (fstat(from, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));
		int r;

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = immure_write_all(to, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

/* Bits that would mean something else on the other side are not taken along. */
static mode_t plain_mode(const struct stat *st)
{
	return st->st_mode & 0777;
}

/* One side. In a session everything is named from its root: what a name means is the
 * session's to say at every step, and nothing is reached by a descriptor that its links
 * led to. */
struct side {
	immure_session *session; /* NULL: here */
	char path[PATH_MAX];     /* then, where we are */
};

struct copying {
	struct side from, to;
};

static int enter(struct side *s, const char *name, size_t *ret_back)
{
	*ret_back = s->session ? strlen(s->path) : 0;
	if (!s->session)
		return 0;
	if (*ret_back + 1 + strlen(name) >= sizeof(s->path))
		return -ENAMETOOLONG;
	(void)sprintf(s->path + *ret_back, "/%s", name); /* fits */
	return 0;
}

static void leave(struct side *s, size_t back)
{
	if (s->session)
		s->path[back] = '\0';
}

/* What was entered, in dir under that name. >= 0 or -errno. */
static int open_side(const struct side *s, int dir, const char *name, int flags, mode_t mode)
{
	struct immure_error *err = NULL;
	int32_t fd = -1;

	if (!s->session) {
		fd = openat(dir, name, flags | O_CLOEXEC, mode);
		return fd < 0 ? -errno : fd;
	}
	if (immure_session_open_file(s->session, s->path, flags, mode, &fd, &err) < 0) {
		int errnum = immure_error_errno(err);

		immure_error_free(err);
		return errnum ? -errnum : -EIO;
	}
	return fd;
}

static int make_side(const struct side *s, int dir, const char *name, mode_t mode)
{
	struct immure_error *err = NULL;
	int errnum;

	if (!s->session)
		return mkdirat(dir, name, mode) < 0 ? -errno : 0;
	if (immure_session_make_directory(s->session, s->path, mode, &err) == 0)
		return 0;
	errnum = immure_error_errno(err);
	immure_error_free(err);
	return errnum ? -errnum : -EIO;
}

static int copy_file(const struct copying *c, int from, const struct stat *st, int to_dir, const char *name)
{
	IMMURE_CLEANUP_FD int to = open_side(&c->to, to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
					     O_NONBLOCK, plain_mode(st) | 0200);
	struct stat is;
	int r;

	if (to < 0)
		return to;
	if (fstat(to, &is) < 0)
		return -errno;
	if (!S_ISREG(is.st_mode))
		return -EEXIST;
	r = immure_copy_bytes(from, to);
	if (r == 0 && fchmod(to, plain_mode(st)) < 0)
		r = -errno;
	return r;
}

enum { DEPTH_MAX = 128 };

static int copy_any(struct copying *c, int from, int to_dir, const char *name, int depth);

/* How many were left out, or -errno. */
static int copy_entry(struct copying *c, int from, int to, const char *name, int depth)
{
	size_t from_back, to_back;
	int r = enter(&c->from, name, &from_back), fd, done;

	if (r < 0)
		return r;
	fd = open_side(&c->from, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0) {
		immure_cli_say("cp: %s: left out: %s", name,
			       fd == -ELOOP ? "it is a symbolic link" : strerror(-fd));
		leave(&c->from, from_back);
		return 1;
	}
	done = enter(&c->to, name, &to_back);
	if (done == 0)
		done = copy_any(c, fd, to, name, depth + 1);
	leave(&c->to, to_back);
	leave(&c->from, from_back);
	immure_close(&fd);
	return done;
}

static int copy_entries(struct copying *c, int from, int to, int depth)
{
	int list = fcntl(from, F_DUPFD_CLOEXEC, 3), left_out = 0, r = 0;
	DIR *d = list < 0 ? NULL : fdopendir(list);
	struct dirent *e;

	if (!d) {
		immure_close(&list);
		return -errno;
	}
	while (r >= 0 && (e = immure_readdir(d, &r))) {
		r = copy_entry(c, from, to, e->d_name, depth);
		left_out += r > 0 ? r : 0;
	}
	(void)closedir(d); /* nothing was written */
	return r < 0 ? r : left_out;
}

static int copy_directory(struct copying *c, int from, const struct stat *st, int to_dir, const char *name,
			  int depth)
{
	IMMURE_CLEANUP_FD int to = -1;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	r = make_side(&c->to, to_dir, name, plain_mode(st) | 0700);
	if (r < 0 && r != -EEXIST)
		return r;
	to = open_side(&c->to, to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (to < 0)
		return to;
	r = copy_entries(c, from, to, depth);
	if (r >= 0 && fchmod(to, plain_mode(st)) < 0)
		r = -errno;
	return r;
}

static int copy_any(struct copying *c, int from, int to_dir, const char *name, int depth)
{
	struct stat st;
	int r = 0;

	if (fstat(from, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_directory(c, from, &st, to_dir, name, depth);
	if (S_ISREG(st.st_mode)) {
		r = copy_file(c, from, &st, to_dir, name);
	} else {
		immure_cli_say("cp: %s: left out: neither a file nor a directory", name);
		r = 1;
	}
	if (r < 0)
		immure_cli_say("cp: %s: %s", name, strerror(-r));
	return r;
}

int immure_copy_tree(const struct immure_copy *copy)
{
	struct copying *c = calloc(1, sizeof(*c));
	size_t back;
	int r = c ? 0 : -ENOMEM;

	if (r == 0) {
		c->from.session = copy->from_session;
		c->to.session = copy->to_session;
		if (strlen(copy->from_path) >= PATH_MAX || strlen(copy->to_path) >= PATH_MAX)
			r = -ENAMETOOLONG;
	}
	if (r == 0) {
		(void)strcpy(c->from.path, copy->from_path); /* fits */
		(void)strcpy(c->to.path, copy->to_path);     /* as above */
		r = enter(&c->to, copy->name, &back);
	}
	if (r == 0)
		r = copy_any(c, copy->from_fd, copy->to_dir, copy->name, 0);
	if (r == -ENAMETOOLONG || r == -ENOMEM)
		immure_cli_say("cp: %s: %s", copy->name, strerror(-r));
	free(c);
	return r;
}
