/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, from both handshakes to its end. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/fdmsg.h"
#include "intercept/intercept.h"

enum { PIECE = 16 * 1024, TURN = 16, TOLD_A_SECOND = 64, HOLD_MS = 60, AFTER_END_MS = 10000,
       DRAIN_MS = 5000 };

/* ---- telling ---- */

static void printable(char *to, size_t cap, const char *from)
{
	size_t n = 0;

	for (; from && *from && n + 1 < cap; from++)
		to[n++] = *from >= 0x20 && *from <= 0x7e ? *from : '?';
	to[n] = '\0';
}

void immure_lent_say(struct lent *l, enum immure_wire_step step, const struct immure_verdict *v)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_DENIED };
	struct intercept *in = l->in;
	struct immure_endpoint host = l->to;
	char text[IMMURE_ENDPOINT_TEXT];

	if (in->now_ms / 1000 != in->told_s)
		in->told_n = 0;
	in->told_s = in->now_ms / 1000;
	if (++in->told_n > TOLD_A_SECOND)
		return;
	host.port = 0;
	m.denied.step = step;
	m.denied.proxy = l->proxy;
	m.denied.source = l->source;
	m.denied.meant = l->meant;
	m.denied.port = l->to.port;
	printable(m.denied.host, sizeof(m.denied.host), immure_endpoint_print(&host, text));
	m.denied.code = v->code;
	printable(m.denied.rule, sizeof(m.denied.rule), v->rule);
	printable(m.denied.why, sizeof(m.denied.why), v->why);
	printable(m.denied.add, sizeof(m.denied.add), v->add);
	(void)immure_lend_send(in->control_fd, &m, NULL, 0); /* no room: as if it came too often */
}

static void deny(struct lent *l, enum immure_wire_step step, enum immure_code code, const char *why)
{
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&l->to, text), why);
	v.code = code;
	immure_lent_say(l, step, &v);
	l->told = true;
}

/* ---- beginning and end ---- */

static void pending_done(struct pending *p)
{
	immure_wipe(p->data, p->len);
	free(p->data);
	*p = (struct pending){ 0 };
}

void immure_lent_end(struct lent *l, bool reset)
{
	struct linger now = { .l_onoff = 1 };
	struct intercept *in = l->in;
	int *fd[2] = { &l->client_fd, &l->server_fd };

	immure_tls_end_free(l->client);
	immure_tls_end_free(l->server);
	for (int i = 0; i < 2; i++) {
		if (reset)
			(void)setsockopt(*fd[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		else
			(void)shutdown(*fd[i], SHUT_RDWR); /* ours is not its last descriptor */
		immure_close(fd[i]);
	}
	immure_http_flow_free(l->flow);
	pending_done(&l->out);
	pending_done(&l->back);
	immure_scrub_done(&l->scrub);
	if (l->prev)
		l->prev->next = l->next;
	else
		in->lents = l->next;
	if (l->next)
		l->next->prev = l->prev;
	in->lents_n--;
	free(l);
}

static void end(struct lent *l, bool reset)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_RETURN, .id = l->id };
	int link = l->in->link_fd;

	m.returned.bytes[0] = l->bytes[0];
	m.returned.bytes[1] = l->bytes[1];
	m.returned.reset = reset;
	immure_lent_end(l, reset);
	/* One that does not hear has too many of ours to end them one by one. */
	if (link >= 0 && immure_lend_send(link, &m, NULL, 0) < 0)
		(void)shutdown(link, SHUT_RDWR);
}

/* Answered instead of the server, and nothing after it: where nothing else is under way. */
static void answer(struct lent *l, const char *status, const char *why, const char *add)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	size_t more = *add ? strlen(add) + strlen("; it takes ") : 0;

	if (l->back.len || l->bytes[1])
		return;
	immure_buf_printf(&b, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n"
			  "Content-Length: %zu\r\nConnection: close\r\n\r\nimmure: %s%s%s\n", status,
			  strlen("immure: \n") + strlen(why) + more, why, *add ? "; it takes " : "", add);
	l->back.len = b.len;
	l->back.data = immure_buf_take(&b);
	l->answered = l->back.data != NULL;
	if (!l->answered)
		l->back.len = 0;
}

static int judge_request(void *ctx, const struct immure_http_head *head)
{
	struct lent *l = ctx;
	struct immure_verdict v;

	if (immure_judge_https(&l->in->judge, &l->to, head, &v) == IMMURE_VERDICT_ALLOW)
		return 0;
	immure_lent_say(l, IMMURE_WIRE_CONTENT, &v);
	l->told = true;
	if (immure_http_flow_requests(l->flow) == 0)
		answer(l, "403 Forbidden", v.why, v.add);
	return -EACCES;
}

static int rewrite_head(void *ctx, const struct immure_http_head *head, const char *text, size_t len,
			char **ret, size_t *ret_len)
{
	struct lent *l = ctx;
	const char *name = immure_secrets_misplaced(&l->in->secrets, &l->to, text, len);
	size_t told_len = 0;
	char *told;
	int r;

	if (name) {
		struct immure_verdict v;
		char to[IMMURE_ENDPOINT_TEXT];

		(void)immure_verdict_deny(&v, NULL, "%s is not where the secret %s goes",
					  immure_endpoint_print(&l->to, to), name);
		v.code = IMMURE_CODE_HTTP_DENIED_ACL;
		immure_lent_say(l, IMMURE_WIRE_CONTENT, &v);
		l->told = true;
		return -EACCES;
	}
	r = immure_attribution_rewrite(&l->in->attribution, &l->to, head, text, len, &told, &told_len);
	if (r == 0)
		r = immure_secrets_rewrite(&l->in->secrets, &l->to, head, told ? told : text,
					   told ? told_len : len, &l->scrub.sent, ret, ret_len);
	free(told);
	return r;
}

/* Whoever writes in two pieces, without TCP_NODELAY, waits with the second until the first is
 * acknowledged, and we have often nothing to say meanwhile: after the handshake, which is without
 * tickets, between a head and its body. Delayed it would be for 40 ms. */
static void acknowledge(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)); /* only quicker */
}

static int watch(struct lent *l, int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	int on = 1;

	e.data.ptr = l;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only quicker */
	return epoll_ctl(l->in->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

void immure_lent_new(struct intercept *in, const struct immure_lend_msg *m, int fds[2])
{
	struct lent *l = calloc(1, sizeof(*l));

	if (!l) {
		struct immure_lend_msg sorry = { .type = IMMURE_LEND_RETURN, .id = m->id };

		sorry.returned.reset = 1;
		(void)immure_lend_send(in->link_fd, &sorry, NULL, 0); /* else it lingers there */
		immure_close_all(fds, 2);
		return;
	}
	l->in = in;
	l->id = m->id;
	l->client_fd = immure_take_fd(&fds[0]);
	l->server_fd = immure_take_fd(&fds[1]);
	l->to.kind = (enum immure_host_kind)m->lend.kind;
	memcpy(l->to.name, m->lend.name, sizeof(l->to.name));
	memcpy(l->to.address, m->lend.address, sizeof(l->to.address));
	l->to.port = (uint16_t)m->lend.port;
	l->source = m->lend.source;
	l->meant = m->lend.meant;
	l->proxy = m->lend.proxy;
	l->due_ms = in->now_ms + in->config.limits.first_ms;
	l->next = in->lents;
	if (in->lents)
		in->lents->prev = l;
	in->lents = l;
	in->lents_n++;
	if (immure_tls_client(in->tls, l->server_fd, &l->to, &l->server) < 0 ||
	    immure_tls_server(in->tls, l->client_fd, &l->to, &l->client) < 0 ||
	    immure_http_flow_new(judge_request, l, &l->flow) < 0 || watch(l, l->client_fd) < 0 ||
	    watch(l, l->server_fd) < 0) {
		deny(l, IMMURE_WIRE_LIMIT, IMMURE_CODE_NONE, "out of memory");
		end(l, true);
		return;
	}
	immure_http_flow_set_rewrite(l->flow, rewrite_head);
	immure_http_flow_bound(l->flow, &in->config.limits.bodies);
	immure_lent_step(l);
}

/* ---- handshakes ---- */

/* true: it goes on at once. */
static bool shake(struct lent *l)
{
	bool upstream = l->state == LENT_UPSTREAM;
	struct immure_tls_end *e = upstream ? l->server : l->client;
	int r = immure_tls_handshake(e);

	if (r == 0)
		return false;
	if (upstream && r < 0) {
		deny(l, IMMURE_WIRE_UNREACHED, IMMURE_CODE_HTTP_TLS_FAIL, immure_tls_why(e));
		l->failed = true;
		immure_tls_give_up(l->client);
	}
	if (upstream) {
		l->state = LENT_CLIENT;
		return true;
	}
	if (r < 0) {
		if (!l->failed)
			deny(l, IMMURE_WIRE_CONTENT, IMMURE_CODE_HTTP_TLS_FAIL, immure_tls_why(e));
		end(l, false); /* the alert is to arrive */
		return false;
	}
	acknowledge(l->client_fd);
	l->state = LENT_OPEN;
	l->last_ms = l->in->now_ms;
	return true;
}

/* ---- content ---- */

/* 1: something went; 0: no room; -ECONNRESET. */
static int flush(struct immure_tls_end *e, struct pending *p, uint64_t *count)
{
	ssize_t n = immure_tls_write(e, p->data + p->at, p->len - p->at);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -ECONNRESET;
	*count += (uint64_t)n;
	p->at += (size_t)n;
	if (p->at == p->len)
		pending_done(p);
	return 1;
}

static void flow_said(struct lent *l, int r)
{
	if (!l->told)
		deny(l, r == -EPROTO ? IMMURE_WIRE_CONTENT : IMMURE_WIRE_LIMIT, immure_http_flow_code(r),
		     r == -ENOMEM ? "out of memory" : immure_http_flow_why(l->flow));
}

static int take_request(struct lent *l, const char *data, size_t len)
{
	const unsigned char *out;
	size_t n;
	int r = immure_http_flow_feed(l->flow, (const unsigned char *)data, len, &out, &n);

	if (r < 0) {
		flow_said(l, r);
		if (r == -EFBIG && immure_http_flow_requests(l->flow) == 0)
			answer(l, "413 Content Too Large", immure_http_flow_why(l->flow), "");
		return -EACCES;
	}
	l->head_ms = !immure_http_flow_in_head(l->flow) ? 0 : l->head_ms ? l->head_ms : l->in->now_ms + 1;
	if (!n)
		return 0;
	l->out.data = malloc(n);
	if (!l->out.data)
		return -EACCES;
	memcpy(l->out.data, out, n);
	l->out.len = n;
	return 0;
}

/* 1: something moved; 0: nothing does now; negative: it is over, at once. */
static int outwards(struct lent *l)
{
	char piece[PIECE];
	ssize_t n;
	int r;

	if (l->out.len) {
		r = flush(l->server, &l->out, &l->bytes[0]);
		/* What it answered before it stopped listening is still passed on. */
		if (r < 0)
			pending_done(&l->out);
		l->client_ended |= r < 0;
		return r < 0 ? 1 : r;
	}
	if (l->client_ended)
		return 0;
	n = immure_tls_read(l->client, piece, sizeof(piece));
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return -ECONNRESET;
	l->client_ended = n == 0;
	acknowledge(l->client_fd);
	r = n ? take_request(l, piece, (size_t)n) : 0;
	immure_wipe(piece, n > 0 ? (size_t)n : 0);
	return r < 0 ? r : 1;
}

static int scrub(struct lent *l, const char *data, size_t len, bool last)
{
	return immure_secrets_scrub(&l->in->secrets, &l->scrub, data, len, last, &l->back.data,
				    &l->back.len);
}

static int backwards(struct lent *l)
{
	char piece[PIECE];
	ssize_t n;
	int r;

	if (l->back.len)
		return flush(l->client, &l->back, &l->bytes[1]);
	if (l->server_ended)
		return 0;
	n = immure_tls_read(l->server, piece, sizeof(piece));
	if (n == -EAGAIN)
		return 0;
	if (n < 0) /* cut short: the client must not take it for an end */
		return -ECONNRESET;
	l->server_ended = n == 0;
	acknowledge(l->server_fd);
	r = immure_http_flow_answer(l->flow, (const unsigned char *)piece, (size_t)n);
	if (r < 0) {
		flow_said(l, r);
		if (r == -EFBIG)
			answer(l, "502 Bad Gateway", immure_http_flow_why(l->flow), "");
		return -ECONNRESET;
	}
	r = scrub(l, piece, (size_t)n, n == 0);
	l->held_ms = l->scrub.len ? l->in->now_ms : 0;
	if (r == 0 && !l->back.len)
		pending_done(&l->back);
	return r < 0 ? r : 1;
}

/* Both ways, for some turns. false: it is gone. */
static bool pump(struct lent *l)
{
	for (int i = 0; i < TURN; i++) {
		uint64_t before = l->bytes[0] + l->bytes[1];
		int a, b;

		if (immure_intercept_allowance(l->in) == 0) {
			l->ready = true;
			return true;
		}
		a = outwards(l);
		b = a < 0 ? a : backwards(l);
		if (b < 0 && l->answered) {
			l->state = LENT_DRAIN;
			l->due_ms = l->in->now_ms + DRAIN_MS;
			return true;
		}
		if (b < 0) {
			end(l, true);
			return false;
		}
		l->in->credit -= (int64_t)(l->bytes[0] + l->bytes[1] - before);
		if (a || b)
			l->last_ms = l->in->now_ms;
		if (l->server_ended && !l->back.len) {
			immure_tls_bye(l->client);
			end(l, false);
			return false;
		}
		if (!a && !b)
			return true;
	}
	l->ready = true;
	return true;
}

/* The refusal, and then nothing. What the client still sends is read, since closing over it
 * would be a reset. */
static void drain(struct lent *l)
{
	char piece[PIECE];
	int r = 1;

	while (l->back.len && r > 0)
		r = flush(l->client, &l->back, &l->bytes[1]);
	if (r == 0)
		return;
	if (r > 0) {
		for (int i = 0; i < TURN && immure_tls_read(l->client, piece, sizeof(piece)) > 0; i++)
			;
		immure_tls_bye(l->client);
	}
	end(l, r < 0);
}

void immure_lent_step(struct lent *l)
{
	l->ready = false;
	while (l->state < LENT_OPEN)
		if (!shake(l))
			return;
	if (l->state == LENT_OPEN && !pump(l))
		return;
	if (l->state == LENT_DRAIN)
		drain(l);
}

/* ---- time, rules ---- */

static uint64_t open_due(const struct lent *l)
{
	const struct immure_egress_limits *k = &l->in->config.limits;
	uint64_t due = k->idle_ms ? l->last_ms + k->idle_ms : UINT64_MAX;

	if (l->client_ended && l->last_ms + AFTER_END_MS < due)
		due = l->last_ms + AFTER_END_MS;
	if (l->head_ms && l->head_ms + k->head_ms < due)
		due = l->head_ms + k->head_ms;
	if (l->held_ms && l->held_ms + HOLD_MS < due)
		due = l->held_ms + HOLD_MS;
	return due;
}

void immure_lent_due(struct lent *l)
{
	uint64_t now = l->in->now_ms;

	if (l->state != LENT_OPEN) {
		if (now < l->due_ms)
			return;
		if (l->state != LENT_DRAIN && !l->failed)
			deny(l, l->state == LENT_UPSTREAM ? IMMURE_WIRE_UNREACHED : IMMURE_WIRE_CONTENT,
			     IMMURE_CODE_HTTP_TLS_FAIL,
			     l->state == LENT_UPSTREAM ? "the server did not finish TLS in time" :
							 "the client did not finish TLS in time");
		end(l, true);
		return;
	}
	if (now < open_due(l))
		return;
	/* Nothing came that would have been the rest of it. */
	if (l->held_ms && now >= l->held_ms + HOLD_MS && !l->back.len) {
		l->held_ms = 0;
		if (scrub(l, NULL, 0, true) == 0)
			immure_lent_step(l);
		else
			end(l, true);
		return;
	}
	if (l->head_ms && now >= l->head_ms + l->in->config.limits.head_ms)
		deny(l, IMMURE_WIRE_CONTENT, IMMURE_CODE_NONE, "a request was not whole in time");
	end(l, true);
}

/* The request that is under way, or was the last. */
void immure_lent_rejudge(struct lent *l)
{
	if (l->state == LENT_OPEN && immure_http_flow_again(l->flow) < 0)
		end(l, true);
}
