/* SPDX-License-Identifier: Apache-2.0 */
/* Connections in which TLS is to end at us: allowed, dialled and vetted here, like all, and
 * then lent to immure-intercept, which goes on with both sockets. What is kept are descriptors
 * of the same, to count them and to cut them. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "egress/lendmsg.h"
#include "egress/worker.h"

static void deny(struct worker *w, struct conn *c, const char *why)
{
	struct immure_verdict v;
	char text[IMMURE_ENDPOINT_TEXT];

	(void)immure_verdict_deny(&v, NULL, "%s: %s", immure_endpoint_print(&c->to, text), why);
	immure_conn_deny(w, c, IMMURE_WIRE_LIMIT, &v);
}

static void unwatch(struct worker *w, int fd)
{
	(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* or it never was */
}

void immure_lend(struct worker *w, struct conn *c)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_LEND, .id = immure_conn_who(c) };
	int fds[2] = { c->client_fd, c->dial_fd[c->side - 1] };

	c->state = CONN_LENT;
	c->due_ms = UINT64_MAX; /* its new holder has the limits of time */
	if (c->first && c->first->len) {
		deny(w, c, "it was spoken to before it was connected");
		return;
	}
	unwatch(w, fds[0]);
	unwatch(w, fds[1]);
	m.lend.source = c->source;
	m.lend.meant = c->meant;
	m.lend.kind = c->to.kind;
	memcpy(m.lend.name, c->to.name, sizeof(m.lend.name));
	memcpy(m.lend.address, c->to.address, sizeof(m.lend.address));
	m.lend.port = c->to.port;
	m.lend.proxy = c->kind == CONN_CONNECT ? 1 : c->kind == CONN_SOCKS ? 2 : 0;
	if (w->link_fd < 0 || immure_lend_send(w->link_fd, &m, fds, 2) < 0)
		deny(w, c, "what ends TLS is not there, or has too much to do");
}

/* Without it nothing that it had can go on, and nothing else be lent. */
static void unlink_it(struct worker *w)
{
	unwatch(w, w->link_fd);
	immure_close(&w->link_fd);
	w->judge.intercepts = false;
	for (uint32_t i = 0; i < w->conns_n; i++)
		if (w->conns[i]->state == CONN_LENT)
			immure_conn_close(w, w->conns[i], true);
}

void immure_lend_link(struct worker *w, int *fd)
{
	unlink_it(w);
	w->link_fd = immure_take_fd(fd);
	if (immure_worker_watch(w, w->link_fd, EPOLLIN, IMMURE_TAG(IMMURE_TAG_LINK, 0, 0, 0)) < 0)
		immure_close(&w->link_fd);
	w->judge.intercepts = w->link_fd >= 0;
}

void immure_lend_event(struct worker *w)
{
	int fds[IMMURE_LEND_FDS], r;
	struct immure_lend_msg m;

	while (w->link_fd >= 0) {
		struct conn *c;

		r = immure_lend_recv(w->link_fd, &m, fds);
		if (r == -EAGAIN)
			return;
		if (r != 1 || m.type != IMMURE_LEND_RETURN) {
			immure_close_all(fds, IMMURE_LEND_FDS);
			unlink_it(w);
			return;
		}
		c = immure_conn_of(w, m.id);
		if (!c || c->state != CONN_LENT) /* cut meanwhile */
			continue;
		w->bytes[0] += m.returned.bytes[0];
		w->bytes[1] += m.returned.bytes[1];
		immure_conn_close(w, c, m.returned.reset);
	}
}
