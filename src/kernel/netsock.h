/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of a session's own network namespace, for a process outside it. They
 * are born inside (a socket belongs for life to the namespace it was made in)
 * and used from outside. All are CLOEXEC and do not block.
 */
#ifndef IMMURE_KERNEL_NETSOCK_H
#define IMMURE_KERNEL_NETSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An address and port of the internet families. */
struct immure_inet {
	bool v6;
	uint8_t addr[16]; /* network order; v4: the first four */
	uint16_t port;    /* host order */
};

/* Writes the sockaddr, returns its length. */
socklen_t immure_inet_sockaddr(const struct immure_inet *a, struct sockaddr_storage *ret);
/* v4-mapped v6 becomes v4. -EAFNOSUPPORT for any other family. */
int immure_inet_from_sockaddr(const struct sockaddr_storage *sa, struct immure_inet *ret);
bool immure_inet_same(const struct immure_inet *a, const struct immure_inet *b);

/* A TCP socket, not bound. CLOEXEC and non-blocking as all here. */
int immure_netsock_tcp(bool v6);
/* Binds a TCP socket and listens; may be done from outside the namespace, by
 * the process that owns its user namespace, for any port. */
int immure_netsock_listen_on(int fd, const struct immure_inet *a, int backlog);
/* A TCP listener there; port 0: one that is free. */
int immure_netsock_listen(const struct immure_inet *a, int backlog);
/* The same as the target of a tproxy rule (IP_TRANSPARENT). Bound to a loopback
 * address, so that nothing but the rule and that one address leads to it: what
 * was meant for that address is no name and must be refused. */
int immure_netsock_transparent(bool v6, uint16_t port, int backlog);
/* A UDP socket bound there. */
int immure_netsock_udp(const struct immure_inet *a);
/* The port the kernel gave, or what a connection that a transparent listener
 * accepted was meant for: getsockname(2). */
int immure_netsock_local(int fd, struct immure_inet *ret);
/* The next connection and what it was meant for: a descriptor, or -errno
 * (-EAGAIN: none is waiting). */
int immure_netsock_accept(int listener_fd, struct immure_inet *ret_meant,
			  struct immure_inet *ret_from);

/* Of a connection that stands: where its congestion control sends by a timer, as BBR does, and the
 * other end is so near that this costs more than the bytes do, reno instead. Whatever
 * fails, it stays as it is. */
void immure_netsock_hurry(int fd);

#endif
