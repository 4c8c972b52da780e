/* SPDX-License-Identifier: Apache-2.0 */
/* What the network's points attack. Places that a rule lets through are no
 * target: the session's own judge is asked, with the rules of the plan. */
#include "evidence/targets_net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "egress/judge.h"
#include "egress/synth.h"
#include "evidence/bait.h"
#include "plan/plan.h"

#define NAMES_MAX 8 /* of each kind; a sample */
#define PROXY_TO "proxy-to"

struct place {
	const char *kind, *address;
	uint16_t port;
};

/* Nothing is sent to any of them, and those of 192.0.2.0/24 and 2001:db8::/32
 * are nobody's. */
static const struct place places[] = {
	{ "literal4", "192.0.2.1", 443 },
	{ "literal4", "192.0.2.1", 80 },
	{ "literal4", "198.51.100.1", 22 },
	{ "literal6", "2001:db8::1", 443 },
	{ "literal6", "2001:db8::1", 80 },
	{ "literal6", "64:ff9b::c000:201", 443 },
	{ "mapped", "::ffff:192.0.2.1", 443 },
	{ "mapped", "::ffff:169.254.169.254", 80 },
	{ "metadata", "169.254.169.254", 80 },
	{ "metadata", "169.254.170.2", 80 },
	{ "metadata", "100.100.100.200", 80 },
	{ "metadata", "fd00:ec2::254", 80 },
	{ "private-net", "10.0.0.1", 80 },
	{ "private-net", "172.17.0.1", 80 },
	{ "private-net", "192.168.1.1", 80 },
	{ "private-net", "fd00::1", 80 },
	{ PROXY_TO, "immure-proof.invalid", 443 },
	{ PROXY_TO, "169.254.169.254", 80 },
	{ PROXY_TO, "127.0.0.1", 80 },
	{ PROXY_TO, "192.0.2.1", 443 },
	{ PROXY_TO, "::ffff:192.0.2.1", 443 },
	{ "other-resolver", "8.8.8.8", 53 },
	{ "other-resolver", "1.1.1.1", 53 },
	{ "other-resolver", "2001:4860:4860::8888", 53 },
};

static struct immure_strv rules_of(const struct immure_plan *plan, struct immure_arena *a,
				   enum immure_op_kind kind)
{
	struct immure_strv ret = { .n = 0 };

	for (size_t i = 0; i < plan->ops_n; i++)
		if (plan->ops[i].kind == kind)
			(void)immure_strv_add(a, &ret, plan->ops[i].src);
	return ret; /* the arena remembers a failure */
}

static bool lets_through(const struct immure_judge *j, const char *address, uint16_t port)
{
	struct immure_endpoint to = { .port = 0 };
	struct immure_verdict v;

	if (immure_endpoint_host(&to, address, strlen(address)) < 0)
		return false;
	to.port = port;
	return immure_judge_connect(j, &to, &v) != IMMURE_VERDICT_DENY;
}

static void put_places(const struct immure_judge *j, const struct immure_bait *bait, bool proxy,
		       struct immure_buf *out)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct place *p = &places[i];

		if (lets_through(j, p->address, p->port) ||
		    (!proxy && strcmp(p->kind, PROXY_TO) == 0))
			continue;
		if (p->port == 53)
			immure_buf_printf(out, "%s %s\n", p->kind, p->address);
		else if (strcmp(p->kind, PROXY_TO) == 0)
			immure_buf_printf(out, PROXY_TO " %s%s%s:%u\n", strchr(p->address, ':') ? "[" : "",
					  p->address, strchr(p->address, ':') ? "]" : "", p->port);
		else
			immure_buf_printf(out, "%s %s %u\n", p->kind, p->address, p->port);
	}
	for (size_t i = 0; i < bait->addresses.n; i++)
		if (!lets_through(j, bait->addresses.v[i], bait->port[IMMURE_BAIT_TCP4]))
			immure_buf_printf(out, "host-address %s %u\n", bait->addresses.v[i],
					  bait->port[IMMURE_BAIT_TCP4]);
}

static enum immure_verdict_kind at_port(const struct immure_judge *j, const char *name,
					uint16_t port)
{
	struct immure_endpoint to = { .port = 0 };
	struct immure_verdict v;

	if (immure_endpoint_host(&to, name, strlen(name)) < 0)
		return IMMURE_VERDICT_DENY;
	to.port = port;
	return immure_judge_connect(j, &to, &v);
}

/* Names that stand in a rule, each with a port that is allowed and one that is not. */
static void put_names(const struct immure_judge *j, struct immure_buf *out)
{
	static const uint16_t others[] = { 1, 9, 25, 3128, 65535 };
	size_t n = 0;

	for (size_t i = 0; i < j->allow_n && n < NAMES_MAX; i++) {
		const struct immure_netrule *r = &j->allow[i].rule;

		if (r->kind != IMMURE_HOST_NAME || strcmp(r->name, "localhost") == 0 ||
		    at_port(j, r->name, r->ports[0].lo) == IMMURE_VERDICT_DENY)
			continue;
		immure_buf_printf(out, "allowed %s %u\n", r->name, r->ports[0].lo);
		n++;
		for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++) {
			if (at_port(j, r->name, others[k]) != IMMURE_VERDICT_DENY)
				continue;
			immure_buf_printf(out, "closed %s %u\n", r->name, others[k]);
			break;
		}
	}
}

/* The gate itself: where it is asked, and addresses that it never gave out. */
static void put_gate(const struct immure_op *op, struct immure_buf *out)
{
	struct immure_complaint c;
	enum immure_host_kind kind;
	unsigned char address[16] = { 0 };
	unsigned int bits;
	char text[INET_ADDRSTRLEN];

	if (immure_network_parse(op->src, &kind, address, &bits, &c) < 0 ||
	    kind != IMMURE_HOST_NET4)
		return;
	address[3] |= 1;
	(void)inet_ntop(AF_INET, address, text, sizeof(text)); /* fits */
	immure_buf_printf(out, "resolver %s\n", text);
	if (op->num[0])
		immure_buf_printf(out, "proxy %s %u\n", text, (unsigned int)op->num[0]);
	/* The last addresses of the range: names get theirs in no order, but a proof's
	 * handful in 2^8 and more is not there. */
	for (unsigned int i = bits; i < 32; i++)
		address[i / 8] |= (unsigned char)(0x80 >> i % 8);
	address[3] &= 0xfe;
	(void)inet_ntop(AF_INET, address, text, sizeof(text)); /* fits */
	immure_buf_printf(out, "unknown-address %s 443\nunknown-address %s 80\n", text, text);
}

void immure_targets_network(const struct immure_plan *plan, const struct immure_bait *bait,
			    struct immure_buf *out)
{
	const struct immure_op *gate = immure_plan_find(plan, IMMURE_OP_EGRESS);
	struct immure_arena a = { 0 };
	struct immure_judge j = { 0 };
	struct immure_complaint c;
	struct immure_strv allow, deny;

	if (immure_plan_find(plan, IMMURE_OP_NET_HOST))
		return;
	allow = rules_of(plan, &a, IMMURE_OP_EGRESS_ALLOW);
	deny = rules_of(plan, &a, IMMURE_OP_EGRESS_DENY);
	/* The planner parsed every rule; one that fails now is a lack of memory. */
	if (a.failed || immure_judge_init(&a, &allow, &deny, &j, &c) < 0)
		out->failed = true;
	if (!out->failed) {
		put_places(&j, bait, gate && gate->num[0], out);
		put_names(&j, out);
		if (gate)
			put_gate(gate, out);
	}
	immure_arena_done(&a);
}
