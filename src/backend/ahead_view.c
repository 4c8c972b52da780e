/* SPDX-License-Identifier: Apache-2.0 */
/* As init does it (init/root.c, init/dev.c), call by call; there is said why. */
#include "backend/ahead_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "kernel/devnodes.h"
#include "kernel/rawcall.h"
#include "kernel/sys.h"

void immure_ahead_view_init(struct immure_ahead_view *v, const uint64_t ids[4])
{
	memcpy(v->ids, ids, sizeof(v->ids));
	(void)snprintf(v->uid_map, sizeof(v->uid_map), "%u %u 1\n", (unsigned int)ids[0], (unsigned int)ids[1]);
	(void)snprintf(v->gid_map, sizeof(v->gid_map), "%u %u 1\n", (unsigned int)ids[2], (unsigned int)ids[3]);
	immure_mount_words(&v->root, IMMURE_ROOT_BYTES, 0755);
	v->root_fd = -1;
	v->wanted = true;
}

bool immure_ahead_view_fits(const struct immure_ahead_view *v, const struct immure_plan *p)
{
	const struct immure_op *ids = immure_plan_find(p, IMMURE_OP_IDMAP);
	const struct immure_op *dev = immure_plan_find(p, IMMURE_OP_DEV);

	return ids && memcmp(ids->num, v->ids, sizeof(v->ids)) == 0 && dev && strcmp(dev->dst, "/dev") == 0 &&
	       immure_plan_find(p, IMMURE_OP_ROOT_EMPTY) && immure_plan_texts(p) == 0;
}

#ifdef IMMURE_HAVE_RAWCALL

static void shut(long fd)
{
	(void)immure_rawcall(SYS_close, fd, 0, 0, 0); /* nothing that could still fail was written */
}

static long put(const char *path, const char *text)
{
	long fd = immure_rawcall(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CLOEXEC, 0), r;

	if (fd < 0)
		return fd;
	r = immure_rawcall(SYS_write, fd, (long)text, (long)strlen(text), 0);
	shut(fd);
	return r == (long)strlen(text) ? 0 : r < 0 ? r : -EIO;
}

static long map_ids(const struct immure_ahead_view *v)
{
	long r = put("/proc/self/setgroups", "deny");

	if (r == 0)
		r = put("/proc/self/gid_map", v->gid_map);
	return r < 0 ? r : put("/proc/self/uid_map", v->uid_map);
}

/* A detached instance; options as immure_mount_new()'s. */
static long instance(const char *type, const char *const *options, long attr)
{
	long fs = immure_rawcall(SYS_fsopen, (long)type, 1 /* FSOPEN_CLOEXEC */, 0, 0), r = fs;

	if (fs < 0)
		return fs;
	for (; options[0] && r >= 0; options += 2)
		r = immure_rawcall5(SYS_fsconfig, fs, options[1][0] ? 1 : 0, (long)options[0],
				    options[1][0] ? (long)options[1] : 0, 0);
	if (r >= 0)
		r = immure_rawcall5(SYS_fsconfig, fs, 6 /* create */, 0, 0, 0);
	if (r >= 0)
		r = immure_rawcall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, attr, 0);
	shut(fs);
	return r;
}

static long attach(long tree, long target)
{
	return immure_rawcall5(SYS_move_mount, tree, (long)"", target, (long)"",
			       IMMURE_MOVE_F_EMPTY_PATH | IMMURE_MOVE_T_EMPTY_PATH);
}

static long clone_tree(long fd, uint64_t attr_set)
{
	const long flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | IMMURE_OPEN_TREE_CLOEXEC;
	struct immure_mount_attr attr = { .attr_set = attr_set, .propagation = MS_PRIVATE };
	long tree = immure_rawcall5(SYS_open_tree_attr, fd, (long)"", flags, (long)&attr, sizeof(attr)), r;

	if (tree != -ENOSYS && tree != -EPERM)
		return tree;
	tree = immure_rawcall(SYS_open_tree, fd, (long)"", flags, 0);
	if (tree < 0)
		return tree;
	r = immure_rawcall5(SYS_mount_setattr, tree, (long)"", AT_EMPTY_PATH | AT_RECURSIVE, (long)&attr,
			    sizeof(attr));
	if (r < 0)
		shut(tree);
	return r < 0 ? r : tree;
}

static long open_plain(long dir, const char *path)
{
	const struct immure_open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = IMMURE_RESOLVE_NO_SYMLINKS |
								 IMMURE_RESOLVE_NO_MAGICLINKS };

	return immure_rawcall(SYS_openat2, dir, (long)path, (long)&how, sizeof(how));
}

/* What is bound must be the device that it claims to be. */
static long bind_device(long dev, const struct immure_devnode *n)
{
	struct immure_statx st = { 0 };
	long src = open_plain(AT_FDCWD, n->path), tree = -1, target = -1, r;

	if (src < 0)
		return src;
	r = immure_rawcall5(SYS_statx, src, (long)"", AT_EMPTY_PATH, 3 /* STATX_TYPE, _MODE */, (long)&st);
	if (r == 0 && (!S_ISCHR(st.mode) || st.rdev[0] != n->major || st.rdev[1] != n->minor))
		r = -ENODEV;
	if (r == 0)
		r = tree = clone_tree(src, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC);
	if (r >= 0)
		r = target = immure_rawcall(SYS_openat, dev, (long)n->path + IMMURE_DEV_PREFIX,
					    O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (r >= 0)
		r = attach(tree, target);
	if (target >= 0)
		shut(target);
	if (tree >= 0)
		shut(tree);
	shut(src);
	return r;
}

static long make_terminals(long dev)
{
	long tree = instance("devpts", immure_devpts_options, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NOEXEC), r, at;

	if (tree < 0)
		return tree;
	r = immure_rawcall(SYS_mkdirat, dev, (long)"pts", 0755, 0);
	at = r < 0 ? r : open_plain(dev, "pts");
	r = at < 0 ? at : attach(tree, at);
	if (at >= 0)
		shut(at);
	shut(tree);
	return r;
}

static long make_dev(long root)
{
	long r = immure_rawcall(SYS_mkdirat, root, (long)"dev", 0755, 0);
	long dev = r < 0 ? r : open_plain(root, "dev");

	if (dev < 0)
		return dev;
	for (int i = 0; i < IMMURE_DEVNODES && r >= 0; i++)
		r = bind_device(dev, &immure_devnodes[i]);
	for (int i = 0; i < IMMURE_DEVLINKS && r >= 0; i++)
		r = immure_rawcall(SYS_symlinkat, (long)immure_devlinks[i].target, dev,
				   (long)immure_devlinks[i].name, 0);
	if (r >= 0)
		r = make_terminals(dev);
	shut(dev);
	return r;
}

/* The new root's mount, on the directory that is the root. */
static long make_root(const struct immure_ahead_view *v)
{
	long top = immure_rawcall(SYS_openat, AT_FDCWD, (long)"/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	long tree = top < 0 ? top : instance("tmpfs", v->root.options, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV);
	long r = tree < 0 ? tree : attach(tree, top);

	if (r >= 0)
		r = immure_rawcall(SYS_fcntl, tree, F_DUPFD_CLOEXEC, 10, 0);
	if (tree >= 0)
		shut(tree);
	if (top >= 0)
		shut(top);
	return r;
}

long immure_ahead_view_make(struct immure_ahead_view *v)
{
	const struct immure_mount_attr private = { .propagation = MS_PRIVATE };
	long mask = immure_rawcall(SYS_umask, 0, 0, 0, 0), root;
	long r = map_ids(v);

	if (r == 0)
		r = immure_rawcall5(SYS_mount_setattr, AT_FDCWD, (long)"/", AT_RECURSIVE, (long)&private,
				    sizeof(private));
	root = r < 0 ? r : make_root(v);
	r = root < 0 ? root : make_dev(root);
	(void)immure_rawcall(SYS_umask, mask, 0, 0, 0); /* init is born with it */
	if (root >= 0)
		v->root_fd = (int)root; /* whatever came of it: the caller closes it */
	return r < 0 ? r : 0;
}

#endif
