/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session without a network of its own: nothing is listened on. The supervisor asks
 * whether an address may be reached before it connects, and hands over the end of
 * what was connected; from there on a connection is like any other and is judged
 * once more. Questions come on pairs of unix sockets, one packet each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "egress/answer.h"
#include "egress/worker.h"

/* Who asked longest ago makes room: programs close the descriptor after a lookup. */
enum { PAIRS = 256, TURN = 64, DNS_PORT = 53 };

struct pair {
	int fd;
	uint16_t life;
	uint64_t used;
};

struct immure_handed {
	uint64_t clock;
	struct pair pair[PAIRS];
};

int immure_handed_init(struct worker *w)
{
	if (!w->handed)
		return 0;
	w->pairs = calloc(1, sizeof(*w->pairs));
	if (!w->pairs)
		return -ENOMEM;
	for (size_t i = 0; i < PAIRS; i++)
		w->pairs->pair[i].fd = -1;
	return 0;
}

void immure_handed_done(struct worker *w)
{
	for (size_t i = 0; w->pairs && i < PAIRS; i++)
		immure_close(&w->pairs->pair[i].fd);
	free(w->pairs);
	w->pairs = NULL;
}

/* ---- addresses ---- */

static enum immure_host_kind kind_of(const struct immure_inet *a)
{
	return a->v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;
}

/* The gatekeeper's own address. */
static bool is_gate(const struct worker *w, const struct immure_inet *a)
{
	unsigned char own[16] = { 0 };

	immure_synth_own(w->synth, kind_of(a), own);
	return memcmp(own, a->addr, a->v6 ? 16 : 4) == 0;
}

static bool is_proxy(const struct worker *w, const struct immure_inet *a)
{
	return w->handed == 2 && a->port == IMMURE_NETPLUMB_PROXY_PORT && is_gate(w, a);
}

static bool is_a_name(const struct worker *w, const struct immure_inet *a)
{
	return immure_synth_covers(w->synth, kind_of(a), a->addr) && !is_gate(w, a);
}

/* What connect() says where a network of one's own would have refused by itself. */
static int errnum_of(const struct worker *w, const struct immure_inet *a)
{
	return immure_flow_is_loopback(a) || immure_synth_covers(w->synth, kind_of(a), a->addr) ?
	       ECONNREFUSED : EACCES;
}

/* 0, or what connect() fails with; *ret_names: whatever server was meant, the name service
 * answers for it. */
static int judge(struct worker *w, const struct immure_inet *meant, bool *ret_names)
{
	struct conn c = { .kind = CONN_CAUGHT, .meant = *meant };
	struct immure_verdict v;

	*ret_names = false;
	if (is_proxy(w, meant))
		return 0;
	if (!immure_flow_meaning(w, meant, &c.to)) {
		immure_endpoint_address(&c.to, kind_of(meant), meant->addr);
		c.to.port = meant->port;
		(void)immure_verdict_deny(&v, NULL, "an address that no name has");
	} else if (immure_judge_connect(&w->judge, &c.to, &v) != IMMURE_VERDICT_DENY) {
		return 0;
	}
	*ret_names = meant->port == DNS_PORT && !is_a_name(w, meant);
	if (*ret_names)
		return 0;
	immure_report_denied(w, &c, IMMURE_WIRE_CONNECT, &v);
	return errnum_of(w, meant);
}

void immure_handed_ask(struct worker *w, uint32_t id, const struct immure_inet *meant)
{
	struct immure_wire m = { .type = IMMURE_WIRE_VERDICT, .id = id };
	bool names;

	m.verdict.errnum = judge(w, meant, &names);
	immure_report(w, &m);
}

/* ---- ends ---- */

static void take_names(struct worker *w, int *fd)
{
	struct immure_handed *h = w->pairs;
	struct pair *p = &h->pair[0];

	for (size_t i = 0; i < PAIRS && p->fd >= 0; i++)
		if (h->pair[i].fd < 0 || h->pair[i].used < p->used)
			p = &h->pair[i];
	immure_close(&p->fd);
	p->life++;
	if (immure_worker_watch(w, *fd, EPOLLIN,
				IMMURE_TAG(IMMURE_TAG_PAIR, 0, p->life, p - h->pair)) < 0)
		return; /* it ends, and who asks sees it */
	p->fd = immure_take_fd(fd);
	p->used = ++h->clock;
}

void immure_handed_take(struct worker *w, const struct immure_wire_handed *h, int *fd)
{
	struct immure_inet source = { 0 };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	bool names;

	if (!w->handed)
		return;
	if (h->kind == IMMURE_WIRE_HANDED_NAMES) {
		take_names(w, fd);
		return;
	}
	memset(&sa, 0, sizeof(sa));
	if (getpeername(*fd, (struct sockaddr *)&sa, &len) == 0)
		(void)immure_inet_from_sockaddr(&sa, &source); /* only for telling it */
	/* The rules may have changed since it was asked for: then begin() denies it. */
	if (h->meant.port == DNS_PORT && judge(w, &h->meant, &names) == 0 && names) {
		immure_names_take(w, fd, &source);
		return;
	}
	immure_flow_begin(w, fd, is_proxy(w, &h->meant) ? CONN_PROXY : CONN_CAUGHT, &h->meant, &source);
}

void immure_handed_event(struct worker *w, uint32_t index, uint16_t life)
{
	struct pair *p = w->pairs && index < PAIRS ? &w->pairs->pair[index] : NULL;
	struct asker nobody = { .waits = false };

	if (!p || p->fd < 0 || p->life != life)
		return;
	p->used = ++w->pairs->clock;
	for (int i = 0; i < TURN; i++) {
		unsigned char in[IMMURE_DNS_QUERY_MAX + 1], out[IMMURE_DNS_RESPONSE_MAX];
		char name[IMMURE_HOST_NAME_MAX + 1];
		size_t out_len = 0;
		ssize_t n = recv(p->fd, in, sizeof(in), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) { /* an empty question as well: it cannot be told from the end */
			immure_close(&p->fd);
			return;
		}
		if (n > IMMURE_DNS_QUERY_MAX)
			continue;
		/* Who does not read what was answered asks again. */
		if (immure_names_answer(w, &nobody, in, (size_t)n, out, &out_len, name) == 1)
			(void)send(p->fd, out, out_len, MSG_NOSIGNAL);
	}
}
