/* SPDX-License-Identifier: Apache-2.0 */
#include "session/upper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "kernel/mount.h"
#include "plan/seal.h"
#include "session/fields.h"
#include "session/rmtree.h"
#include "session/runtime.h"

enum { PLAN_MAX = 64 << 20 };

static const char half[] = ".new.";

const struct immure_op *immure_upper_op(const struct immure_plan *p)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_OVERLAY && p->ops[i].flags & IMMURE_OPF_KEPT)
			return &p->ops[i];
	return NULL;
}

/* Times of files are told in ticks of a few milliseconds, since Linux 6.13 sometimes more
 * finely, and a tick may come late: only of one that is later than now, told finely, is it
 * known that what is older was there. */
static void next_tick(struct timespec *ret)
{
	const struct timespec pause = { .tv_nsec = 250000 };
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* these cannot fail */
	(void)clock_gettime(CLOCK_REALTIME_COARSE, ret);
	for (int i = 0; i < 400 && (ret->tv_sec < now.tv_sec ||
				    (ret->tv_sec == now.tv_sec && ret->tv_nsec <= now.tv_nsec)); i++) {
		(void)nanosleep(&pause, NULL); /* cut short: the next round waits */
		(void)clock_gettime(CLOCK_REALTIME_COARSE, ret);
	}
}

static int put_meta(int dir, const struct immure_upper_meta *m)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	int r;

	immure_fields_begin(&b, "workspace");
	immure_fields_uint(&b, "since_s", (uint64_t)m->since.tv_sec);
	immure_fields_uint(&b, "since_ns", (uint64_t)m->since.tv_nsec);
	immure_fields_uint(&b, "created_ms", m->created_ms);
	immure_fields_str(&b, "session", m->session);
	immure_fields_uint(&b, "dev", m->dev);
	immure_fields_uint(&b, "ino", m->ino);
	r = immure_buf_ok(&b) ? immure_file_replace(dir, "meta", b.data, b.len, true) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}

static int write_meta(int dir, const char *session, const struct stat *ws)
{
	struct immure_upper_meta m = { .created_ms = immure_now_ms(), .dev = (uint64_t)ws->st_dev,
				       .ino = (uint64_t)ws->st_ino };

	next_tick(&m.since);
	(void)snprintf(m.session, sizeof(m.session), "%s", session);
	return put_meta(dir, &m);
}

/* The top of the upper directory is the top of the workspace, seen from inside. */
static int make_top(int dir, const struct stat *ws)
{
	const struct timespec when[2] = { ws->st_atim, ws->st_mtim };

	if (mkdirat(dir, "upper", 0700) < 0 || mkdirat(dir, "work", 0700) < 0)
		return -errno;
	IMMURE_CLEANUP_FD int top = openat(dir, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return -errno;
	if ((ws->st_uid != geteuid() || ws->st_gid != getegid()) &&
	    fchown(top, ws->st_uid, ws->st_gid) < 0 && geteuid() == 0)
		return -errno; /* who is not root has its own there, whatever the workspace says */
	if (fchmod(top, ws->st_mode & 01777) < 0)
		return -errno;
	return futimens(top, when) < 0 ? -errno : 0;
}

static int fill(int dir, const struct immure_plan *p, const char *session, const struct immure_op *op,
		int *ret_lock, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int ws = immure_mount_open_host((op - 1)->src); /* its only layer */
	IMMURE_CLEANUP_FREE void *data = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (ws < 0)
		return ws;
	if (fstat(ws, &st) < 0)
		return -errno;
	*ret_lock = immure_runtime_file(dir, "lock", O_RDWR | O_CREAT);
	if (*ret_lock < 0)
		return *ret_lock;
	r = immure_fd_raise(ret_lock, 10);
	if (r == 0)
		r = immure_runtime_lock(*ret_lock, false);
	if (r == 0 && immure_plan_seal_bytes(p, &data, &len, err) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = immure_file_replace(dir, "plan", data, len, false);
	if (r == 0)
		r = write_meta(dir, session, &st);
	return r == 0 ? make_top(dir, &st) : r;
}

static int make(const struct immure_plan *p, const char *session, const struct immure_op *op,
		struct immure_upper *u, struct immure_error **err)
{
	char name[IMMURE_ID_LEN + 8];
	IMMURE_CLEANUP_FD int all = -1, dir = -1;
	int r = immure_make_dirs(op->src);

	if (r < 0)
		return r;
	all = immure_runtime_dir(AT_FDCWD, op->src);
	if (all < 0)
		return all;
	if (*session)
		memcpy(u->id, session, sizeof(u->id));
	else
		r = immure_id_new(u->id);
	if (r < 0 || snprintf(u->path, sizeof(u->path), "%s/%s", op->src, u->id) >= (int)sizeof(u->path))
		return r < 0 ? r : -ENAMETOOLONG;
	(void)snprintf(name, sizeof(name), "%s%s", half, u->id);
	if (mkdirat(all, name, 0700) < 0)
		return -errno;
	dir = immure_runtime_dir(all, name);
	r = dir < 0 ? dir : fill(dir, p, session, op, &u->lock_fd, err);
	if (r == 0 && renameat(all, name, all, u->id) < 0)
		r = -errno;
	if (r < 0) {
		char path[PATH_MAX];

		immure_close(&u->lock_fd);
		(void)snprintf(path, sizeof(path), "%s/%s", op->src, name);
		(void)immure_rmtree(path); /* or gc does */
	}
	return r;
}

int32_t immure_upper_make(const struct immure_plan *p, const char *session, struct immure_upper *ret,
			  struct immure_error **err)
{
	const struct immure_op *op = immure_upper_op(p);
	struct immure_upper u = IMMURE_UPPER_INIT;
	int r = op ? make(p, session, op, &u, err) : -EINVAL;

	if (r == 0) {
		*ret = u;
		return 0;
	}
	if (err && *err)
		return -IMMURE_ERR_IO;
	return immure_fail(err, IMMURE_ERR_IO, r, "workspace", "workspace.mode",
			   "%s: no place for the changes of a copy-on-write workspace: %s",
			   op ? op->src : "", strerror(-r));
}

int immure_upper_set_since(const struct immure_upper *u, const struct timespec *since)
{
	IMMURE_CLEANUP_FD int dir = immure_runtime_dir(AT_FDCWD, u->path);
	struct immure_upper_meta m;
	int r = dir < 0 ? dir : immure_upper_meta(dir, &m);

	m.since = *since;
	return r < 0 ? r : put_meta(dir, &m);
}

bool immure_upper_is_empty(int dir)
{
	int fd = openat(dir, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool some;
	int r = 0;

	if (!d) { /* what cannot be looked at may hold somebody's work */
		immure_close(&fd);
		return false;
	}
	some = immure_readdir(d, &r) || r < 0; /* as above */
	(void)closedir(d); /* read only: nothing is lost */
	return !some;
}

int immure_upper_end(struct immure_upper *u)
{
	IMMURE_CLEANUP_FD int dir = -1;
	int r;

	if (!u->path[0])
		return 0;
	dir = immure_runtime_dir(AT_FDCWD, u->path);
	if (dir < 0)
		r = dir == -ENOENT ? 0 : dir;
	else
		r = immure_upper_is_empty(dir) ? immure_rmtree(u->path) : 1;
	immure_close(&u->lock_fd);
	u->path[0] = '\0';
	return r;
}

/* ---- later ---- */

int immure_upper_open(const char *state_dir, const char *id, int *ret_dir)
{
	char path[PATH_MAX];
	int fd;

	if (!immure_id_valid(id))
		return -ENOENT;
	if (snprintf(path, sizeof(path), "%s/workspaces/%s", state_dir, id) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = immure_runtime_dir(AT_FDCWD, path);
	if (fd < 0)
		return fd;
	*ret_dir = fd;
	return 0;
}

static int take(void *ctx, const char *key, const char *word, size_t len)
{
	struct immure_upper_meta *m = ctx;
	uint64_t v = 0;
	int r;

	if (strcmp(key, "session") == 0)
		return immure_field_get(word, len, m->session, sizeof(m->session));
	r = immure_field_uint(word, len, UINT64_MAX, &v);
	if (r < 0)
		return r;
	if (strcmp(key, "since_s") == 0)
		m->since.tv_sec = (time_t)v;
	else if (strcmp(key, "since_ns") == 0)
		m->since.tv_nsec = (long)(v % 1000000000U);
	else if (strcmp(key, "created_ms") == 0)
		m->created_ms = v;
	else if (strcmp(key, "dev") == 0)
		m->dev = v;
	else if (strcmp(key, "ino") == 0)
		m->ino = v;
	else
		return -EINVAL;
	return 0;
}

int immure_upper_meta(int dir, struct immure_upper_meta *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct immure_upper_meta m = { 0 };
	size_t len = 0;
	int r = immure_runtime_read(dir, "meta", IMMURE_RUNTIME_FILE_MAX, &text, &len);

	if (r == 0)
		r = immure_fields_each(text, len, "workspace", take, &m);
	if (r == 0)
		*ret = m;
	return r;
}

int32_t immure_upper_plan(int dir, struct immure_plan **ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	size_t len = 0;
	int r = immure_runtime_read(dir, "plan", PLAN_MAX, &data, &len);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, r, "workspace", "plan", "its plan cannot be read: %s",
				   strerror(-r));
	return immure_plan_unseal(data, len, ret, err);
}

int immure_upper_lock(int dir)
{
	int fd = immure_runtime_file(dir, "lock", O_RDWR), r = fd < 0 ? fd : immure_runtime_lock(fd, false);

	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

int immure_upper_remove(const char *state_dir, const char *name)
{
	char path[PATH_MAX], gone[PATH_MAX];

	if (strchr(name, '/') ||
	    snprintf(path, sizeof(path), "%s/workspaces/%s", state_dir, name) >= (int)sizeof(path))
		return -EINVAL;
	/* Half of it would tell of changes that nobody made. */
	if (immure_id_valid(name)) {
		if (snprintf(gone, sizeof(gone), "%s/workspaces/%s%s", state_dir, half, name) >= (int)sizeof(gone))
			return -ENAMETOOLONG;
		if (rename(path, gone) < 0)
			return -errno;
		return immure_rmtree(gone);
	}
	return immure_rmtree(path);
}

int immure_upper_each(const char *state_dir, int (*each)(void *ctx, const char *name), void *ctx)
{
	char path[PATH_MAX];
	DIR *d;
	const struct dirent *e;
	int fd, r = 0;

	if (snprintf(path, sizeof(path), "%s/workspaces", state_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = immure_runtime_dir(AT_FDCWD, path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		immure_close(&fd);
		return r;
	}
	while (r == 0 && (e = immure_readdir(d, &r)))
		if (immure_id_valid(e->d_name) || strncmp(e->d_name, half, strlen(half)) == 0)
			r = each(ctx, e->d_name);
	(void)closedir(d); /* read only: nothing is lost */
	return r;
}
