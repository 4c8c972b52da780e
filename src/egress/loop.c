/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/fd.h"
#include "egress/worker.h"

enum { EVENTS = 256, REFILL_MS = 5, PAUSE_MS = 100, WANT_MS = 1000, ROUNDS_MAX = 4 };

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- spare sockets ---- */

bool immure_worker_take_spare(struct worker *w, bool v6, int *ret_fd)
{
	if (w->spare_n[v6] == 0)
		return false;
	*ret_fd = w->spare[v6][--w->spare_n[v6]];
	return true;
}

void immure_worker_want(struct worker *w)
{
	struct immure_wire m = { .type = IMMURE_WIRE_WANT };

	/* A supervisor that could not, or that had enough of it, says nothing. */
	if (w->wanted && w->now_ms - w->wanted_ms < WANT_MS)
		return;
	w->wanted = true;
	w->wanted_ms = w->now_ms;
	m.want.n4 = IMMURE_WIRE_SOCKETS_MAX / 2;
	m.want.n6 = w->net.with_v6 ? IMMURE_WIRE_SOCKETS_MAX / 2 : 0;
	immure_report(w, &m);
}

static void take_sockets(struct worker *w, const struct immure_wire_sockets *s, int *fds)
{
	w->wanted = false;
	for (uint32_t i = 0; i < s->n4 + s->n6; i++) {
		unsigned int v6 = i >= s->n4;

		if (w->spare_n[v6] < sizeof(w->spare[0]) / sizeof(w->spare[0][0]))
			w->spare[v6][w->spare_n[v6]++] = immure_take_fd(&fds[i]);
	}
	if (!w->net.with_nft) {
		int r = immure_pairs_nets(w);

		if (r < 0 && !w->failed) {
			w->failed = r;
			w->why = "rules by address";
		}
		immure_pairs_missing(w);
	}
	immure_names_sockets(w);
	for (uint32_t i = 0; i < w->conns_n; i++)
		if (w->conns[i]->state == CONN_SPARE)
			immure_dial_spare(w, w->conns[i]);
}

/* ---- the supervisor ---- */

static void request(struct worker *w, const struct immure_wire *m, int *fds)
{
	char why[IMMURE_WIRE_TEXT] = "";
	uint64_t bytes = 0;
	int r;

	switch (m->type) {
	case IMMURE_WIRE_POLICY:
		r = immure_worker_policy(w, fds[0], why, sizeof(why));
		immure_report_done(w, m->id, r, 0, why);
		if (r < 0 && r != -EINVAL && r != -ENOMEM && !w->failed) {
			w->failed = r; /* half of it is in force: not a state to stay in */
			w->why = "the new rules cannot be plumbed";
		}
		break;
	case IMMURE_WIRE_SOCKETS:
		take_sockets(w, &m->sockets, fds);
		break;
	case IMMURE_WIRE_HOSTCONF:
		/* Without memory for it: the old ones are better than none. */
		if (immure_hostconf_replace(&w->host, fds[0], fds[1]) == 0)
			immure_resolver_drop_all(w->resolver);
		break;
	case IMMURE_WIRE_REACH:
		immure_handed_ask(w, m->id, &m->reach.meant);
		break;
	case IMMURE_WIRE_HANDED:
		immure_handed_take(w, &m->handed, &fds[0]);
		break;
	case IMMURE_WIRE_LINK:
		immure_lend_link(w, &fds[0]);
		break;
	case IMMURE_WIRE_LOOKED:
		immure_refused_looked(w, m->id);
		break;
	case IMMURE_WIRE_ASK:
		immure_refused_count(w);
		immure_report_stats(w, m->id);
		break;
	case IMMURE_WIRE_SHOW:
		r = immure_report_show(w, fds[0], &bytes);
		immure_report_done(w, m->id, r, bytes, r < 0 ? strerror(-r) : "");
		break;
	default:
		w->failed = -EPROTO;
		w->why = "a message that has no place here";
		break;
	}
}

/* false: the supervisor is gone. */
static bool control(struct worker *w)
{
	while (!w->failed) {
		int fds[IMMURE_WIRE_FDS_MAX], r;
		struct immure_wire m;
		size_t n = 0;

		r = immure_wire_recv(w->control_fd, true, &m, fds, &n);
		if (r == -EAGAIN)
			return true;
		if (r == 0 || r == -ECONNRESET)
			return false;
		if (r < 0) {
			w->failed = r;
			w->why = "the supervisor's message";
			return true;
		}
		request(w, &m, fds);
		for (size_t i = 0; i < n; i++)
			immure_close(&fds[i]);
	}
	return true;
}

static void own_changed(struct worker *w)
{
	int r = immure_own_refresh(&w->own);

	if (r < 0) {
		w->failed = r;
		w->why = "this host's own addresses";
		return;
	}
	w->judge.own = w->own.net;
	w->judge.own_n = w->own.n;
	/* What is dialled now may be an address of ours. */
	immure_worker_rejudge(w);
}

/* ---- events ---- */

static void conn_event(struct worker *w, uint64_t tag, uint32_t events)
{
	struct conn *c = immure_conn_of(w, (uint64_t)(uint16_t)(tag >> 32) << 32 | (uint32_t)tag);

	if (c)
		immure_flow_event(w, c, (unsigned int)(tag >> 48 & 0xff), events);
}

static void listen_for(struct worker *w, int fd, uint64_t tag, bool on)
{
	struct epoll_event e = { .events = on ? EPOLLIN : 0U };

	e.data.u64 = tag;
	if (fd >= 0)
		(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &e);
}

/* Without descriptors or memory nothing is accepted for a moment; what waits would
 * otherwise wake us without end. */
void immure_worker_pause(struct worker *w, bool pause)
{
	if (pause == (w->paused_ms != 0))
		return;
	w->paused_ms = pause ? w->now_ms + PAUSE_MS : 0;
	for (size_t i = 0; i < w->listeners_n; i++)
		listen_for(w, w->listeners[i].fd, IMMURE_TAG(IMMURE_TAG_LISTEN, 0, 0, i), !pause);
	for (unsigned int i = IMMURE_NETPLUMB_PROXY; i <= IMMURE_NETPLUMB_PROXY6; i++)
		listen_for(w, w->net.fd[i], IMMURE_TAG(IMMURE_TAG_PROXY, 0, 0, i), !pause);
	listen_for(w, w->net.fd[IMMURE_NETPLUMB_DNS_TCP], IMMURE_TAG(IMMURE_TAG_DNS_TCP, 0, 0, 0),
		   !pause);
	for (uint32_t i = 0; i < w->config.publish_n; i++)
		listen_for(w, w->publish_fd[i], IMMURE_TAG(IMMURE_TAG_PUBLISH, 0, 0, i), !pause);
}

/* false: it is over. */
static bool dispatch(struct worker *w, uint64_t tag, uint32_t events)
{
	uint32_t index = (uint32_t)tag;
	bool paused = w->paused_ms != 0;

	switch ((enum immure_tag)(tag >> 56)) {
	case IMMURE_TAG_CONTROL:
		if (events & EPOLLOUT)
			immure_report_flush(w);
		return !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || control(w);
	case IMMURE_TAG_OWN:
		own_changed(w);
		break;
	case IMMURE_TAG_LISTEN:
		if (!paused && index < w->listeners_n && w->listeners[index].fd >= 0)
			immure_flow_accept(w, w->listeners[index].fd, CONN_CAUGHT);
		break;
	case IMMURE_TAG_PROXY:
		if (!paused)
			immure_flow_accept(w, w->net.fd[index], CONN_PROXY);
		break;
	case IMMURE_TAG_PUBLISH:
		if (!paused && index < w->config.publish_n)
			immure_flow_accept(w, w->publish_fd[index], CONN_PUBLISHED);
		break;
	case IMMURE_TAG_DNS_UDP:
		immure_names_udp(w);
		break;
	case IMMURE_TAG_DNS_TCP:
		if (!paused)
			immure_names_accept(w);
		break;
	case IMMURE_TAG_DNS_CLIENT:
		immure_names_client(w, index, (uint16_t)(tag >> 32), events);
		break;
	case IMMURE_TAG_QUERY:
		immure_resolver_event(w->resolver, index, w->now_ms);
		break;
	case IMMURE_TAG_REFUSED:
		immure_refused_event(w);
		break;
	case IMMURE_TAG_LINK:
		immure_lend_event(w);
		break;
	case IMMURE_TAG_CONN:
		conn_event(w, tag, events);
		break;
	case IMMURE_TAG_PAIR:
		immure_handed_event(w, index, (uint16_t)(tag >> 32));
		break;
	}
	return true;
}

/* What ends waits, for a few rounds at most, until nothing else is to be done: whoever closes
 * one connection and opens another waits for the other, and both sides of an end
 * that waited are often dealt with at once. */
struct ends {
	struct epoll_event e[EVENTS];
	int n, rounds;
};

static bool dispatch_ends(struct worker *w, struct ends *ends)
{
	for (int i = 0; i < ends->n; i++)
		if (!dispatch(w, ends->e[i].data.u64, ends->e[i].events))
			return false;
	ends->n = ends->rounds = 0;
	return true;
}

static bool dispatch_all(struct worker *w, const struct epoll_event *e, int n, struct ends *ends)
{
	const uint32_t end = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
	int went_on = 0;

	for (int i = 0; i < n; i++) {
		if (e[i].events & end && ends->n < EVENTS) {
			ends->e[ends->n++] = e[i];
			continue;
		}
		went_on++;
		if (!dispatch(w, e[i].data.u64, e[i].events))
			return false;
	}
	if (ends->n == 0 || (went_on && ++ends->rounds < ROUNDS_MAX))
		return true;
	return dispatch_ends(w, ends);
}

/* ---- time ---- */

static void min_due(uint64_t *due, uint64_t other)
{
	if (other < *due)
		*due = other;
}

/* Every deadline there is; those that have come are acted on. Done at most when the
 * nearest of them may have come, not for each event. */
static void sweep(struct worker *w)
{
	uint64_t next = UINT64_MAX;

	w->next_due = UINT64_MAX;
	immure_resolver_tick(w->resolver, w->now_ms);
	immure_names_tick(w);
	for (uint32_t i = 0; i < w->conns_n; i++) {
		struct conn *c = w->conns[i];
		uint64_t due;

		if (c->state == CONN_FREE)
			continue;
		due = c->state == CONN_RELAY ? immure_relaying_due(c) : c->due_ms;
		if (due <= w->now_ms)
			immure_flow_due(w, c);
		else
			min_due(&next, due);
	}
	min_due(&w->next_due, next); /* acting may have set nearer ones */
	min_due(&w->next_due, immure_resolver_due(w->resolver));
	min_due(&w->next_due, immure_names_due(w));
}

static int wait_ms(const struct worker *w, uint64_t at)
{
	uint64_t due = w->next_due;

	if (w->ready)
		return w->config.limits.bytes_per_s && w->credit <= 0 ? REFILL_MS : 0;
	if (w->paused_ms)
		min_due(&due, w->paused_ms);
	min_due(&due, immure_resolver_due(w->resolver));
	if (due == UINT64_MAX)
		return -1;
	if (due <= at)
		return 0;
	return due - at > 3600000 ? 3600000 : (int)(due - at);
}

int immure_worker_loop(struct worker *w)
{
	struct epoll_event e[EVENTS];
	struct ends ends = { .n = 0 };

	w->now_ms = w->credit_ms = now();
	while (!w->failed) {
		int n = epoll_wait(w->epoll_fd, e, EVENTS, ends.n ? 0 : wait_ms(w, w->now_ms));

		if (n < 0 && errno != EINTR) {
			w->why = "waiting for events";
			return -errno;
		}
		w->now_ms = now();
		if (w->paused_ms && w->now_ms >= w->paused_ms)
			immure_worker_pause(w, false);
		if (!dispatch_all(w, e, n, &ends))
			return 0;
		if (w->ready)
			immure_flow_ready(w);
		if (w->now_ms >= w->next_due || w->now_ms >= immure_resolver_due(w->resolver))
			sweep(w);
	}
	return w->failed;
}
