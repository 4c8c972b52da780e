/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that begin with the files of another one: of a snapshot, or of a session as it is now.
 *
 * Nothing of the old one's plan is used. Its policy is planned anew, so that what the host has to
 * hide since is hidden, on the profile as it is now; what was tightened while it lived is
 * tightened again, and what was allowed beyond the policy is not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/facts.h"
#include "lib/options.h"
#include "lib/pool.h"
#include "lib/snapshot.h"
#include "plan/plan.h"
#include "policy/build.h"

enum { VALUES = 32768, FORKS = 256 };

static int32_t no_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "resume", "", "out of memory");
}

static int32_t damaged(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_SNAPSHOT, EBADMSG, "resume", "", "invalid_snapshot: what is said of it cannot "
			   "be read");
}

/* ---- the plan ---- */

static bool sets(const struct immure_resume_options *o, const char *key)
{
	for (uint64_t i = 0; i < o->settings_n; i++)
		if (strcmp(o->settings[i].key, key) == 0)
			return true;
	return false;
}

/* A rule that is asked for now, and would not be in force, is refused and not dropped. What the
 * snapshot's policy has besides, and was taken away from its session, just stays away. */
static int32_t asks_no_more(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			    const struct immure_resume_options *o, const struct immure_pool_policy *carried,
			    const char *workspace, const struct immure_policy *made, struct immure_error **err)
{
	bool set = sets(o, "network.allow");
	struct immure_policy *before = NULL;
	int32_t r;

	if (!set && !sets(o, "+network.allow"))
		return 0;
	r = immure_carried_make(carried, workspace, NULL, 0, &before, err);
	for (size_t i = 0; r == 0 && i < made->net_allow.n; i++) {
		const char *rule = made->net_allow.v[i];

		if (immure_said_allowed(json, about, rule) || (!set && immure_strv_has(&before->net_allow, rule)))
			continue;
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "resume", "network.allow", "%s: not allowed in the snapshot's "
				"session when it was taken", rule);
		if (err && *err)
			immure_error_set_hint(*err, "name a policy of your own: --policy or --profile");
	}
	immure_policy_destroy(before);
	return r;
}

static int32_t own_policy(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			  const struct immure_resume_options *o, struct immure_policy **ret, struct immure_error **err)
{
	struct immure_pool_policy carried = { .arena = IMMURE_ARENA_INIT };
	const struct immure_jsonr_value *list = immure_jsonr_get(json, about, "policy");
	const char *workspace = immure_jsonr_text(json, about, "workspace");
	int32_t r = list && workspace ? immure_carried_read(json, list, "the snapshot's policy", &carried, err)
				      : damaged(err);

	if (r == 0)
		r = immure_carried_make(&carried, workspace, o->settings, o->settings_n, ret, err);
	if (r == 0)
		r = asks_no_more(json, about, o, &carried, workspace, *ret, err);
	immure_arena_done(&carried.arena);
	return r;
}

int32_t immure_resume_plan(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			   const struct immure_resume_options *o, immure_plan **ret, struct immure_error **err)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	struct immure_plan_options how = {
		.size = sizeof(how), .argv = nothing, .env = o->session ? o->session->env : NULL,
		.cwd = immure_jsonr_text(json, about, "cwd"), .facts = IMMURE_FACTS_QUICK,
	};
	struct immure_policy *made = NULL;
	int32_t r = o->policy ? 0 : own_policy(json, about, o, &made, err);

	if (r == 0)
		r = immure_plan_create(o->policy ? o->policy : made, &how, ret, err);
	if (r == 0)
		r = immure_plan_startable(*ret, err);
	immure_policy_destroy(made);
	return r;
}

/* ---- what was tightened ---- */

static int32_t tighten(immure_session *s, const struct immure_jsonr *json, const struct immure_jsonr_value *about,
		       struct immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *answer = NULL;
	int32_t r = immure_said_tightened(json, about, &b, err);

	if (r == 0 && b.len)
		r = immure_session_request(s, "tighten", b.data, &answer, err);
	free(answer);
	immure_buf_done(&b);
	return r;
}

/* Only where the policy is the old one: another says by itself what it allows. */
static int32_t narrowing(immure_session *s, const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			 struct immure_buf *ret, struct immure_error **err)
{
	const struct immure_jsonr_value *old = immure_jsonr_get(json, about, "network");
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	struct immure_jsonr now;
	char *answer = NULL;
	const char *mode;
	int32_t r = 0;

	if (!v)
		r = no_memory(err);
	else if (old && old->type == IMMURE_JSON_OBJECT)
		r = immure_session_request(s, "net", "{}", &answer, err);
	if (r == 0 && answer && immure_jsonr_parse(&now, answer, strlen(answer), v, VALUES) < 0)
		r = damaged(err);
	mode = r == 0 && answer ? immure_jsonr_text(&now, v, "mode") : NULL;
	if (r == 0 && answer && immure_jsonr_get(&now, v, "network"))
		r = immure_said_narrowed(json, old, &now, immure_jsonr_get(&now, v, "network"), ret, err);
	else if (r == 0 && answer && (!mode || strcmp(mode, "none") != 0))
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "resume", "network.mode", "the snapshot's session had rules for "
				"its network, which would not be in force: name a policy of your own");
	free(answer);
	free(v);
	return r;
}

static int32_t narrow(immure_session *s, const struct immure_jsonr *json, const struct immure_jsonr_value *about,
		      struct immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *answer = NULL;
	int32_t r = narrowing(s, json, about, &b, err);

	if (r == 0 && b.len)
		r = immure_session_request(s, "net", b.data, &answer, err);
	free(answer);
	immure_buf_done(&b);
	return r;
}

int32_t immure_resume_orders(const immure_plan *plan, const struct immure_session_options *o, int files_fd,
			     const struct immure_jsonr *json, const struct immure_jsonr_value *about, bool own,
			     struct immure_buf ret[2], struct immure_error **err)
{
	immure_session *s = NULL;
	int32_t r = immure_said_tightened(json, about, &ret[0], err);

	if (r == 0)
		r = immure_session_make(plan, o, files_fd, &s, err);
	if (r == 0 && own)
		r = narrowing(s, json, about, &ret[1], err);
	if (s)
		(void)immure_session_stop(s, 0, IMMURE_SESSION_REMOVE, NULL); /* its maker lets go of it */
	immure_session_free(s);
	return r;
}

/* ---- sessions ---- */

static int32_t make(const immure_plan *plan, const struct immure_session_options *o, int files_fd,
		    const struct immure_jsonr *json, const struct immure_jsonr_value *about, bool own, immure_session **ret,
		    struct immure_error **err)
{
	immure_session *s = NULL;
	int32_t r = immure_session_make(plan, o, files_fd, &s, err);

	if (r < 0)
		return r;
	r = tighten(s, json, about, err);
	if (r == 0 && own)
		r = narrow(s, json, about, err);
	if (r < 0) { /* nobody gets more than there was */
		(void)immure_session_stop(s, 0, IMMURE_SESSION_REMOVE, NULL);
		immure_session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int32_t take_options(const struct immure_resume_options *options, struct immure_resume_options *ret,
			    struct immure_session_options *session, struct immure_error **err)
{
	int32_t r = immure_options_copy(ret, sizeof(*ret), options, "resume", err);

	if (r == 0 && ret->session)
		r = immure_session_options_take(session, ret->session, err);
	else
		*session = (struct immure_session_options){ .size = sizeof(*session) };
	ret->session = session;
	if (r == 0 && ret->policy && ret->settings_n)
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "resume", "settings", "settings are on top of the snapshot's own "
				"policy: name them, or another policy");
	return r;
}

int32_t immure_session_resume(const char *snapshot, const struct immure_resume_options *options, immure_session **ret,
			      immure_error **err)
{
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	struct immure_resume_options o;
	struct immure_session_options session;
	const struct immure_jsonr_value *about;
	struct immure_facts *places = NULL;
	immure_plan *plan = NULL;
	int32_t r = take_options(options, &o, &session, err);

	if (r == 0 && (!snapshot || !ret))
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "snapshot", "no snapshot, or no place for the session");
	if (r == 0)
		r = immure_snapshot_places(session.env, &places, err);
	if (r < 0)
		return r;
	r = immure_snapstore_read(places->state_dir, snapshot, &s, err);
	if (r == 0)
		r = immure_snapstore_verify(&s, err);
	about = r == 0 ? immure_jsonr_get(&s.json, s.v, "about") : NULL;
	if (r == 0)
		r = immure_resume_plan(&s.json, about, &o, &plan, err);
	if (r == 0)
		r = make(plan, &session, s.files_fd, &s.json, about, !o.policy, ret, err);
	immure_plan_free(plan);
	immure_snapshot_read_done(&s);
	immure_facts_destroy(places);
	return r;
}

/* NAME-1, NAME-2 ... of more than one. */
static int32_t make_all(const immure_plan *plan, struct immure_session_options *o, int files_fd,
			const struct immure_jsonr *json, uint32_t count, bool own, immure_session **ret,
			struct immure_error **err)
{
	const char *name = o->name;
	char own_name[IMMURE_NAME_MAX + 16];
	uint32_t n = 0;
	int32_t r = 0;

	for (; n < count && r == 0; n++) {
		(void)snprintf(own_name, sizeof(own_name), "%s-%u", name ? name : "", n + 1);
		if (name && count > 1)
			o->name = own_name;
		r = make(plan, o, files_fd, json, json->v, own, &ret[n], err);
	}
	if (r == 0)
		return 0;
	for (n--; n-- > 0;) { /* all of them or none */
		(void)immure_session_stop(ret[n], 0, IMMURE_SESSION_REMOVE, NULL);
		immure_session_free(ret[n]);
		ret[n] = NULL;
	}
	return r;
}

int32_t immure_session_fork(immure_session *session, uint32_t count, const struct immure_resume_options *options,
			    immure_session **ret, immure_error **err)
{
	struct immure_resume_options o;
	struct immure_session_options so;
	struct immure_facts *places = NULL;
	struct immure_jsonr json;
	struct immure_jsonr_value *v = NULL;
	IMMURE_CLEANUP_FD int fd = -1;
	IMMURE_CLEANUP_FREE char *about = NULL;
	immure_plan *plan = NULL;
	int32_t r = take_options(options, &o, &so, err);

	if (r == 0 && (!ret || count < 1 || count > FORKS || (so.name && strlen(so.name) > IMMURE_NAME_MAX)))
		r = immure_fail(err, IMMURE_ERR_INVALID, ERANGE, "fork", "count", "from 1 to %d sessions at once", FORKS);
	if (r == 0)
		r = immure_snapshot_places(so.env, &places, err);
	if (r < 0)
		return r;
	r = immure_snapstore_nameless(places->state_dir, &fd, err);
	if (r == 0)
		r = immure_snapshot_save(session, fd, NULL, &about, err);
	v = r == 0 ? calloc(VALUES, sizeof(*v)) : NULL;
	if (r == 0 && !v)
		r = no_memory(err);
	if (r == 0 && immure_jsonr_parse(&json, about, strlen(about), v, VALUES) < 0)
		r = damaged(err);
	if (r == 0)
		r = immure_resume_plan(&json, v, &o, &plan, err);
	if (r == 0)
		r = make_all(plan, &so, fd, &json, count, !o.policy, ret, err);
	immure_plan_free(plan);
	free(v);
	immure_facts_destroy(places);
	return r;
}
