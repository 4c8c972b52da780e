/* SPDX-License-Identifier: Apache-2.0 */
/* What passes between the supervisor and init: fixed records on a
 * SOCK_SEQPACKET pair that exists before init does. Init acknowledges and
 * reports; it never asks. */
#ifndef IMMURE_INIT_MESSAGE_H
#define IMMURE_INIT_MESSAGE_H

#include <stdint.h>

enum immure_init_msg_type {
	/* init -> supervisor, struct immure_init_msg */
	IMMURE_INIT_FAILED = 1, /* stage, op, errnum, subject: nothing of the payload ran */
	IMMURE_INIT_READY,      /* sealed in; one descriptor (pty master) when a terminal was asked for */
	IMMURE_INIT_EXITED,     /* status: wait status of the command; forks */
	IMMURE_INIT_OVER_MEMORY, /* the sampled sum passed the limit; everything was killed */
	IMMURE_INIT_HANDLES,    /* before READY, when asked for: descriptors, see enum immure_init_handle */
	IMMURE_INIT_NETWORK,    /* net_flags, net_fds and the descriptors that this names: bit N
				 * fd[N] of struct immure_netplumb, then NET_USERNS, NET_NETNS; or
				 * NET_NOTIFY alone: the listener of the filter, without namespaces */
	IMMURE_INIT_ARRIVED,    /* an init that was executed: its sender is pid 1 inside */
	IMMURE_INIT_WAITS,      /* made as far as it goes without a caller: TAKE comes next */
	IMMURE_INIT_LISTENER,   /* of the filter, where no names are reached: one descriptor */
	/* init -> whoever asked, struct immure_init_reply */
	IMMURE_INIT_STARTED = 50, /* pid; one descriptor (pty master) when there is a terminal */
	IMMURE_INIT_ENDED,      /* status, usage, flags */
	IMMURE_INIT_DENIED,     /* stage, errnum, subject: this one did not run */
	IMMURE_INIT_NOTE,       /* to the supervisor: init has no shared page; pid: how many run */
	IMMURE_INIT_STATS,      /* the answer to IMMURE_INIT_MEASURE */
	IMMURE_INIT_FILED,      /* the answer to IMMURE_INIT_FILE: errnum, or one descriptor where one is asked for */
	IMMURE_INIT_WIPED,      /* flags: IMMURE_WIPED_*; pid: how many descriptors init has, or -errno */
	/* supervisor -> init, struct immure_init_msg */
	IMMURE_INIT_MAPPED = 100, /* the id maps are written */
	IMMURE_INIT_EXEC,       /* run the plan's command */
	IMMURE_INIT_EXEC_FD,    /* run the program at descriptor 0 of the message, its
				 * stdin descriptor 1, its descriptor 3 descriptor 2 */
	IMMURE_INIT_SIGNAL,     /* status: signal number, to the command's process group */
	IMMURE_INIT_PLACE,      /* the plan's directory for temporary files is there */
	IMMURE_INIT_STREAMS,    /* the answer to ARRIVED: three descriptors, to be 0..2 */
	IMMURE_INIT_TAKE,       /* the answer to WAITS: one descriptor, the caller's sealed plan,
				 * to be looked at; the last one counts */
	IMMURE_INIT_TAKEN,      /* the server has looked as well: become that */
	IMMURE_INIT_RULES,      /* one descriptor: the plan's Landlock ruleset, which both sides fill: init
				 * from operation status on. PLACE comes after it; its status, not 0:
				 * it could not be done, so init does all of it */
	/* supervisor or a lane -> init, struct immure_init_run (run.h) */
	IMMURE_INIT_RUN = 150,
	/* the same senders, struct immure_init_order */
	IMMURE_INIT_KILL,       /* signo to what target says of exec id */
	/* supervisor -> init, struct immure_init_order */
	IMMURE_INIT_LANE,       /* one descriptor: init's end of a new lane, id its number */
	IMMURE_INIT_PAUSE,      /* SIGSTOP to everything: the freezer where there is none */
	IMMURE_INIT_RESUME,
	IMMURE_INIT_SLEPT,      /* value: so many ns nobody could run, deadlines move */
	IMMURE_INIT_TIGHTENED,  /* value: the revision of the policy; the first time one descriptor, a
				 * Landlock ruleset for every later command, where there can be one */
	IMMURE_INIT_MEASURE,    /* what the processes inside use, by /proc */
	IMMURE_INIT_WIPE,       /* forget all that callers said; answered with WIPED */
	/* supervisor -> init, struct immure_init_file; without namespaces only */
	IMMURE_INIT_FILE,
};

enum {
	IMMURE_INIT_NET_V6 = 1, IMMURE_INIT_NET_NFT = 2, IMMURE_INIT_NET_PORTS = 4, /* net_flags */
	IMMURE_INIT_NET_NOTIFY = 29, IMMURE_INIT_NET_USERNS = 30, IMMURE_INIT_NET_NETNS = 31, /* bits of net_fds */
	IMMURE_INIT_FDS_MAX = 32, /* beside one message */
};

struct immure_init_msg {
	uint32_t type;
	uint32_t stage; /* enum immure_stage */
	uint32_t op;    /* index into the plan's operations */
	int32_t errnum;
	int32_t status;
	uint32_t forks; /* processes and threads made in the session so far */
	uint32_t net_flags, net_fds;
	uint32_t alone; /* EXITED: nothing but init is left in the session, and was waited for */
	uint64_t stage_ns[16]; /* CLOCK_MONOTONIC at the end of each stage, READY only */
	char subject[160];
};

/* The descriptors of HANDLES, in this order; src of one that could not be had
 * is /dev/null's, and its bit is missing from status. */
enum immure_init_handle {
	IMMURE_HANDLE_ROOT,   /* O_PATH: "/" as it is inside */
	IMMURE_HANDLE_USERNS,
	IMMURE_HANDLE_MNTNS,
	IMMURE_HANDLE_NETNS,
	IMMURE_HANDLE_HOSTNS, /* the mount namespace before the pivot, for attaching */
	IMMURE_HANDLE_AREAS,  /* O_PATH: what the shared areas are directories of (area.h) */
	/* Only of a session that is to be proven clean: */
	IMMURE_HANDLE_IPCNS,
	IMMURE_HANDLE_UTSNS,
	IMMURE_HANDLE_PIDNS,
	IMMURE_HANDLE_MAX
};

/* How many commands at once, and how many lanes, a session has room for. */
enum { IMMURE_INIT_EXECS = 512, IMMURE_INIT_LANES = 32 };

enum immure_init_target {
	IMMURE_TARGET_PROCESS, /* the command itself */
	IMMURE_TARGET_GROUP,   /* its process group */
	IMMURE_TARGET_TREE,    /* the group, and whatever descends from it */
	IMMURE_TARGET_ALL,     /* everything in the session; the supervisor only */
};

struct immure_init_order {
	uint32_t type;
	int32_t signo;
	uint64_t id;
	uint32_t target;
	uint32_t reserved;
	uint64_t value;
};

enum immure_init_file_act {
	IMMURE_FILE_ACT_OPEN, /* flags, mode */
	IMMURE_FILE_ACT_LOOK, /* a descriptor to ask what it is, of a link the link's own */
	IMMURE_FILE_ACT_REMOVE,
	IMMURE_FILE_ACT_RENAME, /* to */
	IMMURE_FILE_ACT_MKDIR,  /* mode */
	IMMURE_FILE_ACT_MAX
};

struct immure_init_file {
	uint32_t type;
	uint32_t act; /* enum immure_init_file_act */
	uint64_t id;
	uint32_t flags, mode;
	char path[4096], to[4096]; /* absolute; to: "" where there is none */
};

/* What is in the way of forgetting. */
enum {
	IMMURE_WIPED_COMMANDS = 1, /* one runs */
	IMMURE_WIPED_LANES = 2,    /* somebody has a line to init */
	IMMURE_WIPED_MEMORY = 4,   /* what was to be empty is not */
};

enum {
	IMMURE_ENDED_TIMED_OUT = 1,
	IMMURE_ENDED_OVER_MEMORY = 2,
};

struct immure_init_reply {
	uint32_t type;
	uint32_t stage; /* DENIED: enum immure_stage */
	uint64_t id;
	int32_t status; /* as waitpid(2) */
	int32_t errnum;
	int32_t pid;    /* inside */
	uint32_t flags; /* IMMURE_ENDED_* */
	uint64_t user_us, system_us;
	uint64_t memory; /* bytes; ENDED: the largest process of it, STATS: private memory of all now */
	uint64_t wall_ns;
	uint64_t revision; /* STARTED: of the policy that it runs under */
	char subject[64];
};

/* A page that init writes and the supervisor reads: what went through lanes,
 * which the supervisor is not told about one by one. */
struct immure_init_shared {
	uint64_t started, ended; /* execs of every sender */
	uint64_t active_ns;      /* CLOCK_MONOTONIC of the last start or end */
	uint32_t running;
	uint32_t lanes;
};

#endif
