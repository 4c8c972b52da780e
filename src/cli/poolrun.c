/* SPDX-License-Identifier: Apache-2.0 */
/* run --pool: a session that is sealed in already, for this one command. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonr.h"
#include "cli/session.h"

static bool has_policy(const struct immure_runflags *f)
{
	return f->policy.settings_n > f->self_n || f->policy.profile || f->policy.file;
}

static bool pool_is(immure_pool *pool, const char *what)
{
	struct immure_jsonr_value v[512];
	const struct immure_jsonr_value *open = NULL;
	struct immure_jsonr r;
	char *text = NULL;
	bool ret;

	if (immure_pool_stats(pool, &text, NULL) == 0 &&
	    immure_jsonr_parse(&r, text, strlen(text), v, sizeof(v) / sizeof(v[0])) == 0)
		open = immure_jsonr_get(&r, &r.v[0], what);
	ret = open && open->integer; /* should the pool have ended, acquire says so */
	immure_string_free(text);
	return ret;
}

/* For sessions that have their workspace: the policy must be the pool's, which the
 * pool checks. */
static int32_t plan_of(struct immure_runflags *f, const char *const *argv, immure_plan **ret,
		       struct immure_error **err)
{
	struct immure_plan_options o = { .size = sizeof(o), .argv = argv, .env = f->policy.env,
					 .cwd = f->cwd, .facts = IMMURE_FACTS_QUICK };
	immure_policy *policy = NULL;
	int32_t r = immure_runflags_policy(f, &policy, err);

	if (r == 0)
		r = immure_plan_create(policy, &o, ret, err);
	immure_policy_free(policy);
	return r;
}

/* For those that get ours: flags are on top of the pool's policy, unless they begin
 * one of their own. */
static int32_t policy_of(struct immure_runflags *f, struct immure_acquire_options *o,
			 immure_policy **ret, struct immure_error **err)
{
	int32_t r;

	if (!f->policy.profile && !f->policy.file) {
		o->settings = f->policy.settings;
		o->settings_n = f->policy.settings_n - f->self_n;
		return 0;
	}
	r = immure_runflags_policy(f, ret, err);
	o->policy = *ret;
	return r;
}

/* In a session of its own, or in a sandbox that is made for it. */
static int run_in(struct immure_runflags *f, const char *const *argv, immure_pool *pool, const char *here)
{
	struct immure_acquire_options o = { .size = sizeof(o), .owner = argv[0], .workspace = here,
					    .wait_ms = f->session.wait_ms, .env = f->policy.env,
					    .labels = f->session.labels.v };
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	bool open = pool_is(pool, "open");
	int32_t r = 0;
	int status;

	if (has_policy(f))
		r = open ? policy_of(f, &o, &policy, &err) : plan_of(f, argv, &plan, &err);
	o.plan = plan;
	if (!f->cwd && !open) /* an open one starts where this caller's plan says */
		f->cwd = here;
	if (r == 0)
		r = immure_pool_acquire(pool, &o, &session, &err);
	if (r == 0) {
		/* What passes through the server's memory makes a session one that is not used again. */
		status = !open && immure_cli_can_lane(f) && pool_is(pool, "reuse")
				 ? immure_cli_exec_lane(session, f, argv) : immure_cli_exec_in(session, f, argv);
		immure_pool_release(pool, session);
	} else if (r == -IMMURE_ERR_UNSUPPORTED && strcmp(immure_error_subject(err), "mode") == 0) {
		immure_error_free(err); /* it makes a sandbox for each command */
		status = immure_cli_exec_after(pool, &o, f, argv);
	} else {
		status = immure_cli_fail(err);
	}
	immure_plan_free(plan);
	immure_policy_free(policy);
	return status;
}

int immure_cli_in_pool(struct immure_runflags *f, const char *const *argv)
{
	struct immure_pool_options o = { .size = sizeof(o), .name = f->session.pool,
					 .env = (const char *const *)environ };
	struct immure_error *err = NULL;
	immure_pool *pool = NULL;
	char here[PATH_MAX];
	int status;

	if (!argv[0]) {
		immure_cli_say("run: no command given; try 'immure run --pool NAME -- COMMAND'");
		return IMMURE_EXIT_FAILED;
	}
	if (!(f->policy.workspace ? realpath(f->policy.workspace, here) : getcwd(here, sizeof(here)))) {
		immure_cli_say("run: the workspace cannot be found");
		return IMMURE_EXIT_FAILED;
	}
	if (immure_pool_open(NULL, &o, &pool, &err) < 0)
		return immure_cli_fail(err);
	status = run_in(f, argv, pool, here);
	immure_pool_free(pool);
	return status;
}
