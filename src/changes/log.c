/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the workspace's own directory, of an apply:
 *
 *   apply            the steps, in their order. Written before anything is made in the tree
 *   apply.landing    everything is staged: from now on it can be finished
 *   apply.landed     every step is done: what is left is to be removed
 *   landed           inode and change time of what we left in the tree
 *
 * All are replaced in one step and synced, so each is whole or not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "changes/changes.h"
#include "session/fields.h"
#include "session/runtime.h"

enum { LOG_MAX = 512 << 20 };

static const char *const kinds[] = {
	[IMMURE_STEP_REMOVE] = "remove", [IMMURE_STEP_DIR] = "dir",
	[IMMURE_STEP_PUT] = "put", [IMMURE_STEP_MODE] = "mode",
};

int immure_log_write(int dir, const struct immure_steps *s)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	int r;

	immure_fields_begin(&b, "apply");
	for (size_t i = 0; i < s->n; i++) {
		const struct immure_step *st = &s->v[i];

		immure_fields_uint(&b, "over", st->over);
		immure_fields_uint(&b, "bits", st->mode);
		immure_fields_uint(&b, "was", st->was_mode);
		immure_fields_uint(&b, "ino", st->ino);
		immure_fields_str(&b, kinds[st->kind], st->path);
	}
	r = immure_buf_ok(&b) ? immure_file_replace(dir, "apply", b.data, b.len, true) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}

struct reading {
	struct immure_arena *a;
	struct immure_steps *s;
	size_t cap;
	struct immure_step next;
};

static int take_step(struct reading *rd, uint8_t kind, const char *word, size_t len)
{
	char path[IMMURE_CHANGES_PATH + 1];
	int r = immure_field_get(word, len, path, sizeof(path));

	if (r < 0)
		return r;
	if (rd->s->n == rd->cap) {
		size_t cap = rd->cap ? rd->cap * 2 : 64;
		struct immure_step *v = immure_arena_alloc(rd->a, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		if (rd->s->n)
			memcpy(v, rd->s->v, rd->s->n * sizeof(*v));
		rd->s->v = v;
		rd->cap = cap;
	}
	rd->next.kind = kind;
	rd->next.path = immure_arena_strdup(rd->a, path);
	rd->s->v[rd->s->n++] = rd->next;
	rd->next = (struct immure_step){ 0 };
	return rd->s->v[rd->s->n - 1].path ? 0 : -ENOMEM;
}

static int take(void *ctx, const char *key, const char *word, size_t len)
{
	struct reading *rd = ctx;
	uint64_t v = 0;
	int r;

	for (uint8_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		if (strcmp(key, kinds[k]) == 0)
			return take_step(rd, k, word, len);
	r = immure_field_uint(word, len, UINT64_MAX, &v);
	if (r < 0)
		return r;
	if (strcmp(key, "ino") == 0)
		rd->next.ino = v;
	else if (v > 07777)
		return -EINVAL;
	else if (strcmp(key, "over") == 0)
		rd->next.over = v != 0;
	else if (strcmp(key, "bits") == 0)
		rd->next.mode = (uint32_t)v;
	else if (strcmp(key, "was") == 0)
		rd->next.was_mode = (uint32_t)v;
	else
		return -EINVAL;
	return 0;
}

int immure_log_read(int dir, struct immure_arena *a, struct immure_steps *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct immure_steps s = { 0 };
	struct reading rd = { .a = a, .s = &s };
	size_t len = 0;
	int r = immure_runtime_read(dir, "apply", LOG_MAX, &text, &len);

	if (r == 0)
		r = immure_fields_each(text, len, "apply", take, &rd);
	if (r == 0)
		*ret = s;
	return r;
}

static bool is_there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

enum immure_log_phase immure_log_phase(int dir)
{
	if (!is_there(dir, "apply"))
		return IMMURE_LOG_NONE;
	if (is_there(dir, "apply.landed"))
		return IMMURE_LOG_LANDED;
	return is_there(dir, "apply.landing") ? IMMURE_LOG_LANDING : IMMURE_LOG_STAGING;
}

static int gone(int dir, const char *name)
{
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Back to none: the list of steps goes first, so that what is left says nothing. */
int immure_log_set(int dir, enum immure_log_phase phase)
{
	int r = 0;

	if (phase == IMMURE_LOG_STAGING) /* once more: everything was undone */
		return gone(dir, "apply.landing");
	if (phase == IMMURE_LOG_LANDING)
		return immure_file_replace(dir, "apply.landing", "", 0, true);
	if (phase == IMMURE_LOG_LANDED)
		return immure_file_replace(dir, "apply.landed", "", 0, true);
	if (phase == IMMURE_LOG_NONE) {
		r = gone(dir, "apply");
		if (r == 0)
			r = gone(dir, "apply.landing");
		if (r == 0)
			r = gone(dir, "apply.landed");
	}
	return r;
}

/* ---- what is our own doing ---- */

struct immure_own_trace {
	uint64_t ino;
	struct timespec ctim;
};

bool immure_log_is_ours(const struct immure_changes *c, uint64_t ino, const struct timespec *ctim)
{
	for (size_t i = 0; i < c->own_n; i++)
		if (c->own[i].ino == ino && c->own[i].ctim.tv_sec == ctim->tv_sec &&
		    c->own[i].ctim.tv_nsec == ctim->tv_nsec)
			return true;
	return false;
}

struct loading {
	struct immure_changes *c;
	struct immure_own_trace next;
	size_t cap;
};

static int take_trace(void *ctx, const char *key, const char *word, size_t len)
{
	struct loading *l = ctx;
	struct immure_changes *c = l->c;
	uint64_t v = 0;
	int r = immure_field_uint(word, len, UINT64_MAX, &v);

	if (r < 0)
		return r;
	if (strcmp(key, "ino") == 0) {
		l->next.ino = v;
	} else if (strcmp(key, "s") == 0) {
		l->next.ctim.tv_sec = (time_t)v;
	} else if (strcmp(key, "ns") == 0) {
		l->next.ctim.tv_nsec = (long)(v % 1000000000U);
		if (c->own_n == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 64;
			struct immure_own_trace *own = immure_arena_alloc(&c->arena, cap * sizeof(*own));

			if (!own)
				return -ENOMEM;
			if (c->own_n)
				memcpy(own, c->own, c->own_n * sizeof(*own));
			c->own = own;
			l->cap = cap;
		}
		c->own[c->own_n++] = l->next;
	} else {
		return -EINVAL;
	}
	return 0;
}

int immure_log_load(struct immure_changes *c)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct loading l = { .c = c };
	size_t len = 0;
	int r = immure_runtime_read(c->dir_fd, "landed", LOG_MAX, &text, &len);

	c->own = NULL;
	c->own_n = 0;
	return r == -ENOENT ? 0 : r < 0 ? r : immure_fields_each(text, len, "landed", take_trace, &l);
}

static void put_trace(struct immure_buf *b, const struct stat *st)
{
	immure_fields_uint(b, "ino", (uint64_t)st->st_ino);
	immure_fields_uint(b, "s", (uint64_t)st->st_ctim.tv_sec);
	immure_fields_uint(b, "ns", (uint64_t)st->st_ctim.tv_nsec);
}

int immure_log_landed(int dir, int real_fd, const struct immure_steps *s)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	IMMURE_CLEANUP_FREE char *before = NULL;
	size_t len = 0;
	int r = immure_runtime_read(dir, "landed", LOG_MAX, &before, &len);

	if (r == 0)
		immure_buf_put(&b, before, len);
	else
		immure_fields_begin(&b, "landed");
	for (size_t i = 0; i < s->n; i++) {
		const char *name;
		IMMURE_CLEANUP_FD int parent = immure_content_parent(real_fd, s->v[i].path, &name);
		struct stat st;

		if (parent >= 0 && !s->v[i].foreign && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			put_trace(&b, &st);
		/* Making and removing in it changes the directory too. */
		if (parent >= 0 && fstat(parent, &st) == 0)
			put_trace(&b, &st);
	}
	r = immure_buf_ok(&b) ? immure_file_replace(dir, "landed", b.data, b.len, true) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}
