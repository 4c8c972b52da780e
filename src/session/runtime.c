/* SPDX-License-Identifier: Apache-2.0 */
#include "session/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"

enum { DEPTH_MAX = 32 };

int immure_runtime_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_uid != geteuid() || (st.st_mode & 077))
		r = -EPERM;
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	return fd;
}

int immure_runtime_file(int dir, const char *name, int flags)
{
	/* Not waiting: what should be a file may be a pipe that somebody put there. */
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	struct stat st;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if (st.st_uid != geteuid() || (st.st_mode & 077))
		r = -EPERM;
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	return fd;
}

int immure_runtime_read(int dir, const char *name, size_t max, char **ret, size_t *ret_len)
{
	IMMURE_CLEANUP_FD int fd = immure_runtime_file(dir, name, O_RDONLY);

	return fd < 0 ? fd : immure_read_all(fd, max, ret, ret_len);
}

int immure_runtime_lock(int fd, bool wait)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l) < 0)
		if (errno != EINTR)
			return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

int immure_runtime_lock_all(struct immure_registry *r)
{
	int fd = immure_runtime_file(r->root_fd, "lock", O_RDWR | O_CREAT), k;

	if (fd < 0)
		return fd;
	k = immure_runtime_lock(fd, true);
	if (k < 0) {
		immure_close(&fd);
		return k;
	}
	return fd;
}

static int remove_below(int dir_fd, const char *except, dev_t dev, int depth, char *left,
			size_t len);

static int remove_one(int dir, const char *name, dev_t dev, int depth, char *left, size_t len)
{
	struct stat st;
	int r = 0;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode)) {
		IMMURE_CLEANUP_FD int sub = -1;

		if (st.st_dev != dev)
			r = -EXDEV; /* a mount: what is in it is not ours to delete */
		else if (depth >= DEPTH_MAX)
			r = -ELOOP;
		else
			sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = remove_below(sub, NULL, dev, depth + 1, left, len);
		else if (r == 0)
			r = -errno;
		if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	} else if (unlinkat(dir, name, 0) < 0 && errno != ENOENT) {
		r = -errno;
	}
	if (r < 0 && len > 0 && !left[0])
		(void)snprintf(left, len, "%s", name);
	return r;
}

static int remove_below(int dir_fd, const char *except, dev_t dev, int depth, char *left, size_t len)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), first = 0, r;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		r = -errno;
		immure_close(&fd);
		return r;
	}
	while ((d = immure_readdir(dir, &first))) {
		if (except && strcmp(d->d_name, except) == 0)
			continue;
		r = remove_one(dirfd(dir), d->d_name, dev, depth, left, len);
		if (r < 0 && first == 0)
			first = r;
	}
	(void)closedir(dir); /* read only: nothing is lost */
	return first;
}

int immure_runtime_empty(int dir_fd, const char *except, char *left, size_t len)
{
	struct stat st;

	if (len > 0)
		left[0] = '\0';
	if (fstat(dir_fd, &st) < 0)
		return -errno;
	return remove_below(dir_fd, except, st.st_dev, 0, left, len);
}
