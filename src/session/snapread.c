/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of files made again from what snapwrite.c wrote. Its hash was compared before, and the
 * trees are made where nobody else is yet; all the same nothing that it says is believed further
 * than it can do harm: names are single ones, made below a directory that was just made. */
#include "session/snapfiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "kernel/sys.h"

enum { BUFFER = 64 << 10, XATTRS = 256, VALUE = 64 << 10, PATH = 256 * (IMMURE_SNAP_DEPTH + 2) };

struct attributes {
	uint32_t mode, uid, gid;
	struct timespec mtim;
	struct immure_buf xattrs; /* name 0 u32 value, one after another */
};

/* A directory whose owner may not search it gets its mode when all else is there: more may
 * have to be reached through it. */
struct closed {
	char *path;
	uint32_t mode;
	struct timespec mtim;
};

struct reader {
	int fd;
	uint64_t at, size;       /* of buf[0]; of the file */
	size_t n, i;             /* bytes in buf; the next one */
	struct immure_snap_count *count;
	const struct immure_snap_area *area; /* NULL: passed over */
	uint32_t own_uid, own_gid; /* in the file */
	struct immure_buf path;
	struct closed *closed;
	size_t closed_n, closed_cap;
	bool no_range;
	unsigned char buf[BUFFER];
	char name[IMMURE_SNAP_LABEL + 1], value[VALUE], other[PATH];
};

/* ---- bytes ---- */

static int fill(struct reader *r)
{
	ssize_t k = pread(r->fd, r->buf, BUFFER, (off_t)(r->at + r->n));

	if (k <= 0)
		return k < 0 ? -errno : -EBADMSG;
	r->at += r->n;
	r->n = (size_t)k;
	r->i = 0;
	return 0;
}

static int get(struct reader *r, void *data, size_t len)
{
	unsigned char *p = data;
	int e = 0;

	while (len && e == 0) {
		size_t k = len < r->n - r->i ? len : r->n - r->i;

		memcpy(p, r->buf + r->i, k);
		r->i += k;
		p += k;
		len -= k;
		if (len)
			e = fill(r);
	}
	return e;
}

static int get_number(struct reader *r, size_t bytes, uint64_t *ret)
{
	unsigned char b[8];
	int e = get(r, b, bytes);

	*ret = 0;
	for (size_t i = 0; e == 0 && i < bytes; i++)
		*ret |= (uint64_t)b[i] << (8 * i);
	return e;
}

static int get_u32(struct reader *r, uint32_t *ret)
{
	uint64_t v = 0;
	int e = get_number(r, 4, &v);

	*ret = (uint32_t)v;
	return e;
}

/* A text of less than size bytes without NUL. */
static int get_text(struct reader *r, size_t bytes, char *ret, size_t size)
{
	uint64_t len = 0;
	int e = get_number(r, bytes, &len);

	if (e == 0 && len >= size)
		return -EBADMSG;
	if (e == 0)
		e = get(r, ret, (size_t)len);
	if (e < 0)
		return e;
	ret[len] = '\0';
	return strlen(ret) == len ? 0 : -EBADMSG;
}

static bool is_name(const char *s)
{
	return s[0] && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static int get_name(struct reader *r)
{
	int e = get_text(r, 2, r->name, NAME_MAX + 1);

	if (e < 0)
		return e;
	return strchr(r->name, '/') || !is_name(r->name) ? -EBADMSG : 0;
}

static int get_attributes(struct reader *r, struct attributes *ret)
{
	uint64_t s = 0, ns = 0, n = 0;
	int e = get_u32(r, &ret->mode);

	if (e == 0)
		e = get_u32(r, &ret->uid);
	if (e == 0)
		e = get_u32(r, &ret->gid);
	if (e == 0)
		e = get_number(r, 8, &s);
	if (e == 0)
		e = get_number(r, 4, &ns);
	if (e == 0)
		e = get_number(r, 2, &n);
	if (e == 0 && (ret->mode & ~07777U || ns >= 1000000000))
		return -EBADMSG;
	ret->mtim = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)ns };
	ret->xattrs.len = 0;
	for (; e == 0 && n; n--) {
		char name[XATTRS];
		uint32_t len = 0;

		e = get_text(r, 2, name, sizeof(name));
		if (e == 0 && strncmp(name, "user.", 5) != 0)
			return -EBADMSG;
		if (e == 0)
			e = get_u32(r, &len);
		if (e == 0 && len > VALUE)
			return -EBADMSG;
		if (e == 0)
			e = get(r, r->value, len);
		immure_buf_put(&ret->xattrs, name, strlen(name) + 1);
		immure_buf_put_u32(&ret->xattrs, len);
		immure_buf_put(&ret->xattrs, r->value, len);
	}
	return e < 0 ? e : immure_buf_ok(&ret->xattrs) ? 0 : -ENOMEM;
}

/* ---- what they say, on something new ---- */

static int give(const struct reader *r, int dir, const char *name, const struct attributes *a)
{
	uid_t uid = a->uid == r->own_uid ? r->area->uid : a->uid;
	gid_t gid = a->gid == r->own_gid ? r->area->gid : a->gid;
	struct stat st;
	int flags = AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH);

	if (fstatat(dir, name, &st, flags) < 0)
		return -errno;
	if ((st.st_uid == uid && st.st_gid == gid) || !r->path.len) /* the top is whose it was made */
		return 0;
	return fchownat(dir, name, uid, gid, flags) < 0 ? -errno : 0;
}

static int set_xattrs(int fd, const struct attributes *a)
{
	const char *p = a->xattrs.data, *end = p + a->xattrs.len;

	while (p && p < end) {
		size_t name = strlen(p) + 1;
		const unsigned char *u = (const unsigned char *)p + name;
		uint32_t len = u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;

		if (fsetxattr(fd, p, u + 4, len, 0) < 0)
			return -errno;
		p += name + 4 + len;
	}
	return 0;
}

static int set_time(int dir, const char *name, const struct timespec *mtim)
{
	const struct timespec when[2] = { { .tv_nsec = UTIME_OMIT }, *mtim };

	return (name ? utimensat(dir, name, when, AT_SYMLINK_NOFOLLOW) : futimens(dir, when)) < 0 ? -errno : 0;
}

/* The owner first: changing it clears bits of the mode. */
static int finish(const struct reader *r, int fd, const struct attributes *a)
{
	int e = give(r, fd, "", a);

	if (e == 0)
		e = set_xattrs(fd, a);
	if (e == 0 && fchmod(fd, a->mode) < 0)
		e = -errno;
	return e < 0 ? e : set_time(fd, NULL, &a->mtim);
}

/* ---- contents ---- */

static int copy_range(struct reader *r, int fd, uint64_t at, uint64_t *left)
{
	loff_t from = (loff_t)(r->at + r->i), to = (loff_t)at;

	if (*left < IMMURE_SNAP_LARGE || r->no_range)
		return 0;
	while (*left) {
		long n = IMMURE_SYS(syscall(SYS_copy_file_range, r->fd, &from, fd, &to, (size_t)*left, 0));

		if (n <= 0) {
			r->no_range = true; /* the rest by hand, which says why if it fails again */
			break;
		}
		*left -= (uint64_t)n;
	}
	r->at = (uint64_t)from;
	r->n = r->i = 0;
	return 0;
}

static int get_extent(struct reader *r, int fd, uint64_t at, uint64_t len)
{
	uint64_t left = len, here = r->at + r->i;
	int e;

	if (len > r->size || here > r->size - len)
		return -EBADMSG;
	r->count->bytes += len;
	if (fd < 0) { /* passed over */
		r->at = here + len;
		r->n = r->i = 0;
		return 0;
	}
	e = copy_range(r, fd, at, &left);
	at += len - left;
	while (left && e == 0) {
		size_t k = left < r->n - r->i ? (size_t)left : r->n - r->i;
		ssize_t n;

		if (k == 0) {
			e = fill(r);
			continue;
		}
		n = pwrite(fd, r->buf + r->i, k, (off_t)at);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		r->i += (size_t)n;
		at += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return e;
}

static int get_contents(struct reader *r, int fd)
{
	uint64_t size = 0, at = 0, len = 0, pad = 0, end = 0;
	unsigned char skip[IMMURE_SNAP_ALIGN];
	int e = get_number(r, 8, &size);

	if (e == 0 && size > INT64_MAX)
		return -EBADMSG;
	if (e == 0 && fd >= 0 && size && ftruncate(fd, (off_t)size) < 0)
		e = -errno;
	while (e == 0) {
		e = get_number(r, 8, &at);
		if (e == 0)
			e = get_number(r, 8, &len);
		if (e == 0)
			e = get_number(r, 2, &pad);
		if (e < 0 || (len == 0 && pad == 0))
			break;
		if (len == 0 || pad >= sizeof(skip) || at < end || at > size || len > size - at)
			return -EBADMSG;
		end = at + len;
		e = get(r, skip, (size_t)pad);
		if (e == 0)
			e = get_extent(r, fd, at, len);
	}
	return e;
}

/* ---- entries ---- */

/* The directory that path, below the area's top, lies in; its last name in *ret_name. Only what
 * was made here is on the way. */
static int open_parent(const struct reader *r, char *path, const char **ret_name)
{
	int dir = openat(r->area->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	while (dir >= 0 && (slash = strchr(path, '/'))) {
		int next;

		*slash = '\0';
		next = is_name(path) ? openat(dir, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		*slash = '/';
		immure_close(&dir);
		dir = next;
		path = slash + 1;
	}
	*ret_name = path;
	if (dir >= 0 && is_name(path))
		return dir;
	immure_close(&dir);
	return -EBADMSG;
}

static int other_name(struct reader *r, int dir)
{
	const char *last = NULL;
	struct stat st;
	int e = get_text(r, 4, r->other, sizeof(r->other));

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
static int open_new(const struct reader *r, int dir)
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

static int make_file(struct reader *r, int dir, struct attributes *a)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int e = get_attributes(r, a);

	if (e < 0)
		return e;
	if (r->area) {
		fd = open_new(r, dir);
		if (fd < 0)
			return fd;
	}
	e = get_contents(r, fd);
	return e < 0 || !r->area ? e : finish(r, fd, a);
}

static int make_link(struct reader *r, int dir, struct attributes *a)
{
	char text[IMMURE_SNAP_LABEL];
	int e = get_attributes(r, a);

	if (e == 0)
		e = get_text(r, 2, text, sizeof(text));
	if (e < 0 || !r->area)
		return e;
	if (symlinkat(text, dir, r->name) < 0)
		return -errno;
	e = give(r, dir, r->name, a);
	return e < 0 ? e : set_time(dir, r->name, &a->mtim);
}

static int make_node(struct reader *r, int dir, struct attributes *a, bool fifo)
{
	int e = get_attributes(r, a);

	if (e < 0 || !r->area)
		return e;
	if (!fifo && r->area->kind != IMMURE_AREA_COW)
		return -EBADMSG;
	if (mknodat(dir, r->name, (fifo ? S_IFIFO : S_IFCHR) | 0600, makedev(0, 0)) < 0)
		return -errno;
	e = give(r, dir, r->name, a);
	if (e == 0 && fifo && fchmodat(dir, r->name, a->mode, 0) < 0) /* it is no link: just made */
		e = -errno;
	return e < 0 ? e : set_time(dir, r->name, &a->mtim);
}

static int put_off(struct reader *r, const struct attributes *a)
{
	if (r->closed_n == r->closed_cap) {
		size_t cap = r->closed_cap ? r->closed_cap * 2 : 16;
		struct closed *v = realloc(r->closed, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->closed = v;
		r->closed_cap = cap;
	}
	r->closed[r->closed_n] = (struct closed){ strdup(r->path.data ? r->path.data : ""), a->mode, a->mtim };
	return r->closed[r->closed_n++].path ? 0 : -ENOMEM;
}

static int get_inside(struct reader *r, int dir, unsigned int depth);

static int end_dir(struct reader *r, int fd, struct attributes *a)
{
	struct attributes open = *a;

	if ((a->mode & 0700) == 0700)
		return finish(r, fd, a);
	open.mode |= 0700;
	return put_off(r, a) < 0 ? -ENOMEM : finish(r, fd, &open);
}

static int make_dir(struct reader *r, int dir, unsigned int depth)
{
	struct attributes a = { .xattrs = IMMURE_BUF_INIT };
	IMMURE_CLEANUP_FD int fd = -1;
	int e = depth == IMMURE_SNAP_DEPTH ? -EBADMSG : get_attributes(r, &a);

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

static int get_entry(struct reader *r, int dir, char type, unsigned int depth)
{
	struct attributes a = { .xattrs = IMMURE_BUF_INIT };
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
static int get_inside(struct reader *r, int dir, unsigned int depth)
{
	size_t len = r->path.len;
	char type = 0;
	int e;

	while ((e = get(r, &type, 1)) == 0 && type != 'U') {
		e = get_name(r);
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

static void forget_closed(struct reader *r)
{
	while (r->closed_n)
		free(r->closed[--r->closed_n].path);
}

static int close_dirs(struct reader *r)
{
	int e = 0;

	/* What lies deeper comes first, while there is still a way to it. */
	for (size_t i = 0; i < r->closed_n && e == 0; i++) {
		const struct closed *c = &r->closed[i];
		const char *last = "";
		int dir = *c->path ? open_parent(r, c->path, &last) : -1;
		int fd = *c->path ? (dir < 0 ? dir : openat(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
				  : openat(r->area->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0 || fchmod(fd, c->mode) < 0)
			e = fd < -1 ? fd : -errno;
		if (e == 0)
			e = set_time(fd, NULL, &c->mtim);
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
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = -EEXIST;
	(void)closedir(d); /* read only */
	return r;
}

/* What was changed in one directory means nothing over another. */
static int get_origin(struct reader *r, struct immure_snap_area *to)
{
	uint64_t s = 0, ns = 0, dev = 0, ino = 0;
	int e = get_u32(r, &r->own_uid);

	if (e == 0)
		e = get_u32(r, &r->own_gid);
	if (e == 0)
		e = get_number(r, 8, &s);
	if (e == 0)
		e = get_number(r, 4, &ns);
	if (e == 0)
		e = get_number(r, 8, &dev);
	if (e == 0)
		e = get_number(r, 8, &ino);
	if (e < 0 || !to)
		return e;
	if (ns >= 1000000000)
		return -EBADMSG;
	to->since = (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)ns };
	return dev == to->dev && ino == to->ino ? 0 : -ESTALE;
}

static int get_area(struct reader *r, const char *kinds, struct immure_snap_area *areas, size_t n)
{
	struct attributes a = { .xattrs = IMMURE_BUF_INIT };
	struct immure_snap_area *to = NULL;
	char kind = 0;
	int e = get(r, &kind, 1);

	if (e == 0)
		e = get_text(r, 2, r->name, sizeof(r->name));
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
		e = get_attributes(r, &a);
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

static void tell_where(struct reader *r)
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
	struct reader *r = calloc(1, sizeof(*r));
	struct stat st;
	int e = 0;

	*ret = (struct immure_snap_count){ 0 };
	if (!r || fstat(from_fd, &st) < 0) {
		free(r);
		return -ENOMEM;
	}
	r->fd = from_fd;
	r->size = (uint64_t)st.st_size;
	r->count = ret;
	e = get(r, magic, 15);
	if (e == 0 && strcmp(magic, "immure-files 1\n") != 0)
		e = -EBADMSG;
	while (e == 0 && (e = get(r, &type, 1)) == 0 && type != 'E')
		e = type == 'A' ? get_area(r, kinds, areas, n) : -EBADMSG;
	if (e < 0)
		tell_where(r);
	forget_closed(r);
	free(r->closed);
	immure_buf_done(&r->path);
	free(r);
	return e;
}

int immure_snap_hash(int fd, unsigned char ret[32], uint64_t *ret_len)
{
	struct immure_sha256 sha;
	unsigned char *buf = malloc(BUFFER);
	uint64_t at = 0;
	ssize_t k = 0;
	int e = buf ? 0 : -ENOMEM;

	immure_sha256_init(&sha);
	while (e == 0 && (k = pread(fd, buf, BUFFER, (off_t)at)) > 0) {
		immure_sha256_add(&sha, buf, (size_t)k);
		at += (uint64_t)k;
	}
	if (e == 0 && k < 0)
		e = -errno;
	immure_sha256_done(&sha, ret);
	*ret_len = at;
	free(buf);
	return e;
}
