/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "backend/ahead.h"
#include "base/jsonw.h"
#include "facts/facts.h"
#include "lib/options.h"
#include "lib/pool.h"
#include "plan/plan.h"
#include "plan/render.h"
#include "policy/carry.h"
#include "policy/policy.h"

static bool needs_kept(const struct immure_policy *p)
{
	return (p->backend && strcmp(p->backend, "bwrap") == 0) ||
	       immure_strv_has(&p->prefer, "bwrap");
}

static bool is_bare(const struct immure_policy *p)
{
	return p->backend && strcmp(p->backend, "landlock") == 0;
}

/* The filters that such a plan most likely comes to; which it does is looked at when init
 * is made. Where names are looked up the listener is another's. */
static struct immure_ahead *begin_bare(const struct immure_policy *p, const struct immure_plan_options *o)
{
	const char *name = p->syscalls ? p->syscalls : "default";
	bool host = p->network == IMMURE_NETWORK_HOST;
	uint64_t families = host ? IMMURE_FAMILY_INET | IMMURE_FAMILY_INET6 | IMMURE_FAMILY_NETLINK : 1;
	struct immure_ahead_filters f;

	if (!(o->flags & IMMURE_PLAN_TO_START) || p->network == IMMURE_NETWORK_LIMITED ||
	    name[0] == '/' || p->deny_calls.n)
		return NULL;
	f.beneath = immure_filter_builtin("bare_files", families);
	f.unanswered = immure_filter_builtin("bare", families);
	f.filter = immure_filter_builtin(name, host ? IMMURE_FAMILIES_NET : IMMURE_FAMILIES_LOCAL);
	return immure_ahead_start_filtered(&f);
}

/* Begins what a plan of the native backend will want, when there will be one as far as
 * the policy alone tells. */
static struct immure_ahead *begin(const struct immure_policy *p, const struct immure_plan_options *o)
{
	bool maybe = !p->backend || strcmp(p->backend, "auto") == 0 || strcmp(p->backend, "native") == 0;

	if (is_bare(p))
		return begin_bare(p, o);
	if (!(o->flags & IMMURE_PLAN_TO_START) || !maybe || p->prefer.n ||
	    p->network == IMMURE_NETWORK_HOST)
		return NULL;
	return immure_ahead_start(p->network == IMMURE_NETWORK_NONE);
}

/* more: IMMURE_FACTS_KEPT, with IMMURE_FACTS_ANEW, or 0. */
static int32_t look(const struct immure_policy *p, const struct immure_plan_options *o, uint32_t more,
		    const struct immure_command *command, struct immure_facts **ret,
		    struct immure_compile **begun, struct immure_ahead **ahead, struct immure_error **err)
{
	struct immure_strv paths = { 0 }, dirs = { 0 };
	const char *names;
	struct immure_facts *f;
	uint32_t flags = o->facts | more;
	int32_t r;

	if (o->facts == IMMURE_FACTS_QUICK) {
		flags |= IMMURE_FACTS_FOR_PLAN;
		/* Bubblewrap cannot be planned for without having been looked at. What is
		 * kept is kept for every policy, so nothing is left out of it. */
		if (more || needs_kept(p))
			flags |= IMMURE_FACTS_KEPT;
		else if (!p->limits.memory && !p->limits.processes && !p->limits.cpus)
			flags |= IMMURE_FACTS_NO_CGROUP;
		/* Without namespaces no socket of that family can be made. */
		if (!more && is_bare(p))
			flags |= IMMURE_FACTS_NO_SOCKETS;
	}
	r = immure_facts_begin(&f, err);
	if (r < 0)
		return r;
	*ahead = begin(p, o);
	r = immure_facts_complete(f, flags, o->env, err);
	if (r == 0 && p->image)
		r = immure_facts_image(f, p->image, err);
	names = r == 0 ? immure_plan_names(p, f, &f->arena) : NULL;
	if (names)
		immure_facts_find_names(f, names);
	if (r == 0)
		r = immure_plan_interest(p, f, &f->arena, &paths, err);
	if (r == 0)
		r = immure_facts_examine_own(f, &paths, err);
	if (r == 0 && immure_plan_wants_listings(p, f))
		immure_facts_find_closed(f);
	if (r == 0)
		r = immure_plan_listings(p, f, command, &f->arena, &dirs, begun, err);
	if (r == 0 && dirs.n)
		r = immure_facts_list(f, &dirs, err);
	if (r < 0) {
		immure_plan_begun_free(*begun);
		immure_facts_destroy(f);
	} else {
		*ret = f;
	}
	return r;
}

static int32_t take_options(const struct immure_plan_options *options,
			    struct immure_plan_options *ret, immure_error **err)
{
	int32_t r = immure_options_copy(ret, sizeof(*ret), options, "plan", err);

	const uint32_t known = IMMURE_PLAN_NO_WORKSPACE | IMMURE_PLAN_TO_START;

	if (r == 0 && (ret->facts > IMMURE_FACTS_FULL || ret->flags & ~known))
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "plan", "options",
				"options: facts or flags are wrong");
	return r;
}

static void discard(immure_plan *plan)
{
	if (plan)
		immure_ahead_free(plan->ahead);
	immure_plan_destroy(plan);
}

/* For sessions: what their policy can be made from again, on another day. Of secrets it says where
 * they are from; it is in no program's arguments. What cannot be carried is not: then there is
 * nothing to be made again. */
static void carry(const immure_policy *policy, immure_plan *plan)
{
	struct immure_carried c;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (immure_policy_carry_all(policy, plan->workspace, NULL, &plan->arena, &c, NULL) < 0)
		return;
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_array(&w, NULL);
	immure_jsonw_str(&w, NULL, c.profile);
	for (size_t i = 0; i < c.settings_n; i++) {
		immure_jsonw_str(&w, NULL, c.settings[i].key);
		immure_jsonw_str(&w, NULL, c.settings[i].value);
	}
	immure_jsonw_end(&w, ']');
	plan->carried = immure_buf_ok(&b) ? immure_arena_strdup(&plan->arena, b.data) : NULL;
	immure_buf_done(&b);
}

static int32_t make(const immure_policy *policy, const struct immure_plan_options *o, uint32_t more,
		    immure_plan **ret, immure_error **err)
{
	struct immure_command command = { .argv = o->argv, .env = o->env, .cwd = o->cwd,
					  .no_workspace = o->flags & IMMURE_PLAN_NO_WORKSPACE };
	struct immure_compile *begun = NULL;
	struct immure_ahead *ahead = NULL;
	struct immure_facts *facts;
	int32_t r = look(policy, o, more, &command, &facts, &begun, &ahead, err);

	if (r == 0) {
		r = immure_plan_make(policy, facts, &command, &begun, ret, err);
		immure_facts_destroy(facts);
	}
	if (r == 0 && strcmp((*ret)->backend, is_bare(policy) ? "landlock" : "native") == 0)
		(*ret)->ahead = ahead;
	else
		immure_ahead_free(ahead);
	return r;
}

int32_t immure_plan_create(const immure_policy *policy, const struct immure_plan_options *options,
			   immure_plan **ret, immure_error **err)
{
	int32_t r = immure_plan_create_once(policy, options, ret, err);

	if (r == 0 && !(options->flags & (IMMURE_PLAN_NO_WORKSPACE | IMMURE_PLAN_TO_START)))
		carry(policy, *ret);
	return r;
}

int32_t immure_plan_create_once(const immure_policy *policy, const struct immure_plan_options *options,
				immure_plan **ret, struct immure_error **err)
{
	struct immure_plan_options o;
	int32_t r = take_options(options, &o, err);

	if (r < 0)
		return r;
	if (!policy || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "plan", "",
				   "plan: no policy, or no place for the result");
	r = make(policy, &o, 0, ret, err);
	/* A refusal is not believed of what was only kept. */
	if (r < 0 || o.facts != IMMURE_FACTS_QUICK || !needs_kept(policy) ||
	    immure_plan_startable(*ret, NULL) == 0)
		return r;
	discard(*ret);
	*ret = NULL;
	return make(policy, &o, IMMURE_FACTS_KEPT | IMMURE_FACTS_ANEW, ret, err);
}

/* Stages that are over before anything of the payload runs, and rest on what the
 * host can do. */
static bool may_be_the_host(const struct immure_error *why)
{
	static const char *const stages[] = { "namespace", "ids", "mount", "pivot", "caps",
					      "no_new_privs", "landlock", "check", "seccomp",
					      "backend" };

	if (immure_error_code(why) == IMMURE_ERR_GAP)
		return true;
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (strcmp(immure_error_stage(why), stages[i]) == 0)
			return immure_error_code(why) == IMMURE_ERR_LAUNCH;
	return false;
}

static bool helps(const struct immure_plan *plan, const struct immure_plan *failed)
{
	return strcmp(plan->backend, failed->backend) != 0 && immure_plan_startable(plan, NULL) == 0;
}

static int32_t would_lack(const struct immure_plan *plan, struct immure_error **err)
{
	struct immure_error *e = NULL;
	int32_t r = immure_plan_startable(plan, &e);

	if (r < 0) {
		(void)immure_fail(err, -r, immure_error_errno(e), immure_error_stage(e), immure_error_subject(e),
				  "backend %s: %s", plan->backend, immure_error_text(e));
		if (err && *err)
			immure_error_set_hint(*err, "%s", immure_error_hint(e));
	}
	immure_error_free(e);
	return r;
}

/* Nothing of the payload ran when a launch is refused before EXEC, so another backend
 * may be tried: but only one that the probes, and not that refusal, speak for. */
int32_t immure_plan_replace(const immure_policy *policy, const struct immure_plan_options *options,
			    const immure_plan *failed, const immure_error *why, immure_plan **ret,
			    immure_error **err)
{
	struct immure_plan_options o;
	immure_plan *plan = NULL;
	int32_t r = take_options(options, &o, err);

	if (r < 0)
		return r;
	if (!policy || !failed || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "plan", "",
				   "plan: no policy, no plan, or no place for the result");
	*ret = NULL;
	if ((policy->backend && strcmp(policy->backend, "auto") != 0) ||
	    (why && !may_be_the_host(why)))
		return 0;
	r = make(policy, &o, IMMURE_FACTS_KEPT, &plan, err);
	/* What is kept is of no help, or says of the very thing that failed that it works:
	 * filters and modules around a process can change without any sign of it. */
	if (r == 0 && !helps(plan, failed)) {
		discard(plan);
		plan = NULL;
		r = make(policy, &o, IMMURE_FACTS_KEPT | IMMURE_FACTS_ANEW, &plan, err);
	}
	if (r < 0)
		return r;
	if (helps(plan, failed)) {
		*ret = plan;
		return 0;
	}
	/* What another one lacks is what the caller can do something about. */
	if (strcmp(plan->backend, failed->backend) != 0)
		r = would_lack(plan, err);
	discard(plan);
	return r;
}

void immure_plan_free(immure_plan *plan)
{
	discard(plan);
}

const char *immure_plan_hash(const immure_plan *plan)
{
	return plan ? immure_plan_hash_of(plan) : "";
}

uint64_t immure_plan_gap_count(const immure_plan *plan)
{
	return plan ? plan->gaps_n : 0;
}

int32_t immure_plan_gap(const immure_plan *plan, uint64_t index, struct immure_gap_info *ret)
{
	const struct immure_gap *g = plan && index < plan->gaps_n ? &plan->gaps[index] : NULL;
	struct immure_gap_info info;

	if (!g || !ret || ret->size < sizeof(ret->size))
		return -IMMURE_ERR_INVALID;
	info = (struct immure_gap_info){
		.size = ret->size,
		.key = g->key,
		.dimension = g->dimension,
		.what = g->what,
		.remedy = g->remedy,
		.approved = g->approved,
	};
	memcpy(ret, &info, ret->size < sizeof(info) ? ret->size : sizeof(info));
	return 0;
}

static int32_t no_plan(immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "plan", "", "plan: none given");
}

int32_t immure_plan_check(const immure_plan *plan, immure_error **err)
{
	return plan ? immure_plan_startable(plan, err) : no_plan(err);
}

int32_t immure_plan_print(const immure_plan *plan, int32_t json, char **ret, immure_error **err)
{
	char *text;

	if (!plan || !ret)
		return no_plan(err);
	text = json ? immure_plan_to_json(plan) : immure_plan_text(plan);
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "",
				   "plan: out of memory");
	*ret = text;
	return 0;
}

int32_t immure_plan_summary(const immure_plan *plan, char **ret, immure_error **err)
{
	if (!plan || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "plan", "",
				   "plan: no plan, or no place for the result");
	*ret = immure_plan_line(plan);
	return *ret ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "", "plan: out of memory");
}

int32_t immure_plan_render(const immure_plan *plan, char **ret, immure_error **err)
{
	bool known;
	char *text;

	if (!plan || !ret)
		return no_plan(err);
	text = immure_plan_artefact(plan, &known);
	if (text) {
		*ret = text;
		return 0;
	}
	if (known)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "", "plan: out of memory");
	(void)immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "plan", "backend",
			  "backend %s: there is nothing to render: immure itself applies its plans",
			  plan->backend);
	if (err && *err)
		immure_error_set_hint(*err, "backend: seatbelt, vz, wsl2 or remote");
	return -IMMURE_ERR_UNSUPPORTED;
}

int32_t immure_plan_seal(const immure_plan *plan, void **ret, uint64_t *ret_len,
			 immure_error **err)
{
	size_t len;
	int32_t r;

	if (!plan || !ret || !ret_len)
		return no_plan(err);
	r = immure_plan_seal_bytes(plan, ret, &len, err);
	if (r == 0)
		*ret_len = len;
	return r;
}

int32_t immure_plan_open(const void *data, uint64_t len, immure_plan **ret, immure_error **err)
{
	if (!data || !ret || len > SIZE_MAX)
		return no_plan(err);
	return immure_plan_unseal(data, (size_t)len, ret, err);
}
