/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the layers:
 *
 *   a built-in profile      --profile, else what the files below extend, else dev
 *   the user's own file     or the explicit one (--policy, IMMURE_POLICY), which
 *                           then is the only file
 *   the workspace's file    what it extends first, then itself; may only take
 *                           away from the layers below, unless the user has
 *                           trusted exactly this content
 *   the caller's settings   flags
 */
#include "policy/load.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "policy/tighten.h"
#include "policy/trust.h"

static const char *env_get(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			/* set to nothing counts as not set, as for XDG's variables */
			return (*env)[n + 1] ? *env + n + 1 : NULL;
	return NULL;
}

void immure_policy_find_places(struct immure_arena *a, const char *const *env,
			       struct immure_policy_places *ret)
{
	const char *home = env_get(env, "HOME"), *xdg = env_get(env, "XDG_CONFIG_HOME");
	const char *state = env_get(env, "XDG_STATE_HOME");
	struct immure_policy_places p = { .explicit_env = env_get(env, "IMMURE_POLICY") };

	/* A relative directory in these is to be ignored (XDG base directories). */
	if (home && home[0] == '/')
		p.home = home;
	if (xdg && xdg[0] == '/') {
		p.config_tree = xdg;
		p.config_rel = "immure/policy.json";
	} else if (p.home) {
		p.config_tree = p.home;
		p.config_rel = ".config/immure/policy.json";
	}
	if (state && state[0] == '/')
		p.state_dir = immure_arena_printf(a, "%s/immure", state);
	else if (p.home)
		p.state_dir = immure_arena_printf(a, "%s/.local/state/immure", p.home);
	*ret = p;
}

struct sources {
	struct immure_policy_chain user;      /* explicit or the user's own */
	struct immure_policy_chain workspace;
	bool trusted;
};

static void sources_done(struct sources *s)
{
	immure_policy_chain_done(&s->user);
	immure_policy_chain_done(&s->workspace);
}

/* The workspace's chain is trusted when every file of it is: what an extended
 * file says can loosen just as well. */
static int32_t check_trust(struct sources *s, const struct immure_policy_places *places,
			   struct immure_error **err)
{
	s->trusted = true;
	for (size_t i = 0; i < s->workspace.n && s->trusted; i++) {
		const struct immure_policy_link *l = &s->workspace.links[i];
		int32_t r = immure_trust_has(places->state_dir, l->opened.digest, l->path, &s->trusted,
					     err);

		if (r < 0)
			return r;
	}
	return 0;
}

static const char *workspace_of(const struct immure_policy_options *o)
{
	const char *ret = o->workspace;

	for (size_t i = 0; !o->workspace && i < o->settings_n; i++)
		if (o->settings[i].key && strcmp(o->settings[i].key, "workspace.path") == 0)
			ret = o->settings[i].value;
	return ret;
}

static int32_t discover(const struct immure_policy_options *o,
			const struct immure_policy_places *places, struct sources *s,
			struct immure_error **err)
{
	bool none = o->flags & IMMURE_POLICY_NO_DISCOVERY;
	int32_t r;

	if (o->file)
		return immure_policy_chain_open(o->file, places->home, &s->user, err);
	if (none)
		return 0;
	if (places->explicit_env)
		return immure_policy_chain_open(places->explicit_env, places->home, &s->user, err);
	r = immure_policy_find_workspace(workspace_of(o), places->home, &s->workspace, err);
	if (r < 0)
		return r;
	if (!places->config_tree)
		return 0;
	r = immure_policy_chain_find(places->config_tree, places->config_rel, places->home, &s->user,
				     err);
	return r < 0 ? r : 0;
}

static int32_t build_base(struct immure_policy_build *b, const struct immure_policy_options *o,
			  const struct sources *s, struct immure_error **err)
{
	const char *profile = o->profile;
	int32_t r = immure_build_begin(b, err);

	if (r < 0)
		return r;
	if (!profile)
		profile = s->user.profile;
	r = immure_build_profile(b, profile ? profile : "dev", err);
	if (r == 0)
		r = immure_policy_chain_apply(&s->user, b, err);
	return r;
}

static int32_t refuse_loosening(const struct immure_policy_build *b, const struct sources *s,
				const struct immure_key *k, struct immure_error **err)
{
	const char *file = s->workspace.links[0].path;
	int32_t r = immure_fail(err, IMMURE_ERR_TRUST, 0, "policy", k->path,
				"%s: %s gives more than %s does, and this file is not trusted", file,
				k->path, b->p->sources[k - immure_keys]);

	if (err)
		immure_error_set_hint(*err, "read it, then run: immure policy trust %s", file);
	return r;
}

/* Builds without and with the workspace's layers, and compares. */
static int32_t add_workspace(struct immure_policy_build *b, const struct immure_policy_options *o,
			     const struct sources *s, struct immure_error **err)
{
	struct immure_policy_build below = { 0 };
	const struct immure_key *loosened;
	int32_t r = 0;

	if (s->workspace.n == 0)
		return 0;
	if (s->workspace.profile && !o->profile)
		r = immure_build_profile(b, s->workspace.profile, err);
	if (r == 0)
		r = immure_policy_chain_apply(&s->workspace, b, err);
	if (r < 0 || s->trusted)
		return r;
	r = build_base(&below, o, s, err);
	if (r == 0) {
		loosened = immure_policy_loosened(below.p, b->p);
		if (loosened)
			r = refuse_loosening(&below, s, loosened, err);
	}
	immure_build_abort(&below);
	return r;
}

/* --workspace may be any path a shell takes; a policy's own paths have no "..". */
static int32_t set_workspace(struct immure_policy_build *b, const char *workspace,
			     struct immure_error **err)
{
	struct immure_setting s = { "workspace.path", workspace, "--workspace" };
	char real[PATH_MAX];

	if (!workspace)
		return 0;
	if (strstr(workspace, "..") && realpath(workspace, real))
		s.value = real;
	return immure_build_settings(b, &s, 1, err);
}

/* A plan protects the files that it came from. */
static bool note_files(struct immure_policy *p, const struct sources *s)
{
	const struct immure_policy_chain *const chains[] = { &s->user, &s->workspace };

	for (size_t c = 0; c < 2; c++)
		for (size_t i = 0; i < chains[c]->n; i++)
			if (!immure_strv_add(&p->arena, &p->files,
					     immure_arena_strdup(&p->arena,
								 chains[c]->links[i].path)))
				return false;
	return true;
}

int32_t immure_policy_load_all(const struct immure_policy_options *o, struct immure_policy **ret,
			       struct immure_error **err)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_policy_places places = { 0 };
	struct sources s = { .trusted = false };
	struct immure_policy_build b = { 0 };
	int32_t r = 0;

	immure_policy_find_places(&a, o->env, &places);
	if (a.failed)
		r = immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	if (r == 0)
		r = discover(o, &places, &s, err);
	if (r == 0 && s.workspace.n)
		r = check_trust(&s, &places, err);
	if (r == 0)
		r = build_base(&b, o, &s, err);
	if (r == 0)
		r = add_workspace(&b, o, &s, err);
	if (r == 0)
		r = set_workspace(&b, o->workspace, err);
	if (r == 0)
		r = immure_build_settings(&b, o->settings, o->settings_n, err);
	if (r == 0 && !note_files(b.p, &s))
		r = immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	if (r == 0)
		r = immure_build_finish(&b, ret, err);
	else
		immure_build_abort(&b);
	sources_done(&s);
	immure_arena_done(&a);
	return r;
}
