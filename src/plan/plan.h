/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: ordered operations for one backend, or a list of gaps. A pure
 * function of policy, facts and command; it opens nothing. Printed, hashed,
 * sealed to bytes and unsealed again by the process that applies it. */
#ifndef IMMURE_PLAN_PLAN_H
#define IMMURE_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "immure/immure.h"

struct immure_policy;
struct immure_facts;

/* Stages, in the only order in which they are applied. Why this order: limits
 * before anything of the payload's exists; mounts before Landlock, which
 * forbids later ones; capabilities dropped when nothing needs them any more;
 * seccomp last, so that it need not permit what set-up does. */
enum immure_stage {
	IMMURE_STAGE_CGROUP,
	IMMURE_STAGE_RLIMIT,
	IMMURE_STAGE_NAMESPACE,
	IMMURE_STAGE_IDS,
	IMMURE_STAGE_MOUNT,
	IMMURE_STAGE_PIVOT,
	IMMURE_STAGE_NETWORK,
	IMMURE_STAGE_FDS,
	IMMURE_STAGE_CAPS,
	IMMURE_STAGE_NO_NEW_PRIVS,
	IMMURE_STAGE_LANDLOCK,
	IMMURE_STAGE_CHECK,
	IMMURE_STAGE_SECCOMP,
	IMMURE_STAGE_EXEC,
	IMMURE_STAGE_SUPERVISE, /* what the supervisor does meanwhile and after */
	IMMURE_STAGE_MAX
};

/* Operations. The comment gives src / dst / num[] where they are used. All
 * paths are absolute and normal. dst is a path inside the sandbox; src a path
 * on the host, resolved once, with symlinks refused.
 *
 * Mount points: a dst that lies in a tmpfs of ours (TMPFS, ROOT_EMPTY, DEV,
 * MASK_KEEP) is made when it is missing, with its parents (0755), a file when
 * FILE is set; anywhere else a missing dst fails unless OPTIONAL. RO of a
 * TMPFS counts from the end of the stage. Within the mount stage DEV comes right
 * after the root, and every other op after all ops on its ancestors. */
enum immure_op_kind {
	IMMURE_OP_OWN_DIR,         /* dst: a directory of ours that is missing where the command could
	                            * make it, or one of files.write; the supervisor makes it (0700),
	                            * so that it can be masked or written */
	IMMURE_OP_SESSION_DIR,     /* dst stands for a directory that the supervisor makes anew for the
	                            * session (0700, with tmp and home in it) beside dst and removes */
	IMMURE_OP_CGROUP_LEAF,     /* num0: enum immure_cgroup_kind; a leaf to join; src: v2 "/dir",
	                            * v1 "memory=/dir:pids=/dir:cpu=/dir:cpuacct=/dir", those needed;
	                            * num1: v2, enable the controllers of the ops that follow first */
	IMMURE_OP_CGROUP_MEMORY,   /* num0: bytes */
	IMMURE_OP_CGROUP_PIDS,     /* num0: count */
	IMMURE_OP_CGROUP_CPU,      /* num0: thousandths of a CPU */
	IMMURE_OP_RLIMIT,          /* src: "nofile" ...; num0 = soft = hard */
	IMMURE_OP_CPU_AFFINITY,    /* num0: number of CPUs; the fall-back for cpus */
	IMMURE_OP_NAMESPACES,      /* num0: CLONE_NEW* mask; src: their names */
	IMMURE_OP_BWRAP,           /* src: bubblewrap, which makes what follows up to PIVOT; num0: 1 when it
	                            * takes descriptors for what it binds */
	IMMURE_OP_IDMAP,           /* inside uid, outside uid, inside gid, outside gid */
	IMMURE_OP_IDMAP_SUBID,     /* as IDMAP, plus the caller's sub-id range from 1 up, by newuidmap */
	IMMURE_OP_ROOT_HOST,       /* root = recursive private clone of /, read-only nosuid */
	IMMURE_OP_ROOT_EMPTY,      /* root = tmpfs, made read-only at the end of the mounts */
	IMMURE_OP_BIND,            /* src -> dst; flags RO, OPTIONAL, NOEXEC, FILE, SOCKET */
	IMMURE_OP_TMPFS,           /* dst; num0 bytes (0 = kernel default), num1 mode; flags RO, NOEXEC */
	IMMURE_OP_DEV,             /* "/dev": null zero full random urandom tty pts shm; num0 shm bytes */
	IMMURE_OP_PROC,            /* dst "/proc"; RO: by nobody, not even a process's own settings */
	IMMURE_OP_SYSFS,           /* dst "/sys", read-only */
	IMMURE_OP_SYMLINK,         /* dst -> text src; ROOT_EMPTY only */
	IMMURE_OP_DIR,             /* dst; num1 mode; in a tmpfs of ours */
	IMMURE_OP_FILE,            /* dst; src = contents; num1 mode; in a tmpfs of ours, or with
	                            * COVER over what is there, wherever that is */
	IMMURE_OP_MASK,            /* dst answers EACCES; FILE is for readers: look what it is */
	IMMURE_OP_MASK_KEEP,       /* dst answers EACCES, except the BINDs below it that follow */
	IMMURE_OP_READONLY,        /* dst, inside a writable area, becomes read-only (its own mount) */
	IMMURE_OP_PIN,             /* dst becomes its own writable mount, so it cannot be renamed */
	IMMURE_OP_HOSTNAME,        /* src */
	IMMURE_OP_PIVOT,
	IMMURE_OP_LOOPBACK,        /* bring lo up */
	IMMURE_OP_NET_HOST,        /* share the host's network: no namespace */
	IMMURE_OP_NET_CLOSED,      /* no socket can be made: no namespace */
	IMMURE_OP_EGRESS,          /* instead of LOOPBACK, or of NET_CLOSED: src, dst: ranges of names, v4 and v6;
	                            * num0: port of the proxy, 0 = none; num1: names may lead to
	                            * private networks; num2: connections, 0 = the default; num3:
	                            * bytes a second, 0 = no limit */
	IMMURE_OP_EGRESS_LIMITS,   /* num0: ms of silence; num1: ms for first bytes; 0 = the defaults;
	                            * num2: 1 = no encrypted ClientHello */
	IMMURE_OP_EGRESS_BODIES,   /* num0: bytes of a request's body; num1: of an answer's; 0 = any */
	IMMURE_OP_EGRESS_ALLOW,    /* src: a rule in normal form */
	IMMURE_OP_EGRESS_DENY,     /* the same */
	IMMURE_OP_INTERCEPT,       /* TLS ends at us where rules look inside, or secrets go; num0: 1 = the
	                            * session's own authority is all that is trusted inside */
	IMMURE_OP_SECRET,          /* src: how it is sent, a space, its name; dst: where it is from;
	                            * num0: its number */
	IMMURE_OP_SECRET_TO,       /* src: a rule for where secret num0 goes */
	IMMURE_OP_ATTRIBUTE,       /* src: a rule for requests that are told whose they are */
	IMMURE_OP_EGRESS_NET,      /* src: an address or network that a rule names; num0 to num1:
	                            * its ports */
	IMMURE_OP_PUBLISH,         /* src: an address of the host; num0: its port; num1: the port
	                            * inside */
	IMMURE_OP_CLOSE_FDS,
	IMMURE_OP_DROP_CAPS,       /* all sets, bounding and ambient included */
	IMMURE_OP_NO_NEW_PRIVS,
	IMMURE_OP_KEYRING,         /* a session keyring of its own */
	IMMURE_OP_LANDLOCK,        /* num0 ABI, num1 handled fs rights, num2 scopes, num3 handled net */
	IMMURE_OP_LANDLOCK_RULE,   /* dst; num0 rights (bits of that ABI) */
	IMMURE_OP_WITHHELD,        /* dst: no rule grants it, or with RO, none grants changing it */
	IMMURE_OP_SELF_CHECK,
	IMMURE_OP_SECCOMP,         /* src: "default", "strict" or artifact path; num0 socket families;
	                            * num1: enum immure_beneath, the filter beneath it; num2: 1 = files in
	                            * memory cannot be executed; num3: groups of calls that fail, a bit
	                            * for each of immure_call_groups */
	IMMURE_OP_EXEC,            /* argv, env, cwd: see struct immure_plan */
	IMMURE_OP_WALL_TIME,       /* num0 ms, num1 grace ms before SIGKILL */
	IMMURE_OP_OUTPUT_CAP,      /* num0 bytes; num1: 1 = beyond them everything is killed */
	IMMURE_OP_CAPTURE,         /* num0: the most a session keeps of output, enum immure_keep */
	IMMURE_OP_AGENT,           /* src: on whose behalf */
	IMMURE_OP_MEDIATOR,        /* src: who is asked before a command starts, num0: 1 = a program, not a
	                            * socket; num1: 1 = who is pending is sent away; num2: ms for an
	                            * answer; num3: ms in all */
	IMMURE_OP_JOURNAL,         /* src: a directory in which a run keeps its journal */
	IMMURE_OP_MEDIATOR_BUDGET, /* src: handed to it */
	IMMURE_OP_MEMORY_WATCH,    /* num0 bytes; sampled sum over the pid namespace */
	IMMURE_OP_WATCH,           /* src: directory; dst: pattern (protected table); BUILD, ANYWHERE */
	IMMURE_OP_PROTECT_LINK,    /* dst: a symlink that must not change; src: its text */
	IMMURE_OP_LAYER,           /* MOUNT; src: a directory that the OVERLAY at dst shows. They come
	                            * right before it, what covers the others first */
	IMMURE_OP_OVERLAY,         /* MOUNT; dst: its layers as one tree; "/": it is the root. num0: how
	                            * many there are. What is changed goes to: RO: nothing can be;
	                            * SHARED: an area of ours, num1 bytes altogether, gone with the
	                            * session (with RO: only mount points are made in it); else src, a
	                            * directory with "upper" and "work" in it, or with KEPT one that
	                            * the supervisor makes for it in src */
	IMMURE_OP_MAX
};

enum immure_beneath { IMMURE_BENEATH_NONE, IMMURE_BENEATH_BARE, IMMURE_BENEATH_BARE_OLD,
		      IMMURE_BENEATH_FILES, IMMURE_BENEATH_FILES_OLD, /* some calls are answered */
		      IMMURE_BENEATH_NAMES, IMMURE_BENEATH_NAMES_OLD }; /* of EGRESS */

enum {
	IMMURE_OPF_RO = 1,
	IMMURE_OPF_OPTIONAL = 2, /* absent when applied: skipped */
	IMMURE_OPF_NOEXEC = 4,
	IMMURE_OPF_FILE = 8,     /* dst is a file, not a directory */
	IMMURE_OPF_BUILD = 16,
	IMMURE_OPF_ANYWHERE = 32,
	IMMURE_OPF_ALLOWED = 64, /* watched and reported, not quarantined */
	IMMURE_OPF_COVER = 128,  /* FILE: mounted over what stands there */
	IMMURE_OPF_SOCKET = 256, /* BIND, PIN: lent; with FILE src must be a socket */
	IMMURE_OPF_SHARED = 512, /* TMPFS, DEV (its shm), OVERLAY: one file system with the others
				  * that say so; num0, of OVERLAY num1, the same in each, bounds
				  * them together */
	IMMURE_OPF_KEPT = 1024,  /* OVERLAY: what was changed is there when the session has ended;
				  * WATCH, PROTECT_LINK: it comes to the host later, if at all:
				  * refused then, not looked for now */
	IMMURE_OPF_PIDS = 2048,  /* PROC: nothing is there but processes */
};

enum { IMMURE_LAYERS_MAX = 128 }; /* of one OVERLAY */

/* The key of FILE operations whose contents are made at the start, "" in the plan; and what
 * stands for secrets in the environment, each followed by its name, before that. */
#define IMMURE_KEY_TRUST "network.trust"
#define IMMURE_PLACEHOLDER "immure-placeholder-"
/* Files of trusted certificates, as distributions have them; ends with NULL. */
const char *const *immure_plan_bundles(void);

struct immure_op {
	uint32_t kind;
	uint32_t stage;
	uint32_t flags;
	uint64_t num[4];
	const char *src; /* "" when unused */
	const char *dst;
	const char *key; /* the policy key that caused it: "files.deny", "(always)" */
};

struct immure_gap {
	const char *key;        /* policy key */
	const char *dimension;  /* DESIGN's dimension or capability name */
	const char *what;       /* one line: what cannot be enforced, and why */
	const char *remedy;     /* one line: what to do */
	bool approved;          /* the policy approved exactly this downgrade */
};

struct immure_plan {
	struct immure_arena arena;
	const char *backend;        /* "native" */
	const char *backend_why;
	const char *profile;
	const char *policy_version;
	const char *workspace;      /* real path; where EXEC starts unless cwd says else */
	const char *cwd;
	struct immure_strv argv;
	struct immure_strv env;     /* NAME=value */
	struct immure_op *ops;
	size_t ops_n;
	struct immure_gap *gaps;
	size_t gaps_n;
	const char *way;            /* of the network, as far as it was found out: told, not sealed, since the
				     * start finds it out for itself; NULL = nothing to tell */
	const char *state_dir;      /* ours on this host (facts): quarantine goes below it; "" = nowhere */
	struct immure_plan_digest *digest; /* see immure_plan_hash_of() */
	const void *sealed;         /* the sealed form without its digest, in the arena */
	size_t sealed_len;
	const char *carried;        /* what the policy can be made from again, as JSON: [profile, key,
				     * value, ...]; NULL = not known; not part of what is planned */
	struct immure_ahead *ahead; /* begun for this plan by whoever asked for it (backend/ahead.h),
				     * and ended by him; not part of what is planned */
};

/* The directory below which most of the paths of interest lie; NULL: none. */
const char *immure_plan_names(const struct immure_policy *p, const struct immure_facts *f,
			      struct immure_arena *a);
/* The paths whose state the planner wants in the facts, absolute and normal. */
int32_t immure_plan_interest(const struct immure_policy *p, const struct immure_facts *f,
			     struct immure_arena *a, struct immure_strv *ret,
			     struct immure_error **err);

/* Whether it wants more than paths: closed ones and listings. */
bool immure_plan_wants_listings(const struct immure_policy *p, const struct immure_facts *f);
struct immure_command {
	const char *const *argv; /* NULL-terminated, argv[0] set */
	const char *const *env;  /* the caller's environment, filtered by the policy */
	const char *cwd;         /* NULL = the caller's if inside what is visible, else workspace */
	bool no_workspace;       /* plans all but the workspace and what the policy says below it:
	                          * what sessions have that wait for somebody's (fit.h) */
};

/* The directories whose entries the planner wants as well; the paths of the other
 * interest must be in the facts. Empty for most backends. *ret_begun: what of the plan
 * was settled in order to know them, so that it need not be settled twice; NULL: nothing,
 * or not wanted. It is for immure_plan_make() with the same policy, facts and command. */
struct immure_compile;
int32_t immure_plan_listings(const struct immure_policy *p, const struct immure_facts *f,
			     const struct immure_command *cmd, struct immure_arena *a,
			     struct immure_strv *ret, struct immure_compile **ret_begun,
			     struct immure_error **err);
void immure_plan_begun_free(struct immure_compile *begun);

/* Never returns an unenforceable plan silently: what cannot be enforced is in
 * gaps[]; a plan with a gap that is not approved must not be started. Errors are
 * for contradictions and bad input. *begun is taken, in any case; NULL: nothing was begun. */
int32_t immure_plan_make(const struct immure_policy *p, const struct immure_facts *f,
			 const struct immure_command *cmd, struct immure_compile **begun,
			 struct immure_plan **ret, struct immure_error **err);
void immure_plan_destroy(struct immure_plan *p);

/* Sealed form: magic, version, length, contents, SHA-256. Unseal verifies all
 * of it and every offset; hostile bytes give an error. */
int32_t immure_plan_seal_bytes(const struct immure_plan *p, void **ret, size_t *ret_len,
			       struct immure_error **err);
int32_t immure_plan_unseal(const void *data, size_t len, struct immure_plan **ret,
			   struct immure_error **err);
/* Of a file in memory, as it was handed over. ret_data: its bytes, a mapping for as long as
 * the process lives; NULL: not wanted. */
int32_t immure_plan_unseal_fd(int fd, const void **ret_data, size_t *ret_len, struct immure_plan **ret,
			      struct immure_error **err);

/* SHA-256, hex, of the sealed form without its digest: the plan's name. Computed
 * at the first call, because it costs as much as planning does and a launch can
 * do it while the session is being set up. Safe from several threads. */
const char *immure_plan_hash_of(const struct immure_plan *p);

/* Whether starting is permitted; when not, fills err with the first open gap. */
int32_t immure_plan_startable(const struct immure_plan *p, struct immure_error **err);
/* No namespaces are made: what is sealed in lives in the host's. */
bool immure_plan_is_bare(const struct immure_plan *p);
/* The workspace's path inside. */
const char *immure_plan_inside(const struct immure_plan *p);
/* On whose behalf it runs; "" = nobody was named. */
const char *immure_plan_agent(const struct immure_plan *p);
const struct immure_op *immure_plan_find(const struct immure_plan *p, enum immure_op_kind kind);

/* Caller frees; NULL when out of memory. */
char *immure_plan_text(const struct immure_plan *p);
char *immure_plan_to_json(const struct immure_plan *p);
char *immure_plan_line(const struct immure_plan *p); /* the whole of it in one line */
const char *immure_op_name(uint32_t kind);
const char *immure_stage_name(uint32_t stage);

#endif
