/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's name service, over UDP and TCP. An answer with an address goes out
 * when the address leads somewhere: its pairs are in place. Where that takes
 * sockets which are not there yet, the answer waits for them. A denial waits until
 * the supervisor has looked who asks: most end with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "egress/answer.h"
#include "egress/worker.h"

enum { UDP_TURN = 64, CLIENTS = 64, PENDING = 64, OUT = 8192, CLIENT_MS = 30000, PENDING_MS = 4000,
       HELD = 32, HELD_MS = 500, LEAD = 256 };

struct pending {
	struct immure_inet to;  /* UDP */
	int client;             /* TCP: slot; -1 = UDP */
	uint16_t life;
	uint32_t looked;        /* waits for this number's LOOKED; 0 = for sockets */
	uint64_t until_ms;
	char name[IMMURE_HOST_NAME_MAX + 1];
	size_t len;
	unsigned char msg[IMMURE_DNS_RESPONSE_MAX];
};

struct dns_client {
	int fd;
	uint16_t life;
	bool ended, blocked;
	bool held;              /* an answer waits: nothing is read, so that answers keep their order */
	uint64_t due_ms;
	struct immure_inet from;
	struct immure_dns_stream in;
	size_t out_at, out_len;
	unsigned char out[OUT];
};

int immure_names_init(struct worker *w)
{
	w->dns = calloc(CLIENTS, sizeof(*w->dns));
	w->pending = calloc(PENDING, sizeof(*w->pending));
	if (!w->dns || !w->pending)
		return -ENOMEM;
	for (int i = 0; i < CLIENTS; i++)
		w->dns[i].fd = -1;
	return 0;
}

void immure_names_done(struct worker *w)
{
	for (int i = 0; w->dns && i < CLIENTS; i++)
		immure_close(&w->dns[i].fd);
	free(w->dns);
	free(w->pending);
	w->dns = NULL;
	w->pending = NULL;
}

/* Numbers are told before they are used; see wire.h. false: that cannot be said
 * now, so nothing new may be named. */
static bool may_name(struct worker *w)
{
	uint32_t next = w->config.first_name + immure_synth_count(w->synth);
	struct immure_wire m = { .type = IMMURE_WIRE_NAMES };

	if (next < w->told_upto)
		return true;
	m.names.upto = next + LEAD;
	if (immure_wire_send(w->control_fd, &m, NULL, 0) < 0)
		return false;
	w->told_upto = m.names.upto;
	return true;
}

/* Whoever serves a domain reads the labels that come to be resolved, by whichever way
 * they were asked for: what a proxy is told counts like what is looked up. */
bool immure_names_claim(struct worker *w, const char *name, struct immure_verdict *v)
{
	struct immure_verdict allowed;
	size_t wild = 0;
	uint32_t number;
	int r;

	if (immure_judge_name(&w->judge, name, &wild, &allowed) != IMMURE_VERDICT_ALLOW || wild == 0 ||
	    immure_synth_find(w->synth, name, &number))
		return true; /* a rule's own name, or none: then it is denied as a connection */
	if (!may_name(w)) {
		(void)immure_verdict_deny(v, NULL, "%s: no new names at this moment", name);
		return false;
	}
	r = immure_synth_add(w->synth, name, wild, w->now_ms, &number);
	if (r != IMMURE_SYNTH_OK)
		immure_answer_bounded(v, r, name);
	return r == IMMURE_SYNTH_OK;
}

/* 0: the answer does not wait. */
static uint32_t number_to_wait_for(struct worker *w)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < w->pending_n; i++)
		n += w->pending[i].looked != 0;
	return n < HELD && w->pending_n < PENDING ? immure_refused_id(w) : 0;
}

static int denied(struct worker *w, struct asker *a, const char *name, bool limit,
		  const struct immure_verdict *v)
{
	a->looked = a->waits ? number_to_wait_for(w) : 0;
	if (!immure_report_lookup(w, a, name, limit, v))
		a->looked = 0;
	return a->looked ? -EINPROGRESS : 1;
}

int immure_names_answer(struct worker *w, struct asker *a, const unsigned char *msg, size_t len,
			unsigned char *out, size_t *ret_len, char *name)
{
	struct immure_verdict v = { 0 };
	uint32_t number;
	int r = 0;

	if (!may_name(w))
		return 0;
	w->lookups++;
	switch (immure_answer(&w->judge, w->synth, w->net.with_v6, msg, len, w->now_ms, out, ret_len,
			      name, &v)) {
	case IMMURE_ANSWER_SILENT:
		return 0;
	case IMMURE_ANSWER_DENIED:
		return denied(w, a, name, false, &v);
	case IMMURE_ANSWER_BOUNDED:
		return denied(w, a, name, true, &v);
	case IMMURE_ANSWER_REJECTED:
		return 1;
	case IMMURE_ANSWER_GIVEN:
		break;
	}
	if (name[0] && immure_synth_find(w->synth, name, &number))
		r = immure_pairs_name(w, name, number);
	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		(void)immure_verdict_deny(&v, NULL, "%s: its ports cannot be opened: %s", name,
					  strerror(-r));
		a->looked = 0;
		(void)immure_report_lookup(w, a, name, true, &v);
		return 0;
	}
	return 1;
}

/* looked: 0 = until there are sockets. */
static struct pending *hold(struct worker *w, uint32_t looked, const char *name,
			    const unsigned char *msg, size_t len)
{
	struct pending *p;

	if (w->pending_n == PENDING)
		return NULL; /* the client asks again */
	p = &w->pending[w->pending_n++];
	p->client = -1;
	p->looked = looked;
	p->until_ms = w->now_ms + (looked ? HELD_MS : PENDING_MS);
	memcpy(p->name, name, strlen(name) + 1);
	memcpy(p->msg, msg, len);
	p->len = len;
	if (p->until_ms < w->next_due)
		w->next_due = p->until_ms;
	return p;
}

static void send_udp(struct worker *w, const struct immure_inet *to, const unsigned char *msg,
		     size_t len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = immure_inet_sockaddr(to, &sa);

	/* What is lost is asked again. */
	(void)sendto(w->net.fd[IMMURE_NETPLUMB_DNS_UDP], msg, len, MSG_NOSIGNAL,
		     (struct sockaddr *)&sa, sa_len);
}

void immure_names_udp(struct worker *w)
{
	for (int i = 0; i < UDP_TURN; i++) {
		unsigned char in[IMMURE_DNS_QUERY_MAX + 1], out[IMMURE_DNS_RESPONSE_MAX];
		char name[IMMURE_HOST_NAME_MAX + 1];
		struct sockaddr_storage sa;
		socklen_t sa_len = sizeof(sa);
		struct asker from = { .waits = true };
		struct pending *p;
		size_t len = 0;
		ssize_t n = recvfrom(w->net.fd[IMMURE_NETPLUMB_DNS_UDP], in, sizeof(in), 0,
				     (struct sockaddr *)&sa, &sa_len);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		if (n > IMMURE_DNS_QUERY_MAX || immure_inet_from_sockaddr(&sa, &from.from) < 0)
			continue;
		r = immure_names_answer(w, &from, in, (size_t)n, out, &len, name);
		if (r == 1)
			send_udp(w, &from.from, out, len);
		p = r < 0 ? hold(w, from.looked, name, out, len) : NULL;
		if (p)
			p->to = from.from;
	}
}

/* ---- over TCP ---- */

static void client_close(struct dns_client *d)
{
	immure_close(&d->fd);
	d->life++;
}

static void client_wants(struct worker *w, struct dns_client *d)
{
	struct epoll_event e = { .events = d->held ? 0U : d->blocked ? EPOLLOUT : EPOLLIN };

	e.data.u64 = IMMURE_TAG(IMMURE_TAG_DNS_CLIENT, 0, d->life, d - w->dns);
	(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, d->fd, &e);
}

void immure_names_take(struct worker *w, int *fd, const struct immure_inet *from)
{
	struct dns_client *d = NULL;

	for (int k = 0; k < CLIENTS && !d; k++)
		if (w->dns[k].fd < 0)
			d = &w->dns[k];
	if (!d || immure_worker_watch(w, *fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_DNS_CLIENT, 0, d->life,
								  d - w->dns)) < 0) {
		immure_close(fd);
		return;
	}
	d->fd = immure_take_fd(fd);
	d->from = *from;
	d->ended = d->blocked = d->held = false;
	d->in.have = d->out_at = d->out_len = 0;
	d->due_ms = w->now_ms + CLIENT_MS;
	if (d->due_ms < w->next_due)
		w->next_due = d->due_ms;
}

void immure_names_accept(struct worker *w)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct immure_inet meant, from;
		int fd = immure_netsock_accept(w->net.fd[IMMURE_NETPLUMB_DNS_TCP], &meant, &from);

		if (fd < 0) {
			if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
				immure_worker_pause(w, true);
			return;
		}
		immure_names_take(w, &fd, &from);
	}
}

static bool room_for_answer(const struct dns_client *d)
{
	return OUT - d->out_len >= 2 + IMMURE_DNS_RESPONSE_MAX;
}

static void queue(struct dns_client *d, const unsigned char *msg, size_t len)
{
	d->out[d->out_len++] = (unsigned char)(len >> 8);
	d->out[d->out_len++] = (unsigned char)len;
	memcpy(d->out + d->out_len, msg, len);
	d->out_len += len;
}

/* false: closed. */
static bool flush(struct worker *w, struct dns_client *d)
{
	while (d->out_at < d->out_len) {
		ssize_t n = send(d->fd, d->out + d->out_at, d->out_len - d->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			d->blocked = true;
			client_wants(w, d);
			return true;
		}
		if (n <= 0) {
			client_close(d);
			return false;
		}
		d->out_at += (size_t)n;
	}
	d->out_at = d->out_len = 0;
	if (d->blocked) {
		d->blocked = false;
		client_wants(w, d);
	}
	return true;
}

/* Questions from data; what there is no room to answer is not read: at most 8 KiB
 * of answers are held, and reading goes in pieces whose answers fit. */
static bool questions(struct worker *w, struct dns_client *d, const unsigned char *data, size_t len)
{
	while (len) {
		unsigned char out[IMMURE_DNS_RESPONSE_MAX];
		char name[IMMURE_HOST_NAME_MAX + 1];
		size_t used = 0, query = 0, n = 0;
		struct asker from = { .from = d->from, .tcp = true };
		struct pending *p;
		int r = immure_dns_stream_feed(&d->in, data, len, &used, &query);

		if (r < 0)
			return false;
		data += used;
		len -= used;
		if (r == 0)
			continue;
		from.waits = len == 0; /* who asks more at once is there for a while */
		r = immure_names_answer(w, &from, d->in.buf + 2, query, out, &n, name);
		d->in.have = 0;
		if (r == 1 && !room_for_answer(d) && (!flush(w, d) || !room_for_answer(d)))
			return false; /* asks and asks and does not listen */
		if (r == 1)
			queue(d, out, n);
		p = r < 0 ? hold(w, from.looked, name, out, n) : NULL;
		if (p) {
			p->client = (int)(d - w->dns);
			p->life = d->life;
			d->held = from.looked != 0;
			client_wants(w, d);
		}
	}
	return true;
}

void immure_names_client(struct worker *w, uint32_t index, uint16_t life, uint32_t events)
{
	struct dns_client *d = index < CLIENTS ? &w->dns[index] : NULL;

	if (!d || d->fd < 0 || d->life != life)
		return;
	if (d->held && events & (EPOLLERR | EPOLLHUP)) {
		client_close(d);
		return;
	}
	if (events & (EPOLLOUT | EPOLLERR) && !flush(w, d))
		return;
	while (!d->blocked && !d->held) {
		unsigned char in[512];
		ssize_t n = recv(d->fd, in, sizeof(in), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || !questions(w, d, in, (size_t)n)) {
			if (d->fd >= 0)
				client_close(d);
			return;
		}
		d->due_ms = w->now_ms + CLIENT_MS;
		if (!flush(w, d))
			return;
	}
}

/* ---- waiting ---- */

static void deliver(struct worker *w, const struct pending *p)
{
	struct dns_client *d = p->client >= 0 ? &w->dns[p->client] : NULL;

	if (!d) {
		send_udp(w, &p->to, p->msg, p->len);
	} else if (d->fd >= 0 && d->life == p->life) {
		d->held = d->held && !p->looked;
		if (room_for_answer(d))
			queue(d, p->msg, p->len);
		if (flush(w, d))
			client_wants(w, d);
	}
}

void immure_names_sockets(struct worker *w)
{
	unsigned int kept = 0, n = w->pending_n;

	for (unsigned int i = 0; i < n; i++) {
		struct pending *p = &w->pending[i];
		uint32_t number;
		int r = p->looked ? -EAGAIN : -ENOENT;

		if (!p->looked && immure_synth_find(w->synth, p->name, &number))
			r = immure_pairs_name(w, p->name, number);
		if (r == 0)
			deliver(w, p);
		else if (r == -EAGAIN)
			w->pending[kept++] = *p;
	}
	w->pending_n = kept;
}

void immure_names_looked(struct worker *w, uint32_t id)
{
	for (unsigned int i = 0; id && i < w->pending_n; i++)
		if (w->pending[i].looked == id) {
			deliver(w, &w->pending[i]);
			w->pending[i] = w->pending[--w->pending_n];
			return;
		}
}

uint64_t immure_names_due(const struct worker *w)
{
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < CLIENTS; i++)
		if (w->dns[i].fd >= 0 && w->dns[i].due_ms < due)
			due = w->dns[i].due_ms;
	for (unsigned int i = 0; i < w->pending_n; i++)
		if (w->pending[i].until_ms < due)
			due = w->pending[i].until_ms;
	return due;
}

void immure_names_tick(struct worker *w)
{
	unsigned int kept = 0;

	for (int i = 0; i < CLIENTS; i++)
		if (w->dns[i].fd >= 0 && w->dns[i].due_ms <= w->now_ms)
			client_close(&w->dns[i]);
	for (unsigned int i = 0; i < w->pending_n; i++)
		if (w->pending[i].until_ms > w->now_ms)
			w->pending[kept++] = w->pending[i];
		else if (w->pending[i].looked) /* it is denied, whoever asked */
			deliver(w, &w->pending[i]);
	w->pending_n = kept;
}
