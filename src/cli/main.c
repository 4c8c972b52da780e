/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/opt.h"

/* The lean program holds the commands of the hot path only. */
#ifdef IMMURE_LEAN
#define FULL_ONLY(fn) NULL
#else
#define FULL_ONLY(fn) fn
#endif
#ifndef IMMURE_HAVE_PLAN
#define immure_cli_plan NULL
#endif
#ifndef IMMURE_HAVE_DOCTOR
#define immure_cli_doctor NULL
#endif
#ifndef IMMURE_HAVE_POLICY
#define immure_cli_policy NULL
#endif
#ifndef IMMURE_HAVE_WRAP
#define immure_cli_wrap NULL
#endif

static const struct immure_cli_command commands[] = {
	{ "run", immure_cli_run, IMMURE_CLI_RUN, "[OPTION]... [--] COMMAND [ARG]...",
	  "Run a command sealed in",
	  "The command gets the files, hosts and resources that the policy names and nothing\n"
	  "else. Its standard input, output and terminal are passed through; the exit status\n"
	  "is its own, 128+N after signal N, 124 when the wall time ran out, 125 when immure\n"
	  "refused or failed (nothing ran), 126 or 127 when the command cannot be executed or\n"
	  "is not there.", false },
	{ "shell", immure_cli_shell, IMMURE_CLI_SHELL, "[OPTION]... [--] [ARG]...",
	  "Run your shell sealed in",
	  "The shell is $SHELL when that is an absolute path of a program, else /bin/sh.\n"
	  "'immure -c COMMAND' does the same for programs that start a shell by its path alone.\n"
	  "Under the name immure-sh, immure-bash, immure-dash or immure-zsh, all arguments go to\n"
	  "that shell.", false },
	{ "wrap", FULL_ONLY(immure_cli_wrap), IMMURE_CLI_WRAP, "[OPTION]... [--] [COMMAND [ARG]...]",
	  "Print arguments that run a command sealed in, for other programs to start",
	  "The policy is found and checked now and carried in the arguments: what starts them\n"
	  "later may clear the environment or be in another directory. Without COMMAND, the words\n"
	  "to put before one. --format script prints a program to be used as a shell.", false },
	{ "plan", FULL_ONLY(immure_cli_plan), IMMURE_CLI_PLAN, "[OPTION]... [--] COMMAND [ARG]...",
	  "Print what would be enforced, by what, and every gap", NULL, false },
	{ "prove", immure_cli_prove, IMMURE_CLI_PROVE, "[OPTION]... [--] [COMMAND [ARG]...]",
	  "Attack from inside and print what held",
	  "Starts as run does, lets an attacker program of immure's own try every dimension,\n"
	  "then runs COMMAND (default: /bin/true) with its output on standard error. The proof\n"
	  "goes to standard output; the exit status is 1 when a point falls short.", false },
	{ "explain", FULL_ONLY(immure_cli_explain), IMMURE_CLI_EXPLAIN, "[OPTION]... [--] COMMAND [ARG]...",
	  "Run a command sealed in and say what it was refused, and what would allow that",
	  "The command runs as with run, traced from outside, which is slow and changes nothing of\n"
	  "what is enforced. Its output goes to standard error, the list to standard output; the exit\n"
	  "status is the command's own.", false },
	{ "doctor", FULL_ONLY(immure_cli_doctor), IMMURE_CLI_DOCTOR, "[OPTION]...",
	  "Print what this host can enforce, and how to get the rest", NULL, false },
	{ "policy", FULL_ONLY(immure_cli_policy), IMMURE_CLI_POLICY, "check|show|trust|import|profiles|schema|reference ...",
	  "Check, show, trust and import policies", NULL, false },
	{ "init", immure_cli_init, 0, "--handover-fd N --report-fd M",
	  "Be the first process inside; what a backend starts", NULL, true },
	{ "create", immure_cli_create, IMMURE_CLI_CREATE, "[OPTION]...",
	  "Make a session that many commands run in, and print its id",
	  "The policy is that of run. The session lives without a daemon until `immure stop`, or\n"
	  "for as long as its lease says.", false },
	{ "exec", immure_cli_exec, IMMURE_CLI_EXEC, "[OPTION]... SESSION [--] COMMAND [ARG]...",
	  "Run a command in a session",
	  "Standard input, output and signals are passed through; the exit status is as that\n"
	  "of run.", false },
	{ "ps", FULL_ONLY(immure_cli_ps), IMMURE_CLI_PS, "[OPTION]...", "List sessions", NULL, false },
	{ "inspect", FULL_ONLY(immure_cli_inspect), IMMURE_CLI_ASK, "[OPTION]... SESSION",
	  "Print what is known of a session", NULL, false },
	{ "freeze", FULL_ONLY(immure_cli_freeze), IMMURE_CLI_ASK, "[OPTION]... SESSION",
	  "Let nothing in a session run until it is thawed", NULL, false },
	{ "thaw", FULL_ONLY(immure_cli_thaw), IMMURE_CLI_ASK, "[OPTION]... SESSION",
	  "Let a frozen session go on", NULL, false },
	{ "attach", FULL_ONLY(immure_cli_attach), IMMURE_CLI_ATTACH, "[OPTION]... SESSION",
	  "Follow a command that was started before",
	  "What is kept of its output comes first, the last MiB while it runs. Input and signals\n"
	  "go to a command that has a terminal of its own.", false },
	{ "logs", FULL_ONLY(immure_cli_logs), IMMURE_CLI_LOGS, "[OPTION]... SESSION",
	  "Print what is kept of a command's output", NULL, false },
	{ "stats", FULL_ONLY(immure_cli_stats), IMMURE_CLI_STATS, "[OPTION]... SESSION",
	  "Print what a session uses", NULL, false },
	{ "signal", FULL_ONLY(immure_cli_signal), IMMURE_CLI_SIGNAL, "[OPTION]... SESSION",
	  "Send a signal to a command in a session, or to all", NULL, false },
	{ "kill", FULL_ONLY(immure_cli_kill), IMMURE_CLI_SIGNAL, "[OPTION]... SESSION",
	  "End a command in a session, or all, at once; the session stays", NULL, false },
	{ "stop", FULL_ONLY(immure_cli_stop), IMMURE_CLI_STOP, "[OPTION]... SESSION",
	  "End a session and clean up", NULL, false },
	{ "ls", FULL_ONLY(immure_cli_ls), IMMURE_CLI_COPY, "[OPTION]... SESSION PATH",
	  "List a directory of a session", NULL, false },
	{ "cat", FULL_ONLY(immure_cli_cat), IMMURE_CLI_COPY, "[OPTION]... SESSION PATH",
	  "Print a file of a session", NULL, false },
	{ "put", FULL_ONLY(immure_cli_put), IMMURE_CLI_COPY, "[OPTION]... SESSION PATH",
	  "Write standard input to a file of a session", NULL, false },
	{ "cp", FULL_ONLY(immure_cli_cp), IMMURE_CLI_COPY, "[OPTION]... SESSION:PATH PATH | PATH SESSION:PATH",
	  "Copy files and directories into or out of a session",
	  "Symbolic links, devices and sockets are left out, and the exit status is 1 then.", false },
	{ "mount", FULL_ONLY(immure_cli_mount), IMMURE_CLI_MOUNT, "[OPTION]... SESSION SOURCE [TARGET]",
	  "Attach a file or directory to a living session", NULL, false },
	{ "umount", FULL_ONLY(immure_cli_umount), IMMURE_CLI_ASK, "[OPTION]... SESSION TARGET",
	  "Take away what was attached", NULL, false },
	{ "net", FULL_ONLY(immure_cli_net), IMMURE_CLI_ASK, "show|allow|deny [OPTION]... SESSION [RULE]...",
	  "Show or change what a living session's network allows",
	  "Changes are in force when the command returns: connections that are not allowed any\n"
	  "more are cut. Only where network.mode is limited.", false },
	{ "tighten", FULL_ONLY(immure_cli_tighten), IMMURE_CLI_ASK, "deny|read-only [OPTION]... SESSION PATH...",
	  "Take files away from a living session's later commands",
	  "deny: they answer 'permission denied'; read-only: they cannot be changed. There is no way\n"
	  "back. What a command that runs has open stays open to it: 'immure kill --all' ends those.", false },
	{ "serve", FULL_ONLY(immure_cli_serve), IMMURE_CLI_SERVE, "--stdio [OPTION]... [SESSION]",
	  "Speak the protocol of a session over standard input and output",
	  "Without SESSION one is made as the options say, and ends with the input.", false },
	{ "mcp", FULL_ONLY(immure_cli_mcp), IMMURE_CLI_MCP, "[OPTION]...",
	  "Offer sandboxes as tools of the Model Context Protocol, over standard streams",
	  "The policy is the one given here; a client cannot widen it. Sandboxes end with the input.\n"
	  "--config prints what a client's list of servers wants to know.", false },
	{ "bench", FULL_ONLY(immure_cli_bench), IMMURE_CLI_BENCH, "[OPTION]... [--] [COMMAND [ARG]...]",
	  "Time sandboxes of this policy on this host",
	  "One sandbox is attacked from inside first; a sample counts only when COMMAND (default:\n"
	  "/bin/true) ended with status 0. Times are microseconds.", false },
	{ "rm", FULL_ONLY(immure_cli_rm), IMMURE_CLI_RM, "[OPTION]... SESSION...",
	  "Remove what is recorded of sessions that have ended", NULL, false },
	{ "snapshot", FULL_ONLY(immure_cli_snapshot), IMMURE_CLI_SNAPSHOT,
	  "create|ls|inspect|rm [OPTION]... [SESSION|SNAPSHOT...]",
	  "Keep the files of a session to begin others with",
	  "create saves what is in a session's private directories and what was changed in its\n"
	  "copy-on-write workspace, with its policy, and prints the snapshot's id: no processes, no\n"
	  "memory, no secret, and nothing of a workspace that is written directly. Then `immure resume\n"
	  "SNAPSHOT`. ls lists them, inspect prints one whose files are still what was saved, rm\n"
	  "removes.", false },
	{ "resume", FULL_ONLY(immure_cli_resume), IMMURE_CLI_RESUME, "[OPTION]... SNAPSHOT",
	  "Make a session that begins with the files of a snapshot, and print its id",
	  "Under the snapshot's policy, planned anew on this host; options are on top of it, --policy\n"
	  "or --profile begins another. The snapshot stays.", false },
	{ "fork", FULL_ONLY(immure_cli_fork), IMMURE_CLI_FORK, "[OPTION]... SESSION",
	  "Make sessions that begin with the files of another as it is now, and print their ids",
	  "As `immure snapshot` and `immure resume`, without a snapshot that is kept. The other session\n"
	  "goes on.", false },
	{ "pool", FULL_ONLY(immure_cli_pool), IMMURE_CLI_POOL, "start|stats|stop|ls [OPTION]... [NAME]",
	  "Keep sessions ready that are sealed in already",
	  "start fills a pool of the policy that is given and returns; each session gets the workspace\n"
	  "of whoever takes it, or all have the one that --workspace names. Then `immure run --pool NAME\n"
	  "-- COMMAND` takes one for one command, after which it is destroyed and replaced. stats\n"
	  "prints what it did, ls the pools there are, stop ends one. NAME is \"pool\" unless given.\n"
	  "With --mode zygote it keeps no sessions: a sandbox is made for each command, after a view\n"
	  "that was built once.",
	  false },
	{ "image", FULL_ONLY(immure_cli_image), IMMURE_CLI_IMAGE,
	  "import|pull|ls|inspect|verify|rm|gc [OPTION]... [PATH|REF|IMAGE]",
	  "Keep images that commands can have their root from",
	  "import reads an OCI layout, an archive of one, or what `docker save` writes (- is standard\n"
	  "input), checks every digest and unpacks each layer once; pull fetches [HOST/]REPOSITORY[:TAG]\n"
	  "with skopeo first, sealed in. Then `immure run --image IMAGE` runs in it. IMAGE is a name, a digest, or the first 12 digits of one. verify\n"
	  "looks whether what is stored is still what was imported; rm removes a name, with the last one\n"
	  "the image; gc what imports left that were killed.", false },
	{ "supervise", immure_cli_supervise, 0, "--plan-fd N --control-fd N",
	  "Be the supervisor of a session; what libimmure starts", NULL, true },
	{ "journal", FULL_ONLY(immure_cli_journal), IMMURE_CLI_JOURNAL, "[OPTION]... SESSION",
	  "Print what a session, or a run with --journal, has done and was about to do",
	  "Each act is recorded before it is begun and when it has ended. What has been begun and\n"
	  "not undone is standing: that is what gc looks for when the session is dead.", false },
	{ "detach", FULL_ONLY(immure_cli_detach), IMMURE_CLI_DETACH, "[OPTION]... SESSION",
	  "Let go of a session, and print a ticket for whoever takes it over",
	  "The ticket is the right and the duty to clean up. It is acknowledged with 'immure\n"
	  "reclaim --acknowledge TICKET' and used, once, with 'immure reclaim TICKET'; not\n"
	  "acknowledged in time it is void. A new ticket withdraws the one before.", false },
	{ "reclaim", FULL_ONLY(immure_cli_reclaim), IMMURE_CLI_RECLAIM, "[OPTION]... TICKET",
	  "End the session that a ticket is for, and clean up after it",
	  "A ticket can be used once. Prints what became of each resource; the exit status is 1\n"
	  "when something is left. With --acknowledge, only says that the ticket has arrived.",
	  false },
	{ "gc", FULL_ONLY(immure_cli_gc), IMMURE_CLI_GC, "[OPTION]...",
	  "Remove what sessions left whose supervisor was killed",
	  "Processes, cgroups and files of dead sessions of this user, all over the machine.\n"
	  "Living sessions are left alone. Prints what became of each resource; the exit status is\n"
	  "1 when something is left, which stays on record and is tried again the next time.",
	  false },
	{ "diff", FULL_ONLY(immure_cli_diff), IMMURE_CLI_DIFF, "[OPTION]... [ID]",
	  "Print what was changed in a copy-on-write workspace",
	  "ID is a session, or what `immure run --cow` printed; without it, the only one there is.\n"
	  "First a line for each change: A added, M modified, D removed, T of another type, m mode;\n"
	  "with it why it may not land. Then what changed in files of text.", false },
	{ "apply", FULL_ONLY(immure_cli_apply), IMMURE_CLI_APPLY, "[OPTION]... [ID [PATH]...]",
	  "Let what was changed in a copy-on-write workspace land",
	  "All of it, or of each PATH, or nothing. Refused is what programs on the host would obey by\n"
	  "themselves, what the policy protects, set-id files, devices, pipes, sockets and links that\n"
	  "lead out; and what was changed on the host as well. An apply that was interrupted is\n"
	  "finished first.", false },
	{ "discard", FULL_ONLY(immure_cli_discard), IMMURE_CLI_ASK, "[OPTION]... ID",
	  "Drop what was changed in a copy-on-write workspace", NULL, false },
	{ "help", FULL_ONLY(immure_cli_help), 0, "[COMMAND]", "Print help", NULL, false },
	{ NULL, NULL, 0, NULL, NULL, NULL, false },
};

const struct immure_cli_command *immure_cli_commands(void)
{
	return commands;
}

const struct immure_cli_command *immure_cli_command_find(const char *name)
{
	for (size_t i = 0; commands[i].name; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* Whatever is opened later must not become somebody's standard output. The
 * descriptors made here are meant to be inherited, so not CLOEXEC. */
static int open_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		/* The lowest free number is fd itself. Without /dev, or with another /dev/null, a
		 * descriptor on which every read and write fails still keeps the number. */
		int null = immure_open_null();

		if (null >= 0 ? fcntl(null, F_SETFD, 0) < 0 : open("/", O_PATH | O_DIRECTORY) < 0)
			return -errno;
	}
	return 0;
}

static int unknown_command(const char *name)
{
	const struct immure_cli_command *near = NULL;
	unsigned int least = 3;

	for (size_t i = 0; commands[i].name; i++) {
		unsigned int d = immure_opt_distance(name, commands[i].name, least);

		/* Of two letters, two that differ leave nothing in common. */
		if (d < least && d < strlen(name) && !commands[i].hidden) {
			least = d;
			near = &commands[i];
		}
	}
	if (near)
		immure_cli_say("%s: no such command; did you mean '%s'?", name, near->name);
	else
		immure_cli_say("%s: no such command; to run it sealed in: immure run -- %s", name,
			       name);
	return IMMURE_EXIT_FAILED;
}

static int usage(void)
{
	immure_cli_say("no command given; try 'immure run -- COMMAND' or 'immure help'");
	return IMMURE_EXIT_FAILED;
}

static int dispatch(int argc, char **argv)
{
	static char help[] = "help";
	const struct immure_cli_command *c;
	const char *name = argv[0];

	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		return immure_cli_print("immure " IMMURE_VERSION "\n");
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		argv[0] = help;
	c = immure_cli_command_find(argv[0]);
	if (!c)
		return unknown_command(name);
	if (!c->fn) {
#ifdef IMMURE_LEAN
		struct immure_error *err = NULL;

		(void)immure_cli_hand_over(argc, argv, &err); /* returns only with an error */
		return immure_cli_fail(err);
#else
		immure_cli_say("%s: not in this build", name);
		return IMMURE_EXIT_FAILED;
#endif
	}
	return c->fn(argc, argv);
}

/* With less of it we, or init later on, would only die of it. Not raised: the command
 * is to have the caller's. */
static bool has_stack(void)
{
	enum { NEEDED_KIB = 512 };
	struct rlimit lim;

	if (getrlimit(RLIMIT_STACK, &lim) < 0 || lim.rlim_cur >= NEEDED_KIB * 1024)
		return true;
	immure_cli_say("stack: the limit is %llu KiB and immure needs %d; ulimit -s %d",
		       (unsigned long long)lim.rlim_cur / 1024, NEEDED_KIB, NEEDED_KIB);
	return false;
}

int main(int argc, char **argv)
{
	const char *shell;

	if (open_standard_fds() < 0 || !has_stack())
		return IMMURE_EXIT_FAILED;
#ifdef IMMURE_LEAN
	/* Somebody put this program where the full one belongs: handing over
	 * would come back here for ever. */
	if (argc > 0 && !strcmp(argv[0], "immure-full")) {
		immure_cli_say("immure-full: is the lean program; install immure completely");
		return IMMURE_EXIT_FAILED;
	}
#endif
	shell = immure_cli_shell_name(argc, argv);
	if (shell)
		return immure_cli_as_shell(shell, argc, argv);
	return argc < 2 ? usage() : dispatch(argc - 1, argv + 1);
}
