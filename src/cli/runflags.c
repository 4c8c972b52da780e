/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/runflags.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

enum {
	OPT_HELP = 1,
	OPT_JSON,
	OPT_PROFILE,
	OPT_POLICY,
	OPT_NO_POLICY,
	OPT_WORKSPACE,
	OPT_RESULT,
	OPT_PROVE,
	OPT_TRACE_TIME,
	OPT_QUIET,
	OPT_SET,
	OPT_CWD,
	OPT_VERSION,
	OPT_FORMAT,
	OPT_COMMAND,
	OPT_DRY_RUN,
	OPT_FORCE,
	OPT_ENDED,
	OPT_ACKNOWLEDGE,
	OPT_STOP_TIME,
	OPT_VALID,
	OPT_SESSION,
	OPT_NAME,
	OPT_LABEL,
	OPT_MAX_LIFE,
	OPT_IDLE,
	OPT_ON_IDLE,
	OPT_RM,
	OPT_TTY,
	OPT_DETACH,
	OPT_ENV,
	OPT_TIMEOUT,
	OPT_ID_KEY,
	OPT_CAPTURE,
	OPT_ALL,
	OPT_FOLLOW,
	OPT_GRACE,
	OPT_EXEC,
	OPT_SIGNAL,
	OPT_RENDER,
	OPT_STDIO,
	OPT_RW,
	OPT_POOL,
	OPT_POOL_WAIT,
	OPT_POOL_SIZE,
	OPT_POOL_MAX,
	OPT_CONFIG,
	OPT_TARGET,
	OPT_DISCLOSE,
	OPT_CLEANUP,
	OPT_COUNT,
	OPT_MODE,
	OPT_REUSE,
	OPT_APPROVAL,
	OPT_PLATFORM,
	OPT_HOST,
	OPT_AUTHFILE,
	OPT_PLAIN_HTTP,
	OPT_REF,
	OPT_MAX_SIZE,
	OPT_COW,
	OPT_STAT,
	OPT_LIST,
	OPT_OVERWRITE,
	OPT_REST,
	OPT_LINKS,
	OPT_UNDO,
	OPT_ABANDON,
	OPT_KEY = 100, /* + index of the policy flag */
};

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

enum { SELF_MAX = 5 }; /* programs of ours */

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

static int add_setting(struct immure_runflags *f, uint32_t index, const char *value)
{
	struct immure_flag flag = { .size = sizeof(flag) };
	struct immure_setting *s;

	if (immure_policy_flag(index, &flag) < 0)
		return -EINVAL;
	f->image.is_named = f->image.is_named || strcmp(flag.key, "image") == 0;
	s = &f->settings[f->policy.settings_n++];
	s->key = flag.key;
	s->value = value ? value : "true";
	s->source = immure_arena_printf(&f->arena, "--%s", flag.flag);
	return s->source ? 0 : -ENOMEM;
}

/* KEY=VALUE, +KEY=VALUE or -KEY. */
static int add_any(struct immure_runflags *f, const char *text)
{
	struct immure_setting *s = &f->settings[f->policy.settings_n];
	const char *eq = strchr(text, '=');

	if (!eq && text[0] != '-') {
		f->wrong = "--set: expected KEY=VALUE, or -KEY to empty a list";
		return -EINVAL;
	}
	s->key = eq ? immure_arena_strndup(&f->arena, text, (size_t)(eq - text)) : text;
	s->value = eq ? eq + 1 : "";
	s->source = "--set";
	if (!s->key)
		return -ENOMEM;
	f->policy.settings_n++;
	return 0;
}

static int add_text(struct immure_runflags *f, struct immure_strv *l, const char *value)
{
	if (!strchr(value, '=')) {
		f->wrong = "expected NAME=VALUE";
		return -EINVAL;
	}
	return immure_strv_add(&f->arena, l, value) ? 0 : -ENOMEM;
}

static int take_time(struct immure_runflags *f, const char *value, uint64_t *ret_ms)
{
	if (immure_parse_duration(value, ret_ms) == 0 && *ret_ms > 0)
		return 0;
	f->wrong = "expected a time above 0, such as 30s or 10m";
	return -EINVAL;
}

static int take_exec(struct immure_runflags *f, const char *value)
{
	f->session.has_exec = true;
	if (immure_parse_u64(value, &f->session.exec) == 0 && f->session.exec > 0)
		return 0;
	f->wrong = "expected the number of an exec";
	return -EINVAL;
}

static int take_count(struct immure_runflags *f, const char *value, uint32_t *ret)
{
	uint64_t n;

	f->wrong = "expected a number from 1 to 4096";
	if (immure_parse_u64(value, &n) < 0 || n < 1 || n > 4096)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

/* 1: none of these. */
static int take_session_option(struct immure_runflags *f, int id, const char *value)
{
	struct immure_sessionflags *s = &f->session;

	switch (id) {
	case OPT_SESSION: s->session = value; return 0;
	case OPT_NAME: s->name = value; return 0;
	case OPT_LABEL: return add_text(f, &s->labels, value);
	case OPT_MAX_LIFE: return take_time(f, value, &s->life_ms);
	case OPT_IDLE: return take_time(f, value, &s->idle_ms);
	case OPT_ON_IDLE: s->idle_stops = strcmp(value, "stop") == 0; return 0;
	case OPT_RM: s->remove = true; return 0;
	case OPT_TTY: s->tty = true; return 0;
	case OPT_DETACH: s->detach = true; return 0;
	case OPT_ENV: return add_text(f, &s->env, value);
	case OPT_TIMEOUT: return take_time(f, value, &s->timeout_ms);
	case OPT_ID_KEY: s->key = value; return 0;
	case OPT_APPROVAL: s->approval = value; return 0;
	case OPT_CAPTURE: s->capture = value; return 0;
	case OPT_ALL: s->all = true; return 0;
	case OPT_FOLLOW: s->follow = true; return 0;
	case OPT_GRACE: s->has_grace = true; return take_time(f, value, &s->grace_ms);
	case OPT_EXEC: return take_exec(f, value);
	case OPT_RW: s->writable = true; return 0;
	case OPT_STDIO: s->stdio = true; return 0;
	case OPT_CLEANUP:
		s->keep_always = strcmp(value, "host") == 0;
		s->keep_failed = strcmp(value, "on-success") == 0;
		return 0;
	case OPT_TARGET: s->target = value; return 0;
	case OPT_COUNT: return take_count(f, value, &s->count);
	case OPT_CONFIG: s->config = true; return 0;
	case OPT_POOL: s->pool = value; return 0;
	case OPT_POOL_WAIT: return take_time(f, value, &s->wait_ms);
	case OPT_REUSE: s->reuse = true; return 0;
	case OPT_MODE: s->zygote = strcmp(value, "zygote") == 0; return 0;
	case OPT_POOL_SIZE: return take_count(f, value, &s->pool_size);
	case OPT_POOL_MAX: return take_count(f, value, &s->pool_max);
	case OPT_SIGNAL: s->user_signal = value; return 0;
	case OPT_PLATFORM: f->image.platform = value; return 0;
	case OPT_HOST: return immure_strv_add(&f->arena, &f->image.hosts, value) ? 0 : -ENOMEM;
	case OPT_AUTHFILE: f->image.auth_file = value; return 0;
	case OPT_PLAIN_HTTP: f->image.plain_http = true; return 0;
	case OPT_REF: f->image.which = value; return 0;
	case OPT_MAX_SIZE:
		f->wrong = "--max-size: expected a size above 0, such as 2G";
		return immure_parse_size(value, &f->image.max_bytes) == 0 && f->image.max_bytes ? 0 : -EINVAL;
	case OPT_STAT: f->stat = true; return 0;
	case OPT_LIST: f->list = true; return 0;
	case OPT_OVERWRITE: f->apply |= IMMURE_WORKSPACE_OVERWRITE; return 0;
	case OPT_REST: f->apply |= IMMURE_WORKSPACE_REST; return 0;
	case OPT_LINKS: f->apply |= IMMURE_WORKSPACE_LINKS; return 0;
	case OPT_UNDO: f->apply |= IMMURE_WORKSPACE_UNDO; return 0;
	case OPT_ABANDON: f->apply |= IMMURE_WORKSPACE_ABANDON; return 0;
	default: return 1;
	}
}

static int take_option(void *ctx, int id, const char *value)
{
	struct immure_runflags *f = ctx;
	int r = id < OPT_KEY ? take_session_option(f, id, value) : 1;

	if (r <= 0)
		return r;

	switch (id) {
	case OPT_HELP:
		return -ECANCELED;
	case OPT_JSON:
		f->json = true;
		break;
	case OPT_PROFILE:
		f->policy.profile = value;
		break;
	case OPT_POLICY:
		f->policy.file = value;
		break;
	case OPT_NO_POLICY:
		f->policy.flags |= IMMURE_POLICY_NO_DISCOVERY;
		break;
	case OPT_WORKSPACE:
		f->policy.workspace = value;
		break;
	case OPT_RESULT:
		f->result = value;
		break;
	case OPT_PROVE:
		f->prove = true;
		break;
	case OPT_TRACE_TIME:
		f->trace_time = true;
		break;
	case OPT_QUIET:
		f->quiet = true;
		break;
	case OPT_DISCLOSE:
		f->disclose = true;
		break;
	case OPT_COW:
		f->settings[f->policy.settings_n++] = (struct immure_setting){ "workspace.mode", "cow", "--cow" };
		break;
	case OPT_SET:
		return add_any(f, value);
	case OPT_CWD:
		f->cwd = value;
		break;
	case OPT_VERSION:
		f->version = value;
		break;
	case OPT_RENDER:
		f->render = true;
		break;
	case OPT_COMMAND:
		f->command = value;
		break;
	case OPT_FORMAT:
		f->format = value;
		break;
	case OPT_DRY_RUN:
		f->dry_run = true;
		break;
	case OPT_ENDED:
		f->ended = true;
		break;
	case OPT_FORCE:
		f->force = true;
		break;
	case OPT_ACKNOWLEDGE:
		f->acknowledge = true;
		break;
	case OPT_VALID:
		f->wrong = "--valid: expected a time such as 10m";
		return immure_parse_duration(value, &f->valid_ms);
	case OPT_STOP_TIME:
		f->wrong = "--stop-time: expected a time such as 10s";
		return immure_parse_duration(value, &f->stop_ms);
	default:
		return add_setting(f, (uint32_t)(id - OPT_KEY), value);
	}
	return 0;
}

static int print_help(const struct immure_cli_command *c, const struct immure_opt *table, size_t n)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;
	int status;

	immure_buf_printf(&out, "usage: immure %s%s%s\n\n%s.\n", c->name, c->usage[0] ? " " : "",
			  c->usage, c->summary);
	if (c->description)
		immure_buf_printf(&out, "\n%s\n", c->description);
	immure_buf_puts(&out, "\nOptions:\n");
	immure_opt_help(table, n, &out);
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	return status;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return !strncmp(path, top, len) && (!path[len] || path[len] == '/' || len == 1);
}

/* When we run from inside the workspace (a build tree, a tool kept in the
 * repository), the command must not be able to change what runs next time. */
static int protect_self(struct immure_runflags *f)
{
	static const char *const names[] = { "immure", "immure-full", "immure-attack",
					     "immure-egress", "immure-image" };
	const char *given = f->policy.workspace;
	char top[PATH_MAX], path[IMMURE_CLI_PATH_MAX], real[PATH_MAX];

	/* No workspace: loading the policy says so. */
	if (!(given ? realpath(given, top) : getcwd(top, sizeof(top))) ||
	    !immure_cli_own_directory(path) || !is_below(path, top))
		return 0;
	for (size_t i = 0; i < SELF_MAX; i++) {
		struct immure_setting *s = &f->settings[f->policy.settings_n];

		if (!immure_cli_own_program(names[i], path) || !realpath(path, real) ||
		    !is_below(real, top))
			continue;
		s->key = "+files.protect";
		s->value = immure_arena_strdup(&f->arena, real);
		s->source = "(the program itself)";
		if (!s->value)
			return -ENOMEM;
		f->policy.settings_n++;
		f->self_n++;
	}
	return 0;
}

int immure_runflags_parse(const char *command, int argc, char **argv, struct immure_runflags *ret)
{
	const struct immure_cli_command *c = immure_cli_command_find(command);
	struct immure_runflags f = { .argc = argc, .argv = argv };
	struct immure_opt *table;
	char *error = NULL;
	int r, status = IMMURE_CLI_GO_ON;
	size_t n = 0;

	f.policy.size = sizeof(f.policy);
	f.policy.env = (const char *const *)environ;
	table = immure_runflags_table(c ? c->bit : 0, &n);
	f.settings = calloc((size_t)argc + SELF_MAX + 1, sizeof(*f.settings)); /* 1: shell.c */
	if (!table || !f.settings) {
		immure_cli_say("out of memory");
		status = IMMURE_EXIT_FAILED;
		goto out;
	}
	r = immure_opt_parse(table, n, argc, argv, take_option, &f, &error);
	if (r == -ECANCELED) {
		status = c ? print_help(c, table, n) : 0;
	} else if (r < 0) {
		immure_cli_say("%s: %s", command, error ? error : f.wrong ? f.wrong : strerror(-r));
		status = IMMURE_EXIT_FAILED;
	}
	f.first = r;
	f.policy.settings = f.settings;
	if (f.image.is_named && !f.policy.profile)
		f.policy.profile = "image";
	/* What is wrapped is started by this program, which then does it anew. */
	if (status == IMMURE_CLI_GO_ON && c && c->bit & IMMURE_CLI_WITH_POLICY &&
	    c->bit != IMMURE_CLI_WRAP && protect_self(&f) < 0) {
		immure_cli_say("out of memory");
		status = IMMURE_EXIT_FAILED;
	}
out:
	free(error);
	free(table);
	if (status != IMMURE_CLI_GO_ON)
		immure_runflags_done(&f);
	*ret = f;
	return status;
}

void immure_runflags_done(struct immure_runflags *f)
{
	free(f->settings);
	f->settings = NULL;
	immure_arena_done(&f->arena);
}

static int32_t load(const struct immure_runflags *f, uint64_t settings_n, immure_policy **ret,
		    struct immure_error **err)
{
	struct immure_policy_options options = f->policy;
	int32_t r;

	options.settings_n = settings_n;
	r = immure_policy_load(&options, ret, err);
#ifdef IMMURE_LEAN
	if (r == -IMMURE_ERR_UNSUPPORTED && !strcmp(immure_error_stage(*err), "json")) {
		immure_error_free(*err);
		*err = NULL;
		r = immure_cli_hand_over(f->argc, f->argv, err);
	}
#endif
	return r;
}

/* Whoever made these arguments saw this policy; a profile of another release, or
 * a file that changed since, is not it. */
static int32_t check_version(const struct immure_runflags *f, const immure_policy *policy,
			     struct immure_error **err)
{
	int32_t r;

	if (!strcmp(immure_policy_version(policy), f->version))
		return 0;
	r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "",
			"--policy-version: the policy is %s now, not %s",
			immure_policy_version(policy), f->version);
	if (*err)
		immure_error_set_hint(*err, "look at it and wrap the command anew");
	return r;
}

int32_t immure_runflags_policy(const struct immure_runflags *f, immure_policy **ret,
			       struct immure_error **err)
{
	uint64_t given = f->policy.settings_n - f->self_n;
	struct immure_error *e = NULL;
	immure_policy *policy = NULL;
	int32_t r = 0;

	if (f->version) {
		r = load(f, given, &policy, &e);
		if (r == 0)
			r = check_version(f, policy, &e);
	}
	if (r == 0 && (!policy || f->self_n)) {
		immure_policy_free(policy);
		policy = NULL;
		r = load(f, f->policy.settings_n, &policy, &e);
	}
	if (r == 0) {
		*ret = policy;
		return 0;
	}
	immure_policy_free(policy);
	if (err)
		*err = e;
	else
		immure_error_free(e);
	return r;
}
