/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal /dev, and in it, out of reach, the two objects that masks show. */
#include "init/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

/* What is bound must be the device it claims to be: a replaced /dev/null has
 * been a way out of other runtimes. */
static int bind_device(int dev_dir, const char *name, unsigned int maj, unsigned int min)
{
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	IMMURE_CLEANUP_FD int src = immure_mount_open_host(path);
	if (src < 0)
		return src;
	if (fstat(src, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(maj, min))
		return -ENODEV;
	IMMURE_CLEANUP_FD int tree = immure_mount_clone(src, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (tree < 0)
		return tree;
	IMMURE_CLEANUP_FD int target = openat(dev_dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
					      0666);
	return target < 0 ? -errno : immure_mount_attach(tree, target);
}

static int dev_pts(int dev_dir)
{
	static const char *const options[] = { "newinstance", "", "ptmxmode", "0666", "mode", "0620",
					       NULL };

	IMMURE_CLEANUP_FD int tree = immure_mount_new("devpts", options,
						      IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (tree < 0)
		return tree;
	if (mkdirat(dev_dir, "pts", 0755) < 0 && errno != EEXIST)
		return -errno;
	IMMURE_CLEANUP_FD int target = immure_build_step(dev_dir, "pts");
	return target < 0 ? target : immure_mount_attach(tree, target);
}

static int dev_shm(struct immure_build *b, int dev_dir, const struct immure_op *op)
{
	if (mkdirat(dev_dir, "shm", 0755) < 0 && errno != EEXIST)
		return -errno;
	IMMURE_CLEANUP_FD int target = immure_build_step(dev_dir, "shm");
	return target < 0 ? target : immure_build_area(b, target, op->num[0], 01777, 0, op);
}

/* On a root of ours a directory of it will do; else a file system. Mode 0755: with a
 * sticky, world-writable /dev the kernel refuses `> /dev/null` when the node's owner
 * is not mapped. */
static int make_dev(struct immure_build *b, const char *dst)
{
	IMMURE_CLEANUP_FD int dev = -1;
	int r;

	if (b->root_own)
		return immure_build_target(b, dst, false);
	dev = immure_mount_tmpfs((64 << 10) + b->texts, 0755, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (dev < 0)
		return dev;
	r = immure_build_attach(b, dev, dst, false);
	if (r == 0)
		r = immure_build_own(b, dev);
	if (r == 0)
		r = immure_build_seal_later(b, dev);
	return r < 0 ? r : immure_take_fd(&dev);
}

/* The two objects that every mask shows, made where nothing can reach them by
 * name: their names go away again at the end of the stage. (Not sooner: what has
 * no name cannot be mounted any more.) */
static int make_masks(struct immure_build *b, int dir, const char *path)
{
	int r;

	if (mkdirat(dir, ".mask-dir", 0000) < 0)
		return -errno;
	r = immure_build_empty_file(dir, ".mask-file", 0000);
	if (r < 0)
		return r;
	b->mask_dir_fd = immure_build_step(dir, ".mask-dir");
	b->mask_file_fd = immure_build_step(dir, ".mask-file");
	b->mask_home = path;
	return b->mask_dir_fd < 0 || b->mask_file_fd < 0 ? -EIO : 0;
}

int immure_build_dev(struct immure_build *b, const struct immure_op *op)
{
	static const struct {
		const char *name;
		unsigned int maj, min;
	} nodes[] = { { "null", 1, 3 },	  { "zero", 1, 5 },    { "full", 1, 7 },
		      { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
						{ "/proc/self/fd/0", "stdin" },
						{ "/proc/self/fd/1", "stdout" },
						{ "/proc/self/fd/2", "stderr" },
						{ "pts/ptmx", "ptmx" } };
	int r;

	IMMURE_CLEANUP_FD int dev = make_dev(b, op->dst);
	if (dev < 0)
		return dev;
	r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(nodes) / sizeof(nodes[0]); i++)
		r = bind_device(dev, nodes[i].name, nodes[i].maj, nodes[i].min);
	for (size_t i = 0; r == 0 && i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0)
			r = -errno;
	if (r == 0)
		r = dev_pts(dev);
	if (r == 0)
		r = dev_shm(b, dev, op);
	if (r < 0)
		return r;
	r = make_masks(b, dev, "/dev");
	if (r < 0)
		return r;
	return 0;
}

int immure_build_dev_again(struct immure_build *b, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int dev = immure_mount_open_in(b->root_fd, op->dst);
	int r = dev < 0 ? dev : dev_pts(dev);

	if (r == 0)
		r = dev_shm(b, dev, op);
	if (r < 0)
		return r;
	return immure_build_masks_again(b);
}

/* That /dev is shared and read-only; what is below it is not. */
int immure_build_masks_again(struct immure_build *b)
{
	IMMURE_CLEANUP_FD int shm = immure_mount_open_in(b->root_fd, "/dev/shm");

	return shm < 0 ? shm : make_masks(b, shm, "/dev/shm");
}

/* In an image's root, where changes go to an area of ours, what stands there may be a link to
 * what the image's own services would make, or be missing. */
static int cover_target(struct immure_build *b, const struct immure_op *op)
{
	int fd = immure_mount_open_in(b->root_fd, op->dst);
	const char *name;

	if (fd != -ELOOP && (fd != -ENOENT || op->flags & IMMURE_OPF_OPTIONAL))
		return fd;
	if (fd == -ELOOP) {
		int dir = immure_build_parent(b, op->dst, &name); /* kept by b */

		if (dir < 0 || !immure_build_is_own(b, dir))
			return fd;
		if (unlinkat(dir, name, 0) < 0)
			return -errno;
	}
	return immure_build_target(b, op->dst, true); /* elsewhere: ENOENT as before */
}

/* Made where masks are, and like them without a name in the end. */
int immure_build_cover(struct immure_build *b, const struct immure_op *op)
{
	static const char name[] = ".cover";
	mode_t mode = op->num[1] ? (mode_t)op->num[1] : 0444;
	int r;

	IMMURE_CLEANUP_FD int target = cover_target(b, op);
	if (target < 0)
		return target == -ENOENT && (op->flags & IMMURE_OPF_OPTIONAL) ? 0 : target;
	IMMURE_CLEANUP_FD int dev = immure_mount_open_in(b->root_fd, "/dev");
	if (dev < 0)
		return dev;
	if (!immure_build_is_own(b, dev))
		return -EROFS;
	IMMURE_CLEANUP_FD int fd = openat(dev, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
					  mode);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, op->src, strlen(op->src));
	IMMURE_CLEANUP_FD int path = r < 0 ? r : immure_build_step(dev, name);
	IMMURE_CLEANUP_FD int tree = path < 0 ? path :
		immure_mount_clone(path, IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV |
						 IMMURE_ATTR_NOEXEC);
	r = tree < 0 ? tree : immure_mount_attach(tree, target);
	if (unlinkat(dev, name, 0) < 0 && r == 0)
		r = -errno;
	return r;
}

int immure_build_drop_mask_names(struct immure_build *b)
{
	if (b->mask_dir_fd < 0)
		return 0;
	IMMURE_CLEANUP_FD int dev = immure_mount_open_in(b->root_fd, b->mask_home);
	if (dev < 0)
		return dev;
	if (unlinkat(dev, ".mask-dir", AT_REMOVEDIR) < 0 || unlinkat(dev, ".mask-file", 0) < 0)
		return -errno;
	immure_close(&b->mask_dir_fd);
	immure_close(&b->mask_file_fd);
	return 0;
}
