/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "egress/http1.h"

#define HEAD offsetof(struct immure_wire, start)

_Static_assert(IMMURE_NETPLUMB_MAX <= 32, "present is 32 bits");
_Static_assert(IMMURE_WIRE_FDS_MAX <= 253, "SCM_MAX_FD");
_Static_assert(IMMURE_WIRE_SOCKETS_MAX <= IMMURE_WIRE_FDS_MAX, "SOCKETS fit");

/* Whether the type is one of that direction, and the length of what follows the head. */
static bool body_of(uint32_t type, bool to_worker, size_t *ret_len)
{
	const struct immure_wire *m = NULL;

	switch (to_worker ? type : type | 0x100U) {
	case IMMURE_WIRE_START:
		*ret_len = sizeof(m->start);
		return true;
	case IMMURE_WIRE_POLICY:
	case IMMURE_WIRE_ASK:
	case IMMURE_WIRE_SHOW:
	case IMMURE_WIRE_HOSTCONF:
	case IMMURE_WIRE_LOOKED:
	case IMMURE_WIRE_LINK:
		*ret_len = 0;
		return true;
	case IMMURE_WIRE_SOCKETS:
		*ret_len = sizeof(m->sockets);
		return true;
	case IMMURE_WIRE_REACH:
		*ret_len = sizeof(m->reach);
		return true;
	case IMMURE_WIRE_HANDED:
		*ret_len = sizeof(m->handed);
		return true;
	case 0x100 | IMMURE_WIRE_READY:
		*ret_len = sizeof(m->ready);
		return true;
	case 0x100 | IMMURE_WIRE_DONE:
		*ret_len = sizeof(m->done);
		return true;
	case 0x100 | IMMURE_WIRE_DENIED:
		*ret_len = sizeof(m->denied);
		return true;
	case 0x100 | IMMURE_WIRE_STATS:
		*ret_len = sizeof(m->stats);
		return true;
	case 0x100 | IMMURE_WIRE_WANT:
		*ret_len = sizeof(m->want);
		return true;
	case 0x100 | IMMURE_WIRE_NAMES:
		*ret_len = sizeof(m->names);
		return true;
	case 0x100 | IMMURE_WIRE_VERDICT:
		*ret_len = sizeof(m->verdict);
		return true;
	case 0x100 | IMMURE_WIRE_FAILED:
		*ret_len = sizeof(m->failed);
		return true;
	default:
		return false;
	}
}

/* Ends inside its field and has nothing that a terminal would obey. */
static bool text_ok(const char *s, size_t cap)
{
	for (size_t i = 0; i < cap; i++) {
		if (!s[i])
			return true;
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	}
	return false;
}

static bool inet_ok(const struct immure_inet *a)
{
	unsigned char v6;

	memcpy(&v6, &a->v6, 1); /* any other value in a bool is undefined to look at */
	return v6 <= 1;
}

static bool denied_ok(const struct immure_wire_denied *d)
{
	return d->step < IMMURE_WIRE_STEPS && d->code < IMMURE_CODES && d->proxy <= IMMURE_WIRE_ASKED_TCP && d->port <= 65535 &&
	       inet_ok(&d->source) && inet_ok(&d->meant) && text_ok(d->host, sizeof(d->host)) &&
	       text_ok(d->rule, sizeof(d->rule)) && text_ok(d->why, sizeof(d->why)) &&
	       text_ok(d->add, sizeof(d->add));
}

static bool sockets_ok(uint32_t n4, uint32_t n6)
{
	return n4 <= IMMURE_WIRE_SOCKETS_MAX && n6 <= IMMURE_WIRE_SOCKETS_MAX - n4;
}

/* How many descriptors belong to it; false: it contradicts itself. */
static bool content_ok(const struct immure_wire *m, size_t *ret_fds)
{
	*ret_fds = 0;
	switch (m->type) {
	case IMMURE_WIRE_START:
		*ret_fds = 1 + (size_t)__builtin_popcount(m->start.present) + m->start.publish_n;
		return m->start.with_v6 <= 1 && m->start.with_nft <= 1 && m->start.handed <= 2 &&
		       (uint64_t)m->start.present < UINT64_C(1) << IMMURE_NETPLUMB_MAX &&
		       m->start.publish_n <= IMMURE_EGRESS_PUBLISH_MAX;
	case IMMURE_WIRE_POLICY:
	case IMMURE_WIRE_SHOW:
	case IMMURE_WIRE_LINK:
		*ret_fds = 1;
		return true;
	case IMMURE_WIRE_HOSTCONF:
		*ret_fds = 2;
		return true;
	case IMMURE_WIRE_SOCKETS:
		*ret_fds = (size_t)m->sockets.n4 + m->sockets.n6;
		return sockets_ok(m->sockets.n4, m->sockets.n6);
	case IMMURE_WIRE_REACH:
		return inet_ok(&m->reach.meant);
	case IMMURE_WIRE_HANDED:
		*ret_fds = 1;
		return m->handed.kind <= IMMURE_WIRE_HANDED_NAMES && inet_ok(&m->handed.meant);
	case IMMURE_WIRE_VERDICT:
		return m->verdict.errnum >= 0 && m->verdict.errnum < 4096;
	case IMMURE_WIRE_WANT:
		return sockets_ok(m->want.n4, m->want.n6);
	case IMMURE_WIRE_DONE:
		return m->done.result <= 0 && text_ok(m->done.why, sizeof(m->done.why));
	case IMMURE_WIRE_DENIED:
		return denied_ok(&m->denied);
	case IMMURE_WIRE_FAILED:
		return m->failed.error <= 0 && text_ok(m->failed.why, sizeof(m->failed.why));
	default:
		return true;
	}
}

int immure_wire_decode(bool to_worker, const void *data, size_t len, size_t n_fds,
		       struct immure_wire *ret)
{
	struct immure_wire m;
	size_t body, fds;

	memset(&m, 0, sizeof(m));
	if (len < HEAD || len > sizeof(m))
		return -EPROTO;
	memcpy(&m, data, len);
	if (!body_of(m.type, to_worker, &body) || len != HEAD + body)
		return -EPROTO;
	if (!content_ok(&m, &fds) || fds != n_fds)
		return -EPROTO;
	*ret = m;
	return 0;
}

int immure_wire_pair(int ret[2])
{
	int fd[2], flags;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		return -errno;
	/* The worker waits for START. */
	flags = fcntl(fd[1], F_GETFL);
	if (flags < 0 || fcntl(fd[1], F_SETFL, flags & ~O_NONBLOCK) < 0) {
		int e = errno;

		immure_close(&fd[0]);
		immure_close(&fd[1]);
		return -e;
	}
	ret[0] = fd[0];
	ret[1] = fd[1];
	return 0;
}

union control {
	char space[CMSG_SPACE(sizeof(int) * IMMURE_WIRE_FDS_MAX)];
	struct cmsghdr align;
};

int immure_wire_send(int fd, const struct immure_wire *m, const int *fds, size_t n_fds)
{
	struct iovec iov;
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control;
	size_t body;
	ssize_t n;

	if (n_fds > IMMURE_WIRE_FDS_MAX ||
	    (!body_of(m->type, true, &body) && !body_of(m->type, false, &body)))
		return -EINVAL;
	/* sendmsg only reads; its struct merely lacks the const. */
	memcpy(&iov.iov_base, &m, sizeof(m));
	iov.iov_len = HEAD + body;
	if (n_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		h.msg_control = control.space;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* false: descriptors were lost on the way. */
static bool take_fds(struct msghdr *h, int fds[IMMURE_WIRE_FDS_MAX], size_t *ret_n)
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t k;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (k > IMMURE_WIRE_FDS_MAX - n)
			k = IMMURE_WIRE_FDS_MAX - n;
		memcpy(fds + n, CMSG_DATA(c), k * sizeof(int));
		n += k;
	}
	*ret_n = n;
	return !(h->msg_flags & (MSG_CTRUNC | MSG_TRUNC));
}

int immure_wire_recv(int fd, bool to_worker, struct immure_wire *ret,
		     int fds[IMMURE_WIRE_FDS_MAX], size_t *ret_n)
{
	struct {
		struct immure_wire m;
		char more; /* a longer datagram is recognised */
	} in;
	struct iovec iov = { .iov_base = &in, .iov_len = sizeof(in) };
	union control control;
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
			    .msg_controllen = sizeof(control.space) };
	bool whole;
	size_t got = 0;
	ssize_t n;
	int r;

	for (size_t i = 0; i < IMMURE_WIRE_FDS_MAX; i++)
		fds[i] = -1;
	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	whole = take_fds(&h, fds, &got);
	if (n == 0 && got == 0)
		return 0;
	r = whole ? immure_wire_decode(to_worker, &in, (size_t)n, got, ret) : -EPROTO;
	if (r < 0) {
		for (size_t i = 0; i < got; i++)
			immure_close(&fds[i]);
		return r;
	}
	*ret_n = got;
	return 1;
}

int immure_wire_send_start(int fd, int config_fd, const struct immure_netplumb *p,
			   const int *listeners, uint32_t publish_n, uint32_t handed)
{
	struct immure_wire m = { .type = IMMURE_WIRE_START };
	int fds[IMMURE_WIRE_FDS_MAX];
	size_t n = 0;

	if (publish_n > IMMURE_EGRESS_PUBLISH_MAX)
		return -EINVAL;
	fds[n++] = config_fd;
	for (unsigned int i = 0; i < IMMURE_NETPLUMB_MAX; i++) {
		if (p->fd[i] < 0)
			continue;
		m.start.present |= 1U << i;
		fds[n++] = p->fd[i];
	}
	for (uint32_t i = 0; i < publish_n; i++)
		fds[n++] = listeners[i];
	m.start.with_v6 = p->with_v6;
	m.start.with_nft = p->with_nft;
	m.start.publish_n = publish_n;
	m.start.handed = handed;
	return immure_wire_send(fd, &m, fds, n);
}

int immure_wire_send_policy(int fd, uint32_t id, int config_fd)
{
	struct immure_wire m = { .type = IMMURE_WIRE_POLICY, .id = id };

	return immure_wire_send(fd, &m, &config_fd, 1);
}
