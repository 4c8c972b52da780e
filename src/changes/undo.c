/* SPDX-License-Identifier: Apache-2.0 */
/* What an apply did is taken back, as far as nobody else has changed it since. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "changes/applying.h"

/* An original that is nowhere but in our directory. */
static bool is_displaced(const struct apply *a, size_t i)
{
	char fresh[40], old[40];
	struct stat st;

	immure_apply_number(i, "", fresh);
	immure_apply_number(i, ".old", old);
	/* What has not landed yet may have given what it replaces a second name only. */
	return immure_apply_stands(a->stage_fd, old, &st) &&
	       !(a->s.v[i].kind == IMMURE_STEP_PUT && immure_apply_stands(a->stage_fd, fresh, &st));
}

bool immure_apply_is_ours(const struct apply *a, size_t i, int dir, const char *name)
{
	const char *copied;
	IMMURE_CLEANUP_FD int upper = immure_content_parent(a->c->upper_fd, a->s.v[i].path, &copied);
	char text[2][4096];
	struct stat st, was;
	ssize_t n;

	if (upper < 0 || !immure_apply_stands(dir, name, &st) || !immure_apply_stands(upper, copied, &was) ||
	    (st.st_mode & S_IFMT) != (was.st_mode & S_IFMT))
		return false;
	if (!S_ISLNK(st.st_mode)) /* stage_file() gave it the time as well */
		return st.st_size == was.st_size && st.st_mtim.tv_sec == was.st_mtim.tv_sec &&
		       (st.st_mtim.tv_nsec == was.st_mtim.tv_nsec || st.st_mtim.tv_nsec == 0);
	n = readlinkat(dir, name, text[0], sizeof(text[0]));
	return n > 0 && readlinkat(upper, copied, text[1], sizeof(text[1])) == n &&
	       memcmp(text[0], text[1], (size_t)n) == 0;
}

static int undo_put(const struct apply *a, size_t i, int dir, const char *name)
{
	char fresh[40], old[40];
	struct stat st;

	immure_apply_number(i, "", fresh);
	immure_apply_number(i, ".old", old);
	if (immure_apply_stands(a->stage_fd, fresh, &st))
		return 0; /* never landed */
	if (immure_apply_stands(dir, name, &st) && !immure_apply_is_ours(a, i, dir, name))
		/* Either it has been put back already, or it is not for us to take away. */
		return a->s.v[i].over && st.st_ino == a->s.v[i].ino ? 0 : -ESTALE;
	if (a->s.v[i].over)
		return renameat(a->stage_fd, old, dir, name) < 0 ? -errno : 0;
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Where its place was taken, or at the top where even the directory is gone. */
static int put_beside(const struct apply *a, size_t i)
{
	const char *path = a->s.v[i].path, *name, *slash = strrchr(path, '/');
	IMMURE_CLEANUP_FD int dir = immure_content_parent(a->c->real_fd, path, &name);
	char old[40], to[256];
	int r;

	if (!is_displaced(a, i))
		return 0;
	immure_apply_number(i, ".old", old);
	(void)snprintf(to, sizeof(to), "%.180s.before-apply-%s", slash ? slash + 1 : path, a->c->id);
	r = immure_apply_move(a->stage_fd, old, dir < 0 ? a->c->real_fd : dir, to);
	if (r < 0)
		return r;
	return immure_strv_add(&a->c->arena, a->beside, dir < 0 || !slash ? immure_arena_strdup(&a->c->arena, to) :
			       immure_arena_printf(&a->c->arena, "%.*s/%s", (int)(slash - path), path, to)) ? 0 : -ENOMEM;
}

static int undo_step(const struct apply *a, size_t i)
{
	const struct immure_step *s = &a->s.v[i];
	const char *name;
	IMMURE_CLEANUP_FD int dir = immure_content_parent(a->c->real_fd, s->path, &name);
	char old[40];

	if (dir < 0) /* never got that far, or the directory was taken away since */
		return (dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP) && !is_displaced(a, i) ? 0 : dir;
	switch (s->kind) {
	case IMMURE_STEP_PUT:
		return undo_put(a, i, dir, name);
	case IMMURE_STEP_DIR:
		/* ENOTDIR: what is replaced by it stands there still. */
		return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTDIR ? -errno : 0;
	case IMMURE_STEP_REMOVE:
		immure_apply_number(i, ".old", old);
		return is_displaced(a, i) ? immure_apply_move(a->stage_fd, old, dir, name) : 0;
	default:
		return immure_apply_set_mode(a, s, s->was_mode);
	}
}

int32_t immure_apply_undo(struct apply *a)
{
	int first = 0;

	/* What was closed is opened first, so that the rest can be reached. */
	for (size_t i = 0; i < a->s.n; i++)
		if (a->s.v[i].kind == IMMURE_STEP_DIR)
			(void)immure_apply_set_mode(a, &a->s.v[i], 0700); /* may not be there yet */
	for (size_t i = a->s.n; i-- > 0;) {
		int r = undo_step(a, i);

		if (r < 0 && a->beside)
			r = put_beside(a, i);
		if (r < 0 && first == 0) {
			first = r;
			(void)immure_apply_fail(a, a->s.v[i].path, -r);
		}
	}
	if (first < 0) /* what could not be put back is still in the directory */
		return -IMMURE_ERR_IO;
	first = immure_log_set(a->c->dir_fd, IMMURE_LOG_STAGING);
	if (first == 0)
		first = immure_apply_remove_stage(a);
	/* Second names, made and taken away, changed what they were names of. */
	if (first == 0 && !a->beside) /* else what others changed would count as ours */
		first = immure_log_landed(a->c->dir_fd, a->c->real_fd, &a->s);
	return first < 0 ? immure_apply_fail(a, "journal", -first) : immure_apply_tidy(a);
}
