/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor is told. Nothing waits for it: what does not fit is queued,
 * and of denials only so many, because the command decides how often it is denied. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "egress/worker.h"

enum { DENIALS_MAX = 64, OUT_MAX = 512, AGAIN_MS = 1000 };

struct outgoing {
	struct outgoing *next;
	struct immure_wire m;
};

static void fail(struct worker *w, int error, const char *why)
{
	if (!w->failed) {
		w->failed = error;
		w->why = why;
	}
}

static void want_room(struct worker *w, bool on)
{
	struct epoll_event e = { .events = EPOLLIN | (on ? EPOLLOUT : 0U) };

	e.data.u64 = IMMURE_TAG(IMMURE_TAG_CONTROL, 0, 0, 0);
	(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, w->control_fd, &e);
}

void immure_report_flush(struct worker *w)
{
	bool had = w->out;

	while (w->out) {
		struct outgoing *o = w->out;
		int r = immure_wire_send(w->control_fd, &o->m, NULL, 0);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			fail(w, r, "the supervisor is gone");
			return;
		}
		w->out = o->next;
		w->out_n--;
		free(o);
	}
	w->out_end = &w->out;
	if (had)
		want_room(w, false);
}

/* false: dropped. */
static bool put(struct worker *w, const struct immure_wire *m)
{
	bool may_drop = m->type == IMMURE_WIRE_DENIED;
	struct outgoing *o;
	int r = w->out ? -EAGAIN : immure_wire_send(w->control_fd, m, NULL, 0);

	if (r == 0)
		return true;
	if (r != -EAGAIN) {
		fail(w, r, "the supervisor is gone");
		return false;
	}
	o = w->out_n < (may_drop ? DENIALS_MAX : OUT_MAX) ? malloc(sizeof(*o)) : NULL;
	if (!o) {
		if (may_drop)
			w->lost++;
		else
			fail(w, -ENOBUFS, "the supervisor does not listen");
		return false;
	}
	o->m = *m;
	o->next = NULL;
	if (!w->out)
		want_room(w, true);
	*w->out_end = o;
	w->out_end = &o->next;
	w->out_n++;
	return true;
}

void immure_report(struct worker *w, const struct immure_wire *m)
{
	(void)put(w, m); /* what is dropped is counted there */
}

/* Printable ASCII, whatever it was; cut where it does not fit. */
static void text(char *to, size_t cap, const char *from)
{
	size_t n = 0;

	for (; from && *from && n + 1 < cap; from++)
		to[n++] = *from >= 0x20 && *from <= 0x7e ? *from : '?';
	to[n] = '\0';
}

static uint64_t key_of(const struct immure_wire_denied *d)
{
	const char *parts[] = { d->host, d->rule, d->why };
	uint64_t h = 0xcbf29ce484222325ULL ^ d->step ^ (uint64_t)d->port << 32;

	for (size_t i = 0; i < 3; i++)
		for (const char *s = parts[i]; *s; s++)
			h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h;
}

/* false: not told, because it was just before or because there is no room. */
static bool denied(struct worker *w, struct immure_wire *m, const struct immure_verdict *v)
{
	struct immure_wire_denied *d = &m->denied;
	uint64_t key;
	size_t at;

	if (immure_wire_is_failure(d->step))
		w->unreached++;
	else
		w->denied++;
	m->type = IMMURE_WIRE_DENIED;
	d->code = v->code;
	text(d->rule, sizeof(d->rule), v->rule);
	text(d->why, sizeof(d->why), v->why);
	text(d->add, sizeof(d->add), v->add);
	key = key_of(d);
	at = key % (sizeof(w->recent) / sizeof(w->recent[0]));
	if (w->recent[at].key == key && w->now_ms - w->recent[at].ms < AGAIN_MS)
		return false;
	w->recent[at].key = key;
	w->recent[at].ms = w->now_ms;
	return put(w, m);
}

bool immure_report_refused(struct worker *w, const struct conn *c, enum immure_wire_step step,
			   const struct immure_verdict *v, uint32_t held)
{
	struct immure_wire m = { .id = held };
	struct immure_endpoint host = c->to;
	char buf[IMMURE_ENDPOINT_TEXT];

	m.denied.step = step;
	m.denied.proxy = c->kind == CONN_CONNECT || c->kind == CONN_PLAIN ? 1 : c->kind == CONN_SOCKS ? 2 : 0;
	m.denied.source = c->source;
	m.denied.meant = c->meant;
	m.denied.port = c->to.port;
	host.port = 0;
	text(m.denied.host, sizeof(m.denied.host), immure_endpoint_print(&host, buf));
	return denied(w, &m, v);
}

void immure_report_denied(struct worker *w, const struct conn *c, enum immure_wire_step step,
			  const struct immure_verdict *v)
{
	(void)immure_report_refused(w, c, step, v, 0); /* nothing waits for it */
}

bool immure_report_lookup(struct worker *w, const struct asker *a, const char *name, bool limit,
			  const struct immure_verdict *v)
{
	struct immure_wire m = { .id = a->looked };
	unsigned char gateway[16];

	m.denied.step = limit ? IMMURE_WIRE_LIMIT : IMMURE_WIRE_LOOKUP;
	m.denied.proxy = a->tcp ? IMMURE_WIRE_ASKED_TCP : 0;
	m.denied.source = a->from;
	immure_synth_own(w->synth, IMMURE_HOST_NET4, gateway);
	memcpy(m.denied.meant.addr, gateway, 4);
	m.denied.meant.port = 53;
	text(m.denied.host, sizeof(m.denied.host), name);
	return denied(w, &m, v);
}

void immure_report_done(struct worker *w, uint32_t id, int result, uint64_t value, const char *why)
{
	struct immure_wire m = { .type = IMMURE_WIRE_DONE, .id = id };

	m.done.result = result;
	m.done.value = value;
	text(m.done.why, sizeof(m.done.why), why);
	immure_report(w, &m);
}

void immure_report_stats(struct worker *w, uint32_t id)
{
	struct immure_wire m = { .type = IMMURE_WIRE_STATS, .id = id };

	m.stats = (struct immure_wire_stats){
		.connections = w->live, .connections_all = w->total,
		.bytes_out = w->bytes[0], .bytes_in = w->bytes[1],
		.names = immure_synth_count(w->synth), .lookups = w->lookups,
		.denied = w->denied, .failed = w->unreached, .lost = w->lost,
	};
	immure_report(w, &m);
}

static const char *state_name(const struct conn *c)
{
	static const char *const names[] = {
		[CONN_FREE] = "free", [CONN_PREAMBLE] = "preamble", [CONN_LOOK] = "looking",
		[CONN_SPARE] = "waiting", [CONN_RESOLVE] = "resolving", [CONN_DIAL] = "dialling",
		[CONN_RELAY] = "open", [CONN_HELD] = "denied", [CONN_LENT] = "intercepted",
	};

	return names[c->state];
}

static void endpoint_of(struct immure_endpoint *e, const struct immure_inet *a)
{
	immure_endpoint_address(e, a->v6 ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4, a->addr);
	e->port = a->port;
}

/* One line a connection: state, where to, which address, bytes out, bytes in. */
int immure_report_show(struct worker *w, int fd, uint64_t *ret_bytes)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	size_t at = 0;
	int r = 0;

	for (uint32_t i = 0; i < w->conns_n && b.len < IMMURE_WIRE_SHOW_MAX - 1024; i++) {
		const struct conn *c = w->conns[i];
		char to[IMMURE_ENDPOINT_TEXT], peer[IMMURE_ENDPOINT_TEXT] = "-";
		struct immure_endpoint e = { 0 };

		if (c->state == CONN_FREE)
			continue;
		if (c->peer.port) {
			endpoint_of(&e, &c->peer);
			(void)immure_endpoint_print(&e, peer);
		}
		immure_buf_printf(&b, "%s %s %s %llu %llu\n", state_name(c),
				  c->to.port ? immure_endpoint_print(&c->to, to) : "-", peer,
				  (unsigned long long)c->two.from[0].bytes,
				  (unsigned long long)c->two.from[1].bytes);
	}
	if (!immure_buf_ok(&b))
		r = -ENOMEM;
	while (r == 0 && at < b.len) {
		ssize_t n = pwrite(fd, b.data + at, b.len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			r = n < 0 ? -errno : -EIO;
		else
			at += (size_t)n;
	}
	*ret_bytes = at;
	immure_buf_done(&b);
	return r;
}
