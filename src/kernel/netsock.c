/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/netsock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#ifndef IP_TRANSPARENT
#define IP_TRANSPARENT 19
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

socklen_t immure_inet_sockaddr(const struct immure_inet *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (a->v6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(a->port);
		memcpy(&v6->sin6_addr, a->addr, 16);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(a->port);
	memcpy(&v4->sin_addr, a->addr, 4);
	return sizeof(*v4);
}

int immure_inet_from_sockaddr(const struct sockaddr_storage *sa, struct immure_inet *ret)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;

	if (sa->ss_family != AF_INET && sa->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	memset(ret, 0, sizeof(*ret));
	if (sa->ss_family == AF_INET) {
		memcpy(ret->addr, &v4->sin_addr, 4);
		ret->port = ntohs(v4->sin_port);
		return 0;
	}
	ret->port = ntohs(v6->sin6_port);
	ret->v6 = !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
	if (ret->v6)
		memcpy(ret->addr, &v6->sin6_addr, 16);
	else
		memcpy(ret->addr, v6->sin6_addr.s6_addr + 12, 4);
	return 0;
}

bool immure_inet_same(const struct immure_inet *a, const struct immure_inet *b)
{
	return a->v6 == b->v6 && a->port == b->port && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static int open_socket(bool v6, int type)
{
	int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	/* One family each: a v6 socket must not answer for v4 as well. */
	if (fd >= 0 && v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) {
		int e = errno;

		immure_close(&fd);
		return -e;
	}
	return fd < 0 ? -errno : fd;
}

static int bind_to(int fd, const struct immure_inet *a)
{
	struct sockaddr_storage sa;
	socklen_t len = immure_inet_sockaddr(a, &sa);

	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

int immure_netsock_tcp(bool v6)
{
	return open_socket(v6, SOCK_STREAM);
}

int immure_netsock_listen_on(int fd, const struct immure_inet *a, int backlog)
{
	/* No SO_REUSEADDR: nothing inside may then bind the same port beside it. */
	int on = 1, r;

	/* A v6 address that only a route makes local does not pass for one of the
	 * host's without this; a v4 one does. */
	if (a->v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)) < 0)
		return -errno;
	r = bind_to(fd, a);
	if (r < 0)
		return r;
	return listen(fd, backlog) < 0 ? -errno : 0;
}

int immure_netsock_listen(const struct immure_inet *a, int backlog)
{
	IMMURE_CLEANUP_FD int fd = immure_netsock_tcp(a->v6);
	int r = fd < 0 ? fd : immure_netsock_listen_on(fd, a, backlog);

	return r < 0 ? r : immure_take_fd(&fd);
}

int immure_netsock_transparent(bool v6, uint16_t port, int backlog)
{
	struct immure_inet a = { .v6 = v6, .port = port };
	IMMURE_CLEANUP_FD int fd = immure_netsock_tcp(v6);
	int on = 1, r;

	if (fd < 0)
		return fd;
	if (v6) {
		a.addr[15] = 1;
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
	} else {
		a.addr[0] = 127;
		a.addr[3] = 1;
		r = setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
	}
	r = r < 0 ? -errno : immure_netsock_listen_on(fd, &a, backlog);
	return r < 0 ? r : immure_take_fd(&fd);
}

int immure_netsock_udp(const struct immure_inet *a)
{
	IMMURE_CLEANUP_FD int fd = open_socket(a->v6, SOCK_DGRAM);
	int r = fd < 0 ? fd : bind_to(fd, a);

	return r < 0 ? r : immure_take_fd(&fd);
}

int immure_netsock_local(int fd, struct immure_inet *ret)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	memset(&sa, 0, sizeof(sa));
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return immure_inet_from_sockaddr(&sa, ret);
}

int immure_netsock_accept(int listener_fd, struct immure_inet *ret_meant,
			  struct immure_inet *ret_from)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	IMMURE_CLEANUP_FD int fd = -1;
	int r;

	memset(&sa, 0, sizeof(sa));
	fd = accept4(listener_fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = immure_inet_from_sockaddr(&sa, ret_from);
	if (r == 0)
		r = immure_netsock_local(fd, ret_meant);
	return r < 0 ? r : immure_take_fd(&fd);
}

/* A round trip below this stays on the machine, or next to it: whatever is full there is
 * empty again before a timer would have waited. */
enum { NEAR_US = 100 };

void immure_netsock_hurry(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	char name[16] = "";
	socklen_t name_len = sizeof(name);

	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &name_len) < 0 ||
	    strncmp(name, "bbr", 3) != 0)
		return;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info.tcpi_min_rtt))
		return;
	/* Everybody may choose reno. */
	if (info.tcpi_min_rtt > 0 && info.tcpi_min_rtt < NEAR_US)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}
