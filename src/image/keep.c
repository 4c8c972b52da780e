/* SPDX-License-Identifier: Apache-2.0 */
/* Writing in the store. What is made is made in tmp/ and gets its name by one rename when it
 * is whole, so whoever reads sees all of it or nothing; what an import leaves that was killed
 * lies in tmp/ and is gc's. Locks are flock(2)s: their holder's end lets go. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/store.h"
#include "image/worker.h"

static int failed(struct image_worker *w, int errnum)
{
	return image_fail(w, errnum, "the store cannot be written: %s", strerror(errnum));
}

int image_keep_dirs(struct image_worker *w)
{
	static const char *const dirs[] = { "images", "layers", "tmp", "locks" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdirat(w->store_fd, dirs[i], 0700) < 0 && errno != EEXIST)
			return failed(w, errno);
	return 0;
}

static int lock_file(struct image_worker *w, const char *path, int how)
{
	int fd = openat(w->store_fd, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return failed(w, errno);
	while (flock(fd, how) < 0) {
		int saved = errno;

		if (saved == EINTR)
			continue;
		immure_close(&fd);
		return saved == EWOULDBLOCK ? -EBUSY : failed(w, saved);
	}
	return fd;
}

int image_keep_lock(struct image_worker *w, bool alone)
{
	int fd = lock_file(w, "lock", alone ? LOCK_EX | LOCK_NB : LOCK_SH);

	if (fd == -EBUSY)
		return image_fail(w, EBUSY, "the store is in use: an image is being imported or removed");
	return fd;
}

int image_keep_lock_layer(struct image_worker *w, const char *diff_id)
{
	char path[IMMURE_IMAGE_HEX + 16];

	(void)snprintf(path, sizeof(path), "locks/%s", diff_id + 7);
	return lock_file(w, path, LOCK_EX);
}

bool image_keep_has(struct image_worker *w, const char *kind, const char *digest)
{
	char path[IMMURE_IMAGE_HEX + 16];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%.8s/%s", kind, digest + 7);
	return fstatat(w->store_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int image_keep_tmp(struct image_worker *w)
{
	IMMURE_CLEANUP_FD int tmp = -1;
	unsigned char random[8];

	if (w->tmp_fd >= 0)
		return w->tmp_fd;
	tmp = openat(w->store_fd, "tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tmp < 0 || syscall(SYS_getrandom, random, sizeof(random), 0) != sizeof(random))
		return failed(w, errno);
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(w->tmp_name + 2 * i, 3, "%02x", random[i]);
	if (mkdirat(tmp, w->tmp_name, 0700) < 0)
		return failed(w, errno);
	w->tmp_fd = openat(tmp, w->tmp_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return w->tmp_fd < 0 ? failed(w, errno) : w->tmp_fd;
}

void image_keep_end(struct image_worker *w)
{
	IMMURE_CLEANUP_FD int tmp = -1;

	if (w->tmp_fd < 0)
		return;
	immure_close(&w->tmp_fd);
	tmp = openat(w->store_fd, "tmp", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tmp >= 0)
		(void)image_tree_remove(tmp, w->tmp_name); /* what is left is gc's */
}

int image_keep_write(struct image_worker *w, int dir, const char *name, const void *data, size_t len)
{
	IMMURE_CLEANUP_FD int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : immure_write_all(fd, data, len);

	return r < 0 ? failed(w, -r) : 0;
}

int image_keep_move(struct image_worker *w, const char *from, const char *kind, const char *digest)
{
	char path[IMMURE_IMAGE_HEX + 16];

	(void)snprintf(path, sizeof(path), "%.8s/%s", kind, digest + 7);
	if (renameat(w->tmp_fd, from, w->store_fd, path) == 0 || errno == EEXIST || errno == ENOTEMPTY)
		return 0; /* another import was first, with the same */
	return failed(w, errno);
}

/* ---- names ---- */

struct change {
	const char *name, *digest;
	struct immure_buf text;
	bool found;
};

static int keep_other(void *ctx, const char *name, const char *digest)
{
	struct change *c = ctx;

	if (c->name ? strcmp(name, c->name) == 0 : strcmp(digest, c->digest) == 0) {
		c->found = true;
		return 0;
	}
	immure_buf_printf(&c->text, "%s %s\n", name, digest);
	return 0;
}

static int replace_names(struct image_worker *w, struct immure_buf *text)
{
	int dir = image_keep_tmp(w), r;

	if (dir < 0)
		return dir;
	if (text->failed)
		return image_fail(w, ENOMEM, "out of memory");
	(void)unlinkat(dir, "names", 0); /* ENOENT: the usual case */
	r = image_keep_write(w, dir, "names", text->data ? text->data : "", text->len);
	if (r == 0 && renameat(dir, "names", w->store_fd, "names") < 0)
		r = failed(w, errno);
	return r;
}

int image_keep_name(struct image_worker *w, const char *name, const char *digest)
{
	struct change c = { name, digest, IMMURE_BUF_INIT, false };
	IMMURE_CLEANUP_FD int lock = lock_file(w, "names.lock", LOCK_EX);
	int r;

	if (lock < 0)
		return lock;
	r = immure_image_names(w->store_fd, keep_other, &c);
	if (r < 0)
		r = image_fail(w, -r, "the store's list of names cannot be read: %s", strerror(-r));
	if (r == 0 && name && digest)
		immure_buf_printf(&c.text, "%s %s\n", name, digest);
	if (r == 0 && (c.found || (name && digest)))
		r = replace_names(w, &c.text);
	immure_buf_done(&c.text);
	return r;
}
