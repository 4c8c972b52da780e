// SPDX-License-Identifier: Apache-2.0
/* Network and sockets. Arguments: 0 address or name, 1 port. */
#include "attack.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <net/if.h>
#include <unistd.h>

static socklen_t address(char **a, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, a[0], &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)atoi(a[1]));
		return sizeof(*in4);
	}
	if (inet_pton(AF_INET6, a[0], &in6->sin6_addr) != 1)
		abort();
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)atoi(a[1]));
	return sizeof(*in6);
}

static int act_tcp(char **a)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM, 0);

	return verdict(fd < 0 ? -1 : connect(fd, (struct sockaddr *)&addr, len));
}

static int act_fastopen(char **a)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM, 0);

	return verdict(fd < 0 ? -1 : sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
					    (struct sockaddr *)&addr, len));
}

static int act_mptcp(char **a)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM, 262);

	return verdict(fd < 0 ? -1 : connect(fd, (struct sockaddr *)&addr, len));
}

/* A datagram that leaves is not enough: somebody has to answer. */
static int answered(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char buf[64];

	if (poll(&poll_fd, 1, 700) != 1)
		return denied(ETIMEDOUT);
	return verdict(recv(fd, buf, sizeof(buf), 0));
}

static int act_udp_sendto(char **a)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	int fd = socket(addr.ss_family, SOCK_DGRAM, 0);

	if (fd < 0 || sendto(fd, "x", 1, 0, (struct sockaddr *)&addr, len) < 0)
		return denied(errno);
	return answered(fd);
}

static int act_udp_connected(char **a)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	int fd = socket(addr.ss_family, SOCK_DGRAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, len) < 0 || send(fd, "x", 1, 0) < 0)
		return denied(errno);
	return answered(fd);
}

static int send_message(char **a, int many)
{
	struct sockaddr_storage addr;
	socklen_t len = address(a, &addr);
	struct iovec iov = {(void *)"x", 1};
	struct mmsghdr msg = {.msg_hdr = {&addr, len, &iov, 1, NULL, 0, 0}};
	int fd = socket(addr.ss_family, SOCK_DGRAM, 0);

	if (fd < 0 || (many ? sendmmsg(fd, &msg, 1, 0) : (int)sendmsg(fd, &msg.msg_hdr, 0)) < 0)
		return denied(errno);
	return answered(fd);
}

static int act_udp_sendmsg(char **a)
{
	return send_message(a, 0);
}

static int act_udp_sendmmsg(char **a)
{
	return send_message(a, 1);
}

static int act_abstract(char **a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(addr.sun_path + 1, a[0], strlen(a[0]));
	return verdict(connect(fd, (struct sockaddr *)&addr,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a[0]))));
}

static int act_abstract_dgram(char **a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	memcpy(addr.sun_path + 1, a[0], strlen(a[0]));
	return verdict(sendto(fd, "x", 1, 0, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a[0]))));
}

/* 0 family, 1 type, 2 protocol */
static int act_family(char **a)
{
	return verdict(socket(atoi(a[0]), atoi(a[1]), atoi(a[2])));
}

static int act_socketpair(char **a)
{
	int ends[2];

	return verdict(socketpair(atoi(a[0]), atoi(a[1]), atoi(a[2]), ends));
}

/* The upper half of the argument must not hide the family. */
static int act_family_high_bits(char **a)
{
	return verdict(syscall(SYS_socket, (1UL << 32) | (unsigned long)atoi(a[0]), atoi(a[1]),
			       atoi(a[2])));
}

static int act_ulp(char **a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return broken("socket");
	return reached(setsockopt(fd, IPPROTO_TCP, TCP_ULP, a[0], (socklen_t)strlen(a[0])));
}

static int act_ulp_high_bits(char **a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return broken("socket");
	return reached(syscall(SYS_setsockopt, fd, (1UL << 32) | IPPROTO_TCP,
			       (1UL << 32) | TCP_ULP, a[0], strlen(a[0])));
}

static int act_iptables(char **a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)a;
	/* IPT_SO_SET_REPLACE is for raw sockets in theory, for all in practice. */
	return reached(setsockopt(fd, IPPROTO_IP, 64, "x", 1));
}

static int act_transparent(char **a)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)a;
	return verdict(setsockopt(fd, IPPROTO_IP, 19, &one, sizeof(one)));
}

static int act_mark(char **a)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)a;
	return verdict(setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof(one)));
}

static int act_link_down(char **a)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)a;
	return verdict(ioctl(fd, SIOCSIFFLAGS, &request));
}

/* Anything but loopback to send through? */
static int act_interface(char **a)
{
	struct if_nameindex *all = if_nameindex();

	(void)a;
	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (strcmp(i->if_name, "lo") != 0)
			return done("%s", i->if_name);
	return denied(ENODEV);
}

static const struct attack attacks[] = {
	{"tcp", "inet", act_tcp},
	{"fastopen", "inet", act_fastopen},
	{"mptcp", "inet", act_mptcp},
	{"udp_sendto", "inet", act_udp_sendto},
	{"udp_connected", "inet", act_udp_connected},
	{"udp_sendmsg", "inet", act_udp_sendmsg},
	{"udp_sendmmsg", "inet", act_udp_sendmmsg},
	{"abstract", "unix", act_abstract},
	{"abstract_dgram", "unix", act_abstract_dgram},
	{"family", "family", act_family},
	{"socketpair", "family", act_socketpair},
	{"family_high_bits", "family", act_family_high_bits},
	{"ulp", "option", act_ulp},
	{"ulp_high_bits", "option", act_ulp_high_bits},
	{"iptables", "caps", act_iptables},
	{"transparent", "caps", act_transparent},
	{"mark", "caps", act_mark},
	{"link_down", "caps", act_link_down},
	{"interface", "any", act_interface},
};
FAMILY(net, attacks);
