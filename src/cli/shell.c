/* SPDX-License-Identifier: Apache-2.0 */
/* A shell, sealed in: `immure shell`, and this program in the place of a shell
 * for those that only take the path of one (make's SHELL, $SHELL of an agent, an
 * account's login shell):
 *
 *   immure -c COMMAND [ARG]...          the caller's own shell
 *   immure-sh, immure-bash ... ARG...   that shell, with these arguments
 *
 * Inside, SHELL names the shell itself: a program there that starts "the shell"
 * again is sealed in already. */
#include "cli/runflags.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const char *const known[] = { "sh", "bash", "dash", "zsh" };
enum { KNOWN_N = sizeof(known) / sizeof(known[0]) };

static const char *name_of(const char *argv0)
{
	const char *name = base_name(argv0);

	name += name[0] == '-'; /* as login(1) marks a login shell */
	if (strncmp(name, "immure-", 7) != 0)
		return NULL;
	for (size_t i = 0; i < KNOWN_N; i++)
		if (strcmp(name + 7, known[i]) == 0)
			return known[i];
	return NULL;
}

/* -c, and what is put in one word with it: -lc, -ec, -xec. */
static bool is_dash_c(const char *word)
{
	size_t n = strlen(word);

	return n >= 2 && n <= 8 && word[0] == '-' && word[n - 1] == 'c' &&
	       strspn(word + 1, "abcefhiklmnpuvxBCEH") == n - 1;
}

const char *immure_cli_shell_name(int argc, char **argv)
{
	const char *name = argc > 0 ? name_of(argv[0]) : NULL;

	return name ? name : argc > 1 && is_dash_c(argv[1]) ? "" : NULL;
}

static bool is_this_program(const char *path)
{
	struct stat a, b;

	return name_of(path) || (!stat(path, &a) && !stat("/proc/self/exe", &b) &&
				 a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* *ret_own: SHELL names this program, so it is to be told another inside. */
static const char *callers_shell(bool *ret_own)
{
	const char *shell = getenv("SHELL");

	*ret_own = shell && shell[0] == '/' && is_this_program(shell);
	if (!shell || shell[0] != '/' || *ret_own || access(shell, X_OK) < 0)
		return "/bin/sh";
	return shell;
}

static int out_of_memory(void)
{
	immure_cli_say("out of memory");
	return IMMURE_EXIT_FAILED;
}

/* Rewritten to what `immure run` takes, so that there is one way to start. */
int immure_cli_as_shell(const char *name, int argc, char **argv)
{
	static char run[] = "run", env[] = "--env", end[] = "--", login[] = "-l";
	char **words = calloc((size_t)argc + 8, sizeof(*words));
	char path[32] = "/bin/", set[4200] = "SHELL=";
	bool own;
	const char *shell = path;
	int n = 0, status;

	if (!words)
		return out_of_memory();
	if (!*name)
		shell = callers_shell(&own);
	else
		strcat(path, name); /* one of known[] */
	if (strlen(shell) >= sizeof(set) - sizeof("SHELL="))
		shell = "/bin/sh";
	strcat(set, shell);
	words[n++] = run;
	words[n++] = env;
	words[n++] = set;
	words[n++] = end;
	words[n++] = set + strlen("SHELL=");
	if (argv[0][0] == '-')
		words[n++] = login;
	for (int i = 1; i < argc; i++)
		words[n++] = argv[i];
	status = immure_cli_run(n, words);
	free(words);
	return status;
}

int immure_cli_shell(int argc, char **argv)
{
	struct immure_runflags flags;
	int status = immure_runflags_parse("shell", argc, argv, &flags);
	const char **command;
	bool own;
	int n = 0;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	command = calloc((size_t)argc + 4, sizeof(*command));
	if (!command) {
		immure_runflags_done(&flags);
		return out_of_memory();
	}
	command[n++] = callers_shell(&own);
	if (flags.command) {
		command[n++] = "-c";
		command[n++] = flags.command;
	}
	for (int i = flags.first; i < argc; i++)
		command[n++] = argv[i];
	if (own) /* there is room: see immure_runflags_parse() */
		flags.settings[flags.policy.settings_n++] =
			(struct immure_setting){ "+environment.set", "SHELL=/bin/sh", "(the shell)" };
	status = immure_cli_run_argv(&flags, command);
	free(command);
	return status;
}
