/* SPDX-License-Identifier: Apache-2.0 */
/* Open connections: bytes both ways, within the session's rate, until an end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "egress/worker.h"

enum { TURN = 1 << 20, TURN_SHARED = 64 * 1024 };

static int flow_said(struct conn *c, int r)
{
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	if (r >= 0)
		return 0;
	if (!c->told) {
		(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&c->to, text),
					  immure_http_flow_why(c->http));
		v.code = immure_http_flow_code(r);
		immure_report_denied(c->worker, c, r == -EFBIG ? IMMURE_WIRE_LIMIT : IMMURE_WIRE_CONTENT, &v);
		c->told = true;
	}
	return -ECONNABORTED;
}

static int filter(void *ctx, const unsigned char *data, size_t len, const unsigned char **ret,
		  size_t *ret_len)
{
	struct conn *c = ctx;
	return flow_said(c, immure_http_flow_feed(c->http, data, len, ret, ret_len));
}

/* What comes back passes as it is, or not at all. */
static int follow(void *ctx, const unsigned char *data, size_t len, const unsigned char **ret,
		  size_t *ret_len)
{
	struct conn *c = ctx;

	*ret = data;
	*ret_len = len;
	return flow_said(c, immure_http_flow_answer(c->http, data, len));
}

void immure_relaying_start(struct worker *w, struct conn *c, uint32_t far_events)
{
	int far = immure_take_fd(&c->dial_fd[c->side - 1]);
	struct first *f = c->first;

	immure_twoway_init(&c->two, &c->client_fd, &far, w->config.limits.idle_ms, w->now_ms);
	c->state = CONN_RELAY;
	c->due_ms = UINT64_MAX;
	if (!c->watched &&
	    immure_worker_watch(w, c->two.fd[0], EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				IMMURE_TAG(IMMURE_TAG_CONN, 0, c->life, c->index)) < 0) {
		immure_conn_close(w, c, true);
		return;
	}
	if (!c->watched)
		immure_twoway_fresh(&c->two, 0, true);
	immure_twoway_fresh(&c->two, 1, false);
	c->watched = true;
	if (f) {
		immure_twoway_prefill(&c->two, 0, f->raw, f->len);
		f->raw = NULL;
		free(f);
		c->first = NULL;
	}
	if (c->http) {
		c->two.from[0].filter = filter;
		c->two.from[0].filter_ctx = c;
	}
	if (c->http && immure_http_flow_follows(c->http)) {
		c->two.from[1].filter = follow;
		c->two.from[1].filter_ctx = c;
	}
	if (immure_twoway_due(&c->two) < w->next_due)
		w->next_due = immure_twoway_due(&c->two);
	immure_relaying_pump(w, c, 0, far_events);
}

static void be_ready(struct worker *w, struct conn *c)
{
	if (c->ready)
		return;
	c->ready = true;
	c->next_ready = NULL;
	*w->ready_end = c;
	w->ready_end = &c->next_ready;
}

/* How much may pass now; 0 = nothing. */
static size_t allowance(struct worker *w)
{
	uint64_t rate = w->config.limits.bytes_per_s;
	int64_t most;

	if (rate == 0)
		return TURN;
	most = (int64_t)(rate / 4 > TURN_SHARED ? rate / 4 : TURN_SHARED);
	if (w->now_ms > w->credit_ms) {
		uint64_t gone = w->now_ms - w->credit_ms;

		w->credit_ms = w->now_ms;
		w->credit += (int64_t)(rate * (gone > 1000 ? 1000 : gone) / 1000);
		if (w->credit > most)
			w->credit = most;
	}
	if (w->credit <= 0)
		return 0;
	return w->credit < TURN_SHARED ? (size_t)w->credit : TURN_SHARED;
}

static void count(struct worker *w, struct conn *c)
{
	for (int i = 0; i < 2; i++) {
		uint64_t n = c->two.from[i].bytes - c->counted[i];

		c->counted[i] += n;
		w->bytes[i] += n;
		w->credit -= w->config.limits.bytes_per_s ? (int64_t)n : 0;
	}
}

static void watch_head(struct worker *w, struct conn *c)
{
	if (!c->http || !immure_http_flow_in_head(c->http)) {
		c->head_ms = 0;
		return;
	}
	if (c->head_ms)
		return;
	c->head_ms = w->now_ms ? w->now_ms : 1;
	if (c->head_ms + w->config.limits.head_ms < w->next_due)
		w->next_due = c->head_ms + w->config.limits.head_ms;
}

void immure_relaying_pump(struct worker *w, struct conn *c, uint32_t client, uint32_t far)
{
	size_t may = allowance(w);

	client |= c->events[0];
	far |= c->events[1];
	c->events[0] = c->events[1] = 0;
	if (may == 0) {
		c->events[0] = client;
		c->events[1] = far;
		be_ready(w, c);
		return;
	}
	switch (immure_twoway_pump(&c->two, &w->pipes, client, far, may, w->now_ms)) {
	case IMMURE_TWOWAY_WAIT:
		count(w, c);
		watch_head(w, c);
		break;
	case IMMURE_TWOWAY_AGAIN:
		count(w, c);
		be_ready(w, c);
		break;
	case IMMURE_TWOWAY_DONE:
		count(w, c);
		immure_conn_close(w, c, false);
		break;
	case IMMURE_TWOWAY_BROKEN:
		count(w, c);
		immure_conn_close(w, c, true);
		break;
	}
}

uint64_t immure_relaying_due(const struct conn *c)
{
	uint64_t due = immure_twoway_due(&c->two);

	if (c->head_ms && c->head_ms + c->worker->config.limits.head_ms < due)
		due = c->head_ms + c->worker->config.limits.head_ms;
	return due;
}
