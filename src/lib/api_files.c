/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a session, named by their path inside, looked at and changed from
 * outside. The directory is resolved below the session's root and held; the last
 * name is then looked at itself, so no link planted inside leads anywhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/names.h"
#include "kernel/sys.h"
#include "lib/options.h"
#include "lib/session.h"

static int32_t file_failed(struct immure_error **err, const char *path, int errnum)
{
	return immure_fail(err, IMMURE_ERR_IO, errnum, "file", path, "%s: %s", path, strerror(errnum));
}

/* The directory that the last name of path is in, and that name. 1: not to be had, what is
 * asked of files is done by the session. */
static int32_t open_parent(immure_session *s, const char *path, int *ret_fd, const char **ret_name,
			   struct immure_error **err)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;
	char dir[4096];
	size_t len = slash ? (size_t)(slash - path) : 0;
	IMMURE_CLEANUP_FD int root = -1;
	int32_t r = immure_session_root(s, &root, err);
	long fd;

	if (r < 0)
		return r;
	if (!name || !name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "file", path,
				   "a path that ends in the name of a file is needed");
	if (len >= sizeof(dir) - 1)
		return file_failed(err, path, ENAMETOOLONG);
	memcpy(dir, path, len);
	memcpy(dir + len, "/", 2);
	*ret_name = name;
	if (r == 1)
		return 1;
	fd = immure_sys_openat2(root, dir, O_PATH | O_DIRECTORY | O_CLOEXEC,
				IMMURE_RESOLVE_IN_ROOT | IMMURE_RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return file_failed(err, dir, (int)-fd);
	*ret_fd = (int)fd;
	return 0;
}

/* What the session does itself. */
static int32_t inside(immure_session *s, const char *what, const char *path, const char *to, uint32_t mode,
		      struct immure_error **err)
{
	const struct immure_inside_file f = { .act = what, .path = path, .to = to, .mode = mode };

	return immure_session_inside(s, &f, NULL, err);
}

static uint32_t type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return IMMURE_FILE_REGULAR;
	case S_IFDIR: return IMMURE_FILE_DIRECTORY;
	case S_IFLNK: return IMMURE_FILE_LINK;
	default: return IMMURE_FILE_OTHER;
	}
}

static void info_of(const struct stat *st, struct immure_file_info *ret)
{
	*ret = (struct immure_file_info){
		.size = sizeof(*ret), .type = type_of(st->st_mode), .mode = st->st_mode & 07777,
		.bytes = (uint64_t)st->st_size,
		.modified_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000,
	};
}

int32_t immure_session_stat_file(immure_session *session, const char *path,
				 struct immure_file_info *ret, immure_error **err)
{
	IMMURE_CLEANUP_FD int dir = -1;
	struct immure_file_info info;
	const char *name = NULL;
	struct stat st;
	int32_t r;

	if (!ret || ret->size < sizeof(uint64_t))
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret", "its size is not set");
	if (path && strcmp(path, "/") == 0) { /* has no name in any directory */
		r = immure_session_root(session, &dir, err);
		name = "";
	} else {
		r = open_parent(session, path, &dir, &name, err);
	}
	if (r == 1) {
		name = "";
		r = immure_session_inside(session, &(struct immure_inside_file){ .act = "look", .path = path },
					  &dir, err);
	}
	if (r < 0)
		return r;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) < 0)
		return file_failed(err, path, errno);
	info_of(&st, &info);
	info.size = ret->size < sizeof(info) ? ret->size : sizeof(info);
	memcpy(ret, &info, info.size);
	return 0;
}

int32_t immure_session_remove_file(immure_session *session, const char *path, immure_error **err)
{
	IMMURE_CLEANUP_FD int dir = -1;
	const char *name = NULL;
	int32_t r = open_parent(session, path, &dir, &name, err);

	if (r)
		return r < 0 ? r : inside(session, "remove", path, NULL, 0, err);
	if (unlinkat(dir, name, 0) < 0 &&
	    ((errno != EISDIR && errno != EPERM) || unlinkat(dir, name, AT_REMOVEDIR) < 0))
		return file_failed(err, path, errno);
	return 0;
}

int32_t immure_session_rename_file(immure_session *session, const char *from, const char *to,
				   immure_error **err)
{
	IMMURE_CLEANUP_FD int dir = -1, to_dir = -1;
	const char *name = NULL, *to_name = NULL;
	int32_t r = open_parent(session, from, &dir, &name, err);

	if (r >= 0)
		r = open_parent(session, to, &to_dir, &to_name, err);
	if (r)
		return r < 0 ? r : inside(session, "rename", from, to, 0, err);
	return renameat(dir, name, to_dir, to_name) < 0 ? file_failed(err, from, errno) : 0;
}

int32_t immure_session_make_directory(immure_session *session, const char *path, uint32_t mode,
				      immure_error **err)
{
	IMMURE_CLEANUP_FD int dir = -1;
	const char *name = NULL;
	int32_t r = open_parent(session, path, &dir, &name, err);

	if (r)
		return r < 0 ? r : inside(session, "mkdir", path, NULL, mode, err);
	return mkdirat(dir, name, mode & 07777) < 0 ? file_failed(err, path, errno) : 0;
}

static void put_entry(struct immure_jsonw *w, int dir_fd, const char *name)
{
	static const char *const types[] = { "", "file", "directory", "link", "other" };
	struct immure_file_info info;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return; /* gone since it was read */
	info_of(&st, &info);
	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "name", name);
	immure_jsonw_str(w, "type", types[info.type]);
	immure_jsonw_uint(w, "bytes", info.bytes);
	immure_jsonw_uint(w, "mode", info.mode);
	immure_jsonw_int(w, "modified_ms", info.modified_ms);
	immure_jsonw_end(w, '}');
}

int32_t immure_session_list_files(immure_session *session, const char *path, char **ret_json,
				  immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	struct dirent *d;
	int unread = 0;
	int32_t fd = -1, r = immure_session_open_file(session, path, O_RDONLY | O_DIRECTORY, 0, &fd, err);
	DIR *dir;

	if (r < 0)
		return r;
	dir = fdopendir(fd);
	if (!dir) {
		r = file_failed(err, path, errno);
		immure_close(&fd);
		return r;
	}
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_array(&w, NULL);
	while ((d = immure_readdir(dir, &unread)))
		put_entry(&w, dirfd(dir), d->d_name);
	immure_jsonw_end(&w, ']');
	(void)closedir(dir); /* read only: nothing is lost */
	if (unread < 0) {
		immure_buf_done(&b);
		return file_failed(err, path, -unread);
	}
	*ret_json = immure_buf_take(&b);
	immure_buf_done(&b);
	return *ret_json ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "file", path, "out of memory");
}
