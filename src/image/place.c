/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An archive says where its entries go; this file is why they go nowhere else. A directory is
 * opened by openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so neither "..", an absolute
 * name nor a link that an earlier entry planted leads out, and the last component is created
 * with O_EXCL or a call that follows nothing. Nobody else can write in the tree meanwhile: it
 * is a new directory in the store.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/worker.h"
#include "kernel/sys.h"

#define BENEATH (IMMURE_RESOLVE_BENEATH | IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS | \
		 IMMURE_RESOLVE_NO_XDEV)

static int open_dir(int at, const char *path)
{
	return immure_sys_openat2(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC, BENEATH);
}

/* Component by component, for a directory that the layer has no entry for yet. */
static int make_dirs(int root_fd, const char *path)
{
	IMMURE_CLEANUP_FD int at = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
	char name[256];

	if (at < 0)
		return -errno;
	while (*path) {
		size_t n = strcspn(path, "/");
		int next;

		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = '\0';
		path += n + (path[n] == '/');
		if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		next = open_dir(at, name);
		if (next < 0)
			return next;
		immure_close(&at);
		at = next;
	}
	return immure_take_fd(&at);
}

static int fail_parent(struct image_worker *w, int r, const char *path)
{
	if (r == -ELOOP)
		return image_fail(w, ELOOP, "the entry %.200s goes through a link", path);
	if (r == -ENOTDIR)
		return image_fail(w, ENOTDIR, "the entry %.200s goes through what is no directory", path);
	return image_fail(w, -r, "the entry %.200s cannot be made: %s", path, strerror(-r));
}

int image_place_parent(struct image_worker *w, struct image_place *p, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	char dir[sizeof(p->parent)];
	int fd;

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return p->root_fd;
	if (n >= sizeof(dir))
		return image_fail(w, ENAMETOOLONG, "the entry %.200s has too long a name", path);
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (p->parent_fd >= 0 && strcmp(dir, p->parent) == 0)
		return p->parent_fd;
	fd = open_dir(p->root_fd, dir);
	if (fd == -ENOENT)
		fd = make_dirs(p->root_fd, dir);
	if (fd < 0)
		return fail_parent(w, fd, path);
	immure_close(&p->parent_fd);
	p->parent_fd = fd;
	memcpy(p->parent, dir, n + 1);
	return fd;
}

int image_place_look(int dir, const char *name, enum image_found *ret)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*ret = IMAGE_NOTHING;
		return errno == ENOENT ? 0 : -errno;
	}
	*ret = S_ISDIR(st.st_mode) ? IMAGE_DIRECTORY :
	       S_ISCHR(st.st_mode) && st.st_rdev == 0 ? IMAGE_WHITEOUT : IMAGE_PLAIN;
	return 0;
}

int image_place_clear(struct image_worker *w, struct image_place *p, int dir, const char *name,
		      bool directory, enum image_found *ret_was)
{
	int r = image_place_look(dir, name, ret_was);

	if (r == 0 && *ret_was == IMAGE_DIRECTORY && !directory) {
		/* The remembered directory may be the one that goes, or be in it. */
		if (dir != p->parent_fd)
			immure_close(&p->parent_fd);
		r = image_tree_remove(dir, name);
	} else if (r == 0 && *ret_was != IMAGE_NOTHING && *ret_was != IMAGE_DIRECTORY) {
		r = unlinkat(dir, name, 0) < 0 ? -errno : 0;
	}
	return r < 0 ? image_fail(w, -r, "the entry %.200s cannot be replaced: %s", name, strerror(-r)) : 0;
}

void image_place_done(struct image_place *p)
{
	immure_close(&p->parent_fd);
}
