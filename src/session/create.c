/* SPDX-License-Identifier: Apache-2.0 */
/* How a session comes to be: what its maker asks for, init's start, and what init says
 * from then on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/ahead.h"
#include "backend/backend.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/mould.h"
#include "session/refused.h"
#include "session/serve.h"
#include "session/snapshot.h"

/* ---- init ---- */

static void took_handles(struct immure_server *s, const struct immure_init_msg *m, int *fds, size_t n)
{
	for (size_t i = 0; i < n && i < IMMURE_HANDLE_MAX; i++)
		if (m->status & (1 << i)) {
			immure_close(&s->handle[i]);
			s->handle[i] = immure_take_fd(&fds[i]);
		}
}

/* Answers create, and take. */
static void answer_creator(struct immure_server *s)
{
	const int *fd = s->give_root ? &s->handle[IMMURE_HANDLE_ROOT] : &s->creator_lane;
	struct immure_jsonw w;
	struct immure_buf b = IMMURE_BUF_INIT;

	if (!s->creator)
		return;
	immure_answer_begin(&w, &b, s->creator_request);
	immure_jsonw_str(&w, "session", s->entry.id);
	immure_jsonw_str(&w, "state", immure_state_name(s->state));
	if (s->creator_lane >= 0)
		immure_life_lane_tell(s, &w);
	immure_answer_send(s, s->creator, &w, fd, *fd >= 0);
	immure_close(&s->creator_lane);
	s->creator = NULL;
}

static void created(struct immure_server *s)
{
	/* Whoever takes one that was made in advance has no time to lose. */
	if (s->taken && immure_state_may_become(s->state, IMMURE_STATE_RUNNING)) {
		s->state = IMMURE_STATE_RUNNING;
		answer_creator(s);
		if (geteuid() == 0) /* it was for init; we see the host's tree from here */
			immure_close(&s->handle[IMMURE_HANDLE_HOSTNS]);
		immure_book_status(s, "");
	}
	immure_server_state(s, IMMURE_STATE_RUNNING, "");
	s->active_ms = immure_server_ms();
	s->armed_ms = 0;
	immure_life_arm(s);
	answer_creator(s);
}

static void not_created(struct immure_server *s, const struct immure_init_msg *m)
{
	struct immure_error *err = NULL;

	if (m)
		(void)immure_refused(m, IMMURE_ERR_LAUNCH, &err);
	else
		(void)immure_fail(&err, IMMURE_ERR_LAUNCH, ECHILD, "start", "", "start: %s", s->attacking ?
				  "the attack from inside did not come to an end" : "init ended before it was ready");
	if (s->creator)
		immure_answer_error(s, s->creator, s->creator_request, err);
	s->creator = NULL;
	s->exit_status = 1;
	immure_error_free(err);
}

void immure_create_ended(struct immure_server *s)
{
	not_created(s, NULL);
}

void immure_server_created(struct immure_server *s, const struct immure_error *why_not)
{
	if (!why_not) {
		created(s);
		return;
	}
	if (s->creator)
		immure_answer_error(s, s->creator, s->creator_request, why_not);
	s->creator = NULL;
	s->exit_status = 1;
	immure_sealed_kill(&s->sealed);
}

static void took_network(struct immure_server *s, const struct immure_init_msg *m, int *fds, size_t n)
{
	struct immure_error *err = NULL;
	int all[IMMURE_INIT_FDS_MAX];

	for (size_t i = 0; i < IMMURE_INIT_FDS_MAX; i++)
		all[i] = i < n ? immure_take_fd(&fds[i]) : -1;
	if (immure_gatekeeper_adopt(s->sealed.gate, m, all, n, s->sealed.child.pid, &err) < 0) {
		if (s->creator)
			immure_answer_error(s, s->creator, s->creator_request, err);
		s->creator = NULL;
		s->exit_status = 1;
		immure_sealed_kill(&s->sealed);
	}
	immure_gatekeeper_tell(s->sealed.gate, immure_book_denial, s);
	immure_error_free(err);
}

static void give_up(struct immure_server *s, const struct immure_error *err)
{
	if (s->creator)
		immure_answer_error(s, s->creator, s->creator_request, err);
	s->creator = NULL;
	s->exit_status = 1;
	s->remove = true; /* nobody has heard of it */
	immure_sealed_kill(&s->sealed);
}

static void proved(struct immure_server *s, int status)
{
	struct immure_error *err = NULL;

	if (immure_prove_ended(s, status, &err) == 0 && immure_snapshot_fill(s, &err) == 0) {
		s->init_ready = true;
		created(s);
		return;
	}
	give_up(s, err);
	immure_error_free(err);
}

/* Sealed in, and nobody has run anything. */
static void ready(struct immure_server *s)
{
	struct immure_error *err = NULL;

	if (immure_snapshot_fill(s, &err) == 0) {
		s->init_ready = true;
		if (!immure_reuse_ready(s))
			created(s);
		return;
	}
	give_up(s, err);
	immure_error_free(err);
}

static void on_metadata(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	(void)events;
	immure_metadata_step(&s->sealed.metadata);
	if (s->sealed.metadata.listener_fd < 0) {
		w->fd = -1; /* closed, and so not watched */
		w->events = 0;
	}
}

static void old_message(struct immure_server *s, const struct immure_init_msg *m, int *fds, size_t n)
{
	if (m->type == IMMURE_INIT_NETWORK) {
		took_network(s, m, fds, n);
	} else if (m->type == IMMURE_INIT_LISTENER && n == 1) {
		s->sealed.metadata.listener_fd = immure_take_fd(&fds[0]);
		s->metadata = (struct immure_watch){ .fd = s->sealed.metadata.listener_fd, .ready = on_metadata };
		(void)immure_server_watch(s, &s->metadata, EPOLLIN); /* no memory: nobody is answered */
	} else if (m->type == IMMURE_INIT_HANDLES) {
		took_handles(s, m, fds, n);
	} else if (m->type == IMMURE_INIT_READY && s->before) {
		immure_ahead_reap(s->sealed.plan->ahead);
		if (immure_prove_start(s) < 0)
			immure_sealed_kill(&s->sealed); /* its end is seen */
	} else if (m->type == IMMURE_INIT_EXITED && s->attacking) {
		proved(s, m->status);
	} else if (m->type == IMMURE_INIT_READY) {
		immure_ahead_reap(s->sealed.plan->ahead);
		ready(s);
	} else if (m->type == IMMURE_INIT_WAITS) {
		s->awaiting = true;
		answer_creator(s);
	} else if (m->type == IMMURE_INIT_FAILED) {
		not_created(s, m);
		s->init_gone = true;
	} else if (m->type == IMMURE_INIT_OVER_MEMORY && !s->attacking) {
		s->over_memory = true;
		immure_book_status(s, "limits.memory: the limit was reached; everything was killed");
	}
}

static void on_init(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	union {
		struct immure_init_msg msg;
		struct immure_init_reply reply;
	} m;
	int fds[IMMURE_INIT_FDS_MAX];
	size_t n;
	ssize_t len = immure_fdmsg_receive(w->fd, &m, sizeof(m), fds, IMMURE_INIT_FDS_MAX, &n,
					   MSG_DONTWAIT);

	(void)events;
	if (len == -EAGAIN || len == -EINTR)
		return;
	if (len == sizeof(m.msg))
		old_message(s, &m.msg, fds, n);
	else if (len == sizeof(m.reply) && m.reply.type == IMMURE_INIT_STATS)
		immure_life_measured(s, &m.reply);
	else if (len == sizeof(m.reply) && m.reply.type == IMMURE_INIT_NOTE && m.reply.status == 1)
		immure_life_woken(s);
	else if (len == sizeof(m.reply) && m.reply.type == IMMURE_INIT_NOTE)
		s->notes_running = (uint32_t)m.reply.pid, immure_life_touch(s);
	else if (len == sizeof(m.reply) && m.reply.type == IMMURE_INIT_WIPED)
		immure_reuse_wiped(s, &m.reply);
	else if (len == sizeof(m.reply) && m.reply.type == IMMURE_INIT_FILED)
		immure_inside_answered(s, &m.reply, n ? &fds[0] : NULL);
	else if (len == sizeof(m.reply))
		immure_task_reply(s, &m.reply, n ? &fds[0] : NULL);
	else
		s->init_gone = true; /* the end of init, or of sense */
	immure_close_all(fds, n);
}

static void on_init_end(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	(void)events;
	(void)immure_server_watch(s, w, 0); /* what it said last is read first */
	if (s->init_sock.fd < 0 || s->init_sock.events == 0)
		s->init_gone = true;
}

/* ---- making it ---- */

/* Many of a plan: somebody is sent ahead into the mould's namespaces, who makes the network
 * while we write down what is being made. Where he cannot be, it is made the ordinary way. */
static void begin_after_mould(struct immure_server *s)
{
	const struct immure_mould *m = s->sealed.init.mould;

	if (m)
		s->sealed.child.ahead = immure_ahead_start_in(m->user_fd, m->mount_fd,
							      immure_plan_find(s->plan, IMMURE_OP_LOOPBACK) != NULL);
}

void immure_create_let_go(struct immure_server *s)
{
	struct immure_mould *m = s->mould;

	immure_ahead_free(s->sealed.child.ahead);
	s->sealed.child.ahead = NULL;
	s->sealed.init.mould = NULL;
	if (!m)
		return;
	immure_close(&m->user_fd);
	immure_close(&m->mount_fd);
	immure_close(&m->host_fd);
}

static int32_t start_init(struct immure_server *s, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int null = immure_open_null();
	const struct immure_backend *backend = immure_backend_by_name(s->plan->backend);
	int stdio[3] = { null, null, null };
	void *page = MAP_FAILED;
	int32_t r;

	if (null < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, null, "start", "/dev/null", "/dev/null: %s",
				   strerror(-null));
	/* An init that is a program executed anew has no memory in common with us: it
	 * tells what it counts in messages. */
	if (!backend || !backend->become)
		page = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->shared = page == MAP_FAILED ? NULL : page;
	s->sealed.init.shared = s->shared;
	s->sealed.init.serve = true;
	s->sealed.init.handles = true;
	s->sealed.init.attachable = geteuid() != 0;
	s->sealed.init.waits = s->waits;
	r = immure_sealed_start(&s->sealed, stdio, err);
	immure_create_let_go(s);
	if (r < 0)
		return r;
	s->init_sock.fd = s->sealed.sock_fd;
	s->init_sock.ready = on_init;
	s->init_pidfd.fd = s->sealed.child.pidfd;
	s->init_pidfd.ready = on_init_end;
	if (immure_server_watch(s, &s->init_sock, EPOLLIN) < 0 ||
	    immure_server_watch(s, &s->init_pidfd, EPOLLIN) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, ENOMEM, "start", "", "epoll: %s",
				   strerror(ENOMEM));
	return 0;
}

static int32_t take_lifetime(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	const char *lifetime = "caller", *on_idle = "suspend", *name = NULL;
	struct immure_meta *m = &s->meta;
	bool again = false;
	int32_t r = immure_arg_string(a, "lifetime", &lifetime);

	if (r == 0)
		r = immure_arg_bool(a, "reuse", &again);
	if (r == 0 && again)
		r = immure_reuse_begin(s, &a->err);
	if (r == 0)
		r = immure_arg_string(a, "on_idle", &on_idle);
	if (r == 0)
		r = immure_arg_string(a, "name", &name);
	if (r == 0)
		r = immure_arg_uint(a, "idle_ms", UINT32_MAX * 1000ULL, &m->idle_ms);
	if (r == 0)
		r = immure_arg_uint(a, "life_ms", UINT32_MAX * 1000ULL, &m->life_ms);
	if (r == 0)
		r = immure_arg_bool(a, "remove", &s->remove);
	if (r == 0)
		r = immure_arg_bool(a, "root", &s->give_root);
	if (r < 0)
		return r;
	for (m->lifetime = 0; m->lifetime < IMMURE_LIFETIME_MAX; m->lifetime++)
		if (strcmp(immure_lifetime_name(m->lifetime), lifetime) == 0)
			break;
	s->idle_stops = strcmp(on_idle, "stop") == 0;
	if (m->lifetime == IMMURE_LIFETIME_MAX || (!s->idle_stops && strcmp(on_idle, "suspend") != 0))
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "lifetime",
				       "lifetime is caller, detached or leased; on_idle suspend or stop");
	if (name && !immure_name_valid(name))
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "name",
				       "a name is a letter, then letters, digits, '_', '-' or '.', "
				       "at most %d", IMMURE_NAME_MAX);
	if (name)
		memcpy(m->name, name, strlen(name) + 1);
	s->idle_ms = m->idle_ms;
	s->life_end_ms = m->life_ms ? immure_server_ms() + m->life_ms : 0;
	return 0;
}

int32_t immure_server_labels(struct immure_ask *a)
{
	const struct immure_jsonr_value *labels = immure_jsonr_get(&a->json, a->root, "labels"), *v;
	struct immure_meta *m = &a->s->meta;

	if (labels && labels->type != IMMURE_JSON_OBJECT)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "labels", "labels is an object");
	for (v = immure_jsonr_first(&a->json, labels); v; v = immure_jsonr_after(&a->json, labels, v)) {
		struct immure_label *l = &m->labels[m->labels_n];

		if (v->type != IMMURE_JSON_STRING || !immure_label_valid(v->key, v->text) ||
		    m->labels_n == IMMURE_LABELS_MAX)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "labels", "%s: no label, or "
					       "more than %d of them", v->key, IMMURE_LABELS_MAX);
		memcpy(l->key, v->key, strlen(v->key) + 1);
		memcpy(l->value, v->text, strlen(v->text) + 1);
		m->labels_n++;
	}
	return 0;
}

int32_t immure_server_create(struct immure_server *s, struct immure_ask *a)
{
	const char *runtime = NULL;
	int32_t r = take_lifetime(a);

	if (!a->c->boss)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "only who started this may create");
	if (r == 0)
		r = immure_server_labels(a);
	if (r == 0)
		r = immure_snapshot_given(a);
	if (r == 0)
		r = immure_arg_string(a, "runtime", &runtime);
	if (r == 0 && (!runtime || runtime[0] != '/'))
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "runtime", "no absolute runtime directory");
	if (r == 0 && s->unprovable)
		r = immure_fail(&a->err, immure_error_code(s->unprovable), immure_error_errno(s->unprovable),
				"proof", immure_error_subject(s->unprovable), "%s",
				immure_error_text(s->unprovable));
	if (r == 0)
		begin_after_mould(s);
	if (r == 0)
		r = immure_book_create(s, runtime, &a->err);
	if (r == 0)
		immure_server_state(s, IMMURE_STATE_PREPARED, "");
	if (r == 0)
		r = immure_sealed_prepare(&s->sealed, &a->err);
	if (r == 0)
		r = immure_snapshot_fill_upper(s, &a->err);
	if (r == 0)
		r = start_init(s, &a->err);
	if (r == 0)
		r = immure_book_listen(s, &a->err);
	if (r < 0) {
		immure_sealed_kill(&s->sealed);
		s->init_gone = true;
		s->exit_status = 1;
		return r;
	}
	s->creator = a->c;
	s->creator_request = a->id;
	return 0;
}
