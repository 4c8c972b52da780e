/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output of commands that the server itself reads. Each stream has a ring
 * with its last part; whoever follows it has a cursor of its own and is sent
 * frames as fast as it reads them. Who falls behind is told how much it lost -
 * unless it is a blocking follower: then the command's pipe fills up instead and
 * the command waits, as it would for a slow terminal. Memory is the ring's, not
 * the follower's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "session/serve.h"

static const char *const names[2] = { "stdout", "stderr" };
static const char cut_marker[] = "\n[immure: output limit reached, the rest was discarded]\n";

/* ---- reading ---- */

/* How many bytes may be read without a blocking follower losing any. */
static size_t room(const struct immure_server *s, const struct immure_stream *st)
{
	size_t least = IMMURE_SERVE_READ, max = st->ring.max - sizeof(cut_marker); /* room for that as well */

	for (const struct immure_client *c = s->clients; c; c = c->next)
		for (size_t i = 0; i < c->follows_n && !c->dead; i++) {
			const struct immure_follow *f = &c->follows[i];
			uint64_t behind;

			if (f->task != st->task || !f->blocking || f->stream < 0 ||
			    &f->task->out[f->stream] != st)
				continue;
			behind = st->ring.to - (f->cursor > st->ring.from ? f->cursor : st->ring.from);
			if (behind + least > max)
				least = behind < max ? (size_t)(max - behind) : 0;
		}
	return least;
}

static void keep(struct immure_stream *st, const char *data, size_t n)
{
	if (st->task->capture >= IMMURE_CAPTURE_METADATA && !st->task->complete)
		immure_sha256_add(&st->sha, data, n);
	(void)immure_ring_put(&st->ring, data, n); /* no memory: it is counted */
}

/* limits.output: of both streams together. What is more is read and dropped, so that the
 * command does not wait; the stream says once that it was cut. */
static void keep_allowed(struct immure_server *s, struct immure_stream *st, size_t n)
{
	const struct immure_op *cap = immure_plan_find(s->plan, IMMURE_OP_OUTPUT_CAP);
	struct immure_task *t = st->task;
	uint64_t left = cap ? (cap->num[0] > t->output ? cap->num[0] - t->output : 0) : n;
	bool first = n > left && !t->cut;

	if (n > left)
		n = (size_t)left;
	t->output += n;
	if (n)
		keep(st, s->scratch, n);
	if (!first)
		return;
	t->cut = true;
	keep(st, cut_marker, sizeof(cut_marker) - 1);
	if (cap->num[1])
		immure_task_kill(s, t);
}

static void star_past(void *ctx, size_t back, size_t len)
{
	struct immure_stream *st = ctx;

	if (!st->task->cut) /* else what is last there is our marker */
		immure_ring_star(&st->ring, back, len);
}

/* Before anybody has it. Who follows and has the first part of a value that comes in two pieces
 * keeps that; what is kept here has neither. */
static void redact(struct immure_server *s, struct immure_stream *st, size_t len)
{
	size_t n;
	const struct immure_needle *needles = immure_gatekeeper_needles(s->sealed.gate, &n);

	/* No memory: it became stars. */
	(void)immure_redactor_feed(&st->redactor, needles, n, s->scratch, len, star_past, st);
}

/* Bytes read, 0 when there is nothing now, negative at the end. */
static ssize_t take(struct immure_server *s, struct immure_stream *st, size_t most)
{
	ssize_t n = read(st->watch.fd, s->scratch, most);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) { /* EIO: the last user of a terminal is gone */
		immure_server_unwatch(s, &st->watch);
		st->eof = st->settled = true;
		return -1;
	}
	s->bytes_out += (uint64_t)n;
	redact(s, st, (size_t)n);
	keep_allowed(s, st, (size_t)n);
	if (st->task->ended)
		st->since_end += (uint64_t)n;
	return n;
}

static void on_output(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct immure_stream *st = (struct immure_stream *)w;
	struct immure_task *t = st->task;
	size_t most = room(s, st);

	(void)events;
	if (most == 0) {
		(void)immure_server_watch(s, w, 0); /* a change only */
		return;
	}
	(void)take(s, st, most);
	immure_stream_pump_all(s, t);
	if (t->ended && !t->complete)
		immure_task_settle(s, t);
}

void immure_stream_settle(struct immure_server *s, struct immure_stream *st)
{
	/* More than a pipe holds: what comes now was written after the end. */
	while (!st->settled && st->since_end < IMMURE_RING_MAX) {
		size_t most = room(s, st);
		ssize_t n;

		if (most == 0)
			return;
		n = take(s, st, most);
		if (n == 0)
			break;
		if (n > 0)
			immure_stream_pump_all(s, st->task);
	}
	st->settled = true;
}

void immure_stream_resume(struct immure_server *s, struct immure_task *t)
{
	for (int i = 0; i < 2; i++) {
		struct immure_stream *st = &t->out[i];

		if (st->watch.fd >= 0 && !st->watch.events && room(s, st) > 0)
			(void)immure_server_watch(s, &st->watch, EPOLLIN); /* as it was */
	}
}

int immure_stream_start(struct immure_server *s, struct immure_task *t, int which, int *fd)
{
	struct immure_stream *st = &t->out[which];

	st->watch = (struct immure_watch){ .fd = immure_take_fd(fd), .ready = on_output };
	st->task = t;
	st->used = true;
	immure_sha256_init(&st->sha);
	immure_ring_init(&st->ring, IMMURE_RING_MAX);
	return immure_server_watch(s, &st->watch, EPOLLIN);
}

void immure_stream_done(struct immure_server *s, struct immure_stream *st)
{
	immure_server_unwatch(s, &st->watch);
	immure_redactor_done(&st->redactor);
	immure_ring_done(&st->ring);
}

void immure_stream_retire(struct immure_server *s, struct immure_task *t)
{
	static const size_t keep[IMMURE_CAPTURE_MAX] = { [IMMURE_CAPTURE_SUMMARY] = IMMURE_SERVE_SUMMARY };

	if (!t->complete || immure_stream_followed(s, t))
		return;
	for (int i = 0; i < 2; i++)
		if (t->out[i].used)
			immure_ring_trim(&t->out[i].ring, t->capture == IMMURE_CAPTURE_CONTENT
								  ? t->capture_max
								  : keep[t->capture]);
}

/* ---- following ---- */

bool immure_stream_followed(const struct immure_server *s, const struct immure_task *t)
{
	for (const struct immure_client *c = s->clients; c; c = c->next)
		for (size_t i = 0; i < c->follows_n && !c->dead; i++)
			if (c->follows[i].task == t)
				return true;
	return false;
}

int immure_stream_follow(struct immure_client *c, struct immure_task *t, int which, uint64_t cursor,
			 bool blocking)
{
	struct immure_follow *v;

	if (c->follows_n == IMMURE_SERVE_FOLLOWS)
		return -EMFILE;
	v = realloc(c->follows, (c->follows_n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	c->follows = v;
	v[c->follows_n++] = (struct immure_follow){ .task = t, .stream = which, .cursor = cursor,
						    .blocking = blocking };
	return 0;
}

void immure_stream_forget(struct immure_server *s, const struct immure_task *t)
{
	for (struct immure_client *c = s->clients; c; c = c->next)
		for (size_t i = 0; i < c->follows_n;)
			if (c->follows[i].task == t)
				c->follows[i] = c->follows[--c->follows_n];
			else
				i++;
}

static void frame_json(struct immure_jsonw *w, const struct immure_task *t, int which, uint64_t cursor,
		       const char *data, size_t n, uint64_t lost)
{
	struct immure_buf text = IMMURE_BUF_INIT;
	char hash[65];

	immure_sha256_hex(data, n, 32, hash);
	immure_base64_put(&text, data, n);
	immure_jsonw_uint(w, "exec", t->id);
	immure_jsonw_str(w, "stream", names[which]);
	immure_jsonw_uint(w, "cursor", cursor);
	immure_jsonw_uint(w, "bytes", n);
	immure_jsonw_str(w, "sha256", hash);
	immure_jsonw_bool(w, "truncated", lost > 0);
	if (lost)
		immure_jsonw_uint(w, "lost", lost);
	immure_jsonw_str(w, "data", text.data ? text.data : "");
	if (!immure_buf_ok(&text))
		w->out->failed = true;
	immure_buf_done(&text);
}

static void send_event(struct immure_server *s, struct immure_client *c, struct immure_jsonw *w)
{
	immure_jsonw_end(w, '}');
	if (immure_buf_ok(w->out))
		immure_client_send(s, c, w->out->data, w->out->len, NULL, 0);
	else
		immure_client_drop(s, c);
	immure_buf_done(w->out);
}

/* One frame; false when this follower has all there is. */
static bool send_frame(struct immure_server *s, struct immure_client *c, struct immure_follow *f)
{
	const struct immure_ring *r = &f->task->out[f->stream].ring;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	const char *data = NULL;
	uint64_t lost = f->cursor < r->from ? r->from - f->cursor : 0, at = f->cursor + lost;
	size_t n = immure_ring_peek(r, at, IMMURE_SERVE_FRAME, &data);

	if ((n == 0 && !lost) || !f->task->started) /* its number is told first */
		return false;
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "event", "frame");
	frame_json(&w, f->task, f->stream, at, data, n, lost);
	f->cursor = at + n;
	send_event(s, c, &w);
	return true;
}

static bool has_all(const struct immure_client *c, const struct immure_task *t)
{
	for (size_t i = 0; i < c->follows_n; i++)
		if (c->follows[i].task == t && c->follows[i].stream >= 0 &&
		    c->follows[i].cursor < t->out[c->follows[i].stream].last)
			return false;
	return true;
}

static void send_exited(struct immure_server *s, struct immure_client *c, struct immure_task *t)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "event", "exited");
	immure_task_json(&w, s, t);
	for (size_t i = 0; i < c->follows_n;)
		if (c->follows[i].task == t)
			c->follows[i] = c->follows[--c->follows_n];
		else
			i++;
	send_event(s, c, &w);
	immure_stream_retire(s, t);
}

void immure_stream_pump(struct immure_server *s, struct immure_client *c)
{
	bool more = true;

	while (more && !c->stuck && !c->dead) {
		more = false;
		for (size_t i = 0; i < c->follows_n && !c->stuck && !c->dead; i++) {
			struct immure_follow *f = &c->follows[i];

			if (f->stream >= 0 && send_frame(s, c, f)) {
				more = true;
				immure_stream_resume(s, c->follows[i].task);
			}
		}
		for (size_t i = 0; i < c->follows_n && !c->stuck && !c->dead; i++) {
			struct immure_task *t = c->follows[i].task;

			if (c->follows[i].stream < 0 && t->complete && has_all(c, t)) {
				send_exited(s, c, t);
				more = true;
				break; /* the list is another one now */
			}
		}
	}
}

void immure_stream_pump_all(struct immure_server *s, const struct immure_task *t)
{
	for (struct immure_client *c = s->clients; c; c = c->next)
		for (size_t i = 0; i < c->follows_n && !c->dead; i++)
			if (c->follows[i].task == t) {
				immure_stream_pump(s, c);
				break;
			}
}

/* ---- requests ---- */

int32_t immure_stream_attach(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);
	bool replay = true, blocking = false;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int32_t r = t ? immure_arg_bool(a, "replay", &replay) : -IMMURE_ERR_INVALID;
	int e = 0;

	if (r == 0)
		r = immure_arg_bool(a, "blocking", &blocking);
	if (r < 0)
		return r;
	for (size_t i = 0; i < a->c->follows_n; i++)
		if (a->c->follows[i].task == t)
			return immure_ask_fail(a, IMMURE_ERR_STATE, EALREADY, "exec",
					       "this connection follows it already");
	for (int i = 0; i < 2 && e == 0; i++) {
		const struct immure_ring *ring = &t->out[i].ring;

		/* What was before the ring is no news to who comes late: no loss is told. */
		if (t->out[i].used)
			e = immure_stream_follow(a->c, t, i, replay ? ring->from : ring->to, blocking);
	}
	if (e == 0)
		e = immure_stream_follow(a->c, t, -1, 0, false);
	if (e < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -e, "exec", "cannot follow: %s", strerror(-e));
	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_uint(&w, "exec", t->id);
	immure_jsonw_bool(&w, "pty", t->pty);
	immure_jsonw_bool(&w, "input", t->in.fd >= 0);
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	immure_stream_pump(a->s, a->c);
	return 0;
}

/* One piece of what is kept, from a cursor on; at the end it is empty. */
int32_t immure_stream_output(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	const char *stream = "stdout", *data = "";
	uint64_t cursor = 0, lost;
	struct immure_ring *r;
	int32_t e = t ? immure_arg_string(a, "stream", &stream) : -IMMURE_ERR_INVALID;
	int which = strcmp(stream, names[1]) == 0;
	size_t n;

	if (e == 0)
		e = immure_arg_uint(a, "cursor", INT64_MAX, &cursor);
	if (e < 0)
		return e;
	which = strcmp(stream, names[1]) == 0;
	if (!which && strcmp(stream, names[0]) != 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "stream", "stream is stdout or stderr");
	r = &t->out[which].ring;
	lost = cursor < r->from ? r->from - cursor : 0;
	n = immure_ring_peek(r, cursor + lost, IMMURE_SERVE_FRAME, &data);
	immure_answer_begin(&w, &b, a->id);
	frame_json(&w, t, which, cursor + lost, data, n, lost);
	immure_jsonw_bool(&w, "complete", t->complete);
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	return 0;
}
