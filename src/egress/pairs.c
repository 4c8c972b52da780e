/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is caught in the session's namespace: (address, port) pairs of names, wide
 * ranges of ports, and networks that rules name by address. What is not caught the
 * kernel refuses, which is quicker and plainer than accepting and resetting.
 *
 * With nf_tables these are elements and rules that lead to one listener; without,
 * each pair is a listener of its own, made of a spare socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/worker.h"
#include "kernel/nft.h"

enum { FEW = 16, LISTENERS_MAX = 2048, BACKLOG = 4096 };

/* ---- collected changes, sent by the dozen ---- */

struct batch {
	struct worker *w;
	bool add;
	struct immure_inet pair[IMMURE_NFT_PAIRS];
	size_t n;
	int error;
};

static void batch_send(struct batch *b)
{
	int r = 0;

	if (b->n && b->add)
		r = immure_nft_add(b->w->net.fd[IMMURE_NETPLUMB_NFT], b->pair, b->n);
	else if (b->n)
		r = immure_nft_remove(b->w->net.fd[IMMURE_NETPLUMB_NFT], b->pair, b->n);
	/* One that is not there spoils all: then one by one. */
	if (r == -ENOENT && !b->add)
		for (size_t i = 0; i < b->n; i++) {
			r = immure_nft_remove(b->w->net.fd[IMMURE_NETPLUMB_NFT], &b->pair[i], 1);
			r = r == -ENOENT ? 0 : r;
			if (r < 0)
				break;
		}
	b->n = 0;
	if (r < 0 && !b->error)
		b->error = r;
}

static void batch_put(struct batch *b, const struct immure_inet *a)
{
	if (b->n == IMMURE_NFT_PAIRS)
		batch_send(b);
	b->pair[b->n++] = *a;
}

/* ---- listeners of their own ---- */

static struct listener *listener_at(struct worker *w, const struct immure_inet *a)
{
	for (size_t i = 0; i < w->listeners_n; i++)
		if (!w->listeners[i].fixed && w->listeners[i].fd >= 0 &&
		    w->listeners[i].at.v6 == a->v6 && w->listeners[i].at.port == a->port &&
		    memcmp(w->listeners[i].at.addr, a->addr, sizeof(a->addr)) == 0)
			return &w->listeners[i];
	return NULL;
}

static int new_listener(struct worker *w, int *fd, const struct immure_inet *at, bool fixed)
{
	size_t i = 0;
	int r;

	while (i < w->listeners_n && w->listeners[i].fd >= 0)
		i++;
	if (i == LISTENERS_MAX)
		return -ENOBUFS;
	if (i == w->listeners_cap) {
		size_t cap = w->listeners_cap ? w->listeners_cap * 2 : 8;
		struct listener *l = realloc(w->listeners, cap * sizeof(*l));

		if (!l)
			return -ENOMEM;
		w->listeners = l;
		w->listeners_cap = cap;
	}
	r = immure_worker_watch(w, *fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_LISTEN, 0, 0, i));
	if (r < 0)
		return r;
	w->listeners[i] = (struct listener){ .fd = immure_take_fd(fd), .fixed = fixed };
	if (at)
		w->listeners[i].at = *at;
	if (i == w->listeners_n)
		w->listeners_n++;
	return 0;
}

static bool listener_room(const struct worker *w)
{
	if (w->listeners_n < LISTENERS_MAX)
		return true;
	for (size_t i = 0; i < w->listeners_n; i++)
		if (w->listeners[i].fd < 0)
			return true;
	return false;
}

static int listen_on(struct worker *w, const struct immure_inet *a)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int r;

	if (listener_at(w, a))
		return 0;
	if (!listener_room(w)) /* before a socket is used up for nothing */
		return -ENOBUFS;
	if (!immure_worker_take_spare(w, a->v6, &fd)) {
		immure_worker_want(w);
		return -EAGAIN;
	}
	r = immure_netsock_listen_on(fd, a, BACKLOG);
	/* A server of the session's own has it: it has it. */
	if (r == -EADDRINUSE)
		return 0;
	return r < 0 ? r : new_listener(w, &fd, a, false);
}

/* ---- one name ---- */

static void endpoint_of(struct immure_endpoint *e, const char *name)
{
	memset(e, 0, sizeof(*e));
	e->kind = IMMURE_HOST_NAME;
	memcpy(e->name, name, strlen(name) + 1);
}

static struct immure_inet address_of(const struct worker *w, bool v6, uint32_t number)
{
	struct immure_inet a = { .v6 = v6 };

	immure_synth_address(w->synth, v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4, number, a.addr);
	return a;
}

static int range_rule(struct worker *w, const struct immure_inet *a, struct immure_port_range p)
{
	struct immure_nft_range r = { .at = *a, .lo = p.lo, .hi = p.hi };

	return immure_nft_range_add(w->net.fd[IMMURE_NETPLUMB_NFT], w->port4, w->port6, &r, 1);
}

static bool wide(struct immure_port_range p)
{
	return p.hi - p.lo >= FEW;
}

static int catch_caught(struct worker *w, const struct immure_port_range *l, size_t n,
			uint32_t number)
{
	struct batch b = { .w = w, .add = true };

	for (int v6 = 0; v6 <= (w->net.with_v6 ? 1 : 0); v6++) {
		struct immure_inet a = address_of(w, v6, number);

		for (size_t i = 0; i < n && !b.error; i++) {
			if (wide(l[i])) {
				b.error = range_rule(w, &a, l[i]);
				continue;
			}
			for (unsigned int p = l[i].lo; p <= l[i].hi; p++) {
				a.port = (uint16_t)p;
				batch_put(&b, &a);
			}
		}
	}
	batch_send(&b);
	return b.error;
}

static int catch_listening(struct worker *w, const struct immure_port_range *l, size_t n,
			   uint32_t number)
{
	int worst = 0;

	for (int v6 = 0; v6 <= (w->net.with_v6 ? 1 : 0); v6++) {
		struct immure_inet a = address_of(w, v6, number);

		for (size_t i = 0; i < n; i++) {
			if (wide(l[i]))
				return -EOPNOTSUPP;
			for (unsigned int p = l[i].lo; p <= l[i].hi; p++) {
				int r;

				a.port = (uint16_t)p;
				r = listen_on(w, &a);
				if (r < 0 && r != -EAGAIN)
					return r;
				if (r < 0)
					worst = r;
			}
		}
	}
	return worst;
}

static unsigned char *caught_of(struct worker *w, uint32_t number)
{
	size_t i = number - w->config.first_name;

	if (i >= w->caught_cap) {
		size_t cap = w->caught_cap ? w->caught_cap : 256;
		unsigned char *l;

		while (cap <= i)
			cap *= 2;
		l = realloc(w->caught, cap);
		if (!l)
			return NULL;
		memset(l + w->caught_cap, 0, cap - w->caught_cap);
		w->caught = l;
		w->caught_cap = cap;
	}
	return &w->caught[i];
}

int immure_pairs_name(struct worker *w, const char *name, uint32_t number)
{
	struct immure_port_range l[IMMURE_JUDGE_PORTS];
	unsigned char *caught = caught_of(w, number);
	struct immure_endpoint e;
	size_t n;
	int r;

	if (!caught)
		return -ENOMEM;
	if (*caught || w->handed) /* each connection is asked for */
		return 0;
	endpoint_of(&e, name);
	n = immure_judge_ports(&w->judge, &e, l);
	r = w->net.with_nft ? catch_caught(w, l, n, number) : catch_listening(w, l, n, number);
	if (r == 0)
		*caught = 1;
	return r;
}

static const char *name_of(const struct worker *w, uint32_t number)
{
	struct immure_inet a = address_of(w, false, number);

	return immure_synth_name(w->synth, IMMURE_HOST_NET4, a.addr);
}

void immure_pairs_missing(struct worker *w)
{
	uint32_t n = immure_synth_count(w->synth), first = w->config.first_name;

	for (uint32_t i = 0; i < n; i++)
		if (i < w->caught_cap && !w->caught[i])
			(void)immure_pairs_name(w, name_of(w, first + i), first + i); /* or later */
}

/* ---- changed rules ---- */

static bool in_ranges(const struct immure_port_range *l, size_t n, unsigned int port)
{
	for (size_t i = 0; i < n; i++)
		if (port >= l[i].lo && port <= l[i].hi && !wide(l[i]))
			return true;
	return false;
}

/* Of the pairs of one name, those that are in `has` and not in `lacks`. */
static void difference(struct batch *b, uint32_t number, const struct immure_port_range *has,
		       size_t has_n, const struct immure_port_range *lacks, size_t lacks_n)
{
	for (int v6 = 0; v6 <= (b->w->net.with_v6 ? 1 : 0); v6++) {
		struct immure_inet a = address_of(b->w, v6, number);

		for (size_t i = 0; i < has_n; i++)
			for (unsigned int p = has[i].lo; p <= has[i].hi && !wide(has[i]); p++) {
				if (in_ranges(lacks, lacks_n, p))
					continue;
				a.port = (uint16_t)p;
				batch_put(b, &a);
			}
	}
}

/* First what goes of all names, then what comes. */
static int change_pairs(struct worker *w, const struct immure_judge *old, bool add)
{
	uint32_t n = immure_synth_count(w->synth), first = w->config.first_name;
	struct batch b = { .w = w, .add = add };

	for (uint32_t i = 0; i < n && !b.error; i++) {
		struct immure_port_range was[IMMURE_JUDGE_PORTS], is[IMMURE_JUDGE_PORTS];
		struct immure_endpoint e;
		size_t was_n, is_n;

		if (i >= w->caught_cap || !w->caught[i])
			continue;
		endpoint_of(&e, name_of(w, first + i));
		was_n = immure_judge_ports(old, &e, was);
		is_n = immure_judge_ports(&w->judge, &e, is);
		if (add)
			difference(&b, first + i, is, is_n, was, was_n);
		else
			difference(&b, first + i, was, was_n, is, is_n);
		for (size_t k = 0; k < is_n && add && !b.error; k++)
			for (int v6 = 0; v6 <= (w->net.with_v6 ? 1 : 0) && wide(is[k]); v6++) {
				struct immure_inet a = address_of(w, v6, first + i);

				b.error = range_rule(w, &a, is[k]);
			}
	}
	batch_send(&b);
	return b.error;
}

static bool wanted_as(const struct worker *w, const struct immure_endpoint *e, uint16_t port)
{
	struct immure_port_range l[IMMURE_JUDGE_PORTS];

	return in_ranges(l, immure_judge_ports(&w->judge, e, l), port);
}

/* Whether some rule still leads to this listener. */
static bool is_wanted(const struct worker *w, const struct immure_inet *at)
{
	enum immure_host_kind kind = at->v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;
	const char *name = immure_synth_name(w->synth, kind, at->addr);
	struct immure_endpoint e;

	if (name) {
		endpoint_of(&e, name);
		return wanted_as(w, &e, at->port);
	}
	immure_endpoint_address(&e, kind, at->addr);
	if (wanted_as(w, &e, at->port))
		return true;
	endpoint_of(&e, "localhost");
	return (at->v6 || at->addr[0] == 127) && wanted_as(w, &e, at->port);
}

/* Listeners that no rule wants any more are closed; the names are looked at
 * anew when sockets are there. */
static int change_listeners(struct worker *w)
{
	uint32_t n = immure_synth_count(w->synth), first = w->config.first_name;

	for (size_t i = 0; i < w->listeners_n; i++) {
		struct listener *l = &w->listeners[i];

		if (l->fixed || l->fd < 0 || is_wanted(w, &l->at))
			continue;
		/* The supervisor may hold a copy: closing alone would not end it. */
		(void)shutdown(l->fd, SHUT_RDWR);
		immure_close(&l->fd);
	}
	for (uint32_t i = 0; i < n && i < w->caught_cap; i++) {
		int r;

		if (!w->caught[i])
			continue;
		w->caught[i] = 0;
		r = immure_pairs_name(w, name_of(w, first + i), first + i);
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return 0;
}

static int change_plumbing(struct worker *w, const struct immure_judge *old)
{
	int r;

	if (!w->net.with_nft) {
		r = change_listeners(w);
		return r < 0 ? r : immure_pairs_nets(w);
	}
	r = immure_nft_clear(w->net.fd[IMMURE_NETPLUMB_NFT], false, w->net.with_v6);
	if (r == 0)
		r = change_pairs(w, old, false);
	if (r == 0)
		r = change_pairs(w, old, true);
	return r < 0 ? r : immure_pairs_nets(w);
}

/* ---- by address ---- */

static size_t nets_of(const struct immure_judge *j, struct immure_rtnl_net *l)
{
	size_t n = 0;

	for (size_t i = 0; i < j->allow_n; i++) {
		const struct immure_netrule *r = &j->allow[i].rule;
		bool local = r->kind == IMMURE_HOST_NAME && strcmp(r->name, "localhost") == 0;
		bool six = r->kind == IMMURE_HOST_NET6;

		if (!local && !six && r->kind != IMMURE_HOST_NET4)
			continue;
		for (unsigned int k = 0; k < r->ports_n; k++) {
			struct immure_rtnl_net one = { .v6 = six, .bits = (uint8_t)r->prefix,
						       .lo = r->ports[k].lo, .hi = r->ports[k].hi };

			if (!local) {
				memcpy(one.addr, r->address, six ? 16 : 4);
				l[n++] = one;
				continue;
			}
			one.bits = 32;
			memcpy(one.addr, ((uint8_t[]){ 127, 0, 0, 1 }), 4);
			l[n++] = one;
			one.v6 = true;
			one.bits = 128;
			memset(one.addr, 0, 16);
			one.addr[15] = 1;
			l[n++] = one;
		}
	}
	return n;
}

static int listen_nets(struct worker *w, const struct immure_rtnl_net *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct immure_inet a = { .v6 = l[i].v6 };
		int r = 0;

		if (l[i].v6 && !w->net.with_v6)
			continue;
		if (l[i].bits != (l[i].v6 ? 128 : 32) || l[i].hi - l[i].lo >= FEW)
			return -EOPNOTSUPP;
		memcpy(a.addr, l[i].addr, sizeof(a.addr));
		r = immure_rtnl_add(w->net.fd[IMMURE_NETPLUMB_ROUTE], &w->routes, &l[i], 1);
		for (unsigned int p = l[i].lo; p <= l[i].hi && r == 0; p++) {
			a.port = (uint16_t)p;
			r = listen_on(w, &a);
			r = r == -EAGAIN ? 0 : r; /* SOCKETS brings us back */
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int immure_pairs_nets(struct worker *w)
{
	struct immure_rtnl_net *l = calloc(w->judge.allow_n * 4 + 1, sizeof(*l));
	size_t n;
	int r;

	if (!l)
		return -ENOMEM;
	n = nets_of(&w->judge, l);
	r = w->net.with_nft ? immure_netplumb_set_nets(&w->net, &w->routes, l, n) :
			      listen_nets(w, l, n);
	free(l);
	return r;
}

/* Routes to what no rule names any more. */
static int drop_nets(struct worker *w, const struct immure_judge *old)
{
	struct immure_rtnl_net *l = calloc((old->allow_n + w->judge.allow_n) * 4 + 1, sizeof(*l));
	size_t old_n, n;
	int r;

	if (!l)
		return -ENOMEM;
	old_n = nets_of(old, l);
	n = nets_of(&w->judge, l + old_n);
	r = immure_netplumb_drop_nets(&w->net, l, old_n, l + old_n, n);
	free(l);
	return r;
}

int immure_pairs_change(struct worker *w, const struct immure_judge *old)
{
	int r;

	if (w->handed)
		return 0;
	r = change_plumbing(w, old);
	return r < 0 ? r : drop_nets(w, old);
}

/* ---- the beginning ---- */

static int fixed_listener(struct worker *w, enum immure_netplumb_fd which, uint16_t *ret_port)
{
	struct immure_inet at = { 0 };
	int *fd = &w->net.fd[which], keep = *fd, r;

	if (*fd < 0)
		return 0;
	r = immure_netsock_local(*fd, &at);
	if (r < 0)
		return r;
	*ret_port = at.port;
	r = new_listener(w, fd, &at, true);
	*fd = keep; /* set_nets asks it for its port; the list closes it */
	return r;
}

int immure_pairs_init(struct worker *w)
{
	int r;

	if (w->handed)
		return 0;
	r = fixed_listener(w, IMMURE_NETPLUMB_TCP4, &w->port4);
	if (r == 0)
		r = fixed_listener(w, IMMURE_NETPLUMB_TCP6, &w->port6);
	/* Pairs of a worker before this one mean nothing to it. */
	if (r == 0 && w->net.with_nft)
		r = immure_nft_clear(w->net.fd[IMMURE_NETPLUMB_NFT], true, w->net.with_v6);
	return r == 0 ? immure_pairs_nets(w) : r;
}
