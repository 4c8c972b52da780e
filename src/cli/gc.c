/* SPDX-License-Identifier: Apache-2.0 */
/* gc: what sessions left whose supervisor is dead. The exit status is 1 when
 * something is left. */
#include "cli/runflags.h"

#include <unistd.h>

int immure_cli_gc(int argc, char **argv)
{
	struct immure_gc_options options = { .size = sizeof(options) };
	struct immure_error *err = NULL;
	immure_report *report = NULL;
	struct immure_runflags f;
	char *text = NULL;
	int status = immure_runflags_parse("gc", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	options.env = f.policy.env;
	options.flags = (f.dry_run ? IMMURE_GC_DRY_RUN : 0U) | (f.force ? IMMURE_GC_FORCE : 0U) |
			(f.ended ? IMMURE_GC_ENDED : 0U);
	if (f.first < argc) {
		immure_cli_say("gc: %s: takes options only", argv[f.first]);
		status = IMMURE_EXIT_FAILED;
	} else if (immure_gc(&options, &report, &err) < 0 ||
		   immure_report_print(report, f.json, &text, &err) < 0) {
		status = immure_cli_fail(err);
	} else {
		status = immure_cli_print(text);
		if (status == 0 && immure_report_count(report, IMMURE_LEFT))
			status = IMMURE_EXIT_NO;
	}
	immure_string_free(text);
	immure_report_free(report);
	immure_runflags_done(&f);
	return status;
}
