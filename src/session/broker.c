/* SPDX-License-Identifier: Apache-2.0 */
#include "session/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "session/gatekeep.h"
#include "session/metadata.h"

/* Of the other work of this process a storm of calls takes no more than so many. */
enum { TURN = 64, DNS_PORT = 53, MUSL_PROBE = 65535, QUERY_MAX = 512 };

/* Instead of 0 or -errno: the caller has its answer, or gets it later. */
enum { SENT = 1 };

void immure_broker_init(struct immure_broker *b)
{
	memset(b, 0, sizeof(*b));
	b->listener_fd = b->port_fd[0] = b->port_fd[1] = -1;
	for (size_t i = 0; i < IMMURE_BROKER_PENDING; i++)
		b->pending[i].fd = -1;
}

static void answer(struct immure_broker *b, const struct immure_notice *n, int64_t value,
		   int errnum)
{
	/* Gone meanwhile: then nobody is left to tell. */
	(void)immure_notify_answer(b->listener_fd, n->id, value, errnum);
}

/* Not being allowed to look (a security module, a debugger's setting) is no one call's
 * fault: it is told at the end. */
static int in_trouble(struct immure_broker *b, int r, const char *what)
{
	if ((r == -EPERM || r == -ENOSYS || r == -EACCES) && !b->trouble) {
		b->trouble = what;
		b->trouble_errnum = -r;
	}
	return r;
}

/* ---- pending ---- */

static void forget(struct immure_broker_pending *p)
{
	immure_close(&p->fd);
	p->used = false;
}

static struct immure_broker_pending *room(struct immure_broker *b)
{
	for (size_t i = 0; i < IMMURE_BROKER_PENDING; i++)
		if (!b->pending[i].used)
			return &b->pending[i];
	return NULL;
}

void immure_broker_refuse(struct immure_broker *b)
{
	for (size_t i = 0; i < IMMURE_BROKER_PENDING; i++) {
		if (!b->pending[i].used)
			continue;
		answer(b, &b->pending[i].notice, 0, ECONNREFUSED);
		forget(&b->pending[i]);
	}
}

void immure_broker_done(struct immure_broker *b)
{
	immure_broker_refuse(b);
	immure_close(&b->listener_fd);
	immure_close(&b->port_fd[0]);
	immure_close(&b->port_fd[1]);
	for (size_t i = 0; i < b->ports_n; i++)
		immure_close(&b->ports[i].fd);
}

int immure_broker_asker(const struct immure_broker *b, const struct immure_inet *meant)
{
	int tid = 0;

	for (size_t i = 0; i < IMMURE_BROKER_PENDING; i++) {
		const struct immure_broker_pending *p = &b->pending[i];

		if (!p->used || p->meant.v6 != meant->v6 || p->meant.port != meant->port ||
		    memcmp(p->meant.addr, meant->addr, sizeof(meant->addr)) != 0)
			continue;
		if (tid)
			return 0;
		tid = p->notice.tid;
	}
	return tid;
}

/* ---- what was asked ---- */

struct address {
	int family;             /* AF_UNSPEC, AF_INET, AF_INET6 */
	bool mapped;            /* written as IPv4 in IPv6 */
	struct immure_inet at;
};

static bool is_any(const struct immure_inet *a)
{
	static const uint8_t none[16];

	return memcmp(a->addr, none, a->v6 ? 16 : 4) == 0;
}

/* Read once; what is judged and what is done are this copy. */
static int read_address(struct immure_broker *b, const struct immure_notice *n, uint64_t at,
			uint64_t len, struct address *ret)
{
	struct sockaddr_storage sa;
	uint32_t size = (uint32_t)len;
	int r;

	memset(&sa, 0, sizeof(sa));
	memset(ret, 0, sizeof(*ret));
	if (size > sizeof(sa) || size < sizeof(sa.ss_family))
		return -EINVAL;
	r = immure_notify_read(n, at, &sa, size);
	if (r < 0)
		return in_trouble(b, r, "what the command asks for cannot be read");
	/* Only now it is sure that it was the caller's memory. */
	if (!immure_notify_valid(b->listener_fd, n->id))
		return -ENOENT;
	ret->family = sa.ss_family;
	if (sa.ss_family == AF_UNSPEC)
		return 0;
	if (sa.ss_family != AF_INET && sa.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (size < (sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
					      offsetof(struct sockaddr_in6, sin6_scope_id)))
		return -EINVAL;
	r = immure_inet_from_sockaddr(&sa, &ret->at);
	ret->mapped = sa.ss_family == AF_INET6 && !ret->at.v6;
	return r;
}

/* The kernel takes no address for this machine. */
static void nowhere_is_here(struct immure_inet *a)
{
	if (!is_any(a))
		return;
	if (a->v6)
		a->addr[15] = 1;
	else
		memcpy(a->addr, ((uint8_t[]){ 127, 0, 0, 1 }), 4);
}

static bool is_loopback(const struct immure_inet *a)
{
	struct immure_inet here = { .v6 = true, .addr = { [15] = 1 } };

	return a->v6 ? memcmp(a->addr, here.addr, 16) == 0 : a->addr[0] == 127;
}

static int take_socket(struct immure_broker *b, const struct immure_notice *n)
{
	return in_trouble(b, immure_notify_take_fd(n, (int)n->args[0]),
			  "the command's sockets cannot be reached");
}

/* ---- the calls ---- */

static int do_socket(struct immure_broker *b, const struct immure_notice *n)
{
	int type = (int)n->args[1];
	IMMURE_CLEANUP_FD int fd = immure_brokersock_make((int)n->args[0], type);
	int r = fd < 0 ? fd : immure_notify_answer_fd(b->listener_fd, n->id, fd, type & SOCK_CLOEXEC);

	return r < 0 ? r : SENT;
}

/* A client that binds to no address and no port asks for what it has anyway. */
static int do_bind(struct immure_broker *b, const struct immure_notice *n)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct address a;
	int r = read_address(b, n, n->args[1], n->args[2], &a);

	if (r < 0)
		return r;
	if (a.family != AF_UNSPEC && a.at.port == 0 && is_any(&a.at))
		return 0;
	if (a.family == AF_UNSPEC || !(is_any(&a.at) || is_loopback(&a.at)) ||
	    !immure_brokerport_is(b, a.at.port))
		return -EACCES;
	fd = take_socket(b, n);
	return fd < 0 ? fd : immure_brokerport_bind(b, fd, a.at.port);
}

static int do_listen(struct immure_broker *b, const struct immure_notice *n)
{
	IMMURE_CLEANUP_FD int fd = -1;

	if (!b->ports_n)
		return -EPERM;
	fd = take_socket(b, n);
	return fd < 0 ? fd : immure_brokerport_listen(b, fd, (int)n->args[1]);
}

static bool ask(struct immure_gatekeeper *g, struct immure_broker_pending *p)
{
	struct immure_wire m = { .type = IMMURE_WIRE_REACH, .id = ++g->broker.last_ask };

	m.reach.meant = p->meant;
	p->ask = m.id;
	return immure_gate_wake(g) && immure_wire_send(g->wire_fd, &m, NULL, 0) == 0;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Where a signal may interrupt a caller that waits (before Linux 5.19), it makes its call
 * again and finds itself connected: that is what it asked for. */
static int again(struct immure_broker *b, const struct immure_notice *n,
		 const struct immure_inet *meant, int fd)
{
	for (size_t i = 0; i < IMMURE_BROKER_MISSED; i++) {
		struct immure_broker_missed *m = &b->missed[i];

		if (m->tid != n->tid || m->inode != inode_of(fd) ||
		    memcmp(&m->meant, meant, sizeof(*meant)) != 0)
			continue;
		m->tid = 0;
		return 0;
	}
	return -EISCONN;
}

static void missed(struct immure_broker *b, const struct immure_broker_pending *p)
{
	b->missed[b->missed_at++ % IMMURE_BROKER_MISSED] = (struct immure_broker_missed){
		.tid = p->notice.tid, .inode = inode_of(p->fd), .meant = p->asked,
	};
}

static int connect_tcp(struct immure_gatekeeper *g, const struct immure_notice *n,
		       const struct address *a, int family, int *fd)
{
	struct immure_broker_pending *p = room(&g->broker);
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(*fd, (struct sockaddr *)&peer, &len) == 0)
		return a->family == AF_UNSPEC ? -EOPNOTSUPP : again(&g->broker, n, &a->at, *fd);
	if (a->family == AF_UNSPEC) /* as it is */
		return 0;
	if (a->family != family)
		return -EAFNOSUPPORT;
	if (!p)
		return -EAGAIN;
	*p = (struct immure_broker_pending){ .used = true, .notice = *n, .fd = immure_take_fd(fd),
					     .asked = a->at, .meant = a->at };
	nowhere_is_here(&p->meant);
	if (!ask(g, p)) {
		forget(p);
		return -ECONNREFUSED;
	}
	return SENT; /* when the verdict comes */
}

void immure_broker_verdict(struct immure_gatekeeper *g, uint32_t ask, int errnum)
{
	struct immure_wire m = { .type = IMMURE_WIRE_HANDED };
	struct immure_broker_pending *p = NULL;
	IMMURE_CLEANUP_FD int far = -1;
	int r = -errnum;

	for (size_t i = 0; i < IMMURE_BROKER_PENDING && !p; i++)
		if (g->broker.pending[i].used && g->broker.pending[i].ask == ask)
			p = &g->broker.pending[i];
	if (!p)
		return;
	if (r == 0 && !immure_notify_valid(g->broker.listener_fd, p->notice.id))
		r = -ENOENT; /* nobody waits: nothing is connected */
	if (r == 0)
		r = immure_brokersock_connect(g->broker.port_fd, p->fd, &far);
	if (r == 0) {
		m.handed.kind = IMMURE_WIRE_HANDED_TCP;
		m.handed.meant = p->meant;
		/* Not taken: the connection that the caller has then ends. */
		(void)immure_wire_send(g->wire_fd, &m, &far, 1);
	}
	if (immure_notify_answer(g->broker.listener_fd, p->notice.id, 0, -r) == -ENOENT && r == 0)
		missed(&g->broker, p);
	forget(p);
}

/* ---- names ---- */

/* The caller's descriptor becomes one end; the worker has the other. With a question:
 * that is in it already. */
static int give_names(struct immure_gatekeeper *g, const struct immure_notice *n, const void *query,
		      size_t len)
{
	struct immure_wire m = { .type = IMMURE_WIRE_HANDED };
	IMMURE_CLEANUP_FD int theirs = -1, far = -1;
	int flags = immure_notify_fd_flags(n, (int)n->args[0]), r;

	if (flags < 0)
		return in_trouble(&g->broker, flags, "the command's sockets cannot be reached");
	r = immure_brokersock_pair(flags & O_NONBLOCK, &theirs, &far);
	if (r < 0)
		return r;
	m.handed.kind = IMMURE_WIRE_HANDED_NAMES;
	if (!immure_gate_wake(g) || immure_wire_send(g->wire_fd, &m, &far, 1) < 0)
		return -ECONNREFUSED;
	if (query && send(theirs, query, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return immure_notify_replace_fd(g->broker.listener_fd, n->id, theirs, (int)n->args[0],
					flags & O_CLOEXEC);
}

static int connect_udp(struct immure_gatekeeper *g, const struct immure_notice *n,
		       const struct address *a)
{
	if (a->family == AF_UNSPEC)
		return 0;
	if (a->at.port == DNS_PORT)
		return give_names(g, n, NULL, 0);
	/* How musl finds out which families there are (AI_ADDRCONFIG). Nothing can be sent
	 * by the socket, wherever its owner believes it to lead. */
	return a->at.port == MUSL_PROBE && is_loopback(&a->at) ? 0 : -EACCES;
}

static int do_connect(struct immure_gatekeeper *g, const struct immure_notice *n)
{
	struct address a;
	IMMURE_CLEANUP_FD int fd = -1;
	int family, r = read_address(&g->broker, n, n->args[1], n->args[2], &a);

	if (r < 0)
		return r;
	fd = take_socket(&g->broker, n);
	if (fd < 0)
		return fd;
	if (immure_brokersock_is(fd, SOCK_STREAM, &family))
		return connect_tcp(g, n, &a, family, &fd);
	if (immure_brokersock_is(fd, SOCK_DGRAM, &family))
		return connect_udp(g, n, &a);
	/* Once more to a name server. */
	if (immure_brokersock_is_pair(fd))
		return a.family == AF_UNSPEC || a.at.port == DNS_PORT ? 0 : -EACCES;
	return -EACCES;
}

/* A resolver that sends without connecting looks whether what answers is whom it
 * asked. What answers here has no address: so that it is found equal, the one that
 * was asked becomes the empty one of its family, in the caller's memory, where that
 * can be written. */
static void blank_address(const struct immure_notice *n, const struct address *a)
{
	static const unsigned char empty[26];
	size_t rest = (a->family == AF_INET ? sizeof(struct sockaddr_in) : 28) - sizeof(sa_family_t);

	(void)immure_notify_write(n, n->args[4] + sizeof(sa_family_t), empty, rest);
}

static int do_sendto(struct immure_gatekeeper *g, const struct immure_notice *n)
{
	unsigned char query[QUERY_MAX];
	size_t len = n->args[2];
	IMMURE_CLEANUP_FD int fd = -1;
	struct address a;
	int family, r = read_address(&g->broker, n, n->args[4], n->args[5], &a);
	bool pair;

	if (r < 0)
		return r;
	fd = take_socket(&g->broker, n);
	if (fd < 0)
		return fd;
	if (immure_brokersock_is(fd, SOCK_STREAM, &family)) /* only with MSG_FASTOPEN is it looked at */
		return -EOPNOTSUPP;
	pair = immure_brokersock_is_pair(fd);
	if (!pair && !(immure_brokersock_is(fd, SOCK_DGRAM, &family) && a.family != AF_UNSPEC &&
		       a.at.port == DNS_PORT))
		return -EACCES;
	if (len > sizeof(query))
		return -EMSGSIZE;
	r = immure_notify_read(n, n->args[1], query, len);
	if (r < 0)
		return r;
	if (!pair)
		r = give_names(g, n, query, len);
	else if (send(fd, query, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r = -errno;
	if (r < 0)
		return r;
	if (a.at.port == DNS_PORT)
		blank_address(n, &a);
	answer(&g->broker, n, (int64_t)len, 0);
	return SENT;
}

static void serve(struct immure_gatekeeper *g, const struct immure_notice *n)
{
	int r;

	switch (n->nr) {
	case SYS_socket:
		r = do_socket(&g->broker, n);
		break;
	case SYS_connect:
		r = do_connect(g, n);
		break;
	case SYS_bind:
		r = do_bind(&g->broker, n);
		break;
	case SYS_listen:
		r = do_listen(&g->broker, n);
		break;
	case SYS_sendto:
		r = do_sendto(g, n);
		break;
	default:
		r = immure_metadata_answer(g->metadata, g->broker.listener_fd, n);
		break;
	}
	if (r != SENT)
		answer(&g->broker, n, 0, -r);
}

void immure_broker_step(struct immure_gatekeeper *g)
{
	struct immure_notice n;

	for (int i = 0; i < TURN; i++) {
		int r = immure_notify_waits(g->broker.listener_fd);

		if (r < 0) /* nobody is left inside */
			immure_broker_done(&g->broker);
		if (r <= 0)
			return;
		if (immure_notify_receive(g->broker.listener_fd, &n) == 1)
			serve(g, &n);
	}
}
