/* SPDX-License-Identifier: Apache-2.0 */
/* The command itself: its arguments, environment and directory. */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"
#include "policy/env.h"

static int32_t arguments(struct immure_compile *b)
{
	const struct immure_strv *own = b->cmd->argv && b->cmd->argv[0] ? NULL :
					immure_compile_image_command(b);
	const char *const *argv = own ? own->v : b->cmd->argv;

	if (!argv || !argv[0] || !argv[0][0])
		return immure_fail(b->err, IMMURE_ERR_INVALID, 0, "plan", "command",
				   "command: empty");
	for (size_t i = 0; argv[i]; i++)
		if (!immure_strv_add(b->a, &b->plan->argv, immure_arena_strdup(b->a, argv[i])))
			return -IMMURE_ERR_NOMEM;
	return 0;
}

static bool has(const struct immure_strv *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			return true;
	return false;
}

static void place(struct immure_compile *b, const char *name, const char *dir)
{
	struct immure_strv *env = &b->plan->env;
	size_t n = strlen(name);
	const char *text = immure_arena_printf(b->a, "%s=%s/%s", name, b->session_dir, dir);

	for (size_t i = 0; text && i < env->n; i++) {
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=') {
			env->v[i] = text;
			return;
		}
	}
	if (text)
		(void)immure_strv_add(b->a, env, text); /* failure stays in the arena */
}

/* What cannot be mounted in its place is named: temporary files, an empty home. */
static void own_places(struct immure_compile *b)
{
	place(b, "TMPDIR", "tmp");
	place(b, "TMP", "tmp");
	place(b, "TEMP", "tmp");
	if (b->p->home == IMMURE_HOME_EMPTY)
		place(b, "HOME", "home");
}

static int32_t environment(struct immure_compile *b)
{
	struct immure_strv env = { 0 };

	if (!immure_env_filter(b->p, b->cmd->env, b->a, &env))
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < env.n; i++) /* the caller's block may go away */
		(void)immure_strv_add(b->a, &b->plan->env, immure_arena_strdup(b->a, env.v[i]));
	immure_compile_image_env(b, &b->plan->env);
	env = b->plan->env;
	/* Programs that find no HOME or PATH make one up; these are the true ones. */
	if (!has(&env, "HOME"))
		(void)immure_strv_add(b->a, &b->plan->env,
				      immure_arena_printf(b->a, "HOME=%s", b->home ? b->home : "/"));
	if (!has(&env, "PATH"))
		(void)immure_strv_add(b->a, &b->plan->env,
				      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
				      "/sbin:/bin");
	if (b->bare)
		own_places(b);
	immure_compile_proxy(b, &env);
	immure_compile_trust_env(b, &env);
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}

/* A path of the host in the workspace, as it is called inside; NULL: it is not there. */
static const char *in_workspace(struct immure_compile *b, const char *path)
{
	const char *there;

	if (strcmp(b->inside, b->workspace) == 0 || !immure_path_is_normal(path) ||
	    !immure_path_is_under(path, b->workspace))
		return NULL;
	if (strcmp(path, b->workspace) == 0)
		return b->inside;
	there = immure_compile_join(b->a, b->inside, path + strlen(b->workspace) + 1);
	return there && immure_compile_visible(b, there) ? there : NULL;
}

static int32_t directory(struct immure_compile *b)
{
	const char *cwd = b->cmd->cwd;

	if (b->cmd->no_workspace) { /* nothing is run by this plan */
		b->plan->cwd = b->workspace;
		return 0;
	}
	if (cwd) {
		const char *path = cwd[0] == '/' ? cwd :
				   immure_compile_join(b->a, b->inside, cwd);

		path = path ? immure_path_normalize(b->a, path) : NULL;
		if (!path)
			return immure_fail(b->err, IMMURE_ERR_INVALID, 0, "plan", "cwd",
					   "cwd: %s: not a path without \"..\"", cwd);
		if (in_workspace(b, path))
			path = in_workspace(b, path);
		if (!immure_compile_visible(b, path))
			return immure_fail(b->err, IMMURE_ERR_INVALID, 0, "plan", "cwd",
					   "cwd: %s: not visible inside", path);
		b->plan->cwd = path;
		return 0;
	}
	if (!b->cmd->argv || !b->cmd->argv[0] || b->p->workspace_mode == IMMURE_WORKSPACE_NONE) {
		b->plan->cwd = immure_compile_image_cwd(b);
		if (b->plan->cwd)
			return 0;
	}
	b->plan->cwd = b->inside;
	cwd = b->f->cwd;
	if (cwd && in_workspace(b, cwd))
		b->plan->cwd = in_workspace(b, cwd);
	else if (b->p->workspace_mode != IMMURE_WORKSPACE_NONE && cwd && strcmp(cwd, b->workspace) != 0 &&
		 immure_path_is_normal(cwd) && immure_compile_visible(b, cwd))
		b->plan->cwd = immure_arena_strdup(b->a, cwd);
	return b->plan->cwd ? 0 : -IMMURE_ERR_NOMEM;
}

int32_t immure_compile_command(struct immure_compile *b)
{
	int32_t r = arguments(b);

	if (r == 0)
		r = environment(b);
	return r < 0 ? r : directory(b);
}
