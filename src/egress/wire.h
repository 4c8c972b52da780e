/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the supervisor and the gatekeeper (immure-egress) say to each other, over
 * one pair of SOCK_SEQPACKET sockets: a datagram is one message, of the exact
 * length of its type, with descriptors beside it (SCM_RIGHTS).
 *
 *   supervisor                             worker
 *   START    config, plumbing, listeners ->          once, first
 *                                        <- READY    or FAILED, and it exits
 *   LINK     a socket to immure-intercept (lend.h) ->   second, where the config says so; and
 *                                                   another when there is a new one
 *   POLICY   config                      ->
 *                                        <- DONE     when the new rules are in force
 *   SOCKETS  spare sockets               ->          any time; no answer
 *   ASK                                  ->
 *                                        <- STATS
 *   SHOW     a memfd to write to         ->
 *                                        <- DONE     value: bytes written
 *   HOSTCONF two memfds: resolv.conf, hosts ->       any time; no answer
 *   REACH    an address                  ->
 *                                        <- VERDICT  whether it may be reached
 *   HANDED   one end of a connection, or of a pair for questions ->   no answer
 *   LOOKED                               ->          the answer to a DENIED with a number
 *                                        <- NAMES, DENIED, WANT   any time
 *
 * REACH and HANDED are for a session without a network of its own (START: handed),
 * where there is nothing to listen on: the supervisor, which stands between the
 * command and its sockets, asks before it connects, and then hands the end over.
 *
 * What was denied and is held until somebody has looked whose it is has a number in
 * DENIED, not 0, and the supervisor says LOOKED with it when it has.
 *
 * Requests (POLICY, ASK, SHOW, REACH) carry a number that the answer repeats; answers
 * come in order of the requests, one each. FAILED may come at any time and is the last
 * message: the worker exits with 1, and all its connections are reset. When the
 * control socket is closed the worker exits with 0.
 *
 * Descriptors are duplicated by sending: the sender keeps and closes its own. Of
 * spare sockets it closes them at once: what the worker listens on or dials with
 * must end when the worker does.
 * A supervisor that means to start the worker again keeps the plumbing (and may
 * poll it meanwhile, for activation); but as long as anybody holds the listeners
 * connections queue up in them, so when there is to be no further worker it must
 * close them at once: then the kernel refuses. A restart takes the last `upto`
 * that came in a NAMES message as `first_name` of its config: numbers of names are
 * told before they are used, whatever then happens to the worker.
 *
 * The worker is fed with hostile bytes: the supervisor believes a message no
 * further than decode() checks it, and treats -EPROTO as the worker's end.
 * Neither side blocks in sending: the worker queues what does not fit and drops
 * DENIED messages beyond a bound (STATS counts them as `lost`).
 */
#ifndef IMMURE_EGRESS_WIRE_H
#define IMMURE_EGRESS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/config.h"
#include "kernel/netplumb.h"
#include "kernel/netsock.h"

/* The worker's control socket, when it starts. 0, 1 and 2 may be anything. */
#define IMMURE_WIRE_FD 3

enum immure_wire_type {
	IMMURE_WIRE_START = 1,
	IMMURE_WIRE_POLICY,
	IMMURE_WIRE_SOCKETS,
	IMMURE_WIRE_ASK,
	IMMURE_WIRE_SHOW,
	IMMURE_WIRE_HOSTCONF,
	IMMURE_WIRE_REACH,
	IMMURE_WIRE_HANDED,
	IMMURE_WIRE_LOOKED,
	IMMURE_WIRE_LINK,
	IMMURE_WIRE_READY = 32,
	IMMURE_WIRE_DONE,
	IMMURE_WIRE_DENIED,
	IMMURE_WIRE_STATS,
	IMMURE_WIRE_WANT,
	IMMURE_WIRE_FAILED,
	IMMURE_WIRE_NAMES,
	IMMURE_WIRE_VERDICT,
};

enum {
	IMMURE_WIRE_FDS_MAX = 1 + IMMURE_NETPLUMB_MAX + IMMURE_EGRESS_PUBLISH_MAX,
	IMMURE_WIRE_SOCKETS_MAX = 64, /* in one SOCKETS message, both families together */
	IMMURE_WIRE_TEXT = 640,
	IMMURE_WIRE_RULE = 640,
	IMMURE_WIRE_SHOW_MAX = 8 * 1024 * 1024, /* bytes that SHOW writes at most */
};

/* START. Descriptors: the config; then those of netplumb that `present` names
 * (bit N: fd[N] of struct immure_netplumb), in that order; then one listener of
 * the host's for each entry of the config's publish list, non-blocking. */
struct immure_wire_start {
	uint32_t with_v6, with_nft; /* 0 or 1, from netplumb */
	uint32_t present;
	uint32_t publish_n;
	uint32_t handed; /* 1: connections are handed over, there is no plumbing; 2: the proxy is
			  * among what can be connected to; 0: neither */
};

/* REACH */
struct immure_wire_reach {
	struct immure_inet meant;
};

enum immure_wire_handed_kind { IMMURE_WIRE_HANDED_TCP, IMMURE_WIRE_HANDED_NAMES };

/* HANDED, with one descriptor that does not block. NAMES: a unix socket, a packet of which
 * is a question or its answer; meant says nothing. */
struct immure_wire_handed {
	uint32_t kind;
	struct immure_inet meant;
};

/* VERDICT: 0, or with what connect() is to fail. */
struct immure_wire_verdict {
	int32_t errnum;
};

/* SOCKETS. Unbound TCP sockets born in the session's namespace, non-blocking:
 * first n4 of IPv4, then n6 of IPv6. */
struct immure_wire_sockets {
	uint32_t n4, n6;
};

/* READY */
struct immure_wire_ready {
	uint32_t connections; /* the limit in force: less than asked when there are too few
			       * descriptors (RLIMIT_NOFILE) */
	uint32_t landlock_abi; /* 0 = confined without Landlock: the kernel has none */
};

/* What SHOW writes: a line for each connection, "STATE HOST:PORT ADDRESS:PORT OUT IN",
 * "-" where something is not known yet; OUT and IN in bytes. */

/* DONE: result 0 or -errno. POLICY: -EINVAL with `why` when nothing was changed. */
struct immure_wire_done {
	int32_t result;
	uint32_t pad;
	uint64_t value;
	char why[IMMURE_WIRE_TEXT];
};

enum immure_wire_step {
	IMMURE_WIRE_LOOKUP,  /* a name: NXDOMAIN */
	IMMURE_WIRE_CONNECT, /* a connection: reset, or the proxy's refusal */
	IMMURE_WIRE_DIAL,    /* the addresses that the name leads to may not be used */
	IMMURE_WIRE_CONTENT, /* the first bytes, or a later request */
	IMMURE_WIRE_CUT,     /* was open and is no longer allowed */
	IMMURE_WIRE_LIMIT,   /* allowed, but a limit is reached */
	IMMURE_WIRE_DATAGRAM, /* a protocol that is not let through at all */
	IMMURE_WIRE_UNRESOLVED, /* no denial: allowed, but the name cannot be resolved */
	IMMURE_WIRE_UNREACHED,  /* no denial: allowed, but nobody there took the connection */
	IMMURE_WIRE_STEPS,
};

/* DENIED, also of what was allowed and failed. source: where the connection or question
 * came from, inside; to find out who it was while it lives. meant: what it was sent to, inside (port 53: a
 * question). host and port: what that means; port 0 = none (a lookup). Equal
 * denials within a second come once. All text is printable ASCII and ends in NUL;
 * rule, add: "" = none. */
enum { IMMURE_WIRE_ASKED_TCP = 3 }; /* a name, not by a datagram */

struct immure_wire_denied {
	uint32_t step;      /* enum immure_wire_step */
	uint32_t code;      /* enum immure_code */
	uint32_t proxy;     /* 0 = no; 1 = CONNECT, 2 = SOCKS5; or IMMURE_WIRE_ASKED_TCP */
	struct immure_inet source, meant;
	uint32_t port;
	char host[256];
	char rule[IMMURE_WIRE_RULE];
	char why[IMMURE_WIRE_TEXT];
	char add[IMMURE_WIRE_TEXT];
};

struct immure_wire_stats {
	uint64_t connections;     /* open now */
	uint64_t connections_all; /* accepted since the start */
	uint64_t bytes_out, bytes_in; /* delivered outwards, inwards */
	uint64_t names;           /* that have an address */
	uint64_t lookups;         /* questions answered, whichever way */
	uint64_t denied;          /* of those that were told apart */
	uint64_t failed;          /* allowed, but not resolved or reached */
	uint64_t lost;            /* that were not told */
};

static inline bool immure_wire_is_failure(uint32_t step)
{
	return step == IMMURE_WIRE_UNRESOLVED || step == IMMURE_WIRE_UNREACHED;
}

/* WANT: so many more spare sockets would be of use. */
struct immure_wire_want {
	uint32_t n4, n6;
};

/* NAMES: from now on names below this number may be in use. It only grows. */
struct immure_wire_names {
	uint32_t upto;
};

struct immure_wire_failed {
	int32_t error; /* -errno */
	char why[IMMURE_WIRE_TEXT];
};

struct immure_wire {
	uint32_t type;
	uint32_t id; /* of requests and their answers, and of what is held; 0 for others */
	union {
		struct immure_wire_start start;
		struct immure_wire_sockets sockets;
		struct immure_wire_ready ready;
		struct immure_wire_done done;
		struct immure_wire_denied denied;
		struct immure_wire_stats stats;
		struct immure_wire_want want;
		struct immure_wire_failed failed;
		struct immure_wire_names names;
		struct immure_wire_reach reach;
		struct immure_wire_handed handed;
		struct immure_wire_verdict verdict;
	};
};

/* A pair: [0] is the supervisor's (non-blocking), [1] the worker's. CLOEXEC. */
int immure_wire_pair(int ret[2]);

/* Checks and takes over one received message. to_worker: which side is reading,
 * so a message of the other direction is none. n_fds: descriptors beside it.
 * -EPROTO for anything that is not exactly a message. */
int immure_wire_decode(bool to_worker, const void *data, size_t len, size_t n_fds,
		       struct immure_wire *ret);
/* fds are borrowed. Never blocks: 0, -EAGAIN, or -errno (-EPIPE: nobody there). */
int immure_wire_send(int fd, const struct immure_wire *m, const int *fds, size_t n_fds);
/* 1: a message; its descriptors are the caller's, the rest of fds is -1. 0: the other side is
 * gone. -EAGAIN: none yet. -EPROTO: no message; descriptors that came were closed. */
int immure_wire_recv(int fd, bool to_worker, struct immure_wire *ret,
		     int fds[IMMURE_WIRE_FDS_MAX], size_t *ret_n);
/* START with all that belongs to it. p and listeners are borrowed. handed: as above. */
int immure_wire_send_start(int fd, int config_fd, const struct immure_netplumb *p,
			   const int *listeners, uint32_t publish_n, uint32_t handed);
/* POLICY. */
int immure_wire_send_policy(int fd, uint32_t id, int config_fd);

#endif
