/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths of the host the planner must know about. Each costs the facts a
 * system call or two, so what the view hides anyway is not asked for; what was
 * not asked is planned for as if it might be there. */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

struct ask {
	const struct immure_policy *p;
	const struct immure_facts *f;
	struct immure_arena *a;
	struct immure_strv *out;
	const char *last_dir; /* ancestors of neighbours in a table are mostly the same */
};

static void add(struct ask *q, const char *path)
{
	if (path)
		(void)immure_strv_add(q->a, q->out, path); /* failure stays in the arena */
}

static const char *slash_of(const char *path)
{
	const char *s = strrchr(path, '/');

	return s && s != path ? s : NULL;
}

/* parents: also the directory each stands in, to find a link's own place. */
static void add_list(struct ask *q, const struct immure_strv *l, bool parents)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *path = immure_compile_path(q->a, q->p, q->f, l->v[i]);
		const char *s = path ? slash_of(path) : NULL;

		add(q, path);
		if (parents && s)
			add(q, immure_arena_strndup(q->a, path, (size_t)(s - path)));
	}
}

static void add_lent(struct ask *q)
{
	for (size_t i = 0; i < q->p->sockets.n; i++) {
		const char *path = immure_compile_socket(q->a, q->p, q->f, q->p->sockets.v[i]);
		const char *s = path ? slash_of(path) : NULL;

		add(q, path);
		if (s)
			add(q, immure_arena_strndup(q->a, path, (size_t)(s - path)));
	}
}

/* Every ancestor below dir is asked as well: one that is a link or a file
 * decides where the entry really is. */
static void add_below(struct ask *q, const char *dir, const char *sub)
{
	const char *path = immure_compile_join(q->a, dir, sub);
	const char *first, *s;

	if (!path)
		return;
	add(q, path);
	first = path + (strcmp(dir, "/") == 0 ? 0 : strlen(dir));
	s = slash_of(path);
	if (!s || s <= first)
		return;
	if (q->last_dir && strncmp(q->last_dir, path, (size_t)(s - path)) == 0 &&
	    q->last_dir[s - path] == '\0')
		return;
	q->last_dir = immure_arena_strndup(q->a, path, (size_t)(s - path));
	for (; s && s > first; s = memrchr(path, '/', (size_t)(s - path)))
		add(q, immure_arena_strndup(q->a, path, (size_t)(s - path)));
}

static void add_protected(struct ask *q, const char *dir)
{
	add_below(q, dir, ".immure");
	if (!q->p->protected_table)
		return;
	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *e = &immure_protected_paths[i];

		const char *sub;

		if (e->build || strchr(e->path, '*'))
			continue;
		if (!immure_facts_lacks(q->f, dir, e->path))
			add_below(q, dir, e->path);
		sub = immure_compile_in_home(q->f->home, dir, e->path);
		if (sub && !immure_facts_lacks(q->f, dir, sub))
			add_below(q, dir, sub);
	}
}

/* A protected path, with what lies between it and the workspace. */
static void add_named(struct ask *q, const char *workspace, const char *path)
{
	if (path && workspace && immure_path_is_under(path, workspace) &&
	    strcmp(path, workspace) != 0 && strcmp(workspace, "/") != 0)
		add_below(q, workspace, path + strlen(workspace) + 1);
	else if (path && immure_path_is_normal(path))
		add(q, path);
}

/* The same, with all that lies above it: it may be in any writable place. */
static void add_protected_path(struct ask *q, const char *workspace, const char *path)
{
	if (path && immure_path_is_normal(path) && strcmp(path, "/") != 0 &&
	    !(workspace && immure_path_is_under(path, workspace)))
		add_below(q, "/", path + 1);
	else
		add_named(q, workspace, path);
}

/* The policy's allowed paths, made absolute once. */
static void add_allowed(struct ask *q, struct immure_strv *to, const struct immure_strv *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *path = immure_compile_path(q->a, q->p, q->f, l->v[i]);

		if (path)
			(void)immure_strv_add(q->a, to, path);
	}
}

/* Could be seen: it lies in something that is shown, or the other way round. */
static bool touches(const struct immure_strv *shown, const char *path)
{
	for (size_t i = 0; i < shown->n; i++)
		if (immure_path_is_under(path, shown->v[i]) ||
		    immure_path_is_under(shown->v[i], path))
			return true;
	return false;
}

static void add_sensitive(struct ask *q, const char *workspace)
{
	const struct immure_policy *p = q->p;
	struct immure_strv shown = { 0 };
	const char *home = q->f->home;
	bool all = p->view == IMMURE_VIEW_HOST, homes = p->home == IMMURE_HOME_HOST;

	if (!all || !homes) {
		if (workspace)
			(void)immure_strv_add(q->a, &shown, workspace);
		add_allowed(q, &shown, &p->read);
		add_allowed(q, &shown, &p->write);
		for (size_t i = 0; p->presets.n && i < immure_presets_n; i++)
			if (immure_strv_has(&p->presets, immure_presets[i].name))
				add_allowed(q, &shown, &(struct immure_strv){
					.v = (const char *[]){ immure_presets[i].path }, .n = 1 });
		for (size_t i = 0; i < p->mounts.n; i++) {
			struct immure_mount_parts m;

			immure_compile_mount_parts(q->a, p->mounts.v[i], &m);
			if (m.source)
				add_allowed(q, &shown, &(struct immure_strv){ .v = &m.source, .n = 1 });
		}
		add_allowed(q, &shown, &p->sockets); /* the agent's is no directory */
	}
	for (size_t i = 0; i < immure_sensitive_paths_n; i++) {
		const char *path = immure_sensitive_paths[i].path;

		if (path[0] == '~') {
			path = home ? immure_compile_join(q->a, home, path + 2) : NULL;
			if (path && (homes || touches(&shown, path)))
				add(q, path);
		} else if (all || touches(&shown, path)) {
			add(q, path);
		}
	}
}

static void add_sockets(struct ask *q)
{
	for (size_t i = 0; i < q->f->sockets.n; i++) {
		const char *path = q->f->sockets.v[i];

		if (immure_path_is_normal(path) && !immure_path_is_under(path, "/proc") &&
		    !immure_compile_vanishes(q->p, path))
			add(q, path);
	}
}

static void add_mounts(struct ask *q)
{
	for (size_t i = 0; i < q->p->mounts.n; i++) {
		struct immure_mount_parts m;

		immure_compile_mount_parts(q->a, q->p->mounts.v[i], &m);
		if (!m.source || !m.target)
			return;
		add_list(q, &(struct immure_strv){ .v = &m.source, .n = 1 }, true);
		add_below(q, "/", m.target + 1);
		if (m.rw)
			add_protected(q, immure_compile_path(q->a, q->p, q->f, m.source));
	}
	if (q->p->workspace_target)
		add_below(q, "/", q->p->workspace_target + 1);
	if (q->p->workspace_target || q->p->mounts.n)
		add(q, "/");
}

/* A denial of a path inside is one of the host's path that stands there. */
static void add_outside(struct ask *q, const char *workspace)
{
	const struct immure_strv *lists[] = { &q->p->deny, &q->p->protect };

	for (size_t l = 0; l < 2; l++)
		for (size_t i = 0; i < lists[l]->n; i++) {
			const char *path = immure_compile_path(q->a, q->p, q->f, lists[l]->v[i]);

			path = path ? immure_compile_outside(q->a, q->p, q->f, path) : NULL;
			if (path && l == 0)
				add(q, path);
			else if (path)
				add_protected_path(q, workspace, path);
		}
}

const char *immure_plan_names(const struct immure_policy *p, const struct immure_facts *f,
			      struct immure_arena *a)
{
	const char *workspace = immure_compile_workspace(a, p, f);
	bool wanted = p->protected_table && immure_policy_changes_workspace(p);

	return wanted && workspace && immure_path_is_normal(workspace) ? workspace : NULL;
}

int32_t immure_plan_interest(const struct immure_policy *p, const struct immure_facts *f,
			     struct immure_arena *a, struct immure_strv *ret,
			     struct immure_error **err)
{
	struct immure_strv out = { 0 };
	struct ask q = { .p = p, .f = f, .a = a, .out = &out };
	const char *workspace = immure_compile_workspace(a, p, f);

	add(&q, workspace);
	if (workspace && strcmp(workspace, "/") == 0)
		workspace = NULL; /* none, or nothing that can be written in */
	add(&q, f->home);
	add(&q, f->runtime_dir);
	add(&q, f->state_dir);
	add(&q, f->config_dir);
	add_list(&q, &p->read, true);
	add_list(&q, &p->write, true);
	for (size_t i = 0; p->presets.n && i < immure_presets_n; i++)
		if (immure_strv_has(&p->presets, immure_presets[i].name))
			add_list(&q, &(struct immure_strv){
				.v = (const char *[]){ immure_presets[i].path }, .n = 1 }, true);
	add_list(&q, &p->deny, false);
	add_list(&q, &p->tmp, false);
	add_lent(&q);
	if (p->view == IMMURE_VIEW_SYSTEM) {
		for (size_t i = 0; immure_system_dirs[i]; i++)
			add(&q, immure_system_dirs[i]);
		for (size_t i = 0; immure_system_etc[i]; i++)
			add(&q, immure_system_etc[i]);
		add(&q, "/etc/hosts");
	} else {
		add(&q, "/run");
		add(&q, "/sys");
	}
	if (p->network != IMMURE_NETWORK_NONE)
		add(&q, "/etc/resolv.conf");
	if (p->network == IMMURE_NETWORK_LIMITED) {
		add(&q, "/etc/hosts");
		add(&q, "/etc/nsswitch.conf");
	}
	for (const char *const *s = immure_plan_bundles(); immure_plan_intercepts(p, a) && *s; s++)
		add(&q, *s);
	if (p->sensitive)
		add_sensitive(&q, workspace);
	for (size_t i = 0; i < p->protect.n; i++)
		add_protected_path(&q, workspace, immure_compile_path(a, p, f, p->protect.v[i]));
	for (size_t i = 0; i < p->files.n; i++)
		add_named(&q, workspace, p->files.v[i]);
	if (workspace && immure_policy_changes_workspace(p))
		add_protected(&q, workspace);
	for (size_t i = 0; i < p->write.n; i++) {
		const char *path = immure_compile_path(a, p, f, p->write.v[i]);

		if (path)
			add_protected(&q, path);
	}
	add_mounts(&q);
	add_outside(&q, workspace);
	add_sockets(&q);
	immure_compile_ask_execute(p, f, a, &out);
	if (p->journal)
		add(&q, immure_compile_path(a, p, f, p->journal));
	if (p->mediator) {
		const char *path = strchr(p->mediator, ':') + 1;

		add_list(&q, &(struct immure_strv){ .v = &path, .n = 1 }, true);
	}
	if (p->syscalls && p->syscalls[0] == '/')
		add(&q, p->syscalls);
	if (a->failed)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "",
				   "plan: out of memory");
	*ret = out;
	return 0;
}
