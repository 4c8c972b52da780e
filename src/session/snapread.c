/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of files made again from what snapwrite.c wrote. Its hash was compared before, and the
 * trees are made where nobody else is yet; all the same nothing that it says is believed further
 * than it can do harm: names are single ones, made below a directory that was just made. */
#include "session/snapreader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"

/* ---- entries ---- */

/* The directory that path, below the area's top, lies in; its last name in *ret_name. Only what
 * was made here is on the way. */
static int open_parent(const struct immure_snap_reader *r, char *path, const char **ret_name)
{
	int dir = openat(r->area->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	while (dir >= 0 && (slash = strchr(path, '/'))) {
		int next;

		*slash = '\0';
		next = immure_snap_is_name(path) ? openat(dir, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		*slash = '/';
		immure_close(&dir);
		dir = next;
		path = slash + 1;
	}
	*ret_name = path;
	if (dir >= 0 && immure_snap_is_name(path))
		return dir;
	immure_close(&dir);
	return -EBADMSG;
}

static int other_name(struct immure_snap_reader *r, int dir)
{
	const char *last = NULL;
	struct stat st;
	int e = immure_snap_get_text(r, 4, r->other, sizeof(r->other));

	if (e < 0 || !r->area)
		return e;
	IMMURE_CLEANUP_FD int from = open_parent(r, r->other, &last);
	if (from < 0)
		return from;
	if (fstatat(from, last, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return -EBADMSG;
	return linkat(from, last, dir, r->name, 0) < 0 ? -errno : 0;
}

/* In a private area init has made mount points, and files of ours: these are there already. */
static int open_new(const struct immure_snap_reader *r, int dir)
{
	int fd = openat(dir, r->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd >= 0 || errno != EEXIST || r->area->kind == IMMURE_AREA_COW)
		return fd < 0 ? -errno : fd;
	if (fstatat(dir, r->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EEXIST;
	fd = openat(dir, r->name, O_RDWR | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make_file(struct immure_snap_reader *r, int dir, struct immure_snap_attributes *a)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int e = immure_snap_get_attributes(r, a);

	if (e < 0)
		return e;
	if (r->area) {
		fd = open_new(r, dir);
		if (fd < 0)
			return fd;
	}
	e = immure_snap_get_contents(r, fd);
	return e < 0 || !r->area ? e : immure_snap_finish(r, fd, a);
}

static int make_link(struct immure_snap_reader *r, int dir, struct immure_snap_attributes *a)
{
	char text[IMMURE_SNAP_LABEL];
	int e = immure_snap_get_attributes(r, a);

	if (e == 0)
		e = immure_snap_get_text(r, 2, text, sizeof(text));
	if (e < 0 || !r->area)
		return e;
	if (symlinkat(text, dir, r->name) < 0)
		return -errno;
	e = immure_snap_give(r, dir, r->name, a);
	return e < 0 ? e : immure_snap_set_time(dir, r->name, &a->mtim);
}

static int make_node(struct immure_snap_reader *r, int dir, struct immure_snap_attributes *a, bool fifo)
{
	int e = immure_snap_get_attributes(r, a);

	if (e < 0 || !r->area)
		return e;
	if (!fifo && r->area->kind != IMMURE_AREA_COW)
		return -EBADMSG;
	if (mknodat(dir, r->name, (fifo ? S_IFIFO : S_IFCHR) | 0600, makedev(0, 0)) < 0)
		return -errno;
	e = immure_snap_give(r, dir, r->name, a);
	if (e == 0 && fifo && fchmodat(dir, r->name, a->mode, 0) < 0) /* it is no link: just made */
		e = -errno;
	return e < 0 ? e : immure_snap_set_time(dir, r->name, &a->mtim);
}

static int put_off(struct immure_snap_reader *r, const struct immure_snap_attributes *a)
{
	r->closed_bytes += r->path.len + 1;
	if (r->closed_bytes > IMMURE_SNAP_PATHS)
		return -EBADMSG; /* none that was written is so */
	if (r->closed_n == r->closed_cap) {
		size_t cap = r->closed_cap ? r->closed_cap * 2 : 16;
		struct immure_snap_closed *v = realloc(r->closed, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->closed = v;
		r->closed_cap = cap;
	}
	r->closed[r->closed_n] = (struct immure_snap_closed){
		strdup(r->path.data ? r->path.data : ""), a->mode, a->mtim,
	};
	return r->closed[r->closed_n++].path ? 0 : -ENOMEM;
}

static int get_inside(struct immure_snap_reader *r, int dir, unsigned int depth);

static int end_dir(struct immure_snap_reader *r, int fd, struct immure_snap_attributes *a)
{
	struct immure_snap_attributes open = *a;
	int e;

	if ((a->mode & 0700) == 0700)
		return immure_snap_finish(r, fd, a);
	open.mode |= 0700;
	e = put_off(r, a);
	return e < 0 ? e : immure_snap_finish(r, fd, &open);
}

static int make_dir(struct immure_snap_reader *r, int dir, unsigned int depth)
{
	struct immure_snap_attributes a = { .xattrs = IMMURE_BUF_INIT };
	IMMURE_CLEANUP_FD int fd = -1;
	int e = depth == IMMURE_SNAP_DEPTH ? -EBADMSG : immure_snap_get_attributes(r, &a);

	if (e == 0 && r->area) {
		if (mkdirat(dir, r->name, 0700) < 0 && (errno != EEXIST || r->area->kind == IMMURE_AREA_COW))
			e = -errno;
		else if ((fd = openat(dir, r->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
			e = -errno;
	}
	if (e == 0)
		e = get_inside(r, fd, depth + 1);
	if (e == 0 && r->area)
		e = end_dir(r, fd, &a);
	immure_buf_done(&a.xattrs);
	return e;
}

static int get_entry(struct immure_snap_reader *r, int dir, char type, unsigned int depth)
{
	struct immure_snap_attributes a = { .xattrs = IMMURE_BUF_INIT };
	int e;

	switch (type) {
	case 'D':
		return make_dir(r, dir, depth);
	case 'H':
		return other_name(r, dir);
	case 'F':
		e = make_file(r, dir, &a);
		break;
	case 'L':
		e = make_link(r, dir, &a);
		break;
	case 'P':
	case 'W':
		e = make_node(r, dir, &a, type == 'P');
		break;
	default:
		e = -EBADMSG;
	}
	immure_buf_done(&a.xattrs);
	return e;
}

/* Until its U. */
static int get_inside(struct immure_snap_reader *r, int dir, unsigned int depth)
{
	size_t len = r->path.len;
	char type = 0;
	int e;

	while ((e = immure_snap_get(r, &type, 1)) == 0 && type != 'U') {
		e = immure_snap_get_name(r);
		if (e < 0)
			return e;
		immure_buf_printf(&r->path, "%s%s", len ? "/" : "", r->name);
		if (!immure_buf_ok(&r->path))
			return -ENOMEM;
		r->count->entries++;
		e = get_entry(r, dir, type, depth);
		if (e < 0)
			return e;
		r->path.len = len;
		r->path.data[len] = '\0';
	}
	return e;
}

/* ---- areas ---- */

static void forget_closed(struct immure_snap_reader *r)
{
	while (r->closed_n)
		free(r->closed[--r->closed_n].path);
}

static int close_dirs(struct immure_snap_reader *r)
{
	int e = 0;

	/* What lies deeper comes first, while there is still a way to it. */
	for (size_t i = 0; i < r->closed_n && e == 0; i++) {
		const struct immure_snap_closed *c = &r->closed[i];
		const char *last = "";
		int dir = *c->path ? open_parent(r, c->path, &last) : -1;
		int fd = *c->path ? (dir < 0 ? dir : openat(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
				  : openat(r->area->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || fchmod(fd, c->mode) < 0)
			e = fd < -1 ? fd : -errno;
		if (e == 0)
			e = immure_snap_set_time(fd, NULL, &c->mtim);
		immure_close(&fd);
		immure_close(&dir);
	}
	forget_closed(r);
	return e;
}

static int is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	int r = 0;

	if (!d)
		return -errno;
	if (immure_readdir(d, &r))
		r = -EEXIST;
	(void)closedir(d); /* read only */
	return r;
}

/* What was changed in one directory means nothing over another. */
static int get_origin(struct immure_snap_reader *r, struct immure_snap_area *to)
{
	uint64_t s = 0, ns = 0, dev = 0, ino = 0;
	int e = immure_snap_get_u32(r, &r->own_uid);

	if (e == 0)
		e = immure_snap_get_u32(r, &r->own_gid);
	if (e == 0)
		e = immure_snap_get_number(r, 8, &s);
	if (e == 0)
		e = immure_snap_get_number(r, 4, &ns);
	if (e == 0)
		e = immure_snap_get_number(r, 8, &dev);
	if (e == 0)
		e = immure_snap_get_number(r, 8, &ino);
	if (e < 0 || !to)
		return e;
	if (ns >= 1000000000)
		return -EBADMSG;
	to->since = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)ns };
	return dev == to->dev && ino == to->ino ? 0 : -ESTALE;
}

static int get_area(struct immure_snap_reader *r, const char *kinds, struct immure_snap_area *areas, size_t n)
{
	struct immure_snap_attributes a = { .xattrs = IMMURE_BUF_INIT };
	struct immure_snap_area *to = NULL;
	char kind = 0;
	int e = immure_snap_get(r, &kind, 1);

	if (e == 0)
		e = immure_snap_get_text(r, 2, r->name, sizeof(r->name));
	if (e < 0)
		return e;
	(void)snprintf(r->count->where, sizeof(r->count->where), "%.200s", r->name);
	for (size_t i = 0; i < n; i++)
		if (areas[i].kind == (uint8_t)kind && strcmp(areas[i].label, r->name) == 0 && !areas[i].filled)
			to = &areas[i];
	if (!strchr(kinds, kind) || !kind)
		to = NULL;
	else if (!to)
		return -ENOENT;
	r->area = to;
	r->path.len = 0;
	e = get_origin(r, to);
	if (e == 0)
		e = immure_snap_get_attributes(r, &a);
	if (e == 0 && to && kind == IMMURE_AREA_COW)
		e = is_empty(to->fd);
	if (e == 0)
		e = get_inside(r, to ? to->fd : -1, 0);
	if (e == 0 && to) {
		IMMURE_CLEANUP_FD int top = openat(to->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		e = top < 0 ? -errno : end_dir(r, top, &a);
		if (e == 0)
			e = close_dirs(r);
		to->filled = true;
	}
	immure_buf_done(&a.xattrs);
	return e;
}

static void tell_where(struct immure_snap_reader *r)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_buf_put_printable(&b, r->count->where, strlen(r->count->where));
	if (r->path.len) {
		immure_buf_putc(&b, '/');
		immure_buf_put_printable(&b, r->path.data, r->path.len);
	}
	(void)snprintf(r->count->where, sizeof(r->count->where), "%s", b.data ? b.data : "");
	immure_buf_done(&b);
}

int immure_snap_read(int from_fd, const char *kinds, struct immure_snap_area *areas, size_t n,
		     struct immure_snap_count *ret)
{
	char magic[16] = "", type = 0;
	struct immure_snap_reader *r;
	struct stat st;
	int e;

	*ret = (struct immure_snap_count){ 0 };
	if (fstat(from_fd, &st) < 0)
		return -errno;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->fd = from_fd;
	r->size = (uint64_t)st.st_size;
	r->count = ret;
	e = immure_snap_get(r, magic, 15);
	if (e == 0 && strcmp(magic, "immure-files 1\n") != 0)
		e = -EBADMSG;
	while (e == 0 && (e = immure_snap_get(r, &type, 1)) == 0 && type != 'E')
		e = type == 'A' ? get_area(r, kinds, areas, n) : -EBADMSG;
	if (e < 0)
		tell_where(r);
	forget_closed(r);
	free(r->closed);
	immure_buf_done(&r->path);
	free(r);
	return e;
}
