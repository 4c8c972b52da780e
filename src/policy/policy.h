/* SPDX-License-Identifier: Apache-2.0 */
/* The policy: what a person asked for, as typed values. Data only: nothing
 * here looks at the host. Immutable once immure_policy_load() returned it. */
#ifndef IMMURE_POLICY_POLICY_H
#define IMMURE_POLICY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "facts/report.h"
#include "immure/immure.h"

enum immure_workspace_mode {
	IMMURE_WORKSPACE_RW, IMMURE_WORKSPACE_RO, IMMURE_WORKSPACE_COW,
	IMMURE_WORKSPACE_NONE, IMMURE_WORKSPACE_SCRATCH,
};
enum immure_output_over { IMMURE_OUTPUT_CUT, IMMURE_OUTPUT_FAIL };
/* As enum immure_capture of session/serve.h. */
enum immure_keep { IMMURE_KEEP_OFF, IMMURE_KEEP_METADATA, IMMURE_KEEP_SUMMARY, IMMURE_KEEP_CONTENT };
enum immure_links { IMMURE_LINKS_FOLLOW, IMMURE_LINKS_DENY_ESCAPES, IMMURE_LINKS_FOLLOW_TRUSTED };
enum immure_view {
	IMMURE_VIEW_HOST,   /* the whole host tree, read-only, masked */
	IMMURE_VIEW_SYSTEM, /* system directories only */
	IMMURE_VIEW_IMAGE,  /* root from an image */
};
enum immure_executables { IMMURE_EXECUTABLES_ANY, IMMURE_EXECUTABLES_LISTED };
enum immure_mediator_mode { IMMURE_MEDIATOR_SYNC_WAIT, IMMURE_MEDIATOR_ASYNC_TOKEN };
/* What of an image can be changed. */
enum immure_root_mode { IMMURE_ROOT_RO, IMMURE_ROOT_LAYER };
enum immure_proc { IMMURE_PROC_MASKED, IMMURE_PROC_PIDS }; /* what is there beside processes */
enum immure_home { IMMURE_HOME_HOST, IMMURE_HOME_EMPTY };
enum immure_network_mode { IMMURE_NETWORK_NONE, IMMURE_NETWORK_LIMITED, IMMURE_NETWORK_HOST };
enum immure_identity { IMMURE_IDENTITY_CALLER, IMMURE_IDENTITY_ROOT, IMMURE_IDENTITY_NOBODY,
		       IMMURE_IDENTITY_IMAGE };
enum immure_id_range { IMMURE_ID_RANGE_SINGLE, IMMURE_ID_RANGE_SUBID };
enum immure_trust_roots { IMMURE_TRUST_APPEND, IMMURE_TRUST_SOLE };
enum immure_origin { IMMURE_ORIGIN_LOCAL, IMMURE_ORIGIN_REMOTE };
enum immure_downgrade { IMMURE_DOWNGRADE_DENY, IMMURE_DOWNGRADE_ALLOW };

struct immure_secret {
	const char *name;
	const char *from;      /* "env:NAME", "file:/path", "fd:N" */
	struct immure_strv to; /* host patterns */
	const char *as;        /* "bearer", "basic", "header:NAME", "query:NAME", "env:NAME" */
};

struct immure_env_set {
	const char *name;
	const char *value;
};

/* Zero in a limit means "none asked for"; a policy can never write zero. */
struct immure_limits {
	uint64_t memory;      /* bytes */
	uint64_t processes;
	uint64_t cpus;        /* thousandths of a CPU */
	uint64_t wall_time;   /* ms */
	uint64_t cpu_time;    /* ms */
	uint64_t open_files;
	uint64_t file_size;   /* bytes */
	uint64_t disk;        /* bytes, over all writable areas we make */
	uint64_t output;      /* bytes, stdout and stderr together */
	enum immure_output_over output_over;
};

/* In network.sockets: the path that this variable of the caller's has. */
#define IMMURE_POLICY_AGENT "$SSH_AUTH_SOCK"

struct immure_policy {
	struct immure_arena arena;

	const char *profile;   /* name of the profile at the bottom of the layers */
	const char *workspace; /* as written; "." = the caller's directory */
	enum immure_workspace_mode workspace_mode;
	const char *workspace_target; /* its path inside; NULL = its own */

	enum immure_view view;
	enum immure_root_mode root;
	enum immure_home home;
	enum immure_proc proc;
	/* Paths as written: absolute, "~/..." or relative to the workspace. */
	struct immure_strv read, write, deny, tmp, protect;
	struct immure_strv presets; /* names of immure_presets */
	struct immure_strv mounts; /* "SOURCE:TARGET:ro", or rw */
	enum immure_links links;
	bool sensitive;            /* mask the built-in table of secrets' places */
	bool protected_table;      /* protect the built-in table of host-executed files */
	struct immure_strv created; /* protected-table entries that may be created */
	enum immure_executables executables;
	struct immure_strv execute; /* with EXECUTABLES_LISTED: all that may be executed */

	enum immure_network_mode network;
	struct immure_strv net_allow, net_deny, publish;
	bool net_private;          /* named hosts may resolve to private ranges */
	const char *net_prefix;    /* synthetic addresses, CIDR, NULL = built in */
	uint64_t net_connections;  /* open at one time, 0 = the gatekeeper's default */
	uint64_t net_bandwidth;    /* bytes a second, both ways together, 0 = no limit */
	uint64_t net_request_body, net_response_body; /* bytes, 0 = no limit */
	uint64_t net_idle, net_handshake; /* ms, 0 = the gatekeeper's defaults */
	struct immure_strv net_attribute; /* requests that say whose they are */
	enum immure_trust_roots net_trust;
	bool net_ech;              /* a name in TLS may be hidden where a rule looks at it */
	bool net_proxy;            /* variables that point programs at a proxy of ours */
	struct immure_strv sockets; /* of the host, lent: paths, with a final '/' all below */

	struct immure_strv env_pass;
	struct immure_env_set *env_set;
	size_t env_set_n;

	struct immure_secret *secrets;
	size_t secrets_n;

	struct immure_limits limits;
	const char *syscalls;      /* "default", "strict", or an absolute artifact path */
	struct immure_strv deny_calls; /* names of immure_call_groups */
	enum immure_identity identity;
	enum immure_id_range id_range;
	const char *image;         /* NULL = none */

	const char *require_class; /* NULL = none */
	struct immure_strv require_caps;
	uint32_t require_trust[IMMURE_TRUST_MAX]; /* the least of each field */
	struct immure_strv prefer; /* backends, tried first where auto chooses */
	enum immure_downgrade downgrade;
	struct immure_strv downgrades; /* the exact deltas approved */
	/* A policy that was read from files lists the deltas that it can live with, and
	 * the caller can approve none of the others. */
	bool downgrade_bounded;
	struct immure_strv downgrade_listed;
	enum immure_origin origin;
	enum immure_keep capture;  /* the most that a session keeps of output */
	const char *agent;         /* on whose behalf; NULL = nobody's in particular */
	bool require_agent;
	const char *journal;       /* a directory; NULL = a run keeps none */
	const char *mediator;      /* "unix:PATH", "program:PATH", NULL = nobody is asked */
	enum immure_mediator_mode mediator_mode;
	uint64_t mediator_answer, mediator_wait; /* ms, 0 = the defaults */
	const char *mediator_budget; /* NULL = none */
	const char *backend;       /* "auto" or a backend's name */

	/* Where each key of the table (keys.h) got its value: profile name, file
	 * path, or flag; indexed by key number. Owned by the policy. */
	const char **sources;
	struct immure_strv files;  /* it was read from these: real paths */
	char version[32];          /* "policy-" + 24 hex */
};

/* The canonical form: one JSON object, every key, table order, no spaces. What
 * policy_version is the SHA-256 of. Caller frees. */
char *immure_policy_canonical(const struct immure_policy *p);

/* The built-in tables (data.c), each entry with a test. */
struct immure_sensitive_path {
	const char *path; /* absolute or "~/..." */
	const char *why;
};
extern const struct immure_sensitive_path immure_sensitive_paths[];
extern const size_t immure_sensitive_paths_n;

/* What deny_syscalls can name, and the built-in filter of each. */
struct immure_call_group {
	const char *name, *filter;
};
enum { IMMURE_CALL_GROUPS = 2 };
extern const struct immure_call_group immure_call_groups[IMMURE_CALL_GROUPS];

/* Paths that a name of files.presets stands for. */
struct immure_preset {
	const char *name;
	const char *path; /* absolute or "~/..." */
};
extern const struct immure_preset immure_presets[];
extern const size_t immure_presets_n;
bool immure_preset_is(const char *name);

/* Files that some program on the host executes or obeys by itself. */
struct immure_protected_path {
	const char *path;  /* relative to the workspace; with anywhere, matched as a
			    * path suffix of whole components at any depth; a last
			    * component may start with '*' */
	const char *why;   /* which program obeys it */
	bool anywhere;
	bool build;        /* a build's own input: watched and reported, protected
			    * only when the policy names it */
};
extern const struct immure_protected_path immure_protected_paths[];
extern const size_t immure_protected_paths_n;

/* Whether what a command does in the workspace is written anywhere that stays. */
static inline bool immure_policy_changes_workspace(const struct immure_policy *p)
{
	return p->workspace_mode == IMMURE_WORKSPACE_RW || p->workspace_mode == IMMURE_WORKSPACE_COW;
}

#endif
