/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes both ways between two sockets.
 *
 * Each direction reads until there is nothing left and writes until there is no
 * room, so the sockets are watched edge-triggered, once, for everything; what
 * epoll says is handed to pump(). A direction starts with recv and send. When
 * whole buffers come it turns to splice(2) through a pipe, which saves copying;
 * pipes are few (the kernel limits their memory per user), so one is held only
 * while bytes are in it, and where none is free recv and send go on.
 *
 * An end of stream passes through by itself: the other direction goes on. A
 * reset passes as a reset, after what was read before it. At most one buffer or
 * pipe a direction is held: a slow reader slows the writer, nothing piles up.
 *
 * splice(2) has no MSG_NOSIGNAL: the process ignores SIGPIPE.
 */
#ifndef IMMURE_EGRESS_RELAY_H
#define IMMURE_EGRESS_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMMURE_PIPES_MAX = 48 };

/* Shared by all connections of one loop. */
struct immure_pipes {
	unsigned char *buffer;       /* what one recv takes; empty between calls */
	unsigned int most;           /* pipes, at most IMMURE_PIPES_MAX */
	unsigned int open;           /* that exist, in use or free */
	unsigned int n_free;
	int free[IMMURE_PIPES_MAX][2];
};

/* most 0: no splice at all. -ENOMEM. */
int immure_pipes_init(struct immure_pipes *p, unsigned int most);
/* After the last connection is closed. */
void immure_pipes_done(struct immure_pipes *p);

/* Looks at what one side sent before the other gets it, and says what it gets: *ret
 * stays valid until the next call. Negative: nothing of this connection goes on. */
typedef int immure_stream_filter(void *ctx, const unsigned char *data, size_t len,
				 const unsigned char **ret, size_t *ret_len);

struct immure_stream {
	immure_stream_filter *filter; /* NULL = all of it passes; never splices */
	void *filter_ctx;
	uint64_t bytes;           /* delivered */
	bool readable, writable;  /* not yet told otherwise */
	bool ending;              /* its end may be there and told already: read until nothing is */
	bool ended;               /* nothing more is read */
	bool failed;              /* … because of an error */
	bool shut;                /* the end was passed on */
	bool bulk, no_splice;
	int pipe[2];
	size_t in_pipe;
	unsigned char *held;      /* read and not yet sent */
	size_t held_at, held_len;
};

struct immure_twoway {
	int fd[2];                     /* taken; -1 once closed */
	struct immure_stream from[2];  /* from[0]: fd[0] to fd[1] */
	uint64_t last_ms;              /* when bytes moved last */
	uint32_t idle_ms;              /* 0 = no limit */
	int error;                     /* why it broke, 0 = it did not */
};

enum immure_twoway_state {
	IMMURE_TWOWAY_WAIT,   /* for the next event */
	IMMURE_TWOWAY_AGAIN,  /* the allowance is used up: call again without an event */
	IMMURE_TWOWAY_DONE,   /* both sides have ended: close, which says so to the first */
	IMMURE_TWOWAY_BROKEN, /* close with reset */
};

/* Takes both sockets (non-blocking) and sets them to -1. */
void immure_twoway_init(struct immure_twoway *t, int *a_fd, int *b_fd, uint32_t idle_ms,
			uint64_t now_ms);
/* Before the first pump: what side `from` has already sent. data is malloc'd and
 * taken. */
void immure_twoway_prefill(struct immure_twoway *t, int from, unsigned char *data, size_t len);
/* Before the first pump: every event of that side since it was put in the epoll set comes to
 * pump. Then what a read leaves unfilled shows that there is no more for now. */
void immure_twoway_fresh(struct immure_twoway *t, int side, bool readable);
/* Adds both to the epoll set; data for each is the caller's. 0 or -errno. */
int immure_twoway_watch(const struct immure_twoway *t, int epoll_fd, uint64_t data_a,
			uint64_t data_b);
/* events: what epoll said of either socket, 0 = nothing. Moves at most
 * `allowance` bytes (> 0) a direction, for fairness and for rates. Never blocks. */
enum immure_twoway_state immure_twoway_pump(struct immure_twoway *t, struct immure_pipes *p,
					    uint32_t events_a, uint32_t events_b,
					    size_t allowance, uint64_t now_ms);
/* When it is to be closed unless bytes move; UINT64_MAX = never. */
uint64_t immure_twoway_due(const struct immure_twoway *t);
/* Closes both, at any time. reset: so that the peers see a reset and not an
 * orderly end; for what broke, ran out of time, or is no longer allowed. */
void immure_twoway_close(struct immure_twoway *t, struct immure_pipes *p, bool reset);

#endif
