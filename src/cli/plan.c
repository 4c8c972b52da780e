/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what would be enforced, by what, and every gap. Looks at the host as
 * hard as doctor does, so that a gap shows here and not at the launch. The exit
 * status is 1 when the plan has a gap that nobody approved. */
#include "cli/runflags.h"

static int print_plan(const struct immure_runflags *f, immure_policy *policy,
		      struct immure_error **err)
{
	struct immure_plan_options options = {
		.size = sizeof(options),
		.argv = (const char *const *)f->argv + f->first,
		.env = f->policy.env,
		.cwd = f->cwd,
		.facts = IMMURE_FACTS_FULL,
	};
	immure_plan *plan = NULL;
	char *text = NULL;
	int status;

	if (immure_plan_create(policy, &options, &plan, err) < 0)
		return IMMURE_EXIT_FAILED;
	if ((f->render ? immure_plan_render(plan, &text, err)
		       : immure_plan_print(plan, f->json, &text, err)) < 0) {
		status = IMMURE_EXIT_FAILED;
	} else {
		status = immure_cli_print(text);
		if (status == 0 && immure_plan_check(plan, NULL) < 0)
			status = IMMURE_EXIT_NO;
	}
	immure_string_free(text);
	immure_plan_free(plan);
	return status;
}

int immure_cli_plan(int argc, char **argv)
{
	struct immure_error *err = NULL;
	immure_policy *policy = NULL;
	struct immure_runflags f;
	int status = immure_runflags_parse("plan", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first >= argc) {
		immure_cli_say("plan: no command given; try 'immure plan -- COMMAND'");
		status = IMMURE_EXIT_FAILED;
	} else if (immure_runflags_policy(&f, &policy, &err) < 0) {
		status = IMMURE_EXIT_FAILED;
	} else {
		(void)immure_scope_enter(policy, f.policy.env, NULL); /* as in run.c */
		status = print_plan(&f, policy, &err);
	}
	if (err)
		status = immure_cli_fail(err);
	immure_policy_free(policy);
	immure_runflags_done(&f);
	return status;
}
