/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/runflags.h"

extern char **environ;

static int finish(int32_t r, char *text, struct immure_error *err)
{
	int status;

	if (r < 0)
		return immure_cli_fail(err);
	status = immure_cli_print(text);
	immure_string_free(text);
	return status;
}

/* What is right and surely not meant is told too; it is no reason to fail. */
static void notices(const char *file)
{
	struct immure_policy_options o = { .size = sizeof(o), .file = file,
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *policy = NULL;
	char *text = NULL, *line, *rest;

	if (immure_policy_load(&o, &policy, NULL) == 0 &&
	    immure_policy_notices(policy, &text, NULL) == 0)
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			immure_cli_say("%s: notice: %s", file, line);
	immure_string_free(text);
	immure_policy_free(policy);
}

/* Every file is looked at, so that one run shows all that is wrong with them. */
static int check(int argc, char **argv)
{
	int status = 0;

	if (argc < 2) {
		immure_cli_say("policy check: no file is named");
		return IMMURE_EXIT_FAILED;
	}
	for (int i = 1; i < argc; i++) {
		struct immure_error *err = NULL;

		if (immure_policy_check(argv[i], &err) < 0) {
			int32_t code = immure_error_code(err);

			(void)immure_cli_fail(err); /* prints; the status is ours */
			if (code == IMMURE_ERR_NOMEM || code == IMMURE_ERR_IO)
				status = IMMURE_EXIT_FAILED;
			else if (status == 0)
				status = IMMURE_EXIT_NO;
		} else {
			notices(argv[i]);
		}
	}
	return status;
}

static int show(int argc, char **argv)
{
	struct immure_error *err = NULL;
	immure_policy *policy = NULL;
	struct immure_runflags flags;
	char *text = NULL;
	int32_t r;
	int status = immure_runflags_parse("policy", argc, argv, &flags);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (flags.first < argc) {
		immure_cli_say("policy show: %s: takes options only", argv[flags.first]);
		immure_runflags_done(&flags);
		return IMMURE_EXIT_FAILED;
	}
	r = immure_runflags_policy(&flags, &policy, &err);
	if (r == 0)
		r = immure_policy_show(policy, flags.json, &text, &err);
	status = finish(r, text, err);
	immure_policy_free(policy);
	immure_runflags_done(&flags);
	return status;
}

static int schema(int argc, char **argv)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int32_t r;

	(void)argc;
	(void)argv;
	r = immure_policy_schema(&text, &err);
	return finish(r, text, err);
}

static int trust(int argc, char **argv)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	char *digest = NULL, *text;
	int32_t r;
	int status;

	if (argc != 2) {
		immure_cli_say("policy trust: expected one file");
		return IMMURE_EXIT_FAILED;
	}
	r = immure_policy_trust(argv[1], (const char *const *)environ, &digest, &err);
	if (r < 0)
		return immure_cli_fail(err);
	immure_buf_printf(&out, "trusted %s ", digest);
	immure_buf_put_printable(&out, argv[1], strlen(argv[1]));
	immure_buf_putc(&out, '\n');
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	immure_string_free(digest);
	return status;
}

static int reference(int argc, char **argv)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int32_t r;

	if (argc > 2) {
		immure_cli_say("policy reference: expected one format");
		return IMMURE_EXIT_FAILED;
	}
	r = immure_policy_reference(argc == 2 ? argv[1] : "markdown", &text, &err);
	return finish(r, text, err);
}

static int profiles(int argc, char **argv)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int32_t r;

	(void)argc;
	(void)argv;
	r = immure_policy_profiles(&text, &err);
	return finish(r, text, err);
}

static const struct {
	const char *name, *usage, *summary;
	int (*fn)(int argc, char **argv);
} subcommands[] = {
	{ "check", "FILE...", "say what is wrong with policy files; exit 1 when something is", check },
	{ "show", "[OPTION]...", "print the effective policy and where each value came from", show },
	{ "trust", "FILE", "let this exact content of a workspace's policy give more", trust },
	{ "profiles", "", "list the built-in profiles", profiles },
	{ "import", "--from FORMAT FILE", "turn settings of srt, claude, codex or firejail into a policy",
	  immure_cli_policy_import },
	{ "schema", "", "print the JSON Schema of policy files", schema },
	{ "reference", "[FORMAT]", "print a reference: markdown, man, keys or backends", reference },
};
enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static int usage(void)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;
	int status;

	immure_buf_puts(&out, "usage: immure policy COMMAND ...\n\nCommands:\n");
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		immure_buf_printf(&out, "  %-9s %-18s %s\n", subcommands[i].name,
				  subcommands[i].usage, subcommands[i].summary);
	immure_buf_puts(&out, "\n'immure policy show --help' prints the options of show.\n"
			      "Exit status: 0, 1 when a check finds something wrong, 125 when immure "
			      "fails.\n");
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	return status;
}

int immure_cli_policy(int argc, char **argv)
{
	if (argc < 2) {
		immure_cli_say("policy: no command is named; 'immure policy --help' lists them");
		return IMMURE_EXIT_FAILED;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage();
	for (size_t i = 0; i < SUBCOMMANDS; i++) {
		bool alone = !subcommands[i].usage[0];

		if (strcmp(argv[1], subcommands[i].name) != 0)
			continue;
		if (argc == 3 && subcommands[i].fn != show &&
		    subcommands[i].fn != immure_cli_policy_import &&
		    (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
			return usage();
		if (alone && argc > 2) {
			immure_cli_say("policy %s: takes no arguments", argv[1]);
			return IMMURE_EXIT_FAILED;
		}
		return subcommands[i].fn(argc - 1, argv + 1);
	}
	immure_cli_say("policy: there is no command '%s'; 'immure policy --help' lists them", argv[1]);
	return IMMURE_EXIT_FAILED;
}
