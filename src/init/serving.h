/* SPDX-License-Identifier: Apache-2.0 */
/* The state of init, shared by the files that carry it through: setup.c (the
 * plan's stages), init.c (serving afterwards), execs.c (the commands of a
 * session that runs many) and lanes.c (who may ask for them). */
#ifndef IMMURE_INIT_SERVING_H
#define IMMURE_INIT_SERVING_H

#include <sys/resource.h>
#include <sys/types.h>

#include "init/init.h"
#include "init/netns.h"
#include "init/run.h"

#define IMMURE_INIT_MARKS (UINT64_C(1) << 62) /* above the first */

enum { IMMURE_INIT_POINTERS = 8192, IMMURE_INIT_STACK = 64 << 10 };

struct immure_exec {
	pid_t pid;
	uint32_t flags;      /* IMMURE_RUNF_* */
	uint64_t id;
	int32_t lane;        /* index, -1 = the supervisor */
	uint32_t ended;      /* IMMURE_ENDED_* */
	uint64_t started_ns;
	uint64_t deadline_ns; /* 0 = none */
	uint64_t grace_ms;
	uint64_t mark;       /* what its processes bear, see tree.c */
};

/* What a session that serves many commands needs more than a one-shot one;
 * mapped, so that pages nobody needs are never there. */
struct immure_execs {
	uint32_t n;
	struct immure_exec v[IMMURE_INIT_EXECS]; /* [0, n) are alive */
	int lane_fd[IMMURE_INIT_LANES];          /* -1 = free */
	bool paused, alone;                      /* alone: no child at all is left */
	uint64_t last_mark;                      /* the lowest that was given */
	uint64_t revision;                       /* how often the policy was tightened */
	int apart_fd;                            /* a ruleset for later commands, -1 = none */
	const char *pointers[IMMURE_INIT_POINTERS];
	_Alignas(64) char stack[IMMURE_INIT_STACK]; /* of a child before its exec */
	_Alignas(16) char message[sizeof(struct immure_init_run) + IMMURE_RUN_INLINE_MAX];
};

struct immure_serving {
	struct immure_init *in; /* its plan changes where a session waits for one */
	int signal_fd;
	int master_fd, slave_fd;
	pid_t current; /* the command, or the attacker; 0 = none */
	bool attacker;
	uint64_t stage_ns[16];
	int host_ns_fd; /* the mount namespace before the pivot, -1 = not kept */
	int areas_fd;   /* of the shared areas, to be handed over; -1 = none */
	struct immure_execs *execs; /* NULL: one command only */
	int ruleset_fd; /* bare: see struct immure_init */
	bool scoped;
	struct immure_init_net net;
};

/* All stages up to seccomp, in their order. 0, or -errno with *step saying where. */
int immure_init_set_up(struct immure_serving *s, struct immure_init_step *step);
/* Of these, what comes after letting go of all descriptors but init's own: limits,
 * privileges, Landlock, the check, seccomp. */
int immure_init_close_in(struct immure_serving *s, struct immure_init_step *step);
uint64_t immure_init_now(void);

/* handles.c: namespaces and root, for the supervisor, where it asks for them. */
int immure_init_hand_over(struct immure_serving *s, struct immure_init_step *step);
/* Of these, what the shared areas are directories of, when it came to be later. */
int immure_init_hand_over_areas(const struct immure_serving *s, int areas_fd);
/* The host's tree stays in a mount namespace of its own, s->host_ns_fd, where that is needed. */
int immure_init_keep_host_tree(struct immure_serving *s, struct immure_init_step *step);
/* The stage that lets go of all but init's own. */
int immure_init_close_fds(struct immure_serving *s, struct immure_init_step *step);
/* Closes all descriptors but 0..2 and these, of which -1 is none; sorts them. */
int immure_init_keep(int *keep, size_t n);

/* single.c: down to a user namespace that owns nothing but itself: what is counted for
 * each user (processes, keys, watches) is this sandbox's alone, and capabilities over its
 * mounts and network are out of reach even for an init that is taken over. */
int immure_init_enter_user(const struct immure_init *in, struct immure_init_step *step);

struct immure_build;
/* await.c: hands over, says WAITS, takes the caller's plan and applies what its mounts add. */
int immure_init_wait_for_caller(struct immure_serving *s, struct immure_build *b, struct immure_init_step *step);

/* init.c: a message with descriptors to the supervisor, or over a lane. 0 or -errno. */
int immure_init_send(int sock, const void *data, size_t len, const int *fds, size_t fds_n,
		     int flags);

/* execs.c */
int immure_execs_make(struct immure_serving *s);
/* As it is when nobody has asked for anything yet; of zeroed memory. */
void immure_execs_reset(struct immure_execs *x);
/* One request in execs->message, len bytes, from lane (-1 = the supervisor);
 * takes the descriptors. */
void immure_execs_request(struct immure_serving *s, int lane, size_t len, int *fds, size_t fds_n);
/* A child was reaped: whether it was one of ours. */
bool immure_execs_reaped(struct immure_serving *s, pid_t pid, int status, const struct rusage *usage);
/* Kills what ran out of time; ms until the next deadline, -1 = none. */
int64_t immure_execs_expire(struct immure_serving *s);
/* The sender of this lane is gone. */
void immure_execs_orphan(struct immure_serving *s, int lane);
void immure_execs_mark(struct immure_serving *s, uint32_t ended);

/* wipe.c: answers IMMURE_INIT_WIPE. */
void immure_init_wipe(struct immure_serving *s, uint64_t id);

/* files.c */
void immure_init_file(struct immure_serving *s, const struct immure_init_file *f);

/* tree.c: signo to what e started: descendants, and whatever bears its mark, but not
 * to init's child itself nor its group. */
void immure_init_kill_tree(const struct immure_serving *s, const struct immure_exec *e, int signo);
/* The same for one that was reaped: its number may be another's. */
void immure_init_kill_marked(const struct immure_serving *s, const struct immure_exec *e, int signo);
/* In the child: it and all that come of it bear this mark from now on. 0 or -errno. */
int immure_init_bear_mark(uint64_t mark);
/* Resident private bytes of every process inside and how many there are;
 * UINT64_MAX when it cannot be measured. */
uint64_t immure_init_resident(const struct immure_init *in, uint32_t *ret_processes);
/* signo to everything inside, but not to init. */
void immure_init_signal_all(const struct immure_init *in, int signo);

/* launch.c */
struct immure_init_start {
	const struct immure_run_strings *strings;
	const struct immure_init_run *head;
	int stdio[3]; /* -1 = /dev/null */
	int slave_fd; /* -1 = no terminal */
	uint64_t mark;
	int apart_fd; /* a ruleset that sets it apart, -1 = none */
};
long immure_init_launch_run(struct immure_serving *s, const struct immure_init_start *start,
			    int *ret_errno, const char **ret_what);

#endif
