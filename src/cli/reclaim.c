/* SPDX-License-Identifier: Apache-2.0 */
/* reclaim: a ticket is used, or its arrival acknowledged. */
#include "cli/runflags.h"

#include <unistd.h>

static int use(const struct immure_runflags *f, const char *ticket, struct immure_error **err)
{
	struct immure_reclaim_options options = {
		.size = sizeof(options),
		.flags = f->force ? IMMURE_GC_FORCE : 0,
		.stop_ms = f->stop_ms > 3600000 ? 3600000 : (uint32_t)f->stop_ms,
		.env = f->policy.env,
	};
	immure_report *report = NULL;
	char *text = NULL;
	int status = IMMURE_EXIT_FAILED;

	if (immure_reclaim(ticket, &options, &report, err) == 0 &&
	    immure_report_print(report, f->json, &text, err) == 0) {
		status = immure_cli_print(text);
		if (status == 0 && immure_report_count(report, IMMURE_LEFT))
			status = IMMURE_EXIT_NO;
	}
	immure_string_free(text);
	immure_report_free(report);
	return status;
}

int immure_cli_reclaim(int argc, char **argv)
{
	struct immure_error *err = NULL;
	struct immure_runflags f;
	int status = immure_runflags_parse("reclaim", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first != argc - 1) {
		immure_cli_say("reclaim: expected one ticket; 'immure detach' prints one");
		status = IMMURE_EXIT_FAILED;
	} else if (f.acknowledge) {
		status = immure_acknowledge(argv[f.first], f.policy.env, &err) < 0 ? IMMURE_EXIT_FAILED : 0;
	} else {
		status = use(&f, argv[f.first], &err);
	}
	if (err)
		status = immure_cli_fail(err);
	immure_runflags_done(&f);
	return status;
}
