/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/netsock.h"

#define BUFFER    32768 /* also what a slow reader can make one direction hold */
/* More in one turn is no longer in the processor's caches when the other end copies it. */
#define PIPE_SIZE 131072
/* A splice that moved less than this was not worth a pipe. */
#define BULK_LEAST 8192

/* ---- pipes ---- */

int immure_pipes_init(struct immure_pipes *p, unsigned int most)
{
	p->open = p->n_free = 0;
	p->most = most < IMMURE_PIPES_MAX ? most : IMMURE_PIPES_MAX;
	p->buffer = malloc(BUFFER);
	return p->buffer ? 0 : -ENOMEM;
}

void immure_pipes_done(struct immure_pipes *p)
{
	while (p->n_free) {
		p->n_free--;
		immure_close(&p->free[p->n_free][0]);
		immure_close(&p->free[p->n_free][1]);
	}
	p->open = 0;
	free(p->buffer);
	p->buffer = NULL;
}

static bool pipe_take(struct immure_pipes *p, struct immure_stream *s)
{
	if (s->pipe[0] >= 0)
		return true;
	if (p->n_free) {
		memcpy(s->pipe, p->free[--p->n_free], sizeof(s->pipe));
		return true;
	}
	if (p->open >= p->most)
		return false;
	if (pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		s->pipe[0] = s->pipe[1] = -1;
		return false;
	}
	p->open++;
	/* Refused when the user has many pipes already; a small one works too. */
	(void)fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

/* Bytes of one connection never get into another: only empty pipes go back. */
static void pipe_give(struct immure_pipes *p, struct immure_stream *s)
{
	if (s->pipe[0] < 0)
		return;
	if (s->in_pipe == 0) {
		memcpy(p->free[p->n_free++], s->pipe, sizeof(s->pipe));
		s->pipe[0] = s->pipe[1] = -1;
		return;
	}
	immure_close(&s->pipe[0]);
	immure_close(&s->pipe[1]);
	s->in_pipe = 0;
	p->open--;
}

/* ---- one direction ---- */

static void drop_held(struct immure_stream *s)
{
	free(s->held);
	s->held = NULL;
	s->held_at = s->held_len = 0;
}

static int hold(struct immure_stream *s, const unsigned char *data, size_t len)
{
	s->held = malloc(len);
	if (!s->held)
		return -ENOMEM;
	memcpy(s->held, data, len);
	s->held_at = 0;
	s->held_len = len;
	return 0;
}

/* Takes what splice cannot deliver out of the pipe, for send. */
static int unpipe(struct immure_stream *s)
{
	size_t len = s->in_pipe, at = 0;

	s->held = malloc(len);
	if (!s->held)
		return -ENOMEM;
	while (at < len) {
		ssize_t n = read(s->pipe[0], s->held + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		at += (size_t)n;
	}
	s->held_at = 0;
	s->held_len = len;
	s->in_pipe = 0;
	return 0;
}

/* Sends what is held. 0 when all of it is gone, -EAGAIN, or -errno. */
static int flush(struct immure_stream *s, int to)
{
	ssize_t n;

	while (s->in_pipe) {
		n = splice(s->pipe[0], NULL, to, NULL, s->in_pipe,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL) {
			int r = unpipe(s);

			s->no_splice = true;
			if (r < 0)
				return r;
			break;
		}
		if (n < 0)
			return -errno;
		s->in_pipe -= (size_t)n;
		s->bytes += (size_t)n;
	}
	while (s->held) {
		n = send(to, s->held + s->held_at, s->held_len - s->held_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s->held_at += (size_t)n;
		s->bytes += (size_t)n;
		if (s->held_at == s->held_len)
			drop_held(s);
	}
	return 0;
}

/* Both ways of reading return how many bytes came, 0 at the end of the stream,
 * or -errno; bytes that could not be sent at once are held. */
static ssize_t fill_splice(struct immure_stream *s, int from, size_t most)
{
	ssize_t n;

	do
		n = splice(from, NULL, s->pipe[1], NULL, most < PIPE_SIZE ? most : PIPE_SIZE,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->in_pipe = (size_t)n;
	if (n < BULK_LEAST)
		s->bulk = false;
	return n;
}

/* What comes from now on is told anew, so asking once more would only say "nothing". An
 * end that was told is not told again: then it is asked for. */
static void read_short(struct immure_stream *s, size_t n, size_t most)
{
	if (n && n < (most < BUFFER ? most : BUFFER) && !s->ending)
		s->readable = false;
}

static ssize_t fill_copy(struct immure_pipes *p, struct immure_stream *s, int from, int to,
			 size_t most)
{
	ssize_t n, put;
	int r;

	do
		n = recv(from, p->buffer, most < BUFFER ? most : BUFFER, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	read_short(s, (size_t)n, most);
	if (n == BUFFER && !s->bulk) {
		s->bulk = true;
		immure_netsock_hurry(to);
	}
	if (n == 0)
		return 0;
	put = s->writable ? send(to, p->buffer, (size_t)n, MSG_NOSIGNAL) : -1;
	if (put < 0)
		put = 0; /* flush() will meet the same error and judge it */
	s->bytes += (size_t)put;
	if (put < n) {
		r = hold(s, p->buffer + put, (size_t)(n - put));
		if (r < 0)
			return r;
	}
	return n;
}

static ssize_t fill_filtered(struct immure_pipes *p, struct immure_stream *s, int from, size_t most)
{
	const unsigned char *out = NULL;
	size_t len = 0;
	ssize_t n;
	int r;

	do
		n = recv(from, p->buffer, most < BUFFER ? most : BUFFER, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	read_short(s, (size_t)n, most);
	r = s->filter(s->filter_ctx, p->buffer, (size_t)n, &out, &len);
	if (r == 0 && len)
		r = hold(s, out, len);
	return r < 0 ? r : n;
}

static ssize_t fill(struct immure_pipes *p, struct immure_stream *s, int from, int to, size_t most)
{
	if (s->filter)
		return fill_filtered(p, s, from, most);
	if (s->bulk && !s->no_splice && pipe_take(p, s)) {
		ssize_t n = fill_splice(s, from, most);

		if (n != -EINVAL)
			return n;
		s->no_splice = true; /* not a kind of socket that splices */
		pipe_give(p, s);
	}
	return fill_copy(p, s, from, to, most);
}

/* Nobody will take these bytes any more: the direction is over. The other one
 * may still have something to say (a server that answers and closes before it
 * has read all), so this alone does not end the connection. */
static void abandon(struct immure_twoway *t, struct immure_pipes *p, struct immure_stream *s,
		    int error)
{
	pipe_give(p, s);
	drop_held(s);
	s->ended = s->shut = true;
	if (!t->error)
		t->error = -error;
}

static void pass_end(struct immure_stream *s, int to, bool last)
{
	/* After the last one it is closed, which says the same. */
	if (!s->failed && !last)
		(void)shutdown(to, SHUT_WR); /* ENOTCONN: reading will tell the same */
	s->shut = true;
}

/* true: stopped by the allowance, not by the sockets. */
static bool move(struct immure_twoway *t, struct immure_pipes *p, int side, size_t allowance,
		 bool *moved)
{
	struct immure_stream *s = &t->from[side];
	int from = t->fd[side], to = t->fd[!side];

	while (!s->shut) {
		ssize_t n;
		int r;

		if (s->in_pipe || s->held) {
			uint64_t before = s->bytes;

			if (!s->writable)
				return false;
			r = flush(s, to);
			*moved |= s->bytes != before;
			if (r == -EAGAIN) {
				s->writable = false;
				return false;
			}
			if (r < 0) {
				abandon(t, p, s, r);
				break;
			}
		}
		if (s->ended) {
			/* Not the far side: that socket may be used again. */
			pass_end(s, to, side == 1 && t->from[0].shut);
			*moved = true;
			break;
		}
		if (!s->readable)
			break;
		if (allowance == 0) {
			pipe_give(p, s);
			return true;
		}
		n = fill(p, s, from, to, allowance);
		if (n > 0) {
			allowance -= (size_t)n;
			*moved = true;
		} else if (n == -EAGAIN) {
			s->readable = false;
		} else {
			s->ended = true;
			s->failed = n < 0;
			if (n < 0 && !t->error)
				t->error = (int)-n;
		}
	}
	pipe_give(p, s);
	return false;
}

/* ---- a connection ---- */

void immure_twoway_init(struct immure_twoway *t, int *a_fd, int *b_fd, uint32_t idle_ms,
			uint64_t now_ms)
{
	int on = 1;

	memset(t, 0, sizeof(*t));
	t->fd[0] = immure_take_fd(a_fd);
	t->fd[1] = immure_take_fd(b_fd);
	t->idle_ms = idle_ms;
	t->last_ms = now_ms;
	for (int i = 0; i < 2; i++) {
		t->from[i].pipe[0] = t->from[i].pipe[1] = -1;
		t->from[i].readable = t->from[i].writable = t->from[i].ending = true;
		/* The programs at both ends decided already what to send together;
		 * waiting once more would only delay it. Unix sockets have no such
		 * option and no such wait. */
		(void)setsockopt(t->fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
}

void immure_twoway_fresh(struct immure_twoway *t, int side, bool readable)
{
	t->from[side].readable = readable;
	t->from[side].ending = false;
}

void immure_twoway_prefill(struct immure_twoway *t, int from, unsigned char *data, size_t len)
{
	struct immure_stream *s = &t->from[from];

	if (len == 0) {
		free(data);
		return;
	}
	s->held = data;
	s->held_at = 0;
	s->held_len = len;
}

int immure_twoway_watch(const struct immure_twoway *t, int epoll_fd, uint64_t data_a,
			uint64_t data_b)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET };

	e.data.u64 = data_a;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->fd[0], &e) < 0)
		return -errno;
	e.data.u64 = data_b;
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, t->fd[1], &e) < 0 ? -errno : 0;
}

static void heard(struct immure_twoway *t, int side, uint32_t events)
{
	/* An error shows itself to whoever reads or writes. */
	if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		t->from[side].readable = true;
	/* Reading stops before an urgent byte, too, without being through. */
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
		t->from[side].ending = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		t->from[!side].writable = true;
}

enum immure_twoway_state immure_twoway_pump(struct immure_twoway *t, struct immure_pipes *p,
					    uint32_t events_a, uint32_t events_b,
					    size_t allowance, uint64_t now_ms)
{
	bool moved = false, again = false;

	heard(t, 0, events_a);
	heard(t, 1, events_b);
	for (int i = 0; i < 2; i++)
		again |= move(t, p, i, allowance, &moved);
	if (moved)
		t->last_ms = now_ms;
	/* A reset ends both directions as soon as what came before it is through. */
	for (int i = 0; i < 2; i++)
		if (t->from[i].failed && t->from[i].shut)
			return IMMURE_TWOWAY_BROKEN;
	if (t->from[0].shut && t->from[1].shut)
		return t->error ? IMMURE_TWOWAY_BROKEN : IMMURE_TWOWAY_DONE;
	return again ? IMMURE_TWOWAY_AGAIN : IMMURE_TWOWAY_WAIT;
}

uint64_t immure_twoway_due(const struct immure_twoway *t)
{
	return t->idle_ms ? t->last_ms + t->idle_ms : UINT64_MAX;
}

void immure_twoway_close(struct immure_twoway *t, struct immure_pipes *p, bool reset)
{
	struct linger now = { .l_onoff = 1 };

	for (int i = 0; i < 2; i++) {
		pipe_give(p, &t->from[i]);
		drop_held(&t->from[i]);
		if (reset && t->fd[i] >= 0) /* unix sockets just close */
			(void)setsockopt(t->fd[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		immure_close(&t->fd[i]);
	}
}
