/* SPDX-License-Identifier: Apache-2.0 */
/* journal: what a session has done. The exit status is 1 when somebody changed the
 * record; what is printed then is the part that can be believed. */
#include "cli/runflags.h"

int immure_cli_journal(int argc, char **argv)
{
	struct immure_error *err = NULL;
	struct immure_runflags f;
	char *text = NULL;
	int status = immure_runflags_parse("journal", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first != argc - 1) {
		immure_cli_say("journal: expected one session, by name or id");
		status = IMMURE_EXIT_FAILED;
	} else {
		(void)immure_journal_print(argv[f.first], f.policy.env, f.json, &text, &err); /* err */
		status = text ? immure_cli_print(text) : IMMURE_EXIT_FAILED;
		if (err) {
			int failed = immure_cli_fail(err);

			if (status == 0)
				status = text ? IMMURE_EXIT_NO : failed;
		}
	}
	immure_string_free(text);
	immure_runflags_done(&f);
	return status;
}
