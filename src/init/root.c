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
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"
#include "init/netns.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

enum { OWN_MAX = 64, SEAL_MAX = 32, PATH_BYTES = 4096, KEEP_ENTRIES = 4096 };

struct build {
	struct immure_init_net *net;
	int root_fd;
	int mask_dir_fd, mask_file_fd; /* mode 000, cloned over what is masked */
	dev_t own[OWN_MAX];            /* file systems that we made */
	size_t own_n;
	int seal[SEAL_MAX];            /* become read-only when the stage ends */
	size_t seal_n;
};

static bool is_own(const struct build *b, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < b->own_n; i++)
		if (b->own[i] == st.st_dev)
			return true;
	return false;
}

static int remember_own(struct build *b, int fd)
{
	struct stat st;

	if (b->own_n == OWN_MAX)
		return -E2BIG;
	if (fstat(fd, &st) < 0)
		return -errno;
	b->own[b->own_n++] = st.st_dev;
	return 0;
}

static int seal_later(struct build *b, int fd)
{
	int copy;

	if (b->seal_n == SEAL_MAX)
		return -E2BIG;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	if (copy < 0)
		return -errno;
	b->seal[b->seal_n++] = copy;
	return 0;
}

static int open_component(int dir, const char *name)
{
	return immure_sys_openat2(dir, name, O_PATH | O_CLOEXEC,
				  IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS);
}

/* One step of the walk below: opens name in *dir, creating it when the file
 * system is ours, and moves *dir there. */
static int descend(const struct build *b, int *dir, const char *name, bool file)
{
	int next = open_component(*dir, name);

	if (next == -ENOENT && is_own(b, *dir)) {
		if (file) {
			int made = openat(*dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
					  0444);

			if (made < 0)
				return -errno;
			immure_close(&made);
		} else if (mkdirat(*dir, name, 0755) < 0) {
			return -errno;
		}
		next = open_component(*dir, name);
	} else if (next >= 0 && !file && is_own(b, next)) {
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

/* The ordinary case of creation: the directory is there, is ours and may be
 * passed through. What was created to be mounted on is used as it was opened. */
static int create_in(const struct build *b, const char *path, bool file)
{
	char dir[PATH_BYTES];
	const char *slash = strrchr(path, '/');
	size_t n = (size_t)(slash - path);
	struct stat st;

	if (n >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = '\0';
	IMMURE_CLEANUP_FD int parent = immure_mount_open_in(b->root_fd, dir);
	if (parent < 0 || !is_own(b, parent) || fstat(parent, &st) < 0 || (st.st_mode & 0111) == 0)
		return -ENOENT;
	if (file) {
		int fd = openat(parent, slash + 1,
				O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);

		return fd < 0 ? -errno : fd;
	}
	if (mkdirat(parent, slash + 1, 0755) < 0)
		return -errno;
	return open_component(parent, slash + 1);
}

/* Opens a destination; creates what is missing in our own file systems. */
static int open_target(const struct build *b, const char *path, bool file)
{
	char name[256];
	int fd = immure_mount_open_in(b->root_fd, path), r = 0;

	if (fd != -ENOENT && fd != -EACCES)
		return fd;
	if (fd == -ENOENT) {
		fd = create_in(b, path, file);
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

static int parent_of(const struct build *b, const char *path, char name[256])
{
	char dir[PATH_BYTES];
	const char *slash = strrchr(path, '/');
	size_t n = (size_t)(slash - path);

	if (n >= sizeof(dir) || strlen(slash + 1) >= 256)
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = '\0';
	memcpy(name, slash + 1, strlen(slash + 1) + 1);
	return open_target(b, n ? dir : "/", false);
}

static int attach_at(const struct build *b, int tree_fd, const char *dst, bool file)
{
	IMMURE_CLEANUP_FD int target = open_target(b, dst, file);

	if (target < 0)
		return target;
	return immure_mount_attach(tree_fd, target);
}

static uint64_t attr_of(const struct immure_op *op)
{
	return (op->flags & IMMURE_OPF_RO ? IMMURE_ATTR_RDONLY : 0) |
	       (op->flags & IMMURE_OPF_NOEXEC ? IMMURE_ATTR_NOEXEC : 0);
}

/* ---- the root ---- */

/* The new root is attached on the very directory that is the root now: lookups
 * from this process's root do not cross a mount stacked on their starting
 * point, so host paths keep meaning what they meant. */
static int place_root(struct build *b, int tree_fd)
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

static int root_host(struct build *b)
{
	IMMURE_CLEANUP_FD int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tree;

	if (top < 0)
		return -errno;
	/* No devices either: a node that lies about in some tree opens for whoever
	 * owns it, whatever namespaces he is in. */
	tree = immure_mount_clone(top, IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	return tree < 0 ? tree : place_root(b, tree);
}

static int root_empty(struct build *b)
{
	int tree = immure_mount_tmpfs(1 << 20, 0755, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV), r;

	if (tree < 0)
		return tree;
	r = place_root(b, tree);
	if (r < 0)
		return r;
	r = remember_own(b, b->root_fd);
	return r < 0 ? r : seal_later(b, b->root_fd);
}

/* ---- areas ---- */

static int op_bind(struct build *b, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int src = immure_mount_open_host(op->src);
	IMMURE_CLEANUP_FD int tree = -1;
	uint64_t attr = attr_of(op) | IMMURE_ATTR_NOSUID;
	struct stat st;

	if (src < 0)
		return src == -ENOENT && (op->flags & IMMURE_OPF_OPTIONAL) ? 0 : src;
	if (fstat(src, &st) < 0)
		return -errno;
	/* A device is what the policy names by itself, never what a tree holds. */
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		attr |= IMMURE_ATTR_NODEV;
	tree = immure_mount_clone(src, attr);
	if (tree < 0)
		return tree;
	return attach_at(b, tree, op->dst, !S_ISDIR(st.st_mode));
}

static int op_tmpfs(struct build *b, const struct immure_op *op)
{
	IMMURE_CLEANUP_FD int tree = -1;
	int r;

	tree = immure_mount_tmpfs(op->num[0], (uint32_t)(op->num[1] ? op->num[1] : 0755),
				  (uint32_t)(attr_of(op) & ~IMMURE_ATTR_RDONLY) | IMMURE_ATTR_NOSUID |
					  IMMURE_ATTR_NODEV);
	if (tree < 0)
		return tree;
	r = attach_at(b, tree, op->dst, false);
	if (r == 0)
		r = remember_own(b, tree);
	if (r == 0 && (op->flags & IMMURE_OPF_RO))
		r = seal_later(b, tree);
	return r;
}

static int op_special(struct build *b, const struct immure_op *op)
{
	uint32_t attr = IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV | IMMURE_ATTR_NOEXEC;
	bool proc = op->kind == IMMURE_OP_PROC;
	IMMURE_CLEANUP_FD int tree = -1;

	if (!proc) { /* a sysfs shows the network namespace of whoever mounts it */
		int r = immure_init_net_join(b->net);

		if (r < 0)
			return r;
	}
	tree = immure_mount_new(proc ? "proc" : "sysfs", NULL,
				proc ? attr : attr | IMMURE_ATTR_RDONLY);
	return tree < 0 ? tree : attach_at(b, tree, op->dst, false);
}

/* ---- /dev ---- */

static int make_empty(int dir, const char *name, mode_t mode)
{
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return -errno;
	immure_close(&fd);
	return 0;
}

/* What is bound must be the device it claims to be: a replaced /dev/null has
 * been a way out of other runtimes. */
static int bind_device(int dev_dir, const char *name, unsigned int maj, unsigned int min)
{
	char path[32];
	struct stat st;
	int r;

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
	r = make_empty(dev_dir, name, 0666);
	if (r < 0)
		return r;
	IMMURE_CLEANUP_FD int target = open_component(dev_dir, name);
	return target < 0 ? target : immure_mount_attach(tree, target);
}

static int dev_pts(int dev_dir)
{
	static const char *const options[] = { "newinstance", "", "ptmxmode", "0666", "mode", "0620",
					       NULL };

	IMMURE_CLEANUP_FD int tree = immure_mount_new("devpts", options,
						      IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (tree < 0)
		return tree;
	if (mkdirat(dev_dir, "pts", 0755) < 0)
		return -errno;
	IMMURE_CLEANUP_FD int target = open_component(dev_dir, "pts");
	return target < 0 ? target : immure_mount_attach(tree, target);
}

static int dev_shm(struct build *b, int dev_dir, uint64_t size)
{
	IMMURE_CLEANUP_FD int tree = immure_mount_tmpfs(size, 01777,
							IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	int r;

	if (tree < 0)
		return tree;
	if (mkdirat(dev_dir, "shm", 0755) < 0)
		return -errno;
	IMMURE_CLEANUP_FD int target = open_component(dev_dir, "shm");
	if (target < 0)
		return target;
	r = immure_mount_attach(tree, target);
	return r < 0 ? r : remember_own(b, tree);
}

static int op_dev(struct build *b, const struct immure_op *op)
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

	/* Mode 0755: with a sticky, world-writable /dev the kernel refuses
	 * `> /dev/null` when the node's owner is not mapped. */
	IMMURE_CLEANUP_FD int dev = immure_mount_tmpfs(64 << 10, 0755,
						       IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (dev < 0)
		return dev;
	r = attach_at(b, dev, op->dst, false);
	if (r == 0)
		r = remember_own(b, dev);
	for (size_t i = 0; r == 0 && i < sizeof(nodes) / sizeof(nodes[0]); i++)
		r = bind_device(dev, nodes[i].name, nodes[i].maj, nodes[i].min);
	for (size_t i = 0; r == 0 && i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0)
			r = -errno;
	if (r == 0)
		r = dev_pts(dev);
	if (r == 0)
		r = dev_shm(b, dev, op->num[0]);
	if (r < 0)
		return r;
	/* The two objects that every mask shows, made where nothing can reach
	 * them by name: their names go away again at the end of the stage. */
	if (mkdirat(dev, ".mask-dir", 0000) < 0)
		return -errno;
	r = make_empty(dev, ".mask-file", 0000);
	if (r < 0)
		return r;
	b->mask_dir_fd = open_component(dev, ".mask-dir");
	b->mask_file_fd = open_component(dev, ".mask-file");
	if (b->mask_dir_fd < 0 || b->mask_file_fd < 0)
		return -EIO;
	return seal_later(b, dev);
}

static int drop_mask_names(struct build *b)
{
	if (b->mask_dir_fd < 0)
		return 0;
	IMMURE_CLEANUP_FD int dev = immure_mount_open_in(b->root_fd, "/dev");
	if (dev < 0)
		return dev;
	if (unlinkat(dev, ".mask-dir", AT_REMOVEDIR) < 0 || unlinkat(dev, ".mask-file", 0) < 0)
		return -errno;
	immure_close(&b->mask_dir_fd);
	immure_close(&b->mask_file_fd);
	return 0;
}

/* ---- masks and protection ---- */

static int open_existing(const struct build *b, const struct immure_op *op, struct stat *st)
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

static int op_mask(struct build *b, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int target = open_existing(b, op, &st);

	/* What init cannot reach with the command's identity and all
	 * capabilities here, the command cannot reach with none. */
	if (target == -EACCES)
		return 0;
	if (target < 0)
		return may_skip(op, target) ? 0 : target;
	if (b->mask_dir_fd < 0)
		return -ENOTSUP; /* the plan has no DEV before its masks */
	IMMURE_CLEANUP_FD int tree =
		immure_mount_clone(S_ISDIR(st.st_mode) ? b->mask_dir_fd : b->mask_file_fd,
				   IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV |
					   IMMURE_ATTR_NOEXEC);
	return tree < 0 ? tree : immure_mount_attach(tree, target);
}

/* An entry that only says "permission denied", for a name that exists. */
static int placeholder(int dir, const char *name, bool is_dir)
{
	if (is_dir)
		return mkdirat(dir, name, 0000) < 0 ? -errno : 0;
	return make_empty(dir, name, 0000);
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

static int op_mask_keep(struct build *b, const struct immure_op *op)
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
		r = remember_own(b, tree);
	return r < 0 ? r : seal_later(b, tree);
}

/* A mount of its own on the same object: it cannot be renamed, replaced or
 * unlinked from inside (EBUSY), and links to it from outside it are EXDEV. */
static int op_self_mount(struct build *b, const struct immure_op *op)
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

static int op_entry(struct build *b, const struct immure_op *op)
{
	char name[256];
	IMMURE_CLEANUP_FD int dir = parent_of(b, op->dst, name);
	mode_t mode = (mode_t)op->num[1];
	int r;

	if (dir < 0)
		return dir;
	if (!is_own(b, dir))
		return -EROFS;
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

static int apply(struct build *b, const struct immure_op *op)
{
	if (b->root_fd < 0 && op->kind != IMMURE_OP_ROOT_HOST && op->kind != IMMURE_OP_ROOT_EMPTY)
		return -EINVAL;
	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		return root_host(b);
	case IMMURE_OP_ROOT_EMPTY:
		return root_empty(b);
	case IMMURE_OP_BIND:
		return op_bind(b, op);
	case IMMURE_OP_TMPFS:
		return op_tmpfs(b, op);
	case IMMURE_OP_DEV:
		return op_dev(b, op);
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
	case IMMURE_OP_FILE:
		return op_entry(b, op);
	default:
		return -EINVAL;
	}
}

/* A host program that replaces a file by rename, as editors and useradd(8) do,
 * may do so between our opening it and our mounting on it: the kernel then
 * says ENOENT for the name that is gone (or EAGAIN for the lookup that raced).
 * Nothing was attached in that case, so the operation is simply done again; a
 * file that is really missing stays missing. */
static int apply_settled(struct build *b, const struct immure_op *op)
{
	int r = -EAGAIN;

	for (int i = 0; i < 32 && (r == -EAGAIN || r == -ENOENT); i++)
		r = apply(b, op);
	return r;
}

int immure_init_build_root(const struct immure_plan *p, struct immure_init_net *net,
			   struct immure_init_step *step)
{
	struct build b = { .net = net, .root_fd = -1, .mask_dir_fd = -1, .mask_file_fd = -1 };
	mode_t old = umask(0);
	int r;

	step->stage = IMMURE_STAGE_MOUNT;
	step->subject = "/";
	r = immure_mount_make_private();
	for (size_t i = 0; r == 0 && i < p->ops_n; i++) {
		if (p->ops[i].stage != IMMURE_STAGE_MOUNT)
			continue;
		step->op = (uint32_t)i;
		step->subject = p->ops[i].dst[0] ? p->ops[i].dst : "/";
		r = apply_settled(&b, &p->ops[i]);
	}
	if (r == 0)
		r = drop_mask_names(&b);
	for (size_t i = 0; i < b.seal_n; i++) {
		if (r == 0)
			r = immure_mount_set(b.seal[i], IMMURE_ATTR_RDONLY, false);
		immure_close(&b.seal[i]);
	}
	(void)umask(old);
	if (r == 0 && b.root_fd < 0)
		r = -EINVAL;
	return r < 0 ? r : b.root_fd;
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
