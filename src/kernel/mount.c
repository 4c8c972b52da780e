/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/mount.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "kernel/sys.h"

int immure_mount_open_host(const char *path)
{
	return immure_sys_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC,
				  IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS);
}

int immure_mount_open_in(int root_fd, const char *path)
{
	while (*path == '/')
		path++;
	return immure_sys_openat2(root_fd, *path ? path : ".", O_PATH | O_CLOEXEC,
				  IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS |
					  IMMURE_RESOLVE_IN_ROOT);
}

int immure_mount_let_write(int fd)
{
	struct immure_mount_attr attr = { .attr_clr = IMMURE_ATTR_RDONLY };

	return immure_sys_mount_setattr(fd, 0, &attr);
}

int immure_mount_set(int fd, uint64_t attr_set, bool recursive)
{
	struct immure_mount_attr attr = { .attr_set = attr_set };

	return immure_sys_mount_setattr(fd, recursive ? AT_RECURSIVE : 0, &attr);
}

int immure_mount_clone(int fd, uint64_t attr_set)
{
	const unsigned int flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | IMMURE_OPEN_TREE_CLOEXEC;
	struct immure_mount_attr attr = { .attr_set = attr_set, .propagation = MS_PRIVATE };
	int tree, r;

	tree = immure_sys_open_tree_attr(fd, flags, &attr);
	if (tree != -ENOSYS && tree != -EPERM) /* EPERM: as filters say that do not know it */
		return tree;
	tree = immure_sys_open_tree(fd, "", flags);
	if (tree < 0)
		return tree;
	r = immure_sys_mount_setattr(tree, AT_RECURSIVE, &attr);
	if (r < 0) {
		immure_close(&tree);
		return r;
	}
	return tree;
}

int immure_mount_again(int fd)
{
	return immure_sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | IMMURE_OPEN_TREE_CLOEXEC);
}

int immure_mount_new(const char *type, const char *const *options, uint32_t attr)
{
	IMMURE_CLEANUP_FD int fs = immure_sys_fsopen(type);
	int r;

	if (fs < 0)
		return fs;
	for (; options && options[0]; options += 2) {
		bool flag = options[1][0] == '\0';

		r = immure_sys_fsconfig(fs, flag ? 0 : 1, options[0], flag ? NULL : options[1]);
		if (r < 0)
			return r;
	}
	r = immure_sys_fsconfig(fs, 6, NULL, NULL);
	if (r < 0)
		return r;
	return immure_sys_fsmount(fs, attr);
}

int immure_mount_tmpfs(uint64_t size, uint32_t mode, uint32_t attr)
{
	char mode_text[16], size_text[32], inodes_text[32];
	const char *options[] = { "mode", mode_text, NULL, NULL, NULL, NULL, NULL };

	(void)snprintf(mode_text, sizeof(mode_text), "%o", mode);
	if (size) {
		(void)snprintf(size_text, sizeof(size_text), "%llu", (unsigned long long)size);
		options[2] = "size";
		options[3] = size_text;
		/* An inode costs the kernel about as much: empty files count too. */
		(void)snprintf(inodes_text, sizeof(inodes_text), "%llu",
			       (unsigned long long)size / 1024 + 64);
		options[4] = "nr_inodes";
		options[5] = inodes_text;
	}
	return immure_mount_new("tmpfs", options, attr);
}

int immure_mount_attach(int tree_fd, int target_fd)
{
	return immure_sys_move_mount(tree_fd, target_fd);
}

struct statx_old { /* struct statx, which musl's headers lack */
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	uint64_t times[8];
	uint32_t rdev[2], dev[2];
	uint64_t rest[14];
};

enum { STATX_MOUNT_ROOT = 0x2000 };

int immure_mount_is_root(int fd)
{
	struct statx_old st = { 0 };

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0U, &st) < 0)
		return -errno;
	if (!(st.attributes_mask & STATX_MOUNT_ROOT))
		return -ENOSYS;
	return st.attributes & STATX_MOUNT_ROOT ? 1 : 0;
}

int immure_mount_look(int root_fd, const char *path, struct immure_mount_seen *ret)
{
	const unsigned int what = 1 | 2 | 0x100; /* STATX_TYPE, _MODE, _INO */
	struct statx_old st = { 0 };

	while (*path == '/')
		path++;
	if (syscall(SYS_statx, root_fd, *path ? path : ".", AT_SYMLINK_NOFOLLOW | 0x800 /* AT_NO_AUTOMOUNT */,
		    what, &st) < 0)
		return -errno;
	if (!(st.attributes_mask & STATX_MOUNT_ROOT))
		return -ENOSYS;
	*ret = (struct immure_mount_seen){ .mode = st.mode, .ino = st.ino, .dev = { st.dev[0], st.dev[1] },
					   .is_root = st.attributes & STATX_MOUNT_ROOT };
	return 0;
}

int immure_mount_make_private(void)
{
	struct immure_mount_attr attr = { .propagation = MS_PRIVATE };

	return (int)IMMURE_SYS(syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr,
				       sizeof(attr)));
}

int immure_mount_pivot(int root_fd)
{
	struct stat new_root, above;
	int r;

	if (fchdir(root_fd) < 0)
		return -errno;
	/* The old root ends up stacked on the new one, so that the same "."
	 * names what is to be detached; no directory is needed for it. */
	r = immure_sys_pivot_root(".", ".");
	if (r < 0)
		return r;
	if (umount2(".", MNT_DETACH) < 0)
		return -errno;
	if (chdir("/") < 0 || fstat(root_fd, &new_root) < 0 || stat("..", &above) < 0)
		return -errno;
	/* Had something lain between the two, that would be gone and the old root would be
	 * above the new one, one step up from it. */
	return above.st_dev == new_root.st_dev && above.st_ino == new_root.st_ino ? 0 : -EBUSY;
}
