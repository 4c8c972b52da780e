/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session that is used again. A pool may be told to keep those that prove themselves
 * clean when their caller has let go of them; all others are destroyed, and so are all
 * when the pool was not told. What clean means is one table (reuse_rows.c); nothing is
 * cleaned up for a caller, apart from memory of ours that he was in: a session in which
 * he left anything is not clean.
 *
 * Each row is compared with what it was before the first caller: what init says of itself
 * (init/wipe.c), what a child of the server finds in the session's namespaces
 * (reuse_look.c), and what the server knows. A row that cannot be looked at on this
 * kernel fails already then, and no such pool starts.
 *
 *   reuse_rows.c   the table, and what a plan must not have
 *   reuse_look.c   looked at from inside, by a child
 *   reuse.c        the server's part: lending, and what follows
 */
#ifndef IMMURE_SESSION_REUSE_H
#define IMMURE_SESSION_REUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/jsonw.h"
#include "plan/plan.h"

enum immure_spot {
	IMMURE_SPOT_REQUESTS,    /* the caller asked for commands over his line, and no more */
	IMMURE_SPOT_CONNECTIONS, /* nobody else is connected */
	IMMURE_SPOT_COMMANDS,    /* none of his commands runs */
	IMMURE_SPOT_PROCESSES,   /* nobody is there but init, zombies included */
	IMMURE_SPOT_PIDS,        /* numbers begin where they began */
	IMMURE_SPOT_INIT,        /* limits, priorities and identity of init */
	IMMURE_SPOT_INIT_MEMORY,
	IMMURE_SPOT_INIT_FDS,
	IMMURE_SPOT_SERVER_MEMORY,
	IMMURE_SPOT_SERVER_FDS,
	IMMURE_SPOT_AREAS,       /* private directories, /dev/shm and terminals */
	IMMURE_SPOT_MOUNTS,
	IMMURE_SPOT_SYSV,        /* System V IPC */
	IMMURE_SPOT_MQUEUES,     /* POSIX message queues */
	IMMURE_SPOT_NETWORK,     /* sockets, addresses, routes, connections and all counters */
	IMMURE_SPOT_GATEKEEPER,
	IMMURE_SPOT_NAMES,       /* of the host */
	IMMURE_SPOT_CGROUP,      /* members and limits */
	IMMURE_SPOT_MAX,
};

/* What the look from inside says of each row it has: the same digest is the same state. */
struct immure_look {
	int32_t error[IMMURE_SPOT_MAX];  /* -errno: it could not be looked at; 1: not looked at yet */
	int32_t foreign[IMMURE_SPOT_MAX]; /* how many things are there that must not be at all */
	unsigned char digest[IMMURE_SPOT_MAX][32];
};

/* ---- reuse_rows.c ---- */
const char *immure_spot_name(enum immure_spot s);
/* By whom the row is looked at: from inside. */
bool immure_spot_is_inside(enum immure_spot s);
/* Whether sessions of this plan can be used again at all; else why not. */
int32_t immure_reuse_possible(const struct immure_plan *p, struct immure_error **err);

/* ---- reuse_look.c ---- */
/* handle: of struct immure_server; last_pid_fd: /proc/sys/kernel/ns_last_pid, for writing.
 * Never waits for long. 0, or -errno when nobody could look. */
int immure_reuse_look(const struct immure_plan *p, const int *handle, int last_pid_fd, struct immure_look *ret);

/* ---- reuse.c ---- */
struct immure_server;
struct immure_client;
struct immure_ask;
struct immure_init_reply;

/* In create, before anything is made. */
int32_t immure_reuse_begin(struct immure_server *s, struct immure_error **err);
/* Init is ready: true when something is to be waited for first. */
bool immure_reuse_ready(struct immure_server *s);
void immure_reuse_wiped(struct immure_server *s, const struct immure_init_reply *r);
/* A request came: of whom the session was lent to it may be no more than a few. */
void immure_reuse_asked(struct immure_server *s, const struct immure_client *c, int request);
/* The request: the maker gets a line that it may give away, and a lane. */
int32_t immure_reuse_lend(struct immure_ask *a);
/* A client is gone; true: the session is to end, and the caller of this sees to it. */
bool immure_reuse_client_gone(struct immure_server *s, const struct immure_client *c);
/* "reuse", for inspect. */
void immure_reuse_json(struct immure_jsonw *w, const struct immure_server *s);
void immure_reuse_done(struct immure_server *s);

#endif
