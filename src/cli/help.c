/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static int print_overview(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;
	int status;

	immure_buf_puts(&out, "immure " IMMURE_VERSION " - run a command sealed in\n\n"
			      "usage: immure COMMAND ...\n\nCommands:\n");
	for (const struct immure_cli_command *c = immure_cli_commands(); c->name; c++)
		if (!c->hidden)
			immure_buf_printf(&out, "  %-10s %s\n", c->name, c->summary);
	immure_buf_puts(&out, "\n'immure help COMMAND' prints its options.\n"
			      "Start with: immure run -- ls -la ~\n");
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	return status;
}

int immure_cli_help(int argc, char **argv)
{
	static char help[] = "--help";
	const struct immure_cli_command *c;

	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help"))
		return print_overview();
	if (!strcmp(argv[1], "--man") && argc == 3)
		return immure_cli_generate_man(argv[2]);
	if (!strcmp(argv[1], "--completions") && argc == 3)
		return immure_cli_generate_completions(argv[2]);
	c = immure_cli_command_find(argv[1]);
	if (!c || !c->fn || c->hidden) {
		immure_cli_say("help: no command '%s'; 'immure help' lists them", argv[1]);
		return IMMURE_EXIT_FAILED;
	}
	return c->fn(2, (char *[]){ argv[1], help, NULL });
}
