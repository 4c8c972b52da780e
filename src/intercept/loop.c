/* SPDX-License-Identifier: Apache-2.0 */
/* One loop, no threads, nothing that waits. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "intercept/intercept.h"

enum { EVENTS = 64, TICK_MS = 250, HELD_TICK_MS = 30, REFILL_MS = 5, TURN_BYTES = 64 * 1024, LENDS = 32 };

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

size_t immure_intercept_allowance(struct intercept *in)
{
	uint64_t rate = in->config.limits.bytes_per_s;
	int64_t most;

	if (rate == 0)
		return TURN_BYTES;
	most = (int64_t)(rate / 4 > TURN_BYTES ? rate / 4 : TURN_BYTES);
	if (in->now_ms > in->credit_ms) {
		uint64_t gone = in->now_ms - in->credit_ms;

		in->credit_ms = in->now_ms;
		in->credit += (int64_t)(rate * (gone > 1000 ? 1000 : gone) / 1000);
		if (in->credit > most)
			in->credit = most;
	}
	return in->credit > 0 ? TURN_BYTES : 0;
}

/* ---- whoever lends ---- */

static void cut_all(struct intercept *in)
{
	while (in->lents)
		immure_lent_end(in->lents, true);
}

void immure_intercept_link(struct intercept *in, int *fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	cut_all(in);
	immure_close(&in->link_fd); /* which takes it out of the set as well */
	in->link_fd = immure_take_fd(fd);
	e.data.ptr = &in->link_fd;
	if (in->link_fd >= 0 && epoll_ctl(in->epoll_fd, EPOLL_CTL_ADD, in->link_fd, &e) < 0)
		immure_close(&in->link_fd);
}

static void link_event(struct intercept *in)
{
	int fds[IMMURE_LEND_FDS], none = -1;
	struct immure_lend_msg m;

	for (int i = 0; i < LENDS && in->link_fd >= 0; i++) {
		int r = immure_lend_recv(in->link_fd, &m, fds);

		if (r == -EAGAIN)
			return;
		if (r != 1 || m.type != IMMURE_LEND_LEND) {
			immure_close_all(fds, IMMURE_LEND_FDS);
			immure_intercept_link(in, &none);
			return;
		}
		immure_lent_new(in, &m, fds);
	}
}

/* ---- the supervisor ---- */

static int request(struct intercept *in, const struct immure_lend_msg *m, int *fds)
{
	struct immure_lend_msg done = { .type = IMMURE_LEND_DONE, .id = m->id };

	if (m->type == IMMURE_LEND_LINK) {
		immure_intercept_link(in, &fds[0]);
		return 0;
	}
	if (m->type != IMMURE_LEND_POLICY)
		return -EPROTO;
	done.done.result = immure_intercept_policy(in, fds[0], done.done.why, sizeof(done.done.why));
	return immure_lend_send(in->control_fd, &done, NULL, 0);
}

/* 1: goes on. 0: the supervisor is gone. */
static int control(struct intercept *in)
{
	int fds[IMMURE_LEND_FDS], r;
	struct immure_lend_msg m;

	for (;;) {
		r = immure_lend_recv(in->control_fd, &m, fds);
		if (r == -EAGAIN)
			return 1;
		if (r == 0 || r == -ECONNRESET)
			return 0;
		if (r == 1)
			r = request(in, &m, fds);
		immure_close_all(fds, IMMURE_LEND_FDS);
		if (r < 0) {
			in->why = "the supervisor's message";
			return r;
		}
	}
}

/* ---- events ---- */

/* A connection may be gone while an event for it still waits in the same list. */
static struct lent *alive(struct intercept *in, const void *p)
{
	struct lent *l = in->lents;

	while (l && l != p)
		l = l->next;
	return l;
}

static int dispatch(struct intercept *in, const struct epoll_event *e, int n)
{
	int r = 1;

	for (int i = 0; i < n && r == 1; i++) {
		struct lent *l;

		if (e[i].data.ptr == in) {
			r = control(in);
		} else if (e[i].data.ptr == &in->link_fd) {
			link_event(in);
		} else {
			l = alive(in, e[i].data.ptr);
			if (l)
				immure_lent_step(l);
		}
	}
	return r;
}

/* How long to wait at most for the next event; -1: for ever. */
static int go_on(struct intercept *in, bool tick)
{
	bool more = false, held = false;

	for (struct lent *l = in->lents, *next; l; l = next) {
		next = l->next;
		if (l->ready)
			immure_lent_step(l);
	}
	for (struct lent *l = in->lents, *next; l; l = next) {
		next = l->next;
		more |= l->ready;
		held |= l->held_ms != 0;
		if (tick || l->held_ms)
			immure_lent_due(l);
	}
	if (more)
		return immure_intercept_allowance(in) ? 0 : REFILL_MS;
	return held ? HELD_TICK_MS : in->lents ? TICK_MS : -1;
}

int immure_intercept_loop(struct intercept *in)
{
	struct epoll_event e[EVENTS];
	uint64_t ticked;
	int wait = -1;

	in->now_ms = in->credit_ms = ticked = now();
	for (;;) {
		int n = epoll_wait(in->epoll_fd, e, EVENTS, wait), r;
		bool tick;

		if (n < 0 && errno != EINTR) {
			in->why = "waiting for events";
			return -errno;
		}
		in->now_ms = now();
		r = dispatch(in, e, n);
		if (r <= 0)
			return r;
		tick = in->now_ms - ticked >= TICK_MS;
		if (tick)
			ticked = in->now_ms;
		wait = go_on(in, tick);
	}
}
