/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a session lives, when nobody inside runs, and what it uses.
 *
 * A session that was frozen because it was idle is woken by whatever asks for it
 * next, also over a lane, of which the server is not told: where the freezer holds
 * init as well, it watches the lanes' far ends meanwhile; where the freezer is
 * SIGSTOP, init wakes the others itself and says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "egress/wire.h"
#include "kernel/mount.h"
#include "session/handover.h"
#include "session/members.h"
#include "session/serve.h"
#include "session/snapshot.h"

static uint64_t mono_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

int immure_life_order(struct immure_server *s, const struct immure_init_order *o, const int *fds, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)o, sizeof(*o) };
	ssize_t r = immure_fdmsg_send(s->sealed.sock_fd, &iov, 1, fds, n, MSG_DONTWAIT);

	return r < 0 ? (int)r : 0;
}

/* ---- freezing ---- */

static void on_lane(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	immure_life_woken(s);
}

static void watch_lanes(struct immure_server *s, bool on)
{
	for (int i = 0; i < IMMURE_INIT_LANES; i++)
		if (s->lanes[i].watch.fd >= 0)
			(void)immure_server_watch(s, &s->lanes[i].watch, on ? EPOLLIN : 0); /* or it waits */
}

static int freeze(struct immure_server *s, bool idle)
{
	struct immure_init_order o = { .type = IMMURE_INIT_PAUSE };
	int r = immure_sealed_guard(&s->sealed);

	if (r == 0)
		r = immure_cgroup_freeze(&s->sealed.cgroup, true);
	s->by_signals = r < 0;
	if (r < 0)
		r = immure_life_order(s, &o, NULL, 0);
	if (r < 0)
		return r;
	immure_gatekeeper_pause(s->sealed.gate, !s->by_signals);
	s->frozen_at_ns = mono_ns();
	s->suspended = idle;
	immure_server_state(s, IMMURE_STATE_FROZEN, idle ? "idle" : "asked for");
	if (idle)
		watch_lanes(s, true);
	return 0;
}

static int thaw(struct immure_server *s)
{
	struct immure_init_order slept = { .type = IMMURE_INIT_SLEPT,
					   .value = mono_ns() - s->frozen_at_ns };
	struct immure_init_order o = { .type = IMMURE_INIT_RESUME };
	int r;

	watch_lanes(s, false);
	(void)immure_life_order(s, &slept, NULL, 0); /* full: deadlines come early */
	r = s->by_signals ? immure_life_order(s, &o, NULL, 0) : immure_cgroup_freeze(&s->sealed.cgroup, false);
	if (r < 0)
		return r;
	immure_gatekeeper_pause(s->sealed.gate, false);
	s->suspended = false;
	immure_server_state(s, IMMURE_STATE_RUNNING, "");
	immure_life_touch(s);
	return 0;
}

int immure_life_pause(struct immure_server *s)
{
	return freeze(s, false);
}

int immure_life_go_on(struct immure_server *s)
{
	return s->state == IMMURE_STATE_FROZEN ? thaw(s) : 0;
}

void immure_life_woken(struct immure_server *s)
{
	immure_snapshot_spoil(s, "something was started in the session meanwhile, or it was ended");
	if (s->state == IMMURE_STATE_FROZEN)
		(void)thaw(s); /* not now: whoever waits for it asks again */
}

int32_t immure_life_wake(struct immure_ask *a)
{
	int r;

	if (!a->s->suspended)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EBUSY, "FROZEN",
				       "the session is frozen by request; thaw it first");
	r = thaw(a->s);
	return r == 0 ? 0 : immure_ask_fail(a, IMMURE_ERR_IO, -r, "", "cannot wake: %s", strerror(-r));
}

int32_t immure_life_freeze(struct immure_ask *a)
{
	int r = freeze(a->s, false);

	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "", "cannot freeze: %s", strerror(-r));
	immure_answer_ok(a->s, a->c, a->id);
	return 0;
}

int32_t immure_life_thaw(struct immure_ask *a)
{
	int r = thaw(a->s);

	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "", "cannot thaw: %s", strerror(-r));
	immure_answer_ok(a->s, a->c, a->id);
	return 0;
}

/* ---- the clock ---- */

static uint32_t running(const struct immure_server *s)
{
	uint32_t inside = s->shared ? s->shared->running : s->notes_running;

	return inside > s->alive ? inside : (uint32_t)s->alive;
}

/* ms since anything was asked for or ended. */
static uint64_t idle_for(const struct immure_server *s)
{
	uint64_t mine = immure_server_ms() - s->active_ms, lanes = mine, ns;

	ns = s->shared ? __atomic_load_n(&s->shared->active_ns, __ATOMIC_ACQUIRE) : 0;
	if (ns)
		lanes = (mono_ns() - ns) / 1000000;
	return lanes < mine ? lanes : mine;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a ? b : !b || a < b ? a : b;
}

void immure_life_arm(struct immure_server *s)
{
	uint64_t now = immure_server_ms(), next = sooner(s->life_end_ms, s->kill_at_ms);
	struct itimerspec when = { 0 };

	next = sooner(next, s->handover_ms);
	next = sooner(next, s->deaf_until_ms);
	if (s->idle_ms && s->state == IMMURE_STATE_RUNNING) {
		uint64_t idle = running(s) ? 0 : idle_for(s);

		next = sooner(next, now + (idle < s->idle_ms ? s->idle_ms - idle : 1));
	}
	for (const struct immure_client *c = s->clients; c; c = c->next)
		if (!c->hello && !c->boss && !c->dead)
			next = sooner(next, c->since_ms + IMMURE_SERVE_HELLO_MS);
	if (!next || (s->armed_ms && s->armed_ms <= next && s->armed_ms > now))
		return;
	s->armed_ms = next;
	when.it_value.tv_sec = (time_t)(next / 1000);
	when.it_value.tv_nsec = (long)(next % 1000) * 1000000 + 1;
	(void)timerfd_settime(s->timer.fd, TFD_TIMER_ABSTIME, &when, NULL); /* valid by construction */
}

void immure_life_touch(struct immure_server *s)
{
	s->active_ms = immure_server_ms();
	if (s->idle_ms && !s->armed_ms)
		immure_life_arm(s);
}

void immure_life_tick(struct immure_server *s)
{
	uint64_t now = immure_server_ms();

	s->armed_ms = 0;
	if (s->deaf_until_ms && now >= s->deaf_until_ms) {
		s->deaf_until_ms = 0;
		(void)immure_server_watch(s, &s->listener, EPOLLIN); /* as it was */
	}
	for (struct immure_client *c = s->clients; c; c = c->next)
		if (!c->hello && !c->boss && !c->dead && now >= c->since_ms + IMMURE_SERVE_HELLO_MS)
			immure_client_drop(s, c);
	if (s->kill_at_ms && now >= s->kill_at_ms) {
		s->kill_at_ms = 0;
		immure_sealed_kill(&s->sealed);
	}
	if (s->life_end_ms && now >= s->life_end_ms) {
		s->life_end_ms = 0;
		immure_server_stop(s, 2000, "its time was up (--max-life)");
	}
	if (s->handover_ms && now >= s->handover_ms)
		immure_handover_tick(s);
	if (s->idle_ms && s->state == IMMURE_STATE_RUNNING && !running(s) && idle_for(s) >= s->idle_ms) {
		if (s->idle_stops)
			immure_server_stop(s, 2000, "it was idle (--idle-timeout)");
		else if (freeze(s, true) < 0)
			s->active_ms = now; /* not possible now: later */
	}
	immure_life_arm(s);
}

int32_t immure_life_lease(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	const char *on_idle = s->idle_stops ? "stop" : "suspend";
	uint64_t idle = s->idle_ms, life = UINT64_MAX, max = UINT32_MAX * 1000ULL;
	int32_t r = immure_arg_uint(a, "idle_ms", max, &idle);

	if (r == 0)
		r = immure_arg_uint(a, "life_ms", max, &life);
	if (r == 0)
		r = immure_arg_string(a, "on_idle", &on_idle);
	if (r < 0)
		return r;
	if (strcmp(on_idle, "stop") != 0 && strcmp(on_idle, "suspend") != 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "on_idle", "on_idle is suspend or stop");
	s->idle_stops = strcmp(on_idle, "stop") == 0;
	s->idle_ms = s->meta.idle_ms = idle;
	if (life != UINT64_MAX) { /* from now on; 0 takes the end away */
		s->life_end_ms = life ? immure_server_ms() + life : 0;
		s->meta.life_ms = life;
	}
	(void)immure_entry_set_meta(&s->entry, &s->meta); /* what others read; ours stands */
	s->armed_ms = 0;
	immure_life_touch(s);
	immure_life_arm(s);
	immure_answer_ok(s, a->c, a->id);
	return 0;
}

/* ---- lanes ---- */

int immure_life_lane_make(struct immure_server *s, struct immure_client *c, int *ret_fd)
{
	struct immure_init_order o = { .type = IMMURE_INIT_LANE };
	struct immure_lane *lane;
	int pair[2], n = 0, r;

	if (immure_plan_find(s->plan, IMMURE_OP_OUTPUT_CAP) || immure_plan_find(s->plan, IMMURE_OP_MEDIATOR) ||
	    immure_plan_find(s->plan, IMMURE_OP_JOURNAL))
		return -EOPNOTSUPP;
	if (c->lane >= 0)
		return -EALREADY;
	while (n < IMMURE_INIT_LANES && s->lanes[s->next_lane].watch.fd >= 0) {
		s->next_lane = (s->next_lane + 1) % IMMURE_INIT_LANES;
		n++;
	}
	if (n == IMMURE_INIT_LANES)
		return -EAGAIN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	o.id = (uint64_t)s->next_lane;
	r = immure_life_order(s, &o, &pair[1], 1);
	if (r < 0) {
		immure_close(&pair[0]);
		immure_close(&pair[1]);
		return r;
	}
	lane = &s->lanes[s->next_lane];
	lane->watch = (struct immure_watch){ .fd = pair[1], .ready = on_lane };
	lane->client = c;
	c->lane = s->next_lane;
	s->next_lane = (s->next_lane + 1) % IMMURE_INIT_LANES;
	if (s->suspended)
		(void)immure_server_watch(s, &lane->watch, EPOLLIN); /* or it waits */
	*ret_fd = pair[0];
	return 0;
}

void immure_life_lane_tell(const struct immure_server *s, struct immure_jsonw *w)
{
	const struct immure_op *wall = immure_plan_find(s->plan, IMMURE_OP_WALL_TIME);

	immure_jsonw_uint(w, "timeout_ms", wall ? wall->num[0] : 0);
}

int32_t immure_life_lane(struct immure_ask *a)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int r = immure_life_lane_make(a->s, a->c, &fd);

	switch (r) {
	case 0:
		immure_answer_begin(&w, &b, a->id);
		immure_life_lane_tell(a->s, &w);
		immure_answer_send(a->s, a->c, &w, &fd, 1);
		return 0;
	case -EOPNOTSUPP:
		if (immure_plan_find(a->s->plan, IMMURE_OP_OUTPUT_CAP))
			return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "limits.output", "the output of this "
					       "session's commands is counted: there is no way past the server");
		if (!immure_plan_find(a->s->plan, IMMURE_OP_MEDIATOR))
			return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "journal", "each command of this "
					       "session is written down: there is no way past the server");
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "mediator.ask", "each command of this "
				       "session is asked about first: there is no way past the server");
	case -EALREADY:
		return immure_ask_fail(a, IMMURE_ERR_STATE, EALREADY, "", "this connection has a lane");
	case -EAGAIN:
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "", "all %d lanes are taken",
				       IMMURE_INIT_LANES);
	default:
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "", "init: %s", strerror(-r));
	}
}

void immure_life_lane_gone(struct immure_server *s, struct immure_client *c)
{
	struct immure_lane *lane = c->lane >= 0 ? &s->lanes[c->lane] : NULL;

	if (!lane)
		return;
	/* Whoever else still has the other end: it leads nowhere now. */
	(void)shutdown(lane->watch.fd, SHUT_RDWR);
	immure_server_unwatch(s, &lane->watch);
	lane->client = NULL;
	c->lane = -1;
}

/* ---- what it uses ---- */

static uint64_t disk_used(const struct immure_server *s)
{
	uint64_t used = 0;

	if (s->handle[IMMURE_HANDLE_ROOT] < 0)
		return 0;
	for (size_t i = 0; i < s->plan->ops_n; i++) {
		const struct immure_op *op = &s->plan->ops[i];
		IMMURE_CLEANUP_FD int fd = -1;
		struct statvfs v;

		if (op->kind != IMMURE_OP_TMPFS || op->flags & IMMURE_OPF_RO)
			continue;
		fd = immure_mount_open_in(s->handle[IMMURE_HANDLE_ROOT], op->dst);
		if (fd >= 0 && fstatvfs(fd, &v) == 0)
			used += (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
	}
	return used;
}

/* Known where every byte goes through the worker; null elsewhere. */
static void network_stats(struct immure_server *s, struct immure_jsonw *w)
{
	static const char *const keys[] = { "network_in", "network_out", "network_connections",
					    "network_connections_open", "network_denied" };
	struct immure_wire_stats n = { 0 };
	bool known = immure_gatekeeper_stats(s->sealed.gate, &n);
	const uint64_t values[] = { n.bytes_in, n.bytes_out, n.connections_all, n.connections, n.denied };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (known)
			immure_jsonw_uint(w, keys[i], values[i]);
		else
			immure_jsonw_null(w, keys[i]);
}

static void send_stats(struct immure_server *s, struct immure_client *c, uint64_t id,
		       const struct immure_init_reply *measured)
{
	struct immure_cgroup_stats g = { 0 };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	uint64_t cpu, memory, processes, ours = 1; /* init */

	if (s->sealed.init.cgroup)
		immure_cgroup_stats(&s->sealed.cgroup, &g);
	/* By its cgroup, not by what init sees; there is also the program that led to init. */
	if (g.pids_now || (s->state == IMMURE_STATE_FROZEN && !s->by_signals))
		ours += immure_gatekeeper_members(s->sealed.gate) + (s->sealed.child.init_pidfd >= 0);
	cpu = g.cpu_usec ? g.cpu_usec - s->earlier.cpu_usec
			 : measured->user_us + measured->system_us - s->earlier_us;
	memory = g.memory_now ? g.memory_now : measured->memory == UINT64_MAX ? 0 : measured->memory;
	processes = g.pids_now ? g.pids_now : measured->pid > 0 ? (uint64_t)measured->pid : 0;
	immure_answer_begin(&w, &b, id);
	immure_jsonw_str(&w, "state", immure_state_name(s->state));
	immure_jsonw_uint(&w, "cpu_us", cpu);
	immure_jsonw_str(&w, "cpu_of", g.cpu_usec ? "session" : "processes");
	immure_jsonw_uint(&w, "memory", memory);
	immure_jsonw_str(&w, "memory_of", g.memory_now ? "session" : "private pages");
	/* Of one that is used again: unknown, unless it is this caller's. */
	immure_jsonw_uint(&w, "memory_peak", g.memory_peak > s->earlier.memory_peak ? g.memory_peak : 0);
	immure_jsonw_uint(&w, "processes", processes > ours ? processes - ours : 0);
	immure_jsonw_uint(&w, "processes_peak", g.pids_peak > ours && g.pids_peak > s->earlier.pids_peak
							 ? g.pids_peak - ours : 0);
	immure_jsonw_uint(&w, "oom_kills", g.oom_kills - s->attacked.oom_kills);
	immure_jsonw_uint(&w, "forks_denied", g.pids_denied - s->attacked.pids_denied);
	immure_jsonw_uint(&w, "execs_running", running(s));
	immure_jsonw_uint(&w, "execs_started", s->shared ? s->shared->started : s->next_task - 1);
	immure_jsonw_uint(&w, "bytes_in", s->bytes_in);
	immure_jsonw_uint(&w, "bytes_out", s->bytes_out);
	immure_jsonw_uint(&w, "disk", disk_used(s));
	network_stats(s, &w);
	immure_jsonw_uint(&w, "idle_ms", running(s) ? 0 : idle_for(s));
	immure_answer_send(s, c, &w, NULL, 0);
}

int32_t immure_life_stats(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	struct immure_init_order o = { .type = IMMURE_INIT_MEASURE };
	struct immure_init_reply none = { 0 };
	struct immure_cgroup_stats g = { 0 };
	bool frozen = s->state == IMMURE_STATE_FROZEN && !s->by_signals; /* init as well */

	if (s->sealed.init.cgroup)
		immure_cgroup_stats(&s->sealed.cgroup, &g);
	if ((g.cpu_usec && g.memory_now && g.pids_now) || frozen || s->measurer) {
		if (frozen)
			immure_members_measure(&s->sealed.cgroup, &none);
		send_stats(s, a->c, a->id, &none);
		return 0;
	}
	if (immure_life_order(s, &o, NULL, 0) < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, EAGAIN, "", "init does not answer");
	s->measurer = a->c;
	s->measurer_request = a->id;
	return 0;
}

void immure_life_measured(struct immure_server *s, const struct immure_init_reply *r)
{
	struct immure_client *c = s->measurer;

	if (immure_snapshot_quiet(s))
		return;
	s->measurer = NULL;
	if (c)
		send_stats(s, c, s->measurer_request, r);
}

static int32_t limit(struct immure_ask *a, const char *key, int (*set)(struct immure_cgroup *c, uint64_t v))
{
	uint64_t v = 0;
	int32_t r = immure_arg_uint(a, key, INT64_MAX, &v);
	int e;

	if (r < 0 || !immure_jsonr_get(&a->json, a->root, key))
		return r;
	if (v == 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "a limit is above 0");
	e = a->s->sealed.init.cgroup ? set(&a->s->sealed.cgroup, v) : -ENOENT;
	if (e == -ENOENT)
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, ENOENT, key, "this session was made without "
				       "a cgroup for it, so it cannot be changed; set it at create");
	if (e < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -e, key, "%s: %s", key, strerror(-e));
	return 0;
}

int32_t immure_life_limits(struct immure_ask *a)
{
	int32_t r = limit(a, "memory", immure_cgroup_set_memory);

	if (r == 0)
		r = limit(a, "processes", immure_cgroup_set_pids);
	if (r == 0)
		r = limit(a, "cpus", immure_cgroup_set_cpu);
	if (r == 0)
		immure_answer_ok(a->s, a->c, a->id);
	return r;
}

int32_t immure_life_inspect(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	static const char *const freezers[] = { "signals", "cgroup v1", "cgroup v2" };
	const struct immure_meta *m = &s->meta;
	char *network = immure_gatekeeper_show(s->sealed.gate, 0);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	uint64_t now = immure_server_ms();

	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_str(&w, "session", s->entry.id);
	immure_jsonw_str(&w, "name", m->name);
	immure_jsonw_str(&w, "state", immure_state_name(s->state));
	immure_jsonw_bool(&w, "suspended", s->suspended);
	immure_jsonw_str(&w, "backend", s->plan->backend);
	immure_jsonw_str(&w, "profile", s->plan->profile);
	immure_tighten_json(&w, s);
	immure_jsonw_str(&w, "plan_hash", immure_plan_hash_of(s->plan));
	if (s->proof_points)
		immure_jsonw_uint(&w, "proven", s->proof_points);
	immure_jsonw_str(&w, "workspace", s->plan->workspace);
	immure_jsonw_str(&w, "cwd", s->plan->cwd);
	immure_jsonw_uint(&w, "created_ms", m->created_ms);
	immure_jsonw_str(&w, "lifetime", immure_lifetime_name(m->lifetime));
	immure_jsonw_uint(&w, "idle_ms", s->idle_ms);
	immure_jsonw_str(&w, "on_idle", s->idle_stops ? "stop" : "suspend");
	if (s->life_end_ms)
		immure_jsonw_uint(&w, "life_left_ms", s->life_end_ms > now ? s->life_end_ms - now : 0);
	immure_jsonw_int(&w, "supervisor_pid", getpid());
	immure_jsonw_int(&w, "init_pid", s->sealed.child.pid);
	immure_jsonw_uint(&w, "clients", s->clients_n);
	immure_jsonw_uint(&w, "execs_running", running(s));
	immure_jsonw_str(&w, "freezer", freezers[immure_cgroup_freezer(&s->sealed.cgroup)]);
	immure_attach_json(&w, s);
	immure_reuse_json(&w, s);
	if (network)
		immure_jsonw_raw(&w, "network", network);
	else
		immure_jsonw_null(&w, "network");
	free(network);
	immure_jsonw_object(&w, "labels");
	for (uint32_t i = 0; i < m->labels_n; i++)
		immure_jsonw_str(&w, m->labels[i].key, m->labels[i].value);
	immure_jsonw_end(&w, '}');
	immure_answer_send(s, a->c, &w, NULL, 0);
	return 0;
}
