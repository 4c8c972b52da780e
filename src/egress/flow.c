/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections come in, and what an event or a change of the rules means in
 * each state. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "egress/worker.h"

enum { ACCEPTS = 64 };

static void close_reset(int *fd)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	immure_close(fd);
}

bool immure_flow_is_loopback(const struct immure_inet *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->v6 ? memcmp(a->addr, one, sizeof(one)) == 0 : a->addr[0] == 127;
}

bool immure_flow_meaning(struct worker *w, const struct immure_inet *a, struct immure_endpoint *ret)
{
	enum immure_host_kind kind = a->v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;
	const char *name;
	struct immure_verdict v;

	memset(ret, 0, sizeof(*ret));
	if (immure_synth_covers(w->synth, kind, a->addr)) {
		name = immure_synth_name(w->synth, kind, a->addr);
		if (!name)
			return false;
		ret->kind = IMMURE_HOST_NAME;
		(void)memcpy(ret->name, name, strlen(name) + 1);
		ret->port = a->port;
		return true;
	}
	immure_endpoint_address(ret, kind, a->addr);
	ret->port = a->port;
	/* The session's own loopback, where a rule lets a service of the host's shine
	 * through: by its name, or by the very address. */
	if (immure_flow_is_loopback(a)) {
		struct immure_endpoint local = { .kind = IMMURE_HOST_NAME, .port = a->port };

		memcpy(local.name, "localhost", sizeof("localhost"));
		if (immure_judge_connect(&w->judge, &local, &v) != IMMURE_VERDICT_DENY)
			*ret = local;
	}
	return true;
}

static void begin(struct worker *w, struct conn *c)
{
	struct immure_verdict v;

	if (c->kind == CONN_PROXY) {
		immure_look_start(w, c);
		return;
	}
	if (!immure_flow_meaning(w, &c->meant, &c->to)) {
		immure_endpoint_address(&c->to, c->meant.v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4,
					c->meant.addr);
		c->to.port = c->meant.port;
		(void)immure_verdict_deny(&v, NULL, "an address that no name has");
		immure_conn_deny(w, c, IMMURE_WIRE_CONNECT, &v);
		return;
	}
	immure_look_judge(w, c);
}

static void begin_published(struct worker *w, struct conn *c, uint16_t port)
{
	c->addrs = calloc(2, sizeof(*c->addrs));
	if (!c->addrs) {
		immure_conn_close(w, c, true);
		return;
	}
	c->addrs[0] = (struct immure_inet){ .addr = { 127, 0, 0, 1 }, .port = port };
	c->addrs[1] = (struct immure_inet){ .v6 = true, .addr = { [15] = 1 }, .port = port };
	c->addrs_n = w->net.with_v6 ? 2 : 1;
	immure_endpoint_address(&c->to, IMMURE_HOST_NET4, c->addrs[0].addr);
	c->to.port = port;
	immure_dial_spare(w, c);
}

static void too_many(struct worker *w, int *fd, const struct immure_inet *meant,
		     const struct immure_inet *from)
{
	struct conn c = { .source = *from, .meant = *meant };
	struct immure_verdict v;

	immure_endpoint_address(&c.to, meant->v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4, meant->addr);
	c.to.port = meant->port;
	(void)immure_verdict_deny(&v, NULL, "%u connections are open already",
				  w->connections_max);
	immure_report_denied(w, &c, IMMURE_WIRE_LIMIT, &v);
	close_reset(fd);
}

void immure_flow_begin(struct worker *w, int *fd, enum conn_kind kind,
		       const struct immure_inet *meant, const struct immure_inet *from)
{
	struct conn *c = immure_conn_new(w, fd, kind);

	if (!c) {
		too_many(w, fd, meant, from);
		return;
	}
	c->meant = *meant;
	c->source = *from;
	begin(w, c);
}

void immure_flow_accept(struct worker *w, int listener_fd, enum conn_kind kind)
{
	for (int i = 0; i < ACCEPTS; i++) {
		struct immure_inet meant, from;
		int fd = immure_netsock_accept(listener_fd, &meant, &from);
		struct conn *c;

		if (fd == -EAGAIN)
			return;
		if (fd == -EINTR || fd == -ECONNABORTED)
			continue;
		if (fd < 0) { /* no descriptors or memory: not again at once */
			immure_worker_pause(w, true);
			return;
		}
		if (kind != CONN_PUBLISHED) {
			immure_flow_begin(w, &fd, kind, &meant, &from);
			continue;
		}
		c = immure_conn_new(w, &fd, kind);
		if (!c) {
			too_many(w, &fd, &meant, &from);
			continue;
		}
		c->meant = meant;
		c->source = from;
		for (uint32_t k = 0; k < w->config.publish_n; k++)
			if (w->publish_fd[k] == listener_fd)
				begin_published(w, c, w->config.publish[k].port);
	}
}

void immure_flow_event(struct worker *w, struct conn *c, unsigned int side, uint32_t events)
{
	switch (c->state) {
	case CONN_PREAMBLE:
	case CONN_LOOK:
		if (side == 0)
			immure_look_read(w, c);
		break;
	case CONN_DIAL:
		if (side > 0)
			immure_dial_event(w, c, side - 1, events);
		break;
	case CONN_RELAY:
		immure_relaying_pump(w, c, side == 0 ? events : 0, side == 0 ? 0 : events);
		break;
	case CONN_FREE:
	case CONN_SPARE:
	case CONN_RESOLVE:
	case CONN_HELD:
	case CONN_LENT:
		break;
	}
}

void immure_flow_resolved(void *ctx, uint64_t who, int result, const struct immure_inet *addrs,
			  size_t n)
{
	struct worker *w = ctx;
	struct conn *c = immure_conn_of(w, who);
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	if (!c || c->state != CONN_RESOLVE)
		return;
	if (result == 0) {
		immure_dial_list(w, c, addrs, n);
		return;
	}
	(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&c->to, text),
				  result == -ENOENT ? "no such name" :
				  result == -ETIMEDOUT ? "the resolvers do not answer" :
							 "the resolvers fail");
	immure_conn_deny(w, c, IMMURE_WIRE_UNRESOLVED, &v);
}

static void out_of_time(struct worker *w, struct conn *c, enum immure_wire_step step,
			const char *why)
{
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&c->to, text), why);
	immure_conn_deny(w, c, step, &v);
}

void immure_flow_due(struct worker *w, struct conn *c)
{
	switch (c->state) {
	case CONN_PREAMBLE:
		immure_conn_close(w, c, true);
		break;
	case CONN_LOOK:
		out_of_time(w, c, IMMURE_WIRE_CONTENT, "the first bytes were not whole in time");
		break;
	case CONN_RESOLVE:
		out_of_time(w, c, IMMURE_WIRE_UNRESOLVED, "the resolvers do not answer");
		break;
	case CONN_DIAL:
		immure_dial_due(w, c);
		break;
	case CONN_RELAY:
		if (c->head_ms && !c->told)
			out_of_time(w, c, IMMURE_WIRE_CONTENT, "a request was not whole in time");
		else
			immure_conn_close(w, c, true);
		break;
	case CONN_HELD:
		immure_conn_refuse(w, c);
		break;
	case CONN_SPARE:
	case CONN_LENT:
	case CONN_FREE:
		immure_conn_close(w, c, true);
		break;
	}
}

void immure_flow_ready(struct worker *w)
{
	struct conn *c = w->ready;

	w->ready = NULL;
	w->ready_end = &w->ready;
	while (c) {
		struct conn *next = c->next_ready;

		c->ready = false;
		if (c->state == CONN_RELAY)
			immure_relaying_pump(w, c, 0, 0);
		c = next;
	}
}

/* ---- other rules ---- */

/* Whether what was seen of an open connection still fits. */
static bool still_fits(struct worker *w, struct conn *c, struct immure_verdict *v)
{
	enum immure_verdict_kind k = immure_judge_connect(&w->judge, &c->to, v);
	struct immure_tls_hello hello = { .ech = c->saw_ech };

	if (k == IMMURE_VERDICT_DENY)
		return false;
	if (k == IMMURE_VERDICT_ALLOW)
		return true;
	/* Whoever has it judges what is said there by the new rules itself. */
	if (v->look & IMMURE_LOOK_INTERCEPT) {
		if (c->state == CONN_LENT)
			return true;
		(void)immure_verdict_deny(v, v->rule, "%s: TLS did not end at us", c->to.name);
		return false;
	}
	if (c->saw_tls && (v->look & IMMURE_LOOK_TLS)) {
		/* It was let through because its SNI was the name. */
		if (c->to.kind == IMMURE_HOST_NAME)
			memcpy(hello.sni, c->to.name, sizeof(hello.sni));
		return immure_judge_tls(&w->judge, &c->to, &hello, v) == IMMURE_VERDICT_ALLOW;
	}
	if (c->state == CONN_LENT) {
		(void)immure_verdict_deny(v, v->rule, "%s: TLS ends at us no longer", c->to.name);
		return false;
	}
	if (c->http && (v->look & IMMURE_LOOK_HTTP)) {
		/* Denying is told by the judge of requests itself. */
		return immure_http_flow_again(c->http) == 0;
	}
	(void)immure_verdict_deny(v, v->rule, "%s: its content was not looked at", c->to.name);
	return false;
}

static bool still_to_look(struct worker *w, struct conn *c, struct immure_verdict *v)
{
	enum immure_verdict_kind k = immure_judge_connect(&w->judge, &c->to, v);

	if (k == IMMURE_VERDICT_LOOK)
		c->look = v->look;
	return k != IMMURE_VERDICT_DENY;
}

void immure_flow_rejudge(struct worker *w, struct conn *c)
{
	enum immure_host_kind kind = c->peer.v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;
	struct immure_verdict v;
	bool fits;

	if (c->kind == CONN_PUBLISHED || c->kind == CONN_PROXY || c->state == CONN_PREAMBLE ||
	    c->state == CONN_HELD)
		return;
	if (c->state != CONN_RELAY && c->state != CONN_LENT) {
		/* Nothing has passed yet: it is cut where it may not go on. What is still
		 * to be looked at is looked at for the new rules; what was, has to fit them. */
		if (c->look)
			fits = still_to_look(w, c, &v);
		else
			fits = still_fits(w, c, &v);
		if (fits && c->state == CONN_DIAL)
			for (unsigned int i = 0; i < CONN_DIALS && fits; i++)
				fits = c->dial_fd[i] < 0 ||
				       immure_vet_address(&w->judge, &c->to,
							  c->dialled[i].v6 ? IMMURE_HOST_NET6 :
									     IMMURE_HOST_NET4,
							  c->dialled[i].addr, &v) ==
					       IMMURE_VERDICT_ALLOW;
	} else {
		fits = still_fits(w, c, &v) &&
		       immure_vet_address(&w->judge, &c->to, kind, c->peer.addr, &v) ==
			       IMMURE_VERDICT_ALLOW;
	}
	if (!fits)
		immure_conn_deny(w, c, IMMURE_WIRE_CUT, &v);
}
