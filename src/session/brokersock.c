/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "session/broker.h"

/* The handshake with ourselves is over when connect() returns; where a busy machine
 * puts it off, so long. */
enum { HANDSHAKE_MS = 200, BACKLOG = 64 };

static struct immure_inet loopback(bool v6)
{
	struct immure_inet a = { .v6 = v6 };

	if (v6)
		a.addr[15] = 1;
	else
		memcpy(a.addr, ((uint8_t[]){ 127, 0, 0, 1 }), 4);
	return a;
}

/* What must hold of a UDP socket that goes inside, whoever sends to whatever address
 * by it: the kernel refuses each datagram out (EPIPE) and drops each one in. */
static int silence(int fd)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	const struct sock_fprog prog = { .len = 1, .filter = drop };
	int on = 1;

	/* ENOTCONN, and it is shut down nevertheless (immure_brokersock_check). */
	if (shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int immure_brokersock_make(int family, int type)
{
	int kind = type & 0xf, r = 0;
	IMMURE_CLEANUP_FD int fd = socket(family, kind | (type & SOCK_NONBLOCK) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (kind == SOCK_DGRAM)
		r = silence(fd);
	return r < 0 ? r : immure_take_fd(&fd);
}

/* To port 9 of our own loopback, where nobody is. */
static int try_to_send(int fd, bool v6)
{
	struct immure_inet to = loopback(v6);
	struct sockaddr_storage sa;
	socklen_t len;

	to.port = 9;
	len = immure_inet_sockaddr(&to, &sa);
	if (sendto(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&sa, len) >= 0)
		return -EPROTO;
	return errno == EPIPE ? 0 : -errno;
}

int immure_brokersock_check(bool *ret_v6)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (int i = 0; i < 2; i++) {
		IMMURE_CLEANUP_FD int fd = immure_brokersock_make(families[i], SOCK_DGRAM);
		int r = fd < 0 ? fd : try_to_send(fd, i);

		*ret_v6 = i == 1 && r == 0;
		if (i == 1 && fd == -EAFNOSUPPORT)
			return 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static bool option_is(int fd, int name, int want)
{
	socklen_t len = sizeof(int);
	int have = -1;

	return getsockopt(fd, SOL_SOCKET, name, &have, &len) == 0 && have == want;
}

bool immure_brokersock_is(int fd, int type, int *ret_family)
{
	socklen_t len = sizeof(*ret_family);

	return option_is(fd, SO_TYPE, type) &&
	       option_is(fd, SO_PROTOCOL, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP) &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, ret_family, &len) == 0 &&
	       (*ret_family == AF_INET || *ret_family == AF_INET6);
}

bool immure_brokersock_is_pair(int fd)
{
	return option_is(fd, SO_TYPE, SOCK_SEQPACKET) && option_is(fd, SO_DOMAIN, AF_UNIX);
}

/* ---- TCP ---- */

static int open_port(int port_fd[2], bool v6)
{
	struct immure_inet at = loopback(v6);

	int r;

	if (port_fd[v6] != -1)
		return port_fd[v6] >= 0 ? 0 : -EADDRNOTAVAIL;
	r = immure_netsock_listen(&at, BACKLOG);
	port_fd[v6] = r >= 0 ? r : r == -EMFILE || r == -ENFILE ? -1 : IMMURE_BROKER_NO_PORT;
	return r < 0 ? r : 0;
}

/* Where to: a socket of IPv6 reaches 127.0.0.1 by its mapped form where there is no ::1. */
static int address_of(int port_fd[2], int family, struct sockaddr_storage *sa, socklen_t *len,
		      int *ret_listener)
{
	bool v6 = family == AF_INET6 && open_port(port_fd, true) == 0;
	struct immure_inet at;
	int r = v6 ? 0 : open_port(port_fd, false);

	if (r == 0)
		r = immure_netsock_local(port_fd[v6], &at);
	if (r < 0)
		return r;
	if (family == AF_INET6 && !v6) {
		static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

		memmove(at.addr + 12, at.addr, 4);
		memcpy(at.addr, mapped, sizeof(mapped));
		at.v6 = true;
	}
	*len = immure_inet_sockaddr(&at, sa);
	*ret_listener = port_fd[v6];
	return 0;
}

/* Anybody on this machine can connect to the port; only the end of this very socket is
 * taken for it. */
static int accept_end(int listener, int fd, int *ret_far)
{
	struct immure_inet ours, from, at;
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int r = immure_netsock_local(fd, &ours);

	while (r == 0) {
		int far = immure_netsock_accept(listener, &at, &from);

		if (far == -EAGAIN)
			r = poll(&p, 1, HANDSHAKE_MS) == 1 ? 0 : -ECONNREFUSED;
		else if (far < 0 && far != -ECONNABORTED && far != -EINTR)
			r = far;
		else if (far >= 0 && immure_inet_same(&from, &ours))
			return *ret_far = far, 0;
		else
			immure_close(&far);
	}
	return r;
}

int immure_brokersock_connect(int port_fd[2], int fd, int *ret_far)
{
	int family, listener, r, flags = fcntl(fd, F_GETFL);
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (flags < 0 || !immure_brokersock_is(fd, SOCK_STREAM, &family))
		return -ENOTSOCK;
	/* Of two that asked at once, the other was quicker. The kernel would say 0 first. */
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0)
		return -EISCONN;
	r = address_of(port_fd, family, &sa, &len, &listener);
	if (r < 0)
		return r;
	/* Its file is the caller's as well: for this moment it does not block us. */
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	r = connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
	(void)fcntl(fd, F_SETFL, flags); /* what was possible before */
	if (r < 0 && r != -EINPROGRESS)
		return r;
	r = accept_end(listener, fd, ret_far);
	if (r < 0) /* nothing of it stays under way */
		(void)connect(fd, &none, sizeof(none));
	return r;
}

/* ---- names ---- */

int immure_brokersock_pair(bool nonblock, int *ret_theirs, int *ret_far)
{
	int fd[2];

	/* Packets keep their bounds as datagrams do; to another address than the other
	 * end's none can be sent. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		return -errno;
	if (!nonblock && fcntl(fd[0], F_SETFL, 0) < 0) {
		int e = errno;

		immure_close(&fd[0]);
		immure_close(&fd[1]);
		return -e;
	}
	*ret_theirs = fd[0];
	*ret_far = fd[1];
	return 0;
}
