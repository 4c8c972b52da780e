/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of it or nothing, also when this process is killed:
 *
 *   1  the steps are written down (log.c)
 *   2  in a directory of ours at the top of the real tree, new files are made whole, with
 *      their modes and times, and synced: their names there are the numbers of the steps
 *   3  it is written down that everything is there
 *   4  each step is one rename(2), mkdir(2) or chmod(2). What was there before goes to that
 *      directory as NUMBER.old: a file by a second name, so that there is always one or the
 *      other at its place
 *   5  it is written down that all is done, and the directory goes
 *
 * What was killed before 3 is thrown away; after that it can be finished, or undone. Which
 * steps were taken is told by what is still in the directory. Every path is opened below
 * the top with no link followed and no mount crossed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "changes/applying.h"
#include "session/rmtree.h"

enum { NOREPLACE = 1 }; /* of renameat2(2) */

int32_t immure_apply_fail(const struct apply *a, const char *path, int errnum)
{
	return immure_fail(a->err, errnum == EBUSY || errnum == ESTALE ? IMMURE_ERR_STATE : IMMURE_ERR_IO, errnum,
			   "apply", path, "%s: %s", path,
			   errnum == ESTALE ? "it was changed meanwhile" : strerror(errnum));
}

void immure_apply_number(size_t i, const char *what, char ret[40])
{
	(void)snprintf(ret, 40, "%zu%s", i, what);
}

bool immure_apply_stands(int dir, const char *name, struct stat *st)
{
	return fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- the steps ---- */

static void add(struct apply *a, uint8_t kind, const struct immure_change *ch)
{
	a->s.v[a->s.n++] = (struct immure_step){
		.kind = kind, .path = ch->path, .mode = ch->mode & 0777, .was_mode = ch->was_mode & 07777,
		.over = ch->kind == IMMURE_CHANGE_MODIFIED, .ino = ch->ino, .ctim = ch->ctim,
	};
}

static int32_t make_steps(struct apply *a)
{
	struct immure_changes *c = a->c;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].selected;
	a->s.v = immure_arena_alloc(&c->arena, (2 * n + 1) * sizeof(*a->s.v));
	if (!a->s.v)
		return immure_apply_fail(a, c->id, ENOMEM);
	for (size_t i = 0; i < c->n; i++) {
		const struct immure_change *ch = &c->v[i];

		if (!ch->selected)
			continue;
		if (ch->kind == IMMURE_CHANGE_MODE) {
			add(a, IMMURE_STEP_MODE, ch);
			continue;
		}
		if (ch->kind == IMMURE_CHANGE_REMOVED || ch->kind == IMMURE_CHANGE_REPLACED)
			add(a, IMMURE_STEP_REMOVE, ch);
		if (ch->kind == IMMURE_CHANGE_REMOVED)
			continue;
		add(a, ch->type == 'd' ? IMMURE_STEP_DIR : IMMURE_STEP_PUT, ch);
		if (ch->kind != IMMURE_CHANGE_MODIFIED)
			a->s.v[a->s.n - 1].ino = 0;
	}
	return 0;
}

/* ---- staging ---- */

/* The owner and the access list of what is replaced stay; what does not may not be taken
 * away from somebody by giving it to us. */
static int take_over(const struct apply *a, const struct immure_step *s, int fd)
{
	static const char acl[] = "system.posix_acl_access";
	const char *name;
	IMMURE_CLEANUP_FD int parent = immure_content_parent(a->c->real_fd, s->path, &name);
	struct stat now, st;
	char value[4096];
	ssize_t n;

	if (parent < 0)
		return parent;
	IMMURE_CLEANUP_FD int real = immure_content_open(parent, name, &st);
	if (real < 0)
		return real;
	if (fstat(fd, &now) < 0)
		return -errno;
	if ((now.st_uid != st.st_uid || now.st_gid != st.st_gid) && fchown(fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	n = fgetxattr(real, acl, value, sizeof(value));
	return n > 0 && fsetxattr(fd, acl, value, (size_t)n, 0) < 0 ? -errno : 0;
}

static int stage_file(const struct apply *a, const struct immure_step *s, int dir, const char *name, const char *to)
{
	struct stat st;
	IMMURE_CLEANUP_FD int from = immure_content_open(dir, name, &st);
	IMMURE_CLEANUP_FD int fd = -1;
	int r;

	if (from < 0)
		return from;
	if (immure_guard_stat(&st, false))
		return -EPERM;
	fd = openat(a->stage_fd, to, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = immure_content_copy(from, fd);
	if (r == 0)
		r = immure_content_attributes(from, fd);
	if (r == 0 && s->over)
		r = take_over(a, s, fd);
	if (r == 0 && fchmod(fd, st.st_mode & 0777) < 0)
		r = -errno;
	if (r == 0) {
		const struct timespec when[2] = { st.st_atim, st.st_mtim };

		r = futimens(fd, when) < 0 || fdatasync(fd) < 0 ? -errno : 0;
	}
	return r;
}

static int stage_link(const struct apply *a, int dir, const char *name, const char *to)
{
	char text[4096];
	ssize_t n = readlinkat(dir, name, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return symlinkat(text, a->stage_fd, to) < 0 ? -errno : 0;
}

static int stage_step(const struct apply *a, size_t i)
{
	const struct immure_step *s = &a->s.v[i];
	const char *name;
	IMMURE_CLEANUP_FD int dir = immure_content_parent(a->c->upper_fd, s->path, &name);
	struct stat st;
	char to[40];

	if (dir < 0)
		return dir;
	if (!immure_apply_stands(dir, name, &st))
		return -ESTALE;
	immure_apply_number(i, "", to);
	return S_ISLNK(st.st_mode) ? stage_link(a, dir, name, to) : stage_file(a, s, dir, name, to);
}

static void name_stage(struct apply *a)
{
	(void)snprintf(a->stage, sizeof(a->stage), ".immure-apply-%s", a->c->id);
}

static int open_stage(struct apply *a, bool make)
{
	struct stat st;

	if (make && mkdirat(a->c->real_fd, a->stage, 0700) < 0)
		return -errno;
	a->stage_fd = openat(a->c->real_fd, a->stage, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (a->stage_fd < 0)
		return -errno;
	if (fstat(a->stage_fd, &st) < 0)
		return -errno;
	return st.st_uid == geteuid() && !(st.st_mode & 077) ? 0 : -EPERM;
}

int immure_apply_remove_stage(struct apply *a)
{
	char path[96];

	immure_close(&a->stage_fd);
	if (!immure_id_valid(a->c->id)) /* never the tree itself */
		return -EINVAL;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/.immure-apply-%s", a->c->real_fd, a->c->id);
	return immure_rmtree(path);
}

static int32_t stage_all(struct apply *a)
{
	int r = immure_log_write(a->c->dir_fd, &a->s);

	if (r < 0)
		return immure_apply_fail(a, "journal", -r);
	r = open_stage(a, true);
	if (r < 0)
		return immure_apply_fail(a, a->stage, -r);
	for (size_t i = 0; i < a->s.n; i++) {
		r = a->s.v[i].kind == IMMURE_STEP_PUT ? stage_step(a, i) : 0;
		if (r < 0)
			return immure_apply_fail(a, a->s.v[i].path, -r);
	}
	if (fsync(a->stage_fd) < 0)
		return immure_apply_fail(a, a->stage, errno);
	r = immure_log_set(a->c->dir_fd, IMMURE_LOG_LANDING);
	return r < 0 ? immure_apply_fail(a, "journal", -r) : 0;
}

/* ---- landing ---- */

/* What stands at its place is what was looked at. */
static int expected(const struct apply *a, const struct immure_step *s, int dir, const char *name)
{
	struct stat st;
	bool there = immure_apply_stands(dir, name, &st);

	if (s->ino == 0)
		return there ? -ESTALE : 0;
	if (!there || st.st_ino != s->ino)
		return -ESTALE;
	if (a->again || S_ISDIR(st.st_mode))
		return 0;
	return st.st_ctim.tv_sec == s->ctim.tv_sec && st.st_ctim.tv_nsec == s->ctim.tv_nsec ? 0 : -ESTALE;
}

/* To a name where nothing stands. */
int immure_apply_move(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;

	if (syscall(SYS_renameat2, from_dir, from, to_dir, to, NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (immure_apply_stands(to_dir, to, &st)) /* a file system that has no such call */
		return -EEXIST;
	return renameat(from_dir, from, to_dir, to) < 0 ? -errno : 0;
}

static int land_put(const struct apply *a, size_t i, int dir, const char *name)
{
	const struct immure_step *s = &a->s.v[i];
	char fresh[40], old[40];
	struct stat st;
	int r;

	immure_apply_number(i, "", fresh);
	immure_apply_number(i, ".old", old);
	if (!immure_apply_stands(a->stage_fd, fresh, &st))
		return a->again ? 0 : -ESTALE; /* has landed */
	r = expected(a, s, dir, name);
	if (r < 0)
		return r;
	if (!s->over)
		return immure_apply_move(a->stage_fd, fresh, dir, name);
	/* Not everywhere can a file have two names: then it cannot be undone, only finished. */
	if (linkat(dir, name, a->stage_fd, old, 0) < 0 && errno != EEXIST && errno != EPERM && errno != EMLINK &&
	    errno != EOPNOTSUPP)
		return -errno;
	return renameat(a->stage_fd, fresh, dir, name) < 0 ? -errno : 0;
}

static int land_remove(const struct apply *a, size_t i, int dir, const char *name)
{
	char old[40];
	struct stat st;
	int r;

	immure_apply_number(i, ".old", old);
	if (a->again && immure_apply_stands(a->stage_fd, old, &st))
		return 0;
	r = expected(a, &a->s.v[i], dir, name);
	return r < 0 ? r : immure_apply_move(dir, name, a->stage_fd, old);
}

static int land_dir(const struct apply *a, int dir, const char *name)
{
	struct stat st;

	if (mkdirat(dir, name, 0700) == 0)
		return 0;
	return errno == EEXIST && a->again && immure_apply_stands(dir, name, &st) && S_ISDIR(st.st_mode) ? 0 : -errno;
}

int immure_apply_set_mode(const struct apply *a, const struct immure_step *s, uint32_t mode)
{
	const char *name;
	IMMURE_CLEANUP_FD int dir = immure_content_parent(a->c->real_fd, s->path, &name);
	IMMURE_CLEANUP_FD int fd = -1;
	unsigned int before;
	struct stat st;

	if (dir < 0)
		return dir;
	if (!immure_apply_stands(dir, name, &st) || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) ||
	    (s->kind == IMMURE_STEP_DIR && !S_ISDIR(st.st_mode)) || (s->kind == IMMURE_STEP_MODE && st.st_ino != s->ino))
		return -ESTALE;
	fd = immure_open_anyway(dir, name, O_NONBLOCK, 0400, &before);
	if (fd < 0)
		return fd;
	if (S_ISDIR(st.st_mode)) /* as its directory says, not as the copy does */
		mode |= st.st_mode & (S_ISGID | S_ISVTX);
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

static int land_step(const struct apply *a, size_t i)
{
	const struct immure_step *s = &a->s.v[i];
	const char *name;
	IMMURE_CLEANUP_FD int dir = -1;

	if (s->kind == IMMURE_STEP_MODE)
		return 0;
	dir = immure_content_parent(a->c->real_fd, s->path, &name);
	if (dir < 0)
		return dir;
	if (s->kind == IMMURE_STEP_REMOVE)
		return land_remove(a, i, dir, name);
	return s->kind == IMMURE_STEP_DIR ? land_dir(a, dir, name) : land_put(a, i, dir, name);
}

/* What somebody put in the place of what had landed stays a conflict for what comes later. */
static void mark_foreign(struct apply *a)
{
	for (size_t i = 0; i < a->s.n; i++) {
		struct immure_step *s = &a->s.v[i];
		const char *name;
		IMMURE_CLEANUP_FD int dir = immure_content_parent(a->c->real_fd, s->path, &name);

		s->foreign = s->kind == IMMURE_STEP_PUT && (dir < 0 || !immure_apply_is_ours(a, i, dir, name));
	}
}

static int32_t land_all(struct apply *a)
{
	int r = 0;

	for (size_t i = 0; i < a->s.n; i++) {
		r = land_step(a, i);
		if (r < 0)
			return immure_apply_fail(a, a->s.v[i].path, -r);
	}
	/* Modes last, deepest first: one may close a directory. */
	for (size_t i = a->s.n; i-- > 0;) {
		const struct immure_step *s = &a->s.v[i];

		if (s->kind == IMMURE_STEP_DIR || s->kind == IMMURE_STEP_MODE)
			r = immure_apply_set_mode(a, s, s->mode);
		if (r < 0)
			return immure_apply_fail(a, s->path, -r);
	}
	if (a->again)
		mark_foreign(a);
	r = immure_log_landed(a->c->dir_fd, a->c->real_fd, &a->s);
	if (r == 0)
		r = immure_log_set(a->c->dir_fd, IMMURE_LOG_LANDED);
	return r < 0 ? immure_apply_fail(a, "journal", -r) : 0;
}

int32_t immure_apply_tidy(struct apply *a)
{
	int r = immure_apply_remove_stage(a);

	if (r == 0)
		r = immure_log_set(a->c->dir_fd, IMMURE_LOG_NONE);
	return r < 0 ? immure_apply_fail(a, a->stage, -r) : 0;
}

/* ---- all of it ---- */

static int32_t may_begin(struct apply *a)
{
	struct immure_changes *c = a->c;

	if (c->real_fd < 0 || c->why_not)
		return immure_fail(a->err, IMMURE_ERR_STATE, ENOENT, "apply", c->id, "%s: %s", c->plan->workspace,
				   c->why_not ? c->why_not : "is gone");
	if (c->lock_fd < 0)
		return immure_fail(a->err, IMMURE_ERR_STATE, EBUSY, "apply", c->id,
				   "%s: something may still write there", c->id);
	return 0;
}

int32_t immure_changes_apply(struct immure_changes *c, uint64_t *ret_n, struct immure_error **err)
{
	struct apply a = { .c = c, .err = err, .stage_fd = -1 };
	uint64_t n = 0;
	int32_t r = may_begin(&a);

	name_stage(&a);

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].selected;
	if (r == 0 && immure_changes_is_torn(c))
		r = immure_fail(err, IMMURE_ERR_STATE, EBUSY, "apply", c->id, "%s: an apply was interrupted", c->id);
	if (r == 0 && n)
		r = make_steps(&a);
	if (r < 0 || !n) {
		*ret_n = 0;
		return r;
	}
	r = stage_all(&a);
	if (r == 0) {
		r = land_all(&a);
		if (r < 0) {
			a.err = NULL; /* the first one is the one to tell */
			(void)immure_apply_undo(&a); /* what cannot be is said by who recovers */
			immure_close(&a.stage_fd);
			return r;
		}
		a.err = err;
		r = immure_apply_tidy(&a);
	} else {
		a.err = NULL;
		(void)immure_apply_tidy(&a);
	}
	immure_close(&a.stage_fd);
	if (r == 0)
		*ret_n = n;
	return r;
}

bool immure_changes_is_torn(const struct immure_changes *c)
{
	return immure_log_phase(c->dir_fd) != IMMURE_LOG_NONE;
}

int32_t immure_changes_recover(struct immure_changes *c, bool back, struct immure_strv *beside, struct immure_error **err)
{
	struct apply a = { .c = c, .err = err, .stage_fd = -1, .again = true, .beside = back ? beside : NULL };
	enum immure_log_phase phase = immure_log_phase(c->dir_fd);
	int32_t r;
	int k;

	if (phase == IMMURE_LOG_NONE)
		return 0;
	r = may_begin(&a);
	if (r < 0)
		return r;
	name_stage(&a);
	k = immure_log_read(c->dir_fd, &c->arena, &a.s);
	if (k == 0 && phase == IMMURE_LOG_LANDING)
		k = open_stage(&a, false);
	if (k < 0)
		return immure_apply_fail(&a, "journal", -k);
	if (phase == IMMURE_LOG_STAGING)
		r = immure_apply_tidy(&a);
	else if (phase == IMMURE_LOG_LANDED)
		r = immure_apply_tidy(&a);
	else
		r = back ? immure_apply_undo(&a) : land_all(&a);
	if (r == 0 && phase == IMMURE_LOG_LANDING && !back)
		r = immure_apply_tidy(&a);
	immure_close(&a.stage_fd);
	return r < 0 ? r : phase == IMMURE_LOG_STAGING || (phase == IMMURE_LOG_LANDING && back) ? 2 : 1;
}
