/* SPDX-License-Identifier: Apache-2.0 */
/*
 * immure-intercept: TLS of the hosts whose rules ask for paths or methods, or where secrets go,
 * ends here. Its own structures, for the files of the process alone.
 *
 *   LEND -> UPSTREAM --verified--> CLIENT --SNI fits--> OPEN -> DRAIN -> RETURN
 *                    \--not-----> CLIENT (an alert) ------------------> RETURN
 *
 * The server proves who it is before the client hears anything, and every request is judged
 * before a byte of it is passed on.
 */
#ifndef IMMURE_INTERCEPT_INTERCEPT_H
#define IMMURE_INTERCEPT_INTERCEPT_H

#include "base/arena.h"
#include "egress/config.h"
#include "egress/httpflow.h"
#include "egress/judge.h"
#include "egress/lendmsg.h"
#include "intercept/attribution.h"
#include "intercept/secret.h"
#include "intercept/tlslib.h"

enum lent_state { LENT_UPSTREAM, LENT_CLIENT, LENT_OPEN, LENT_DRAIN };

/* Read and not yet written. */
struct pending {
	char *data;
	size_t at, len;
};

struct intercept;

struct lent {
	struct intercept *in;
	struct lent *next, *prev;
	uint64_t id;
	enum lent_state state;
	int client_fd, server_fd;
	struct immure_tls_end *client, *server;
	struct immure_http_flow *flow;
	struct immure_endpoint to;
	struct immure_inet source, meant;
	uint32_t proxy;
	struct pending out, back; /* to the server, to the client */
	struct immure_scrub scrub;
	bool failed;      /* the server did not prove itself */
	bool answered;    /* a refusal is in `back`, and the last thing there */
	bool client_ended, server_ended, ready, told;
	uint64_t due_ms, last_ms, head_ms, held_ms;
	uint64_t bytes[2];
};

struct intercept {
	int control_fd, link_fd, epoll_fd;
	uint64_t now_ms;
	struct immure_arena arena; /* of the config in force */
	struct immure_arena fixed; /* of the secrets */
	struct immure_egress_config config;
	struct immure_judge judge;
	struct immure_attribution attribution;
	struct immure_tls_lib *tls;
	struct immure_secrets secrets;
	struct lent *lents;
	uint32_t lents_n;
	uint64_t told_s;
	uint32_t told_n;
	int64_t credit;            /* bytes that may pass now, when there is a rate */
	uint64_t credit_ms;
	const char *why;
	char why_text[256];
};

/* start.c: everything before the first byte of the sandbox. 0 or -errno with why. */
int immure_intercept_start(struct intercept *in);
int immure_intercept_policy(struct intercept *in, int config_fd, char *ret_why, size_t len);
void immure_intercept_link(struct intercept *in, int *fd);
int immure_intercept_loop(struct intercept *in);
void immure_intercept_done(struct intercept *in);

/* lent.c */
void immure_lent_new(struct intercept *in, const struct immure_lend_msg *m, int fds[2]);
/* Goes on as far as it can. It may be gone afterwards. */
void immure_lent_step(struct lent *l);
void immure_lent_due(struct lent *l);
void immure_lent_rejudge(struct lent *l);
/* Without a word to whoever lent it, when that is gone. */
void immure_lent_end(struct lent *l, bool reset);
void immure_lent_say(struct lent *l, enum immure_wire_step step, const struct immure_verdict *v);
/* Bytes that may pass now. */
size_t immure_intercept_allowance(struct intercept *in);

#endif
