/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gatekeeper's own structures; for the files of the process alone.
 *
 * One loop over one epoll set, no threads, nothing that waits. What epoll gives
 * back says what kind of thing is meant, which one, and which life of it: slots
 * are used again, and an event for the one before must not reach the next.
 *
 * A connection's life (flow.c):
 *
 *   accept -> judge --allowed--------------------------> RESOLVE -> DIAL -> RELAY
 *                   \--look at what comes first--> LOOK -/
 *   proxy: PREAMBLE -> judge -> RESOLVE -> DIAL -> reply -> (LOOK) -> RELAY
 *   where TLS is to end at us: ... -> DIAL -> LENT (lend.c)
 *   plain request to the proxy: PREAMBLE -> judge -> RESOLVE -> DIAL -> RELAY
 *   published: SPARE -> DIAL (inside) -> RELAY
 */
#ifndef IMMURE_EGRESS_WORKER_H
#define IMMURE_EGRESS_WORKER_H

#include "base/arena.h"
#include "egress/config.h"
#include "egress/connect.h"
#include "egress/hostconf.h"
#include "egress/httpflow.h"
#include "egress/judge.h"
#include "egress/own.h"
#include "egress/relay.h"
#include "egress/resolver.h"
#include "egress/socks5.h"
#include "egress/synth.h"
#include "egress/tls.h"
#include "egress/wire.h"

enum immure_tag {
	IMMURE_TAG_CONTROL = 1,
	IMMURE_TAG_OWN,
	IMMURE_TAG_LISTEN,  /* index: into listeners */
	IMMURE_TAG_PROXY,   /* index: into net.fd */
	IMMURE_TAG_PUBLISH, /* index: into the config's list */
	IMMURE_TAG_DNS_UDP,
	IMMURE_TAG_DNS_TCP,
	IMMURE_TAG_DNS_CLIENT,
	IMMURE_TAG_QUERY,
	IMMURE_TAG_CONN,
	IMMURE_TAG_PAIR,    /* index: into the pairs of handed.c */
	IMMURE_TAG_REFUSED,
	IMMURE_TAG_LINK,
};

/* kind, side, life, index */
#define IMMURE_TAG(kind, side, life, index)                                                     \
	((uint64_t)(kind) << 56 | (uint64_t)(side) << 48 | (uint64_t)(uint16_t)(life) << 32 |   \
	 (uint32_t)(index))

enum conn_state { CONN_FREE, CONN_PREAMBLE, CONN_LOOK, CONN_SPARE, CONN_RESOLVE, CONN_DIAL,
		  CONN_RELAY, CONN_LENT,
		  CONN_HELD };  /* denied, and its client is told when somebody has looked who it is */
/* PROXY: which of the three it is, is not known yet. */
enum conn_kind { CONN_CAUGHT, CONN_PROXY, CONN_CONNECT, CONN_PLAIN, CONN_SOCKS, CONN_PUBLISHED };
enum { IMMURE_HELD_MAX = 64 };
enum { CONN_DIALS = 4 }; /* at once; side 1 to 4 in a tag, side 0 is the client */

/* What a client said first, while it is looked at. */
struct first {
	unsigned char *raw; /* to be forwarded */
	size_t len, cap;
	bool is_tls, is_http;
	struct immure_tls_reader tls;
	struct immure_socks5 socks;
	struct immure_http_reader http; /* CONNECT */
	char head[8192];
};

/* A refusal that waits. */
struct refusal {
	uint32_t id;
	enum immure_wire_step step;
	struct immure_verdict v;
};

struct worker;

struct conn {
	struct worker *worker;
	enum conn_state state;
	enum conn_kind kind;
	uint32_t index;
	uint16_t life;
	bool ready, saw_tls, saw_ech, told, answered;
	int client_fd;
	struct immure_inet source, meant, peer; /* peer: what was dialled */
	struct immure_endpoint to;
	unsigned int look;       /* what must still be seen */
	struct first *first;
	struct immure_http_flow *http;
	uint64_t due_ms;         /* UINT64_MAX = nothing is due */
	struct immure_inet *addrs;
	size_t addrs_n, addrs_at;
	int dial_fd[CONN_DIALS];
	uint64_t dial_ms[CONN_DIALS];
	struct immure_inet dialled[CONN_DIALS];
	unsigned int side;       /* of the dial that won */
	struct immure_twoway two;
	uint64_t counted[2];     /* bytes of `two` that are in the sums */
	uint32_t events[2];
	struct refusal *refusal; /* HELD: what its client will be told */
	uint64_t head_ms;        /* since when a later request's head is incomplete, 0 = none is */
	bool watched;            /* client_fd is in the epoll set */
	struct conn *next_ready, *next_free;
};

struct listener {
	int fd;
	bool fixed;              /* of the plumbing: stays */
	struct immure_inet at;
};

/* What waits for the supervisor to look, by the numbers of both sides. */
struct held {
	uint32_t packet, id; /* id 0: free */
};

struct pending;
struct dns_client;
struct outgoing;
struct immure_handed;
struct asker;

struct worker {
	int control_fd, epoll_fd;
	int link_fd;             /* to immure-intercept, -1 = there is none (any more) */
	uint64_t now_ms;
	int failed;              /* -errno once nothing can go on; why says what */
	const char *why;
	char why_text[256];      /* where why has to be put together */
	uint64_t fds_max;

	struct immure_arena arena; /* of the config in force */
	struct immure_egress_config config;
	struct immure_judge judge;
	uint32_t connections_max;

	struct immure_netplumb net;
	struct immure_rtnl_setup routes;
	uint16_t port4, port6;   /* of the transparent listeners */
	int spare[2][IMMURE_WIRE_SOCKETS_MAX * 2]; /* IPv4, IPv6 */
	unsigned int spare_n[2];
	bool wanted;             /* WANT was sent and not answered … */
	uint64_t wanted_ms;      /* … since then */
	int publish_fd[IMMURE_EGRESS_PUBLISH_MAX];

	uint32_t handed;         /* as START says */
	struct immure_handed *pairs;

	struct listener *listeners;
	size_t listeners_n, listeners_cap;
	uint64_t paused_ms;      /* no accepting until then, 0 = accepting */

	struct immure_hostconf host;
	struct immure_own own;
	struct immure_resolver *resolver;
	struct immure_synth *synth;
	uint32_t told_upto;      /* last NAMES */
	unsigned char *caught;   /* by number - first_name: 1 = pairs are in place */
	size_t caught_cap;
	struct pending *pending; /* answers that wait for sockets */
	unsigned int pending_n;
	struct dns_client *dns;  /* over TCP */

	struct immure_pipes pipes;
	struct conn **conns;
	uint32_t conns_n;        /* slots that exist */
	uint32_t live;
	struct conn *free_conns;
	struct conn *ready, **ready_end;
	uint64_t next_due;
	int64_t credit;          /* bytes that may pass now, when there is a rate */
	uint64_t credit_ms;

	struct outgoing *out, **out_end;
	unsigned int out_n;
	struct { uint64_t key, ms; } recent[256]; /* denials that were told */
	uint64_t total, bytes[2], lookups, denied, unreached, lost;

	struct held held[IMMURE_HELD_MAX];
	uint32_t held_id;
	bool heard;              /* what was held for a worker before this one is let go */
};

/* start.c: everything before the first byte of the sandbox. 0 or -errno with w->why. */
int immure_worker_start(struct worker *w);
int immure_worker_policy(struct worker *w, int config_fd, char *ret_why, size_t len);
void immure_worker_rejudge(struct worker *w);
void immure_worker_done(struct worker *w);
int immure_worker_watch(struct worker *w, int fd, uint32_t events, uint64_t tag);
/* loop.c */
int immure_worker_loop(struct worker *w);
bool immure_worker_take_spare(struct worker *w, bool v6, int *ret_fd);
void immure_worker_want(struct worker *w);
void immure_worker_pause(struct worker *w, bool pause);

/* report.c */
void immure_report(struct worker *w, const struct immure_wire *m);
void immure_report_flush(struct worker *w);
void immure_report_denied(struct worker *w, const struct conn *c, enum immure_wire_step step,
			  const struct immure_verdict *v);
/* false: it was not told, so nobody will say LOOKED. */
bool immure_report_refused(struct worker *w, const struct conn *c, enum immure_wire_step step,
			   const struct immure_verdict *v, uint32_t held);
/* As immure_report_refused(); a->looked: the number of who waits, 0 = nobody. */
bool immure_report_lookup(struct worker *w, const struct asker *a, const char *name, bool limit,
			  const struct immure_verdict *v);
void immure_report_done(struct worker *w, uint32_t id, int result, uint64_t value,
			const char *why);
int immure_report_show(struct worker *w, int fd, uint64_t *ret_bytes);
void immure_report_stats(struct worker *w, uint32_t id);

/* pairs.c: what is caught in the session's namespace. name: 0, -EAGAIN (sockets are
 * on their way), -errno. */
int immure_pairs_init(struct worker *w);
int immure_pairs_name(struct worker *w, const char *name, uint32_t number);
/* Rules changed from those of `old`. */
int immure_pairs_change(struct worker *w, const struct immure_judge *old);
int immure_pairs_nets(struct worker *w);
/* Names whose sockets were missing. */
void immure_pairs_missing(struct worker *w);

/* names.c: the name service. */
void immure_names_udp(struct worker *w);
void immure_names_accept(struct worker *w);
void immure_names_client(struct worker *w, uint32_t index, uint16_t life, uint32_t events);
void immure_names_sockets(struct worker *w);
uint64_t immure_names_due(const struct worker *w);
void immure_names_tick(struct worker *w);
void immure_names_done(struct worker *w);
int immure_names_init(struct worker *w);
/* Who asks for a name. */
struct asker {
	struct immure_inet from;
	bool tcp, waits;  /* waits: a denial can wait until the supervisor has looked who it is … */
	uint32_t looked;  /* … and says so with this number */
};

/* 1: out holds the answer. 0: none is due. -EAGAIN: it waits for sockets. -EINPROGRESS: for
 * a->looked. */
int immure_names_answer(struct worker *w, struct asker *a, const unsigned char *msg, size_t len,
			unsigned char *out, size_t *ret_len, char *name);
void immure_names_looked(struct worker *w, uint32_t id);
/* A client over TCP; what cannot be taken is closed. */
void immure_names_take(struct worker *w, int *fd, const struct immure_inet *from);
/* For a name that came otherwise than by a question. false: the denial is in v. */
bool immure_names_claim(struct worker *w, const char *name, struct immure_verdict *v);

/* handed.c */
int immure_handed_init(struct worker *w);
void immure_handed_done(struct worker *w);
void immure_handed_ask(struct worker *w, uint32_t id, const struct immure_inet *meant);
void immure_handed_take(struct worker *w, const struct immure_wire_handed *h, int *fd);
void immure_handed_event(struct worker *w, uint32_t index, uint16_t life);

/* refused.c: what the kernel refuses by itself in the session's namespace. */
void immure_refused_event(struct worker *w);
void immure_refused_looked(struct worker *w, uint32_t id);
/* A number for what waits to be looked at; never 0. */
uint32_t immure_refused_id(struct worker *w);
void immure_refused_count(struct worker *w);

/* flow.c */
bool immure_flow_is_loopback(const struct immure_inet *a);
/* What an address inside stands for. false: nothing. */
bool immure_flow_meaning(struct worker *w, const struct immure_inet *a, struct immure_endpoint *ret);
/* A connection of the command's from its beginning; *fd is taken. */
void immure_flow_begin(struct worker *w, int *fd, enum conn_kind kind,
		       const struct immure_inet *meant, const struct immure_inet *from);
void immure_flow_accept(struct worker *w, int listener_fd, enum conn_kind kind);
void immure_flow_event(struct worker *w, struct conn *c, unsigned int side, uint32_t events);
void immure_flow_resolved(void *ctx, uint64_t who, int result, const struct immure_inet *addrs,
			  size_t n);
void immure_flow_due(struct worker *w, struct conn *c);
void immure_flow_rejudge(struct worker *w, struct conn *c);
void immure_flow_ready(struct worker *w);
/* conn.c: slots, ends, deadlines */
struct conn *immure_conn_new(struct worker *w, int *fd, enum conn_kind kind);
void immure_conn_close(struct worker *w, struct conn *c, bool reset);
void immure_conn_deny(struct worker *w, struct conn *c, enum immure_wire_step step,
		      const struct immure_verdict *v);
/* 403 and why, for what asked by HTTP; it is then closed without a reset. */
void immure_conn_refuse_request(struct conn *c, const struct immure_verdict *v);
/* Somebody has looked, or has not in time. */
void immure_conn_looked(struct worker *w, uint32_t id);
void immure_conn_refuse(struct worker *w, struct conn *c);
void immure_conn_due(struct worker *w, struct conn *c, uint64_t due_ms);
uint64_t immure_conn_who(const struct conn *c);
struct conn *immure_conn_of(struct worker *w, uint64_t who);
/* look.c: first bytes and proxies' preambles */
void immure_look_start(struct worker *w, struct conn *c);
void immure_look_read(struct worker *w, struct conn *c);
void immure_look_judge(struct worker *w, struct conn *c);
/* The proxy's answer: how the dial went, and for HTTP why not (NULL: it went well). */
void immure_look_reply(struct conn *c, int socks, const char *http, const char *why);
void immure_look_forbid(struct conn *c, const char *status, const char *why);
/* dial.c */
void immure_dial_resolve(struct worker *w, struct conn *c);
void immure_dial_list(struct worker *w, struct conn *c, const struct immure_inet *l, size_t n);
void immure_dial_event(struct worker *w, struct conn *c, unsigned int slot, uint32_t events);
void immure_dial_due(struct worker *w, struct conn *c);
void immure_dial_spare(struct worker *w, struct conn *c);
/* lend.c: connections that immure-intercept goes on with. */
void immure_lend(struct worker *w, struct conn *c);
void immure_lend_event(struct worker *w);
/* There is another who ends TLS; what the one before had is cut. */
void immure_lend_link(struct worker *w, int *fd);
/* relaying.c */
/* far_events: what epoll said of the side that was dialled. */
void immure_relaying_start(struct worker *w, struct conn *c, uint32_t far_events);
void immure_relaying_pump(struct worker *w, struct conn *c, uint32_t client, uint32_t far);
uint64_t immure_relaying_due(const struct conn *c);

#endif
