/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several directories as one tree, copied on write (overlayfs).
 *
 * Every directory is opened once and named to the kernel by its descriptor: through
 * /proc/self/fd, because overlayfs takes descriptors themselves since Linux 6.13 only.
 * That is where the process goes meanwhile, so a name is a short number, and what
 * processes inside read of the mount are numbers and not the host's paths.
 *
 * Since 5.11 an overlay can be made in a user namespace. It keeps its marks in user.*
 * attributes then; metacopy and redirect_dir are off, so what is in an upper directory is
 * whole files and whole directories, and never says to look elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/build.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

enum { PROC = 0x9fa0, OVERLAY = 0x794c7630, JOINED = 256 }; /* the most that fsconfig(2) takes as one value */

struct parts {
	int layer[IMMURE_LAYERS_MAX];
	uint32_t n;
	int upper, work; /* -1 = there is none */
};

static void parts_done(struct parts *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		immure_close(&p->layer[i]);
	immure_close(&p->upper);
	immure_close(&p->work);
}

static int open_layers(struct parts *p, const struct immure_op *op)
{
	const struct immure_op *first = op - op->num[0]; /* checked when the plan was unsealed */
	struct stat st;

	for (; p->n < op->num[0]; p->n++) {
		int fd = immure_mount_open_host(first[p->n].src);

		if (fd < 0)
			return fd;
		p->layer[p->n] = fd;
		if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
			p->n++;
			return -ENOTDIR;
		}
	}
	return 0;
}

static int open_kept(struct immure_build *b, struct parts *p, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int dir = -1;

	if (op->flags & IMMURE_OPF_KEPT && !b->kept)
		return -EINVAL;
	dir = immure_mount_open_host(op->flags & IMMURE_OPF_KEPT ? b->kept : op->src);
	if (dir < 0)
		return dir;
	p->upper = immure_build_step(dir, "upper");
	if (p->upper < 0)
		return p->upper;
	p->work = immure_build_step(dir, "work");
	return p->work < 0 ? p->work : 0;
}

static int open_parts(struct immure_build *b, struct parts *p, const struct immure_op *op, int target)
{
	int r = open_layers(p, op);

	if (!op->dst[1]) /* until the root is there: on something that nobody asks for meanwhile */
		target = p->layer[0];
	if (r == 0 && op->flags & IMMURE_OPF_SHARED) {
		struct stat st; /* what is made at the top of it looks like what it covers */

		p->upper = fstat(p->layer[0], &st) < 0 ? -errno :
			   immure_build_area_dir(b, target, op->num[1], st.st_mode & 0777, op,
						 IMMURE_AREA_UPPER);
		if (p->upper >= 0)
			p->work = immure_build_area_dir(b, target, op->num[1], 0700, op, IMMURE_AREA_WORK);
		return p->upper < 0 ? p->upper : p->work < 0 ? p->work : 0;
	}
	return r < 0 || op->flags & IMMURE_OPF_RO ? r : open_kept(b, p, op);
}

static int set(int fs, const char *key, int fd)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", fd);
	return immure_sys_fsconfig(fs, 1, key, name);
}

/* One by one since Linux 6.8; before, all of them as one value. */
static int set_layers(int fs, const struct parts *p, bool as_one)
{
	char joined[JOINED];
	size_t at = 0;
	int r = 0;

	for (uint32_t i = 0; !as_one && r == 0 && i < p->n; i++)
		r = set(fs, "lowerdir+", p->layer[i]);
	if (!as_one)
		return r;
	for (uint32_t i = 0; i < p->n; i++) {
		int n = snprintf(joined + at, sizeof(joined) - at, "%s%d", i ? ":" : "", p->layer[i]);

		if (n < 0 || (size_t)n >= sizeof(joined) - at)
			return -E2BIG;
		at += (size_t)n;
	}
	return immure_sys_fsconfig(fs, 1, "lowerdir", joined);
}

/* The kernel has one answer to everything that it does not like. */
static int why(const struct parts *p, int r)
{
	struct statfs fs;

	return r == -EINVAL && p->upper >= 0 && fstatfs(p->upper, &fs) == 0 && fs.f_type == OVERLAY ?
	       -EOPNOTSUPP : r;
}

static int make_with(const struct parts *p, uint32_t attr, bool as_one)
{
	IMMURE_CLEANUP_FD int fs = immure_sys_fsopen("overlay");
	int r = fs < 0 ? fs : set_layers(fs, p, as_one);

	if (r == 0 && p->upper >= 0)
		r = set(fs, "upperdir", p->upper);
	if (r == 0 && p->upper >= 0)
		r = set(fs, "workdir", p->work);
	if (r == 0)
		r = immure_sys_fsconfig(fs, 0, "userxattr", NULL);
	if (r == 0 && p->upper >= 0)
		r = immure_sys_fsconfig(fs, 1, "index", "off");
	if (r == 0)
		r = immure_sys_fsconfig(fs, 6, NULL, NULL);
	return r < 0 ? r : immure_sys_fsmount(fs, attr);
}

/* In /proc/self/fd. A single layer that nothing is written over is no overlay. Which keys there
 * are is told by setting one since Linux 6.5, before only by the attempt to make it. */
static int make(const struct parts *p, uint32_t attr)
{
	int r;

	if (p->n == 1 && p->upper < 0)
		return immure_mount_clone(p->layer[0], attr);
	r = make_with(p, attr, false);
	if (r == -EINVAL)
		r = make_with(p, attr, true);
	return r < 0 ? why(p, r) : r;
}

/* A number in a /proc that is none would be somebody's file. */
static int go_to_descriptors(void)
{
	IMMURE_CLEANUP_FD int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fds < 0)
		return -errno;
	if (fstatfs(fds, &fs) < 0)
		return -errno;
	if (fs.f_type != PROC)
		return -EINVAL;
	return fchdir(fds) < 0 ? -errno : 0;
}

static int mount_overlay(const struct parts *p, const struct immure_op *op)
{
	uint32_t attr = IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV;
	IMMURE_CLEANUP_FD int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = go_to_descriptors(), tree;

	if (op->flags & IMMURE_OPF_NOEXEC)
		attr |= IMMURE_ATTR_NOEXEC;
	if (op->flags & IMMURE_OPF_RO && !(op->flags & IMMURE_OPF_SHARED))
		attr |= IMMURE_ATTR_RDONLY;
	if (r < 0)
		return r;
	tree = make(p, attr);
	if ((back < 0 || fchdir(back) < 0) && chdir("/") < 0) { /* nobody relies on where it is */
		r = -errno;
		immure_close(&tree);
		return r;
	}
	return tree;
}

/* Not under the root: what is stacked there would be between it and the host's when they change
 * places, and the host's would stay. Below /dev, on which the next operation mounts. */
static int settle_areas(struct immure_build *b)
{
	IMMURE_CLEANUP_FD int dev = immure_build_target(b, "/dev", false);

	return dev < 0 ? dev : immure_mount_attach(b->areas_fd, dev);
}

static int place(struct immure_build *b, const struct immure_op *op, int target, int *tree)
{
	int r;

	if (op->dst[1]) {
		r = immure_mount_attach(*tree, target);
	} else {
		r = immure_build_root(b, immure_take_fd(tree));
		*tree = r < 0 ? -1 : fcntl(b->root_fd, F_DUPFD_CLOEXEC, 10);
		r = r == 0 && *tree < 0 ? -errno : r;
	}
	if (r < 0 || !(op->flags & IMMURE_OPF_SHARED))
		return r;
	r = immure_build_own(b, *tree);
	if (r == 0 && !op->dst[1])
		r = settle_areas(b);
	return r == 0 && op->flags & IMMURE_OPF_RO ? immure_build_seal_later(b, *tree) : r;
}

int immure_build_overlay(struct immure_build *b, const struct immure_op *op)
{
	struct parts p = { .upper = -1, .work = -1 };
	IMMURE_CLEANUP_FD int target = -1, tree = -1;
	int r;

	if (op->num[0] == 0 || op->num[0] > IMMURE_LAYERS_MAX)
		return -EINVAL;
	target = op->dst[1] ? immure_build_target(b, op->dst, false) :
			      open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return op->dst[1] ? target : -errno;
	r = open_parts(b, &p, op, target);
	if (r == 0) {
		tree = mount_overlay(&p, op);
		r = tree < 0 ? tree : place(b, op, target, &tree);
	}
	parts_done(&p);
	return r;
}
