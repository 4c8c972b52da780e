/* SPDX-License-Identifier: Apache-2.0 */
#include "session/pool_zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "session/refused.h"
#include "session/watch.h"

enum { SPARE_LEAVES = 4 };

/* ---- what it can be ---- */

static const struct {
	enum immure_op_kind kind;
	const char *key, *why;
} not_here[] = {
	{ IMMURE_OP_EGRESS, "network.mode", "a limited network has one gatekeeper for each session" },
	{ IMMURE_OP_PUBLISH, "network.publish", "a published port leads to one session" },
	{ IMMURE_OP_NET_HOST, "network.mode", "on the host's network commands would reach each other" },
	{ IMMURE_OP_IDMAP_SUBID, "identity", "each command has one id, not a range of them" },
	{ IMMURE_OP_OVERLAY, "workspace.mode", "each command would need a layer of its own for its changes" },
	{ IMMURE_OP_JOURNAL, "journal", "commands do not pass by anybody who could write them down" },
	{ IMMURE_OP_MEDIATOR, "mediator.ask", "commands do not pass by anybody who could ask" },
	{ IMMURE_OP_OUTPUT_CAP, "limits.output", "a command writes to its caller's descriptors itself" },
};

/* A layer that only is read can be everybody's. */
static bool is_common(const struct immure_op *op)
{
	return op->kind == IMMURE_OP_OVERLAY && op->flags == IMMURE_OPF_RO;
}

int32_t immure_pool_zygote_can(const struct immure_plan *plan, struct immure_error **err)
{
	int32_t r = 0;

	if (strcmp(plan->backend, "native") != 0)
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "backend",
				"sandboxes are made after a template by the backend native, not by %s",
				plan->backend);
	for (size_t i = 0; i < plan->ops_n && r == 0; i++)
		for (size_t j = 0; j < sizeof(not_here) / sizeof(not_here[0]) && r == 0; j++)
			if (plan->ops[i].kind == not_here[j].kind && !is_common(&plan->ops[i]))
				r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", not_here[j].key,
						"not with a template: %s", not_here[j].why);
	if (r < 0 && err && *err)
		immure_error_set_hint(*err, "a pool without --mode zygote can");
	return r;
}

/* ---- what it says ---- */

static void ended(struct immure_holder *p, struct immure_error *err)
{
	if (!err)
		(void)immure_fail(&err, IMMURE_ERR_LAUNCH, ECHILD, "pool", "", "the template has ended");
	immure_error_free(p->failure);
	p->failure = err;
	p->ending = true;
	if (p->starter)
		immure_pool_refuse(p, p->starter, p->starter_request, p->failure);
	if (p->starter)
		p->failure = NULL; /* freed with the answer */
	p->starter = NULL;
}

static struct immure_error *carried(const struct immure_init_msg *m)
{
	struct immure_error *err = NULL;

	(void)immure_refused(m, IMMURE_ERR_LAUNCH, &err);
	return err;
}

static void on_line(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	struct immure_pool_zygote *z = p->zygote;
	union {
		struct immure_init_msg msg;
		struct immure_init_reply reply;
	} m;
	ssize_t n = recv(w->fd, &m, sizeof(m), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof(m.msg) && m.msg.type == IMMURE_INIT_READY)
		z->ready = true;
	else if (n == sizeof(m.msg) && m.msg.type == IMMURE_INIT_FAILED)
		ended(p, carried(&m.msg));
	else if (n == sizeof(m.reply) && m.reply.type == IMMURE_INIT_NOTE)
		immure_pool_zygote_settle(p); /* nothing runs */
	else
		ended(p, NULL);
	immure_pool_step(p);
}

/* ---- its life ---- */

int32_t immure_pool_zygote_start(struct immure_holder *p, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int null = immure_open_null();
	int stdio[3] = { null, null, null };
	struct immure_pool_zygote *z;
	int32_t r = immure_pool_zygote_can(p->plan, err);
	void *page;

	if (r < 0)
		return r;
	z = p->zygote = calloc(1, sizeof(*z));
	page = mmap(NULL, sizeof(*z->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!z || page == MAP_FAILED || null < 0)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
	z->line.fd = -1;
	z->leaves = (struct immure_pool_leaves)IMMURE_POOL_LEAVES_INIT;
	z->shared = page;
	immure_sealed_init(&z->sealed, p->plan);
	z->sealed.init.serve = z->sealed.init.template = true;
	z->sealed.init.spares = p->book.size;
	z->sealed.init.most = p->book.max;
	z->sealed.init.shared = z->shared;
	z->sealed.init.soft_files = p->files.rlim_cur;
	/* Those that have answered keep theirs for a moment. */
	r = immure_pool_leaves_make(&z->leaves, p->plan, p->book.max + SPARE_LEAVES, err);
	z->sealed.init.leaves = z->leaves.v;
	z->sealed.init.leaves_n = z->leaves.n;
	if (r == 0)
		r = immure_sealed_prepare(&z->sealed, err);
	if (r == 0)
		r = immure_sealed_start(&z->sealed, stdio, err);
	if (r < 0)
		return r;
	z->line = (struct immure_pool_watch){ .fd = z->sealed.sock_fd, .ready = on_line };
	if (immure_pool_watch(p, &z->line) < 0)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "epoll: out of memory");
	return 0;
}

int immure_pool_zygote_lane(struct immure_holder *p)
{
	struct immure_init_order o = { .type = IMMURE_INIT_LANE };
	struct iovec iov = { &o, sizeof(o) };
	int pair[2];
	ssize_t r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = immure_fdmsg_send(p->zygote->sealed.sock_fd, &iov, 1, &pair[1], 1, MSG_DONTWAIT);
	immure_close(&pair[1]);
	if (r < 0)
		immure_close(&pair[0]);
	return r < 0 ? (int)r : pair[0];
}

void immure_pool_zygote_settle(struct immure_holder *p)
{
	struct immure_pool_zygote *z = p->zygote;
	uint64_t count = __atomic_load_n(&z->shared->started, __ATOMIC_ACQUIRE);
	struct immure_result *found;

	if (count == z->looked)
		return;
	found = immure_result_new();
	if (found) {
		immure_watch_collect(p->plan, &z->sealed.since,
				     p->plan->state_dir[0] ? p->plan->state_dir : NULL, found);
		/* What still runs may leave more. */
		z->looked = z->shared->running ? z->looked : count;
	}
	immure_result_free(found);
}

void immure_pool_zygote_note(const struct immure_holder *p, struct immure_status *st)
{
	const struct immure_init_shared *s = p->zygote->shared;

	st->running = s->running;
	st->started = (uint32_t)s->started;
	(void)snprintf(st->note, sizeof(st->note), "a sandbox for each command, at most %u", p->book.max);
}

void immure_pool_zygote_stats(const struct immure_holder *p, struct immure_jsonw *w)
{
	const struct immure_init_shared *s = p->zygote->shared;

	immure_jsonw_uint(w, "started", s->started);
	immure_jsonw_uint(w, "ended", s->ended);
	immure_jsonw_uint(w, "running", s->running);
	immure_jsonw_uint(w, "lanes", s->lanes);
	immure_jsonw_int(w, "template_pid", p->zygote->sealed.child.pid);
}

int immure_pool_zygote_end(struct immure_holder *p)
{
	struct immure_pool_zygote *z = p->zygote;
	char left[4096];
	int r, leaves;

	if (!z)
		return 0;
	if (z->line.fd >= 0 && z->line.watched)
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, z->line.fd, NULL); /* it is in */
	immure_sealed_kill(&z->sealed);
	immure_sealed_end(&z->sealed, NULL);
	if (z->ready) /* they are all dead, whatever the count says */
		z->shared->running = 0, immure_pool_zygote_settle(p);
	r = immure_sealed_done(&z->sealed, left, sizeof(left));
	leaves = immure_pool_leaves_done(&z->leaves);
	r = r < 0 ? r : leaves;
	if (z->shared)
		(void)munmap(z->shared, sizeof(*z->shared)); /* its own mapping */
	free(z);
	p->zygote = NULL;
	return r;
}
