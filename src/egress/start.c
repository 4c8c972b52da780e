/* SPDX-License-Identifier: Apache-2.0 */
/* From an empty process to one that is closed in and ready; and rules that replace
 * the ones in force. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "egress/confine.h"
#include "egress/worker.h"

/* Beside connections: listeners, questions, pipes, spare sockets. */
enum { FDS_BESIDE = 700, FDS_A_CONNECTION = 3 };
/* What all connections may hold together. */
enum { MEMORY_MAX = 256 << 20 };

int immure_worker_watch(struct worker *w, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event e = { .events = events };

	e.data.u64 = tag;
	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int failed(struct worker *w, int r, const char *why)
{
	if (r < 0)
		w->why = why;
	return r;
}

/* ---- rules ---- */

static int load(struct worker *w, int fd, struct immure_arena *a, struct immure_egress_config *c,
		struct immure_judge *j, char *why, size_t len)
{
	struct immure_complaint complaint = { 0 };
	int r = immure_egress_config_load(a, fd, c);

	if (r < 0) {
		(void)snprintf(why, len, "the config cannot be read: %s", strerror(-r));
		return r;
	}
	r = immure_judge_init(a, &c->allow, &c->deny, j, &complaint);
	if (r < 0) {
		(void)snprintf(why, len, "a rule cannot be read: %s", complaint.text);
		return r;
	}
	r = immure_judge_secrets(a, &c->secret, j, &complaint);
	if (r < 0) {
		(void)snprintf(why, len, "where a secret goes cannot be read: %s", complaint.text);
		return r;
	}
	j->private_ok = c->private_ok;
	j->refuse_ech = c->refuse_ech;
	j->own = w->own.net;
	j->own_n = w->own.n;
	return 0;
}

void immure_worker_rejudge(struct worker *w)
{
	for (uint32_t i = 0; i < w->conns_n; i++)
		if (w->conns[i]->state != CONN_FREE)
			immure_flow_rejudge(w, w->conns[i]);
}

static void set_connections(struct worker *w)
{
	uint64_t most = 64;

	if (w->fds_max > FDS_BESIDE + 64 * FDS_A_CONNECTION)
		most = (w->fds_max - FDS_BESIDE) / FDS_A_CONNECTION;
	w->connections_max = w->config.limits.connections;
	if (w->connections_max > most)
		w->connections_max = (uint32_t)most;
}

int immure_worker_policy(struct worker *w, int config_fd, char *ret_why, size_t len)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_arena old_arena = w->arena;
	struct immure_egress_config c;
	struct immure_judge j, old = w->judge;
	int r = load(w, config_fd, &a, &c, &j, ret_why, len);

	if (r == 0) /* where the next worker's names start; ours are where they are */
		c.first_name = w->config.first_name;
	c.intercepts = w->config.intercepts; /* it has a link, or has lost it */
	if (r == 0 && !immure_egress_config_can_replace(&w->config, &c)) {
		(void)snprintf(ret_why, len, "something changed that cannot while the worker runs");
		r = -EINVAL;
	}
	if (r < 0) {
		immure_arena_done(&a);
		return r == -ENOMEM ? r : -EINVAL;
	}
	w->arena = a;
	w->config = c;
	w->judge = j;
	w->judge.intercepts = w->link_fd >= 0;
	set_connections(w);
	immure_worker_rejudge(w);
	r = immure_pairs_change(w, &old);
	immure_arena_done(&old_arena);
	if (r < 0) {
		/* The judge is the new one in any case; what is caught may be less. */
		(void)snprintf(ret_why, len, "the rules are in force, but the plumbing is not: %s",
			       strerror(-r));
	}
	return r;
}

/* ---- start ---- */

/* Every descriptor of START goes to its place; what is left over is closed. */
static void place_fds(struct worker *w, const struct immure_wire_start *s, int *fds)
{
	size_t at = 1;

	for (unsigned int i = 0; i < IMMURE_NETPLUMB_MAX; i++) {
		w->net.fd[i] = -1;
		if (s->present & 1U << i)
			w->net.fd[i] = immure_take_fd(&fds[at++]);
	}
	for (uint32_t i = 0; i < s->publish_n; i++)
		w->publish_fd[i] = immure_take_fd(&fds[at++]);
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		unsigned int from = v6 ? IMMURE_NETPLUMB_SPARE6 : IMMURE_NETPLUMB_SPARE4;

		for (unsigned int i = 0; i < IMMURE_NETPLUMB_SPARE; i++)
			if (w->net.fd[from + i] >= 0)
				w->spare[v6][w->spare_n[v6]++] = immure_take_fd(&w->net.fd[from + i]);
	}
	w->net.with_v6 = s->with_v6;
	w->net.with_nft = s->with_nft;
	w->handed = s->handed;
}

/* A session without a network publishes ports all the same: then there is nothing
 * but the spare sockets to dial in by. */
static bool ports_only(const struct worker *w)
{
	for (unsigned int i = 0; i < IMMURE_NETPLUMB_SPARE4; i++)
		if (w->net.fd[i] >= 0)
			return false;
	return w->config.publish_n > 0 && w->config.allow.n == 0;
}

static int plumbing_is_whole(const struct worker *w)
{
	const int *fd = w->net.fd;

	if (ports_only(w) || w->handed)
		return 0;
	if (fd[IMMURE_NETPLUMB_DNS_UDP] < 0 || fd[IMMURE_NETPLUMB_DNS_TCP] < 0 ||
	    fd[IMMURE_NETPLUMB_ROUTE] < 0)
		return -EINVAL;
	if (w->net.with_nft && (fd[IMMURE_NETPLUMB_NFT] < 0 || fd[IMMURE_NETPLUMB_TCP4] < 0))
		return -EINVAL;
	if (w->net.with_nft && w->net.with_v6 && fd[IMMURE_NETPLUMB_TCP6] < 0)
		return -EINVAL;
	return 0;
}

static int make_own(struct worker *w)
{
	struct immure_judge_net fixed[2] = { { .kind = IMMURE_HOST_NET4 },
					     { .kind = IMMURE_HOST_NET6 } };
	const struct immure_synth_config *s = &w->config.synth;

	memcpy(fixed[0].address, s->prefix4, 4);
	fixed[0].bits = s->bits4;
	memcpy(fixed[1].address, s->prefix6, 16);
	fixed[1].bits = s->bits6;
	return immure_own_init(&w->own, fixed, 2);
}

static int make_names(struct worker *w)
{
	struct immure_synth_config s = w->config.synth;
	int r;

	s.first = w->config.first_name;
	r = immure_synth_new(&s, &w->synth);
	if (r == 0)
		r = immure_rtnl_range_from(false, s.prefix4, s.bits4, &w->routes.v4);
	if (r == 0)
		r = immure_rtnl_range_from(true, s.prefix6, s.bits6, &w->routes.v6);
	w->routes.with_v6 = w->net.with_v6;
	w->told_upto = s.first;
	if (r == 0)
		r = immure_handed_init(w);
	return r == 0 ? immure_names_init(w) : r;
}

static int watch_fixed(struct worker *w)
{
	int r = immure_worker_watch(w, w->control_fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_CONTROL, 0, 0, 0));

	if (r == 0)
		r = immure_worker_watch(w, w->own.fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_OWN, 0, 0, 0));
	if (r == 0 && w->link_fd >= 0)
		r = immure_worker_watch(w, w->link_fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_LINK, 0, 0, 0));
	if (r == 0 && w->net.fd[IMMURE_NETPLUMB_DNS_UDP] >= 0)
		r = immure_worker_watch(w, w->net.fd[IMMURE_NETPLUMB_DNS_UDP], EPOLLIN,
					IMMURE_TAG(IMMURE_TAG_DNS_UDP, 0, 0, 0));
	if (r == 0 && w->net.fd[IMMURE_NETPLUMB_DNS_TCP] >= 0)
		r = immure_worker_watch(w, w->net.fd[IMMURE_NETPLUMB_DNS_TCP], EPOLLIN,
					IMMURE_TAG(IMMURE_TAG_DNS_TCP, 0, 0, 0));
	for (unsigned int i = IMMURE_NETPLUMB_PROXY; i <= IMMURE_NETPLUMB_PROXY6 && r == 0; i++)
		if (w->net.fd[i] >= 0)
			r = immure_worker_watch(w, w->net.fd[i], EPOLLIN,
						IMMURE_TAG(IMMURE_TAG_PROXY, 0, 0, i));
	if (r == 0 && w->net.fd[IMMURE_NETPLUMB_REFUSALS] >= 0)
		r = immure_worker_watch(w, w->net.fd[IMMURE_NETPLUMB_REFUSALS], EPOLLIN,
					IMMURE_TAG(IMMURE_TAG_REFUSED, 0, 0, 0));
	for (uint32_t i = 0; i < w->config.publish_n && r == 0; i++)
		r = immure_worker_watch(w, w->publish_fd[i], EPOLLIN,
					IMMURE_TAG(IMMURE_TAG_PUBLISH, 0, 0, i));
	return r;
}

static int make_all(struct worker *w)
{
	int r = failed(w, make_own(w), "this host's own addresses");

	if (r == 0) {
		w->judge.own = w->own.net;
		w->judge.own_n = w->own.n;
		r = failed(w, immure_hostconf_read(&w->host), "resolv.conf and hosts");
	}
	if (r == 0)
		r = failed(w, make_names(w), "synthetic addresses");
	if (r == 0) {
		w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		r = failed(w, w->epoll_fd < 0 ? -errno : 0, "event loop");
	}
	if (r == 0)
		r = failed(w, immure_resolver_new(&w->host, w->epoll_fd,
						  IMMURE_TAG(IMMURE_TAG_QUERY, 0, 0, 0),
						  immure_flow_resolved, w, &w->resolver), "resolver");
	if (r == 0)
		r = failed(w, immure_pipes_init(&w->pipes, IMMURE_PIPES_MAX), "buffers");
	if (r == 0)
		r = failed(w, watch_fixed(w), "watching the plumbing");
	return r == 0 ? failed(w, immure_pairs_init(w), "rules by address") : r;
}

static int receive_link(struct worker *w)
{
	int fds[IMMURE_WIRE_FDS_MAX], r;
	struct immure_wire m;
	size_t n = 0;

	if (!w->config.intercepts)
		return 0;
	r = immure_wire_recv(w->control_fd, true, &m, fds, &n);
	if (r == 1 && m.type == IMMURE_WIRE_LINK)
		w->link_fd = immure_take_fd(&fds[0]);
	for (size_t i = 0; r == 1 && i < n; i++)
		immure_close(&fds[i]);
	w->judge.intercepts = w->link_fd >= 0;
	return w->link_fd >= 0 ? 0 : failed(w, r < 0 ? r : -EPROTO, "no LINK");
}

static int receive_start(struct worker *w)
{
	int fds[IMMURE_WIRE_FDS_MAX], r, flags;
	struct immure_wire m;
	char why[256] = "";
	size_t n = 0;

	r = immure_wire_recv(w->control_fd, true, &m, fds, &n);
	if (r == 0)
		return failed(w, -ECONNRESET, "the supervisor left");
	if (r < 0 || m.type != IMMURE_WIRE_START) {
		for (size_t i = 0; i < n; i++)
			immure_close(&fds[i]);
		return failed(w, r < 0 ? r : -EPROTO, "no START");
	}
	place_fds(w, &m.start, fds);
	r = load(w, fds[0], &w->arena, &w->config, &w->judge, why, sizeof(why));
	immure_close(&fds[0]);
	if (r < 0) {
		(void)snprintf(w->why_text, sizeof(w->why_text), "%s", why);
		return failed(w, r, w->why_text);
	}
	if (m.start.publish_n != w->config.publish_n)
		return failed(w, -EPROTO, "listeners and the publish list differ");
	r = receive_link(w);
	if (r < 0)
		return r;
	flags = fcntl(w->control_fd, F_GETFL);
	if (flags < 0 || fcntl(w->control_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return failed(w, -errno, "control socket");
	return failed(w, plumbing_is_whole(w), "a part of the plumbing is missing");
}

int immure_worker_start(struct worker *w)
{
	struct immure_wire m = { .type = IMMURE_WIRE_READY };
	struct rlimit l;
	int r;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return failed(w, -errno, "limits");
	w->fds_max = l.rlim_max;
	w->next_due = UINT64_MAX;
	w->out_end = &w->out;
	w->ready_end = &w->ready;
	r = receive_start(w);
	if (r == 0)
		r = make_all(w);
	if (r == 0)
		r = immure_confine("egress", MEMORY_MAX, w->net.with_nft || w->handed,
				   &m.ready.landlock_abi, &w->why);
	if (r < 0)
		return r;
	set_connections(w);
	m.ready.connections = w->connections_max;
	immure_report(w, &m);
	return w->failed;
}

void immure_worker_done(struct worker *w)
{
	for (uint32_t i = 0; i < w->conns_n; i++) {
		immure_conn_close(w, w->conns[i], true);
		free(w->conns[i]);
	}
	free(w->conns);
	immure_resolver_free(w->resolver);
	immure_pipes_done(&w->pipes);
	immure_names_done(w);
	immure_handed_done(w);
	immure_synth_free(w->synth);
	immure_hostconf_done(&w->host);
	immure_own_done(&w->own);
	free(w->listeners);
	free(w->caught);
	immure_arena_done(&w->arena);
}
