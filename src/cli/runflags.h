/* SPDX-License-Identifier: Apache-2.0 */
/* The options of one command: the ones written here plus, for commands that
 * load a policy, the flag of every policy key. */
#ifndef IMMURE_CLI_RUNFLAGS_H
#define IMMURE_CLI_RUNFLAGS_H

#include "base/arena.h"
#include "base/opt.h"
#include "cli/cli.h"

/* Of the commands about sessions. */
struct immure_sessionflags {
	const char *session;      /* run --session */
	const char *name, *key, *capture, *user_signal;
	struct immure_strv labels, env;
	uint64_t life_ms, idle_ms, timeout_ms, grace_ms, exec;
	const char *approval;     /* --approval */
	const char *pool;         /* run --pool */
	uint64_t wait_ms;         /* --pool-wait */
	uint32_t pool_size, pool_max;
	const char *target;       /* bench --target */
	uint32_t count;           /* bench --count; 0 = not given */
	bool config;              /* mcp --config */
	bool zygote;              /* --mode */
	bool reuse;
	const char *snapshot;     /* pool start --snapshot */
	bool keep_failed, keep_always; /* run --cleanup */
	bool idle_stops, remove, tty, detach, all, follow, stdio, writable, has_grace, has_exec;
};

struct immure_runflags {
	struct immure_sessionflags session;
	struct {
		bool is_named;                /* --image: a command of its own will do */
		const char *platform, *which, *auth_file;
		struct immure_strv hosts; /* of pull */
		bool plain_http;
		uint64_t max_bytes;
	} image;
	struct immure_policy_options policy; /* ready for immure_policy_load() */
	struct immure_setting *settings;     /* what policy.settings points to */
	struct immure_arena arena;           /* their sources: "--memory" */
	const char *result;                  /* --result FILE */
	const char *cwd;                     /* --cwd DIR */
	const char *version;                 /* --policy-version */
	const char *format;                  /* --format */
	const char *command;                 /* --command: a shell's -c */
	const char *wrong;                   /* while parsing: what is wrong with a value */
	uint64_t self_n;                     /* settings at the end that protect this program */
	bool json;
	bool render;                         /* --render */
	bool prove;
	bool trace_time;
	bool quiet;
	bool disclose;                       /* --disclose */
	bool stat, list;                     /* diff */
	uint32_t apply;                      /* IMMURE_WORKSPACE_* */
	bool dry_run, force, ended, acknowledge; /* gc, reclaim */
	uint64_t valid_ms;                   /* --valid; 0 = not given */
	uint64_t stop_ms;                    /* --stop-time; 0 = not given */
	int argc;                            /* as given to the command */
	char **argv;
	int first;                           /* index of the first operand in argv */
};

enum { IMMURE_CLI_GO_ON = -1 };

/* Parses argv. IMMURE_CLI_GO_ON, or the exit status to return at once: 0 after
 * --help, 125 after a usage error that has been printed. */
int immure_runflags_parse(const char *command, int argc, char **argv,
			  struct immure_runflags *ret);
/* The same for a command whose first operand says which of several things it does; "": it is not there. */
int immure_runflags_parse_verb(const char *command, int argc, char **argv, const char **ret_verb,
			       struct immure_runflags *ret);
/* One line: it is none of these verbs, or is not there. */
int immure_cli_no_verb(const char *command, const char *verb, const char *verbs);
/* Safe on what a failed parse left, and twice. */
void immure_runflags_done(struct immure_runflags *f);
/* Loads the policy, as immure_policy_load(). In the lean program it may not
 * return: a policy that needs a JSON reader is immure-full's matter. */
int32_t immure_runflags_policy(const struct immure_runflags *f, immure_policy **ret,
			       struct immure_error **err);

/* Starts argv as `run` does, and frees what the flags hold (run.c). */
int immure_cli_run_argv(struct immure_runflags *f, const char *const *argv);

/* The option table of a command, for help, man pages and completions; freed
 * with free(). The strings in it are static. */
struct immure_opt *immure_runflags_table(uint64_t bit, size_t *ret_n);

#endif
