/* SPDX-License-Identifier: Apache-2.0 */
/* Finding out by trying. Everything that could leave a trace or be refused by
 * a filter that kills is done in a throw-away child. */
#ifndef IMMURE_FACTS_PROBE_H
#define IMMURE_FACTS_PROBE_H

#include "facts/facts.h"

/* One system call each, harmless, for quick facts. */
int immure_probe_landlock_abi(void);               /* 0 = none */
enum immure_tri immure_probe_seccomp(const char **ret_missing); /* may be NULL */
enum immure_tri immure_probe_notify(void);

/* Runs every probe and fills what quick facts leave untried. */
int32_t immure_probe_all(struct immure_facts *f, struct immure_error **err);

/* What a probe's child found; lives in memory shared with its parents, so
 * strings are literals only (the children are forks: same addresses). */
struct immure_outcome {
	enum immure_tri ok;
	int errnum;
	const char *step; /* what failed */
	uint64_t value;   /* the probe's own */
	int killed;       /* signal that ended the child, -1: it took too long */
	char said[160];   /* by a program that was tried: its first line */
};


/* A probe runs in a child of its own and leaves by returning. */
typedef void immure_probe_fn(const struct immure_facts *f, struct immure_outcome *o);

immure_probe_fn immure_try_userns, immure_try_userns_mount, immure_try_mount_api,
	immure_try_userns_proc, immure_try_sysfs, immure_try_netns, immure_try_namespaces,
	immure_try_overlay, immure_try_nftables, immure_try_tun, immure_try_egress;
immure_probe_fn immure_try_clone3, immure_try_pidfd, immure_try_close_range, immure_try_openat2,
	immure_try_seccomp, immure_try_notify, immure_try_landlock, immure_try_kvm;
immure_probe_fn immure_try_cgroup_memory, immure_try_cgroup_pids, immure_try_cgroup_cpu,
	immure_try_subids;

immure_probe_fn immure_try_bwrap, immure_try_bwrap_net, immure_try_child_pidfd;
struct stat;
/* Why a file is not to be executed as bubblewrap; NULL = it is. */
const char *immure_bwrap_unfit(const struct stat *st, uint32_t euid);

/* Removes the leaf of a cgroup probe that was killed. */
void immure_try_cgroup_sweep(const struct immure_facts *f, int pid);

/* Sets NO with errno and the step; for `if (call < 0) return immure_probe_no(o, "call")`. */
void immure_probe_no(struct immure_outcome *o, const char *step);
/* unshare(CLONE_NEWUSER), map our own ids to 0, unshare(also). false: o says why. */
bool immure_probe_enter(struct immure_outcome *o, int also);

/* A child that sends no signal to anybody when it ends, so a host program's
 * SIGCHLD handling never sees it. 0 in the child, which dies with its parent. */
int immure_child_start(int *ret_pidfd);
/* Waits for exactly this child; kills it at the deadline (-ETIMEDOUT). Closes
 * the pidfd. */
int immure_child_wait(int pid, int *pidfd, int timeout_ms, int *ret_status);
/* From here on, what children of this process leave behind becomes its child too; and
 * the end of all of them. For a process that has no others. */
void immure_child_adopt(void);
void immure_child_end_all(void);

/* Sets what follows from f->all: the answers that planning reads. */
void immure_facts_conclude(struct immure_facts *f);

/* ---- answers that are kept ---- */
/* false: there are none for this host as it is now, or they cannot be trusted. */
bool immure_cache_load(struct immure_facts *f);
/* Keeps them; where that cannot be done they are found out again next time. */
void immure_cache_store(const struct immure_facts *f);

/* ---- programs ---- */
enum { IMMURE_PROGRAMS_MAX = 20, IMMURE_VERSION_LEN = 120 };
/* Fills f->programs with paths; versions come from the child. */
void immure_programs_find(struct immure_facts *f);
/* Asks all of them at once; what does not answer in time stays empty. */
void immure_programs_ask(const struct immure_facts *f, char (*versions)[IMMURE_VERSION_LEN]);

/* ---- why not ---- */
struct immure_surroundings {
	const char *container; /* "docker" ...; NULL = none seen */
	bool filtered;         /* a seccomp filter is on us */
	bool no_new_privs;
	bool no_setfcap;       /* root without CAP_SETFCAP */
	bool chrooted;
	bool nested_userns;    /* we live in a user namespace */
	bool systemd;
	bool no_mounts;        /* nothing could be mounted in a user namespace; set by who tried */
	int wsl;               /* 0 no, 1 the first kind, whose kernel is no Linux, 2 */
	int64_t userns_clone, max_userns, apparmor_userns, yama; /* sysctls, -1 = absent */
};
void immure_surroundings(const struct immure_facts *f, struct immure_arena *a,
			 struct immure_surroundings *ret);
/* 0: not below Windows. */
int immure_wsl_kind(const char *release);
const char *immure_surroundings_text(const struct immure_surroundings *s, struct immure_arena *a);
/* What to do about a probe that said no; "" when there is nothing to say. */
const char *immure_remedy(const char *name, const struct immure_outcome *o,
			  const struct immure_surroundings *s, const struct immure_facts *f,
			  struct immure_arena *a);

#endif
