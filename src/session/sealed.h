/* SPDX-License-Identifier: Apache-2.0 */
/* A place that is sealed in: its cgroup, its init, and the line to init. What
 * runs in it, and for whom, is the business of its owner: one command for the
 * length of a call (supervise.c), or many over a long time.
 *
 *   prepare   own directories, filter, cgroup, gatekeeper   (nothing of the payload exists)
 *   start     init, in whatever the plan's backend makes; id maps
 *   end       init is dead, so everything inside is
 *   done      cgroup removed, all closed; from any state, more than once
 */
#ifndef IMMURE_SESSION_SEALED_H
#define IMMURE_SESSION_SEALED_H

#include <sys/resource.h>
#include <time.h>

#include "backend/backend.h"
#include "init/init.h"
#include "session/bare.h"
#include "session/layers.h"
#include "session/gatekeeper.h"
#include "session/janitor.h"
#include "session/journal.h"
#include "session/metadata.h"
#include "session/upper.h"

struct immure_sealed {
	const struct immure_plan *plan;
	const struct immure_backend *backend;
	struct immure_cgroup cgroup;
	bool freezable;        /* set before prepare: a leaf to be frozen by, where there can be one */
	struct immure_janitor janitor;
	struct immure_bare bare;
	struct immure_layers layers;
	struct immure_filter user_filter; /* loaded, freed at the end */
	/* The owner sets one_shot, count_forks, trace and tty before start. */
	struct immure_init init;
	struct immure_backend_child child;
	int sock_fd;           /* our end of the pair to init */
	int left_running;      /* -errno: something of the session would not end */
	bool overtaken;        /* start failed over what was taken away meanwhile: it may be tried anew */
	const char *egress;    /* immure-egress; NULL: the installed one. Set before prepare */
	struct immure_upper upper; /* where the plan keeps what is changed */
	const char *session;   /* its id, set before prepare; NULL = a run has none */
	struct immure_gatekeeper *gate; /* NULL: the plan needs none */
	struct immure_metadata metadata; /* without namespaces, and without names */
	int handover_fd;       /* for an init that is executed, until it was started */
	/* Borrowed, NULL = nothing is recorded: what is made is written down before
	 * and after, with these numbers. */
	struct immure_journal *journal;
	struct immure_procid init_id; /* as the journal has it; pid 0 = not known */
	uint64_t cgroup_seq[IMMURE_CGROUP_DIRS], init_seq, bare_seq;
	/* Called in a process that outlives the supervisor, when that died and all
	 * that was inside has; only where there is a cgroup. May be NULL. */
	void (*orphaned)(void *ctx);
	void *orphaned_ctx;
	struct timespec since; /* CLOCK_REALTIME_COARSE just before start */
};

void immure_sealed_init(struct immure_sealed *s, const struct immure_plan *plan);
int32_t immure_sealed_prepare(struct immure_sealed *s, struct immure_error **err);
/* Part of prepare; once more when another plan takes the place of the first. */
int32_t immure_sealed_own_dirs(const struct immure_sealed *s, struct immure_error **err);
/* stdio: what init gets as 0..2, >= 0, borrowed. */
int32_t immure_sealed_start(struct immure_sealed *s, const int stdio[3], struct immure_error **err);
/* One message to init, with 0..3 descriptors when fds is not NULL. When init is
 * gone -IMMURE_ERR_IO; its end is noticed by whoever watches child.pidfd. */
int32_t immure_sealed_send(struct immure_sealed *s, uint32_t type, int32_t status, const int fds[3]);
/* One message of init's: 1, with its descriptors in fds, the rest -1; what belongs
 * to the network goes to the gatekeeper by itself. 0: none now. -IMMURE_ERR_IO: init is
 * gone. Another negative code, with err set: what it said must end the session. */
int32_t immure_sealed_receive(struct immure_sealed *s, struct immure_init_msg *ret,
			      int fds[IMMURE_INIT_FDS_MAX], struct immure_error **err);
/* Before anything is frozen: by v1 it would not die with the supervisor, so somebody is
 * there then who lets it. 0 or -errno. */
int immure_sealed_guard(struct immure_sealed *s);
/* SIGKILL to init, and so to everything inside. */
void immure_sealed_kill(struct immure_sealed *s);
/* Removes what only those inside needed, once nobody but init is left there; what cannot be
 * is tried again, and told, by immure_sealed_done(). */
void immure_sealed_clear(struct immure_sealed *s);
/* Waits for init's end. usage: of init and all it waited for; may be NULL. */
void immure_sealed_end(struct immure_sealed *s, struct rusage *usage);
/* 0, or -errno, with the path of the cgroup that could not be removed in left. */
int immure_sealed_done(struct immure_sealed *s, char *left, size_t len);

#endif
