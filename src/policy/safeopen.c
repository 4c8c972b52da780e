/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/safeopen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sha256.h"

/* Without openat2: component by component, O_NOFOLLOW, no "..". */
static int walk(int dir_fd, const char *path, int flags)
{
	IMMURE_CLEANUP_FD int at = -1;
	char part[NAME_MAX + 1];
	bool absolute = path[0] == '/';

	at = absolute ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) :
			openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -errno;
	for (;;) {
		size_t n;
		int next;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 0)
			break;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		if (n == 2 && path[0] == '.' && path[1] == '.')
			return -EXDEV;
		memcpy(part, path, n);
		part[n] = '\0';
		path += n;
		if (path[strspn(path, "/")] == '\0')
			next = openat(at, part, flags | O_NOFOLLOW | O_CLOEXEC);
		else
			next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			/* a symlink gives ENOTDIR beside O_DIRECTORY */
			return errno == ENOTDIR ? -ELOOP : -errno;
		immure_close(&at);
		at = next;
		if (path[strspn(path, "/")] == '\0')
			break;
	}
	return immure_take_fd(&at);
}

int immure_safe_openat(int dir_fd, const char *path, int flags, bool beneath, bool no_symlinks)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
		.resolve = RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	if (beneath)
		how.resolve |= RESOLVE_BENEATH;
	if (no_symlinks)
		how.resolve |= RESOLVE_NO_SYMLINKS;
	do /* EAGAIN: a rename somewhere on the way, while ".." was checked */
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	if (fd < 0 && errno == ENOSYS)
		return walk(dir_fd, path, flags);
	return fd < 0 ? -errno : (int)fd;
}

void immure_safe_file_done(struct immure_safe_file *f)
{
	immure_close(&f->dir_fd);
	free(f->data);
	f->data = NULL;
}

static int32_t distrust(struct immure_error **err, const char *name, const char *hint,
			const char *why)
{
	int32_t r = immure_fail(err, IMMURE_ERR_TRUST, 0, "policy", name, "%s: %s", name, why);

	if (err && hint)
		immure_error_set_hint(*err, "%s", hint);
	return r;
}

static int32_t io_error(struct immure_error **err, const char *name, int errnum)
{
	return immure_fail(err, IMMURE_ERR_IO, errnum, "policy", name, "%s: cannot be read: %s", name,
			   strerror(errnum < 0 ? -errnum : errnum));
}

static bool ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Whether anybody else could have written the file, or can put another in its
 * place. */
static int32_t check_owner(int fd, int dir_fd, const char *name, struct stat *ret,
			   struct immure_error **err)
{
	struct stat st, dir;

	if (fstat(fd, &st) < 0 || fstat(dir_fd, &dir) < 0)
		return io_error(err, name, errno);
	if (!S_ISREG(st.st_mode))
		return distrust(err, name, NULL, "is not a regular file");
	if (!ours(st.st_uid))
		return distrust(err, name, "policy files are obeyed when the caller or root owns them",
				"belongs to another user");
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return distrust(err, name, "chmod go-w on it", "can be written by group or others");
	if (!ours(dir.st_uid))
		return distrust(err, name, "its directory must belong to the caller or root",
				"is in a directory of another user");
	if ((dir.st_mode & S_IWOTH) && !(dir.st_mode & S_ISVTX))
		return distrust(err, name, "chmod o-w on the directory",
				"is in a directory that others can write");
	*ret = st;
	return 0;
}

static int32_t read_checked(int fd, int dir_fd, size_t max, const char *name,
			    struct immure_safe_file *ret, struct immure_error **err)
{
	struct immure_safe_file f = { .dir_fd = -1 };
	struct stat st = { 0 };
	int32_t r = check_owner(fd, dir_fd, name, &st, err);
	int k;

	if (r < 0)
		return r;
	k = immure_read_all(fd, max, &f.data, &f.len);
	if (k == -EFBIG)
		return immure_fail(err, IMMURE_ERR_POLICY, EFBIG, "policy", name,
				   "%s: has more than %zu bytes", name, max);
	if (k < 0)
		return k == -ENOMEM ? immure_fail(err, IMMURE_ERR_NOMEM, k, "policy", "",
						  "out of memory") : io_error(err, name, k);
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	immure_sha256_hex(f.data, f.len, 32, f.digest);
	*ret = f;
	return 0;
}

enum { LINKS_MAX = 8 };

/* Splits path at its last slash, in place; the directory is "." without one. */
static const char *split(char *path, const char **ret_dir)
{
	char *slash = strrchr(path, '/');

	if (!slash) {
		*ret_dir = ".";
		return path;
	}
	*ret_dir = slash == path ? "/" : path;
	*slash = '\0';
	return slash + 1;
}

/* Replaces *path by where the symlink dir/base leads. Only relative links can
 * stay within a tree. */
static int follow(char **path, const char *dir, int dir_fd, const char *base)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, base, target, sizeof(target) - 1);
	char *next;

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (target[0] == '/')
		return -EXDEV;
	if (asprintf(&next, "%s/%s", dir, target) < 0)
		return -ENOMEM;
	free(*path);
	*path = next;
	return 0;
}

int32_t immure_safe_read(int tree_fd, const char *rel, bool within, size_t max, const char *name,
			 struct immure_safe_file *ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FREE char *path = strdup(rel);

	for (int links = 0; path && links <= LINKS_MAX; links++) {
		IMMURE_CLEANUP_FD int dir_fd = -1, fd = -1;
		const char *dir, *base = split(path, &dir);
		int32_t r;

		dir_fd = immure_safe_openat(tree_fd, dir, O_PATH | O_DIRECTORY, within, false);
		if (dir_fd >= 0)
			/* O_NONBLOCK: a fifo must not hold us; checked to be a file */
			fd = immure_safe_openat(dir_fd, base, O_RDONLY | O_NONBLOCK | O_NOCTTY, within,
						true);
		else
			fd = dir_fd;
		if (fd == -ELOOP && dir_fd >= 0) {
			int k = within ? follow(&path, dir, dir_fd, base) : -ELOOP;

			if (k == 0)
				continue;
			fd = k;
		}
		if (fd >= 0) {
			r = read_checked(fd, dir_fd, max, name, ret, err);
			if (r == 0)
				ret->dir_fd = immure_take_fd(&dir_fd);
			return r;
		}
		if (fd == -EXDEV)
			return distrust(err, name, "name the file itself with --policy",
					"is reached through a symlink that leaves its tree");
		if (fd == -ELOOP)
			return distrust(err, name, "name the file that it points to",
					"is a symlink");
		if (fd == -ENOENT && links > 0)
			return distrust(err, name, NULL, "is a symlink to nothing");
		return io_error(err, name, fd);
	}
	if (!path)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	return distrust(err, name, NULL, "is a symlink that leads to too many others");
}
