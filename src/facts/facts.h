/* SPDX-License-Identifier: Apache-2.0 */
/* What this host can do, found by trying it. A value: once gathered it is
 * never changed, and planning reads nothing else about the host. */
#ifndef IMMURE_FACTS_FACTS_H
#define IMMURE_FACTS_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "immure/immure.h"
#include "kernel/dirset.h"

enum immure_tri {
	IMMURE_UNTRIED, /* not probed: quick facts leave the costly ones so */
	IMMURE_NO,
	IMMURE_YES,
};

/* One probe's answer, for doctor. */
struct immure_fact {
	const char *name;   /* "userns", "landlock", ... stable, lower case */
	enum immure_tri ok;
	int errnum;         /* why not, 0 when unknown */
	const char *detail; /* "ABI 7", "EPERM from clone3", ... */
	const char *remedy; /* what the reader can do; "" when nothing is wrong */
};

struct immure_fact_mount { /* one line of /proc/self/mountinfo */
	uint32_t id, parent;
	uint32_t major, minor;
	const char *root;   /* path within its file system */
	const char *target; /* mount point, unescaped */
	const char *fstype;
	const char *super; /* options of the file system, as written */
	bool readonly;     /* this mount is read-only */
};

/* One path that the planner asked about (see plan/scene.h). */
struct immure_fact_path {
	const char *path;  /* as asked, absolute and normal */
	const char *real;  /* symlinks resolved, NULL when absent */
	char type;         /* 0 absent, 'd','f','l','s','p','b','c'; of the target */
	bool link;         /* the last component itself is a symlink */
	const char *link_target; /* text of that link, NULL otherwise */
	uint32_t mode, uid, gid;
	uint64_t dev, ino, nlink;
	int errnum;        /* why it could not be examined, 0 = fine or absent */
	bool closed;       /* its mode keeps us out already; see immure_facts_find_closed() */
};

/* The entries of a directory, but for . and .., in no order. */
struct immure_fact_entry {
	const char *name;
	char type; /* as above; 0 = not told */
	const char *link; /* text of a link, NULL when it cannot be read */
};

struct immure_fact_listing {
	const char *path;
	struct immure_fact_entry *entries;
	size_t n;
	bool truncated; /* there were more */
	int errnum;     /* why it could not be listed, 0 = it was */
};

/* An image of the store; errnum: why it cannot be had, ENOENT = there is none. */
struct immure_fact_image {
	const char *ref;     /* as the policy names it */
	int errnum;
	const char *store;   /* the directory of images, real */
	const char *digest, *platform;
	struct immure_strv layers;  /* directories, the topmost first */
	struct immure_strv env;
	struct immure_strv command; /* entrypoint and cmd */
	const char *workdir, *user; /* "" = none is named */
	uint32_t uid, gid;   /* that user's; valid when user_errnum is 0 */
	int user_errnum;
};

struct immure_fact_program {
	const char *name;
	const char *path;    /* NULL = not found */
	const char *version; /* first line of its --version, NULL = not asked */
};

enum immure_cgroup_kind { IMMURE_CGROUP_NONE, IMMURE_CGROUP_V1, IMMURE_CGROUP_V2 };

/* Where limits can be put. Directories are those in which a leaf of ours can
 * be made; NULL = that controller is not available to us. */
struct immure_cgroup_facts {
	enum immure_cgroup_kind kind;
	const char *v2;                                  /* parent directory */
	bool v2_enable; /* write "+memory +pids +cpu" (those set below) to its
			 * cgroup.subtree_control before making a leaf */
	const char *v1_memory, *v1_pids, *v1_cpu, *v1_cpuacct;
	bool memory, pids, cpu;                          /* what limits can be set */
};

struct immure_facts {
	struct immure_arena arena;
	bool full;             /* every probe was run */

	const char *kernel;    /* uname release */
	const char *machine;   /* "x86_64", "aarch64" */
	const char *boot_id;
	uint32_t uid, gid;
	const char *user;      /* login name; decimal uid when unknown */
	const char *home;      /* absolute; NULL when there is none */
	const char *cwd;       /* NULL when it was deleted */
	/* Ours, absolute, may not exist yet; NULL when nothing safe can be named
	 * (no home and no XDG directories). */
	const char *runtime_dir, *state_dir, *config_dir;
	const char *tmp_dir;   /* TMPDIR, when only we can write it; else NULL */

	int landlock_abi;      /* 0 = none */
	enum immure_tri userns, userns_mount, userns_proc, netns, overlay_userns;
	enum immure_tri egress; /* what network.mode limited rests on */
	const char *egress_way; /* how names are caught (kernel/netplumb.h); NULL = not tried, or not at all */
	enum immure_tri seccomp, seccomp_notify;
	enum immure_tri kvm;
	enum immure_tri newuidmap;
	enum immure_tri bwrap;      /* bubblewrap works with all that its backend asks */
	const char *bwrap_path;     /* real path; NULL unless it does */
	enum immure_tri bwrap_net;  /* a network that it made can be entered and plumbed */
	const char *bwrap_way;      /* how names are caught there */
	bool bwrap_pins;            /* it takes descriptors for what it binds */
	struct immure_cgroup_facts cgroup;

	struct immure_fact *all;   size_t all_n;      /* full only: doctor's rows */
	struct immure_fact_program *programs; size_t programs_n; /* full only */
	struct immure_fact_mount *mounts; size_t mounts_n;
	struct immure_fact_path *paths;   size_t paths_n;   /* sorted by path */
	uint16_t *path_index; /* of immure_facts_path(); NULL = paths are searched */
	size_t path_slots;
	struct immure_fact_listing *listings; size_t listings_n;
	const char *names_dir;      /* whose entries names tells; NULL = no directory's */
	struct immure_dirset names;
	struct immure_strv sockets; /* pathname unix sockets bound on this host now */
	const char *agent;          /* SSH_AUTH_SOCK; NULL = none */
	struct immure_fact_image *image; /* that was looked for; NULL = none was */
};

/* With QUICK: leaves facts.cgroup empty, for a policy that asks nothing of it. */
#define IMMURE_FACTS_NO_CGROUP (1U << 16)
/* With QUICK: and what trying everything found out, now or, for the same host, before. */
#define IMMURE_FACTS_KEPT (1U << 18)
/* With KEPT: now in any case; what was kept turned out to be wrong. */
#define IMMURE_FACTS_ANEW (1U << 19)
/* Leaves out the host's sockets: a backend under which none can be reached needs no list. */
#define IMMURE_FACTS_NO_SOCKETS (1U << 20)
/* With QUICK: leaves out what planning does not look at (boot_id, notifications). */
#define IMMURE_FACTS_FOR_PLAN (1U << 17)

/* Gathers facts. IMMURE_FACTS_QUICK does only what costs microseconds and is
 * what a launch uses; what it leaves UNTRIED is found out by the launch itself,
 * which refuses when it does not work. env is the caller's environment block
 * (HOME, XDG_*), may be NULL. */
int32_t immure_facts_gather(uint32_t flags, const char *const *env,
			    struct immure_facts **ret, struct immure_error **err);
/* The same in two steps, for who begins namespaces in between: what is made of mounts
 * elsewhere in the system holds up readers of the mount table, so that is read first. A
 * failing second step leaves f to be destroyed. */
int32_t immure_facts_begin(struct immure_facts **ret, struct immure_error **err);
int32_t immure_facts_complete(struct immure_facts *f, uint32_t flags, const char *const *env,
			      struct immure_error **err);

/* Puts the calling process into a scope of its own where it may set limits, when it may not
 * where it is and the user's service manager gives it one (kernel/userscope.h): 1; 0 when
 * that is not so. -errno: the manager was asked and it did not work; the process may have
 * been moved. env: as above. */
int immure_facts_enter_scope(const char *const *env, uint64_t timeout_ms);

/* Only who the user is and where our directories are: user, home, runtime_dir,
 * state_dir, config_dir, cwd. */
int32_t immure_facts_places(const char *const *env, struct immure_facts **ret,
			    struct immure_error **err);

void immure_facts_destroy(struct immure_facts *f);

/* Adds what the planner needs to know about these absolute paths. Part of
 * gathering: must happen before the facts are handed to planning. */
int32_t immure_facts_examine(struct immure_facts *f, const struct immure_strv *paths,
			     struct immure_error **err);
/* The same for strings that live as long as f: they are not copied. */
int32_t immure_facts_examine_own(struct immure_facts *f, const struct immure_strv *paths,
				 struct immure_error **err);
const struct immure_fact_path *immure_facts_path(const struct immure_facts *f, const char *path);

/* Looks for an image in the store. What it is, or why there is none, is in f->image. */
int32_t immure_facts_image(struct immure_facts *f, const char *ref, struct immure_error **err);

/* Finds out which of the paths examined so far neither reading nor passing through is
 * permitted to us: what is denied there is denied already. Never for root. */
void immure_facts_find_closed(struct immure_facts *f);
/* The same for entries of directories; dirs live as long as f. A directory is
 * opened without following links. */
int32_t immure_facts_list(struct immure_facts *f, const struct immure_strv *dirs,
			  struct immure_error **err);
/* One pass over the entries of dir (which lives as long as f), so that of some hundred
 * paths below it most need not be examined: they are not there. Does nothing where that
 * would cost more, or a listing does not tell. A link on the way leads nowhere. */
void immure_facts_find_names(struct immure_facts *f, const char *dir);
/* Nothing stands at dir/sub, as its first component is not there. False: it may be. */
bool immure_facts_lacks(const struct immure_facts *f, const char *dir, const char *sub);
const struct immure_fact_listing *immure_facts_listing(const struct immure_facts *f,
						       const char *path);

/* Parses mountinfo text; -EINVAL on a malformed line: callers fail closed. */
int immure_facts_parse_mountinfo(struct immure_arena *a, const char *text,
				 struct immure_fact_mount **ret, size_t *ret_n);

#endif
