/* SPDX-License-Identifier: Apache-2.0 */
/* What a client says first: a proxy's preamble, a ClientHello, a request. It is read
 * only as far as a rule needs it, for so long as the limits say, and kept to be
 * forwarded. Protocols in which the server speaks first are not looked at: no rule
 * asks for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "egress/absolute.h"
#include "egress/worker.h"

enum { FIRST_MAX = 96 * 1024 }; /* held of one client */

static void because(const struct conn *c, const char *why, enum immure_code code, struct immure_verdict *v)
{
	char text[IMMURE_ENDPOINT_TEXT] = "a connection";

	if (c->to.port)
		(void)immure_endpoint_print(&c->to, text);
	(void)immure_verdict_deny(v, NULL, "%s: %s", text, why);
	v->code = code;
}

static void deny(struct worker *w, struct conn *c, enum immure_wire_step step, const char *why)
{
	struct immure_verdict v;

	because(c, why, IMMURE_CODE_NONE, &v);
	immure_conn_deny(w, c, step, &v);
}

/* What the flow said of a request. */
static void deny_request(struct worker *w, struct conn *c, int r)
{
	struct immure_verdict v;

	because(c, r == -ENOMEM ? "out of memory" : immure_http_flow_why(c->http), immure_http_flow_code(r), &v);
	if (!c->told)
		immure_report_denied(w, c, r == -EPROTO ? IMMURE_WIRE_CONTENT : IMMURE_WIRE_LIMIT, &v);
	c->told = true;
	if (r == -EFBIG) /* as judge_request() has it */
		immure_conn_refuse_request(c, &v);
	immure_conn_deny(w, c, IMMURE_WIRE_CONTENT, &v);
}

static int keep(struct first *f, const void *data, size_t len)
{
	if (len == 0)
		return 0;
	if (len > FIRST_MAX - f->len)
		return -E2BIG;
	if (len > f->cap - f->len) {
		size_t cap = f->len + len + 2048;
		unsigned char *raw = realloc(f->raw, cap);

		if (!raw)
			return -ENOMEM;
		f->raw = raw;
		f->cap = cap;
	}
	memcpy(f->raw + f->len, data, len);
	f->len += len;
	return 0;
}

/* ---- replies of the proxy ---- */

/* A fresh socket has room; else the client waits in vain. */
static void answer(struct conn *c, const char *status, const char *why)
{
	char text[1400];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
			 "Connection: close\r\n\r\nimmure: %s\n",
			 status, strlen("immure: \n") + strlen(why), why);

	(void)send(c->client_fd, text, (size_t)n, MSG_NOSIGNAL);
}

void immure_look_reply(struct conn *c, int socks, const char *http, const char *why)
{
	static const char ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";

	if (c->kind == CONN_SOCKS && c->first) {
		immure_socks5_finish(&c->first->socks, socks);
		(void)send(c->client_fd, c->first->socks.reply, c->first->socks.reply_len,
			   MSG_NOSIGNAL);
	} else if (!http) {
		(void)send(c->client_fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL);
	} else {
		answer(c, http, why);
	}
}

void immure_look_forbid(struct conn *c, const char *status, const char *why)
{
	answer(c, status, why);
}

/* ---- judging ---- */

void immure_look_judge(struct worker *w, struct conn *c)
{
	struct immure_verdict v;

	switch (immure_judge_connect(&w->judge, &c->to, &v)) {
	case IMMURE_VERDICT_DENY:
		immure_conn_deny(w, c, IMMURE_WIRE_CONNECT, &v);
		return;
	case IMMURE_VERDICT_LOOK:
		c->look = v.look;
		if (c->kind == CONN_CAUGHT && !(v.look & IMMURE_LOOK_INTERCEPT)) {
			immure_look_start(w, c);
			return;
		}
		break;
	case IMMURE_VERDICT_ALLOW:
		break;
	}
	if (c->kind != CONN_CAUGHT && c->to.kind == IMMURE_HOST_NAME &&
	    !immure_names_claim(w, c->to.name, &v)) {
		immure_conn_deny(w, c, IMMURE_WIRE_LIMIT, &v);
		return;
	}
	immure_dial_resolve(w, c);
}

/* For the flow: every request of the connection. */
static int judge_request(void *ctx, const struct immure_http_head *head)
{
	struct conn *c = ctx;
	struct worker *w = c->worker;
	struct immure_verdict v;

	if (immure_judge_http(&w->judge, &c->to, head, &v) == IMMURE_VERDICT_ALLOW)
		return 0;
	immure_report_denied(w, c, IMMURE_WIRE_CONTENT, &v);
	c->told = true;
	/* Nothing else is under way yet, so the answer can only be to this request. Later ones
	 * are reset, and asked again by most clients on a connection of their own. */
	if (c->state == CONN_LOOK)
		immure_conn_refuse_request(c, &v);
	return -EACCES;
}

static int new_flow(struct worker *w, struct conn *c)
{
	int r = immure_http_flow_new(judge_request, c, &c->http);

	if (r == 0)
		immure_http_flow_bound(c->http, &w->config.limits.bodies);
	return r;
}

static void go_on(struct worker *w, struct conn *c)
{
	c->look = 0;
	if (c->side)
		immure_relaying_start(w, c, EPOLLIN | EPOLLRDHUP); /* what came was not heard */
	else
		immure_dial_resolve(w, c);
}

static void feed_tls(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	struct first *f = c->first;
	struct immure_tls_hello hello;
	struct immure_verdict v;
	size_t used;
	int r = keep(f, data, len);

	if (r < 0) {
		deny(w, c, IMMURE_WIRE_CONTENT, "too much before the first message was whole");
		return;
	}
	r = immure_tls_reader_feed(&f->tls, data, len, &used);
	if (r == 0)
		return;
	if (r > 0)
		r = immure_tls_hello_parse(&f->tls, &hello);
	if (r < 0) {
		deny(w, c, IMMURE_WIRE_CONTENT, f->tls.why);
		return;
	}
	if (immure_judge_tls(&w->judge, &c->to, &hello, &v) != IMMURE_VERDICT_ALLOW) {
		immure_conn_deny(w, c, IMMURE_WIRE_CONTENT, &v);
		return;
	}
	c->saw_tls = true;
	c->saw_ech = hello.ech;
	go_on(w, c);
}

static void feed_http(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	const unsigned char *out;
	size_t n;
	int r = immure_http_flow_feed(c->http, data, len, &out, &n);

	if (r == 0)
		r = keep(c->first, out, n);
	if (r < 0) {
		deny_request(w, c, r);
		return;
	}
	if (immure_http_flow_requests(c->http))
		go_on(w, c);
}

static void feed_first(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	struct first *f = c->first;

	if (!f->is_tls && !f->is_http) {
		/* A TLS record begins with 22, a request with a letter. */
		f->is_tls = data[0] == 22 && (c->look & IMMURE_LOOK_TLS);
		f->is_http = !f->is_tls && (c->look & IMMURE_LOOK_HTTP);
		if (!f->is_tls && !f->is_http) {
			deny(w, c, IMMURE_WIRE_CONTENT, "the rule asks for TLS");
			return;
		}
		if (f->is_tls)
			immure_tls_reader_init(&f->tls);
		else if (new_flow(w, c) < 0) {
			deny(w, c, IMMURE_WIRE_LIMIT, "out of memory");
			return;
		}
	}
	if (f->is_tls)
		feed_tls(w, c, data, len);
	else
		feed_http(w, c, data, len);
}

/* ---- preambles ---- */

static void to_is_known(struct worker *w, struct conn *c, const struct immure_endpoint *to)
{
	const char *name = NULL;

	c->to = *to;
	/* One who looked the name up itself means the name: as where it is caught. */
	if (to->kind != IMMURE_HOST_NAME)
		name = immure_synth_name(w->synth, to->kind, to->address);
	if (name) {
		c->to = (struct immure_endpoint){ .kind = IMMURE_HOST_NAME, .port = to->port };
		memcpy(c->to.name, name, strlen(name) + 1);
	}
	immure_look_judge(w, c);
}

static void feed_socks(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	struct first *f = c->first;

	while (len) {
		size_t used = 0;
		int r = immure_socks5_feed(&f->socks, data, len, &used);

		data += used;
		len -= used;
		if (r < 0 || r == IMMURE_SOCKS5_METHODS)
			(void)send(c->client_fd, f->socks.reply, f->socks.reply_len, MSG_NOSIGNAL);
		if (r < 0) {
			immure_conn_close(w, c, false);
			return;
		}
		if (r != IMMURE_SOCKS5_REQUEST)
			continue;
		if (keep(f, data, len) < 0)
			deny(w, c, IMMURE_WIRE_LIMIT, "too much before the reply");
		else
			to_is_known(w, c, &f->socks.to);
		return;
	}
}

static void bad_request(struct worker *w, struct conn *c)
{
	const char *why = c->first->http.why;

	immure_look_reply(c, 0, "400 Bad Request", why ? why : "not a request for a proxy");
	immure_conn_close(w, c, false);
}

/* What goes to the server instead, judged like any request to it, and as much of the
 * body as is here. */
static int forward_head(struct conn *c, const struct immure_http_head *h,
			const unsigned char *rest, size_t rest_len)
{
	char head[sizeof(c->first->head) + IMMURE_ABSOLUTE_MORE];
	const unsigned char *out;
	size_t len, n;
	int r = immure_absolute_rewrite(&c->first->http, h, head, &len);

	if (r == 0)
		r = new_flow(c->worker, c);
	if (r < 0)
		return r;
	immure_http_flow_once(c->http);
	r = immure_http_flow_feed(c->http, (unsigned char *)head, len, &out, &n);
	if (r == 0)
		r = keep(c->first, out, n);
	if (r == 0)
		r = immure_http_flow_feed(c->http, rest, rest_len, &out, &n);
	if (r == 0)
		r = keep(c->first, out, n);
	if (r == -EPROTO)
		c->first->http.why = immure_http_flow_why(c->http);
	return r;
}

/* GET http://HOST/PATH: no tunnel, one request. */
static void plain(struct worker *w, struct conn *c, const struct immure_http_head *h,
		  const unsigned char *rest, size_t rest_len)
{
	struct immure_endpoint to = h->host;
	struct immure_verdict v;
	int r;

	if (to.port == 0)
		to.port = 80;
	c->kind = CONN_PLAIN;
	c->to = to;
	if (immure_judge_connect(&w->judge, &to, &v) == IMMURE_VERDICT_DENY ||
	    immure_judge_http(&w->judge, &to, h, &v) != IMMURE_VERDICT_ALLOW) {
		immure_conn_deny(w, c, IMMURE_WIRE_CONNECT, &v);
		return;
	}
	if (to.kind == IMMURE_HOST_NAME && !immure_names_claim(w, to.name, &v)) {
		immure_conn_deny(w, c, IMMURE_WIRE_LIMIT, &v);
		return;
	}
	r = forward_head(c, h, rest, rest_len);
	if (r == -EPROTO)
		bad_request(w, c);
	else if (r == -EFBIG)
		deny_request(w, c, r);
	else if (r < 0)
		deny(w, c, IMMURE_WIRE_LIMIT, strerror(-r));
	else
		immure_dial_resolve(w, c);
}

static void feed_connect(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	struct first *f = c->first;
	struct immure_endpoint to = { 0 };
	struct immure_http_head h;
	size_t used = 0;
	int r = immure_http_reader_feed(&f->http, (const char *)data, len, &used);

	if (r == 0)
		return;
	if (r > 0 && immure_http_parse_any(&f->http, &h) == 0 && h.form == IMMURE_HTTP_ABSOLUTE) {
		plain(w, c, &h, data + used, len - used);
		return;
	}
	if (r > 0)
		r = immure_connect_parse(&f->http, &to);
	if (r == 0 && keep(f, data + used, len - used) < 0) {
		f->http.why = "too much before the reply";
		r = -E2BIG;
	}
	if (r < 0)
		bad_request(w, c);
	else
		to_is_known(w, c, &to);
}

static void feed_preamble(struct worker *w, struct conn *c, const unsigned char *data, size_t len)
{
	struct first *f = c->first;

	if (c->kind == CONN_PROXY) {
		c->kind = data[0] == 5 ? CONN_SOCKS : CONN_CONNECT;
		if (c->kind == CONN_SOCKS)
			immure_socks5_init(&f->socks);
		else
			immure_http_reader_init(&f->http, f->head, sizeof(f->head));
	}
	if (c->kind == CONN_SOCKS)
		feed_socks(w, c, data, len);
	else
		feed_connect(w, c, data, len);
}

/* ---- reading ---- */

void immure_look_start(struct worker *w, struct conn *c)
{
	bool proxy = c->kind == CONN_PROXY;
	unsigned char *held = NULL;
	size_t len = 0;

	if (!c->first)
		c->first = calloc(1, sizeof(*c->first));
	if (!c->first) {
		deny(w, c, IMMURE_WIRE_LIMIT, "out of memory");
		return;
	}
	c->state = proxy ? CONN_PREAMBLE : CONN_LOOK;
	immure_conn_due(w, c, w->now_ms + w->config.limits.first_ms);
	if (!c->watched && immure_worker_watch(w, c->client_fd,
					       EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
					       IMMURE_TAG(IMMURE_TAG_CONN, 0, c->life, c->index)) < 0) {
		deny(w, c, IMMURE_WIRE_LIMIT, "out of memory");
		return;
	}
	c->watched = true;
	/* What came together with the preamble is the first of the content. */
	if (!proxy && c->first->len) {
		uint64_t who = immure_conn_who(c);

		held = c->first->raw;
		len = c->first->len;
		c->first->raw = NULL;
		c->first->len = c->first->cap = 0;
		feed_first(w, c, held, len);
		free(held);
		if (immure_conn_of(w, who) != c)
			return;
	}
	immure_look_read(w, c);
}

void immure_look_read(struct worker *w, struct conn *c)
{
	uint64_t who = immure_conn_who(c);

	while (immure_conn_of(w, who) == c &&
	       (c->state == CONN_LOOK || c->state == CONN_PREAMBLE)) {
		unsigned char buf[16384];
		ssize_t n = recv(c->client_fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) { /* it left without having said enough */
			immure_conn_close(w, c, n < 0);
			return;
		}
		if (c->state == CONN_PREAMBLE)
			feed_preamble(w, c, buf, (size_t)n);
		else
			feed_first(w, c, buf, (size_t)n);
	}
}
