/* SPDX-License-Identifier: Apache-2.0 */
#include "session/gatekeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/refusals.h"
#include "session/gatekeep.h"
#include "session/gateproc.h"
#include "session/hostwatch.h"

/* A worker that a command can make end is a fault; that it ends over and over
 * is an attack, and no more connections are the answer. */
enum { DEATHS_MAX = 16, DEATHS_SECONDS = 60, ANSWER_MS = 2000, FINISH_MS = 1000 };

enum { TAG_ACTIVATE, TAG_WIRE, TAG_DEAD, TAG_HOST, TAG_BROKER, TAG_TLS };

static uint64_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec;
}

static bool watch(int epoll_fd, int fd, uint64_t tag)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = tag };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void unwatch(int epoll_fd, int fd)
{
	if (fd >= 0)
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* not in it is as good */
}

/* ---- life of the worker ---- */

/* Of what nobody read, because the worker was not yet there or did not run. */
static uint32_t dropped(const struct immure_gatekeeper *g)
{
	return immure_refusals_dropped(g->plumb.fd[IMMURE_NETPLUMB_REFUSALS]);
}

static void close_for_good(struct immure_gatekeeper *g, const char *why)
{
	if (g->state == IMMURE_GATE_CLOSED)
		return;
	g->state = IMMURE_GATE_CLOSED;
	(void)snprintf(g->closed_why, sizeof(g->closed_why), "%s", why);
	unwatch(g->epoll_fd, g->activate_fd);
	immure_close(&g->activate_fd);
	immure_close(&g->wire_fd);
	immure_close(&g->hostwatch_fd);
	immure_gateproc_end(g->within, &g->pid, &g->pidfd);
	immure_gate_tls_end(g);
	g->total.lost += dropped(g);
	immure_netplumb_done(&g->plumb);
	immure_broker_done(&g->broker);
	for (uint32_t i = 0; i < g->config.publish_n; i++)
		immure_close(&g->listeners[i]);
	immure_close(&g->userns_fd);
	immure_close(&g->netns_fd);
}

static void add_up(struct immure_wire_stats *to, const struct immure_wire_stats *s)
{
	to->connections_all += s->connections_all;
	to->bytes_out += s->bytes_out;
	to->bytes_in += s->bytes_in;
	to->lookups += s->lookups;
	to->denied += s->denied;
	to->failed += s->failed;
	to->lost += s->lost;
}

static void worker_ended(struct immure_gatekeeper *g)
{
	uint64_t now = now_s();

	unwatch(g->epoll_fd, g->wire_fd);
	unwatch(g->epoll_fd, g->pidfd);
	immure_broker_refuse(&g->broker);
	immure_close(&g->wire_fd);
	immure_gateproc_end(g->within, &g->pid, &g->pidfd);
	add_up(&g->total, &g->stats);
	memset(&g->stats, 0, sizeof(g->stats));
	g->unanswered = 0; /* the next one begins with them */
	g->deaths++;
	if (now - g->first_death > DEATHS_SECONDS) {
		g->first_death = now;
		g->recent = 0;
	}
	if (++g->recent > DEATHS_MAX) {
		close_for_good(g, "immure-egress ended too often");
		return;
	}
	g->state = IMMURE_GATE_IDLE;
	if (!watch(g->epoll_fd, g->activate_fd, TAG_ACTIVATE))
		close_for_good(g, "the listeners cannot be watched");
}

/* Only sessions that use their network take one of the user's inotify instances. */
static void watch_host(struct immure_gatekeeper *g)
{
	if (g->hostwatch_fd >= 0 || immure_hostwatch_open(&g->hostwatch_fd) < 0)
		return; /* without: names are resolved as at the start */
	if (!watch(g->epoll_fd, g->hostwatch_fd, TAG_HOST))
		immure_close(&g->hostwatch_fd);
}

static void host_changed(struct immure_gatekeeper *g)
{
	struct immure_wire m = { .type = IMMURE_WIRE_HOSTCONF };
	int fds[2];

	if (!immure_hostwatch_changed(g->hostwatch_fd) || g->state != IMMURE_GATE_RUNNING ||
	    immure_hostwatch_take(fds) < 0)
		return;
	(void)immure_wire_send(g->wire_fd, &m, fds, 2); /* lost: the next change brings it */
	immure_close(&fds[0]);
	immure_close(&fds[1]);
}

static int send_link(struct immure_gatekeeper *g)
{
	struct immure_wire m = { .type = IMMURE_WIRE_LINK };
	int link = immure_gate_tls_link(g), r = -EPIPE;

	if (link >= 0)
		r = immure_wire_send(g->wire_fd, &m, &link, 1);
	immure_close(&link);
	return r;
}

static void start_worker(struct immure_gatekeeper *g)
{
	IMMURE_CLEANUP_FD int config_fd = -1;
	int r;

	unwatch(g->epoll_fd, g->activate_fd);
	/* From before it reads the files itself; a worker that is started anew reads anew. */
	watch_host(g);
	r = immure_egress_config_seal(&g->config, &config_fd);
	if (r == 0)
		r = immure_gateproc_worker(g->program_fd, g->within, &g->pid, &g->pidfd, &g->wire_fd);
	if (r < 0) {
		close_for_good(g, "immure-egress could not be started");
		return;
	}
	g->state = IMMURE_GATE_RUNNING;
	g->starts++;
	r = immure_wire_send_start(g->wire_fd, config_fd, &g->plumb, g->listeners, g->config.publish_n,
				   g->broker.listener_fd < 0 ? 0 : g->proxy ? 2 : 1);
	if (r == 0 && g->config.intercepts)
		r = send_link(g);
	/* A worker's spare sockets end with it; the next one gets others. */
	for (unsigned int i = IMMURE_NETPLUMB_SPARE4; i < IMMURE_NETPLUMB_MAX; i++)
		immure_close(&g->plumb.fd[i]);
	if (r < 0 || !watch(g->epoll_fd, g->wire_fd, TAG_WIRE) ||
	    !watch(g->epoll_fd, g->pidfd, TAG_DEAD))
		worker_ended(g);
}

bool immure_gate_wake(struct immure_gatekeeper *g)
{
	if (g->state == IMMURE_GATE_IDLE)
		start_worker(g);
	return g->state == IMMURE_GATE_RUNNING;
}

/* ---- events ---- */

void immure_gatekeeper_step(struct immure_gatekeeper *g)
{
	struct epoll_event e[6];
	int n;

	if (!g || g->epoll_fd < 0)
		return;
	n = epoll_wait(g->epoll_fd, e, 6, 0);
	for (int i = 0; i < n; i++) {
		if (e[i].data.u64 == TAG_ACTIVATE && g->state == IMMURE_GATE_IDLE)
			start_worker(g);
		else if (e[i].data.u64 == TAG_HOST && g->hostwatch_fd >= 0)
			host_changed(g);
		else if (e[i].data.u64 == TAG_TLS)
			immure_gate_tls_step(g);
		else if (e[i].data.u64 == TAG_BROKER && g->broker.listener_fd >= 0)
			immure_broker_step(g);
		else if (g->state != IMMURE_GATE_RUNNING)
			continue; /* of a worker whose end was dealt with just before */
		else if (e[i].data.u64 == TAG_WIRE && !immure_gate_hear(g))
			worker_ended(g);
		else if (e[i].data.u64 == TAG_DEAD) {
			(void)immure_gate_hear(g); /* what it said counts */
			worker_ended(g);
		}
	}
}

int immure_gatekeeper_fd(const struct immure_gatekeeper *g)
{
	return g && g->state != IMMURE_GATE_CLOSED ? g->epoll_fd : -1;
}

/* ---- taking over ---- */

static int32_t adopt_broker(struct immure_gatekeeper *g, struct immure_error **err)
{
	int r = immure_brokersock_check(&g->plumb.with_v6);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "network", "",
				   "sockets that cannot send cannot be made: %s", strerror(-r));
	(void)snprintf(g->way, sizeof(g->way), "%s", IMMURE_NETPLUMB_WAY_MADE);
	if (!watch(g->epoll_fd, g->broker.listener_fd, TAG_BROKER))
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "network", "",
				   "the session's network cannot be watched");
	return 0;
}

void immure_gatekeeper_metadata(struct immure_gatekeeper *g, const struct immure_metadata *m)
{
	if (g)
		g->metadata = m;
}

int32_t immure_gatekeeper_adopt(struct immure_gatekeeper *g, const struct immure_init_msg *m,
				int *fds, size_t n, int init_pid, struct immure_error **err)
{
	size_t at = 0, want = 0;

	for (uint32_t bit = 0; bit < 32; bit++)
		want += m->net_fds >> bit & 1;
	if (!g || g->adopted || want != n) {
		for (size_t i = 0; i < n; i++)
			immure_close(&fds[i]);
		return !g ? 0 : immure_fail(err, IMMURE_ERR_LAUNCH, EPROTO, "network", "",
					    "the session's network was not handed over whole");
	}
	g->adopted = true;
	g->init_pid = init_pid;
	g->plumb.with_v6 = m->net_flags & IMMURE_INIT_NET_V6;
	g->plumb.with_nft = m->net_flags & IMMURE_INIT_NET_NFT;
	g->plumb.ports_relaxed = m->net_flags & IMMURE_INIT_NET_PORTS;
	for (uint32_t bit = 0; bit < 32; bit++) {
		int fd = m->net_fds >> bit & 1 ? immure_take_fd(&fds[at++]) : -1;

		if (bit < IMMURE_NETPLUMB_MAX)
			g->plumb.fd[bit] = fd;
		else if (bit == IMMURE_INIT_NET_USERNS)
			g->userns_fd = fd;
		else if (bit == IMMURE_INIT_NET_NETNS)
			g->netns_fd = fd;
		else if (bit == IMMURE_INIT_NET_NOTIFY)
			g->broker.listener_fd = fd;
		else
			immure_close(&fd);
	}
	if (g->broker.listener_fd >= 0)
		return adopt_broker(g, err);
	static const int active[] = { IMMURE_NETPLUMB_TCP4, IMMURE_NETPLUMB_TCP6, IMMURE_NETPLUMB_DNS_UDP,
				      IMMURE_NETPLUMB_DNS_TCP, IMMURE_NETPLUMB_PROXY,
				      IMMURE_NETPLUMB_PROXY6, IMMURE_NETPLUMB_REFUSALS };
	bool ok = true;

	for (size_t i = 0; i < sizeof(active) / sizeof(active[0]); i++)
		if (g->plumb.fd[active[i]] >= 0)
			ok = ok && watch(g->activate_fd, g->plumb.fd[active[i]], 0);
	for (uint32_t i = 0; i < g->config.publish_n; i++)
		ok = ok && watch(g->activate_fd, g->listeners[i], 0);
	if (g->plumb.fd[IMMURE_NETPLUMB_DNS_UDP] >= 0) /* not where there are published ports alone */
		(void)immure_netplumb_way_text(immure_netplumb_ways(&g->plumb), g->way);
	if (!ok || !watch(g->epoll_fd, g->activate_fd, TAG_ACTIVATE))
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "network", "",
				   "the session's network cannot be watched");
	/* Without nf_tables what is allowed by address has its listeners from the worker. */
	if (g->rules.nets_n && !g->plumb.with_nft)
		start_worker(g);
	return 0;
}

/* ---- within the session's limits ---- */

uint32_t immure_gatekeeper_members(const struct immure_gatekeeper *g)
{
	return g && g->within ? g->within->subs : 0;
}

void immure_gatekeeper_pause(struct immure_gatekeeper *g, bool paused)
{
	uint32_t id;

	if (!g || !g->within || !g->within->v2) /* it has no part in the other freezer */
		return;
	g->paused = paused;
	if (!paused)
		immure_gate_tls_resumed(g);
	id = g->unanswered;
	if (paused || !id || g->state != IMMURE_GATE_RUNNING)
		return;
	g->unanswered = 0;
	if (!immure_gate_answer(g, id, ANSWER_MS) || g->done.result < 0)
		worker_ended(g); /* the next one begins with the new rules */
}

/* ---- live change ---- */

static int32_t tell(struct immure_gatekeeper *g, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int config_fd = -1;
	uint32_t id = ++g->last_id;
	int r = immure_egress_config_seal(&g->config, &config_fd);

	if (r == 0)
		r = immure_wire_send_policy(g->wire_fd, id, config_fd);
	/* While it stands still nothing passes; it takes them before it is let run for long. */
	if (r == 0 && g->paused) {
		g->unanswered = id;
		return 0;
	}
	if (r == 0 && !immure_gate_answer(g, id, ANSWER_MS))
		r = -ETIMEDOUT;
	if (r == 0 && g->done.result < 0)
		return immure_fail(err, IMMURE_ERR_POLICY, -g->done.result, "network", "",
				   "the rules were not taken: %s", g->done.why);
	if (r < 0) { /* whoever comes next gets the new rules; this one has lost its connections */
		worker_ended(g);
		return 0;
	}
	return 0;
}

int32_t immure_gatekeeper_set_rules(struct immure_gatekeeper *g, const struct immure_strv *allow,
				    const struct immure_strv *deny, struct immure_error **err)
{
	struct immure_gate_rules old, now = { 0 };
	int32_t r;
	int e;

	if (!g)
		return immure_fail(err, IMMURE_ERR_STATE, 0, "network", "network.mode",
				   "this session has no limited network");
	r = immure_gate_rules_take(&now, allow, deny, err);
	if (r == 0 && now.inside && !g->tls.there) {
		immure_gate_rules_done(&now);
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "network", "network.allow", "%s",
				"nobody looks inside TLS in this session: it was begun without a rule "
				"that asks for it, or whoever did has ended");
	}
	if (r < 0)
		return r;
	old = g->rules;
	g->rules = now;
	immure_gate_rules_use(g);
	/* Whoever begins a connection there has the old rules for an instant, and is cut. */
	if (g->state == IMMURE_GATE_RUNNING) {
		r = tell(g, err);
		if (r < 0) {
			immure_gate_rules_done(&g->rules);
			g->rules = old;
			immure_gate_rules_use(g);
			return r;
		}
	}
	immure_gate_tls_rules(g);
	/* A worker that runs has seen to it itself. */
	e = g->state != IMMURE_GATE_IDLE || !g->adopted || !g->plumb.with_nft ? 0 :
	    immure_netplumb_set_nets(&g->plumb, &g->routes, g->rules.nets, g->rules.nets_n);
	if (e == 0 && g->state == IMMURE_GATE_IDLE && g->plumb.fd[IMMURE_NETPLUMB_ROUTE] >= 0)
		e = immure_netplumb_drop_nets(&g->plumb, old.nets, old.nets_n, g->rules.nets,
					      g->rules.nets_n);
	immure_gate_rules_done(&old);
	if (e < 0) {
		close_for_good(g, "rules for addresses could not be set");
		return immure_fail(err, IMMURE_ERR_LAUNCH, -e, "network", "network.allow",
				   "rules for addresses could not be set, the network is closed: %s",
				   strerror(-e));
	}
	return 0;
}

int immure_gatekeeper_bring(struct immure_gatekeeper *g, uint64_t number, int *fd)
{
	if (!g || number >= IMMURE_LEND_SECRETS)
		return -EINVAL;
	g->tls.brought = true;
	if (*fd < 0)
		return 0;
	immure_close(&g->tls.source_fd[number]);
	g->tls.source_fd[number] = immure_take_fd(fd);
	return 0;
}

bool immure_gatekeeper_untouched(const struct immure_gatekeeper *g)
{
	return !g || (g->state == IMMURE_GATE_IDLE && g->starts == 0 && g->denials_n == 0 && g->denials_more == 0);
}

const char *immure_gatekeeper_way(const struct immure_gatekeeper *g)
{
	return g ? g->way : "";
}

/* ---- beginning and end ---- */

/* false: the numbers are older. */
static bool ask_numbers(struct immure_gatekeeper *g)
{
	struct immure_wire m = { .type = IMMURE_WIRE_ASK, .id = ++g->last_id };

	if (g->paused)
		return true; /* the numbers stand still as well */
	return immure_wire_send(g->wire_fd, &m, NULL, 0) == 0 && immure_gate_answer(g, m.id, FINISH_MS);
}

bool immure_gatekeeper_stats(struct immure_gatekeeper *g, struct immure_wire_stats *ret)
{
	if (!g)
		return false;
	if (g->state == IMMURE_GATE_RUNNING)
		(void)ask_numbers(g);
	*ret = g->total;
	ret->lost += dropped(g);
	if (g->state == IMMURE_GATE_RUNNING) {
		add_up(ret, &g->stats);
		ret->connections = g->stats.connections;
	}
	return true;
}

void immure_gatekeeper_finish(struct immure_gatekeeper *g, struct immure_result *result)
{
	if (!g)
		return;
	if (g->state == IMMURE_GATE_RUNNING) {
		if (!ask_numbers(g))
			immure_result_notice(result, "network: immure-egress did not say in time what it had counted; "
					     "connections, bytes and denials may have been more");
		add_up(&g->total, &g->stats);
	}
	if (g->state == IMMURE_GATE_CLOSED)
		immure_result_notice(result, "network: %s%s%s; nothing was reached from then on",
				     g->closed_why, g->failed_why[0] ? ": " : "", g->failed_why);
	else if (g->deaths)
		immure_result_notice(result, "network: immure-egress ended %u time%s%s%s%s", g->deaths,
				     g->deaths == 1 ? "" : "s",
				     g->starts > 1 ? " and was started again" : "",
				     g->failed_why[0] ? ": " : "", g->failed_why);
	if (g->tls.deaths)
		immure_result_notice(result, "network: immure-intercept ended %u time%s%s%s%s", g->tls.deaths,
				     g->tls.deaths == 1 ? "" : "s",
				     g->tls.ended ? "; what rules or secrets ask it for was refused from "
				     "then on" : " and was started again",
				     g->tls.failed_why[0] ? ": " : "", g->tls.failed_why);
	if (g->broker.trouble)
		immure_result_notice(result, "network: %s: %s: a process that hides its memory, or this "
				     "host forbids it (`immure doctor`: seccomp_notify)",
				     g->broker.trouble, strerror(g->broker.trouble_errnum));
	close_for_good(g, "");
	immure_gate_report(g, result);
}

void immure_gatekeeper_free(struct immure_gatekeeper *g)
{
	if (!g)
		return;
	close_for_good(g, "");
	immure_close(&g->epoll_fd);
	immure_close(&g->program_fd);
	immure_gate_rules_done(&g->rules);
	immure_gate_tls_done(g);
	immure_arena_done(&g->arena);
	free(g);
}

int32_t immure_gatekeeper_new(const struct immure_plan *plan, const char *program,
			      struct immure_gatekeeper **ret, struct immure_error **err)
{
	struct immure_gatekeeper *g;
	int32_t r;

	*ret = NULL;
	if (!immure_plan_find(plan, IMMURE_OP_EGRESS) && !immure_plan_find(plan, IMMURE_OP_PUBLISH))
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "network", "", "out of memory");
	g->epoll_fd = g->activate_fd = g->program_fd = g->wire_fd = g->pidfd = -1;
	g->hostwatch_fd = -1;
	g->userns_fd = g->netns_fd = -1;
	immure_broker_init(&g->broker);
	immure_gate_tls_init(&g->tls);
	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		g->plumb.fd[i] = -1;
	for (size_t i = 0; i < IMMURE_EGRESS_PUBLISH_MAX; i++)
		g->listeners[i] = -1;
	r = immure_gate_open_program(g, program, err);
	if (r == 0)
		r = immure_gate_configure(g, plan, err);
	if (r == 0) {
		g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		g->activate_fd = epoll_create1(EPOLL_CLOEXEC);
		if (g->epoll_fd < 0 || g->activate_fd < 0 ||
		    getrandom(&g->config.synth.seed, sizeof(g->config.synth.seed), 0) !=
			    sizeof(g->config.synth.seed))
			r = immure_fail(err, IMMURE_ERR_LAUNCH, errno, "network", "",
					"the gatekeeper cannot be set up: %s", strerror(errno));
	}
	if (r < 0) {
		immure_gatekeeper_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

bool immure_gate_tls_watch(struct immure_gatekeeper *g)
{
	return watch(g->epoll_fd, g->tls.wire_fd, TAG_TLS);
}

int32_t immure_gatekeeper_look_inside(struct immure_gatekeeper *g, struct immure_cgroup *leaf,
				      const char *program, const char *session,
				      const struct immure_plan **plan, struct immure_error **err)
{
	int32_t r = 0;

	if (!g)
		return 0;
	g->within = leaf;
	if (g->tls.brought) /* it was made before anybody knew of them */
		r = immure_gate_secrets(g, *plan, err);
	if (r == 0)
		r = immure_gate_attribute(g, *plan, session, err);
	if (r == 0)
		r = immure_gate_tls_start(g, *plan, program, err);
	if (r == 0 && g->tls.there)
		*plan = &g->tls.plan;
	return r;
}
