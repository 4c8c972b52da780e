/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/resolver.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/bytes.h"

enum { KEPT = 256, ROUNDS = 2, FIRST_MS = 1500, LATER_MS = 3000, GRACE_MS = 50, TCP_MAX = 65535 };

/* One family's part of a query. */
struct part {
	uint16_t type, id;
	bool wanted, done, failed; /* failed: this resolver could not say */
	bool missing;              /* it said that there is no such name */
	bool truncated;
	size_t n;
	uint32_t ttl_s;
	struct immure_inet got[IMMURE_RESOLVER_ADDRESSES / 2];
};

struct query {
	bool used;
	char name[IMMURE_HOST_NAME_MAX + 1];
	struct part part[2];       /* A, AAAA */
	unsigned int at;           /* of the tries: resolver, then round */
	int udp_fd, tcp_fd;
	int tcp_part;              /* which part TCP is about, -1 = none */
	unsigned char *tcp;        /* the message: length, then bytes */
	size_t tcp_have, tcp_sent, tcp_want;
	uint64_t try_ms, end_ms;   /* until when this try, all tries */
	uint64_t *who;
	size_t who_n, who_cap;
};

struct kept {
	uint64_t until_ms;
	char name[IMMURE_HOST_NAME_MAX + 1];
	bool six;
	size_t n;
	struct immure_inet got[IMMURE_RESOLVER_ADDRESSES];
};

struct immure_resolver {
	const struct immure_hostconf *conf;
	int epoll_fd;
	uint64_t tag;
	immure_resolver_done *done;
	void *ctx;
	struct query q[IMMURE_RESOLVER_QUERIES];
	unsigned int used;
	struct kept *kept[KEPT];
};

int immure_resolver_new(const struct immure_hostconf *conf, int epoll_fd, uint64_t tag,
			immure_resolver_done *done, void *ctx, struct immure_resolver **ret)
{
	struct immure_resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct immure_resolver){ .conf = conf, .epoll_fd = epoll_fd, .tag = tag,
				       .done = done, .ctx = ctx };
	for (size_t i = 0; i < IMMURE_RESOLVER_QUERIES; i++)
		r->q[i].udp_fd = r->q[i].tcp_fd = -1;
	*ret = r;
	return 0;
}

/* ---- what is known ---- */

static struct kept **kept_of(struct immure_resolver *r, const char *name)
{
	uint32_t h = 2166136261U;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619U;
	return &r->kept[h % KEPT];
}

static void keep(struct immure_resolver *r, const struct query *q, const struct immure_inet *l,
		 size_t n, uint64_t now_ms)
{
	struct kept **k = kept_of(r, q->name);
	uint64_t kept_s = IMMURE_RESOLVER_KEPT_S;

	for (int i = 0; i < 2; i++)
		if (q->part[i].n && q->part[i].ttl_s < kept_s)
			kept_s = q->part[i].ttl_s;
	if (!*k)
		*k = malloc(sizeof(**k));
	if (!*k)
		return; /* then it is asked again */
	(*k)->until_ms = now_ms + kept_s * 1000;
	(*k)->six = q->part[1].wanted;
	(*k)->n = n;
	memcpy((*k)->name, q->name, sizeof(q->name));
	memcpy((*k)->got, l, n * sizeof(*l));
}

void immure_resolver_drop(struct immure_resolver *r, const char *name)
{
	struct kept *k = *kept_of(r, name);

	if (k && strcmp(k->name, name) == 0)
		k->until_ms = 0;
}

void immure_resolver_drop_all(struct immure_resolver *r)
{
	for (size_t i = 0; i < KEPT; i++)
		if (r->kept[i])
			r->kept[i]->until_ms = 0;
}

static bool known(struct immure_resolver *r, const char *name, bool six, uint64_t now_ms,
		  struct immure_inet *ret, size_t *ret_n)
{
	struct kept *k = *kept_of(r, name);
	size_t n = immure_hostconf_find(r->conf, name, ret, IMMURE_RESOLVER_ADDRESSES);

	if (n == 0 && k && k->until_ms > now_ms && k->six == six && strcmp(k->name, name) == 0) {
		n = k->n;
		memcpy(ret, k->got, n * sizeof(*ret));
	}
	*ret_n = n;
	return n > 0;
}

/* ---- one query ---- */

static void close_tcp(struct query *q)
{
	immure_close(&q->tcp_fd);
	free(q->tcp);
	q->tcp = NULL;
	q->tcp_part = -1;
}

static void release(struct immure_resolver *r, struct query *q)
{
	close_tcp(q);
	immure_close(&q->udp_fd);
	free(q->who);
	q->who = NULL;
	q->who_n = q->who_cap = 0;
	q->used = false;
	r->used--;
}

/* Addresses of both families in turn, IPv6 first: what a client would try. */
static size_t merge(const struct query *q, struct immure_inet ret[IMMURE_RESOLVER_ADDRESSES])
{
	size_t n = 0;

	for (size_t i = 0; i < IMMURE_RESOLVER_ADDRESSES / 2; i++)
		for (int f = 1; f >= 0; f--)
			if (i < q->part[f].n)
				ret[n++] = q->part[f].got[i];
	return n;
}

static void finish(struct immure_resolver *r, struct query *q, int failure, uint64_t now_ms)
{
	struct immure_inet l[IMMURE_RESOLVER_ADDRESSES];
	size_t n = merge(q, l), who_n = q->who_n;
	uint64_t *who = q->who;

	if (n)
		keep(r, q, l, n, now_ms);
	q->who = NULL; /* the callbacks may ask again: the slot is free first */
	q->who_n = 0;
	release(r, q);
	for (size_t i = 0; i < who_n; i++)
		r->done(r->ctx, who[i], n ? 0 : failure, l, n);
	free(who);
}

static int watch(struct immure_resolver *r, struct query *q, int fd, bool tcp, uint32_t events)
{
	struct epoll_event e = { .events = events };

	e.data.u64 = r->tag | (uint64_t)(q - r->q) * 2 | (tcp ? 1 : 0);
	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static const struct immure_resolver_address *server_of(const struct immure_resolver *r,
							const struct query *q)
{
	return &r->conf->server[q->at % r->conf->servers_n];
}

static int connect_to(int fd, const struct immure_resolver_address *s)
{
	struct sockaddr_storage sa;
	socklen_t len = immure_inet_sockaddr(&s->at, &sa);

	if (s->at.v6)
		((struct sockaddr_in6 *)&sa)->sin6_scope_id = s->scope;
	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* Sends what is still open to the resolver of this try. */
static int put_try(struct immure_resolver *r, struct query *q)
{
	const struct immure_resolver_address *s = server_of(r, q);
	int fd, e;

	immure_close(&q->udp_fd);
	close_tcp(q);
	/* A new socket each time: its port is part of what a forger has to guess. */
	fd = socket(s->at.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	q->udp_fd = fd;
	e = connect_to(fd, s);
	if (e == 0)
		e = watch(r, q, fd, false, EPOLLIN);
	for (int i = 0; i < 2 && e == 0; i++) {
		struct part *p = &q->part[i];
		unsigned char msg[IMMURE_DNS_QUERY_MAX];
		int n;

		if (!p->wanted || p->done)
			continue;
		p->failed = p->truncated = false;
		if (getrandom(&p->id, sizeof(p->id), 0) != sizeof(p->id))
			return -EIO;
		n = immure_dns_ask(p->id, q->name, p->type, msg, sizeof(msg));
		if (n < 0)
			return n;
		if (send(fd, msg, (size_t)n, MSG_NOSIGNAL) < 0)
			e = -errno;
	}
	return e;
}

/* The next resolver, or the end. */
static void next_try(struct immure_resolver *r, struct query *q, bool first, uint64_t now_ms)
{
	for (;;) {
		if (!first)
			q->at++;
		first = false;
		if (q->at >= r->conf->servers_n * ROUNDS || now_ms >= q->end_ms) {
			bool said = q->part[0].failed || q->part[1].failed;

			finish(r, q, said ? -EAGAIN : -ETIMEDOUT, now_ms);
			return;
		}
		if (put_try(r, q) < 0) {
			q->part[0].failed = true;
			continue;
		}
		q->try_ms = now_ms + (q->at < r->conf->servers_n ? FIRST_MS : LATER_MS);
		if (q->try_ms > q->end_ms)
			q->try_ms = q->end_ms;
		return;
	}
}

/* Something was learnt: is that all? */
static void consider(struct immure_resolver *r, struct query *q, uint64_t now_ms)
{
	bool open = false, failed = false, some = false;

	for (int i = 0; i < 2; i++) {
		const struct part *p = &q->part[i];

		if (!p->wanted)
			continue;
		open |= !p->done && !p->failed;
		failed |= p->failed;
		some |= p->n > 0;
	}
	/* A name that is missing for one type is so for all (RFC 8020). */
	if (q->part[0].missing || q->part[1].missing)
		finish(r, q, -ENOENT, now_ms);
	else if (!open && (!failed || some))
		finish(r, q, -ENOENT, now_ms);
	else if (!open)
		next_try(r, q, false, now_ms);
	else if (some && q->try_ms > now_ms + GRACE_MS)
		q->try_ms = now_ms + GRACE_MS; /* the other family is not worth a wait */
}

static void take(struct part *p, const struct immure_dns_reply *reply)
{
	if (reply->rcode == IMMURE_DNS_NXDOMAIN) {
		p->done = p->missing = true;
		return;
	}
	if (reply->rcode != IMMURE_DNS_NOERROR) {
		p->failed = true;
		return;
	}
	p->done = true;
	p->ttl_s = reply->ttl_s;
	for (size_t i = 0; i < reply->n && p->n < IMMURE_RESOLVER_ADDRESSES / 2; i++) {
		struct immure_inet *a = &p->got[p->n++];

		memset(a, 0, sizeof(*a));
		a->v6 = p->type == IMMURE_DNS_AAAA;
		memcpy(a->addr, reply->addresses[i], a->v6 ? 16 : 4);
	}
}

/* ---- over TCP ---- */

static void start_tcp(struct immure_resolver *r, struct query *q, int part)
{
	const struct immure_resolver_address *s = server_of(r, q);
	int fd, n, e;

	if (q->tcp_part >= 0)
		return; /* one at a time; the other's turn comes after it */
	q->tcp = malloc(2 + TCP_MAX);
	fd = socket(s->at.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	q->tcp_fd = fd;
	if (!q->tcp || fd < 0) {
		q->part[part].failed = true;
		close_tcp(q);
		return;
	}
	n = immure_dns_ask(q->part[part].id, q->name, q->part[part].type, q->tcp + 2, TCP_MAX);
	e = n < 0 ? n : connect_to(fd, s);
	if (e == -EINPROGRESS || e == 0)
		e = watch(r, q, fd, true, EPOLLIN | EPOLLOUT | EPOLLET);
	if (e < 0) {
		q->part[part].failed = true;
		close_tcp(q);
		return;
	}
	q->tcp[0] = (unsigned char)(n >> 8);
	q->tcp[1] = (unsigned char)n;
	q->tcp_want = 2 + (size_t)n;
	q->tcp_sent = q->tcp_have = 0;
	q->tcp_part = part;
}

/* 1: a reply is whole; 0: wait; -1: broken. */
static int pump_tcp(struct query *q)
{
	while (q->tcp_sent < q->tcp_want) {
		ssize_t n = send(q->tcp_fd, q->tcp + q->tcp_sent, q->tcp_want - q->tcp_sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		q->tcp_sent += (size_t)n;
	}
	for (;;) {
		size_t want = q->tcp_have < 2 ? 2 : 2 + (size_t)get16(q->tcp);
		ssize_t n;

		if (q->tcp_have >= 2 && q->tcp_have == want)
			return 1;
		n = recv(q->tcp_fd, q->tcp + q->tcp_have, want - q->tcp_have, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0)
			return -1;
		q->tcp_have += (size_t)n;
	}
}

static void tcp_event(struct immure_resolver *r, struct query *q, uint64_t now_ms)
{
	struct immure_dns_reply reply;
	struct part *p = &q->part[q->tcp_part];
	int k = pump_tcp(q), other = !q->tcp_part;

	if (k == 0)
		return;
	if (k < 0 || immure_dns_reply_parse(q->tcp + 2, q->tcp_have - 2, p->id, q->name, p->type,
					    &reply) < 0 || reply.truncated)
		p->failed = true;
	else
		take(p, &reply);
	close_tcp(q);
	/* The other one was cut short as well, while this one was under way. */
	if (q->part[other].truncated && !q->part[other].done)
		start_tcp(r, q, other);
	consider(r, q, now_ms);
}

/* ---- over UDP ---- */

static void udp_event(struct immure_resolver *r, struct query *q, uint64_t now_ms)
{
	unsigned char msg[4096];
	struct immure_dns_reply reply;

	for (;;) {
		ssize_t n = recv(q->udp_fd, msg, sizeof(msg), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* ECONNREFUSED: nobody is there */
			next_try(r, q, false, now_ms);
			return;
		}
		for (int i = 0; i < 2; i++) {
			struct part *p = &q->part[i];

			if (!p->wanted || p->done || p->failed)
				continue;
			/* What does not answer exactly this may be forged: go on
			 * waiting. */
			if (immure_dns_reply_parse(msg, (size_t)n, p->id, q->name, p->type,
						   &reply) < 0)
				continue;
			p->truncated = reply.truncated;
			if (reply.truncated)
				start_tcp(r, q, i);
			else
				take(p, &reply);
			break;
		}
	}
	consider(r, q, now_ms);
}

void immure_resolver_event(struct immure_resolver *r, uint32_t number, uint64_t now_ms)
{
	struct query *q = &r->q[number / 2 % IMMURE_RESOLVER_QUERIES];

	/* An event of a slot that was given away meanwhile finds nothing to read. */
	if (!q->used)
		return;
	if (number % 2 && q->tcp_part >= 0)
		tcp_event(r, q, now_ms);
	else if (number % 2 == 0 && q->udp_fd >= 0)
		udp_event(r, q, now_ms);
}

/* ---- asking ---- */

static int wait_for(struct query *q, uint64_t who)
{
	if (q->who_n == q->who_cap) {
		size_t cap = q->who_cap ? q->who_cap * 2 : 4;
		uint64_t *l = realloc(q->who, cap * sizeof(*l));

		if (!l)
			return -ENOMEM;
		q->who = l;
		q->who_cap = cap;
	}
	q->who[q->who_n++] = who;
	return 0;
}

int immure_resolver_ask(struct immure_resolver *r, const char *name, bool six, uint64_t who,
			uint32_t limit_ms, uint64_t now_ms, struct immure_inet *ret,
			size_t *ret_n)
{
	struct query *q = NULL;
	int k;

	if (known(r, name, six, now_ms, ret, ret_n))
		return 1;
	for (size_t i = 0, seen = 0; i < IMMURE_RESOLVER_QUERIES && seen < r->used; i++) {
		if (!r->q[i].used)
			continue;
		seen++;
		if (r->q[i].part[1].wanted == six && strcmp(r->q[i].name, name) == 0)
			return wait_for(&r->q[i], who);
	}
	for (size_t i = 0; i < IMMURE_RESOLVER_QUERIES && !q; i++)
		if (!r->q[i].used)
			q = &r->q[i];
	if (!q)
		return -ENOBUFS;
	memset(q, 0, sizeof(*q));
	q->udp_fd = q->tcp_fd = q->tcp_part = -1;
	k = wait_for(q, who);
	if (k < 0)
		return k;
	q->used = true;
	r->used++;
	(void)strncpy(q->name, name, sizeof(q->name) - 1);
	q->part[0] = (struct part){ .type = IMMURE_DNS_A, .wanted = true };
	q->part[1] = (struct part){ .type = IMMURE_DNS_AAAA, .wanted = six };
	q->end_ms = now_ms + limit_ms;
	/* Whatever comes of the first try, the callback is not called from here: a
	 * failure to send shows at the next tick. */
	if (put_try(r, q) < 0)
		q->try_ms = now_ms;
	else
		q->try_ms = now_ms + (limit_ms < FIRST_MS ? limit_ms : FIRST_MS);
	return 0;
}

void immure_resolver_forget(struct immure_resolver *r, uint64_t who)
{
	for (size_t i = 0, seen = 0; i < IMMURE_RESOLVER_QUERIES && seen < r->used; i++) {
		struct query *q = &r->q[i];

		if (!q->used)
			continue;
		seen++;
		for (size_t k = 0; k < q->who_n; k++)
			if (q->who[k] == who)
				q->who[k--] = q->who[--q->who_n];
	}
}

uint64_t immure_resolver_due(const struct immure_resolver *r)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0, seen = 0; i < IMMURE_RESOLVER_QUERIES && seen < r->used; i++) {
		if (!r->q[i].used)
			continue;
		seen++;
		if (r->q[i].try_ms < due)
			due = r->q[i].try_ms;
	}
	return due;
}

void immure_resolver_tick(struct immure_resolver *r, uint64_t now_ms)
{
	for (size_t i = 0; i < IMMURE_RESOLVER_QUERIES && r->used; i++) {
		struct query *q = &r->q[i];

		if (!q->used || q->try_ms > now_ms)
			continue;
		if (q->part[0].n || q->part[1].n)
			finish(r, q, -ENOENT, now_ms); /* what there is will do */
		else
			next_try(r, q, false, now_ms);
	}
}

void immure_resolver_free(struct immure_resolver *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < IMMURE_RESOLVER_QUERIES; i++)
		if (r->q[i].used)
			release(r, &r->q[i]);
	for (size_t i = 0; i < KEPT; i++)
		free(r->kept[i]);
	free(r);
}
