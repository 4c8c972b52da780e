/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may be talked to: the policy's rules held against what is known of a
 * connection. It is asked at each step, because each step knows more:
 *
 *   lookup    immure_judge_name()     is any port of this name allowed at all?
 *   connect   immure_judge_connect()  name or address, and port
 *   dial      immure_vet_address()    the address that the name has led to
 *   first     immure_judge_tls(),     what the client says it wants, for rules that
 *   bytes     immure_judge_http()     ask for it; http again for every request
 *   inside    immure_judge_https()    requests, where TLS ends at us (src/intercept)
 *   TLS
 *
 * Deny rules win. A deny rule that cannot be decided denies; an allow rule that
 * cannot be decided does not allow. https rules with paths or methods can only
 * be decided by interception; so is what goes where secrets may be sent.
 */
#ifndef IMMURE_EGRESS_JUDGE_H
#define IMMURE_EGRESS_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "egress/endpoint.h"
#include "egress/http1.h"
#include "egress/tls.h"

struct immure_judge_rule {
	struct immure_netrule rule;
	const char *text; /* normal form */
};

struct immure_judge_net {
	enum immure_host_kind kind;
	unsigned char address[16];
	unsigned int bits;
};

struct immure_judge {
	struct immure_judge_rule *allow, *deny;
	size_t allow_n, deny_n;
	bool private_ok;  /* names may lead to private networks */
	bool refuse_ech;  /* tls rules refuse hellos with ECH, grease too */
	bool intercepts;  /* there is somebody who ends TLS; set after init */
	struct immure_judge_rule *secret; /* where secrets go: always intercepted */
	size_t secret_n;
	/* This host's own addresses and the synthetic prefixes: the caller's. */
	const struct immure_judge_net *own;
	size_t own_n;
};

enum immure_verdict_kind {
	IMMURE_VERDICT_DENY,
	IMMURE_VERDICT_ALLOW,
	IMMURE_VERDICT_LOOK, /* undecided until the first bytes are seen: see look */
};
/* INTERCEPT: whatever is said there is for whoever ends TLS. Comes alone. */
enum { IMMURE_LOOK_TLS = 1, IMMURE_LOOK_HTTP = 2, IMMURE_LOOK_INTERCEPT = 4 };

struct immure_verdict {
	enum immure_verdict_kind kind;
	unsigned int look;  /* IMMURE_LOOK_*; what cannot be either is denied */
	enum immure_code code;
	const char *rule;   /* text of the deciding rule; NULL = none matches */
	char why[640];      /* of a denial, printable */
	char add[320];      /* what would allow it; "" = nothing would */
};

/* Parses the rules of a policy's network.allow and network.deny. Everything lives in
 * the arena. -EINVAL with the complaint filled, -ENOMEM. */
int immure_judge_init(struct immure_arena *a, const struct immure_strv *allow,
		      const struct immure_strv *deny, struct immure_judge *ret,
		      struct immure_complaint *c);
/* Where secrets go, by rules of the https kind; likewise. */
int immure_judge_secrets(struct immure_arena *a, const struct immure_strv *to,
			 struct immure_judge *j, struct immure_complaint *c);

/* Never LOOK. *ret_wild_bytes: see immure_synth_add(). */
enum immure_verdict_kind immure_judge_name(const struct immure_judge *j, const char *name,
					   size_t *ret_wild_bytes, struct immure_verdict *ret);
/* Every port of a host that is not denied whatever is said there: merged, in order.
 * Returns how many ranges, at most IMMURE_JUDGE_PORTS; what has more is cut to
 * fewer and wider ones, as each connection is judged anyway. */
enum { IMMURE_JUDGE_PORTS = 64 };
size_t immure_judge_ports(const struct immure_judge *j, const struct immure_endpoint *host,
			  struct immure_port_range ret[IMMURE_JUDGE_PORTS]);
/* to has a port. A literal address is vetted here as well. */
enum immure_verdict_kind immure_judge_connect(const struct immure_judge *j,
					      const struct immure_endpoint *to,
					      struct immure_verdict *ret);
/* Never LOOK. hello, head: what came first on the connection to that place. */
enum immure_verdict_kind immure_judge_tls(const struct immure_judge *j,
					  const struct immure_endpoint *to,
					  const struct immure_tls_hello *hello,
					  struct immure_verdict *ret);
enum immure_verdict_kind immure_judge_http(const struct immure_judge *j,
					   const struct immure_endpoint *to,
					   const struct immure_http_head *head,
					   struct immure_verdict *ret);

/* A request that came by TLS, whose SNI was that name, or that had none for an address. */
enum immure_verdict_kind immure_judge_https(const struct immure_judge *j,
					    const struct immure_endpoint *to,
					    const struct immure_http_head *head,
					    struct immure_verdict *ret);
/* Whether it is one of those that one of the rules is about: host, port, method, path; no when in
 * doubt. For what is put into requests. */
bool immure_judge_is_about(const struct immure_judge_rule *rules, size_t n, const struct immure_endpoint *to,
			   const struct immure_http_head *head);

/* Whether an address may be dialled for `to` (vet.c). Special addresses are
 * refused unless a rule names them: one that is itself as narrow as the range
 * which makes them special, so that 0.0.0.0/0 names none of them. Never LOOK. */
enum immure_verdict_kind immure_vet_address(const struct immure_judge *j,
					    const struct immure_endpoint *to,
					    enum immure_host_kind kind,
					    const unsigned char address[16],
					    struct immure_verdict *ret);

/* For judge.c and vet.c. */
enum immure_verdict_kind immure_verdict_deny(struct immure_verdict *v, const char *rule,
					     const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool immure_judge_covers(const struct immure_netrule *r, const struct immure_endpoint *to);

#endif
