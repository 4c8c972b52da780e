/* SPDX-License-Identifier: Apache-2.0 */
/* The workspace and the policy's own lists of paths. Everything is decided on
 * the real path: a symlink in a policy means what it leads to. */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static const char KEY_WORKSPACE[] = "workspace.path";
static const char KEY_MOUNTS[] = "files.mounts";

/* Directories of our own state; the policy can neither show nor write them. */
bool immure_compile_is_ours(const struct immure_compile *b, const char *path)
{
	const char *const dirs[] = { b->f->runtime_dir, b->f->state_dir, b->f->config_dir };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		const struct immure_fact_path *s;

		if (!dirs[i])
			continue;
		s = immure_facts_path(b->f, dirs[i]);
		if (immure_path_is_under(path, dirs[i]) ||
		    (s && s->real && immure_path_is_under(path, s->real)))
			return true;
	}
	return false;
}

/* A device is written through the node, whatever its mount says. */
static bool is_device_place(const char *path)
{
	return immure_path_is_under(path, "/dev") && !immure_path_is_under(path, "/dev/shm");
}

static bool is_kernel_place(const char *path)
{
	if (immure_path_is_under(path, "/proc") || immure_path_is_under(path, "/sys"))
		return true;
	return strcmp(path, "/dev") == 0 || strcmp(path, "/dev/pts") == 0 ||
	       strcmp(path, "/dev/shm") == 0;
}

static void add_root(struct immure_compile *b, const char *text, const char *real,
		     const char *key, bool file)
{
	b->roots[b->roots_n++] = (struct immure_root){ text, real, key, file, false };
}

/* By what is known before anything is tried. An identity that is not the caller's could
 * not copy the caller's files. */
bool immure_compile_cow(const struct immure_compile *b)
{
	return b->report && strcmp(b->report->backend, "native") == 0 && b->f->overlay_userns != IMMURE_NO &&
	       *immure_compile_state(b) &&
	       !(b->f->uid == 0 && b->p->identity == IMMURE_IDENTITY_NOBODY);
}

/* Where cow is a gap, what is planned in its stead may not write. */
static int32_t workspace_point(struct immure_compile *b, const char *text, const char *real)
{
	bool cow = b->p->workspace_mode == IMMURE_WORKSPACE_COW && immure_compile_cow(b);
	bool write = b->p->workspace_mode == IMMURE_WORKSPACE_RW || cow;
	struct immure_point *pt;

	if (strcmp(b->inside, real) != 0) {
		int32_t r = immure_compile_target(b, b->inside, 'd', "workspace.target");

		if (r < 0)
			return r;
	}
	if (b->p->workspace_mode == IMMURE_WORKSPACE_SCRATCH) {
		pt = immure_compile_point(b, IMMURE_POINT_TMPFS, IMMURE_RANK_ALLOW, b->inside,
					  "workspace.mode");
		if (pt)
			pt->mode = 0700;
		return pt ? 0 : -IMMURE_ERR_NOMEM;
	}
	if (strcmp(b->inside, real) != 0)
		pt = immure_compile_mount(b, write, real, b->inside, "workspace.target");
	else
		pt = immure_compile_point(b, write ? IMMURE_POINT_WRITE : IMMURE_POINT_READ,
					  IMMURE_RANK_ALLOW, real, "workspace.mode");
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	if (write)
		add_root(b, text, real, "workspace.mode", false);
	if (cow) {
		pt->kind = IMMURE_POINT_COW;
		b->roots[b->roots_n - 1].cow = true;
	}
	return 0;
}

static int32_t workspace(struct immure_compile *b)
{
	const char *text = immure_compile_workspace(b->a, b->p, b->f);
	const struct immure_fact_path *s = text ? immure_facts_path(b->f, text) : NULL;
	enum immure_workspace_mode mode = b->p->workspace_mode;

	if (b->cmd && b->cmd->no_workspace) { /* no command: only places are asked for */
		b->workspace_text = b->workspace = b->inside = "/";
		return 0;
	}
	if (!text && !b->f->cwd && (!b->p->workspace || strcmp(b->p->workspace, ".") == 0)) {
		/* Started in a directory that was deleted: there is nothing to write
		 * in, and the command still has something to start in. */
		b->workspace_text = b->workspace = b->inside = "/";
		return 0;
	}
	if (mode == IMMURE_WORKSPACE_NONE) {
		b->workspace_text = b->workspace = b->inside = "/";
		return 0;
	}
	if (!text) {
		(void)immure_compile_refuse(b, KEY_WORKSPACE, "%s: cannot be made absolute",
					    b->p->workspace);
		immure_compile_hint(b, "name a directory: --workspace DIR");
		return -IMMURE_ERR_POLICY;
	}
	if (!s || !s->real || s->type != 'd')
		return immure_compile_refuse(b, KEY_WORKSPACE, "%s: %s", text,
					   s && s->errnum ? "cannot be examined" :
					   s && s->real ? "not a directory" : "does not exist");
	b->workspace_text = text;
	b->workspace = s->real;
	b->inside = b->p->workspace_target ? b->p->workspace_target : s->real;
	if (is_kernel_place(s->real) || immure_compile_kernels(b, s->real))
		return immure_compile_refuse(b, KEY_WORKSPACE, "%s is the kernel's", s->real);
	if (immure_compile_is_ours(b, s->real))
		return immure_compile_refuse(b, KEY_WORKSPACE, "%s holds this program's own state",
					   s->real);
	if (strcmp(s->real, "/") == 0) {
		if (mode == IMMURE_WORKSPACE_RO && b->p->view == IMMURE_VIEW_HOST)
			return 0;
		(void)immure_compile_refuse(b, KEY_WORKSPACE, "the whole file system cannot be one");
		immure_compile_hint(b, "start in a project's directory, or name one: --workspace DIR");
		return -IMMURE_ERR_POLICY;
	}
	return workspace_point(b, text, s->real);
}

/* A link, or a path through one, must lead somewhere inside too: where the
 * link itself is not shown, its target is bound in its place. tree.c drops
 * what is visible already. */
void immure_compile_also_at(struct immure_compile *b, const struct immure_fact_path *s,
			    const struct immure_point *pt)
{
	const char *slash = strrchr(s->path, '/');
	const char *places[2] = { s->path, NULL };

	if (slash != s->path) {
		const char *dir = immure_arena_strndup(b->a, s->path, (size_t)(slash - s->path));
		const struct immure_fact_path *d = dir ? immure_facts_path(b->f, dir) : NULL;

		if (d && d->real && d->type == 'd')
			places[1] = immure_compile_join(b->a, d->real, slash + 1);
	}
	for (size_t i = 0; i < 2; i++) {
		struct immure_point *alias;

		if (!places[i] || strcmp(places[i], s->real) == 0 ||
		    (i == 1 && strcmp(places[1], places[0]) == 0))
			continue;
		alias = immure_compile_point(b, pt->kind, IMMURE_RANK_ALLOW, places[i], pt->key);
		if (!alias)
			return;
		alias->src = s->real;
		alias->file = s->type != 'd';
		alias->socket = pt->socket;
	}
}

/* A program's own state, before its first start: the supervisor makes the directory
 * that the program would make. */
static int32_t make_missing(struct immure_compile *b, const char *path, const char *key)
{
	const char *slash = strrchr(path, '/');
	const char *dir = slash == path ? "/" : immure_arena_strndup(b->a, path, (size_t)(slash - path));
	const struct immure_fact_path *d = dir ? immure_facts_path(b->f, dir) : NULL;
	const struct immure_fact_path *s = immure_facts_path(b->f, path);
	struct immure_point *pt;
	const char *real;

	/* A link that leads nowhere stays one. */
	if (!d || !d->real || d->type != 'd' || (s && s->link))
		return 0;
	real = immure_compile_join(b->a, d->real, slash + 1);
	if (!real || immure_compile_is_ours(b, real))
		return real ? 0 : -IMMURE_ERR_NOMEM;
	if (!immure_compile_op(b, IMMURE_OP_OWN_DIR, NULL, real, key))
		return -IMMURE_ERR_NOMEM;
	pt = immure_compile_point(b, IMMURE_POINT_WRITE, IMMURE_RANK_ALLOW, real, key);
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	add_root(b, path, real, key, false);
	return 0;
}

/* Whose content others may have written: text is a name of that directory, real where it is. */
static bool leads_out_of(const struct immure_compile *b, const char *text, const char *real,
			 const struct immure_fact_path *s, const char *dir)
{
	const struct immure_fact_path *d = immure_facts_path(b->f, dir);
	bool named_in = immure_path_is_under(dir, text) || immure_path_is_under(dir, real) ||
			(d && d->real && immure_path_is_under(d->real, real));

	return strcmp(real, "/") != 0 && named_in && !immure_path_is_under(s->real, real);
}

/* A link that the workspace has, or what else commands may write, and that leads out of it. */
static bool is_planted(const struct immure_compile *b, const struct immure_fact_path *s, const char *dir)
{
	if (leads_out_of(b, b->workspace_text, b->workspace, s, dir))
		return true;
	for (size_t i = 0; i < b->p->write.n; i++) {
		const char *path = immure_compile_path(b->a, b->p, b->f, b->p->write.v[i]);
		const struct immure_fact_path *w = path ? immure_facts_path(b->f, path) : NULL;

		if (w && w->real && leads_out_of(b, w->path, w->real, s, dir))
			return true;
	}
	return false;
}

int32_t immure_compile_no_escape(struct immure_compile *b, const struct immure_fact_path *s, const char *key)
{
	const char *slash = strrchr(s->path, '/');
	const char *dir = slash == s->path ? "/" :
			  immure_arena_strndup(b->a, s->path, (size_t)(slash - s->path));

	if (b->p->links == IMMURE_LINKS_FOLLOW || strcmp(s->path, s->real) == 0)
		return 0;
	if (dir && (b->p->links == IMMURE_LINKS_FOLLOW_TRUSTED ? !is_planted(b, s, dir) :
								 immure_path_is_under(s->real, dir)))
		return 0;
	(void)immure_compile_refuse(b, key, "%s leads out to %s", s->path, s->real);
	immure_compile_hint(b, "name what it leads to, or files.links: follow");
	return -IMMURE_ERR_POLICY;
}

static int32_t allow(struct immure_compile *b, const char *text, bool write, const char *key)
{
	const char *path = immure_compile_path(b->a, b->p, b->f, text);
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;
	struct immure_point *pt, copy;

	if (immure_compile_awaits(b, text))
		return 0;
	if (!path || !s)
		return immure_compile_refuse(b, key, "%s: %s", text, path ? "was not examined" :
					   "cannot be made absolute");
	if (s->errnum)
		return immure_compile_refuse(b, key, "%s: cannot be examined", path);
	if (!s->real) {
		if (!write)
			return 0; /* nothing to show; it cannot appear inside later */
		if (text[0] == '?')
			return text[strlen(text) - 1] == '/' ? make_missing(b, path, key) : 0;
		(void)immure_compile_refuse(b, key, "%s: does not exist", path);
		immure_compile_hint(b, "create it first, or take it out of files.write");
		return -IMMURE_ERR_POLICY;
	}
	if (is_kernel_place(s->real) ? write || immure_path_is_under(s->real, "/proc") ||
					       immure_compile_sys_masked(s->real)
				     : immure_compile_kernels(b, s->real))
		return immure_compile_refuse(b, key, "%s is the kernel's", s->real);
	if (!write && is_device_place(s->real)) {
		(void)immure_compile_refuse(b, key, "%s: devices cannot be shown read-only",
					    s->real);
		immure_compile_hint(b, "files.write gives them whole");
		return -IMMURE_ERR_POLICY;
	}
	if (strcmp(s->real, "/") == 0) {
		if (!write && b->p->view == IMMURE_VIEW_HOST)
			return 0;
		(void)immure_compile_refuse(b, key, "the whole file system cannot be named");
		immure_compile_hint(b, write ? "name the directories to be written" :
				  "files.view: \"host\" shows it");
		return -IMMURE_ERR_POLICY;
	}
	if (immure_compile_is_ours(b, s->real))
		return immure_compile_refuse(b, key, "%s holds this program's own state", s->real);
	if (immure_compile_no_escape(b, s, key) < 0)
		return -IMMURE_ERR_POLICY;
	pt = immure_compile_point(b, write ? IMMURE_POINT_WRITE : IMMURE_POINT_READ,
				IMMURE_RANK_ALLOW, s->real, key);
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->file = s->type != 'd';
	copy = *pt; /* adding moves the array */
	if (strcmp(s->path, s->real) != 0)
		immure_compile_also_at(b, s, &copy);
	if (write)
		add_root(b, s->path, s->real, key, s->type != 'd');
	return 0;
}

/* A place that is not there, or cannot be looked at, is nothing to show. */
static int32_t preset(struct immure_compile *b, const char *text)
{
	const char *path = immure_compile_path(b->a, b->p, b->f, text);
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;

	return s && s->real && !s->errnum ? allow(b, text, false, "files.presets") : 0;
}

/* What is true of any source, whatever may be done with it. */
static int32_t source(struct immure_compile *b, const char *text, const char *key,
		      const struct immure_fact_path **ret)
{
	const char *path = immure_compile_path(b->a, b->p, b->f, text);
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;

	if (!path || !s || s->errnum || !s->real)
		return immure_compile_refuse(b, key, "%s: %s", path ? path : text,
					     !path ? "cannot be made absolute" :
					     !s	   ? "was not examined" :
					     s->errnum ? "cannot be examined" : "does not exist");
	if (is_kernel_place(s->real) || is_device_place(s->real) || immure_compile_kernels(b, s->real))
		return immure_compile_refuse(b, key, "%s is the kernel's", s->real);
	if (strcmp(s->real, "/") == 0)
		return immure_compile_refuse(b, key, "the whole file system cannot be named");
	if (immure_compile_is_ours(b, s->real))
		return immure_compile_refuse(b, key, "%s holds this program's own state", s->real);
	*ret = s;
	return immure_compile_no_escape(b, s, key);
}

static int32_t mount(struct immure_compile *b, const char *text)
{
	const struct immure_fact_path *s;
	struct immure_mount_parts m;
	struct immure_point *pt;
	int32_t r;

	immure_compile_mount_parts(b->a, text, &m);
	if (!m.source || !m.target)
		return -IMMURE_ERR_NOMEM;
	if (immure_compile_awaits(b, m.source))
		return 0;
	r = source(b, m.source, KEY_MOUNTS, &s);
	if (r == 0)
		r = immure_compile_target(b, m.target, s->type, KEY_MOUNTS);
	if (r < 0)
		return r;
	pt = immure_compile_mount(b, m.rw, s->real, m.target, KEY_MOUNTS);
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->file = s->type != 'd';
	if (m.rw)
		add_root(b, s->path, s->real, KEY_MOUNTS, s->type != 'd');
	return 0;
}

int32_t immure_compile_files(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	int32_t r;

	b->roots = immure_arena_alloc(b->a, (p->write.n + p->mounts.n + 1) * sizeof(*b->roots));
	if (!b->roots)
		return -IMMURE_ERR_NOMEM;
	r = workspace(b);
	for (size_t i = 0; r == 0 && i < p->read.n; i++)
		r = allow(b, p->read.v[i], false, "files.read");
	for (size_t i = 0; r == 0 && i < p->write.n; i++)
		r = allow(b, p->write.v[i], true, "files.write");
	for (size_t i = 0; r == 0 && p->presets.n && i < immure_presets_n; i++)
		if (immure_strv_has(&p->presets, immure_presets[i].name))
			r = preset(b, immure_presets[i].path);
	for (size_t i = 0; r == 0 && i < p->mounts.n; i++)
		r = mount(b, p->mounts.v[i]);
	return r;
}
