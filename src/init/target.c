/* SPDX-License-Identifier: Apache-2.0 */
/* Where the parts of the view are put. A destination is opened below the new
 * root with symlinks refused; what it lacks is created only in file systems
 * that the build made itself, so never in the user's tree. */
#include "init/build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

enum { PATH_BYTES = 4096 };

bool immure_build_is_own(const struct immure_build *b, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < b->own_n; i++)
		if (b->own[i] == st.st_dev)
			return true;
	return false;
}

int immure_build_own(struct immure_build *b, int fd)
{
	struct stat st;

	if (b->own_n == IMMURE_BUILD_OWN)
		return -E2BIG;
	if (fstat(fd, &st) < 0)
		return -errno;
	b->own[b->own_n++] = st.st_dev;
	return 0;
}

int immure_build_seal_later(struct immure_build *b, int fd)
{
	int copy;

	if (b->seal_n == IMMURE_BUILD_SEALS)
		return -E2BIG;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	if (copy < 0)
		return -errno;
	b->seal[b->seal_n++] = copy;
	return 0;
}

int immure_build_step(int dir, const char *name)
{
	return immure_sys_openat2(dir, name, O_PATH | O_CLOEXEC,
				  IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS);
}

/* One step of the walk below: opens name in *dir, creating it when the file
 * system is ours, and moves *dir there. */
static int descend(const struct immure_build *b, int *dir, const char *name, bool file)
{
	int next = immure_build_step(*dir, name);

	if (next == -ENOENT && immure_build_is_own(b, *dir)) {
		if (file) {
			int made = openat(*dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
					  0444);

			if (made < 0)
				return -errno;
			immure_close(&made);
		} else if (mkdirat(*dir, name, 0755) < 0) {
			return -errno;
		}
		next = immure_build_step(*dir, name);
	} else if (next >= 0 && !file && immure_build_is_own(b, next)) {
		struct stat st;

		/* A placeholder of MASK_KEEP on the way to something allowed:
		 * it may be passed through, not listed. */
		if (fstat(next, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0111) == 0 &&
		    fchmodat(*dir, name, 0111, 0) < 0) {
			int saved = -errno;

			immure_close(&next);
			return saved;
		}
	}
	if (next < 0)
		return next;
	immure_close(dir);
	*dir = next;
	return 0;
}

/* What was created to be mounted on is used as it was opened. */
static int create_at(int parent, const char *name, bool file)
{
	if (file) {
		int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);

		return fd < 0 ? -errno : fd;
	}
	return mkdirat(parent, name, 0755) < 0 ? -errno : immure_build_step(parent, name);
}

/* Most of what is made lies in few directories, and comes in order: the last one is
 * kept open. Nothing is mounted on a directory after something below it was made. */
static bool in_last_parent(const struct immure_build *b, const char *path, size_t n)
{
	return b->parent_fd >= 0 && strncmp(b->parent, path, n) == 0 && b->parent[n] == '\0';
}

/* The ordinary case of creation: the directory is there, is ours and may be
 * passed through. */
static int create_in(struct immure_build *b, const char *path, size_t n, bool file)
{
	char dir[PATH_BYTES];
	struct stat st;

	if (n >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = '\0';
	IMMURE_CLEANUP_FD int parent = immure_mount_open_in(b->root_fd, dir);
	if (parent < 0 || !immure_build_is_own(b, parent) || fstat(parent, &st) < 0 || (st.st_mode & 0111) == 0)
		return -ENOENT;
	if (n >= sizeof(b->parent) || immure_fd_raise(&parent, 10) < 0)
		return create_at(parent, path + n + 1, file);
	immure_close(&b->parent_fd);
	memcpy(b->parent, dir, n + 1);
	b->parent_fd = immure_take_fd(&parent);
	return create_at(b->parent_fd, path + n + 1, file);
}

int immure_build_target(struct immure_build *b, const char *path, bool file)
{
	size_t len = (size_t)(strrchr(path, '/') - path);
	char name[256];
	int fd, r = 0;

	if (in_last_parent(b, path, len) && path[len + 1]) {
		fd = create_at(b->parent_fd, path + len + 1, file);
		if (fd != -EEXIST)
			return fd;
	}
	fd = immure_mount_open_in(b->root_fd, path);
	if (fd != -ENOENT && fd != -EACCES)
		return fd;
	if (fd == -ENOENT) {
		fd = create_in(b, path, len, file);
		if (fd >= 0)
			return fd;
	}
	fd = fcntl(b->root_fd, F_DUPFD_CLOEXEC, 10);
	if (fd < 0)
		return -errno;
	while (*path) {
		size_t n;

		while (*path == '/')
			path++;
		n = strcspn(path, "/");
		if (n == 0)
			break;
		if (n >= sizeof(name)) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, path, n);
		name[n] = '\0';
		path += n;
		r = descend(b, &fd, name, file && *path == '\0');
		if (r < 0)
			break;
	}
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	return fd;
}

int immure_build_parent(struct immure_build *b, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t n = (size_t)(slash - path);
	char dir[IMMURE_BUILD_PARENT];
	struct stat st;
	int r;

	if (n >= sizeof(dir) || strlen(slash + 1) >= 256)
		return -ENAMETOOLONG;
	*ret_name = slash + 1;
	if (in_last_parent(b, path, n))
		return b->parent_fd;
	memcpy(dir, path, n);
	dir[n] = '\0';
	IMMURE_CLEANUP_FD int fd = immure_build_target(b, n ? dir : "/", false);
	if (fd < 0)
		return fd;
	if (!immure_build_is_own(b, fd))
		return -EROFS;
	r = fstat(fd, &st) < 0 ? -errno : immure_fd_raise(&fd, 10);
	if (r < 0)
		return r;
	/* One that cannot be passed through yet is not where things are created unseen. */
	memcpy(b->parent, st.st_mode & 0111 ? dir : "//", st.st_mode & 0111 ? n + 1 : 3);
	immure_close(&b->parent_fd);
	b->parent_fd = immure_take_fd(&fd);
	return b->parent_fd;
}

int immure_build_attach(struct immure_build *b, int tree_fd, const char *dst, bool file)
{
	IMMURE_CLEANUP_FD int target = immure_build_target(b, dst, file);

	if (target < 0)
		return target;
	return immure_mount_attach(tree_fd, target);
}

int immure_build_empty_file(int dir, const char *name, mode_t mode)
{
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return -errno;
	immure_close(&fd);
	return 0;
}
