/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the server of a session: requests and their answers, events in
 * between, and the lane that leads to init directly. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "lib/session.h"
#include "plan/plan.h"
#include "session/control.h"

/* What it said before is still to be read, and then its end. */
static int32_t unheard(const struct immure_link *l, struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_STATE, EPIPE, "session", l->session,
			   "the session has ended");
}

static int32_t gone(struct immure_link *l, struct immure_error **err)
{
	l->ended = true;
	return unheard(l, err);
}

/* ---- life ---- */

static int32_t link_alloc(int *fd, struct immure_link **ret, struct immure_error **err)
{
	struct immure_link *l = calloc(1, sizeof(*l));

	if (l) {
		l->packet = malloc(IMMURE_LINK_PACKET + 1);
		l->values = malloc(IMMURE_LINK_VALUES * sizeof(*l->values));
	}
	if (!l || !l->packet || !l->values) {
		if (l) {
			free(l->packet);
			free(l->values);
		}
		free(l);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");
	}
	l->fd = immure_take_fd(fd);
	l->lane_fd = l->epoll_fd = -1;
	l->owner = getpid();
	l->last = &l->first;
	l->next_id = l->next_lane_id = 1;
	*ret = l;
	return 0;
}

int32_t immure_link_adopt(int *fd, int *lane_fd, const char *session, struct immure_link **ret,
			  struct immure_error **err)
{
	int32_t r = link_alloc(fd, ret, err);

	if (r < 0)
		return r;
	(*ret)->lane_tried = *lane_fd >= 0;
	(*ret)->lane_fd = immure_take_fd(lane_fd);
	(*ret)->next_id = 1 << 20; /* the pool's own numbers were small */
	(void)strncpy((*ret)->session, session, sizeof((*ret)->session) - 1);
	memcpy((*ret)->state, "RUNNING", 8);
	return 0;
}

int32_t immure_link_new(int *fd, struct immure_link **ret, struct immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	struct immure_link *l;
	int32_t r = link_alloc(fd, &l, err);

	if (r < 0)
		return r;
	immure_link_begin(l, &ask, "hello");
	immure_jsonw_uint(&ask.w, "protocol", 1);
	r = immure_link_request(l, &ask, &root, NULL, err);
	if (r < 0) {
		immure_link_free(l);
		return r;
	}
	(void)strncpy(l->session, immure_link_string(l, root, "session"), sizeof(l->session) - 1);
	(void)strncpy(l->state, immure_link_string(l, root, "state"), sizeof(l->state) - 1);
	(void)strncpy(l->mode, immure_link_string(l, root, "mode"), sizeof(l->mode) - 1);
	*ret = l;
	return 0;
}

void immure_link_free(struct immure_link *l)
{
	while (l->first) {
		struct immure_link_event *e = l->first;

		l->first = e->next;
		free(e);
	}
	for (struct immure_process *p = l->processes; p; p = p->next)
		p->link = NULL;
	immure_close(&l->lane_fd);
	immure_close(&l->epoll_fd);
	immure_close(&l->fd);
	free(l->packet);
	free(l->values);
	free(l);
}

int immure_link_pollable(struct immure_link *l)
{
	struct epoll_event e = { .events = EPOLLIN };

	if (l->epoll_fd >= 0)
		return l->epoll_fd;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->fd, &e) < 0 ||
	    (l->lane_fd >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->lane_fd, &e) < 0))
		immure_close(&l->epoll_fd);
	return l->epoll_fd;
}

/* ---- events ---- */

static struct immure_process *process_of(struct immure_link *l, bool lane, uint64_t id)
{
	struct immure_process *p = l->processes;

	while (p && !(p->lane == lane && p->id == id))
		p = p->next;
	return p;
}

/* What nobody takes must not pile up for ever: the oldest output goes. */
static void enqueue(struct immure_link *l, struct immure_link_event *e)
{
	struct immure_link_event **at = &l->first;

	*l->last = e;
	l->last = &e->next;
	l->queued += e->event.bytes;
	while (l->queued > IMMURE_LINK_QUEUE && *at) {
		struct immure_link_event *old = *at;

		if (old->event.type != IMMURE_EVENT_OUTPUT || old == e) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		if (l->last == &old->next)
			l->last = at;
		l->queued -= old->event.bytes;
		for (struct immure_link_event *n = *at; n; n = n->next)
			if (n->event.process == old->event.process && n->event.stream == old->event.stream) {
				n->event.lost += old->event.bytes + old->event.lost;
				break;
			}
		free(old);
	}
}

static struct immure_link_event *event_new(uint32_t type, struct immure_process *p, size_t room)
{
	struct immure_link_event *e = calloc(1, sizeof(*e) + room + 1);

	if (e)
		e->event = (struct immure_event){ .size = sizeof(e->event), .type = type, .process = p };
	return e;
}

static void took_frame(struct immure_link *l, const struct immure_jsonr_value *root)
{
	struct immure_process *p = process_of(l, false, immure_link_uint(l, root, "exec"));
	const char *data = immure_link_string(l, root, "data");
	size_t len = strlen(data);
	struct immure_link_event *e = p ? event_new(IMMURE_EVENT_OUTPUT, p, len) : NULL;
	long n;

	if (!e)
		return;
	memcpy(e->data, data, len);
	n = immure_base64_decode(e->data, len);
	e->event.stream = strcmp(immure_link_string(l, root, "stream"), "stderr") == 0 ? 2 : 1;
	e->event.cursor = immure_link_uint(l, root, "cursor");
	e->event.lost = immure_link_uint(l, root, "lost");
	e->event.bytes = n > 0 ? (uint64_t)n : 0;
	e->event.data = e->data;
	(void)strncpy(e->event.sha256, immure_link_string(l, root, "sha256"), sizeof(e->event.sha256) - 1);
	enqueue(l, e);
}

static void ended(struct immure_link *l, struct immure_process *p)
{
	struct immure_link_event *e = event_new(IMMURE_EVENT_EXITED, p, 0);

	p->over = true;
	if (e)
		enqueue(l, e);
}

static void took_exited(struct immure_link *l, const struct immure_jsonr_value *root)
{
	struct immure_process *p = process_of(l, false, immure_link_uint(l, root, "exec"));
	struct immure_exit *x = p ? &p->exit : NULL;

	if (!p || p->over)
		return;
	x->code = (int32_t)immure_link_uint(l, root, "code");
	x->signo = (int32_t)immure_link_uint(l, root, "signal");
	x->timed_out = (int32_t)immure_link_uint(l, root, "timed_out");
	x->over_memory = (int32_t)immure_link_uint(l, root, "over_memory");
	x->output_cut = (uint32_t)immure_link_uint(l, root, "output_cut");
	x->wall_us = immure_link_uint(l, root, "wall_us");
	x->cpu_user_us = immure_link_uint(l, root, "cpu_user_us");
	x->cpu_system_us = immure_link_uint(l, root, "cpu_system_us");
	x->peak_memory = immure_link_uint(l, root, "peak_memory");
	x->stdout_bytes = immure_link_uint(l, immure_jsonr_get(&l->json, root, "stdout"), "bytes");
	x->stderr_bytes = immure_link_uint(l, immure_jsonr_get(&l->json, root, "stderr"), "bytes");
	ended(l, p);
}

static void took_denial(struct immure_link *l, const struct immure_jsonr_value *root)
{
	char *text = immure_link_text(l, root);
	size_t len = text ? strlen(text) : 0;
	struct immure_link_event *e = text ? event_new(IMMURE_EVENT_DENIAL, NULL, len) : NULL;

	if (e) { /* else there is a gap in the numbers */
		memcpy(e->data, text, len + 1);
		e->event.cursor = immure_link_uint(l, root, "number");
		e->event.bytes = len;
		e->event.data = e->data;
		enqueue(l, e);
	}
	free(text);
}

static void session_ended(struct immure_link *l)
{
	struct immure_link_event *e;

	if (l->ended)
		return;
	l->ended = true;
	/* What ran in it was killed with it. */
	for (struct immure_process *p = l->processes; p; p = p->next)
		if (!p->over) {
			p->exit.code = -1;
			p->exit.signo = 9;
			ended(l, p);
		}
	e = event_new(IMMURE_EVENT_SESSION_ENDED, NULL, 0);
	if (e)
		enqueue(l, e);
}

/* ---- messages ---- */

/* One packet: 1 parsed into l->json, 0 nothing now (or interrupted), or a code. */
static int32_t receive(struct immure_link *l, bool wait, int *ret_fds, size_t want, struct immure_error **err)
{
	int fds[4] = { -1, -1, -1, -1 };
	size_t n = 0;
	ssize_t len = immure_fdmsg_receive(l->fd, l->packet, IMMURE_LINK_PACKET, fds, 4, &n,
					   wait ? 0 : MSG_DONTWAIT);

	for (size_t i = 0; i < want && i < n; i++)
		ret_fds[i] = immure_take_fd(&fds[i]);
	immure_close_all(fds, n);
	if (len == -EAGAIN || len == -EINTR)
		return 0;
	if (len <= 0 && len != -EMSGSIZE) {
		session_ended(l);
		return gone(l, err);
	}
	if (len < 0 || immure_jsonr_parse(&l->json, l->packet, (size_t)len, l->values,
					  IMMURE_LINK_VALUES) < 0)
		return immure_fail(err, IMMURE_ERR_IO, EPROTO, "session", l->session,
				   "the supervisor's answer cannot be read");
	return 1;
}

static bool take_event(struct immure_link *l, const struct immure_jsonr_value *root)
{
	const char *event = immure_link_string(l, root, "event");

	if (strcmp(event, "frame") == 0)
		took_frame(l, root);
	else if (strcmp(event, "exited") == 0)
		took_exited(l, root);
	else if (strcmp(event, "denial") == 0)
		took_denial(l, root);
	return event[0] != '\0';
}

static int32_t read_messages(struct immure_link *l, bool wait, bool until_event, struct immure_error **err)
{
	int32_t r = 1;

	while (r == 1 && !l->ended && !(until_event && l->first)) {
		struct immure_error *e = NULL;

		r = receive(l, wait, NULL, 0, &e);
		wait = false;
		if (r == 1)
			(void)take_event(l, &l->json.v[0]); /* a late answer is nobody's */
		if (r < 0 && !l->ended) {
			if (err)
				*err = e;
			else
				immure_error_free(e);
			return r;
		}
		immure_error_free(e);
	}
	return 0;
}

int32_t immure_link_read(struct immure_link *l, bool wait, struct immure_error **err)
{
	return read_messages(l, wait, false, err);
}

int32_t immure_link_read_event(struct immure_link *l, struct immure_error **err)
{
	return read_messages(l, false, true, err);
}

void immure_link_begin(struct immure_link *l, struct immure_link_ask *ask, const char *op)
{
	*ask = (struct immure_link_ask){ .id = l->next_id++, .op = op };
	immure_jsonw_init(&ask->w, &ask->text, 0);
	immure_jsonw_object(&ask->w, NULL);
	immure_jsonw_uint(&ask->w, "id", ask->id);
	immure_jsonw_str(&ask->w, "op", op);
}

/* More than a packet holds goes by way of a file in memory. */
static int32_t send_large(struct immure_link *l, struct immure_link_ask *ask, const int *fds, size_t n,
			  struct immure_error **err);

int32_t immure_link_send(struct immure_link *l, struct immure_link_ask *ask, const int *fds, size_t n,
			 struct immure_error **err)
{
	struct iovec iov;
	ssize_t sent;

	if (ask->w.depth)
		immure_jsonw_end(&ask->w, '}');
	if (!immure_buf_ok(&ask->text)) {
		immure_buf_done(&ask->text);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");
	}
	if (ask->text.len > IMMURE_LINK_PACKET)
		return send_large(l, ask, fds, n, err);
	iov = (struct iovec){ ask->text.data, ask->text.len };
	sent = immure_fdmsg_send(l->fd, &iov, 1, fds, n, 0);
	immure_buf_done(&ask->text);
	if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET)
		return immure_fail(err, IMMURE_ERR_IO, (int)-sent, "session", l->session, "cannot ask: %s",
				   strerror((int)-sent));
	return sent < 0 ? unheard(l, err) : 0;
}

static int32_t send_large(struct immure_link *l, struct immure_link_ask *ask, const int *fds, size_t n,
			  struct immure_error **err)
{
	IMMURE_CLEANUP_FD int memfd = immure_memfd_of("immure-request", ask->text.data, ask->text.len);
	int all[IMMURE_FDMSG_MAX];
	struct immure_link_ask small = { .id = ask->id };

	/* The small one names the file; what it asks for is in there as well. */
	immure_buf_done(&ask->text);
	if (memfd < 0 || n + 1 > 8)
		return immure_fail(err, IMMURE_ERR_IO, memfd < 0 ? -memfd : E2BIG, "session", "",
				   "the request is too large");
	if (n > 0)
		memcpy(all, fds, n * sizeof(*fds));
	all[n] = memfd;
	immure_jsonw_init(&small.w, &small.text, 0);
	immure_jsonw_object(&small.w, NULL);
	immure_jsonw_uint(&small.w, "id", ask->id);
	immure_jsonw_str(&small.w, "op", ask->op);
	immure_jsonw_object(&small.w, "params");
	immure_jsonw_uint(&small.w, "fd", n);
	immure_jsonw_end(&small.w, '}');
	return immure_link_send(l, &small, all, n + 1, err);
}

int32_t immure_link_answer_fds(struct immure_link *l, const struct immure_link_ask *ask,
			       const struct immure_jsonr_value **ret, int *ret_fds, size_t want,
			       struct immure_error **err)
{
	for (;;) {
		const struct immure_jsonr_value *root, *ok;
		int fds[2] = { -1, -1 };
		int32_t r = l->ended ? gone(l, err) : receive(l, true, fds, 2, err);

		if (r < 0)
			return r;
		root = &l->json.v[0];
		if (r == 0 || take_event(l, root) || immure_link_uint(l, root, "id") != ask->id) {
			immure_close_all(fds, 2);
			continue;
		}
		ok = immure_jsonr_get(&l->json, root, "ok");
		for (size_t i = 0; i < want && ok && ok->integer; i++)
			ret_fds[i] = immure_take_fd(&fds[i]);
		immure_close_all(fds, 2);
		if (!ok || !ok->integer)
			return immure_link_carried_error(l, root, err);
		if (ret)
			*ret = root;
		return 0;
	}
}

int32_t immure_link_answer(struct immure_link *l, const struct immure_link_ask *ask,
			   const struct immure_jsonr_value **ret, int *ret_fd, struct immure_error **err)
{
	return immure_link_answer_fds(l, ask, ret, ret_fd, ret_fd ? 1 : 0, err);
}

int32_t immure_link_request(struct immure_link *l, struct immure_link_ask *ask,
			    const struct immure_jsonr_value **ret, int *ret_fd, struct immure_error **err)
{
	int32_t r = immure_link_send(l, ask, NULL, 0, err);

	return r < 0 ? r : immure_link_answer(l, ask, ret, ret_fd, err);
}

int32_t immure_link_signal_all(struct immure_link *l, int signo, struct immure_error **err)
{
	struct immure_link_ask ask;

	immure_link_begin(l, &ask, "signal");
	immure_jsonw_int(&ask.w, "signal", signo);
	immure_jsonw_str(&ask.w, "target", "all");
	return immure_link_request(l, &ask, NULL, NULL, err);
}

/* ---- the lane ---- */

bool immure_link_lane(struct immure_link *l)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	struct epoll_event e = { .events = EPOLLIN };

	if (l->lane_tried)
		return l->lane_fd >= 0;
	l->lane_tried = true;
	immure_link_begin(l, &ask, "lane");
	if (immure_link_request(l, &ask, &root, &l->lane_fd, NULL) < 0)
		return false; /* none left, or none at all: the supervisor does it */
	l->wall_ms = immure_link_uint(l, root, "timeout_ms");
	if (l->lane_fd >= 0 && l->epoll_fd >= 0 &&
	    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->lane_fd, &e) < 0)
		immure_close(&l->lane_fd);
	return l->lane_fd >= 0;
}

static void took_reply(struct immure_link *l, const struct immure_init_reply *m)
{
	struct immure_process *p = process_of(l, true, m->id);
	struct immure_exit *x = p ? &p->exit : NULL;

	if (!p || p->over)
		return;
	if (m->type == IMMURE_INIT_STARTED) {
		p->pid = m->pid;
	} else if (m->type == IMMURE_INIT_ENDED) {
		p->pid = m->pid;
		x->code = WIFEXITED(m->status) ? WEXITSTATUS(m->status) : -1;
		x->signo = WIFSIGNALED(m->status) ? WTERMSIG(m->status) : 0;
		x->timed_out = !!(m->flags & IMMURE_ENDED_TIMED_OUT);
		x->over_memory = !!(m->flags & IMMURE_ENDED_OVER_MEMORY);
		x->wall_us = m->wall_ns / 1000;
		x->cpu_user_us = m->user_us;
		x->cpu_system_us = m->system_us;
		x->peak_memory = m->memory;
		ended(l, p);
	} else if (m->type == IMMURE_INIT_DENIED) {
		bool found = m->errnum != ENOENT && m->errnum != ENOTDIR;

		x->errnum = m->errnum;
		x->failed = m->stage != IMMURE_STAGE_EXEC ? IMMURE_ERR_LAUNCH
			    : found		      ? IMMURE_ERR_NOT_EXECUTABLE
						      : IMMURE_ERR_NOT_FOUND;
		if (m->stage == IMMURE_STAGE_SUPERVISE && m->errnum == EACCES)
			x->failed = IMMURE_ERR_POLICY;
		x->code = x->failed == IMMURE_ERR_NOT_FOUND	   ? 127
			  : x->failed == IMMURE_ERR_NOT_EXECUTABLE ? 126
								   : 125;
		ended(l, p);
	}
}

int32_t immure_link_lane_read(struct immure_link *l, bool wait, struct immure_error **err)
{
	while (l->lane_fd >= 0) {
		struct immure_init_reply m;
		ssize_t n = recv(l->lane_fd, &m, sizeof(m), wait ? 0 : MSG_DONTWAIT);

		wait = false;
		if (n == sizeof(m)) {
			took_reply(l, &m);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		/* Its end: of the session, which the other line tells, or init's wish. */
		immure_close(&l->lane_fd);
		for (struct immure_process *p = l->processes; p; p = p->next)
			if (p->lane && !p->over) {
				p->exit.code = -1;
				p->exit.signo = 9;
				ended(l, p);
			}
	}
	(void)err;
	return 0;
}
