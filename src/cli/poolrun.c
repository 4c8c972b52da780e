/* SPDX-License-Identifier: Apache-2.0 */
/* run --pool: a session that is sealed in already, for this one command. */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/session.h"

static bool has_policy(const struct immure_runflags *f)
{
	return f->policy.settings_n > f->self_n || f->policy.profile || f->policy.file;
}

/* A policy that is given must be the pool's own, which the pool checks. */
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

static int32_t acquire(struct immure_runflags *f, const char *const *argv, immure_pool *pool,
		       const char *here, immure_session **ret, struct immure_error **err)
{
	struct immure_acquire_options o = { .size = sizeof(o), .owner = argv[0], .workspace = here,
					    .wait_ms = f->session.wait_ms };
	immure_plan *plan = NULL;
	int32_t r = has_policy(f) ? plan_of(f, argv, &plan, err) : 0;

	o.plan = plan;
	if (r == 0)
		r = immure_pool_acquire(pool, &o, ret, err);
	immure_plan_free(plan);
	return r;
}

int immure_cli_in_pool(struct immure_runflags *f, const char *const *argv)
{
	struct immure_pool_options o = { .size = sizeof(o), .name = f->session.pool,
					 .env = (const char *const *)environ };
	struct immure_error *err = NULL;
	immure_session *session = NULL;
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
	if (immure_pool_open(NULL, &o, &pool, &err) < 0 || acquire(f, argv, pool, here, &session, &err) < 0) {
		immure_pool_free(pool);
		return immure_cli_fail(err);
	}
	if (!f->cwd)
		f->cwd = here;
	status = immure_cli_exec_in(session, f, argv);
	immure_pool_release(pool, session);
	immure_pool_free(pool);
	return status;
}
