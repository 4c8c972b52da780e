/* SPDX-License-Identifier: Apache-2.0 */
/* run COMMAND [ARGUMENT]...: one command, sealed in, with the policy of this
 * directory. The exit status is the command's; 125 when nothing ran. */
#include <stdio.h>
#include <stdlib.h>

#include <immure/immure.h>

extern char **environ;

static int failed(immure_error *err)
{
	fprintf(stderr, "run: %s\n", immure_error_text(err));
	if (immure_error_hint(err)[0])
		fprintf(stderr, "run: %s\n", immure_error_hint(err));
	immure_error_free(err);
	return 125;
}

int main(int argc, char **argv)
{
	const char *const *env = (const char *const *)environ;
	struct immure_policy_options policy_options = { .size = sizeof(policy_options), .env = env };
	struct immure_plan_options plan_options = { .size = sizeof(plan_options), .env = env,
						    .argv = (const char *const *)argv + 1 };
	/* Where immure is installed it is found; elsewhere this variable names it. */
	struct immure_run_options run_options = {
		.size = sizeof(run_options), .stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2,
		.env = env,
	};
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	immure_result *result = NULL;
	immure_error *err = NULL;
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: run COMMAND [ARGUMENT]...\n");
		return 125;
	}
	run_options.supervisor = getenv("IMMURE_PROGRAM");
	if (immure_policy_load(&policy_options, &policy, &err) == 0 &&
	    immure_plan_create(policy, &plan_options, &plan, &err) == 0 &&
	    immure_run(plan, &run_options, &result, &err) == 0) {
		fputs(immure_result_notices(result), stderr);
		status = immure_result_exit_status(result);
	} else {
		status = failed(err);
	}
	immure_result_free(result);
	immure_plan_free(plan);
	immure_policy_free(policy);
	return status;
}
