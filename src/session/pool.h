/* SPDX-License-Identifier: Apache-2.0 */
/* A pool: sessions that are sealed in already and wait for a caller. One process
 * holds it, the parent of the servers of its sessions (serve.h), and is registered as
 * a session is. docs/SESSIONS.md says what a caller may rely on.
 *
 * Whoever acquires a session gets the holder's own connection to it, and the holder
 * closes its copy. So nobody else can get the same one; and since that connection is
 * the maker's of a session that ends with its maker, the session ends when the
 * caller lets go of it, however it does that, and the ones that nobody took end
 * with the holder. A session is given out once, unless the pool was told otherwise and
 * the session proves itself clean (reuse.h): then the holder keeps its own connection,
 * and gives away one that the session's server makes for the caller.
 *
 *   pool_book.c   how many are in which state, how many to make: numbers only
 *   pool_slot.c   one session: made, checked, given away, ended
 *   pool_ask.c    requests
 *   pool_reuse.c  those that come back
 *   pool_hold.c   the process: the loop, the entry in the registry, the end
 *   pool_zygote.c instead of sessions, a template for sandboxes of one command each
 */
#ifndef IMMURE_SESSION_POOL_H
#define IMMURE_SESSION_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/jsonr.h"
#include "base/jsonw.h"
#include "plan/plan.h"
#include "session/answer.h"
#include "session/journal.h"
#include "session/registry.h"
#include "session/reuse.h"

enum {
	IMMURE_POOL_MOST = 4096,       /* sessions of a pool */
	IMMURE_POOL_PARALLEL = 4,      /* being made at a time */
	IMMURE_POOL_CLIENTS = 1024,
	IMMURE_POOL_BUCKETS = 24,      /* of the histogram: up to 2^i microseconds */
	IMMURE_POOL_PACKET = 64 << 10,
	IMMURE_POOL_VALUES = 2048,
	IMMURE_POOL_CHECK_MS = 5000,   /* between two looks at a waiting session */
	IMMURE_POOL_ANSWER_MS = 2000,  /* who does not answer by then is unhealthy */
	IMMURE_POOL_MAKE_MS = 30000,
	IMMURE_POOL_REFILL_MS = 5,     /* after one was given, while others are left */
	IMMURE_POOL_BACKOFF_MS = 100,  /* after a failure, doubled up to */
	IMMURE_POOL_BACKOFF_MAX_MS = 10000,
};

/* ---- pool_book.c ---- */
enum immure_slot_state {
	IMMURE_SLOT_FREE,
	IMMURE_SLOT_MAKING,
	IMMURE_SLOT_CHECKING, /* waits, and was asked whether it is well */
	IMMURE_SLOT_IDLE,     /* sealed in, waits for a caller */
	IMMURE_SLOT_USED,     /* a caller's */
	IMMURE_SLOT_ENDING,   /* to be rid of; its processes may still be there */
	IMMURE_SLOT_MAX,
};

struct immure_pool_book {
	uint32_t size, max, target; /* target: size, or more while warming */
	uint32_t count[IMMURE_SLOT_MAX];
	uint64_t warm, hits, misses, evictions, created, failed;
	uint64_t latency[IMMURE_POOL_BUCKETS];
};

void immure_pool_book_init(struct immure_pool_book *b, uint32_t size, uint32_t max);
/* Whether a session may go from one state to the other; the counts follow. */
bool immure_pool_move(struct immure_pool_book *b, enum immure_slot_state *state, enum immure_slot_state to);
uint32_t immure_pool_alive(const struct immure_pool_book *b);
/* How many to begin making now, when `waiting` callers wait. */
uint32_t immure_pool_to_make(const struct immure_pool_book *b, uint32_t waiting);
/* How many of those that wait get nothing before somebody releases one. */
uint32_t immure_pool_in_vain(const struct immure_pool_book *b, uint32_t waiting);
/* Idle ones above the size that is kept. */
uint32_t immure_pool_surplus(const struct immure_pool_book *b);
void immure_pool_latency(struct immure_pool_book *b, uint64_t us);
const char *immure_slot_state_name(enum immure_slot_state s);
void immure_pool_book_json(const struct immure_pool_book *b, struct immure_jsonw *w);

/* ---- the holder ---- */
struct immure_holder;

struct immure_pool_watch {
	int fd;
	bool watched;
	void (*ready)(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events);
};

struct immure_pool_slot {
	struct immure_pool_watch boss; /* of its session; given away with it */
	enum immure_slot_state state;
	int lent_fd; /* for the caller, where it is to come back; -1 = it is not */
	int lane_fd;
	int root_fd; /* its root, to be looked at; -1: it waits for a workspace, or has no view of its own */
	pid_t pid;                     /* of its server, our child */
	unsigned int after;            /* how many of the holder's were asked of it */
	bool on_demand;
	uint64_t wall_ms;              /* of commands over the lane */
	uint64_t since_ms, checked_ms, deadline_ms; /* 0 = none */
	uint64_t let_go_ms;            /* its caller says that he has let go of it; 0 = not yet */
	char id[IMMURE_ID_LEN + 1];
	pid_t caller;
	uint64_t uses;                 /* proven clean so often */
	uid_t uid;                     /* of those who had it; only they may have it again */
	char owner[128];
};

struct immure_pool_client {
	struct immure_pool_watch watch;
	struct immure_pool_client *next;
	pid_t pid;
	uid_t uid;
	bool boss, dead;
	/* Waits for a session. */
	bool waits, hit;
	uint64_t request, asked_us, until_ms; /* until 0: only for what is being made */
	char owner[128];
};

struct immure_pool_zygote;

/* What came of one look at a session that came back. */
struct immure_pool_proof {
	uint64_t at_ms, use, took_us;
	bool clean;
	char session[IMMURE_ID_LEN + 1];
	char rows[300]; /* those that were not as before; "" = all were */
};

enum { IMMURE_POOL_PROOFS = 16 }; /* kept to be shown; the journal has all */

struct immure_pool_reuse {
	struct immure_journal journal;
	uint64_t reused, refused, other_owner, rows[IMMURE_SPOT_MAX];
	uint64_t proofs_n;
	struct immure_pool_proof proofs[IMMURE_POOL_PROOFS];
};

struct immure_holder {
	const struct immure_plan *plan;
	const void *plan_data;
	size_t plan_len;
	const char *egress;
	struct rlimit files; /* as it was: what the sessions get */

	struct immure_pool_book book;
	struct immure_pool_slot *slots; /* book.max */
	struct immure_pool_client *clients;
	uint32_t clients_n, waiting;
	struct immure_pool_client *starter, *warmer;
	uint64_t starter_request, warmer_request, warm_before;

	int epoll_fd;
	struct immure_pool_watch listener, signals, timer;
	uint64_t idle_ms, check_ms, armed_ms, backoff_ms, retry_ms, refill_ms, noted_ms;
	bool started, ending, with_caller, kill_used;
	bool open; /* its sessions have no workspace yet: whoever takes one brings a plan (take.c) */
	struct immure_buf policy; /* then, what callers plan with: JSON, as `start` had it */
	/* Each begins with the files of a snapshot, and then this is asked of it: "tighten", "net". */
	int restore_fd; /* -1: none */
	char *snapshot, *after[2];
	char runtime[4096];
	struct immure_registry registry;
	struct immure_entry entry;
	struct immure_meta meta;
	struct immure_error *failure; /* why the last one could not be made */
	struct immure_pool_reuse *reuse;   /* NULL: each session is used once */
	bool template;                     /* as asked for: no sessions, but */
	struct immure_pool_zygote *zygote; /* pool_zygote.h; NULL = not made */

	char *packet;
	struct immure_jsonr_value *values;
};

/* pool_slot.c */
/* Begins to make one. on_demand: for a caller who waits. */
void immure_pool_make(struct immure_holder *p, bool on_demand);
/* Ends it: a waiting one at once, one that does not obey by force. */
void immure_pool_slot_end(struct immure_holder *p, struct immure_pool_slot *s, bool force);
/* Its server has ended. */
void immure_pool_slot_gone(struct immure_holder *p, struct immure_pool_slot *s);
/* Gives an idle one to a client who waits; false: there is none. */
bool immure_pool_give(struct immure_holder *p, struct immure_pool_client *c);
void immure_pool_check(struct immure_holder *p, struct immure_pool_slot *s);

/* Its server's answer to `lend`, or what it found when a caller let go; true: that was it. */
bool immure_pool_reuse_answer(struct immure_holder *p, struct immure_pool_slot *s, const struct immure_jsonr *j,
			      int *fds);
int immure_pool_ask_lend(struct immure_pool_slot *s);
/* It can be used, by whomever, from now on. */
void immure_pool_slot_ready(struct immure_holder *p, struct immure_pool_slot *s);
void immure_pool_slot_made(struct immure_holder *p, struct immure_pool_slot *s);
void immure_pool_slot_failed(struct immure_holder *p, struct immure_pool_slot *s);

/* pool_reuse.c */
int32_t immure_pool_reuse_new(struct immure_holder *p, struct immure_error **err);
int32_t immure_pool_reuse_begin(struct immure_holder *p, struct immure_error **err); /* once it is registered */
/* Whether this client may be given this one. */
bool immure_pool_reuse_may(const struct immure_pool_slot *s, const struct immure_pool_client *c);
void immure_pool_reuse_json(const struct immure_holder *p, struct immure_jsonw *w);
void immure_pool_reuse_done(struct immure_holder *p);

/* pool_ask.c */
void immure_pool_accept(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events);
int immure_pool_client_add(struct immure_holder *p, int *fd, bool boss);
void immure_pool_client_drop(struct immure_holder *p, struct immure_pool_client *c);
void immure_pool_client_bury(struct immure_holder *p);
void immure_pool_refuse(struct immure_holder *p, struct immure_pool_client *c, uint64_t id,
			struct immure_error *err); /* err is freed */
bool immure_pool_answer_send(struct immure_holder *p, struct immure_pool_client *c, struct immure_jsonw *w,
			     const int *fds, size_t n);

/* pool_hold.c */
uint64_t immure_pool_us(void); /* CLOCK_MONOTONIC */
int immure_pool_watch(struct immure_holder *p, struct immure_pool_watch *w);
void immure_pool_unwatch(struct immure_holder *p, struct immure_pool_watch *w); /* closes */
/* Registers it and begins to fill it. */
int32_t immure_pool_begin(struct immure_holder *p, struct immure_error **err);
/* Serves who waits, makes what is missing, answers what is complete. */
void immure_pool_step(struct immure_holder *p);

struct immure_hold_options {
	const struct immure_plan *plan;
	const void *plan_data;
	size_t plan_len;
	const char *egress; /* immure-egress; NULL: the installed one */
	int control_fd;     /* taken: the first client, which says `start` */
};

/* Until the pool has ended; an exit status. */
int immure_pool_hold(const struct immure_hold_options *o);

#endif
