/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of a network namespace from which only names can be reached: routes,
 * table and sockets. Called once, inside the namespace, by a process with
 * CAP_NET_ADMIN over it; what it returns is passed out (SCM_RIGHTS) to the
 * process that owns the user namespace, and nobody enters the namespace again.
 */
#ifndef IMMURE_KERNEL_NETPLUMB_H
#define IMMURE_KERNEL_NETPLUMB_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/rtnl.h"

enum { IMMURE_NETPLUMB_SPARE = 8, IMMURE_NETPLUMB_PROXY_PORT = 3128,
       IMMURE_NETPLUMB_NETS_MAX = 1024, IMMURE_NETPLUMB_FEW_PORTS = 16 };

enum immure_netplumb_fd {
	IMMURE_NETPLUMB_TCP4,    /* transparent listeners, or -1 without nf_tables */
	IMMURE_NETPLUMB_TCP6,
	IMMURE_NETPLUMB_DNS_UDP, /* gateway, port 53 */
	IMMURE_NETPLUMB_DNS_TCP,
	IMMURE_NETPLUMB_PROXY,   /* gateway, PROXY_PORT: for programs that want a proxy */
	IMMURE_NETPLUMB_PROXY6,  /* the same on the gateway's IPv6 address */
	IMMURE_NETPLUMB_ROUTE,   /* for immure_rtnl_add */
	IMMURE_NETPLUMB_NFT,     /* for immure_nft_add and _remove; -1 without */
	IMMURE_NETPLUMB_REFUSALS, /* what was refused, see refusals.h; -1 without */
	IMMURE_NETPLUMB_SPARE4,  /* unbound TCP sockets: to dial in, or to listen for a pair */
	IMMURE_NETPLUMB_SPARE6 = IMMURE_NETPLUMB_SPARE4 + IMMURE_NETPLUMB_SPARE,
	IMMURE_NETPLUMB_MAX = IMMURE_NETPLUMB_SPARE6 + IMMURE_NETPLUMB_SPARE,
};

struct immure_netplumb_config {
	struct immure_rtnl_setup routes; /* with_v6: if the kernel has it */
	uint16_t port;      /* of the transparent listeners; 0: any that is free */
	bool without_nft;   /* do as if nf_tables were missing */
	bool without_refusals; /* the same of what tells refusals */
	bool native_queue;  /* and of the way to hold packets that is tried first */
	unsigned int spare; /* sockets a family, up to IMMURE_NETPLUMB_SPARE */
	bool proxy;
	/* Destinations that rules name by address. Without nf_tables nothing is done for
	 * those that listeners can do for, and others are -EOPNOTSUPP. */
	const struct immure_rtnl_net *nets;
	size_t nets_n;
};

struct immure_netplumb {
	bool with_v6;
	bool with_nft; /* false: a listener for each pair is needed */
	bool ports_relaxed; /* false: an ended connection's port is not used again for a minute */
	int fd[IMMURE_NETPLUMB_MAX]; /* -1 = none */
};

/* 0 or -errno, and in *ret_what (when not NULL) what failed. On failure nothing
 * is left open, but the namespace is not to be used. */
int immure_netplumb_make(const struct immure_netplumb_config *c, struct immure_netplumb *ret,
			 const char **ret_what);
/* Only the spare sockets, in a namespace that has no plumbing otherwise. */
int immure_netplumb_spare(unsigned int n, struct immure_netplumb *ret);
/* Whether, without nf_tables, listeners can do for it: one address, few ports. */
bool immure_netplumb_listenable(const struct immure_rtnl_net *n);
/* Other destinations by address than before; may be called from outside. */
int immure_netplumb_set_nets(const struct immure_netplumb *p,
			     const struct immure_rtnl_setup *routes,
			     const struct immure_rtnl_net *nets, size_t n);
/* Takes the routes away that led to `old` and lead to none of nets: then what is there is
 * refused like any other address, not like a port. */
int immure_netplumb_drop_nets(const struct immure_netplumb *p, const struct immure_rtnl_net *old,
			      size_t old_n, const struct immure_rtnl_net *nets, size_t n);
void immure_netplumb_done(struct immure_netplumb *p);

/* What of all that there is, and in words which way is taken. */
enum { IMMURE_NETPLUMB_NFT_WAY = 1, IMMURE_NETPLUMB_V6_WAY = 2, IMMURE_NETPLUMB_TOLD_WAY = 4,
       IMMURE_NETPLUMB_PORTS_WAY = 8, IMMURE_NETPLUMB_WAY_TEXT = 320 };
uint64_t immure_netplumb_ways(const struct immure_netplumb *p);
const char *immure_netplumb_way_text(uint64_t ways, char ret[IMMURE_NETPLUMB_WAY_TEXT]);
/* Whether such a text speaks of nf_tables. */
bool immure_netplumb_text_nft(const char *text);
/* The same where there is no namespace. */
#define IMMURE_NETPLUMB_WAY_MADE "connections by name are made by the supervisor: no network namespace"

#endif
