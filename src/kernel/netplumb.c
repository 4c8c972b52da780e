/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/netplumb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "kernel/netlink.h"
#include "kernel/netsock.h"
#include "kernel/nft.h"
#include "kernel/refusals.h"

#define BACKLOG 4096 /* the kernel lowers it to somaxconn */

/* The range is not 127/8, so the kernel would hold every ended connection's port
 * for a minute; a busy command would run out. Containers mount /proc/sys
 * read-only: then it stays slower under load, which is no reason to refuse. */
static bool relax_ports(void)
{
	int reuse = immure_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/tcp_tw_reuse", "1");
	int range = immure_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range",
					 "10240 65535");

	return reuse == 0 && range == 0;
}

/* A new namespace takes over how the host paces TCP towards far places. On a loopback
 * device nothing can get congested, and a timer for every packet, as BBR sets, takes more
 * time than copying its bytes. Everybody may choose reno; where it cannot be set, only
 * speed is lost. The gatekeeper's connections outside are as the host says. */
static void pace_nothing(void)
{
	(void)immure_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/tcp_congestion_control", "reno");
}

static struct immure_inet gateway(const struct immure_rtnl_setup *s, uint16_t port)
{
	struct immure_inet a = { .port = port };

	memcpy(a.addr, s->v4.gateway, 4);
	return a;
}

/* Stores the descriptor; false: it is an error, kept in *r. */
static bool keep(struct immure_netplumb *p, enum immure_netplumb_fd which, int fd, int *r)
{
	if (fd < 0)
		*r = fd;
	else
		p->fd[which] = fd;
	return fd >= 0;
}

static int make_dns(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	struct immure_inet a = gateway(&c->routes, 53);
	int r = 0;

	if (keep(p, IMMURE_NETPLUMB_DNS_UDP, immure_netsock_udp(&a), &r))
		(void)keep(p, IMMURE_NETPLUMB_DNS_TCP, immure_netsock_listen(&a, BACKLOG), &r);
	return r;
}

static int make_proxy(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	struct immure_inet a = gateway(&c->routes, IMMURE_NETPLUMB_PROXY_PORT);
	struct immure_inet a6 = { .v6 = true, .port = IMMURE_NETPLUMB_PROXY_PORT };
	int r = 0;

	memcpy(a6.addr, c->routes.v6.gateway, 16);
	if (c->proxy &&
	    keep(p, IMMURE_NETPLUMB_PROXY, immure_netsock_listen(&a, BACKLOG), &r) && p->with_v6)
		(void)keep(p, IMMURE_NETPLUMB_PROXY6, immure_netsock_listen(&a6, BACKLOG), &r);
	return r;
}

static int make_listeners(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	struct immure_inet at4 = { 0 }, at6 = { 0 };
	int r = 0;

	if (!keep(p, IMMURE_NETPLUMB_TCP4, immure_netsock_transparent(false, c->port, BACKLOG), &r))
		return r;
	r = immure_netsock_local(p->fd[IMMURE_NETPLUMB_TCP4], &at4);
	if (r == 0 && p->with_v6 &&
	    keep(p, IMMURE_NETPLUMB_TCP6, immure_netsock_transparent(true, c->port, BACKLOG), &r))
		r = immure_netsock_local(p->fd[IMMURE_NETPLUMB_TCP6], &at6);
	if (r < 0)
		return r;
	return immure_nft_setup(p->fd[IMMURE_NETPLUMB_NFT], at4.port, at6.port);
}

static int make_capture(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	int r = c->without_nft ? IMMURE_NFT_MISSING : immure_nft_open(&p->fd[IMMURE_NETPLUMB_NFT]);

	if (r == 0)
		r = make_listeners(c, p);
	if (r == 0)
		p->with_nft = true;
	if (r != IMMURE_NFT_MISSING)
		return r;
	immure_close(&p->fd[IMMURE_NETPLUMB_NFT]);
	immure_close(&p->fd[IMMURE_NETPLUMB_TCP4]);
	immure_close(&p->fd[IMMURE_NETPLUMB_TCP6]);
	return 0;
}

/* Routes that let refusals be seen are right only where the rules are that refuse. */
static int make_refusals(const struct immure_netplumb_config *c, struct immure_rtnl_setup *routes,
			 struct immure_netplumb *p)
{
	int r = c->without_refusals || !p->with_nft ? IMMURE_REFUSALS_MISSING :
		immure_refusals_setup(p->fd[IMMURE_NETPLUMB_NFT], routes, c->native_queue,
				      &p->fd[IMMURE_NETPLUMB_REFUSALS]);

	routes->seen = r == 0;
	return r == IMMURE_REFUSALS_MISSING ? 0 : r;
}

static int make_spare(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	unsigned int n = c->spare < IMMURE_NETPLUMB_SPARE ? c->spare : IMMURE_NETPLUMB_SPARE;
	int r = 0;

	for (unsigned int i = 0; i < n && r == 0; i++) {
		(void)keep(p, IMMURE_NETPLUMB_SPARE4 + i, immure_netsock_tcp(false), &r);
		if (r == 0 && p->with_v6)
			(void)keep(p, IMMURE_NETPLUMB_SPARE6 + i, immure_netsock_tcp(true), &r);
	}
	return r;
}

bool immure_netplumb_listenable(const struct immure_rtnl_net *n)
{
	return n->bits == (n->v6 ? 128 : 32) && n->hi - n->lo < IMMURE_NETPLUMB_FEW_PORTS;
}

static int make_nets(const struct immure_netplumb_config *c, struct immure_netplumb *p)
{
	int r = 0;

	if (!keep(p, IMMURE_NETPLUMB_ROUTE, immure_netlink_open(NETLINK_ROUTE), &r))
		return r;
	for (size_t i = 0; i < c->nets_n && !p->with_nft; i++)
		if (!immure_netplumb_listenable(&c->nets[i]))
			return -EOPNOTSUPP;
	return c->nets_n && p->with_nft ? immure_netplumb_set_nets(p, &c->routes, c->nets, c->nets_n) : 0;
}

static int port_of(int fd, uint16_t *ret)
{
	struct immure_inet a;
	int r = fd < 0 ? 0 : immure_netsock_local(fd, &a);

	*ret = fd < 0 || r < 0 ? 0 : a.port;
	return r;
}

int immure_netplumb_set_nets(const struct immure_netplumb *p,
			     const struct immure_rtnl_setup *routes,
			     const struct immure_rtnl_net *nets, size_t n)
{
	uint16_t port4, port6;
	int r;

	if (!p->with_nft)
		return n ? -EOPNOTSUPP : 0;
	r = port_of(p->fd[IMMURE_NETPLUMB_TCP4], &port4);
	if (r == 0)
		r = port_of(p->fd[IMMURE_NETPLUMB_TCP6], &port6);
	/* The rules first: what is routed but in no rule is refused, not lost. */
	if (r == 0)
		r = immure_nft_set_nets(p->fd[IMMURE_NETPLUMB_NFT], nets, n, routes, port4, port6);
	for (size_t i = 0; i < n && r == 0; i++)
		if (!nets[i].v6 || p->with_v6)
			r = immure_rtnl_add(p->fd[IMMURE_NETPLUMB_ROUTE], routes, &nets[i], 1);
	return r;
}

static bool same_route(const struct immure_rtnl_net *a, const struct immure_rtnl_net *b)
{
	return a->v6 == b->v6 && a->bits == b->bits &&
	       memcmp(a->addr, b->addr, a->v6 ? 16 : 4) == 0;
}

int immure_netplumb_drop_nets(const struct immure_netplumb *p, const struct immure_rtnl_net *old,
			      size_t old_n, const struct immure_rtnl_net *nets, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < old_n && r == 0; i++) {
		bool kept = old[i].v6 && !p->with_v6; /* never had one */

		for (size_t k = 0; k < n && !kept; k++)
			kept = same_route(&old[i], &nets[k]);
		if (!kept)
			r = immure_rtnl_remove(p->fd[IMMURE_NETPLUMB_ROUTE], &old[i], 1);
	}
	return r;
}

static bool kernel_has_v6(void)
{
	IMMURE_CLEANUP_FD int fd = immure_netsock_tcp(true);

	return fd >= 0;
}

static void nothing(struct immure_netplumb *p)
{
	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		p->fd[i] = -1;
}

int immure_netplumb_spare(unsigned int n, struct immure_netplumb *ret)
{
	const struct immure_netplumb_config c = { .spare = n };
	struct immure_netplumb p;
	int r;

	nothing(&p);
	p.with_v6 = kernel_has_v6();
	r = make_spare(&c, &p);
	if (r < 0)
		immure_netplumb_done(&p);
	else
		*ret = p;
	return r;
}

int immure_netplumb_make(const struct immure_netplumb_config *c, struct immure_netplumb *ret,
			 const char **ret_what)
{
	struct immure_rtnl_setup routes = c->routes;
	struct immure_netplumb p;
	const char *what = NULL;
	int r;

	nothing(&p);
	p.with_v6 = routes.with_v6 = routes.with_v6 && kernel_has_v6();
	what = "transparent listeners";
	r = make_capture(c, &p);
	if (r == 0) {
		what = "rules that tell refusals";
		r = make_refusals(c, &routes, &p);
	}
	if (r == 0)
		r = immure_rtnl_apply(&routes, &what);
	if (r == 0) {
		p.ports_relaxed = relax_ports();
		pace_nothing();
		what = "name service sockets";
		r = make_dns(c, &p);
	}
	if (r == 0) {
		what = "proxy listener";
		r = make_proxy(c, &p);
	}
	if (r == 0) {
		what = "networks by address";
		r = make_nets(c, &p);
	}
	if (r == 0) {
		what = "spare sockets";
		r = make_spare(c, &p);
	}
	if (r < 0) {
		immure_netplumb_done(&p);
		if (ret_what)
			*ret_what = what;
		return r;
	}
	*ret = p;
	return 0;
}

void immure_netplumb_done(struct immure_netplumb *p)
{
	for (size_t i = 0; i < IMMURE_NETPLUMB_MAX; i++)
		immure_close(&p->fd[i]);
}

uint64_t immure_netplumb_ways(const struct immure_netplumb *p)
{
	return (p->with_nft ? IMMURE_NETPLUMB_NFT_WAY : 0U) | (p->with_v6 ? IMMURE_NETPLUMB_V6_WAY : 0U) |
	       (p->fd[IMMURE_NETPLUMB_REFUSALS] >= 0 ? IMMURE_NETPLUMB_TOLD_WAY : 0U) |
	       (p->ports_relaxed ? IMMURE_NETPLUMB_PORTS_WAY : 0U);
}

static const char BY_NFT[] = "names caught by nf_tables";

bool immure_netplumb_text_nft(const char *text)
{
	return strncmp(text, BY_NFT, sizeof(BY_NFT) - 1) == 0;
}

const char *immure_netplumb_way_text(uint64_t ways, char ret[IMMURE_NETPLUMB_WAY_TEXT])
{
	(void)snprintf(ret, IMMURE_NETPLUMB_WAY_TEXT, "%s, %s%s%s",
		       ways & IMMURE_NETPLUMB_NFT_WAY ? BY_NFT :
		       "names with a listener for each port: no nf_tables with tproxy",
		       ways & IMMURE_NETPLUMB_V6_WAY ? "IPv4 and IPv6" : "IPv4",
		       ways & IMMURE_NETPLUMB_TOLD_WAY ? "" :
		       "; what the kernel refuses by itself is not told of: no nfnetlink_queue or "
		       "nfnetlink_log",
		       ways & IMMURE_NETPLUMB_PORTS_WAY ? "" :
		       "; a connection's port is not used again for a minute: /proc/sys is read-only");
	return ret;
}
