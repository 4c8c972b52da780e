/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the plan compiler share. Not for other layers. */
#ifndef IMMURE_PLAN_COMPILE_H
#define IMMURE_PLAN_COMPILE_H

#include "facts/facts.h"
#include "facts/report.h"
#include "kernel/rtnl.h"
#include "plan/plan.h"
#include "policy/policy.h"

/* ---- points: what is to stand at one path inside (tree.c) ---- */

enum immure_point_kind {
	IMMURE_POINT_PIN,      /* own writable mount, so it cannot be renamed */
	IMMURE_POINT_READONLY, /* read-only where the surroundings are writable */
	IMMURE_POINT_READ,     /* visible, read-only */
	IMMURE_POINT_WRITE,    /* visible, writable */
	IMMURE_POINT_COW,      /* visible, changes go elsewhere */
	IMMURE_POINT_TMPFS,
	IMMURE_POINT_DEV,
	IMMURE_POINT_PROC,
	IMMURE_POINT_SYSFS,    /* a fresh sysfs */
	IMMURE_POINT_SYS,      /* the host's /sys, masked the same */
	IMMURE_POINT_SYMLINK,
	IMMURE_POINT_TEXT,     /* a file with contents of ours */
	IMMURE_POINT_MASK,
};

/* Who wins when several points name the same path: the higher. The policy's own
 * words beat the built-in tables at equal path; among its words deny beats all. */
enum immure_rank {
	IMMURE_RANK_PIN,
	IMMURE_RANK_STRUCTURE, /* what the view is made of */
	IMMURE_RANK_PROTECT,   /* with an allow: read-only (tree.c) */
	IMMURE_RANK_TABLE,     /* sensitive paths, host sockets */
	IMMURE_RANK_TMP,       /* what is private shows nothing of the host */
	IMMURE_RANK_ALLOW,     /* workspace, files.read, files.write */
	IMMURE_RANK_DENY,
	IMMURE_RANK_OURS,      /* the control plane */
};

struct immure_point {
	const char *path;
	const char *src;  /* host path, link text or contents; NULL = path */
	const char *through; /* the bind in a link's place that this belongs to */
	const char *key;
	uint32_t mode;
	uint32_t seq;     /* order of adding, ties only */
	uint8_t kind, rank;
	bool file;        /* not a directory */
	bool optional;
	bool socket;      /* READ: lent, see lend.c */
	bool ro;          /* TMPFS */
	bool cover;       /* TEXT: also where the host has a file of this name */
	bool mount;       /* READ, WRITE: src at another path, whatever stands there */
	bool again;       /* with mount: decided of the source, below a target */
	bool entry;       /* the host's, in a directory of ours that stands for the host's */
};

/* A directory or file of the host that is writable inside. */
struct immure_root {
	const char *text; /* as the scene was asked */
	const char *real;
	const char *key;
	bool file;
	bool cow; /* what is changed there does not reach the host */
};

/* An operation of the supervisor: many, so kept small. */
struct immure_later {
	const char *src, *dst, *key;
	uint32_t kind, flags;
};

struct immure_compile {
	const struct immure_policy *p;
	const struct immure_facts *f;
	const struct immure_command *cmd;
	struct immure_plan *plan;
	struct immure_arena *a; /* the plan's */
	struct immure_error **err;
	size_t ops_cap, gaps_cap;

	const struct immure_backend_report *report; /* of the backend that this plan is for */
	bool settled;  /* the points are there: immure_plan_listings() wanted them as well */
	bool unusable; /* it is planned for to show its gaps, not to be started */
	const char *workspace_text, *workspace;
	const char *home; /* real; NULL = none */
	bool netns;
	const char *inside;      /* the workspace's path inside */
	bool own_root;           /* the root is a directory of ours, although the view is the host's */
	bool bare;               /* backend landlock: bare.h */
	const char *session_dir; /* then; stands for the session's own directory */
	struct immure_rtnl_setup names; /* network.mode limited: where names are */

	struct immure_point *points;
	size_t points_n, points_cap;
	struct immure_root *roots;
	size_t roots_n;
	struct immure_strv ours;  /* our own directories, real paths */
	struct immure_strv lent;  /* directories whose sockets are lent, real paths */
	size_t denied_n;          /* the first of later: watches for denied paths */
	struct immure_later *later; /* for the end of the plan */
	size_t later_n, later_cap;
	struct immure_strv writable, writable_files; /* inside, for Landlock: path, key */
};

/* ops.c */
enum immure_field { /* what src or dst of a kind must be */
	IMMURE_FIELD_NONE,
	IMMURE_FIELD_TEXT,
	IMMURE_FIELD_PATH,
};
struct immure_op_info {
	const char *name;
	uint8_t stage;
	uint8_t src, dst;      /* enum immure_field */
	uint16_t flags;        /* those it may have */
	const char *num[4];    /* names in JSON, NULL = unused */
};
extern const struct immure_op_info immure_op_table[];
/* Appends; NULL when out of memory. */
struct immure_op *immure_compile_op(struct immure_compile *b, enum immure_op_kind kind,
				  const char *src, const char *dst, const char *key);
/* The same into later, for what the supervisor does. */
struct immure_later *immure_compile_later(struct immure_compile *b, enum immure_op_kind kind,
					  const char *src, const char *dst, const char *key);
/* -IMMURE_ERR_POLICY. */
int32_t immure_compile_refuse(struct immure_compile *b, const char *key, const char *fmt, ...)
	IMMURE_PRINTF(3, 4);
#define immure_compile_hint(b, ...) \
	immure_error_set_hint((b)->err ? *(b)->err : NULL, __VA_ARGS__)

/* paths.c */
const char *immure_compile_join(struct immure_arena *a, const char *dir, const char *name);
/* A path as a policy writes it, made absolute; NULL: it cannot be. */
const char *immure_compile_path(struct immure_arena *a, const struct immure_policy *p,
			      const struct immure_facts *f, const char *text);
const char *immure_compile_workspace(struct immure_arena *a, const struct immure_policy *p,
				   const struct immure_facts *f);
/* A path below a workspace that is not known yet. */
bool immure_compile_awaits(const struct immure_compile *b, const char *text);
/* Lies in a directory that a host view replaces with an empty one anyway. */
bool immure_compile_vanishes(const struct immure_policy *p, const char *path);
extern const char *const immure_system_dirs[];
extern const char *const immure_system_etc[];

/* lend.c */
/* A path of network.sockets, made absolute; NULL: there is none. */
const char *immure_compile_socket(struct immure_arena *a, const struct immure_policy *p,
				  const struct immure_facts *f, const char *text);
int32_t immure_compile_lend(struct immure_compile *b);
void immure_compile_lend_gaps(struct immure_compile *b);
/* Lies below a directory whose sockets are lent. */
bool immure_compile_lent(const struct immure_compile *b, const char *path);

/* tree.c */
struct immure_point *immure_compile_point(struct immure_compile *b, enum immure_point_kind kind,
					enum immure_rank rank, const char *path,
					const char *key);
/* Pins what lies between path and the writable place that it is in, so that
 * nothing on the way to it can be moved away and made anew. */
int32_t immure_compile_pins(struct immure_compile *b, const char *path, const char *key);
int32_t immure_compile_tree(struct immure_compile *b);
bool immure_compile_writable(const struct immure_compile *b, const char *real);
/* The deepest writable place that a path lies in, NULL = none. */
const struct immure_root *immure_compile_root(const struct immure_compile *b, const char *real);
/* Adds a WATCH, unless there is one, or the place is our own. */
int32_t immure_compile_watch(struct immure_compile *b, const char *dir, const char *sub,
			     uint32_t flags, const char *key);
/* Covered wherever a sysfs is shown. */
bool immure_compile_sys_masked(const char *path);
/* What a finished mount stage shows at an absolute path. */
bool immure_compile_visible(struct immure_compile *b, const char *path);

/* Sorted by path, parents first, and one point a path. */
bool immure_compile_sort(struct immure_compile *b);

/* mounts.c: an entry of files.mounts. */
struct immure_mount_parts {
	const char *source, *target;
	bool rw;
};
void immure_compile_mount_parts(struct immure_arena *a, const char *text,
				struct immure_mount_parts *ret);
const char *immure_compile_outside(struct immure_arena *a, const struct immure_policy *p,
				   const struct immure_facts *f, const char *path);
/* Whether something of this type may be mounted there. */
int32_t immure_compile_target(struct immure_compile *b, const char *target, char type,
			      const char *key);
struct immure_point *immure_compile_mount(struct immure_compile *b, bool write, const char *real,
					  const char *target, const char *key);
/* Directories whose entries must be known to make targets in them. */
int32_t immure_compile_mount_dirs(const struct immure_policy *p, const struct immure_facts *f,
				  struct immure_arena *a, struct immure_strv *ret);
/* What targets cover, and those that are missing; when all other points are there. */
int32_t immure_compile_mounted(struct immure_compile *b);
/* files.c: one of our own directories, or in it. */
bool immure_compile_is_ours(const struct immure_compile *b, const char *path);

/* One part of the compiler each. */
int32_t immure_compile_points(struct immure_compile *b);    /* make.c: those that make points */
int32_t immure_compile_view(struct immure_compile *b);      /* view.c */
int32_t immure_compile_files(struct immure_compile *b);     /* files.c */
/* pt shows s->real; makes what s->path says lead there as well. */
void immure_compile_also_at(struct immure_compile *b, const struct immure_fact_path *s,
			    const struct immure_point *pt);
/* files.links: what a link of the policy's leads to may be meant. */
int32_t immure_compile_no_escape(struct immure_compile *b, const struct immure_fact_path *s, const char *key);
int32_t immure_compile_masks(struct immure_compile *b);     /* masks.c */
/* The table's entries are paths in a workspace, or in a home that is one. Where
 * root is a place inside the home: the part of the entry that is below root, NULL
 * when the entry is elsewhere. */
const char *immure_compile_in_home(const char *home, const char *root, const char *entry);
/* Our own state on this host, "" = nowhere: make.c. */
const char *immure_compile_state(const struct immure_compile *b);
/* files.c: a copy-on-write workspace can be made; else it is a gap, and read-only. */
bool immure_compile_cow(const struct immure_compile *b);
/* Whether the mount that a path is on shows the kernel's own objects. */
bool immure_compile_kernels(const struct immure_compile *b, const char *path);
int32_t immure_compile_aliases(struct immure_compile *b);   /* alias.c */
int32_t immure_compile_protect(struct immure_compile *b);   /* protect.c */
int32_t immure_compile_limits(struct immure_compile *b);    /* limits.c */
/* What all private areas may hold together, 0 = no limit. */
uint64_t immure_compile_disk(const struct immure_compile *b);
int32_t immure_compile_supervision(struct immure_compile *b);
int32_t immure_compile_mediator(struct immure_compile *b);  /* mediator.c */
/* execute.c: what may be executed, named by real paths; with rights, a rule for each. */
uint64_t immure_compile_denied_groups(const struct immure_compile *b);
bool immure_compile_listed(const struct immure_compile *b);
int32_t immure_compile_execute(struct immure_compile *b, uint64_t fs);
void immure_compile_ask_execute(const struct immure_policy *p, const struct immure_facts *f,
				struct immure_arena *a, struct immure_strv *to);
int32_t immure_compile_identity(struct immure_compile *b);  /* identity.c */
int32_t immure_compile_command(struct immure_compile *b);   /* command.c */
int32_t immure_compile_landlock(struct immure_compile *b);  /* landlock.c */
int32_t immure_compile_gaps(struct immure_compile *b);      /* gaps.c */
/* network.c: where names are; files that say how to look them up; the operations;
 * variables for programs that want a proxy; what cannot be enforced. */
int32_t immure_compile_names(struct immure_compile *b);
void immure_compile_lookup(struct immure_compile *b);
int32_t immure_compile_network(struct immure_compile *b);
void immure_compile_proxy(struct immure_compile *b, const struct immure_strv *env);
void immure_compile_network_gaps(struct immure_compile *b);
/* Where a file is to stand, so that this name leads to it. NULL: it cannot. */
const char *immure_compile_place(const struct immure_compile *b, const char *path);
/* intercept.c: what is inside TLS. */
bool immure_plan_intercepts(const struct immure_policy *p, struct immure_arena *a);
void immure_compile_trust_files(struct immure_compile *b);
void immure_compile_trust_env(struct immure_compile *b, const struct immure_strv *env);
int32_t immure_compile_intercept(struct immure_compile *b);
void immure_compile_intercept_gaps(struct immure_compile *b);
int32_t immure_compile_bwrap(struct immure_compile *b);     /* bwrap.c: after all others */

/* One way to plan, for one backend; make.c has the table, in the order in which auto
 * tries them: what can enforce most comes first. */
struct immure_planner {
	const char *name;
	int32_t (*compile)(struct immure_compile *b);
	bool by_name; /* auto never chooses it */
};
extern const struct immure_planner immure_planners[];
extern const size_t immure_planners_n;

/* image.c. NULL: the root is none, or there is no such image. */
const struct immure_fact_image *immure_compile_image(const struct immure_compile *b);
int32_t immure_compile_image_root(struct immure_compile *b);
void immure_compile_image_gaps(struct immure_compile *b);
void immure_compile_image_ids(struct immure_compile *b, struct immure_op *map);
void immure_compile_image_env(struct immure_compile *b, struct immure_strv *env);
const struct immure_strv *immure_compile_image_command(const struct immure_compile *b);
const char *immure_compile_image_cwd(struct immure_compile *b);

/* gaps.c. final: no policy can approve it. */
void immure_compile_gap(struct immure_compile *b, bool final, const char *key,
		      const char *dimension, const char *what, const char *remedy);

/* seal.c. Fills sealed, sealed_len and hash. */
int32_t immure_plan_close(struct immure_plan *p, struct immure_error **err);

#endif
