/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MOUNT stage: the session's view of files is assembled as a tree of its
 * own, beside the host's, and swapped in at the end.
 *
 * Until the pivot the process's root is still the host's, so a source is
 * opened by its host path and cannot be hidden by what was mounted before it.
 * A destination is opened below the new root with symlinks refused. Both are
 * descriptors from then on. What a destination lacks is created only inside
 * tmpfs instances that this file made; a missing one anywhere else is an
 * error, so nothing is ever created in the user's tree.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/build.h"
#include "init/init.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

enum { KEEP_ENTRIES = 4096 };

static uint64_t attr_of(const struct immure_op *op)
{
	return (op->flags & IMMURE_OPF_RO ? IMMURE_ATTR_RDONLY : 0) |
	       (op->flags & IMMURE_OPF_NOEXEC ? IMMURE_ATTR_NOEXEC : 0);
}

/* ---- the root ---- */

/* The new root is attached on the very directory that is the root now: lookups
 * from this process's root do not cross a mount stacked on their starting
 * point, so host paths keep meaning what they meant. */
int immure_build_root(struct immure_build *b, int tree_fd)
{
	IMMURE_CLEANUP_FD int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (top < 0)
		return -errno;
	r = immure_mount_attach(tree_fd, top);
	if (r < 0)
		return r;
	b->root_fd = tree_fd;
	return immure_fd_raise(&b->root_fd, 10);
}

static int root_host(struct immure_build *b)
{
	IMMURE_CLEANUP_FD int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tree;

	if (top < 0)
		return -errno;
	/* No devices either: a node that lies about in some tree opens for whoever
	 * owns it, whatever namespaces he is in. */
	tree = immure_mount_clone(top, IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	return tree < 0 ? tree : immure_build_root(b, tree);
}

static int root_empty(struct immure_build *b)
{
	int tree = immure_mount_tmpfs((1 << 20) + b->texts, 0755, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV), r;

	if (tree < 0)
		return tree;
	r = immure_build_root(b, tree);
	if (r < 0)
		return r;
	b->root_own = true;
	r = immure_build_own(b, b->root_fd);
	return r < 0 ? r : immure_build_seal_later(b, b->root_fd);
}

/* ---- after the pivot ---- */

/* The root becomes that of the namespace, which is what it was: in any other, nobody makes
 * user namespaces. */
static int go(int ns_fd)
{
	return ns_fd >= 0 && setns(ns_fd, CLONE_NEWNS) < 0 ? -errno : 0;
}

int immure_build_to_host(const struct immure_build *b)
{
	return go(b->host_ns_fd);
}

int immure_build_to_own(const struct immure_build *b)
{
	return go(b->own_ns_fd);
}

/* ---- areas ---- */

/* What is bound, as a tree of its own; *ret_tree stays as it is where there need be none. */
static int clone_source(const struct immure_op *op, struct stat *st, int *ret_tree)
{
	IMMURE_CLEANUP_FD int src = immure_mount_open_host(op->src);
	uint64_t attr = attr_of(op) | IMMURE_ATTR_NOSUID;
	int tree;

	if (src < 0)
		return src == -ENOENT && (op->flags & IMMURE_OPF_OPTIONAL) ? 0 : src;
	if (fstat(src, st) < 0)
		return -errno;
	if ((op->flags & IMMURE_OPF_SOCKET) && (op->flags & IMMURE_OPF_FILE) &&
	    !S_ISSOCK(st->st_mode))
		return -ENOTSOCK;
	/* A device is what the policy names by itself, never what a tree holds. */
	if (!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode))
		attr |= IMMURE_ATTR_NODEV;
	tree = immure_mount_clone(src, attr);
	if (tree < 0)
		return tree;
	*ret_tree = tree;
	return 0;
}

static int op_bind(struct immure_build *b, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int tree = -1;
	int r = immure_build_to_host(b), back;
	struct stat st;

	if (r == 0)
		r = clone_source(op, &st, &tree);
	back = immure_build_to_own(b);
	if (r == 0)
		r = back;
	return r < 0 || tree < 0 ? r : immure_build_attach(b, tree, op->dst, !S_ISDIR(st.st_mode));
}

/* Nothing can be written to it in the end, so on a root that is like that it needs to
 * be no more than a directory. */
static bool is_plain_directory(const struct immure_build *b, const struct immure_op *op)
{
	return b->root_own && op->flags & IMMURE_OPF_RO && strchr(op->dst + 1, '/') == NULL;
}

static int op_tmpfs(struct immure_build *b, const struct immure_op *op)
{
	mode_t mode = (mode_t)(op->num[1] ? op->num[1] : 0755);
	uint64_t attr = attr_of(op) & ~(uint64_t)IMMURE_ATTR_RDONLY;
	IMMURE_CLEANUP_FD int tree = -1, target = -1;
	int r;

	if (is_plain_directory(b, op))
		return mkdirat(b->root_fd, op->dst + 1, mode) < 0 ? -errno : 0;
	target = immure_build_target(b, op->dst, false);
	if (target < 0)
		return target;
	if (op->flags & IMMURE_OPF_SHARED)
		return immure_build_area(b, target, op->num[0], mode, attr, op);
	tree = immure_mount_tmpfs(op->num[0], mode,
				  (uint32_t)attr | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	if (tree < 0)
		return tree;
	r = immure_mount_attach(tree, target);
	if (r == 0)
		r = immure_build_own(b, tree);
	if (r == 0 && (op->flags & IMMURE_OPF_RO))
		r = immure_build_seal_later(b, tree);
	return r;
}

static int op_special(struct immure_build *b, const struct immure_op *op)
{
	uint32_t attr = IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV | IMMURE_ATTR_NOEXEC;
	static const char *const pids[] = { "subset", "pid", NULL }; /* since Linux 5.8 */
	bool proc = op->kind == IMMURE_OP_PROC;
	IMMURE_CLEANUP_FD int tree = -1;

	if (!proc) { /* a sysfs shows the network namespace of whoever mounts it */
		int r = immure_init_net_join(b->net);

		if (r < 0)
			return r;
	}
	tree = immure_mount_new(proc ? "proc" : "sysfs", op->flags & IMMURE_OPF_PIDS ? pids : NULL,
				proc ? attr : attr | IMMURE_ATTR_RDONLY);
	return tree < 0 ? tree : immure_build_attach(b, tree, op->dst, false);
}

/* ---- masks and protection ---- */

static int open_existing(const struct immure_build *b, const struct immure_op *op, struct stat *st)
{
	int fd = immure_mount_open_in(b->root_fd, op->dst);

	if (fd >= 0 && fstat(fd, st) < 0) {
		int saved = -errno;

		immure_close(&fd);
		return saved;
	}
	return fd;
}

/* A path below one that is already masked cannot be reached any more, and is
 * as denied as it can be. */
static bool may_skip(const struct immure_op *op, int r)
{
	return (r == -ENOENT || r == -ENOTDIR) && (op->flags & IMMURE_OPF_OPTIONAL);
}

static int op_mask(struct immure_build *b, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int target = open_existing(b, op, &st);

	/* What init cannot reach with the command's identity and all
	 * capabilities here, the command cannot reach with none. */
	if (target == -EACCES)
		return 0;
	if (target < 0)
		return may_skip(op, target) ? 0 : target;
	return immure_build_mask(b, target, S_ISDIR(st.st_mode));
}

/* An entry that only says "permission denied", for a name that exists. */
static int placeholder(int dir, const char *name, bool is_dir)
{
	if (is_dir)
		return mkdirat(dir, name, 0000) < 0 ? -errno : 0;
	return immure_build_empty_file(dir, name, 0000);
}

struct dent64 {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

static int copy_names(int from, int to)
{
	char buf[8192] __attribute__((aligned(8)));
	size_t count = 0;
	long n;

	while ((n = syscall(SYS_getdents64, from, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			struct dent64 *d = (struct dent64 *)(void *)(buf + i);
			int r;

			i += d->reclen;
			if (strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0)
				continue;
			if (++count > KEEP_ENTRIES)
				return -E2BIG;
			r = placeholder(to, d->name, d->type == DT_DIR);
			if (r < 0)
				return r;
		}
	}
	return n < 0 ? -errno : 0;
}

static int op_mask_keep(struct immure_build *b, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int target = open_existing(b, op, &st);
	int r;

	if (target < 0)
		return may_skip(op, target) ? 0 : target;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	IMMURE_CLEANUP_FD int names = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (names < 0)
		return -errno;
	IMMURE_CLEANUP_FD int tree = immure_mount_tmpfs(4 << 20, 0111,
							IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV |
								IMMURE_ATTR_NOEXEC);
	if (tree < 0)
		return tree;
	r = copy_names(names, tree);
	if (r < 0)
		return r;
	r = immure_mount_attach(tree, target);
	if (r == 0)
		r = immure_build_own(b, tree);
	return r < 0 ? r : immure_build_seal_later(b, tree);
}

/* A mount of its own on the same object: it cannot be renamed, replaced or
 * unlinked from inside (EBUSY), and links to it from outside it are EXDEV. */
static int op_self_mount(struct immure_build *b, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int target = open_existing(b, op, &st);

	if (target < 0)
		return may_skip(op, target) ? 0 : target;
	if (S_ISREG(st.st_mode) && st.st_nlink > 1 && op->kind == IMMURE_OP_READONLY)
		return -EMLINK; /* writable under another name */
	IMMURE_CLEANUP_FD int tree = immure_mount_clone(
		target, op->kind == IMMURE_OP_READONLY ? IMMURE_ATTR_RDONLY : 0);
	return tree < 0 ? tree : immure_mount_attach(tree, target);
}

/* ---- entries of an empty root ---- */

static int op_entry(struct immure_build *b, const struct immure_op *op)
{
	const char *name;
	int dir = immure_build_parent(b, op->dst, &name), r;
	mode_t mode = (mode_t)op->num[1];

	if (dir < 0)
		return dir;
	if (op->kind == IMMURE_OP_SYMLINK)
		return symlinkat(op->src, dir, name) < 0 ? -errno : 0;
	if (op->kind == IMMURE_OP_DIR) {
		if (mkdirat(dir, name, mode ? mode : 0755) < 0 && errno != EEXIST)
			return -errno;
		return mode && fchmodat(dir, name, mode, 0) < 0 ? -errno : 0;
	}
	IMMURE_CLEANUP_FD int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
					  mode ? mode : 0444);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, op->src, strlen(op->src));
	return r;
}

static int apply(struct immure_build *b, const struct immure_op *op)
{
	bool root = op->kind == IMMURE_OP_ROOT_HOST || op->kind == IMMURE_OP_ROOT_EMPTY ||
		    ((op->kind == IMMURE_OP_LAYER || op->kind == IMMURE_OP_OVERLAY) && !op->dst[1]);

	if (root ? b->root_fd >= 0 : b->root_fd < 0)
		return -EINVAL;
	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		return root_host(b);
	case IMMURE_OP_ROOT_EMPTY:
		return root_empty(b);
	case IMMURE_OP_BIND:
		return op_bind(b, op);
	case IMMURE_OP_LAYER: /* opened when all of them are needed */
		return 0;
	case IMMURE_OP_OVERLAY:
		return immure_build_overlay(b, op);
	case IMMURE_OP_TMPFS:
		return op_tmpfs(b, op);
	case IMMURE_OP_DEV:
		return immure_build_dev(b, op);
	case IMMURE_OP_PROC:
	case IMMURE_OP_SYSFS:
		return op_special(b, op);
	case IMMURE_OP_MASK:
		return op_mask(b, op);
	case IMMURE_OP_MASK_KEEP:
		return op_mask_keep(b, op);
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
		return op_self_mount(b, op);
	case IMMURE_OP_SYMLINK:
	case IMMURE_OP_DIR:
		return op_entry(b, op);
	case IMMURE_OP_FILE:
		return op->flags & IMMURE_OPF_COVER ? immure_build_cover(b, op) : op_entry(b, op);
	default:
		return -EINVAL;
	}
}

/* A host program that replaces a file by rename, as editors and useradd(8) do,
 * may do so between our opening it and our mounting on it: the kernel then
 * says ENOENT for the name that is gone (or EAGAIN for the lookup that raced).
 * Nothing was attached in that case, so the operation is simply done again; a
 * file that is really missing stays missing. */
int immure_build_apply(struct immure_build *b, const struct immure_op *op)
{
	int r = -EAGAIN;

	for (int i = 0; i < 32 && (r == -EAGAIN || r == -ENOENT); i++)
		r = apply(b, op);
	return r;
}

int immure_root_some(struct immure_build *b, const struct immure_plan *p, const bool *which,
		      struct immure_init_step *step)
{
	mode_t old = umask(0);
	int r = 0;

	step->stage = IMMURE_STAGE_MOUNT;
	for (size_t i = 0; r == 0 && i < p->ops_n; i++) {
		if (p->ops[i].stage != IMMURE_STAGE_MOUNT || (which && !which[i]))
			continue;
		step->op = (uint32_t)i;
		step->subject = p->ops[i].dst[0] ? p->ops[i].dst : "/";
		r = immure_build_apply(b, &p->ops[i]);
	}
	immure_close(&b->parent_fd); /* what follows may be put where something has been made */
	(void)umask(old);
	return r;
}

/* The file systems that files of ours are made in have room for small ones, many of them. */
static uint64_t large_texts(const struct immure_plan *p)
{
	/* One that waits may be told whom to trust, with its caller. */
	uint64_t sum = !immure_plan_inside(p)[1] && immure_plan_find(p, IMMURE_OP_EGRESS) ? 2 << 20 : 0;

	for (size_t i = 0; i < p->ops_n; i++) {
		size_t len = p->ops[i].kind == IMMURE_OP_FILE ? strlen(p->ops[i].src) : 0;

		sum += len > 8192 ? (len + 0xffff) & ~(uint64_t)0xffff : 0;
	}
	return sum;
}

int immure_root_begin(struct immure_build *b, struct immure_init_net *net, const struct immure_plan *p,
		      const bool *which, const char *kept, struct immure_init_step *step)
{
	int r;

	*b = (struct immure_build)IMMURE_BUILD_INIT(net, -1);
	b->kept = kept;
	b->texts = large_texts(p);
	step->stage = IMMURE_STAGE_MOUNT;
	step->subject = "/";
	r = immure_mount_make_private();
	return r < 0 ? r : immure_root_some(b, p, which, step);
}

int immure_root_so_far(struct immure_build *b)
{
	int fd = b->root_fd < 0 ? -1 : fcntl(b->root_fd, F_DUPFD_CLOEXEC, 10);

	return b->root_fd < 0 ? -EINVAL : fd < 0 ? -errno : fd;
}

int immure_root_end(struct immure_build *b)
{
	int r = immure_build_drop_mask_names(b);

	for (size_t i = 0; i < b->seal_n; i++) {
		if (r == 0)
			r = immure_mount_set(b->seal[i], IMMURE_ATTR_RDONLY, false);
		immure_close(&b->seal[i]);
	}
	immure_close(&b->mask_mount[0]);
	immure_close(&b->mask_mount[1]);
	immure_close(&b->areas_fd);
	if (r == 0 && b->root_fd < 0)
		r = -EINVAL;
	return r < 0 ? r : b->root_fd;
}

int immure_init_pivot(struct immure_init_step *step, int root_fd)
{
	int r;

	step->stage = IMMURE_STAGE_PIVOT;
	step->subject = "/";
	r = immure_mount_pivot(root_fd);
	immure_close(&root_fd);
	return r;
}
