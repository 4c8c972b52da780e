/* SPDX-License-Identifier: Apache-2.0 */
/* From an endpoint that was allowed to a connection: the name is resolved once,
 * every address is vetted, and what was vetted is what is dialled. A slow address
 * does not hold up the next one for long (RFC 8305, in short). */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/worker.h"

/* A slot that waits so long is given to an address that is not yet tried. */
enum { STAGGER_MS = 250, PATIENCE_MS = 2000 };

static void fail(struct worker *w, struct conn *c, enum immure_wire_step step, const char *why)
{
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&c->to, text), why);
	immure_conn_deny(w, c, step, &v);
}

static struct immure_inet inet_of(const struct immure_endpoint *e)
{
	struct immure_inet a = { .v6 = e->kind == IMMURE_HOST_NET6, .port = e->port };

	memcpy(a.addr, e->address, a.v6 ? 16 : 4);
	return a;
}

void immure_dial_resolve(struct worker *w, struct conn *c)
{
	struct immure_inet l[IMMURE_RESOLVER_ADDRESSES];
	size_t n = 0;
	int r;

	c->state = CONN_RESOLVE;
	if (c->to.kind != IMMURE_HOST_NAME) {
		l[0] = inet_of(&c->to);
		immure_dial_list(w, c, l, 1);
		return;
	}
	if (strcmp(c->to.name, "localhost") == 0) {
		l[0] = (struct immure_inet){ .addr = { 127, 0, 0, 1 } };
		l[1] = (struct immure_inet){ .v6 = true, .addr = { [15] = 1 } };
		immure_dial_list(w, c, l, 2);
		return;
	}
	r = immure_resolver_ask(w->resolver, c->to.name, w->own.global6, immure_conn_who(c),
				w->config.limits.resolve_ms, w->now_ms, l, &n);
	if (r == 1) {
		immure_dial_list(w, c, l, n);
	} else if (r == 0) {
		/* The resolver has its own end; this is for when it forgets. */
		immure_conn_due(w, c, w->now_ms + w->config.limits.resolve_ms + 5000);
		if (immure_resolver_due(w->resolver) < w->next_due)
			w->next_due = immure_resolver_due(w->resolver);
	} else {
		fail(w, c, IMMURE_WIRE_LIMIT, "too many names are being resolved");
	}
}

static int connect_to(int fd, const struct immure_inet *a)
{
	struct sockaddr_storage sa;
	socklen_t len = immure_inet_sockaddr(a, &sa);
	int r;

	do
		r = connect(fd, (struct sockaddr *)&sa, len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* 0: under way; -errno: this address cannot be dialled. */
static int dial(struct worker *w, struct conn *c, unsigned int slot, const struct immure_inet *a)
{
	int fd, r;

	if (c->kind == CONN_PUBLISHED) {
		if (!immure_worker_take_spare(w, a->v6, &fd))
			return -EAGAIN;
	} else {
		fd = immure_netsock_tcp(a->v6);
	}
	if (fd < 0)
		return fd;
	r = connect_to(fd, a);
	if (r == 0 || r == -EINPROGRESS)
		r = immure_worker_watch(w, fd, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
					IMMURE_TAG(IMMURE_TAG_CONN, 1 + slot, c->life, c->index));
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	c->dial_fd[slot] = fd;
	c->dial_ms[slot] = w->now_ms;
	return 0;
}

static bool under_way(const struct conn *c)
{
	for (unsigned int i = 0; i < CONN_DIALS; i++)
		if (c->dial_fd[i] >= 0)
			return true;
	return false;
}

static int free_slot(const struct conn *c)
{
	for (int i = 0; i < CONN_DIALS; i++)
		if (c->dial_fd[i] < 0)
			return i;
	return -1;
}

/* How long a dial may take: less while others wait for its place. */
static uint64_t end_of(const struct worker *w, const struct conn *c, unsigned int slot)
{
	uint64_t most = w->config.limits.dial_ms;

	if (c->addrs_at < c->addrs_n && free_slot(c) < 0 && most > PATIENCE_MS)
		most = PATIENCE_MS;
	return c->dial_ms[slot] + most;
}

static void set_due(struct worker *w, struct conn *c)
{
	uint64_t due = UINT64_MAX, newest = 0;

	for (unsigned int i = 0; i < CONN_DIALS; i++) {
		if (c->dial_fd[i] < 0)
			continue;
		if (end_of(w, c, i) < due)
			due = end_of(w, c, i);
		if (c->dial_ms[i] > newest)
			newest = c->dial_ms[i];
	}
	if (c->addrs_at < c->addrs_n && free_slot(c) >= 0 && newest + STAGGER_MS < due)
		due = newest + STAGGER_MS;
	immure_conn_due(w, c, due);
}

/* The next address, in a free slot. */
static void dial_next(struct worker *w, struct conn *c, int error)
{
	int slot = free_slot(c);

	while (c->addrs_at < c->addrs_n && slot >= 0) {
		const struct immure_inet *a = &c->addrs[c->addrs_at++];
		int r = dial(w, c, (unsigned int)slot, a);

		if (r == 0) {
			c->dialled[slot] = *a;
			set_due(w, c);
			return;
		}
		error = -r;
	}
	if (under_way(c)) {
		set_due(w, c);
		return;
	}
	if (c->to.kind == IMMURE_HOST_NAME)
		immure_resolver_drop(w->resolver, c->to.name);
	fail(w, c, IMMURE_WIRE_UNREACHED, strerror(error ? error : ETIMEDOUT));
}

void immure_dial_list(struct worker *w, struct conn *c, const struct immure_inet *l, size_t n)
{
	struct immure_verdict v = { 0 }, refused = { 0 };

	free(c->addrs);
	c->addrs = calloc(n, sizeof(*c->addrs));
	c->addrs_n = c->addrs_at = 0;
	if (!c->addrs) {
		fail(w, c, IMMURE_WIRE_LIMIT, "out of memory");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		enum immure_host_kind kind = l[i].v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;

		if (immure_vet_address(&w->judge, &c->to, kind, l[i].addr, &v) ==
		    IMMURE_VERDICT_ALLOW) {
			c->addrs[c->addrs_n] = l[i];
			c->addrs[c->addrs_n++].port = c->to.port;
		} else if (!refused.why[0]) {
			refused = v;
		}
	}
	if (c->addrs_n == 0) {
		immure_conn_deny(w, c, IMMURE_WIRE_DIAL, &refused);
		return;
	}
	c->state = CONN_DIAL;
	dial_next(w, c, 0);
}

/* ---- into the session ---- */

void immure_dial_spare(struct worker *w, struct conn *c)
{
	if (c->addrs_at == 0 && w->spare_n[0] == 0) {
		immure_worker_want(w);
		if (c->state != CONN_SPARE) {
			c->state = CONN_SPARE;
			immure_conn_due(w, c, w->now_ms + w->config.limits.dial_ms);
		}
		return;
	}
	c->state = CONN_DIAL;
	dial_next(w, c, 0);
}

/* ---- how it went ---- */

static void connected(struct worker *w, struct conn *c, unsigned int slot, uint32_t events)
{
	for (unsigned int i = 0; i < CONN_DIALS; i++)
		if (i != slot)
			immure_close(&c->dial_fd[i]);
	c->peer = c->dialled[slot];
	c->side = 1 + slot;
	free(c->addrs);
	c->addrs = NULL;
	if (c->kind == CONN_CONNECT || c->kind == CONN_SOCKS)
		immure_look_reply(c, IMMURE_SOCKS5_OK, NULL, NULL);
	if (c->look & IMMURE_LOOK_INTERCEPT)
		immure_lend(w, c);
	else if (c->look)
		immure_look_start(w, c);
	else
		immure_relaying_start(w, c, events);
}

void immure_dial_event(struct worker *w, struct conn *c, unsigned int slot, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);
	struct sockaddr_storage sa;
	socklen_t sa_len = sizeof(sa);

	if (c->dial_fd[slot] < 0)
		return;
	/* Writable and no error: what is under way is neither. */
	if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == EPOLLOUT) {
		connected(w, c, slot, events);
		return;
	}
	if (getsockopt(c->dial_fd[slot], SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		immure_close(&c->dial_fd[slot]);
		dial_next(w, c, error);
		return;
	}
	/* Without a peer it is still under way: something else woke us. */
	if (getpeername(c->dial_fd[slot], (struct sockaddr *)&sa, &sa_len) < 0)
		return;
	connected(w, c, slot, events);
}

void immure_dial_due(struct worker *w, struct conn *c)
{
	for (unsigned int i = 0; i < CONN_DIALS; i++)
		if (c->dial_fd[i] >= 0 && w->now_ms >= end_of(w, c, i))
			immure_close(&c->dial_fd[i]);
	dial_next(w, c, ETIMEDOUT);
}
