/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libimmure — run a command sealed in.
 *
 * policy + facts -> plan -> session -> proof. Every object is opaque, made by
 * one call and freed by one call; free functions accept NULL. Policies, facts
 * and plans are immutable once made and may be shared between threads; a
 * session belongs to one thread at a time. The library keeps no global state,
 * starts no threads, installs no signal handlers, reads no environment
 * variables, prints nothing and never exits.
 *
 * Functions return 0 (or a value >= 0) on success and a negative IMMURE_ERR_*
 * on failure; the last parameter, when not NULL, then receives an error object
 * that the caller frees. Out-parameters are set only on success.
 *
 * Option structs start with their size: set it to sizeof(the struct), zero the
 * rest. Strings are borrowed for the call unless said otherwise; strings that
 * are returned as char * are freed by the caller with immure_string_free().
 */
#ifndef IMMURE_IMMURE_H
#define IMMURE_IMMURE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IMMURE_VERSION_MAJOR 0
#define IMMURE_VERSION_MINOR 1
#define IMMURE_VERSION_PATCH 0

#if defined(__GNUC__)
#define IMMURE_API __attribute__((visibility("default")))
#else
#define IMMURE_API
#endif

typedef struct immure_error immure_error;
typedef struct immure_policy immure_policy;
typedef struct immure_facts immure_facts;
typedef struct immure_plan immure_plan;
typedef struct immure_session immure_session;
typedef struct immure_result immure_result;
typedef struct immure_wrapped immure_wrapped;
typedef struct immure_imported immure_imported;

/* Error codes. Only ever appended to. */
enum {
	IMMURE_ERR_NOMEM = 1,       /* out of memory */
	IMMURE_ERR_INVALID = 2,     /* an argument of the call is wrong */
	IMMURE_ERR_POLICY = 3,      /* a policy is malformed or contradicts itself */
	IMMURE_ERR_TRUST = 4,       /* a policy file that must not be obeyed */
	IMMURE_ERR_GAP = 5,         /* something asked for cannot be enforced here */
	IMMURE_ERR_LAUNCH = 6,      /* a step of starting failed; nothing ran */
	IMMURE_ERR_IO = 7,          /* a file or socket of ours failed */
	IMMURE_ERR_STATE = 8,       /* not legal in this state */
	IMMURE_ERR_UNSUPPORTED = 9, /* this build or host has no such thing */
	IMMURE_ERR_NOT_EXECUTABLE = 10, /* the command cannot be executed (126) */
	IMMURE_ERR_NOT_FOUND = 11,  /* the command was not found (127) */
	IMMURE_ERR_PROOF = 12,      /* a point of the proof fell short */
	IMMURE_ERR_NO_SESSION = 13, /* no session of that name or id, or no such ticket */
	IMMURE_ERR_DENIED = 14,     /* the mediator did not allow the command; nothing ran */
	IMMURE_ERR_PENDING = 15,    /* it waits for an approval; nothing ran */
	IMMURE_ERR_NO_IMAGE = 16,   /* no such image, or nothing there to import */
	IMMURE_ERR_SNAPSHOT = 17,   /* no such snapshot, or it is damaged, or does not fit */
};

/* ---- errors ---- */
IMMURE_API void immure_error_free(immure_error *err);
IMMURE_API int32_t immure_error_code(const immure_error *err);
IMMURE_API int32_t immure_error_errno(const immure_error *err);
IMMURE_API const char *immure_error_stage(const immure_error *err);
IMMURE_API const char *immure_error_subject(const immure_error *err);
IMMURE_API const char *immure_error_text(const immure_error *err);
IMMURE_API const char *immure_error_hint(const immure_error *err);

IMMURE_API void immure_string_free(char *s);
/* (major << 16) | (minor << 8) | patch of the library that is loaded. */
IMMURE_API uint32_t immure_api_version(void);

/* ---- policy ---- */

/* One override, as a command-line flag makes it. key is a policy key
 * ("limits.memory"); value its text. Lists: one element per setting; the first
 * one for a key replaces the layers below unless the key starts with '+'. A key
 * that starts with '-' empties its list; its value is "". */
struct immure_setting {
	const char *key;
	const char *value;
	const char *source; /* for "where did this come from", e.g. "--memory" */
};

struct immure_policy_options {
	uint64_t size;
	const char *profile;   /* NULL: "dev", or what the policy file extends */
	const char *file;      /* explicit policy file; NULL: discover */
	const char *workspace; /* NULL: "." */
	const char *const *env;    /* NAME=value block for IMMURE_POLICY, HOME, XDG_*; may be NULL */
	const struct immure_setting *settings;
	uint64_t settings_n;
	uint32_t flags;        /* IMMURE_POLICY_* */
	uint32_t reserved;
};
enum {
	IMMURE_POLICY_NO_DISCOVERY = 1, /* profile and settings only */
};

/* Discovers, reads, checks and merges. Order: profile, user's or workspace's
 * file, settings. Errors: POLICY, TRUST, IO, INVALID. */
IMMURE_API int32_t immure_policy_load(const struct immure_policy_options *options,
				      immure_policy **ret, immure_error **err);
/* Checks one file alone; nothing is discovered. */
IMMURE_API int32_t immure_policy_check(const char *path, immure_error **err);
/* Parses text as a policy file named `name` in messages. */
IMMURE_API int32_t immure_policy_parse(const char *text, uint64_t len, const char *name,
				       immure_policy **ret, immure_error **err);
IMMURE_API void immure_policy_free(immure_policy *policy);
IMMURE_API const char *immure_policy_version(const immure_policy *policy);
/* The effective policy with the source of every value; json != 0 for JSON. */
IMMURE_API int32_t immure_policy_show(const immure_policy *policy, int32_t json, char **ret,
				      immure_error **err);
/* What the policy allows and surely does not mean: a line each, "KEY: VALUE: why", "" when
 * there is nothing. No error and no gap: it would be enforced as it says. *ret is freed with
 * immure_string_free(). */
IMMURE_API int32_t immure_policy_notices(const immure_policy *policy, char **ret,
					 immure_error **err);
/* The JSON Schema of policy files. */
IMMURE_API int32_t immure_policy_schema(char **ret, immure_error **err);
/* Reference text of all keys, for the man page and docs: "man", "markdown" or
 * "keys" (one a line, for completions). */
IMMURE_API int32_t immure_policy_reference(const char *format, char **ret, immure_error **err);
/* The command-line flag of a policy key, for programs that offer the same
 * flags. index from 0; -IMMURE_ERR_INVALID past the end. Strings are static. */
struct immure_flag {
	uint64_t size;
	const char *flag;     /* "memory" for --memory */
	const char *key;      /* "limits.memory" */
	const char *argument; /* "SIZE" */
	const char *help;     /* one line */
	const char *choices;  /* "none|limited|host", NULL = free text */
};
IMMURE_API int32_t immure_policy_flag(uint32_t index, struct immure_flag *ret);
/* Names of built-in profiles, newline separated. */
IMMURE_API int32_t immure_policy_profiles(char **ret, immure_error **err);
/* Records that this exact content of a workspace's policy file may loosen.
 * env as in immure_policy_options. *ret_digest: its SHA-256, hex. */
IMMURE_API int32_t immure_policy_trust(const char *path, const char *const *env,
				       char **ret_digest, immure_error **err);

/* Settings of another sandbox as a policy file. format: "srt" (sandbox-runtime),
 * "claude" (Claude Code), "codex" or "firejail"; name is for messages. Whatever
 * has no equivalent is a note. Errors: INVALID; POLICY when the text is not of
 * that format; UNSUPPORTED in a build without it. */
IMMURE_API int32_t immure_policy_import(const char *format, const char *text, uint64_t len,
					const char *name, immure_imported **ret,
					immure_error **err);
IMMURE_API void immure_imported_free(immure_imported *imported);
/* The policy file, with comments that name where each value came from. It passes
 * immure_policy_parse(). Lives as long as the object. */
IMMURE_API const char *immure_imported_policy(const immure_imported *imported);
enum {
	IMMURE_IMPORT_DROPPED = 1,   /* gives less than theirs, or is no matter of a policy */
	IMMURE_IMPORT_TIGHTENED = 2, /* in the policy, but stricter */
	IMMURE_IMPORT_LOST = 3,      /* a restriction of theirs that is not in the policy */
	IMMURE_IMPORT_MOOT = 4,      /* holds here without being asked for */
};
struct immure_import_note {
	uint64_t size;
	const char *what; /* their name for it */
	const char *why;
	uint64_t line;    /* of their file; 0: none */
	int32_t kind;     /* IMMURE_IMPORT_* */
	int32_t reserved;
};
/* One note, index from 0; -IMMURE_ERR_INVALID past the end. The strings live as
 * long as the object. */
IMMURE_API int32_t immure_imported_note(const immure_imported *imported, uint64_t index,
					struct immure_import_note *ret);

/* ---- facts ---- */
enum {
	IMMURE_FACTS_QUICK = 0, /* microseconds; what a launch uses */
	IMMURE_FACTS_FULL = 1,  /* tries everything in throw-away children */
};
/* FULL forks short-lived children of the calling process and reaps exactly
 * those. Errors: NOMEM, IO. */
IMMURE_API int32_t immure_facts_probe(uint32_t flags, const char *const *env,
				      immure_facts **ret, immure_error **err);
IMMURE_API void immure_facts_free(immure_facts *facts);
/* doctor's report of facts and of every backend; json != 0 for JSON. */
IMMURE_API int32_t immure_facts_report(const immure_facts *facts, int32_t json, char **ret,
				       immure_error **err);
/* Moves the calling process, when policy limits memory, processes or cpus and an ordinary
 * user may set no such limit where the process is, into a scope of its own that the user's
 * service manager (systemd(1), --user) delegates to it: cgroup v2, where `systemd-run --user
 * --scope` would put it. Sessions that it then plans can be limited; the scope goes away with
 * its last process. It is for programs that are about to start sessions and are nobody
 * else's: the command line does it. policy NULL: as if all three were limited. env: the
 * caller's (XDG_RUNTIME_DIR); NULL: none. Waits at most a second.
 * 1: it was moved; 0: it need not be, or there is no such manager. Errors: IO. */
IMMURE_API int32_t immure_scope_enter(const immure_policy *policy, const char *const *env, immure_error **err);

/* ---- plan ---- */
struct immure_plan_options {
	uint64_t size;
	const char *const *argv; /* NULL-terminated */
	const char *const *env;  /* the caller's environment; the policy filters it */
	const char *cwd;         /* NULL: the caller's when visible inside, else the workspace */
	uint32_t facts;          /* IMMURE_FACTS_*: how hard to look at this host */
	uint32_t flags;          /* IMMURE_PLAN_*, or 0 */
};
enum {
	/* All but the workspace, and what the policy says of paths below it: what the sessions
	 * of a pool have that wait for a caller's. To look at: it gives nobody anything to
	 * work in. */
	IMMURE_PLAN_NO_WORKSPACE = 1,
	/* The plan is to be started at once, by immure_supervise() of this process, which
	 * is small and has one thread: what a session takes longest to make is begun while
	 * the plan is made. It goes with the plan, at the latest. */
	IMMURE_PLAN_TO_START = 2,
};
/* Looks at the host as far as the policy needs, then plans. Gaps do not fail
 * this call; see immure_plan_check(). Errors: POLICY, INVALID, NOMEM, IO. */
IMMURE_API int32_t immure_plan_create(const immure_policy *policy,
				      const struct immure_plan_options *options,
				      immure_plan **ret, immure_error **err);
/* After a launch of `failed` was refused before anything ran (why: its error, may be
 * NULL): plans again with what trying everything finds out, which is kept in the caller's
 * runtime directory. *ret is a plan for another backend that can be started, owned by the
 * caller; NULL when there is none, or when the policy names its backend. Error GAP: there
 * is one that lacks what the policy wants and does not approve to be missing. */
IMMURE_API int32_t immure_plan_replace(const immure_policy *policy,
				       const struct immure_plan_options *options,
				       const immure_plan *failed, const immure_error *why,
				       immure_plan **ret, immure_error **err);
IMMURE_API void immure_plan_free(immure_plan *plan);
IMMURE_API const char *immure_plan_hash(const immure_plan *plan);
IMMURE_API uint64_t immure_plan_gap_count(const immure_plan *plan);
/* One gap, index from 0; -IMMURE_ERR_INVALID past the end. The strings live as
 * long as the plan. */
struct immure_gap_info {
	uint64_t size;
	const char *key;       /* the policy key */
	const char *dimension; /* or capability */
	const char *what;      /* what cannot be enforced, and why */
	const char *remedy;
	int32_t approved;      /* the policy approved exactly this downgrade */
	int32_t reserved;
};
IMMURE_API int32_t immure_plan_gap(const immure_plan *plan, uint64_t index,
				   struct immure_gap_info *ret);
/* 0 when the plan may be started; -IMMURE_ERR_GAP names the first open gap. */
IMMURE_API int32_t immure_plan_check(const immure_plan *plan, immure_error **err);
IMMURE_API int32_t immure_plan_print(const immure_plan *plan, int32_t json, char **ret,
				     immure_error **err);
/* The plan in one line, for whoever wants to know what he is in: what can be written and
 * read, the network, limits, approved downgrades, the policy's version. Freed with
 * immure_string_free(). Errors: INVALID, NOMEM. */
IMMURE_API int32_t immure_plan_summary(const immure_plan *plan, char **ret, immure_error **err);
/* What the plan's backend starts from on a platform that is not this one: the
 * profile of seatbelt, the launch contract (JSON) of vz, wsl2 and remote. A plan
 * with gaps is rendered as well; it may not be started. UNSUPPORTED for backends
 * that have no such thing. */
IMMURE_API int32_t immure_plan_render(const immure_plan *plan, char **ret, immure_error **err);
/* The sealed form, for another process to apply. Free with free(). */
IMMURE_API int32_t immure_plan_seal(const immure_plan *plan, void **ret, uint64_t *ret_len,
				    immure_error **err);
IMMURE_API int32_t immure_plan_open(const void *data, uint64_t len, immure_plan **ret,
				    immure_error **err);

/* ---- wrapping ---- */

struct immure_wrap_options {
	uint64_t size;
	/* The command, NULL-terminated; NULL or empty: the words to put before any
	 * command. */
	const char *const *argv;
	/* NAME=value, NULL-terminated: what this command gets besides. Wins over the
	 * policy's and the caller's values. Arguments can be read by other users of
	 * the machine: no place for secrets. May be NULL. */
	const char *const *env;
	const char *workspace; /* absolute; NULL: the policy's own */
	/* What a relative workspace of the policy counts from, absolute; NULL: such a
	 * policy is refused. */
	const char *base;
	const char *cwd;       /* of this command; relative: to the workspace; NULL: the workspace */
	const char *program;   /* path of the immure program, absolute; NULL: the installed one */
	uint32_t flags;        /* IMMURE_WRAP_* */
	uint32_t reserved;
	/* A session that was prepared (immure_session_create()), by name or id: the
	 * command runs in it, its policy counts, and policy must be NULL. */
	const char *session;
	/* NAME=value, NULL-terminated: what immure needs of the environment to find the
	 * session: XDG_RUNTIME_DIR, XDG_STATE_HOME, HOME. May be NULL. */
	const char *const *where;
};
enum {
	IMMURE_WRAP_QUIET = 1, /* no notices on standard error, errors only */
};

/* Arguments that run a command under this policy, for programs that only know
 * how to start an argv. A pure function of its arguments: nothing is opened or
 * started, and it may be called for every command. The policy is carried in the
 * arguments, with its version, and is refused at the start if it came out
 * different. Wrapping what the same call returned changes nothing. With a session
 * no sandbox is made for each command. Errors: INVALID; UNSUPPORTED for a policy that arguments cannot carry (secrets). */
IMMURE_API int32_t immure_wrap(const immure_policy *policy,
			       const struct immure_wrap_options *options, immure_wrapped **ret,
			       immure_error **err);
IMMURE_API void immure_wrapped_free(immure_wrapped *wrapped);
/* NULL-terminated; lives as long as the object, as do the next two. */
IMMURE_API const char *const *immure_wrapped_argv(const immure_wrapped *wrapped);
/* NAME=value, NULL-terminated: what must be in the environment of that argv.
 * Nothing has to be, in this version: it would not survive every runner. */
IMMURE_API const char *const *immure_wrapped_env(const immure_wrapped *wrapped);
/* Version of the policy with this workspace and environment, as carried; "" for a
 * session's, which has its own. */
IMMURE_API const char *immure_wrapped_policy_version(const immure_wrapped *wrapped);

/* ---- running ---- */

/* How a run ended. */
enum {
	IMMURE_OUTCOME_EXITED = 1,   /* code is the command's */
	IMMURE_OUTCOME_SIGNALED = 2, /* code is the signal */
	IMMURE_OUTCOME_REFUSED = 3,  /* nothing ran */
};
/* What ended or cut it, beyond itself. */
enum {
	IMMURE_VERDICT_NONE = 0,
	IMMURE_VERDICT_TIMEOUT = 1,       /* limits.wall_time */
	IMMURE_VERDICT_CPU_TIME = 2,      /* limits.cpu_time */
	IMMURE_VERDICT_OOM = 3,           /* limits.memory */
	IMMURE_VERDICT_PROCESS_LIMIT = 4, /* limits.processes was hit */
	IMMURE_VERDICT_OUTPUT_CAP = 5,    /* limits.output: the rest was discarded, or it was killed */
	IMMURE_VERDICT_INTERRUPTED = 6,   /* a signal to the supervisor ended it */
};

struct immure_run_options {
	uint64_t size;
	int32_t stdin_fd;  /* borrowed; -1: /dev/null */
	int32_t stdout_fd; /* borrowed; -1: /dev/null */
	int32_t stderr_fd;
	uint32_t flags;    /* IMMURE_RUN_* */
	const char *supervisor; /* path of the immure program; NULL: the installed one */
	/* Where immure-attack is, for IMMURE_RUN_PROVE; NULL: the installed one. */
	const char *attacker;
	/* Where quarantined files go (a directory below it); NULL: as the plan says. */
	const char *state_dir;
	const char *const *env; /* the caller's environment: names the proof looks for inside */
	int32_t control_fd;     /* IMMURE_RUN_CONTROL: requests come from here, the result goes here */
	int32_t notes_fd;       /* IMMURE_RUN_NOTES: where the lines go; borrowed */
	/* Where immure-egress is, for a plan with network.mode limited or published ports;
	 * NULL: the installed one. */
	const char *egress;
	/* The token of an earlier IMMURE_ERR_PENDING, at most 127 bytes; NULL: none. */
	const char *approval;
};
enum {
	IMMURE_RUN_PROVE = 1,      /* attack from inside first; start only if all holds */
	IMMURE_RUN_TRACE_TIME = 2, /* record when each stage ended */
	IMMURE_RUN_CONTROL = 4,    /* immure_supervise() on behalf of immure_session_start() */
	/* immure_supervise(): what is denied is told when it happens, a line in one write, each
	 * thing once, ten in all. Without it, and where nobody takes it, the lines are among
	 * immure_result_notices(). Never waits for the reader. */
	IMMURE_RUN_NOTES = 16,
	IMMURE_RUN_COUNT = 8,      /* also what costs microseconds: processes counted, the plan's hash */
};

/* Starts the plan under a supervisor process of its own (posix_spawn: the cost
 * does not depend on the size of the calling process). The session's pollable
 * descriptor becomes readable when immure_session_step() has something. */
IMMURE_API int32_t immure_session_start(const immure_plan *plan,
					const struct immure_run_options *options,
					immure_session **ret, immure_error **err);
IMMURE_API int32_t immure_session_fd(const immure_session *session);
/* Never blocks. 0: nothing yet; 1: finished, *ret is set and owned by the caller. */
IMMURE_API int32_t immure_session_step(immure_session *session, immure_result **ret,
				       immure_error **err);
/* Sends a signal to the command's process group. */
IMMURE_API int32_t immure_session_signal(immure_session *session, int32_t signo,
					 immure_error **err);
/* Kills what still runs, waits for the supervisor, frees. Nothing is left. */
IMMURE_API void immure_session_free(immure_session *session);
/* Blocking: start, wait, free. */
IMMURE_API int32_t immure_run(const immure_plan *plan, const struct immure_run_options *options,
			      immure_result **ret, immure_error **err);
/* The calling process itself becomes the supervisor until the command ended:
 * for single-threaded programs that exist for this (`immure run` is one). It
 * forks, handles SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH meanwhile, and
 * restores what it changed. */
IMMURE_API int32_t immure_supervise(const immure_plan *plan,
				    const struct immure_run_options *options,
				    immure_result **ret, immure_error **err);
/* What `immure init` does when a backend such as bubblewrap executes it inside; for
 * nobody else. Both descriptors are taken. Returns only when it failed: -IMMURE_ERR_LAUNCH,
 * said to the supervisor already. */
IMMURE_API int32_t immure_become_init(int32_t handover_fd, int32_t report_fd);

/* ---- sessions: provisioned once, many commands ---- */

/* A session that runs many commands lives in a supervisor process of its own. A
 * handle is one connection to it: any number of programs of the same user (or
 * root) may hold one. docs/PROTOCOL.md describes what is spoken over it. */

typedef struct immure_process immure_process;

enum {
	IMMURE_LIFE_CALLER = 0,   /* ends when the handle that made it is freed or its program ends */
	IMMURE_LIFE_DETACHED = 1, /* until somebody ends it */
	IMMURE_LIFE_LEASED = 2,   /* ends by itself as well: life_ms, idle_ms */
};
enum {
	IMMURE_SESSION_IDLE_STOPS = 1, /* idle_ms ends it instead of suspending it */
	IMMURE_SESSION_REMOVE = 2,     /* no record of it is left when it has ended */
	IMMURE_SESSION_PROVE = 4,      /* attacked from inside first, and made only when everything
	                                * holds: immure_session_proof() */
};
struct immure_session_options {
	uint64_t size;
	const char *name;          /* NULL: none. A letter, then letters, digits, "_-."; at most 63 */
	const char *const *labels; /* "key=value", NULL-terminated; may be NULL */
	uint32_t lifetime;         /* IMMURE_LIFE_* */
	uint32_t flags;            /* IMMURE_SESSION_* */
	uint64_t life_ms;          /* 0 = without end */
	uint64_t idle_ms;          /* without a command for so long: suspended; 0 = never */
	const char *supervisor;    /* path of the immure program; NULL: the installed one */
	const char *runtime_dir;   /* where sessions are registered; NULL: as env says */
	const char *const *env;    /* for XDG_RUNTIME_DIR, XDG_STATE_HOME, HOME; may be NULL for root */
};

/* Makes a session of the plan (whose argv is not run) and returns when it is
 * sealed in and ready. Errors: GAP, LAUNCH, STATE (the name is taken), INVALID, IO,
 * UNSUPPORTED (the plan's backend, landlock, runs one command only). After LAUNCH nothing
 * of it is left, and immure_plan_replace() may know another plan. */
IMMURE_API int32_t immure_session_create(const immure_plan *plan,
					 const struct immure_session_options *options,
					 immure_session **ret, immure_error **err);
/* count sessions (at most 4096) of one plan, all of them or none: when one cannot be made, or
 * the caller ends meanwhile, none is left. name NAME: each gets its own, NAME-1, NAME-2 ...; lifetime
 * DETACHED or LEASED. *ret_json: an array in that order, of objects with session (the id), name and
 * state; freed with immure_string_free(). Errors: as immure_session_create(). */
IMMURE_API int32_t immure_session_create_many(const immure_plan *plan,
					      const struct immure_session_options *options,
					      uint32_t count, char **ret_json, immure_error **err);
/* Connects to a living session by name, id, or the unambiguous beginning of an id. Of
 * options only runtime_dir and env count. Errors: NO_SESSION, IO. */
IMMURE_API int32_t immure_session_open(const char *name, const struct immure_session_options *options,
				       immure_session **ret, immure_error **err);
/* A connected socket to it, for a program that speaks docs/PROTOCOL.md itself. */
IMMURE_API int32_t immure_session_connect(const char *name, const struct immure_session_options *options,
					  int32_t *ret_fd, immure_error **err);
/* Valid as long as the handle; "" for a session of immure_session_start(). */
IMMURE_API const char *immure_session_id(const immure_session *session);
/* All registered sessions as a JSON array (id, name, state, labels ...), oldest first. */
IMMURE_API int32_t immure_session_list(const struct immure_session_options *options, char **ret_json,
				       immure_error **err);

enum {
	IMMURE_STREAM_NULL = -1, /* /dev/null */
	IMMURE_STREAM_EVENTS = -2, /* output comes as events, input by immure_process_write() */
	IMMURE_STREAM_STDOUT = -3, /* stderr only: where stdout goes */
};
enum {
	IMMURE_EXEC_PTY = 1,       /* a terminal inside is all three streams; output comes as events */
	IMMURE_EXEC_DETACH = 2,    /* goes on when this handle is freed */
	IMMURE_EXEC_CLEAR_ENV = 4, /* env instead of on top of the policy's environment */
	IMMURE_EXEC_NO_LANE = 8,   /* by way of the supervisor, also where a direct line would do */
};
/* What the supervisor keeps of output that it reads itself, when the command ended. */
enum {
	IMMURE_CAPTURE_SUMMARY_MODE = 0, /* counts, hash, the last 512 bytes */
	IMMURE_CAPTURE_OFF_MODE = 1,
	IMMURE_CAPTURE_METADATA_MODE = 2, /* counts and hash */
	IMMURE_CAPTURE_CONTENT_MODE = 3,  /* the last capture_max bytes of each stream */
};
struct immure_exec_options {
	uint64_t size;
	const char *const *argv; /* NULL-terminated, argv[0] set */
	const char *const *env;  /* NAME=value, added; may be NULL. Variables that loaders and
	                          * interpreters obey are refused unless the policy sets them */
	const char *cwd;         /* absolute, inside; NULL: the session's */
	int32_t stdin_fd, stdout_fd, stderr_fd; /* borrowed, or IMMURE_STREAM_* */
	uint32_t flags;          /* IMMURE_EXEC_* */
	uint16_t rows, cols;     /* IMMURE_EXEC_PTY; 0: 24 x 80 */
	uint32_t capture;        /* IMMURE_CAPTURE_*_MODE */
	uint64_t capture_max;    /* 0: 64 KiB; at most 1 MiB */
	uint64_t timeout_ms;     /* 0: the policy's wall_time, which is also the most */
	uint64_t grace_ms;       /* from SIGTERM to SIGKILL; 0: 2000 */
	const char *key;         /* idempotency: the same request with the same key runs once */
	const void *input;       /* stdin's content when input_len is not 0 */
	uint64_t input_len;
	uint64_t limit_cpu_ms;   /* for this command; 0 = the session's. Never above it */
	uint64_t limit_open_files;
	uint64_t limit_file_size;
	uint64_t limit_address_space;
	const char *approval;    /* the token of an earlier IMMURE_ERR_PENDING, at most 127 bytes */
};
/* Returns when the command runs, or why it does not: NOT_FOUND, NOT_EXECUTABLE,
 * INVALID, POLICY (env), STATE, LAUNCH. Over a lane (streams are descriptors or
 * /dev/null, no key, no terminal) the same errors come from waiting instead. */
IMMURE_API int32_t immure_session_exec(immure_session *session, const struct immure_exec_options *options,
				       immure_process **ret, immure_error **err);
/* A command that was started before, by its number: its kept output is replayed as
 * events, then it is followed. */
IMMURE_API int32_t immure_session_attach(immure_session *session, uint64_t exec, immure_process **ret,
					 immure_error **err);

struct immure_exit {
	uint64_t size;
	int32_t code;         /* exit code, -1 after a signal */
	int32_t signo;        /* 0 = it exited */
	int32_t timed_out;
	int32_t over_memory;
	int32_t failed;       /* IMMURE_ERR_*: it never ran (lanes only), code is 125, 126 or 127 */
	int32_t errnum;
	uint64_t wall_us, cpu_user_us, cpu_system_us;
	uint64_t peak_memory; /* bytes, of its largest process */
	uint64_t stdout_bytes, stderr_bytes; /* that the supervisor read */
	uint32_t output_cut;  /* there was more than limits.output */
	uint32_t reserved;
};
enum {
	IMMURE_EVENT_OUTPUT = 1,
	IMMURE_EVENT_EXITED = 2,
	IMMURE_EVENT_SESSION_ENDED = 3,
	/* What the network refused, or could not reach, for the first time: after the request
	 * "net" with {"follow":true}. data is the event as JSON (docs/PROTOCOL.md), cursor its
	 * number, 1 and up. */
	IMMURE_EVENT_DENIAL = 4,
};
struct immure_event {
	uint64_t size;
	uint32_t type;
	uint32_t stream;         /* 1 stdout, 2 stderr */
	immure_process *process; /* NULL: of the session */
	uint64_t cursor;         /* number of the first byte in its stream */
	uint64_t bytes;
	uint64_t lost;           /* bytes before it that were dropped: the reader was too slow */
	const void *data;        /* until the next call */
	char sha256[65];
	char reserved[7];
};
/* The session's descriptor (immure_session_fd) is readable when this may have
 * something. Never blocks. 1: *ret is set; 0: nothing now. */
IMMURE_API int32_t immure_session_next(immure_session *session, struct immure_event *ret,
				       immure_error **err);
/* Waits for the command's end; output of this and other commands waits as events
 * meanwhile, at most 4 MiB of it. timeout_ms < 0: as long as it takes. 1: *ret is
 * set; 0: the time was up. May be asked again. */
IMMURE_API int32_t immure_process_wait(immure_process *process, int32_t timeout_ms,
				       struct immure_exit *ret, immure_error **err);
/* Its number in the session, 0 for one over a lane; its pid inside; whether it has a
 * terminal of its own. */
IMMURE_API uint64_t immure_process_id(const immure_process *process);
IMMURE_API int32_t immure_process_pid(const immure_process *process);
IMMURE_API int32_t immure_process_has_terminal(const immure_process *process);
enum { IMMURE_SIGNAL_PROCESS = 0, IMMURE_SIGNAL_GROUP = 1, IMMURE_SIGNAL_TREE = 2 };
IMMURE_API int32_t immure_process_signal(immure_process *process, int32_t signo, uint32_t target,
					 immure_error **err);
/* Input, when stdin is IMMURE_STREAM_EVENTS or a terminal. Waits until the command
 * can take it. eof != 0: nothing comes after it. */
IMMURE_API int32_t immure_process_write(immure_process *process, const void *data, uint64_t len,
					int32_t eof, immure_error **err);
IMMURE_API int32_t immure_process_resize(immure_process *process, uint16_t rows, uint16_t cols,
					 immure_error **err);
/* Frees the handle; the command goes on until the session's handle is freed. */
IMMURE_API void immure_process_free(immure_process *process);

/* Everything inside gets the signal. */
IMMURE_API int32_t immure_session_kill(immure_session *session, int32_t signo, immure_error **err);
/* Ends it: SIGTERM to all, SIGKILL after grace_ms, everything cleaned up. Returns
 * when that is done. IMMURE_SESSION_REMOVE in flags: no record is left. */
IMMURE_API int32_t immure_session_stop(immure_session *session, uint64_t grace_ms, uint32_t flags,
				       immure_error **err);
/* Removes what is recorded of a session that has ended. STATE: it lives. */
IMMURE_API int32_t immure_session_remove(const char *name, const struct immure_session_options *options,
					 immure_error **err);
/* Nobody inside runs between the two. */
IMMURE_API int32_t immure_session_freeze(immure_session *session, immure_error **err);
IMMURE_API int32_t immure_session_thaw(immure_session *session, immure_error **err);
/* A session of IMMURE_LIFE_CALLER goes on without its maker. Its supervisor stays a
 * child of the program that made it, which may wait for it like for any other. */
IMMURE_API int32_t immure_session_detach(immure_session *session, immure_error **err);
/* A ticket for it, freed with immure_string_free(): the right and the duty to clean up
 * (immure_reclaim), for whoever takes over. A session of IMMURE_LIFE_CALLER goes on
 * without its maker once the ticket is acknowledged (immure_acknowledge); valid_ms: void
 * when that was not done in time, 0 = 10 minutes. An older ticket is withdrawn. */
IMMURE_API int32_t immure_session_ticket(immure_session *session, uint64_t valid_ms, char **ret,
					 immure_error **err);
/* Any request of docs/PROTOCOL.md: op, its arguments as a JSON object (NULL: none).
 * *ret_json: the answer, without "id" and "ok". For inspect, stats, execs, limits,
 * lease and what has no call of its own. */
IMMURE_API int32_t immure_session_request(immure_session *session, const char *op,
					  const char *arguments_json, char **ret_json,
					  immure_error **err);
/* Opens a file of the session from outside, by its path inside: links are followed
 * as they are inside, never out. flags and mode as open(2); the descriptor is the
 * caller's. Errors: IO with errno, UNSUPPORTED. */
IMMURE_API int32_t immure_session_open_file(immure_session *session, const char *path, int32_t flags,
					    uint32_t mode, int32_t *ret_fd, immure_error **err);

/* Files of the session, by absolute paths inside. The last name of a path is never
 * followed; what leads there is, as inside. Errors: IO with errno, INVALID. */
enum {
	IMMURE_FILE_REGULAR = 1,
	IMMURE_FILE_DIRECTORY = 2,
	IMMURE_FILE_LINK = 3,
	IMMURE_FILE_OTHER = 4,
};
struct immure_file_info {
	uint64_t size;
	uint32_t type;       /* IMMURE_FILE_* */
	uint32_t mode;       /* permission bits */
	uint64_t bytes;
	int64_t modified_ms; /* since 1970 */
};
IMMURE_API int32_t immure_session_stat_file(immure_session *session, const char *path,
					    struct immure_file_info *ret, immure_error **err);
/* A JSON array of {name, type, bytes, mode, modified_ms}, in no order. Names that are
 * not UTF-8 are told as well as JSON can. */
IMMURE_API int32_t immure_session_list_files(immure_session *session, const char *path,
					     char **ret_json, immure_error **err);
/* A file, a link, or an empty directory. */
IMMURE_API int32_t immure_session_remove_file(immure_session *session, const char *path,
					      immure_error **err);
/* Replaces what is there, as rename(2). */
IMMURE_API int32_t immure_session_rename_file(immure_session *session, const char *from,
					      const char *to, immure_error **err);
IMMURE_API int32_t immure_session_make_directory(immure_session *session, const char *path,
						 uint32_t mode, immure_error **err);

/* The proof of a session that was made with IMMURE_SESSION_PROVE, as JSON: what was
 * tried from inside, and what held. Freed with immure_string_free(). STATE: it was made
 * without. */
IMMURE_API int32_t immure_session_proof(immure_session *session, char **ret_json, immure_error **err);

/* The calling process becomes the server of a session until it ends, and returns
 * its exit status: what `immure supervise --session` is. Both descriptors are
 * taken. egress: path of immure-egress; NULL: the installed one. attacker: path of
 * immure-attack, which has to fail before the session is anybody's; NULL: it is not
 * tried. detach != 0: goes
 * on in a child, and returns 0 in the caller at once. */
IMMURE_API int32_t immure_session_serve_fds(int32_t plan_fd, int32_t control_fd, const char *egress,
					    const char *attacker, int32_t detach);
/* The calling process makes the sessions of immure_session_create_many(), each with a server
 * that is a child of it, and returns its exit status: what `immure supervise --many` is. */
IMMURE_API int32_t immure_session_make_fds(int32_t plan_fd, int32_t control_fd, const char *egress,
					   const char *attacker);

IMMURE_API void immure_result_free(immure_result *result);
IMMURE_API int32_t immure_result_outcome(const immure_result *result);
IMMURE_API int32_t immure_result_code(const immure_result *result);
IMMURE_API int32_t immure_result_verdict(const immure_result *result);
/* 0..255 as a shell expects it: the code, 128+N, or 124 after a timeout. */
IMMURE_API int32_t immure_result_exit_status(const immure_result *result);
/* The whole record; json == 0 gives what a person wants to read. */
IMMURE_API int32_t immure_result_print(const immure_result *result, int32_t json, char **ret,
				       immure_error **err);
/* One line a message that the user must see (quarantined files, cut output,
 * approved downgrades), newline separated; "" when there is none. */
IMMURE_API const char *immure_result_notices(const immure_result *result);
/* The proof alone, when IMMURE_RUN_PROVE was set. */
IMMURE_API int32_t immure_result_proof(const immure_result *result, int32_t json, char **ret,
				       immure_error **err);
/* Points of the proof: how many there are, how many fell short. */
IMMURE_API void immure_result_proof_counts(const immure_result *result, uint64_t *ret_points,
					   uint64_t *ret_short);

/* ---- pools: sessions that are sealed in already and wait ---- */

/* A pool keeps `pool_size` sessions of one plan ready, or, when it is open, of one policy. Its holder is a process of its
 * own, registered as a session is. A handle is a connection to it and belongs to one
 * thread at a time; any number of programs of the same user (or root) may have one.
 * Each acquired session is the caller's alone, and is destroyed when it is released:
 * nobody ever gets what somebody else has used, unless the pool was started with `reuse`. */

typedef struct immure_pool immure_pool;

enum {
	IMMURE_POOL_SESSIONS = 0, /* immure_pool_acquire() */
	/* No sessions: a template, after which a sandbox of its own is made for each command
	 * of immure_pool_exec(). Refused with UNSUPPORTED where the plan has a limited, a
	 * published or the host's network, an output limit, a range of ids, or another
	 * backend than native. */
	IMMURE_POOL_ZYGOTE = 1,
};

struct immure_resume_options;
struct immure_pool_options {
	uint64_t size;
	const char *name;          /* NULL: none (only the handle reaches it); as of a session */
	uint32_t lifetime;         /* IMMURE_LIFE_CALLER or IMMURE_LIFE_DETACHED */
	uint32_t pool_size;        /* kept ready; 0 = 1 */
	uint32_t pool_max;         /* alive at a time, those in use too; 0 = 16, or pool_size */
	uint32_t mode;             /* IMMURE_POOL_* */
	uint64_t idle_ms;          /* one above pool_size that nobody took is ended; 0 = 30000 */
	uint64_t check_ms;         /* between two looks at each that waits; 0 = 5000 */
	const char *supervisor;    /* as in immure_session_options */
	const char *runtime_dir;
	const char *const *env;
	const immure_policy *policy; /* starts an open pool; with plan NULL. NULL: none */
	/* 1: a session that is released is used again, by the same user, when it proves itself
	 * clean (docs/SESSIONS.md); else, and with 0, it is destroyed. Refused with UNSUPPORTED
	 * where it could not be proven: an open pool, a template, a plan by which commands
	 * can write anything that stays, a kernel that does not let it be seen. */
	uint32_t reuse;
	uint32_t reserved; /* 0 */
	/* Starts a pool whose sessions begin with the files of this snapshot, each as immure_session_resume()
	 * makes it; with plan and policy NULL, mode IMMURE_POOL_SESSIONS, reuse 0. NULL: none */
	const char *snapshot;
	const struct immure_resume_options *resume; /* its policy or settings, session NULL; may be NULL */
};
/* With a plan: starts a pool of such sessions, workspace included. With a policy: starts
 * an open pool, whose sessions get the workspace of whoever acquires one; the policy's
 * own workspace.path does not count, and paths in it that are relative mean that
 * workspace. With a snapshot: a pool of sessions that it is resumed as. All return when it is filled. With none: connects to the living pool of
 * that name; sizes and times are not looked at. Errors: as immure_plan_create() and
 * immure_session_create(); INVALID for sizes; NO_SESSION; UNSUPPORTED for an open pool
 * of a backend other than native, and for a plan with secrets: those go with an open pool. */
IMMURE_API int32_t immure_pool_open(const immure_plan *plan, const struct immure_pool_options *options,
				    immure_pool **ret, immure_error **err);

struct immure_acquire_options {
	uint64_t size;
	/* The caller's own plan; may be NULL. A pool that was started with a plan: its policy
	 * version and workspace must be the pool's. An open pool: it may differ from the
	 * pool's in workspace and what lies below, command, environment, and narrower network
	 * rules; the session becomes exactly what it says. Else POLICY, and nothing is
	 * acquired. */
	const immure_plan *plan;
	const char *workspace;     /* plan NULL: an open pool: the caller's directory, NULL: the
				    * process's own; else it must be the pool's or below it; NULL: any */
	const char *owner;         /* who it is for, as the pool lists it; may be NULL */
	uint64_t wait_ms;          /* when all are in use; 0 = refuse at once with STATE */
	/* For open pools, which plan with them when plan is NULL; POLICY where the result
	 * gives more than the pool's policy, whose environment.* alone may be added to. */
	const immure_policy *policy; /* the caller's own instead of the pool's; NULL: the pool's */
	const struct immure_setting *settings; /* on top of it; may be NULL */
	uint64_t settings_n;
	const char *const *env;    /* the caller's, filtered by the policy; may be NULL. Values of secrets
				    * from variables are taken from it (POLICY when one is not there) */
	const char *const *labels; /* "key=value" of the session, NULL-terminated; may be NULL */
};
/* A session that runs commands at once. options may be NULL. It has IMMURE_LIFE_CALLER.
 * Errors: STATE (full, or ending), POLICY, LAUNCH (none could be made, or this one could
 * not become what the plan says: it is destroyed). */
IMMURE_API int32_t immure_pool_acquire(immure_pool *pool, const struct immure_acquire_options *options,
				       immure_session **ret, immure_error **err);
/* The session and all in it is destroyed, or proven clean and used again where the pool was
 * started so, off the caller's path; frees the handle. So
 * does immure_session_free(), and the end of the caller. NULL is fine. */
IMMURE_API void immure_pool_release(immure_pool *pool, immure_session *session);
/* Starts one command in a sandbox that nothing ran in before and nothing will run in
 * after it, of a pool of mode IMMURE_POOL_ZYGOTE. options as of immure_session_exec(),
 * streams being descriptors or IMMURE_STREAM_NULL; no terminal, key, input or detaching
 * (UNSUPPORTED). agree, may be NULL: plan and workspace must be the pool's, as when
 * acquiring. Returns when it was asked for: what comes of it, also that it could not be
 * started (exit.failed; errnum EAGAIN: pool_max were alive), immure_process_wait() says.
 * When it has ended, so has all that it started. The end of the handle ends it too; it
 * is freed before the pool. Errors: UNSUPPORTED (the pool keeps sessions), INVALID,
 * POLICY, STATE (the pool has ended). */
IMMURE_API int32_t immure_pool_exec(immure_pool *pool, const struct immure_exec_options *options,
				    const struct immure_acquire_options *agree, immure_process **ret,
				    immure_error **err);
/* Readable when there is news of a command of immure_pool_exec(): then
 * immure_process_wait() with time 0 tells which have ended. Borrowed; -1 before the first
 * one. */
IMMURE_API int32_t immure_pool_fd(immure_pool *pool);
/* Looks now for what commands that have ended left in the tree and the host would obey,
 * and puts it aside as the policy says; else that happens soon after none runs any more,
 * and when the pool ends. UNSUPPORTED for a pool that keeps sessions: they do it. */
IMMURE_API int32_t immure_pool_settle(immure_pool *pool, immure_error **err);
/* Makes sessions until `target` wait (at most pool_max), and returns how many it made;
 * those above pool_size go after idle_ms. */
IMMURE_API int32_t immure_pool_warm(immure_pool *pool, uint32_t target, immure_error **err);
/* As JSON: warm, idle, in_use, hits, misses, evictions, created, failed, and how long
 * the pool took to answer acquire (acquire_us: up_to microseconds, count); with reuse also
 * reused, refused, refused_reuse (row: how often) and proofs, the newest. */
IMMURE_API int32_t immure_pool_stats(immure_pool *pool, char **ret_json, immure_error **err);
/* Its sessions as JSON: session, state, for_ms, and whose it is. */
IMMURE_API int32_t immure_pool_list(immure_pool *pool, char **ret_json, immure_error **err);
/* Ends the pool and what waits in it, and returns when that is gone. Sessions in use go
 * on until they are released, unless force is set. The handle is still to be freed. */
IMMURE_API int32_t immure_pool_stop(immure_pool *pool, int32_t force, immure_error **err);
/* Closes the handle; a pool of IMMURE_LIFE_CALLER ends with it. NULL is fine. */
IMMURE_API void immure_pool_free(immure_pool *pool);
/* The calling process becomes the holder of a pool until it ends, and returns its exit
 * status: what `immure supervise --pool` is. Both descriptors are taken. */
IMMURE_API int32_t immure_pool_hold_fds(int32_t plan_fd, int32_t control_fd, const char *egress,
					int32_t detach);

/* ---- sessions: what is recorded, and what is left ---- */

/* What a teardown came to, resource by resource: removed, kept on purpose, or
 * failed, which is still there. */
typedef struct immure_report immure_report;

enum {
	IMMURE_GC_DRY_RUN = 1 << 0, /* say what would be removed, remove nothing */
	IMMURE_GC_FORCE = 1 << 1,   /* also sessions whose journal cannot be believed */
	IMMURE_GC_ENDED = 1 << 2,   /* also the records of sessions that ended in order */
};

struct immure_gc_options {
	uint64_t size;
	uint32_t flags;          /* IMMURE_GC_* */
	uint32_t grace_ms;       /* how long what was killed may take to be gone; 0 = 2000 */
	const char *const *env;  /* NAME=value block for HOME, XDG_*; may be NULL */
};

/* Finds and removes what sessions of this user left whose supervisor is dead:
 * processes, cgroups, files, the session itself; and tells what was left by runs
 * that were killed. May be called at any time, again and by many at once; living
 * sessions are left alone. options may be NULL. What could not be removed is in
 * the report and stays on record for the next time: that is no error here. */
IMMURE_API int32_t immure_gc(const struct immure_gc_options *options, immure_report **ret,
			     immure_error **err);

enum { IMMURE_REMOVED = 0, IMMURE_KEPT = 1, IMMURE_LEFT = 2 };

/* How many resources had this fate: IMMURE_REMOVED, _KEPT, _LEFT (failed: still there). */
IMMURE_API uint64_t immure_report_count(const immure_report *report, int32_t fate);
/* As lines for people or as one JSON object; freed with immure_string_free(). */
IMMURE_API int32_t immure_report_print(const immure_report *report, int32_t json, char **ret,
				       immure_error **err);
IMMURE_API void immure_report_free(immure_report *report);

/* The journal of a session (name, id, or the beginning of an id), or of a run, by the path
 * of its directory, which has a slash (policy key journal): what was about to be done and what came of it, as lines or as one JSON object. env as above.
 * IMMURE_ERR_NO_SESSION; IMMURE_ERR_TRUST when somebody changed it, with the
 * records up to there in *ret. */
IMMURE_API int32_t immure_journal_print(const char *session, const char *const *env, int32_t json,
					char **ret, immure_error **err);

/* ---- images ---- */

enum {
	IMMURE_IMAGE_JSON = 1 << 0, /* the answer is JSON; lines for people otherwise */
	IMMURE_IMAGE_PLAIN_HTTP = 1 << 1, /* pull: without TLS, or with a certificate that nobody vouches for */
};

struct immure_image_options {
	uint64_t size;
	uint32_t flags;          /* IMMURE_IMAGE_* */
	uint32_t reserved;
	const char *const *env;  /* NAME=value block for HOME, XDG_*; may be NULL */
	const char *worker;      /* path of immure-image; NULL: where it was installed */
	const char *name;        /* import: what to call it; NULL: as the source does */
	const char *platform;    /* import: "linux/arm64"; NULL: this machine's */
	const char *which;       /* import: the name in the source, where there are several */
	uint64_t max_bytes;      /* import: refused when larger unpacked; 0: 64 GiB */
	/* pull: what may be reached beside the registry, as network.allow has it; NULL-terminated or NULL */
	const char *const *hosts;
	const char *auth_file;   /* pull: credentials, as containers-auth.json(5) has them; absolute; NULL: none */
	const char *puller;      /* pull: path of skopeo(1); NULL: where packages put it */
	const char *supervisor;  /* pull: as in immure_run_options, as is egress */
	const char *egress;
};

/* An image into the caller's store, from an OCI layout (a directory), an archive of one, or
 * what docker save writes; path "-" is standard input. Every digest and size is verified, each
 * layer is unpacked once. The work is done by a program of its own that is closed in before it
 * reads a byte, and waited for. The answer has its digest. ref, in the calls below: a name,
 * "sha256:HEX", or the first 12 digits of that or more. IMMURE_ERR_NO_IMAGE: there is none;
 * IMMURE_ERR_STATE: a session or an import uses it; IMMURE_ERR_TRUST: it is not what its
 * digests say. Answers are freed with immure_string_free(). options may be NULL. */
IMMURE_API int32_t immure_image_import(const char *path, const struct immure_image_options *options,
				       char **ret, immure_error **err);
IMMURE_API int32_t immure_image_list(const struct immure_image_options *options, char **ret,
				     immure_error **err);
/* What the image says of itself, as JSON. */
IMMURE_API int32_t immure_image_inspect(const char *ref, const struct immure_image_options *options,
					char **ret, immure_error **err);
/* Reads all of it again: whether it is still what was imported. */
IMMURE_API int32_t immure_image_verify(const char *ref, const struct immure_image_options *options,
				       char **ret, immure_error **err);
/* An image from a registry: [HOST[:PORT]/]REPOSITORY[:TAG][@sha256:HEX], docker.io and "latest" by
 * default. skopeo(1) fetches it, sealed in: it reaches that registry (what Docker Hub, GitHub and Quay
 * are known to use is known) and hosts, and reads auth_file and the host's own settings for registries. What the
 * tag names is resolved first, for the platform; that digest is what is fetched, and the import holds
 * every byte to it. Its name here is ref, or name. Errors as for import; IMMURE_ERR_UNSUPPORTED:
 * there is no skopeo; IMMURE_ERR_NO_IMAGE: what it said, with what it was not let do as hint. */
IMMURE_API int32_t immure_image_pull(const char *ref, const struct immure_image_options *options, char **ret,
				     immure_error **err);
/* Removes a name; with the last one the image, and the layers that no other needs. */
IMMURE_API int32_t immure_image_remove(const char *ref, const struct immure_image_options *options,
				       char **ret, immure_error **err);
/* Removes what imports left that were killed, and layers that no image needs. */
IMMURE_API int32_t immure_image_gc(const struct immure_image_options *options, char **ret,
				   immure_error **err);

struct immure_reclaim_options {
	uint64_t size;
	uint32_t flags;          /* IMMURE_GC_FORCE */
	uint32_t stop_ms;        /* how long the session may take to end by itself; 0 = 10000 */
	const char *const *env;
};

/* Uses a ticket: the session it was issued for is ended and cleaned up, and the
 * report tells what became of each resource. A ticket can be used once, by one:
 * IMMURE_ERR_NO_SESSION for all others. options may be NULL. */
IMMURE_API int32_t immure_reclaim(const char *ticket, const struct immure_reclaim_options *options,
				  immure_report **ret, immure_error **err);
/* The receiver of a ticket says that it has it: from then on the session does not
 * end with the one who made it. Repeatable. */
IMMURE_API int32_t immure_acknowledge(const char *ticket, const char *const *env,
				      immure_error **err);

/* ---- copy-on-write workspaces (workspace.mode: cow) ---- */

/* What a command changed in one is kept under an id when its session has ended: that of the
 * session, for a run the one in its record. id: whole, its unambiguous beginning (4 characters), the
 * name of a session on record, or NULL: the only one there is. env as in struct
 * immure_gc_options. Errors: NO_SESSION, IO. Nothing here believes what was changed. */

/* An array of {"id", "workspace", "session", "created_ms", "in_use", "changed", "torn"}. */
IMMURE_API int32_t immure_workspace_list(const char *const *env, char **ret_json, immure_error **err);
/* What was changed, as lines or as one JSON object: each with what may not land, and what
 * changed in the real tree meanwhile. Also while the session runs. */
IMMURE_API int32_t immure_workspace_diff(const char *id, const char *const *env, int32_t json, char **ret,
					 immure_error **err);
/* One regular file for reading, as it is in the real tree or (changed) in the copy. path is
 * below the workspace, without a link on the way. The caller closes the descriptor. */
IMMURE_API int32_t immure_workspace_open_file(const char *id, const char *const *env, const char *path,
					      int32_t changed, int32_t *ret_fd, immure_error **err);

enum {
	IMMURE_WORKSPACE_OVERWRITE = 1, /* also what was changed in the real tree meanwhile */
	IMMURE_WORKSPACE_REST = 2,      /* what may land lands, though something else may not */
	IMMURE_WORKSPACE_LINKS = 4,     /* also links that lead out of the workspace */
	IMMURE_WORKSPACE_DRY_RUN = 8,   /* only tell what would land */
	IMMURE_WORKSPACE_UNDO = 16,     /* of an apply that was interrupted: what it did is undone,
	                                 * and nothing lands */
	IMMURE_WORKSPACE_ABANDON = 32,  /* the same of one that others made impossible to undo: what they
	                                 * changed stays, what gave way to it is put beside its place as
	                                 * NAME.before-apply-ID; "beside" of the answer names these paths */
	IMMURE_WORKSPACE_FLAGS = 63
};
struct immure_workspace_options {
	uint64_t size;
	uint32_t flags;
	uint32_t reserved;
	const char *const *paths; /* below the workspace, NULL-terminated; NULL = everything */
	const char *const *env;
};
/* Lets what was changed land in the real tree: all that was asked for or nothing. What an
 * apply left that was killed is finished first. *ret_json is what diff prints, with "lands"
 * where it did. A workspace of which nothing is left is removed. Errors also: STATE (something
 * may not land, or the session still runs), INVALID (nothing was changed there). */
IMMURE_API int32_t immure_workspace_apply(const char *id, const struct immure_workspace_options *options,
					  char **ret_json, immure_error **err);
/* Drops it. Errors also: STATE (the session still runs, or an apply was interrupted). */
IMMURE_API int32_t immure_workspace_discard(const char *id, const char *const *env, immure_error **err);

/* ---- snapshots of sessions (docs/SNAPSHOTS.md) ---- */

/* A snapshot contains files: the private directories of a session and what was changed in its
 * copy-on-write workspace, with the policy that it was made by. No processes, no memory, no
 * secret, nothing of the caller's environment, and nothing of a workspace that is written
 * directly: what it says of itself has "contains" and "excludes". It is kept, for its owner alone,
 * in the state directory until it is removed. snapshot: a name, an id, or its unambiguous
 * beginning (4 characters). Errors of all: SNAPSHOT (there is none, or it is damaged), IO. */

struct immure_snapshot_options {
	uint64_t size;
	const char *name;          /* NULL: none. As a session's; unique among snapshots */
	const char *const *labels; /* "key=value", NULL-terminated; may be NULL */
	const char *const *env;    /* for XDG_STATE_HOME, HOME; may be NULL for root */
};
/* The session's files as they are now. Nothing in it runs meanwhile, and what is asked of it in
 * between may be refused with STATE; a session that was frozen stays so. All of it or nothing is
 * left. *ret_json: what is said of it: id, name, created_ms, labels, and about, with contains,
 * excludes, areas, files (entries, bytes, left_out: sockets and devices, length, sha256), policy
 * and more. Errors also: STATE (a file changed meanwhile, the session could not be frozen, the
 * name is taken), UNSUPPORTED (a backend other than native, an image's root that can be written,
 * a plan whose policy is not known because it came from immure_plan_open() or a pool). */
IMMURE_API int32_t immure_snapshot_create(immure_session *session, const struct immure_snapshot_options *options,
					  char **ret_json, immure_error **err);
/* An array, of each: id, name, created_ms, size, session, session_name, profile, policy_version,
 * workspace, workspace_mode, labels; or id, damaged (true) and why. */
IMMURE_API int32_t immure_snapshot_list(const char *const *env, char **ret_json, immure_error **err);
/* As immure_snapshot_create() told it, after all its files have been looked at. */
IMMURE_API int32_t immure_snapshot_inspect(const char *snapshot, const char *const *env, char **ret_json,
					   immure_error **err);
IMMURE_API int32_t immure_snapshot_remove(const char *snapshot, const char *const *env, immure_error **err);

struct immure_resume_options {
	uint64_t size;
	const immure_policy *policy; /* instead of the snapshot's own; NULL: its own */
	const struct immure_setting *settings; /* on top of its own; may be NULL */
	uint64_t settings_n;
	const struct immure_session_options *session; /* of the new one; its env is what the policy
				    * passes from, too. NULL: none of it */
};
/* A new session that begins with the files of a snapshot, which stays. Its id, keys, placeholders
 * of secrets and random numbers are its own. The policy is planned anew on the host as it is now;
 * what was tightened while the old session lived (files, network rules) is tightened again, before
 * the session is the caller's. Errors also: SNAPSHOT (the new session has no place for something,
 * the workspace is another directory), IO (limits.disk is too small), and those of
 * immure_session_create(). */
IMMURE_API int32_t immure_session_resume(const char *snapshot, const struct immure_resume_options *options,
					 immure_session **ret, immure_error **err);
/* The same from a session as it is now, which goes on, count times (1 to 256), all or none: ret has
 * room for as many. name NAME: NAME-1, NAME-2 ... of more than one. No snapshot is kept. Errors as
 * of immure_snapshot_create() and immure_session_resume(). */
IMMURE_API int32_t immure_session_fork(immure_session *session, uint32_t count, const struct immure_resume_options *options,
				       immure_session **ret, immure_error **err);

#ifdef __cplusplus
}
#endif

#endif
