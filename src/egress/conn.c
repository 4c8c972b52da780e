/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of connections: where one begins and, whatever happened, ends. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/worker.h"

/* Looking takes a few milliseconds; who is not looked for is told all the same. */
enum { HELD_MS = 500 };

uint64_t immure_conn_who(const struct conn *c)
{
	return (uint64_t)c->life << 32 | c->index;
}

struct conn *immure_conn_of(struct worker *w, uint64_t who)
{
	uint32_t index = (uint32_t)who;
	struct conn *c = index < w->conns_n ? w->conns[index] : NULL;

	return c && c->state != CONN_FREE && c->life == (uint16_t)(who >> 32) ? c : NULL;
}

static struct conn *another(struct worker *w)
{
	struct conn **l = realloc(w->conns, (w->conns_n + 1) * sizeof(*l));
	struct conn *c;

	if (!l)
		return NULL;
	w->conns = l;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->index = w->conns_n;
	w->conns[w->conns_n++] = c;
	return c;
}

struct conn *immure_conn_new(struct worker *w, int *fd, enum conn_kind kind)
{
	struct conn *c = w->free_conns;

	if (w->live >= w->connections_max)
		return NULL;
	if (c)
		w->free_conns = c->next_free;
	else
		c = another(w);
	if (!c)
		return NULL;
	/* Where it is in the ready list stays true. In some state other than FREE from the
	 * beginning: it may be denied before it comes to any, and is closed then. */
	*c = (struct conn){ .worker = w, .state = CONN_PREAMBLE, .index = c->index, .life = c->life, .ready = c->ready,
			    .next_ready = c->next_ready, .kind = kind, .due_ms = UINT64_MAX,
			    .client_fd = immure_take_fd(fd), .dial_fd = { -1, -1, -1, -1 } };
	_Static_assert(CONN_DIALS == 4, "one -1 for each");
	c->two.fd[0] = c->two.fd[1] = -1;
	w->live++;
	w->total++;
	return c;
}

static void reset_on_close(int fd)
{
	struct linger now = { .l_onoff = 1 };

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void free_first(struct conn *c)
{
	if (c->first)
		free(c->first->raw);
	free(c->first);
	c->first = NULL;
}

/* A spare socket that dialled inside is fit for another dial once nothing of the
 * old one is under way: AF_UNSPEC makes it as new. */
static void recycle(struct worker *w, struct conn *c)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct tcp_info_head {
		unsigned char state, rest[3];
		uint32_t skipped[5], unacked;
	} info;
	socklen_t len = sizeof(info);
	int fd = c->two.fd[1];

	if (c->kind != CONN_PUBLISHED || fd < 0 || w->spare_n[c->peer.v6] >= IMMURE_WIRE_SOCKETS_MAX)
		return;
	if (getsockopt(fd, IPPROTO_TCP, 11 /* TCP_INFO */, &info, &len) < 0 || info.unacked)
		return;
	c->two.fd[1] = -1;
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL) < 0 ||
	    connect(fd, &none, sizeof(none)) < 0) {
		(void)close(fd); /* nothing depends on it any more */
		return;
	}
	w->spare[c->peer.v6][w->spare_n[c->peer.v6]++] = fd;
}

void immure_conn_close(struct worker *w, struct conn *c, bool reset)
{
	if (c->state == CONN_FREE)
		return;
	if (c->state == CONN_RESOLVE)
		immure_resolver_forget(w->resolver, immure_conn_who(c));
	if (c->state == CONN_RELAY) {
		for (int i = 0; i < 2; i++)
			w->bytes[i] += c->two.from[i].bytes - c->counted[i];
		if (!reset)
			recycle(w, c);
		immure_twoway_close(&c->two, &w->pipes, reset);
	}
	/* Ours are not the last descriptors of it: this is what its other holder sees. */
	if (c->state == CONN_LENT && reset) {
		(void)shutdown(c->client_fd, SHUT_RDWR);
		(void)shutdown(c->dial_fd[c->side - 1], SHUT_RDWR);
	}
	for (int i = 0; i < CONN_DIALS; i++) {
		if (reset)
			reset_on_close(c->dial_fd[i]);
		immure_close(&c->dial_fd[i]);
	}
	if (reset)
		reset_on_close(c->client_fd);
	immure_close(&c->client_fd);
	free_first(c);
	immure_http_flow_free(c->http);
	c->http = NULL;
	free(c->addrs);
	c->addrs = NULL;
	free(c->refusal);
	c->refusal = NULL;
	c->state = CONN_FREE;
	c->life++;
	c->next_free = w->free_conns;
	w->free_conns = c;
	w->live--;
}

/* With bytes unread, closing resets, and the answer may be lost on the way. */
static void read_away(struct conn *c)
{
	unsigned char unread[4096];

	(void)shutdown(c->client_fd, SHUT_WR); /* else it is gone already */
	for (int i = 0; i < 64; i++)
		if (recv(c->client_fd, unread, sizeof(unread), 0) <= 0)
			break;
}

/* The reason goes to the command too: it is what whoever reads its output needs. But
 * not where a name leads: the addresses of a network that it has no part in. */
static void refuse_proxied(struct conn *c, enum immure_wire_step step,
			   const struct immure_verdict *v)
{
	char why[IMMURE_WIRE_TEXT + sizeof(v->add) + 32];
	bool hidden = step == IMMURE_WIRE_DIAL && v->add[0];

	if (hidden) {
		char name[IMMURE_ENDPOINT_TEXT];

		(void)snprintf(why, sizeof(why), "%s leads to an address that no rule opens",
			       immure_endpoint_print(&c->to, name));
	} else {
		(void)snprintf(why, sizeof(why), "%s%s%s", v->why, v->add[0] ? "; it takes " : "",
			       v->add);
	}
	if (immure_wire_is_failure(step) || (step == IMMURE_WIRE_DIAL && !hidden))
		immure_look_reply(c, IMMURE_SOCKS5_HOST, "502 Bad Gateway", why);
	else
		immure_look_reply(c, IMMURE_SOCKS5_DENIED, "403 Forbidden", why);
	read_away(c);
}

void immure_conn_refuse_request(struct conn *c, const struct immure_verdict *v)
{
	char why[IMMURE_WIRE_TEXT + sizeof(v->add) + 32];

	(void)snprintf(why, sizeof(why), "%s%s%s", v->why, v->add[0] ? "; it takes " : "", v->add);
	immure_look_forbid(c, v->code == IMMURE_CODE_HTTP_BODY_TOO_LARGE ? "413 Content Too Large" :
			   "403 Forbidden", why);
	read_away(c);
	c->answered = true;
}

void immure_conn_refuse(struct worker *w, struct conn *c)
{
	refuse_proxied(c, c->refusal->step, &c->refusal->v);
	immure_conn_close(w, c, false);
}

void immure_conn_looked(struct worker *w, uint32_t id)
{
	for (uint32_t i = 0; id && i < w->conns_n; i++)
		if (w->conns[i]->state == CONN_HELD && w->conns[i]->refusal->id == id)
			immure_conn_refuse(w, w->conns[i]);
}

/* false: it is not. */
static bool hold(struct worker *w, struct conn *c, uint32_t id, enum immure_wire_step step,
		 const struct immure_verdict *v)
{
	c->refusal = malloc(sizeof(*c->refusal));
	if (!c->refusal)
		return false;
	*c->refusal = (struct refusal){ .id = id, .step = step, .v = *v };
	if (c->state == CONN_RESOLVE)
		immure_resolver_forget(w->resolver, immure_conn_who(c));
	for (int i = 0; i < CONN_DIALS; i++)
		immure_close(&c->dial_fd[i]);
	c->state = CONN_HELD;
	immure_conn_due(w, c, w->now_ms + HELD_MS);
	return true;
}

/* Its client gets an answer, and mostly ends with it. */
static bool is_answered(const struct conn *c)
{
	return !c->answered && c->state != CONN_LOOK && c->state != CONN_RELAY &&
	       c->state != CONN_LENT &&
	       (c->kind == CONN_CONNECT || c->kind == CONN_PLAIN || c->kind == CONN_SOCKS);
}

void immure_conn_deny(struct worker *w, struct conn *c, enum immure_wire_step step,
		      const struct immure_verdict *v)
{
	bool proxied = is_answered(c);
	uint32_t id = proxied ? immure_refused_id(w) : 0;

	/* Told before it is felt: whoever looks for the culprit by the socket still
	 * has a chance to see it. Who waits for an answer waits for that as well. */
	if (!c->told && immure_report_refused(w, c, step, v, id) && proxied && hold(w, c, id, step, v))
		return;
	if (proxied)
		refuse_proxied(c, step, v);
	immure_conn_close(w, c, !proxied && !c->answered);
}

void immure_conn_due(struct worker *w, struct conn *c, uint64_t due_ms)
{
	c->due_ms = due_ms;
	if (due_ms < w->next_due)
		w->next_due = due_ms;
}
