/* SPDX-License-Identifier: Apache-2.0 */
/* Ways past a gatekeeper that lets through what it knows by name. Where a
 * connection would leave if nothing stopped it, nothing is sent on it. */
#include "attack.h"
#include "inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif
#ifndef SO_MARK
#define SO_MARK 36
#endif
/* For what is answered or refused where all is well, however busy the machine is: whoever is
 * refused may be looked for first. */
#define WAIT_MS 3000
#define NXDOMAIN 3

enum { TYPE_A = 1, TYPE_TXT = 16, TYPE_AAAA = 28, TYPE_HTTPS = 65, TYPE_AXFR = 252 };

/* ---- to addresses ---- */

/* "ADDRESS PORT" */
static bool place(const char *value, struct attack_inet *ret)
{
	char text[64];
	unsigned int port;

	return sscanf(value, "%63s %u", text, &port) == 2 && port < 65536 &&
	       attack_inet(text, (uint16_t)port, ret);
}

/* Each target of a kind; kind is "mapped" for IPv4 through an IPv6 socket. */
static void each_place(const struct attack_ctx *ctx, struct attack_result *r, const char *kind,
		       void (*act)(struct attack_result *, const struct attack_inet *, const char *))
{
	const char *value;
	struct attack_inet to;
	size_t i = 0;

	while ((value = attack_next(ctx, kind, &i))) {
		if (place(value, &to))
			act(r, &to, value);
		else
			attack_error(r, "%.80s: no address and port", value);
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such target");
}

/* A refusal is this namespace's own, or something got out of it. */
static void note_refusal(struct attack_result *r, long ret, const char *what)
{
	if (ret < 0 && errno == ECONNREFUSED && attack_leaves())
		attack_done(r, "%s: refused, but maybe by somebody else", what);
	else
		(void)attack_try(r, ret, what);
}

static void dial_to(struct attack_result *r, const struct attack_inet *to, const char *text,
		    bool past)
{
	char what[120];
	int fd, ret;

	(void)snprintf(what, sizeof(what), "TCP to %.80s", text); /* fits */
	fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -1 : attack_connect(fd, to, WAIT_MS);
	if (past)
		note_refusal(r, ret, what);
	else
		(void)attack_try(r, ret, what);
	if (fd >= 0)
		(void)close(fd); /* nothing was sent */
}

static void dial(struct attack_result *r, const struct attack_inet *to, const char *text)
{
	dial_to(r, to, text, false);
}

/* To what is not ours: whoever refuses it must not be somebody else. */
static void dial_past(struct attack_result *r, const struct attack_inet *to, const char *text)
{
	dial_to(r, to, text, true);
}

static void send_first(struct attack_result *r, const struct attack_inet *to, const char *text)
{
	char what[120];
	int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	long ret = fd < 0 ? -1 : sendto(fd, "", 0, MSG_FASTOPEN, (const struct sockaddr *)&to->sa,
					to->len);

	(void)snprintf(what, sizeof(what), "TCP fast open to %.80s", text); /* fits */
	if (ret < 0 && errno == EINPROGRESS)
		ret = attack_wait_connected(fd, WAIT_MS);
	note_refusal(r, ret, what);
	if (fd >= 0)
		(void)close(fd); /* nothing was sent */
}

static void datagram(struct attack_result *r, const struct attack_inet *to, const char *text,
		     const char *how)
{
	struct iovec iov = { .iov_base = (char[]){ "" }, .iov_len = 0 };
	struct sockaddr_storage name = to->sa;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &name,
			      .msg_namelen = to->len };
	const struct sockaddr *sa = (const struct sockaddr *)&name;
	int fd = socket(to->sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char what[120];
	long ret = -1;

	(void)snprintf(what, sizeof(what), "%s to %.80s", how, text); /* fits */
	if (fd >= 0 && strcmp(how, "UDP connect") == 0)
		ret = connect(fd, sa, to->len) < 0 ? -1 : send(fd, "", 0, 0);
	else if (fd >= 0 && strcmp(how, "UDP sendto") == 0)
		ret = sendto(fd, "", 0, 0, sa, to->len);
	else if (fd >= 0)
		ret = sendmsg(fd, &msg, 0);
	attack_try(r, ret, what);
	if (fd >= 0)
		(void)close(fd); /* an empty datagram at most was sent */
}

static void udp_connect(struct attack_result *r, const struct attack_inet *to, const char *text)
{
	datagram(r, to, text, "UDP connect");
}

static void udp_send(struct attack_result *r, const struct attack_inet *to, const char *text)
{
	datagram(r, to, text, "UDP sendto");
	datagram(r, to, text, "UDP sendmsg");
}

#define EACH_PLACE(name, kind, act)                                                  \
	static void name(const struct attack_ctx *ctx, struct attack_result *r)      \
	{                                                                            \
		each_place(ctx, r, kind, act);                                       \
	}
EACH_PLACE(literal4, "literal4", dial_past)
EACH_PLACE(literal6, "literal6", dial_past)
EACH_PLACE(mapped, "mapped", dial_past)
EACH_PLACE(metadata, "metadata", dial_past)
EACH_PLACE(private_net, "private-net", dial_past)
EACH_PLACE(host_address, "host-address", dial_past)
EACH_PLACE(unknown, "unknown-address", dial)
EACH_PLACE(fast_open, "literal4", send_first)
EACH_PLACE(udp_literal4, "literal4", udp_connect)
EACH_PLACE(udp_literal4_unconnected, "literal4", udp_send)
EACH_PLACE(udp_literal6, "literal6", udp_connect)
EACH_PLACE(udp_literal6_unconnected, "literal6", udp_send)

/* ---- names ---- */

static size_t question(unsigned char *out, const char *name, unsigned int type)
{
	static const unsigned char head[12] = { 0x49, 0x50, 1, 0, 0, 1 };
	size_t n = sizeof(head);

	memcpy(out, head, n);
	while (*name && n < 256) {
		size_t len = strcspn(name, ".");

		out[n++] = (unsigned char)len;
		memcpy(out + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	out[n++] = 0;
	out[n++] = 0;
	out[n++] = (unsigned char)type;
	out[n++] = 0;
	out[n++] = 1;
	return n;
}

struct reply {
	unsigned int rcode, answers;
	struct attack_inet address; /* the first one; len 0 = none */
};

static size_t skip_name(const unsigned char *msg, size_t len, size_t at)
{
	while (at < len && msg[at] && msg[at] < 0xc0)
		at += 1U + msg[at];
	return at + (at < len && msg[at] ? 2 : 1);
}

static void read_reply(const unsigned char *msg, size_t len, struct reply *ret)
{
	size_t at = skip_name(msg, len, 12) + 4;

	ret->rcode = msg[3] & 15;
	ret->answers = (unsigned int)msg[6] << 8 | msg[7];
	at = skip_name(msg, len, at);
	if (ret->answers == 0 || at + 10 > len)
		return;
	if (msg[at + 1] == TYPE_A && at + 14 <= len) {
		struct sockaddr_in *sin = (struct sockaddr_in *)&ret->address.sa;

		sin->sin_family = AF_INET;
		memcpy(&sin->sin_addr, msg + at + 10, 4);
		ret->address.len = sizeof(*sin);
	} else if (msg[at + 1] == TYPE_AAAA && at + 26 <= len) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ret->address.sa;

		sin6->sin6_family = AF_INET6;
		memcpy(&sin6->sin6_addr, msg + at + 10, 16);
		ret->address.len = sizeof(*sin6);
	}
}

/* One question to one name server. 0, or -1 with errno; silence is ETIMEDOUT. */
static int ask(const char *server, const char *name, unsigned int type, struct reply *ret)
{
	unsigned char msg[512];
	struct pollfd p = { .events = POLLIN };
	struct attack_inet to;
	ssize_t n = -1;
	int e;

	memset(ret, 0, sizeof(*ret));
	if (!attack_inet(server, 53, &to)) {
		errno = EINVAL;
		return -1;
	}
	p.fd = socket(to.sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p.fd >= 0 && connect(p.fd, (const struct sockaddr *)&to.sa, to.len) == 0 &&
	    send(p.fd, msg, question(msg, name, type), 0) > 0) {
		errno = ETIMEDOUT;
		if (poll(&p, 1, WAIT_MS) == 1)
			n = recv(p.fd, msg, sizeof(msg), 0);
	}
	e = n >= 0 && n < 12 ? EPROTO : errno;
	if (p.fd >= 0)
		(void)close(p.fd); /* answered or not */
	errno = e;
	if (n < 12)
		return -1;
	read_reply(msg, (size_t)n, ret);
	return 0;
}

/* "NAME PORT": name is cut out. */
static uint16_t name_of(const char *value, char name[256])
{
	unsigned int port = 0;

	if (sscanf(value, "%255s %u", name, &port) != 2 || port > 65535)
		return 0;
	return (uint16_t)port;
}

/* The session's address for a name; false with the reason noted. */
static bool look_up(const struct attack_ctx *ctx, struct attack_result *r, const char *value,
		    struct attack_inet *ret)
{
	const char *server = attack_first(ctx, "resolver");
	char name[256];
	uint16_t port = name_of(value, name);
	struct reply reply;

	if (!server || ask(server, name, TYPE_A, &reply) < 0) {
		attack_denied(r, errno, "look up %.100s: %s", name, strerror(errno));
		return false;
	}
	if (!reply.address.len) {
		attack_denied(r, 0, "%.100s has no address: rcode %u", name, reply.rcode);
		return false;
	}
	*ret = reply.address;
	((struct sockaddr_in *)&ret->sa)->sin_port = htons(port);
	return true;
}

static void control_lookup(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value;
	struct attack_inet to;
	unsigned int n = 0;
	size_t i = 0;

	for (; (value = attack_next(ctx, "allowed", &i)); n++)
		if (!look_up(ctx, r, value, &to))
			return;
	if (n)
		attack_done(r, "%u names have addresses", n);
	else
		attack_unsupported(r, "no such target");
	r->count = n;
}

/* The gate takes the connection; what it does with it outside is not awaited. */
static void control_connect(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value;
	struct attack_inet to;
	unsigned int n = 0;
	size_t i = 0;

	for (; (value = attack_next(ctx, "allowed", &i)); n++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (!look_up(ctx, r, value, &to))
			return;
		if (attack_connect(fd, &to, WAIT_MS) < 0) {
			attack_denied(r, errno, "connect to %.100s: %s", value, strerror(errno));
			return;
		}
		(void)close(fd); /* nothing was sent */
	}
	if (n)
		attack_done(r, "connections by name to %u places", n);
	else
		attack_unsupported(r, "no such target");
	r->count = n;
}

/* Every name with an address, to some port, in some way. */
static void each_name(const struct attack_ctx *ctx, struct attack_result *r, const char *kind,
		      uint16_t port, void (*act)(struct attack_result *,
						 const struct attack_inet *, const char *))
{
	const char *value;
	struct attack_inet to;
	size_t i = 0;

	while ((value = attack_next(ctx, kind, &i))) {
		if (!look_up(ctx, r, value, &to)) {
			r->outcome = ATTACK_ERROR;
			return;
		}
		if (port)
			((struct sockaddr_in *)&to.sa)->sin_port = htons(port);
		act(r, &to, value);
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such target");
}

static void closed_port(const struct attack_ctx *ctx, struct attack_result *r)
{
	each_name(ctx, r, "closed", 0, dial);
}

static void udp_name(const struct attack_ctx *ctx, struct attack_result *r)
{
	each_name(ctx, r, "allowed", 0, udp_connect);
}

static void udp_name_unconnected(const struct attack_ctx *ctx, struct attack_result *r)
{
	each_name(ctx, r, "allowed", 0, udp_send);
}

static void quic(const struct attack_ctx *ctx, struct attack_result *r)
{
	each_name(ctx, r, "allowed", 443, udp_send);
}

/* Only an answer without data is a refusal; want_rcode: which one. */
static void ask_gate(const struct attack_ctx *ctx, struct attack_result *r, const char *name,
		     unsigned int type, unsigned int want_rcode)
{
	const char *server = attack_first(ctx, "resolver");
	struct reply reply;

	if (!server)
		attack_unsupported(r, "no name server");
	else if (ask(server, name, type, &reply) < 0)
		attack_denied(r, errno, "%.100s type %u: %s", name, type, strerror(errno));
	else if (reply.answers || reply.rcode != want_rcode)
		attack_done(r, "%.100s type %u: rcode %u, %u answers", name, type, reply.rcode,
			    reply.answers);
	else
		attack_denied(r, 0, "%.100s type %u: rcode %u, no data", name, type, reply.rcode);
}

static void dns_unlisted(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const names[] = { "immure-proof.invalid", "data.immure-proof.invalid",
					     "invalid" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask_gate(ctx, r, names[i], TYPE_A, NXDOMAIN);
		ask_gate(ctx, r, names[i], TYPE_TXT, NXDOMAIN);
	}
}

static void dns_types(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const unsigned int types[] = { TYPE_TXT, TYPE_HTTPS, 64 /* SVCB */, 15 /* MX */ };
	const char *value;
	char name[256];
	size_t i = 0;

	while ((value = attack_next(ctx, "allowed", &i)))
		for (size_t k = 0; name_of(value, name) && k < sizeof(types) / sizeof(types[0]); k++)
			ask_gate(ctx, r, name, types[k], 0);
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such target");
}

static void dns_transfer(const struct attack_ctx *ctx, struct attack_result *r)
{
	ask_gate(ctx, r, "invalid", TYPE_AXFR, 5 /* REFUSED */);
}

/* Past the gate: to servers that everybody knows, and the usual local one. */
static void dns_others(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *server;
	struct reply reply;
	size_t i = 0;

	while ((server = attack_next(ctx, "other-resolver", &i))) {
		char what[80];
		struct attack_inet to;

		(void)snprintf(what, sizeof(what), "%.50s", server); /* fits */
		attack_try(r, ask(server, "immure-proof.invalid", TYPE_TXT, &reply), what);
		if (attack_inet(server, 53, &to))
			dial(r, &to, what);
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such target");
}

/* ---- the proxy ---- */

/* What the proxy answers to one greeting; -1 with errno, 0 = closed. */
static ssize_t proxy_says(const char *where, const char *say, size_t len, char *ret, size_t size)
{
	struct pollfd p = { .events = POLLIN };
	struct attack_inet to;
	ssize_t n = -1;
	int e;

	if (!place(where, &to)) {
		errno = EINVAL;
		return -1;
	}
	p.fd = socket(to.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p.fd >= 0 && attack_connect(p.fd, &to, WAIT_MS) == 0 &&
	    send(p.fd, say, len, MSG_NOSIGNAL) == (ssize_t)len) {
		errno = ETIMEDOUT;
		if (poll(&p, 1, WAIT_MS) == 1)
			n = recv(p.fd, ret, size - 1, 0);
	}
	e = errno;
	if (p.fd >= 0)
		(void)close(p.fd); /* answered or not */
	errno = e;
	if (n >= 0)
		ret[n] = '\0';
	return n;
}

static void proxy_connect(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *where = attack_first(ctx, "proxy"), *host;
	size_t i = 0;

	while (where && (host = attack_next(ctx, "proxy-to", &i))) {
		char say[400], got[64];
		int len = snprintf(say, sizeof(say), "CONNECT %.150s HTTP/1.1\r\nHost: %.150s\r\n\r\n",
				   host, host);
		ssize_t n = proxy_says(where, say, (size_t)len, got, sizeof(got));

		if (n < 0)
			attack_denied(r, errno, "CONNECT %.100s: %s", host, strerror(errno));
		else if (n > 9 && got[9] == '2')
			attack_done(r, "CONNECT %.100s: %.20s", host, got);
		else
			attack_denied(r, 0, "CONNECT %.100s: %.12s", host, n ? got : "closed");
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such target");
}

/* ---- around it ---- */

struct route_request {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr attr;
	unsigned char to[4];
};

static int change_route(int fd, uint16_t type, uint16_t flags)
{
	/* A documentation address, to nowhere: harmless wherever it takes effect. */
	struct route_request q = {
		.head = { .nlmsg_len = sizeof(q), .nlmsg_type = type,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags },
		.route = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_dst_len = 32,
			   .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_BLACKHOLE },
		.attr = { .rta_len = RTA_LENGTH(4), .rta_type = RTA_DST },
		.to = { 203, 0, 113, 254 },
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer = { .head = { .nlmsg_type = 0 } };

	if (fd < 0 || send(fd, &q, sizeof(q), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t)sizeof(answer.head))
		return -1;
	errno = answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
	return errno ? -1 : 0;
}

/* As root of the network one could give oneself a way out. */
static void routes(const struct attack_ctx *ctx, struct attack_result *r)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	(void)ctx;
	if (attack_try(r, change_route(fd, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL), "add a route"))
		(void)change_route(fd, RTM_DELROUTE, 0); /* undone */
	if (fd >= 0)
		(void)close(fd); /* asked */
}

/* Options with which a socket steps around routing rules. */
static void options(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const struct {
		int family, level, name;
		const char *what;
	} v[] = {
		{ AF_INET, SOL_SOCKET, SO_MARK, "SO_MARK" },
		{ AF_INET, IPPROTO_IP, 19, "IP_TRANSPARENT" },
		{ AF_INET6, IPPROTO_IPV6, 75, "IPV6_TRANSPARENT" },
	};
	int one = 1;

	(void)ctx;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		int fd = socket(v[i].family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		attack_try(r, fd < 0 ? -1 : setsockopt(fd, v[i].level, v[i].name, &one, sizeof(one)), v[i].what);
		if (fd >= 0)
			(void)close(fd); /* never connected */
	}
}

static const struct attack table[] = {
	{ "control.egress-lookup", control_lookup },
	{ "control.egress-connect", control_connect },
	{ "network_egress.literal4", literal4 },
	{ "network_egress.literal6", literal6 },
	{ "network_egress.mapped", mapped },
	{ "network_egress.metadata", metadata },
	{ "network_egress.private", private_net },
	{ "network_egress.host-address", host_address },
	{ "network_egress.fast-open", fast_open },
	{ "network_egress.udp-literal4", udp_literal4 },
	{ "network_egress.udp-literal4-unconnected", udp_literal4_unconnected },
	{ "network_egress.udp-literal6", udp_literal6 },
	{ "network_egress.udp-literal6-unconnected", udp_literal6_unconnected },
	{ "network_egress.udp-name", udp_name },
	{ "network_egress.udp-name-unconnected", udp_name_unconnected },
	{ "network_egress.quic", quic },
	{ "network_egress.closed-port", closed_port },
	{ "network_egress.unknown-address", unknown },
	{ "network_egress.dns-unlisted", dns_unlisted },
	{ "network_egress.dns-types", dns_types },
	{ "network_egress.dns-transfer", dns_transfer },
	{ "network_egress.dns-others", dns_others },
	{ "network_egress.proxy", proxy_connect },
	{ "network_egress.routes", routes },
	{ "network_egress.options", options },
};
const struct attack_list attack_egress = { table, sizeof(table) / sizeof(table[0]) };
