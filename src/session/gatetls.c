/* SPDX-License-Identifier: Apache-2.0 */
#include "session/gatetls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "plan/seal.h"
#include "session/gatekeep.h"
#include "session/gateproc.h"

enum { READY_MS = 15000, ANSWER_MS = 2000, DAYS = 30, ROOTS_MAX = 16 << 20, HEAR = 64,
       DEATHS_MAX = 16, DEATHS_SECONDS = 60 };

void immure_gate_tls_init(struct immure_gate_tls *t)
{
	memset(t, 0, sizeof(*t));
	t->wire_fd = t->pidfd = t->program_fd = t->roots_fd = t->authority_fd = -1;
	for (size_t i = 0; i < IMMURE_LEND_SECRETS; i++)
		t->source_fd[i] = -1;
}

void immure_gate_tls_done(struct immure_gatekeeper *g)
{
	struct immure_gate_tls *t = &g->tls;

	immure_gate_tls_end(g);
	immure_close(&t->program_fd);
	immure_close(&t->roots_fd);
	immure_close(&t->authority_fd);
	for (size_t i = 0; i < IMMURE_LEND_SECRETS; i++)
		immure_close(&t->source_fd[i]);
	free(t->bundle);
	t->bundle = NULL;
	if (t->plan.sealed) /* as sealed_anew() left it */
		immure_arena_done(&t->plan.arena);
	immure_arena_done(&t->arena);
}

static int32_t failed(struct immure_error **err, int r, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "network", "network.allow",
			   "immure-intercept, which ends TLS: %s: %s", what, strerror(-r));
}

static int open_beside(const char *egress)
{
	const char *slash = egress ? strrchr(egress, '/') : NULL;
	char path[4096];

	if (!egress)
		return open(IMMURE_LIBEXECDIR "/immure-intercept", O_PATH | O_CLOEXEC);
	if (snprintf(path, sizeof(path), "%.*simmure-intercept", slash ? (int)(slash - egress + 1) : 0,
		     egress) >= (int)sizeof(path))
		return -1;
	return open(path, O_PATH | O_CLOEXEC);
}

static int open_roots(void)
{
	for (const char *const *s = immure_plan_bundles(); *s; s++) {
		int fd = open(*s, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
	}
	return -errno;
}

/* ---- start ---- */

/* A worker that runs is told where to find it; to the next one it is told at its start. */
static void send_link(struct immure_gatekeeper *g)
{
	struct immure_wire m = { .type = IMMURE_WIRE_LINK };
	int link = g->state == IMMURE_GATE_RUNNING ? immure_gate_tls_link(g) : -1;

	if (link >= 0) /* not taken: that one is at its end, too */
		(void)immure_wire_send(g->wire_fd, &m, &link, 1);
	immure_close(&link);
}

/* false: it is not the authority that programs inside trust. */
static bool is_ready(struct immure_gatekeeper *g, const char *pem)
{
	struct immure_gate_tls *t = &g->tls;

	if (!t->pem[0])
		memcpy(t->pem, pem, sizeof(t->pem));
	if (strcmp(t->pem, pem) != 0)
		return false;
	t->on = true;
	g->config.intercepts = true;
	send_link(g);
	return true;
}

/* Those of one that is started anew take the places of the old ones: what is looked for is the same. */
static void take_mark(struct immure_gate_tls *t, const struct immure_lend_mark *m)
{
	size_t at = 2 * (size_t)m->number;

	t->needles[at] = m->needle[0];
	t->needles[at + 1] = m->needle[1];
	if (t->needles_n < at + 2)
		t->needles_n = at + 2;
}

/* One message of its; 0: it is gone, or says what it must not. */
static int hear(struct immure_gatekeeper *g)
{
	struct immure_gate_tls *t = &g->tls;
	int fds[IMMURE_LEND_FDS], r;
	struct immure_lend_msg m;

	r = immure_lend_recv(t->wire_fd, &m, fds);
	if (r == -EAGAIN)
		return r;
	immure_close_all(fds, IMMURE_LEND_FDS); /* it has none to give */
	if (r != 1)
		return 0;
	switch (m.type) {
	case IMMURE_LEND_DENIED:
		immure_gate_denied(g, &m.denied);
		return 1;
	case IMMURE_LEND_DONE:
		t->done = m.done;
		t->answered = m.id;
		return 1;
	case IMMURE_LEND_MARK:
		take_mark(t, &m.mark);
		return 1;
	case IMMURE_LEND_AUTHORITY:
		return !t->on && is_ready(g, m.authority.pem);
	case IMMURE_LEND_FAILED:
		(void)snprintf(t->failed_why, sizeof(t->failed_why), "%s", m.done.why);
		return 1;
	default:
		return 0;
	}
}

/* Until it is ready, or has answered request id. */
static bool wait_for(struct immure_gatekeeper *g, uint64_t id, int timeout_ms)
{
	struct immure_gate_tls *t = &g->tls;
	int r;

	while (id ? t->answered != id : !t->on) {
		struct pollfd p = { .fd = t->wire_fd, .events = POLLIN };

		do
			r = poll(&p, 1, timeout_ms);
		while (r < 0 && errno == EINTR);
		if (r <= 0)
			return false;
		r = hear(g);
		if (r == 0)
			return false;
	}
	return true;
}

/* What is there beside the session's own authority. */
static int32_t make_bundle(struct immure_gate_tls *t, bool sole, struct immure_error **err)
{
	size_t own = strlen(t->pem), n = 0;
	int roots_fd = t->roots_fd;
	struct stat st;
	char *all;

	if (sole) {
		t->bundle = strdup(t->pem);
		return t->bundle ? 0 : failed(err, -ENOMEM, "certificates to trust");
	}
	if (fstat(roots_fd, &st) < 0 || st.st_size > ROOTS_MAX)
		return failed(err, -EFBIG, "certificates to trust");
	all = malloc((size_t)st.st_size + own + 2);
	if (!all)
		return failed(err, -ENOMEM, "certificates to trust");
	while (n < (size_t)st.st_size) {
		ssize_t got = pread(roots_fd, all + n, (size_t)st.st_size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (memchr(all, '\0', n)) {
		free(all);
		return failed(err, -EINVAL, "certificates to trust: not text");
	}
	all[n] = '\n';
	memcpy(all + n + 1, t->pem, own + 1);
	t->bundle = all;
	return 0;
}

static int32_t begin(struct immure_gatekeeper *g, const struct immure_plan *plan,
		     struct immure_error **err)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_BEGIN };
	IMMURE_CLEANUP_FD int config_fd = -1;
	int32_t r = 0;
	int e = immure_egress_config_seal(&g->config, &config_fd), fds[3];

	m.begin.days = DAYS;
	for (size_t i = 0; i < plan->ops_n; i++)
		m.begin.secrets_n += plan->ops[i].kind == IMMURE_OP_SECRET;
	fds[0] = config_fd;
	fds[1] = g->tls.roots_fd;
	fds[2] = g->tls.authority_fd;
	if (e == 0)
		e = immure_lend_send(g->tls.wire_fd, &m, fds, 3);
	if (e < 0)
		return failed(err, e, "telling it the rules");
	for (size_t i = 0; i < plan->ops_n && r == 0; i++)
		if (plan->ops[i].kind == IMMURE_OP_SECRET)
			r = immure_gate_tls_secret(&g->tls, plan, &plan->ops[i], err);
	return r;
}

/* ---- what is made at the start, in the plan ---- */

static const char *filled(struct immure_gate_tls *t, const struct immure_plan *plan, const char *entry)
{
	const char *eq = strchr(entry, '=');

	for (size_t i = 0; eq && i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		size_t n = (size_t)(eq - entry);

		if (op->kind == IMMURE_OP_SECRET && strncmp(op->dst, "env:", 4) == 0 &&
		    strlen(op->dst + 4) == n && strncmp(op->dst + 4, entry, n) == 0)
			return immure_arena_printf(&t->arena, "%.*s=%s", (int)n, entry,
						   t->placeholder[op->num[0]]);
	}
	return entry;
}

/* For an init that is a program of its own, or has waited. Of the plan's hash nothing changes: what is
 * filled in is made for this session alone. */
static int32_t sealed_anew(struct immure_gate_tls *t, const struct immure_plan *plan,
			   struct immure_error **err)
{
	const struct immure_backend *backend = immure_backend_by_name(plan->backend);
	struct immure_gap *gaps = immure_arena_alloc(&t->arena, plan->gaps_n * sizeof(*gaps));
	int32_t r = 0;

	if ((!backend || !backend->become) && !t->brought)
		return 0;
	/* Sealing makes all strings point to what was sealed: in tables of this plan's own. */
	t->plan.argv = (struct immure_strv){ 0 };
	for (size_t i = 0; i < plan->argv.n; i++)
		(void)immure_strv_add(&t->arena, &t->plan.argv, plan->argv.v[i]);
	if (!gaps || t->arena.failed)
		return failed(err, -ENOMEM, "the plan");
	if (plan->gaps_n)
		memcpy(gaps, plan->gaps, plan->gaps_n * sizeof(*gaps));
	t->plan.gaps = gaps;
	t->plan.arena = (struct immure_arena)IMMURE_ARENA_INIT;
	(void)immure_plan_hash_of(plan); /* taken before it is shared */
	r = immure_plan_close(&t->plan, err);
	t->plan.digest = plan->digest;
	return r;
}

static int32_t fill_plan(struct immure_gate_tls *t, const struct immure_plan *plan,
			 struct immure_error **err)
{
	struct immure_op *ops = immure_arena_alloc(&t->arena, plan->ops_n * sizeof(*ops));

	t->plan = *plan;
	t->plan.env = (struct immure_strv){ 0 };
	t->plan.sealed = NULL;
	t->plan.sealed_len = 0;
	for (size_t i = 0; i < plan->env.n; i++)
		(void)immure_strv_add(&t->arena, &t->plan.env, filled(t, plan, plan->env.v[i]));
	if (!ops || t->arena.failed)
		return failed(err, -ENOMEM, "the plan");
	memcpy(ops, plan->ops, plan->ops_n * sizeof(*ops));
	for (size_t i = 0; i < plan->ops_n; i++)
		if (ops[i].kind == IMMURE_OP_FILE && strcmp(ops[i].key, IMMURE_KEY_TRUST) == 0)
			ops[i].src = t->bundle;
	t->plan.ops = ops;
	return sealed_anew(t, plan, err);
}

/* Everything that one that is started anew needs as well. */
static int32_t hold(struct immure_gate_tls *t, const char *egress, struct immure_error **err)
{
	t->program_fd = open_beside(egress);
	if (t->program_fd < 0 || immure_fd_raise(&t->program_fd, 10) < 0)
		return failed(err, -errno, "its program cannot be used");
	t->roots_fd = open_roots();
	if (t->roots_fd < 0)
		return failed(err, t->roots_fd, "the system's trusted certificates");
	t->authority_fd = memfd_create("immure-authority", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return t->authority_fd < 0 ? failed(err, -errno, "memory for the session's authority") : 0;
}

static int32_t start(struct immure_gatekeeper *g, const struct immure_plan *plan, struct immure_error **err)
{
	struct immure_gate_tls *t = &g->tls;
	int e = immure_gateproc_program(t->program_fd, "immure-intercept", g->within, &t->pid, &t->pidfd,
					&t->wire_fd);

	if (e < 0)
		return failed(err, e, "it cannot be started");
	return begin(g, plan, err);
}

int32_t immure_gate_tls_start(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      const char *egress, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_INTERCEPT);
	struct immure_gate_tls *t = &g->tls;
	int32_t r;

	if (!op)
		return 0;
	r = hold(t, egress, err);
	if (r == 0)
		r = start(g, plan, err);
	if (r == 0 && !wait_for(g, 0, READY_MS))
		r = immure_fail(err, IMMURE_ERR_LAUNCH, EIO, "network", "network.allow",
				"immure-intercept, which ends TLS, did not begin%s%s",
				t->failed_why[0] ? ": " : "", t->failed_why);
	if (r == 0)
		r = make_bundle(t, op->num[0], err);
	if (r == 0)
		r = fill_plan(t, plan, err);
	if (r == 0)
		r = immure_gate_tls_watch(g) ? 0 : failed(err, -errno, "it cannot be watched");
	t->there = r == 0;
	return r;
}

/* ---- while it runs ---- */

void immure_gate_tls_end(struct immure_gatekeeper *g)
{
	struct immure_gate_tls *t = &g->tls;

	if (t->wire_fd >= 0)
		(void)epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, t->wire_fd, NULL);
	immure_close(&t->wire_fd);
	immure_gateproc_end(g->within, &t->pid, &t->pidfd);
	t->on = t->there = false;
	t->unanswered = 0;
	g->config.intercepts = false; /* of the next worker; this one sees it by itself */
}

/* It ended, or is not to be relied on. The next one has the rules of now, the same authority
 * and the same secrets, and connections only when it says that it is ready: until then what
 * rules ask it for is refused. As with the worker: one that ends over and over is an attack. */
static void lost(struct immure_gatekeeper *g)
{
	struct immure_gate_tls *t = &g->tls;
	struct timespec now;

	immure_gate_tls_end(g);
	t->deaths++;
	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	if (now.tv_sec - t->first_death > DEATHS_SECONDS) {
		t->first_death = now.tv_sec;
		t->recent = 0;
	}
	if (++t->recent <= DEATHS_MAX && start(g, &t->plan, NULL) == 0 && immure_gate_tls_watch(g)) {
		t->there = true;
		return;
	}
	immure_gate_tls_end(g);
	t->ended = true;
}

void immure_gate_tls_step(struct immure_gatekeeper *g)
{
	/* A flood of denials must not keep the supervisor from its other work. */
	for (int i = 0; i < HEAR && g->tls.there; i++) {
		int r = hear(g);

		if (r == -EAGAIN)
			return;
		if (r != 1) {
			lost(g);
			return;
		}
	}
}

int immure_gate_tls_link(struct immure_gatekeeper *g)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_LINK };
	int pair[2];

	if (!g->tls.on || immure_lend_pair(pair) < 0)
		return -1;
	if (immure_lend_send(g->tls.wire_fd, &m, &pair[1], 1) < 0)
		immure_close(&pair[0]); /* it is at its end, which is heard of */
	immure_close(&pair[1]);
	return pair[0];
}

/* One that does not take them has the old ones, which is not to be. */
static void await_rules(struct immure_gatekeeper *g, uint64_t id)
{
	if (!wait_for(g, id, ANSWER_MS) || g->tls.done.result < 0)
		lost(g);
}

void immure_gate_tls_rules(struct immure_gatekeeper *g)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_POLICY };
	IMMURE_CLEANUP_FD int config_fd = -1;

	if (!g->tls.there)
		return;
	m.id = ++g->tls.last_id;
	if (immure_egress_config_seal(&g->config, &config_fd) < 0 ||
	    immure_lend_send(g->tls.wire_fd, &m, &config_fd, 1) < 0)
		lost(g);
	else if (g->paused) /* it takes them before it is let run for long */
		g->tls.unanswered = m.id;
	else
		await_rules(g, m.id);
}

void immure_gate_tls_resumed(struct immure_gatekeeper *g)
{
	uint64_t id = g->tls.unanswered;

	g->tls.unanswered = 0;
	if (id && g->tls.there)
		await_rules(g, id);
}
