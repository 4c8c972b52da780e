/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports where there is no namespace to publish from. What is published is the
 * command's own socket: when it binds one to the port that it was promised, we bind that
 * very socket to the host's address instead, and when it wants to listen, we let it. So
 * clients are refused while nobody listens inside, options, copies and epoll sets stay
 * what they are, and nothing is relayed.
 *
 * Meanwhile a socket of ours holds the address, so that nobody else takes it: bound as a
 * listener is, which finds out whether it is free; then it stops listening, and shares the
 * address only while the command's is bound or begins to listen (SO_REUSEADDR of both, which
 * a second listener does not get past).
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "session/broker.h"

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int immure_brokerport_hold(const struct immure_inet *at)
{
	IMMURE_CLEANUP_FD int fd = immure_netsock_tcp(at->v6);
	int r = fd < 0 ? fd : set(fd, SO_REUSEADDR, 1); /* but for what lingers of others */

	if (r == 0)
		r = immure_netsock_listen_on(fd, at, 1);
	if (r == 0)
		r = set(fd, SO_REUSEADDR, 0);
	if (r == 0 && shutdown(fd, SHUT_RD) < 0)
		r = -errno;
	if (r == 0)
		r = immure_fd_raise(&fd, 10);
	return r < 0 ? r : immure_take_fd(&fd);
}

/* Of its own family first; a socket of IPv6 reaches the other one's by its mapped form. */
static const struct immure_broker_port *find(const struct immure_broker *b, int family, uint16_t port)
{
	const struct immure_broker_port *mapped = NULL;

	for (size_t i = 0; i < b->ports_n; i++) {
		const struct immure_broker_port *p = &b->ports[i];

		if (p->inside != port)
			continue;
		if (p->at.v6 == (family == AF_INET6))
			return p;
		if (family == AF_INET6 && !mapped)
			mapped = p;
	}
	return mapped;
}

static socklen_t address_of(const struct immure_inet *at, int family, struct sockaddr_storage *ret)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
	struct immure_inet a = *at;

	if (family == AF_INET6 && !a.v6) {
		memcpy(a.addr + 12, at->addr, 4);
		memcpy(a.addr, prefix, sizeof(prefix));
		a.v6 = true;
	}
	return immure_inet_sockaddr(&a, ret);
}

static bool is_v6_only(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) == 0 && on;
}

bool immure_brokerport_is(const struct immure_broker *b, uint16_t port)
{
	for (size_t i = 0; i < b->ports_n; i++)
		if (b->ports[i].inside == port)
			return true;
	return false;
}

/* Binds, or with a backlog listens. */
static int beside_the_hold(const struct immure_broker_port *p, int fd, const struct sockaddr_storage *sa,
			   socklen_t len, int backlog)
{
	int r = set(p->fd, SO_REUSEADDR, 1);

	if (r == 0 && (sa ? bind(fd, (const struct sockaddr *)sa, len) : listen(fd, backlog)) < 0)
		r = -errno;
	(void)set(p->fd, SO_REUSEADDR, 0); /* what it was, so possible */
	return r;
}

int immure_brokerport_bind(const struct immure_broker *b, int fd, uint16_t port)
{
	const struct immure_broker_port *p;
	struct sockaddr_storage sa;
	struct immure_inet had;
	socklen_t len;
	int family, r;

	if (!immure_brokersock_is(fd, SOCK_STREAM, &family))
		return -EACCES;
	p = find(b, family, port);
	/* The errno by which servers of both families tell that there is but one. */
	if (!p || (family == AF_INET6 && !p->at.v6 && is_v6_only(fd)))
		return -EADDRNOTAVAIL;
	if (immure_netsock_local(fd, &had) < 0 || had.port)
		return -EINVAL; /* bound, as the kernel says */
	r = set(fd, SO_REUSEADDR, 1);
	if (r < 0)
		return r;
	len = address_of(&p->at, family, &sa);
	return beside_the_hold(p, fd, &sa, len, 0);
}

int immure_brokerport_listen(const struct immure_broker *b, int fd, int backlog)
{
	struct immure_inet at;

	if (immure_netsock_local(fd, &at) < 0)
		return -EPERM;
	for (size_t i = 0; i < b->ports_n; i++)
		if (immure_inet_same(&b->ports[i].at, &at))
			return beside_the_hold(&b->ports[i], fd, NULL, 0, backlog);
	return -EPERM; /* not bound, it would get a port of the kernel's choice */
}
