/* SPDX-License-Identifier: Apache-2.0 */
/* Every option of every command that takes a policy or names a session; those of policy keys
 * come from the table of keys. */
#include "cli/flagtable.h"

#include <stdlib.h>
#include <string.h>

#include "cli/runflags.h"

static const struct {
	uint64_t commands;
	struct immure_opt opt;
} own[] = {
	{ IMMURE_CLI_WITH_POLICY,
	  { "profile", 'p', "NAME", "build on this profile (default: dev)", NULL, OPT_PROFILE } },
	{ IMMURE_CLI_WITH_POLICY,
	  { "policy", 0, "FILE", "read this policy file instead of looking for one", NULL,
	    OPT_POLICY } },
	{ IMMURE_CLI_WITH_POLICY,
	  { "no-policy", 0, NULL, "look for no policy file: profile and flags only", NULL,
	    OPT_NO_POLICY } },
	{ IMMURE_CLI_WITH_POLICY,
	  { "workspace", 'w', "DIR", "the directory the command works in (default: .)", NULL,
	    OPT_WORKSPACE } },
	{ IMMURE_CLI_WITH_POLICY,
	  { "cow", 0, NULL, "short for --workspace-mode cow: nothing lands before immure apply", NULL,
	    OPT_COW } },
	{ IMMURE_CLI_WITH_POLICY,
	  { "set", 0, "KEY=VALUE",
	    "set a policy key; +KEY=VALUE adds to a list, -KEY empties it", NULL, OPT_SET } },
	{ IMMURE_CLI_WITH_POLICY & ~(uint32_t)IMMURE_CLI_POLICY,
	  { "cwd", 0, "DIR", "start in this directory; relative: to the workspace", NULL,
	    OPT_CWD } },
	{ IMMURE_CLI_WITH_POLICY & ~(uint32_t)IMMURE_CLI_WRAP,
	  { "policy-version", 0, "VERSION", "refuse unless the policy has this version", NULL,
	    OPT_VERSION } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_PROVE,
	  { "result", 0, "FILE", "write a JSON record of the run to FILE", NULL, OPT_RESULT } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_CREATE | IMMURE_CLI_CLONE,
	  { "prove", 0, NULL, "attack from inside first; start only when everything holds", NULL,
	    OPT_PROVE } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_PROVE,
	  { "trace-time", 0, NULL, "print where the time went", NULL, OPT_TRACE_TIME } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_PROVE | IMMURE_CLI_WRAP,
	  { "quiet", 'q', NULL, "print errors only, no notices", NULL, OPT_QUIET } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL,
	  { "disclose", 0, NULL, "say on standard error, in one line, what the command is sealed in",
	    NULL, OPT_DISCLOSE } },
	{ IMMURE_CLI_PLAN,
	  { "render", 0, NULL, "print what the backend starts from on its own platform", NULL,
	    OPT_RENDER } },
	{ IMMURE_CLI_SHELL,
	  { "command", 'c', "COMMAND", "let the shell run this; further arguments are its $0, $1 ...",
	    NULL, OPT_COMMAND } },
	{ IMMURE_CLI_WRAP,
	  { "format", 0, "FORMAT", "how to print: words for a shell, JSON, words that each end in "
	    "NUL, or a program", "shell|json|nul|script", OPT_FORMAT } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_WRAP,
	  { "session", 0, "SESSION", "run it in this living session, whose policy counts", NULL,
	    OPT_SESSION } },
	{ IMMURE_CLI_MOUNT,
	  { "rw", 0, NULL, "writable inside; read-only otherwise", NULL, OPT_RW } },
	{ IMMURE_CLI_SERVE,
	  { "stdio", 0, NULL, "speak over standard input and output, one JSON object a line", NULL,
	    OPT_STDIO } },
	{ IMMURE_CLI_BENCH,
	  { "target", 0, "TARGET", "what is timed (default: cold-start)",
	    "cold-start|hot-acquire|warm-throughput", OPT_TARGET } },
	{ IMMURE_CLI_BENCH,
	  { "count", 0, "N", "how many samples (default: 50)", NULL, OPT_COUNT } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_FORK,
	  { "count", 0, "N", "make so many, all or none; of --name NAME they are NAME-1, NAME-2 ...", NULL,
	    OPT_COUNT } },
	{ IMMURE_CLI_MCP,
	  { "config", 0, NULL, "print how a client starts this server, and exit", NULL, OPT_CONFIG } },
	{ IMMURE_CLI_RUN,
	  { "cleanup", 0, "WHEN", "what the command leaves goes: always (default), on success only, or when "
	    "the caller says so (immure stop)", "always|on-success|host", OPT_CLEANUP } },
	{ IMMURE_CLI_RUN,
	  { "pool", 0, "NAME", "run it in a sandbox of this pool, under its policy; flags may only narrow that",
	    NULL, OPT_POOL } },
	{ IMMURE_CLI_RUN,
	  { "pool-wait", 0, "TIME", "when all of the pool are in use, wait for so long (default: not)",
	    NULL, OPT_POOL_WAIT } },
	{ IMMURE_CLI_POOL,
	  { "mode", 0, "MODE", "what is kept: sessions, or a template after which a sandbox is made for "
	    "each command (default: sessions)", "sessions|zygote", OPT_MODE } },
	{ IMMURE_CLI_POOL,
	  { "reuse", 0, NULL, "use a session again, for the same user, when it proves itself clean after its "
	    "caller; refused where that cannot be proven (default: each is destroyed)", NULL, OPT_REUSE } },
	{ IMMURE_CLI_POOL,
	  { "snapshot", 0, "NAME", "each session begins with the files of this snapshot, as `immure resume` makes it; "
	    "flags are on top of its policy", NULL, OPT_SNAPSHOT } },
	{ IMMURE_CLI_POOL,
	  { "size", 0, "N", "how many are kept ready (default: 1)", NULL, OPT_POOL_SIZE } },
	{ IMMURE_CLI_POOL,
	  { "max", 0, "N", "how many there may be, those in use too (default: 16, or --size)", NULL,
	    OPT_POOL_MAX } },
	{ IMMURE_CLI_POOL,
	  { "idle", 0, "TIME", "end one above --size that nobody took for so long (default: 30s)", NULL,
	    OPT_IDLE } },
	{ IMMURE_CLI_POOL,
	  { "force", 'f', NULL, "stop: end those in use as well", NULL, OPT_FORCE } },
	{ IMMURE_CLI_IMAGE,
	  { "name", 0, "NAME", "import, pull: what to call it (default: as the source does)", NULL, OPT_NAME } },
	{ IMMURE_CLI_IMAGE,
	  { "allow", 0, "HOST[:PORT]", "pull: may be reached beside the registry; may be repeated", NULL, OPT_HOST } },
	{ IMMURE_CLI_IMAGE,
	  { "authfile", 0, "FILE", "pull: credentials, as containers-auth.json(5) has them", NULL, OPT_AUTHFILE } },
	{ IMMURE_CLI_IMAGE,
	  { "plain-http", 0, NULL, "pull: without TLS, or with a certificate that nobody vouches for", NULL, OPT_PLAIN_HTTP } },
	{ IMMURE_CLI_IMAGE,
	  { "ref", 0, "NAME", "import: which of the source's images", NULL, OPT_REF } },
	{ IMMURE_CLI_IMAGE,
	  { "platform", 0, "OS/ARCH", "import, pull: for which machine (default: this one)", NULL, OPT_PLATFORM } },
	{ IMMURE_CLI_IMAGE,
	  { "max-size", 0, "SIZE", "import, pull: refuse what is larger unpacked (default: 64G)", NULL, OPT_MAX_SIZE } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_POOL | IMMURE_CLI_CLONE | IMMURE_CLI_SNAPSHOT,
	  { "name", 0, "NAME", "a name for the session, snapshot or pool", NULL, OPT_NAME } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_RUN | IMMURE_CLI_CLONE | IMMURE_CLI_SNAPSHOT,
	  { "label", 0, "KEY=VALUE", "attach a label to the session or snapshot; may be repeated", NULL,
	    OPT_LABEL } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_CLONE,
	  { "max-life", 0, "TIME", "end the session after this time", NULL, OPT_MAX_LIFE } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_CLONE,
	  { "idle-timeout", 0, "TIME", "suspend it when no command ran for this time", NULL,
	    OPT_IDLE } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_CLONE,
	  { "on-idle", 0, "WHAT", "what --idle-timeout does (default: suspend)", "suspend|stop",
	    OPT_ON_IDLE } },
	{ IMMURE_CLI_CREATE | IMMURE_CLI_STOP | IMMURE_CLI_CLONE,
	  { "rm", 0, NULL, "keep no record of the session when it has ended", NULL, OPT_RM } },
	{ IMMURE_CLI_EXEC,
	  { "tty", 't', NULL, "give the command a terminal of its own", NULL, OPT_TTY } },
	{ IMMURE_CLI_EXEC,
	  { "detach", 'd', NULL, "do not wait; print the number of the exec", NULL, OPT_DETACH } },
	{ IMMURE_CLI_EXEC, { "cwd", 0, "DIR", "start in this directory, inside", NULL, OPT_CWD } },
	{ IMMURE_CLI_EXEC,
	  { "env", 'e', "NAME=VALUE", "add a variable; may be repeated", NULL, OPT_ENV } },
	{ IMMURE_CLI_RUN | IMMURE_CLI_SHELL | IMMURE_CLI_EXEC,
	  { "approval", 0, "TOKEN", "what the mediator gave when it put the command off (mediator.mode)", NULL,
	    OPT_APPROVAL } },
	{ IMMURE_CLI_EXEC,
	  { "timeout", 0, "TIME", "end the command after this time (status 124)", NULL, OPT_TIMEOUT } },
	{ IMMURE_CLI_EXEC,
	  { "key", 0, "KEY", "run once: the same key and command get the first one's result", NULL,
	    OPT_ID_KEY } },
	{ IMMURE_CLI_EXEC,
	  { "capture", 0, "MODE", "what is kept of a detached command's output (default: content)",
	    "off|metadata|summary|content", OPT_CAPTURE } },
	{ IMMURE_CLI_ATTACH | IMMURE_CLI_LOGS | IMMURE_CLI_SIGNAL,
	  { "exec", 0, "N", "the number of the exec (default: the last one)", NULL, OPT_EXEC } },
	{ IMMURE_CLI_PS, { "all", 'a', NULL, "ended ones as well", NULL, OPT_ALL } },
	{ IMMURE_CLI_STATS | IMMURE_CLI_LOGS,
	  { "follow", 'f', NULL, "go on until it ends", NULL, OPT_FOLLOW } },
	{ IMMURE_CLI_RM,
	  { "force", 'f', NULL, "end a living one first, at once", NULL, OPT_FORCE } },
	{ IMMURE_CLI_STOP,
	  { "force", 'f', NULL, "do not wait for anything: SIGKILL at once", NULL, OPT_FORCE } },
	{ IMMURE_CLI_STOP,
	  { "grace", 0, "TIME", "from SIGTERM to SIGKILL (default: 2s)", NULL, OPT_GRACE } },
	{ IMMURE_CLI_SIGNAL,
	  { "signal", 's', "SIGNAL", "which (default: TERM, of kill: KILL)", NULL, OPT_SIGNAL } },
	{ IMMURE_CLI_PROVE | IMMURE_CLI_PLAN | IMMURE_CLI_DOCTOR | IMMURE_CLI_POLICY |
		  IMMURE_CLI_WRAP | IMMURE_CLI_GC | IMMURE_CLI_JOURNAL | IMMURE_CLI_RECLAIM | IMMURE_CLI_DETACH |
		  IMMURE_CLI_CREATE | IMMURE_CLI_EXEC | IMMURE_CLI_PS | IMMURE_CLI_ASK |
		  IMMURE_CLI_STATS | IMMURE_CLI_LOGS | IMMURE_CLI_STOP | IMMURE_CLI_SIGNAL |
		  IMMURE_CLI_COPY | IMMURE_CLI_RM | IMMURE_CLI_MOUNT | IMMURE_CLI_POOL |
		  IMMURE_CLI_BENCH | IMMURE_CLI_EXPLAIN | IMMURE_CLI_IMAGE | IMMURE_CLI_DIFF |
		  IMMURE_CLI_APPLY | IMMURE_CLI_SNAPSHOT | IMMURE_CLI_CLONE,
	  { "json", 0, NULL, "print JSON", NULL, OPT_JSON } },
	{ IMMURE_CLI_DIFF, { "stat", 0, NULL, "names only, no contents", NULL, OPT_STAT } },
	{ IMMURE_CLI_DIFF, { "list", 'l', NULL, "which workspaces there are", NULL, OPT_LIST } },
	{ IMMURE_CLI_APPLY,
	  { "overwrite", 0, NULL, "also what was changed on the host meanwhile", NULL, OPT_OVERWRITE } },
	{ IMMURE_CLI_APPLY,
	  { "rest", 0, NULL, "apply what may land, though something else may not", NULL, OPT_REST } },
	{ IMMURE_CLI_APPLY,
	  { "links", 0, NULL, "also links that lead out of the workspace", NULL, OPT_LINKS } },
	{ IMMURE_CLI_APPLY,
	  { "undo", 0, NULL, "of an apply that was interrupted, undo what it did", NULL, OPT_UNDO } },
	{ IMMURE_CLI_APPLY,
	  { "abandon", 0, NULL, "undo what can be; what others changed since stays, and what was there before is put beside it",
	    NULL, OPT_ABANDON } },
	{ IMMURE_CLI_APPLY,
	  { "dry-run", 'n', NULL, "print what would land, change nothing", NULL, OPT_DRY_RUN } },
	{ IMMURE_CLI_GC,
	  { "dry-run", 'n', NULL, "print what would be removed, remove nothing", NULL, OPT_DRY_RUN } },
	{ IMMURE_CLI_GC,
	  { "ended", 0, NULL, "also the records of sessions that ended in order", NULL, OPT_ENDED } },
	{ IMMURE_CLI_GC | IMMURE_CLI_RECLAIM,
	  { "force", 0, NULL, "also where the journal was changed by somebody and cannot tell all",
	    NULL, OPT_FORCE } },
	{ IMMURE_CLI_RECLAIM,
	  { "acknowledge", 0, NULL, "only say that the ticket has arrived; the session lives on", NULL,
	    OPT_ACKNOWLEDGE } },
	{ IMMURE_CLI_DETACH,
	  { "valid", 0, "TIME", "void unless acknowledged within this time (default: 10m)", NULL,
	    OPT_VALID } },
	{ IMMURE_CLI_RECLAIM,
	  { "stop-time", 0, "TIME", "let the session end by itself for so long (default: 10s)", NULL,
	    OPT_STOP_TIME } },
	{ UINT32_MAX, { "help", 'h', NULL, "print this and exit", NULL, OPT_HELP } },
};
#define OWN_N (sizeof(own) / sizeof(own[0]))

/* Of this command: another one may have an option of the same name. */
static bool is_own(uint64_t bit, const char *name)
{
	for (size_t i = 0; i < OWN_N; i++)
		if (own[i].commands & bit && !strcmp(own[i].opt.name, name))
			return true;
	return false;
}

/* As many as there may ever be: each flag is looked up but once, on every launch. */
enum { KEY_FLAGS_MOST = 256 };

static uint32_t key_flags(uint64_t bit, struct immure_opt table[KEY_FLAGS_MOST])
{
	uint32_t n = 0;

	for (uint32_t i = 0; n < KEY_FLAGS_MOST; i++) {
		struct immure_flag flag = { .size = sizeof(flag) };

		if (immure_policy_flag(i, &flag) < 0)
			return n;
		if (is_own(bit, flag.flag))
			continue;
		table[n++] = (struct immure_opt){ flag.flag, 0, flag.argument, flag.help,
							flag.choices, (int)(OPT_KEY + i) };
	}
	return n;
}

struct immure_opt *immure_runflags_table(uint64_t bit, size_t *ret_n)
{
	bool keys = bit & IMMURE_CLI_WITH_POLICY;
	struct immure_opt *table = calloc(OWN_N + (keys ? KEY_FLAGS_MOST : 0), sizeof(*table));
	size_t n = 0;

	if (!table)
		return NULL;
	for (size_t i = 0; i < OWN_N; i++)
		if (own[i].commands & bit || own[i].commands == UINT32_MAX)
			table[n++] = own[i].opt;
	if (keys)
		n += key_flags(bit, table + n);
	*ret_n = n;
	return table;
}
