/* SPDX-License-Identifier: Apache-2.0 */
/* A kept workspace, opened; and which of its changes are to land. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "changes/changes.h"
#include "kernel/mount.h"

/* ---- which ---- */

struct finding {
	const char *want;
	size_t len, n;
	char id[IMMURE_ID_LEN + 1];
};

static int find(void *ctx, const char *name)
{
	struct finding *f = ctx;

	if (!immure_id_valid(name) || strncmp(name, f->want, f->len) != 0)
		return 0;
	f->n++;
	memcpy(f->id, name, sizeof(f->id));
	return 0;
}

static int32_t resolve(const char *state_dir, const char *id, char ret[IMMURE_ID_LEN + 1], struct immure_error **err)
{
	struct finding f = { .want = id, .len = strlen(id) };
	int r = f.len && f.len < 4 ? 0 : immure_upper_each(state_dir, find, &f);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, r, "workspace", state_dir, "%s: %s", state_dir, strerror(-r));
	if (f.n == 1) {
		memcpy(ret, f.id, sizeof(f.id));
		return 0;
	}
	if (!f.n)
		(void)immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "workspace", id, "%s%s", id,
				  *id ? ": no copy-on-write workspace of that name is kept" :
					"no copy-on-write workspace is kept");
	else
		(void)immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "workspace", id,
				  "%s%s%zu copy-on-write workspaces are kept: which one?", id, *id ? ": " : "", f.n);
	if (f.n && err && *err)
		immure_error_set_hint(*err, "immure diff --list tells which there are");
	return -IMMURE_ERR_NO_SESSION;
}

/* The real tree: where it was, and the same directory. */
static int32_t open_real(struct immure_changes *c)
{
	IMMURE_CLEANUP_FD int at = immure_mount_open_host(c->plan->workspace);
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0) {
		c->why_not = "the workspace is not there any more";
		return 0;
	}
	if ((uint64_t)st.st_dev != c->meta.dev || (uint64_t)st.st_ino != c->meta.ino) {
		c->why_not = "another directory has taken the workspace's place";
		return 0;
	}
	c->real_fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->real_fd < 0)
		c->why_not = "the workspace cannot be read";
	return 0;
}

int32_t immure_changes_open(const char *state_dir, const char *id, struct immure_changes *ret, struct immure_error **err)
{
	struct immure_changes c = IMMURE_CHANGES_INIT;
	int32_t r = resolve(state_dir, id ? id : "", c.id, err);
	int k = 0;

	if (r < 0)
		return r;
	c.state_dir = state_dir;
	k = immure_upper_open(state_dir, c.id, &c.dir_fd);
	if (k == 0)
		k = immure_upper_meta(c.dir_fd, &c.meta);
	if (k == 0) {
		c.upper_fd = openat(c.dir_fd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		k = c.upper_fd < 0 ? -errno : 0;
	}
	if (k < 0)
		r = immure_fail(err, IMMURE_ERR_IO, k, "workspace", c.id, "%s: cannot be opened: %s", c.id, strerror(-k));
	if (r == 0)
		r = immure_upper_plan(c.dir_fd, &c.plan, err);
	if (r == 0)
		r = open_real(&c);
	if (r == 0) {
		c.guard = immure_guard_new(&c.arena, c.plan);
		k = c.guard ? immure_log_load(&c) : -ENOMEM;
		if (k < 0)
			r = immure_fail(err, IMMURE_ERR_IO, k, "workspace", c.id, "%s: %s", c.id, strerror(-k));
	}
	if (r == 0) {
		k = immure_upper_lock(c.dir_fd);
		c.lock_fd = k < 0 ? -1 : k;
		*ret = c;
	} else {
		immure_changes_done(&c);
	}
	return r;
}

void immure_changes_done(struct immure_changes *c)
{
	immure_close(&c->upper_fd);
	immure_close(&c->real_fd);
	immure_close(&c->lock_fd);
	immure_close(&c->dir_fd);
	immure_plan_destroy(c->plan);
	free(c->v);
	immure_arena_done(&c->arena);
	*c = (struct immure_changes)IMMURE_CHANGES_INIT;
}

/* ---- what lands ---- */

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return n == 0 || (strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

/* As the caller writes it: absolute, or from the workspace. */
static int32_t relative(struct immure_changes *c, const char *path, const char **ret, struct immure_error **err)
{
	char *all = immure_path_join(&c->arena, c->plan->workspace, path);

	if (!all || !immure_path_is_under(all, c->plan->workspace))
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "apply", path, "%s: not in the workspace", path);
	*ret = all + strlen(c->plan->workspace);
	*ret += **ret == '/';
	return 0;
}

/* What stands above a change and is new has to land with it. */
static void select_parents(struct immure_changes *c, const struct immure_change *ch)
{
	char path[IMMURE_CHANGES_PATH + 1];

	(void)snprintf(path, sizeof(path), "%s", ch->path); /* no longer than that */
	for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		struct immure_change *p;

		*slash = '\0';
		p = immure_changes_find(c, path);
		if (p && (p->kind == IMMURE_CHANGE_ADDED || p->kind == IMMURE_CHANGE_REPLACED))
			p->selected = true;
	}
}

static int32_t select_named(struct immure_changes *c, const char *const *paths, struct immure_error **err)
{
	for (; *paths; paths++) {
		const char *top = NULL;
		bool some = false;
		int32_t r = relative(c, *paths, &top, err);

		if (r < 0)
			return r;
		for (size_t i = 0; i < c->n; i++)
			if (is_below(c->v[i].path, top)) {
				c->v[i].selected = some = true;
				select_parents(c, &c->v[i]);
			}
		if (!some)
			return immure_fail(err, IMMURE_ERR_INVALID, ENOENT, "apply", *paths,
					   "%s: nothing was changed there", *paths);
	}
	return 0;
}

static bool is_link_out(const char *why)
{
	return strncmp(why, "a link that leads", 17) == 0;
}

int32_t immure_changes_select(struct immure_changes *c, const char *const *paths, uint32_t flags,
			      struct immure_error **err)
{
	const struct immure_change *first = NULL;
	const char *closed = NULL; /* nothing lands below what does not */
	size_t stays = 0;
	int32_t r = 0;

	for (size_t i = 0; i < c->n; i++) {
		c->v[i].selected = !paths || !paths[0];
		if (flags & IMMURE_APPLY_OVERWRITE)
			c->v[i].conflict = NULL;
		if (flags & IMMURE_APPLY_LINKS && c->v[i].refused && is_link_out(c->v[i].refused))
			c->v[i].refused = NULL;
	}
	if (paths && paths[0])
		r = select_named(c, paths, err);
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		struct immure_change *ch = &c->v[i];
		bool wanted = ch->selected;

		if (closed && !is_below(ch->path, closed))
			closed = NULL;
		ch->selected = wanted && !ch->refused && !ch->conflict && !closed;
		if (!ch->selected && !closed &&
		    (ch->kind == IMMURE_CHANGE_ADDED || ch->kind == IMMURE_CHANGE_REPLACED))
			closed = ch->path;
		if (!wanted || ch->selected)
			continue;
		stays++;
		if (!first)
			first = ch;
	}
	if (r < 0 || !first || flags & IMMURE_APPLY_REST)
		return r;
	(void)immure_fail(err, IMMURE_ERR_STATE, EPERM, "apply", first->path, "%zu change%s may not land, so nothing "
			  "was applied; the first is %s: %s", stays, stays > 1 ? "s" : "", first->path,
			  first->refused ? first->refused : first->conflict);
	if (err && *err)
		immure_error_set_hint(*err, "%s", first->refused ? "--rest applies the others" :
				      "--rest applies the others, --overwrite this one too");
	return -IMMURE_ERR_STATE;
}
