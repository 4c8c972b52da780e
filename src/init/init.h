/* SPDX-License-Identifier: Apache-2.0 */
/* Pid 1 of a session: applies the plan from inside, then launches commands and
 * reaps. Runs in a copy of the supervisor's memory, allocates nothing, takes no
 * locks, and holds nothing but the plan. */
#ifndef IMMURE_INIT_INIT_H
#define IMMURE_INIT_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/seen.h"
#include "init/message.h"
#include "kernel/cgroup.h"
#include "kernel/seccomp.h"
#include "plan/plan.h"

struct immure_mould;

struct immure_init {
	const struct immure_plan *plan;
	int report_fd;                      /* our end of the pair */
	int ahead_fd;                       /* the network namespace comes by it; -1 = none */
	const struct immure_cgroup *cgroup; /* joined first; NULL = none */
	const struct immure_filter *filter; /* the command's; NULL = the plan has none */
	const struct immure_filter *guard;  /* for init, when the command's is a user's own */
	bool filter_on_init;                /* the command's is built in: init puts it on itself */
	bool wait_for_maps;                 /* the supervisor writes the id maps */
	bool one_shot;                      /* launch at once, end with the command */
	bool count_forks;
	bool trace;
	bool serve;                         /* run many commands, on request */
	bool handles;                       /* hand over namespaces and root before READY */
	bool attachable;                    /* keep the mount namespace before the pivot for that */
	bool provable;                      /* with handles: of all namespaces that callers could
					     * leave something in */
	bool waits;                         /* for a caller's plan, before the last mounts (await.c) */
	const struct immure_mould *mould;   /* it was born in a copy of its mounts (mould.h) */
	bool template;                      /* run nothing here, but in sandboxes made after this
					     * one (zygote.c); with serve */
	uint32_t spares, most;              /* of a template: kept ready; alive at a time */
	uint64_t soft_files;                /* how many descriptors its sandboxes may have: itself
					     * it has as many as it can get */
	const struct immure_cgroup *leaves; /* for them, one at a time; leaves_n 0 = none */
	uint32_t leaves_n;
	struct immure_init_shared *shared;  /* a page that both have mapped; NULL = none */
	bool tty[3];                        /* which of 0..2 become the session's terminal */
	uint64_t memory_watch;              /* bytes, 0 = not sampled */
	uint64_t start_ns;
	/* Without namespaces (immure_plan_is_bare) also: */
	const struct immure_filter *beneath; /* installed before the others */
	const struct immure_filter *unanswered; /* in its place, where nobody can listen: it closes
					     * more. NULL: beneath needs no listener, or must have one */
	bool filtered;                      /* it was born under these and filter (backend/ahead.h) */
	const char *session_dir;            /* what the plan's SESSION_DIR stands for */
	const char *const *env;             /* the plan's, with that directory's name in it */
	int ruleset_fd;                     /* init's own: entered once more by each command */
	bool scoped;                        /* a signal to everyone reaches the session only */
	const char *kept;                   /* what an OVERLAY with KEPT puts its changes in */
	/* Where another program made namespaces and mounts: one per operation. NULL: init
	 * makes them itself. */
	const struct immure_backend_seen *seen;
};

__attribute__((noreturn)) void immure_init_main(struct immure_init *in);
/* The end of init, and before it, where no pid namespace does that, of everything
 * that descends from it. */
__attribute__((noreturn)) void immure_init_leave(const struct immure_init *in, int code);

/* For the files of this folder: where a step failed. */
struct immure_init_step {
	uint32_t stage, op;
	const char *subject;
};

/* root.c: the PIVOT stage; 0 or -errno with *step set. MOUNT: build.h. */
int immure_init_pivot(struct immure_init_step *step, int root_fd);
/* view.c: instead of those, where they are made already: whether they are true. */
int immure_init_check_view(const struct immure_init *in, struct immure_init_step *step);
/* forget.c: the supervisor's command line and environment, before anybody inside
 * can look; after the last use of the plan's paths. */
int immure_init_forget(const struct immure_plan *p, struct immure_init_step *step);
/* egress.c: what the session's network is reached by from outside, handed to the
 * supervisor. In the session's network namespace, before the pivot. */
int immure_init_egress(const struct immure_init *in, struct immure_init_step *step);
/* The same for any process in there with the rights of its owner; ns: user and network
 * namespace, told on with the rest. */
int immure_init_plumb(const struct immure_plan *plan, const int ns[2], int to,
		      const char **ret_what);
/* The same without namespaces: who answers the calls that the filter does not decide. */
int immure_init_hand_listener(const struct immure_init *in, int fd);
/* setup.c: waits for that word of the supervisor, and ends when there will be none. */
int immure_init_await(const struct immure_init *in, enum immure_init_msg_type what);
/* confine.c: of a plan without mounts, the rules that the supervisor adds while init is being
 * born: those before this operation, and those of the session's own directory. */
size_t immure_init_share(const struct immure_plan *p);
int immure_init_help(const struct immure_init *in, int ruleset_fd, size_t before);
/* LANDLOCK. ret_ruleset: kept open for commands to enter a domain of
 * their own below init's; NULL = not kept. */
int immure_init_landlock(const struct immure_init *in, struct immure_init_step *step,
			 int *ret_ruleset);
const char *immure_init_place(const struct immure_init *in, const char *path, char *buf,
			      size_t size);
/* launch.c */
int immure_init_resolve(const struct immure_plan *p, const char **ret_path);
long immure_init_launch(const struct immure_init *in, int slave_fd, int *ret_errno);
long immure_init_launch_fd(const struct immure_init *in, const int fds[3], int *ret_errno);

#endif
