/* SPDX-License-Identifier: Apache-2.0 */
/* One leaf for one session, in cgroup v2 or in v1 hierarchies. The process
 * enters it as it is born (CLONE_INTO_CGROUP, v2) or by writing itself into
 * `tasks` before it does anything else (v1): both avoid the grace period of
 * several milliseconds that cgroup.procs costs after idle. */
#ifndef IMMURE_KERNEL_CGROUP_H
#define IMMURE_KERNEL_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

enum { IMMURE_CGROUP_DIRS = 5 };

enum immure_cgroup_ctl {
	IMMURE_CTL_MEMORY, IMMURE_CTL_PIDS, IMMURE_CTL_CPU, IMMURE_CTL_CPUACCT, IMMURE_CTL_FREEZER,
	IMMURE_CTL_MAX
};

struct immure_cgroup {
	bool v2;
	int n;                                /* directories in use */
	char path[IMMURE_CGROUP_DIRS][512];   /* the leaf, absolute */
	int dir_fd[IMMURE_CGROUP_DIRS];
	int tasks_fd[IMMURE_CGROUP_DIRS];     /* v1 only, open for writing */
	int ctl_dir[IMMURE_CTL_MAX];                       /* controller -> index, -1 = not here */
	uint64_t pids_max;                                 /* as it was set; 0 = it was not */
	uint32_t subs;                                     /* processes in the sub-group: on top of those */
};

/* Below the leaf, for processes of ours that work for the session: what they take is the
 * session's. No freezer of v1 is in it, by which they could not be ended. */
struct immure_cgroup_sub {
	bool v2, memory;
	int n;
	int fd[IMMURE_CGROUP_DIRS]; /* v2: the directory; v1: tasks, open for writing */
};
#define IMMURE_CGROUP_SUB_INIT { .n = 0, .fd = { -1, -1, -1, -1, -1 } }

struct immure_cgroup_stats {
	uint64_t memory_peak;   /* bytes, 0 = unknown */
	uint64_t oom_kills;
	uint64_t pids_denied;   /* forks refused by the limit */
	uint64_t pids_peak;     /* 0 = unknown */
	uint64_t cpu_usec;      /* 0 = unknown */
	uint64_t memory_now;    /* bytes, 0 = unknown */
	uint64_t pids_now;      /* 0 = unknown */
};

void immure_cgroup_init(struct immure_cgroup *c);
/* parents: "memory=/dir:pids=/dir:cpu=/dir" for v1, "/dir" for v2. Settles where
 * the leaf `name` will be; nothing is made. */
int immure_cgroup_name(struct immure_cgroup *c, bool v2, const char *parents, const char *name);
/* Makes and opens what was named. On failure what was made is removed. */
int immure_cgroup_make(struct immure_cgroup *c);
/* v2: lets children of `parent` have these controllers (cgroup.subtree_control);
 * controllers as "+memory +pids". -EBUSY: the parent has processes of its own. */
int immure_cgroup_enable(const char *parent, const char *controllers);
int immure_cgroup_set_memory(struct immure_cgroup *c, uint64_t bytes);
int immure_cgroup_set_pids(struct immure_cgroup *c, uint64_t count);
int immure_cgroup_set_cpu(struct immure_cgroup *c, uint64_t milli_cpus);
/* v1: the calling single-threaded process joins. Uses only open descriptors. */
int immure_cgroup_join_self(const struct immure_cgroup *c);
/* Makes what is not there yet; `ret` holds nothing when it fails. It goes with the leaf. */
int immure_cgroup_sub_open(const struct immure_cgroup *c, struct immure_cgroup_sub *ret);
void immure_cgroup_sub_close(struct immure_cgroup_sub *sub);
/* Puts a process of one thread there; no limit on processes keeps it out. */
int immure_cgroup_sub_put(const struct immure_cgroup_sub *sub, int pid);
/* One process more is in the sub-group, or one less: what was granted to others stays theirs. */
int immure_cgroup_sub_counts(struct immure_cgroup *c, bool more);
void immure_cgroup_stats(const struct immure_cgroup *c, struct immure_cgroup_stats *ret);
/* v2: the calling process, which was not born in the leaf, enters it. 0 or -errno. */
int immure_cgroup_enter_v2(const struct immure_cgroup *c);
/* 1 or 2: the version of the freezer that the leaf has, 0: it has none. */
int immure_cgroup_freezer(const struct immure_cgroup *c);
/* Nobody in the leaf runs until it is thawed, children that are being made included;
 * -EOPNOTSUPP without a freezer. What is frozen by v1 does not even die. */
int immure_cgroup_freeze(const struct immure_cgroup *c, bool frozen);
/* SIGKILL to all members, until it is empty or tries run out. */
void immure_cgroup_kill(const struct immure_cgroup *c);
/* Removes the leaf; -EBUSY while something still lives in it. Idempotent. */
int immure_cgroup_remove(struct immure_cgroup *c);
void immure_cgroup_done(struct immure_cgroup *c);

#endif
