/* SPDX-License-Identifier: Apache-2.0 */
#include "session/snapfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/names.h"
#include "base/sha256.h"
#include "kernel/sys.h"

enum { BUFFER = 64 << 10, CHUNK = 128 << 10, XATTRS = 64 << 10 };

struct name_of {
	uint64_t dev, ino;
	char *path;
};

struct writer {
	int fd;
	uint64_t at;              /* where what is in buf belongs */
	size_t n;
	struct immure_sha256 sha;
	struct immure_snap_count *count;
	struct immure_buf path;   /* within the area */
	struct name_of *names;    /* of files with several, open addressing */
	size_t names_n, names_cap;
	size_t paths;             /* bytes of paths kept, or written again */
	uint8_t kind;
	uint32_t uid, gid;
	bool no_range;            /* copy_file_range(2) does not work between these two */
	unsigned char buf[BUFFER], chunk[CHUNK];
	char list[XATTRS], value[XATTRS];
};

/* ---- bytes ---- */

static int flush(struct writer *w)
{
	int r = w->n ? immure_write_all(w->fd, w->buf, w->n) : 0;

	if (r == 0)
		immure_sha256_add(&w->sha, w->buf, w->n);
	w->at += w->n;
	w->n = 0;
	return r;
}

static int put(struct writer *w, const void *data, size_t len)
{
	const unsigned char *p = data;
	int r = 0;

	while (len && r == 0) {
		size_t k = len < BUFFER - w->n ? len : BUFFER - w->n;

		memcpy(w->buf + w->n, p, k);
		w->n += k;
		p += k;
		len -= k;
		if (w->n == BUFFER)
			r = flush(w);
	}
	return r;
}

static int put_number(struct writer *w, uint64_t v, size_t bytes)
{
	unsigned char b[8];

	for (size_t i = 0; i < bytes; i++)
		b[i] = (unsigned char)(v >> (8 * i));
	return put(w, b, bytes);
}

static int put_bytes(struct writer *w, const void *data, size_t len, size_t bytes)
{
	int r = put_number(w, len, bytes);

	return r < 0 ? r : put(w, data, len);
}

static int put_head(struct writer *w, char type, const char *name)
{
	int r = put(w, &type, 1);

	w->count->entries++;
	return r < 0 ? r : put_bytes(w, name, strlen(name), 2);
}

/* ---- attributes ---- */

/* Overlayfs's own say what a directory covers, which is kept, and where something once came
 * from, which is not so in another place. What a command set under that name it stores
 * as user.overlay.overlay.*. */
static bool is_kept(const struct writer *w, const char *name)
{
	static const char own[] = "user.overlay.";

	if (strncmp(name, "user.", 5) != 0)
		return false;
	return w->kind != IMMURE_AREA_COW || strncmp(name, own, sizeof(own) - 1) != 0 ||
	       strcmp(name + sizeof(own) - 1, "opaque") == 0 || strncmp(name + sizeof(own) - 1, "overlay.", 8) == 0;
}

static int put_xattrs(struct writer *w, int fd)
{
	ssize_t len = fd < 0 ? 0 : flistxattr(fd, w->list, sizeof(w->list));
	unsigned int n = 0;
	int r;

	if (len < 0 && errno != ENOTSUP && errno != EOPNOTSUPP)
		return -errno;
	for (const char *p = w->list; len > 0 && p < w->list + len; p += strlen(p) + 1)
		n += is_kept(w, p);
	r = put_number(w, n, 2);
	for (const char *p = w->list; r == 0 && len > 0 && p < w->list + len; p += strlen(p) + 1) {
		ssize_t k;

		if (!is_kept(w, p))
			continue;
		k = fgetxattr(fd, p, w->value, sizeof(w->value));
		if (k < 0)
			return errno == ENODATA ? -EAGAIN : -errno;
		r = put_bytes(w, p, strlen(p), 2);
		if (r == 0)
			r = put_bytes(w, w->value, (size_t)k, 4);
	}
	return r;
}

static int put_attributes(struct writer *w, const struct stat *st, int fd)
{
	int r = put_number(w, st->st_mode & 07777, 4);

	if (r == 0)
		r = put_number(w, st->st_uid, 4);
	if (r == 0)
		r = put_number(w, st->st_gid, 4);
	if (r == 0)
		r = put_number(w, (uint64_t)st->st_mtim.tv_sec, 8);
	if (r == 0)
		r = put_number(w, (uint64_t)st->st_mtim.tv_nsec, 4);
	return r < 0 ? r : put_xattrs(w, fd);
}

/* ---- contents ---- */

/* What is stored is what is hashed, so it is read from where it came to lie. 1: not possible
 * between these two. */
static int put_range(struct writer *w, int fd, uint64_t at, uint64_t len)
{
	loff_t from = (loff_t)at;
	uint64_t left = len;
	int r = flush(w);

	while (r == 0 && left) {
		long n = IMMURE_SYS(syscall(SYS_copy_file_range, fd, &from, w->fd, NULL, (size_t)left, 0));
		uint64_t seen = 0;

		if (n <= 0 && left == len)
			return 1;
		if (n <= 0)
			return n < 0 ? (int)n : -EAGAIN;
		while (seen < (uint64_t)n) {
			size_t want = (uint64_t)n - seen < CHUNK ? (size_t)((uint64_t)n - seen) : CHUNK;
			ssize_t k = pread(w->fd, w->chunk, want, (off_t)(w->at + seen));

			if (k <= 0)
				return k < 0 ? -errno : -EIO;
			immure_sha256_add(&w->sha, w->chunk, (size_t)k);
			seen += (uint64_t)k;
		}
		w->at += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return r;
}

static int put_data(struct writer *w, int fd, uint64_t at, uint64_t len)
{
	int r = 0;

	if (len >= IMMURE_SNAP_LARGE && !w->no_range) {
		r = put_range(w, fd, at, len);
		if (r <= 0)
			return r;
		w->no_range = true;
		r = 0;
	}
	while (len && r == 0) {
		ssize_t k = pread(fd, w->chunk, len < CHUNK ? (size_t)len : CHUNK, (off_t)at);

		if (k <= 0)
			return k < 0 ? -errno : -EAGAIN; /* it became shorter */
		r = put(w, w->chunk, (size_t)k);
		at += (uint64_t)k;
		len -= (uint64_t)k;
	}
	return r;
}

static int put_extent(struct writer *w, int fd, uint64_t at, uint64_t len)
{
	static const unsigned char zeros[IMMURE_SNAP_ALIGN];
	uint64_t here;
	size_t pad = 0;
	int r = put_number(w, at, 8);

	if (r == 0)
		r = put_number(w, len, 8);
	here = w->at + w->n + 2;
	if (len >= IMMURE_SNAP_LARGE)
		pad = (size_t)((IMMURE_SNAP_ALIGN - here % IMMURE_SNAP_ALIGN) % IMMURE_SNAP_ALIGN);
	if (r == 0)
		r = put_number(w, pad, 2);
	if (r == 0)
		r = put(w, zeros, pad);
	if (r == 0)
		r = put_data(w, fd, at, len);
	w->count->bytes += len;
	return r;
}

/* Holes are not looked into: a file may be larger than all there is. */
static int put_contents(struct writer *w, int fd, const struct stat *st)
{
	uint64_t size = (uint64_t)st->st_size;
	off_t at = 0;
	int r = put_number(w, size, 8);

	while (r == 0 && (uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break; /* nothing but a hole any more */
		if (data < 0)
			return -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return errno == ENXIO ? -EAGAIN : -errno;
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		if (hole <= data)
			break;
		r = put_extent(w, fd, (uint64_t)data, (uint64_t)(hole - data));
		at = hole;
	}
	if (r == 0)
		r = put_number(w, 0, 8);
	if (r == 0)
		r = put_number(w, 0, 8);
	return r < 0 ? r : put_number(w, 0, 2);
}

/* ---- files with several names ---- */

static size_t slot(const struct writer *w, uint64_t dev, uint64_t ino)
{
	size_t i = (size_t)((ino * UINT64_C(0x9e3779b97f4a7c15) ^ dev) & (w->names_cap - 1));

	while (w->names[i].path && (w->names[i].ino != ino || w->names[i].dev != dev))
		i = (i + 1) & (w->names_cap - 1);
	return i;
}

static int grow(struct writer *w)
{
	struct writer old = { .names = w->names, .names_cap = w->names_cap };
	size_t cap = w->names_cap ? w->names_cap * 2 : 64;
	struct name_of *v = calloc(cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	w->names = v;
	w->names_cap = cap;
	for (size_t i = 0; i < old.names_cap; i++)
		if (old.names[i].path)
			v[slot(w, old.names[i].dev, old.names[i].ino)] = old.names[i];
	free(old.names);
	return 0;
}

static int charge(struct writer *w, size_t len)
{
	w->paths += len + 1;
	return w->paths > IMMURE_SNAP_PATHS ? -ENAMETOOLONG : 0;
}

/* 1: it is there under another name already, which was written. */
static int put_other_name(struct writer *w, const struct stat *st, const char *name)
{
	size_t i;
	int r = w->names_n * 2 >= w->names_cap ? grow(w) : 0;

	if (r < 0)
		return r;
	i = slot(w, (uint64_t)st->st_dev, (uint64_t)st->st_ino);
	if (w->names[i].path) {
		r = charge(w, strlen(w->names[i].path));
		if (r == 0)
			r = put_head(w, 'H', name);
		if (r == 0)
			r = put_bytes(w, w->names[i].path, strlen(w->names[i].path), 4);
		return r < 0 ? r : 1;
	}
	r = charge(w, w->path.len);
	if (r < 0)
		return r;
	w->names[i] = (struct name_of){ (uint64_t)st->st_dev, (uint64_t)st->st_ino, strdup(w->path.data) };
	w->names_n++;
	return w->names[i].path ? 0 : -ENOMEM;
}

static void forget_names(struct writer *w)
{
	for (size_t i = 0; i < w->names_cap; i++)
		free(w->names[i].path);
	free(w->names);
	w->names = NULL;
	w->names_n = w->names_cap = 0;
}

/* ---- the tree ---- */

/* The very thing that was looked at, whatever has its name by now. */
static int reopen(int fd, int flags)
{
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, flags | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

static int same(int fd, const struct stat *was)
{
	struct stat now;

	if (fstat(fd, &now) < 0)
		return -errno;
	return now.st_size == was->st_size && now.st_mode == was->st_mode &&
	       now.st_ctim.tv_sec == was->st_ctim.tv_sec && now.st_ctim.tv_nsec == was->st_ctim.tv_nsec ? 0 : -EAGAIN;
}

static int put_file(struct writer *w, int at, const struct stat *st, const char *name)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int r = st->st_nlink > 1 ? put_other_name(w, st, name) : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	fd = reopen(at, O_RDONLY | O_NONBLOCK | O_NOATIME);
	if (fd == -EPERM) /* not its owner */
		fd = reopen(at, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	r = put_head(w, 'F', name);
	if (r == 0)
		r = put_attributes(w, st, fd);
	if (r == 0)
		r = put_contents(w, fd, st);
	return r < 0 ? r : same(fd, st);
}

static int put_link(struct writer *w, int at, const struct stat *st, const char *name)
{
	char text[4096];
	ssize_t n = readlinkat(at, "", text, sizeof(text));
	int r;

	if (n < 0 || n == (ssize_t)sizeof(text))
		return n < 0 ? -errno : -ENAMETOOLONG;
	r = put_head(w, 'L', name);
	if (r == 0)
		r = put_attributes(w, st, -1);
	return r < 0 ? r : put_bytes(w, text, (size_t)n, 2);
}

static int put_plain(struct writer *w, char type, const struct stat *st, const char *name)
{
	int r = put_head(w, type, name);

	return r < 0 ? r : put_attributes(w, st, -1);
}

static int put_inside(struct writer *w, int fd, unsigned int depth);

static int put_dir(struct writer *w, int at, const struct stat *st, const char *name, unsigned int depth)
{
	int fd, r;

	if (depth == IMMURE_SNAP_DEPTH)
		return -ELOOP;
	fd = reopen(at, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	r = (st->st_mode & 0700) == 0700 ? 0 : charge(w, w->path.len); /* its reader keeps that */
	if (r == 0)
		r = put_head(w, 'D', name);
	if (r == 0)
		r = put_attributes(w, st, fd);
	if (r == 0)
		r = put_inside(w, fd, depth + 1);
	if (r == 0)
		r = same(fd, st);
	immure_close(&fd);
	return r < 0 ? r : put(w, "U", 1);
}

static int put_entry(struct writer *w, int dir, const struct stat *top, const char *name, unsigned int depth)
{
	IMMURE_CLEANUP_FD int at = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (st.st_dev != top->st_dev) /* a mount: not what was asked for, and not the session's */
		return -EXDEV;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return put_file(w, at, &st, name);
	case S_IFDIR:
		return put_dir(w, at, &st, name, depth);
	case S_IFLNK:
		return put_link(w, at, &st, name);
	case S_IFIFO:
		return put_plain(w, 'P', &st, name);
	case S_IFCHR:
		if (st.st_rdev == 0 && w->kind == IMMURE_AREA_COW)
			return put_plain(w, 'W', &st, name);
		break;
	default:
		break;
	}
	w->count->left_out++;
	return 0;
}

static int put_inside(struct writer *w, int fd, unsigned int depth)
{
	size_t len = w->path.len;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), r = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct stat top;
	const struct dirent *e;

	if (!d || fstat(fd, &top) < 0) {
		r = -errno;
		if (!d)
			immure_close(&copy);
		else
			(void)closedir(d); /* read only */
		return r;
	}
	while (r == 0 && (e = immure_readdir(d, &r))) {
		immure_buf_printf(&w->path, "%s%s", len ? "/" : "", e->d_name);
		r = immure_buf_ok(&w->path) ? put_entry(w, fd, &top, e->d_name, depth) : -ENOMEM;
		if (r == 0) { /* of a failure the path is told */
			w->path.len = len;
			w->path.data[len] = '\0';
		}
	}
	(void)closedir(d); /* read only: nothing is lost */
	return r;
}

static int put_area(struct writer *w, const struct immure_snap_area *a)
{
	IMMURE_CLEANUP_FD int fd = reopen(a->fd, O_RDONLY | O_DIRECTORY);
	struct stat st;
	uint8_t kind = a->kind;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	w->kind = kind;
	w->path.len = 0;
	r = put(w, "A", 1);
	if (r == 0)
		r = put(w, &kind, 1);
	if (r == 0)
		r = put_bytes(w, a->label, strlen(a->label), 2);
	if (r == 0)
		r = put_number(w, a->uid, 4);
	if (r == 0)
		r = put_number(w, a->gid, 4);
	if (r == 0)
		r = put_number(w, (uint64_t)a->since.tv_sec, 8);
	if (r == 0)
		r = put_number(w, (uint64_t)a->since.tv_nsec, 4);
	if (r == 0)
		r = put_number(w, a->dev, 8);
	if (r == 0)
		r = put_number(w, a->ino, 8);
	if (r == 0)
		r = put_attributes(w, &st, fd);
	if (r == 0)
		r = put_inside(w, fd, 0);
	if (r == 0)
		r = same(fd, &st);
	forget_names(w);
	return r < 0 ? r : put(w, "U", 1);
}

static void tell_where(struct writer *w, const struct immure_snap_area *a)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_buf_put_printable(&b, a->label, strlen(a->label));
	if (w->path.len) {
		immure_buf_putc(&b, '/');
		immure_buf_put_printable(&b, w->path.data, w->path.len);
	}
	(void)snprintf(w->count->where, sizeof(w->count->where), "%s", b.data ? b.data : "");
	immure_buf_done(&b);
}

int immure_snap_write(const struct immure_snap_area *areas, size_t n, int to_fd, struct immure_snap_count *ret)
{
	static const char magic[] = "immure-files 1\n";
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	*ret = (struct immure_snap_count){ 0 };
	if (!w)
		return -ENOMEM;
	w->fd = to_fd;
	w->count = ret;
	immure_sha256_init(&w->sha);
	r = put(w, magic, sizeof(magic) - 1);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = put_area(w, &areas[i]);
		if (r < 0)
			tell_where(w, &areas[i]);
	}
	if (r == 0)
		r = put(w, "E", 1);
	if (r == 0)
		r = flush(w);
	ret->length = w->at;
	immure_sha256_done(&w->sha, ret->hash);
	immure_buf_done(&w->path);
	free(w);
	return r;
}
