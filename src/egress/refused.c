/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel refuses by itself: ports and addresses that no rule names, and all that
 * is not TCP. It is refused whatever is done here; here it gets its name and its reason,
 * and whoever opened a connection is held until the supervisor has seen who that is. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "egress/worker.h"
#include "kernel/refusals.h"

/* Read at once; the rate of what comes is the kernel's to bound. */
enum { AT_ONCE = 32 };

static const char *protocol_name(uint8_t protocol, char buf[24])
{
	switch (protocol) {
	case IPPROTO_UDP:
		return "UDP";
	case IPPROTO_UDPLITE:
		return "UDP-Lite";
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return "ICMP";
	default:
		(void)snprintf(buf, 24, "protocol %u", protocol);
		return buf;
	}
}

static void deny_datagram(const struct conn *c, uint8_t protocol, struct immure_verdict *v)
{
	char text[IMMURE_ENDPOINT_TEXT], buf[24];

	(void)immure_endpoint_print(&c->to, text);
	if (protocol == IPPROTO_UDP && c->to.port == 53)
		(void)immure_verdict_deny(v, NULL, "%s: other name servers are not asked; names are "
					  "looked up as /etc/resolv.conf says", text);
	else
		(void)immure_verdict_deny(v, NULL, "%s: %s does not pass, only TCP does", text,
					  protocol_name(protocol, buf));
}

/* false: it is not denied. Rules were changed since, and the next try will find it so. */
static bool judge(struct worker *w, struct conn *c, const struct immure_refusal *r,
		  struct immure_verdict *v)
{
	bool meant = immure_flow_meaning(w, &c->meant, &c->to);

	if (!meant) {
		immure_endpoint_address(&c->to, c->meant.v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4,
					c->meant.addr);
		c->to.port = c->meant.port;
	}
	if (r->protocol != IPPROTO_TCP)
		deny_datagram(c, r->protocol, v);
	else if (!meant)
		(void)immure_verdict_deny(v, NULL, "an address that no name has");
	else
		return immure_judge_connect(&w->judge, &c->to, v) == IMMURE_VERDICT_DENY;
	return true;
}

uint32_t immure_refused_id(struct worker *w)
{
	if (++w->held_id == 0)
		w->held_id = 1;
	return w->held_id;
}

static struct held *room(struct worker *w)
{
	for (size_t i = 0; i < IMMURE_HELD_MAX; i++)
		if (!w->held[i].id)
			return &w->held[i];
	return NULL;
}

static void let_go(struct worker *w, uint32_t packet)
{
	/* Not taken: whoever waits tries again after a second, and is told again. */
	(void)immure_refusals_let_go(w->net.fd[IMMURE_NETPLUMB_REFUSALS], packet);
}

static void refused(struct worker *w, const struct immure_refusal *r)
{
	struct held *h = r->held ? room(w) : NULL;
	struct conn c = { .kind = CONN_CAUGHT, .source = r->source, .meant = r->meant };
	struct immure_verdict v;

	if (r->protocol && judge(w, &c, r, &v)) {
		uint32_t id = h ? immure_refused_id(w) : 0;

		if (immure_report_refused(w, &c, r->protocol == IPPROTO_TCP ? IMMURE_WIRE_CONNECT :
							       IMMURE_WIRE_DATAGRAM,
					  &v, id) && h) {
			*h = (struct held){ .packet = r->number, .id = id };
			return;
		}
	}
	if (r->held)
		let_go(w, r->number);
}

/* What a worker before this one had read, nobody will let go any more. */
static void let_old_ones_go(struct worker *w, const struct immure_refusal *l, int n)
{
	uint32_t first = INT32_MAX;

	for (int i = 0; i < n; i++)
		if (l[i].held && l[i].number - 1 < first)
			first = l[i].number - 1;
	if (first)
		(void)immure_refusals_let_go_until(w->net.fd[IMMURE_NETPLUMB_REFUSALS], first);
	w->heard = true;
}

/* false: nothing is left to be read. */
static bool read_some(struct worker *w)
{
	struct immure_refusal l[AT_ONCE];
	int n = immure_refusals_read(w->net.fd[IMMURE_NETPLUMB_REFUSALS], l, AT_ONCE);

	if (!w->heard)
		let_old_ones_go(w, l, n);
	for (int i = 0; i < n; i++)
		refused(w, &l[i]);
	return n >= 0;
}

void immure_refused_event(struct worker *w)
{
	(void)read_some(w); /* what is left wakes us again */
}

void immure_refused_looked(struct worker *w, uint32_t id)
{
	for (size_t i = 0; i < IMMURE_HELD_MAX; i++)
		if (id && w->held[i].id == id) {
			let_go(w, w->held[i].packet);
			w->held[i].id = 0;
		}
	immure_conn_looked(w, id);
	immure_names_looked(w, id);
}

void immure_refused_count(struct worker *w)
{
	uint64_t untold = 0;

	if (w->net.fd[IMMURE_NETPLUMB_REFUSALS] < 0)
		return;
	/* What has happened counts, although we were woken for the question first. */
	for (int i = 0; i < IMMURE_REFUSALS_BURST * 2 && read_some(w); i++)
		;
	if (immure_refusals_untold(w->net.fd[IMMURE_NETPLUMB_NFT], &untold) == 0)
		w->lost += untold; /* else they are counted when it is asked again */
}
