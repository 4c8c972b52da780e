/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out and ways in. A datagram socket's connect() only asks for a route:
 * no packet leaves even where one exists. */
#include "attack.h"
#include "inet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#define WAIT_MS 100

static void tcp_to(struct attack_result *r, const char *text, uint16_t port)
{
	struct attack_inet to;
	char what[100];
	int fd;

	(void)snprintf(what, sizeof(what), "TCP to %s port %u", text, port); /* fits */
	if (!attack_inet(text, port, &to)) {
		attack_error(r, "%s: not an address", what);
		return;
	}
	fd = socket(to.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	attack_try(r, fd < 0 ? -1 : attack_connect(fd, &to, WAIT_MS), what);
	if (fd >= 0)
		(void)close(fd); /* nothing was sent */
}

/* "PORT" of a socket on which the host listens now. */
static void tcp_host(const struct attack_ctx *ctx, struct attack_result *r, const char *kind,
		     const char *text)
{
	const char *value = attack_first(ctx, kind);

	if (!value)
		attack_unsupported(r, "the host could not listen there");
	else
		tcp_to(r, text, (uint16_t)attack_number(&value));
}

static void tcp4_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	tcp_host(ctx, r, "tcp4-port", "127.0.0.1");
}

static void tcp6_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	tcp_host(ctx, r, "tcp6-port", "::1");
}

static void tcp_mapped_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	tcp_host(ctx, r, "tcp4-port", "::ffff:127.0.0.1");
}

static void tcp_any_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	tcp_host(ctx, r, "tcp4-port", "0.0.0.0");
}

/* Each sender is tried: a gate on connect() alone would miss the others. */
static void udp_host(const struct attack_ctx *ctx, struct attack_result *r, const char *kind,
		     const char *text)
{
	const char *value = attack_first(ctx, kind);
	struct attack_inet to;
	struct iovec iov = { .iov_base = (char[]){ "immure-proof" }, .iov_len = 12 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd p = { .events = POLLIN };
	const struct sockaddr *sa = (const struct sockaddr *)&to.sa;
	int fd, e = 0;
	socklen_t size = sizeof(e);

	if (!value) {
		attack_unsupported(r, "the host could not listen there");
		return;
	}
	if (!attack_inet(text, (uint16_t)attack_number(&value), &to)) {
		attack_error(r, "not an address");
		return;
	}
	fd = socket(to.sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		attack_try(r, -1, "UDP socket");
		return;
	}
	if (sendto(fd, "immure-proof", 12, 0, sa, to.len) < 0)
		attack_try(r, -1, "sendto");
	msg.msg_name = &to.sa;
	msg.msg_namelen = to.len;
	if (sendmsg(fd, &msg, 0) < 0)
		attack_try(r, -1, "sendmsg");
	/* Connected, the port's refusal comes back as an error. */
	if (connect(fd, sa, to.len) < 0 || send(fd, "immure-proof", 12, 0) < 0) {
		attack_try(r, -1, "UDP connect and send");
		return;
	}
	p.fd = fd;
	if (poll(&p, 1, WAIT_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) == 0 && e) {
		errno = e;
		attack_try(r, -1, "UDP to the host");
	} else {
		attack_done(r, "UDP to %s was not refused", text);
	}
}

static void udp4_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	udp_host(ctx, r, "udp4-port", "127.0.0.1");
}

static void udp6_host(const struct attack_ctx *ctx, struct attack_result *r)
{
	udp_host(ctx, r, "udp6-port", "::1");
}

struct remote {
	const char *text;
	uint16_t port;
};

static void route_to(struct attack_result *r, const struct remote *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct attack_inet to;
		char what[100];
		int fd;

		(void)snprintf(what, sizeof(what), "route to %s", v[i].text); /* fits */
		if (!attack_inet(v[i].text, v[i].port, &to)) {
			attack_error(r, "%s: not an address", what);
			return;
		}
		fd = socket(to.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		/* Where connecting finds a route, sending shows whether it leads anywhere. */
		attack_try(r, fd < 0 || connect(fd, (struct sockaddr *)&to.sa, to.len) < 0 ? -1 :
							send(fd, "", 0, 0), what);
		if (fd >= 0)
			(void)close(fd); /* an empty datagram at most was sent */
	}
}

static void route4(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const struct remote v[] = {
		{ "192.0.2.1", 443 },       { "10.0.0.1", 80 },
		{ "172.17.0.1", 80 },       { "192.168.1.1", 80 },
		{ "169.254.169.254", 80 },  { "255.255.255.255", 9 },
		{ "224.0.0.251", 5353 },
	};

	(void)ctx;
	route_to(r, v, sizeof(v) / sizeof(v[0]));
}

static void route6(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const struct remote v[] = {
		{ "2001:db8::1", 443 },
		{ "fd00:ec2::254", 80 },
		{ "64:ff9b::c000:201", 443 },
		{ "::ffff:192.0.2.1", 443 },
	};

	(void)ctx;
	route_to(r, v, sizeof(v) / sizeof(v[0]));
}

/* A question to each name server that the session knows of, and to the usual
 * local one. Only a refusal counts: silence may mean that the packet left. */
static void ask_name_server(struct attack_result *r, const char *server)
{
	static const unsigned char query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
					     "\x0cimmure-proof\x07invalid\x00\x00\x01\x00\x01";
	int fd, e = 0;
	struct pollfd p = { .events = POLLIN };
	struct attack_inet to;
	socklen_t size = sizeof(e);
	char what[100];

	(void)snprintf(what, sizeof(what), "DNS query to %s", server); /* cut is fine */
	if (!attack_inet(server, 53, &to))
		return;
	fd = socket(to.sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to.sa, to.len) < 0 ||
	    send(fd, query, sizeof(query) - 1, 0) < 0) {
		attack_try(r, -1, what);
		return;
	}
	p.fd = fd;
	if (poll(&p, 1, WAIT_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) == 0 && e) {
		errno = e;
		attack_try(r, -1, what);
	} else {
		attack_done(r, "%s was not refused", what);
	}
}

static void resolve(const struct attack_ctx *ctx, struct attack_result *r)
{
	char text[4096];

	(void)ctx;
	if (attack_read_file("/etc/resolv.conf", text, sizeof(text)) > 0) {
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			char server[64];

			if (sscanf(line, "nameserver %63s", server) == 1)
				ask_name_server(r, server);
		}
	}
	ask_name_server(r, "127.0.0.53");
}

static void sockets_of(struct attack_result *r, const int (*v)[3], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char what[64];

		(void)snprintf(what, sizeof(what), "socket(%d, %d, %d)", v[i][0], v[i][1], v[i][2]);
		attack_try(r, socket(v[i][0], v[i][1] | SOCK_CLOEXEC, v[i][2]), what);
	}
}

static void raw_sockets(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int v[][3] = {
		{ AF_INET, SOCK_RAW, IPPROTO_ICMP }, { AF_INET, SOCK_RAW, IPPROTO_RAW },
		{ AF_INET, SOCK_RAW, IPPROTO_TCP },  { AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 },
		{ AF_INET6, SOCK_RAW, IPPROTO_RAW },
	};

	(void)ctx;
	sockets_of(r, v, sizeof(v) / sizeof(v[0]));
}

static void icmp_sockets(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int v[][3] = { { AF_INET, SOCK_DGRAM, IPPROTO_ICMP },
				    { AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 } };

	(void)ctx;
	sockets_of(r, v, sizeof(v) / sizeof(v[0]));
}

static void packet_sockets(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int v[][3] = { { AF_PACKET, SOCK_RAW, 0 },
				    { AF_PACKET, SOCK_DGRAM, 0 },
				    { AF_PACKET, 10 /* SOCK_PACKET */, 0 } };

	(void)ctx;
	sockets_of(r, v, sizeof(v) / sizeof(v[0]));
}

/* Never connected: what listens there belongs to the hypervisor. */
static void vsock(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int v[][3] = { { 40, SOCK_STREAM, 0 }, { 40, SOCK_DGRAM, 0 },
				    { 40, SOCK_SEQPACKET, 0 } };

	(void)ctx;
	sockets_of(r, v, sizeof(v) / sizeof(v[0]));
}

static void other_transports(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int v[][3] = {
		{ AF_INET, SOCK_STREAM, IPPROTO_SCTP },   { AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP },
		{ AF_INET, SOCK_STREAM, IPPROTO_MPTCP },  { AF_INET6, SOCK_STREAM, IPPROTO_MPTCP },
		{ AF_INET, 6 /* DCCP */, 33 },            { AF_INET, SOCK_DGRAM, 136 /* UDP-Lite */ },
	};

	(void)ctx;
	sockets_of(r, v, sizeof(v) / sizeof(v[0]));
}

/* Nothing but the session's loopback. */
static void interfaces(const struct attack_ctx *ctx, struct attack_result *r)
{
	char text[8192], *line;

	(void)ctx;
	if (attack_read_file("/proc/self/net/dev", text, sizeof(text)) < 0) {
		attack_denied(r, errno, "/proc/self/net/dev: %s", strerror(errno));
		return;
	}
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		line += strspn(line, " ");
		/* A fresh namespace also has the fall-back tunnels of modules. */
		if (strcmp(line, "lo") != 0 && strcmp(line, "sit0") != 0 &&
		    strcmp(line, "tunl0") != 0 && strcmp(line, "ip6tnl0") != 0 &&
		    strcmp(line, "gre0") != 0 && strcmp(line, "ip_vti0") != 0 &&
		    strcmp(line, "ip6_vti0") != 0 && strcmp(line, "ip6gre0") != 0 &&
		    strcmp(line, "gretap0") != 0 && strcmp(line, "erspan0") != 0)
			attack_done(r, "interface %.40s is here", line);
	}
	if (r->outcome == ATTACK_NONE)
		attack_denied(r, 0, "no interface but the session's own loopback");
}

/* The host's port is taken on the host: where it is free, nobody outside listens in. */
static void own_ports(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value = attack_first(ctx, "tcp4-port");
	struct attack_inet to;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!value) {
		attack_unsupported(r, "the host could not listen");
		return;
	}
	(void)attack_inet("127.0.0.1", (uint16_t)attack_number(&value), &to); /* is one */
	if (fd < 0)
		attack_denied(r, errno, "socket: %s", strerror(errno));
	else if (bind(fd, (struct sockaddr *)&to.sa, to.len) < 0 && errno == EADDRINUSE)
		attack_done(r, "a port in use on the host is in use here");
	else
		attack_denied(r, 0, "a port in use on the host is free here");
}

static const struct attack table[] = {
	{ "network_egress.tcp4-host", tcp4_host },
	{ "network_egress.tcp6-host", tcp6_host },
	{ "network_egress.tcp-mapped-host", tcp_mapped_host },
	{ "network_egress.tcp-any-host", tcp_any_host },
	{ "network_egress.udp4-host", udp4_host },
	{ "network_egress.udp6-host", udp6_host },
	{ "network_egress.route4", route4 },
	{ "network_egress.route6", route6 },
	{ "network_egress.resolve", resolve },
	{ "network_egress.icmp", icmp_sockets },
	{ "network_egress.raw", raw_sockets },
	{ "network_egress.packet", packet_sockets },
	{ "network_egress.vsock", vsock },
	{ "network_egress.other-transports", other_transports },
	{ "network_ingress.interfaces", interfaces },
	{ "network_ingress.own-ports", own_ports },
};
const struct attack_list attack_network = { table, sizeof(table) / sizeof(table[0]) };
