/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for sessions that wait for a workspace, and for what they become. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/pool.h"
#include "plan/fit.h"
#include "policy/build.h"
#include "policy/carry.h"
#include "policy/tighten.h"

static int32_t no_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
}

/* ---- the pool's policy ---- */

int32_t immure_pool_policy_of(const immure_policy *p, struct immure_pool_policy *ret,
			      struct immure_error **err)
{
	struct immure_carried c;
	int32_t r = immure_policy_carry_all(p, "/", NULL, &ret->arena, &c, err);

	if (r < 0)
		return r;
	ret->profile = c.profile;
	ret->settings = c.settings;
	ret->settings_n = c.settings_n;
	return 0;
}

void immure_pool_policy_put(const struct immure_pool_policy *p, struct immure_jsonw *w)
{
	immure_jsonw_array(w, "policy");
	immure_jsonw_str(w, NULL, p->profile);
	for (size_t i = 0; i < p->settings_n; i++) {
		immure_jsonw_str(w, NULL, p->settings[i].key);
		immure_jsonw_str(w, NULL, p->settings[i].value);
	}
	immure_jsonw_end(w, ']');
}

int32_t immure_pool_policy_take(struct immure_link *l, const struct immure_jsonr_value *list,
				struct immure_pool_policy *ret, struct immure_error **err)
{
	if (immure_carried_read(&l->json, list, "the pool's policy", ret, err) == 0)
		return 0;
	return -IMMURE_ERR_IO;
}

int32_t immure_carried_read(const struct immure_jsonr *json, const struct immure_jsonr_value *list,
			    const char *source, struct immure_pool_policy *ret, struct immure_error **err)
{
	const struct immure_jsonr_value *v = immure_jsonr_first(json, list);
	struct immure_arena *a = &ret->arena;
	struct immure_setting *s;
	size_t n = 0, other = 0;

	for (const struct immure_jsonr_value *e = v; e; e = immure_jsonr_after(json, list, e)) {
		n++;
		other += e->type != IMMURE_JSON_STRING;
	}
	s = immure_arena_alloc(a, (n + 1) * sizeof(*s));
	if (!s)
		return no_memory(err);
	if (n % 2 == 0 || other || list->type != IMMURE_JSON_ARRAY)
		return immure_fail(err, IMMURE_ERR_IO, EPROTO, "policy", "", "%s cannot be read", source);
	ret->profile = immure_arena_strdup(a, v->text);
	ret->settings_n = n / 2;
	for (size_t i = 0; i < ret->settings_n; i++) {
		v = immure_jsonr_after(json, list, v);
		s[i].key = immure_arena_strdup(a, v->text);
		v = immure_jsonr_after(json, list, v);
		s[i].value = immure_arena_strdup(a, v->text);
		s[i].source = source;
	}
	ret->settings = s;
	return a->failed ? no_memory(err) : 0;
}

/* ---- made again ---- */

int32_t immure_carried_make(const struct immure_pool_policy *p, const char *workspace,
			    const struct immure_setting *more, size_t more_n, struct immure_policy **ret,
			    struct immure_error **err)
{
	const struct immure_setting at = { "workspace.path", workspace, "(the caller's)" };
	struct immure_policy_build b = { 0 };
	int32_t r = immure_build_begin(&b, err);

	if (r < 0)
		return r;
	r = immure_build_profile(&b, p->profile, err);
	if (r == 0)
		r = immure_build_settings(&b, &at, 1, err);
	if (r == 0)
		r = immure_build_settings(&b, p->settings, p->settings_n, err);
	if (r == 0)
		r = immure_build_settings(&b, more, more_n, err);
	if (r < 0) {
		immure_build_abort(&b);
		return r;
	}
	return immure_build_finish(&b, ret, err);
}

static int32_t plan(const struct immure_policy *policy, const char *const *env, uint32_t flags,
		    const char *cwd, immure_plan **ret, struct immure_error **err)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	struct immure_plan_options o = {
		.size = sizeof(o), .argv = nothing, .env = env, .cwd = cwd, .facts = IMMURE_FACTS_QUICK,
		.flags = flags,
	};
	int32_t r = immure_plan_create_once(policy, &o, ret, err);

	if (r == 0)
		r = immure_plan_check(*ret, err);
	if (r < 0) {
		immure_plan_free(*ret);
		*ret = NULL;
	}
	return r;
}

int32_t immure_pool_plan_base(const struct immure_pool_policy *p, const char *const *env,
			      immure_plan **ret, struct immure_error **err)
{
	struct immure_policy *policy = NULL;
	int32_t r = immure_carried_make(p, "/", NULL, 0, &policy, err);

	if (r == 0)
		r = plan(policy, env, IMMURE_PLAN_NO_WORKSPACE, NULL, ret, err);
	if (r == 0 && strcmp((*ret)->backend, "native") != 0) {
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "backend",
				"backend %s: its sessions cannot wait for a workspace", (*ret)->backend);
		if (err && *err)
			immure_error_set_hint(*err, "name the workspace of all of them: --workspace DIR");
		immure_plan_free(*ret);
		*ret = NULL;
	}
	immure_policy_destroy(policy);
	return r;
}

/* ---- the caller's ---- */

/* Its environment is its own affair, within what the policy passes and sets. */
static int32_t refuse_more(const struct immure_policy *pool, const struct immure_policy *own,
			   struct immure_error **err)
{
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];

		/* So is on whose behalf it asks, where the pool is on nobody's. */
		if (strcmp(k->path, "agent") == 0 && (!pool->agent || !pool->agent[0]))
			continue;
		if (strncmp(k->path, "environment.", 12) == 0 || immure_key_tightens(k, pool, own))
			continue;
		(void)immure_fail(err, IMMURE_ERR_POLICY, 0, "pool", k->path,
				  "%s: more than the pool's policy gives", k->path);
		if (err && *err)
			immure_error_set_hint(*err, "start a pool of that policy, or leave it to the pool");
		return -IMMURE_ERR_POLICY;
	}
	return 0;
}

static int32_t own_policy(const struct immure_pool_policy *p, const struct immure_acquire_options *o,
			  const char *workspace, struct immure_policy **ret, struct immure_error **err)
{
	struct immure_pool_policy own = { .arena = IMMURE_ARENA_INIT };
	int32_t r;

	if (!o->policy)
		return immure_carried_make(p, workspace, o->settings, o->settings_n, ret, err);
	/* In the form that the pool's has, or they could not be compared. */
	r = immure_pool_policy_of(o->policy, &own, err);
	if (r == 0)
		r = immure_carried_make(&own, workspace, o->settings, o->settings_n, ret, err);
	immure_arena_done(&own.arena);
	return r;
}

int32_t immure_pool_plan_for(const struct immure_pool_policy *p, const struct immure_acquire_options *o,
			     immure_plan **ret, struct immure_error **err)
{
	struct immure_policy *pool = NULL, *own = NULL;
	char here[PATH_MAX];
	int32_t r = 0;

	if (!(o->workspace ? realpath(o->workspace, here) : getcwd(here, sizeof(here))))
		return immure_fail(err, IMMURE_ERR_POLICY, errno, "pool", "workspace.path", "%s: %s",
				   o->workspace ? o->workspace : "the working directory", strerror(errno));
	r = own_policy(p, o, here, &own, err);
	if (r == 0 && (o->policy || o->settings_n)) {
		r = immure_carried_make(p, here, NULL, 0, &pool, err);
		if (r == 0)
			r = refuse_more(pool, own, err);
	}
	if (r == 0)
		r = plan(own, o->env, 0, here, ret, err);
	immure_policy_destroy(pool);
	immure_policy_destroy(own);
	return r;
}
