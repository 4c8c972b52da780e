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
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "plan/seal.h"
#include "session/gatekeep.h"
#include "session/gateproc.h"

enum { READY_MS = 15000, ANSWER_MS = 2000, DAYS = 30, ROOTS_MAX = 16 << 20, HEAR = 64 };

void immure_gate_tls_init(struct immure_gate_tls *t)
{
	memset(t, 0, sizeof(*t));
	t->wire_fd = t->pidfd = -1;
}

void immure_gate_tls_done(struct immure_gate_tls *t)
{
	immure_close(&t->wire_fd);
	immure_gateproc_end(&t->pid, &t->pidfd);
	free(t->bundle);
	t->bundle = NULL;
	if (t->plan.sealed) /* as sealed_anew() left it */
		immure_arena_done(&t->plan.arena);
	immure_arena_done(&t->arena);
	t->on = false;
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

/* ---- secrets ---- */

/* What is only in a variable goes through memory that the two of us share, and nobody else. */
static int from_env(const char *name)
{
	IMMURE_CLEANUP_FD int fd = -1;
	const char *value = getenv(name);
	int r;

	if (!value)
		return -ENOENT;
	fd = memfd_create("immure-secret", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = immure_write_all(fd, value, strlen(value));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return r < 0 ? r : -errno;
	return immure_take_fd(&fd);
}

/* Opened here, since whoever is sealed in opens nothing; read there. */
static int open_source(const char *from)
{
	int fd;
	struct stat st;

	if (strncmp(from, "env:", 4) == 0)
		return from_env(from + 4);
	fd = open(from + strlen("file:"), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		immure_close(&fd);
		return -EINVAL;
	}
	return fd;
}

static int make_placeholder(char *to, size_t cap)
{
	unsigned char random[16];
	size_t n;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	n = (size_t)snprintf(to, cap, "%s", IMMURE_PLACEHOLDER);
	for (size_t i = 0; i < sizeof(random); i++)
		n += (size_t)snprintf(to + n, cap - n, "%02x", random[i]);
	return 0;
}

/* The use of a SECRET operation; its name is returned. NULL: none. */
static const char *use_of(const char *text, struct immure_lend_secret *s)
{
	const char *space = strchr(text, ' ');
	size_t n = space ? (size_t)(space - text) : 0;

	if (n == 6 && memcmp(text, "bearer", 6) == 0)
		s->use = IMMURE_LEND_BEARER;
	else if (n == 5 && memcmp(text, "basic", 5) == 0)
		s->use = IMMURE_LEND_BASIC;
	else if (n > 7 && n - 7 < sizeof(s->header) && memcmp(text, "header:", 7) == 0) {
		s->use = IMMURE_LEND_HEADER;
		memcpy(s->header, text + 7, n - 7);
	} else
		return NULL;
	return space + 1;
}

static bool list_targets(const struct immure_plan *plan, uint64_t number, char *to, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		size_t len = strlen(op->src);

		if (op->kind != IMMURE_OP_SECRET_TO || op->num[0] != number)
			continue;
		if (len + 2 > cap - n)
			return false;
		n += (size_t)snprintf(to + n, cap - n, "%s%s", n ? "|" : "", op->src);
	}
	return n > 0;
}

static int32_t send_secret(struct immure_gate_tls *t, const struct immure_plan *plan,
			   const struct immure_op *op, struct immure_error **err)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_SECRET };
	const char *name = use_of(op->src, &m.secret);
	IMMURE_CLEANUP_FD int fd = -1;
	int32_t r;
	int e;

	if (!name || strlen(name) >= sizeof(m.secret.name) ||
	    !list_targets(plan, op->num[0], m.secret.to, sizeof(m.secret.to)))
		return immure_fail(err, IMMURE_ERR_POLICY, EINVAL, "network", "secrets",
				   "secrets: too much of it, or none");
	(void)snprintf(m.secret.name, sizeof(m.secret.name), "%s", name);
	if (strncmp(op->dst, "env:", 4) == 0) {
		e = make_placeholder(t->placeholder[op->num[0]], IMMURE_LEND_PLACEHOLDER);
		if (e < 0)
			return failed(err, e, "randomness");
		memcpy(m.secret.placeholder, t->placeholder[op->num[0]], IMMURE_LEND_PLACEHOLDER);
	}
	fd = open_source(op->dst);
	if (fd < 0) {
		r = immure_fail(err, IMMURE_ERR_LAUNCH, -fd, "network", "secrets", "secret %s: %s: %s",
				name, op->dst, fd == -ENOENT && op->dst[0] == 'e' ?
				"there is no such variable where the session is supervised" :
				fd == -EINVAL ? "no regular file" : strerror(-fd));
		if (err && *err && op->dst[0] == 'e')
			immure_error_set_hint(*err, "`immure run` has the caller's variables; for other "
					      "sessions name a file: file:/PATH");
		return r;
	}
	e = immure_lend_send(t->wire_fd, &m, &fd, 1);
	return e < 0 ? failed(err, e, "handing over secrets") : 0;
}

/* ---- start ---- */

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
	case IMMURE_LEND_AUTHORITY:
		if (t->bundle)
			return 0;
		t->bundle = strdup(m.authority.pem);
		return t->bundle != NULL;
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

	while (id ? t->answered != id : !t->bundle) {
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
static int32_t append_roots(struct immure_gate_tls *t, int roots_fd, struct immure_error **err)
{
	size_t own = strlen(t->bundle), n = 0;
	struct stat st;
	char *all;

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
	memcpy(all + n + 1, t->bundle, own + 1);
	free(t->bundle);
	t->bundle = all;
	return 0;
}

static int32_t begin(struct immure_gatekeeper *g, const struct immure_plan *plan, int roots_fd,
		     struct immure_error **err)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_BEGIN };
	IMMURE_CLEANUP_FD int config_fd = -1;
	int32_t r = 0;
	int e = immure_egress_config_seal(&g->config, &config_fd), fds[2];

	m.begin.days = DAYS;
	for (size_t i = 0; i < plan->ops_n; i++)
		m.begin.secrets_n += plan->ops[i].kind == IMMURE_OP_SECRET;
	fds[0] = config_fd;
	fds[1] = roots_fd;
	if (e == 0)
		e = immure_lend_send(g->tls.wire_fd, &m, fds, 2);
	if (e < 0)
		return failed(err, e, "telling it the rules");
	for (size_t i = 0; i < plan->ops_n && r == 0; i++)
		if (plan->ops[i].kind == IMMURE_OP_SECRET)
			r = send_secret(&g->tls, plan, &plan->ops[i], err);
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

/* For an init that is a program of its own. Of the plan's hash nothing changes: what is
 * filled in is made for this session alone. */
static int32_t sealed_anew(struct immure_gate_tls *t, const struct immure_plan *plan,
			   struct immure_error **err)
{
	const struct immure_backend *backend = immure_backend_by_name(plan->backend);
	struct immure_gap *gaps = immure_arena_alloc(&t->arena, plan->gaps_n * sizeof(*gaps));
	int32_t r = 0;

	if (!backend || !backend->become)
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

int32_t immure_gate_tls_start(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      const char *egress, struct immure_error **err)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_INTERCEPT);
	IMMURE_CLEANUP_FD int program_fd = -1, roots_fd = -1;
	struct immure_gate_tls *t = &g->tls;
	int32_t r;
	int e;

	if (!op)
		return 0;
	program_fd = open_beside(egress);
	if (program_fd < 0 || immure_fd_raise(&program_fd, 10) < 0)
		return failed(err, -errno, "its program cannot be used");
	roots_fd = open_roots();
	if (roots_fd < 0)
		return failed(err, roots_fd, "the system's trusted certificates");
	e = immure_gateproc_program(program_fd, "immure-intercept", NULL, &t->pid, &t->pidfd, &t->wire_fd);
	if (e < 0)
		return failed(err, e, "it cannot be started");
	r = begin(g, plan, roots_fd, err);
	if (r == 0 && !wait_for(g, 0, READY_MS))
		r = immure_fail(err, IMMURE_ERR_LAUNCH, EIO, "network", "network.allow",
				"immure-intercept, which ends TLS, did not begin%s%s",
				t->failed_why[0] ? ": " : "", t->failed_why);
	if (r == 0 && !op->num[0])
		r = append_roots(t, roots_fd, err);
	if (r == 0)
		r = fill_plan(t, plan, err);
	if (r < 0)
		return r;
	t->on = true;
	g->config.intercepts = true;
	return 0;
}

/* ---- while it runs ---- */

void immure_gate_tls_end(struct immure_gatekeeper *g)
{
	struct immure_gate_tls *t = &g->tls;

	if (t->wire_fd >= 0)
		(void)epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, t->wire_fd, NULL);
	immure_close(&t->wire_fd);
	immure_gateproc_end(&t->pid, &t->pidfd);
	t->ended |= t->on;
	t->on = false;
	g->config.intercepts = false; /* of the next worker; this one sees it by itself */
}

void immure_gate_tls_step(struct immure_gatekeeper *g)
{
	/* A flood of denials must not keep the supervisor from its other work. */
	for (int i = 0; i < HEAR && g->tls.on; i++) {
		int r = hear(g);

		if (r == -EAGAIN)
			return;
		if (r != 1)
			immure_gate_tls_end(g);
	}
}

int immure_gate_tls_link(struct immure_gatekeeper *g)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_LINK };
	int pair[2];

	if (!g->tls.on || immure_lend_pair(pair) < 0)
		return -1;
	if (immure_lend_send(g->tls.wire_fd, &m, &pair[1], 1) < 0) {
		immure_gate_tls_end(g);
		immure_close(&pair[0]);
	}
	immure_close(&pair[1]);
	return pair[0];
}

/* One that does not take them has the old ones, which is not to be. */
void immure_gate_tls_rules(struct immure_gatekeeper *g)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_POLICY };
	IMMURE_CLEANUP_FD int config_fd = -1;
	int r;

	if (!g->tls.on)
		return;
	m.id = ++g->tls.last_id;
	r = immure_egress_config_seal(&g->config, &config_fd);
	if (r == 0)
		r = immure_lend_send(g->tls.wire_fd, &m, &config_fd, 1);
	if (r < 0 || !wait_for(g, m.id, ANSWER_MS) || g->tls.done.result < 0)
		immure_gate_tls_end(g);
}
