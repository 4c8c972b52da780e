/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there are many of, made from few: a file system costs the kernel ten times as
 * much as a mount of one that is there, and as much again when it goes away.
 *
 * The writable areas are directories of one tmpfs, each with a mount of its own, so
 * that limits.disk bounds what all of them hold together, and links and renames
 * between them fail as between file systems (EXDEV). The root of that tmpfs has to be
 * mounted somewhere before parts of it can be; it lies beneath the first area, where
 * no path leads and from where nobody inside may take anything away.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sha256.h"
#include "init/build.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

static int make_shared(struct immure_build *b, int target_fd, uint64_t size)
{
	int r;

	b->areas_fd = immure_mount_tmpfs(size, 0700, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	if (b->areas_fd < 0)
		return b->areas_fd;
	r = immure_fd_raise(&b->areas_fd, 10);
	if (r == 0)
		r = immure_mount_attach(b->areas_fd, target_fd);
	return r < 0 ? r : immure_build_own(b, b->areas_fd);
}

void immure_area_name(const struct immure_op *op, enum immure_area_part part, char ret[IMMURE_AREA_NAME])
{
	static const char parts[] = { 'a', 'u', 'w' };

	ret[0] = parts[part];
	immure_sha256_hex(op->dst, strlen(op->dst), 16, ret + 1);
}

/* What is made once more, because the host took away what the first was put on, is the
 * same directory: it has another name in no plan. */
int immure_build_area_dir(struct immure_build *b, int target_fd, uint64_t size, mode_t mode,
			  const struct immure_op *op, enum immure_area_part part)
{
	char name[IMMURE_AREA_NAME];
	int r = b->areas_fd >= 0 ? 0 : make_shared(b, target_fd, size);

	if (r < 0)
		return r;
	immure_area_name(op, part, name);
	if (mkdirat(b->areas_fd, name, mode) < 0 && errno != EEXIST)
		return -errno;
	return immure_build_step(b->areas_fd, name);
}

int immure_build_area(struct immure_build *b, int target_fd, uint64_t size, mode_t mode,
		      uint64_t attr, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int dir = immure_build_area_dir(b, target_fd, size, mode, op, IMMURE_AREA_TOP), tree = -1;
	int r;

	if (dir < 0)
		return dir;
	tree = immure_mount_again(dir);
	if (tree < 0)
		return tree;
	r = attr ? immure_mount_set(tree, attr, false) : 0;
	return r < 0 ? r : immure_mount_attach(tree, target_fd);
}

int immure_build_mask(struct immure_build *b, int target_fd, bool is_dir)
{
	int *first = &b->mask_mount[is_dir];
	int r;

	if (b->mask_dir_fd < 0)
		return -ENOTSUP; /* the plan has no DEV before its masks */
	if (*first >= 0) {
		IMMURE_CLEANUP_FD int tree = immure_mount_again(*first);

		if (tree != -EINVAL)
			return tree < 0 ? tree : immure_mount_attach(tree, target_fd);
		/* A host program has just replaced what it was put on, and so taken it out
		 * of every namespace: the next one is the first. */
		immure_close(first);
	}
	*first = immure_mount_clone(is_dir ? b->mask_dir_fd : b->mask_file_fd,
				    IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV |
					    IMMURE_ATTR_NOEXEC);
	if (*first < 0)
		return *first;
	r = immure_fd_raise(first, 10);
	return r < 0 ? r : immure_mount_attach(*first, target_fd);
}
