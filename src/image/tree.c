/* SPDX-License-Identifier: Apache-2.0 */
/* A tree's digest: of every entry, in the order of names, what it is and what is in it. Two
 * trees that differ in anything a command could see have two. And the removal of trees. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "image/worker.h"

enum { DEPTH = 160, CHUNK = 128 << 10, XATTR_LIST = 64 << 10 };

struct walk {
	struct image_worker *w;
	struct image_hash *h;
	char *buf; /* CHUNK */
};

/* ---- digest ---- */

static int add_text(struct walk *k, const char *s)
{
	return image_hash_add(k->h, s, strlen(s) + 1);
}

static int add_xattrs(struct walk *k, int fd)
{
	struct immure_names l = { 0 };
	ssize_t n = flistxattr(fd, k->buf, XATTR_LIST);
	int r = n < 0 ? (errno == ENOTSUP ? 0 : -errno) : 0;

	for (ssize_t i = 0; r == 0 && i < n; i += (ssize_t)strlen(k->buf + i) + 1)
		if (strncmp(k->buf + i, "user.", 5) == 0)
			r = immure_names_add(&l, k->buf + i);
	immure_names_sort(&l);
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		ssize_t got = fgetxattr(fd, l.v[i], k->buf, CHUNK);

		r = got < 0 ? -errno : add_text(k, l.v[i]);
		if (r == 0)
			r = image_hash_add(k->h, k->buf, (size_t)got);
	}
	immure_names_done(&l);
	return r;
}

static int add_contents(struct walk *k, int fd)
{
	ssize_t n;

	while ((n = read(fd, k->buf, CHUNK)) != 0) {
		int r = n < 0 ? (errno == EINTR ? 0 : -errno) : image_hash_add(k->h, k->buf, (size_t)n);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_head(struct walk *k, const char *name, const struct stat *st)
{
	char head[160];
	int r;

	/* A directory's size is its file system's affair. */
	(void)snprintf(head, sizeof(head), "%o %llu %lld.%09ld %llu", (unsigned int)st->st_mode,
			 (unsigned long long)(S_ISDIR(st->st_mode) ? 0 : st->st_size),
			 (long long)(S_ISCHR(st->st_mode) || S_ISDIR(st->st_mode) ? 0 : st->st_mtim.tv_sec),
			 S_ISCHR(st->st_mode) || S_ISDIR(st->st_mode) ? 0L : st->st_mtim.tv_nsec,
			 (unsigned long long)st->st_rdev);
	r = add_text(k, name);
	return r < 0 ? r : add_text(k, head);
}

static int digest_dir(struct walk *k, int dir_fd, int depth);

static int digest_entry(struct walk *k, int dir_fd, const char *name, int depth)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct stat st;
	int r;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	r = add_head(k, name, &st);
	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir_fd, name, k->buf, CHUNK - 1);

		return n < 0 ? -errno : image_hash_add(k->h, k->buf, (size_t)n);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = add_xattrs(k, fd);
	if (r < 0)
		return r;
	return S_ISDIR(st.st_mode) ? digest_dir(k, fd, depth + 1) : add_contents(k, fd);
}

static int digest_dir(struct walk *k, int dir_fd, int depth)
{
	struct immure_names l = { 0 };
	int r = depth > DEPTH ? -ELOOP : immure_names_read(dir_fd, SIZE_MAX, &l);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = digest_entry(k, dir_fd, l.v[i], depth);
	immure_names_done(&l);
	/* Where its entries end is part of what a directory is. */
	return r < 0 ? r : image_hash_add(k->h, "", 1);
}

int image_tree_digest(struct image_worker *w, int dir_fd, char ret[IMMURE_IMAGE_DIGEST + 1])
{
	struct image_hash h = { 0 };
	struct walk k = { w, &h, malloc(CHUNK) };
	struct stat st;
	int r = k.buf ? image_hash_begin(&h) : -ENOMEM;

	if (r == 0 && fstat(dir_fd, &st) < 0)
		r = -errno;
	if (r == 0)
		r = add_head(&k, "", &st);
	if (r == 0)
		r = add_xattrs(&k, dir_fd);
	if (r == 0)
		r = digest_dir(&k, dir_fd, 0);
	if (r == 0)
		r = image_hash_end(&h, ret);
	image_hash_done(&h);
	free(k.buf);
	return r < 0 ? image_fail(w, -r, "a layer's tree cannot be read: %s", strerror(-r)) : 0;
}

/* ---- removal ---- */

static int remove_at(int dir_fd, const char *name, int depth)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_names l = { 0 };
	int r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > DEPTH)
		return -ELOOP;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = immure_names_read(fd, SIZE_MAX, &l);
	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = remove_at(fd, l.v[i], depth + 1);
	immure_names_done(&l);
	return r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : r;
}

int image_tree_remove(int dir_fd, const char *name)
{
	return remove_at(dir_fd, name, 0);
}
