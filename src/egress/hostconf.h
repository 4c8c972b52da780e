/* SPDX-License-Identifier: Apache-2.0 */
/* How this host resolves names: its resolvers and its own list of hosts. Read
 * before the gatekeeper closes itself in; copies of them are handed to it when they change. What only the C library knows (nsswitch
 * modules, search lists) has no part in it: names arrive here whole. */
#ifndef IMMURE_EGRESS_HOSTCONF_H
#define IMMURE_EGRESS_HOSTCONF_H

#include <stddef.h>
#include <stdint.h>

#include "egress/endpoint.h"
#include "kernel/netsock.h"

enum { IMMURE_RESOLVERS_MAX = 3, IMMURE_HOSTS_FILE_MAX = 8 * 1024 * 1024 };

struct immure_resolver_address {
	struct immure_inet at; /* with its port */
	uint32_t scope;        /* interface of a link-local one, 0 = none */
};

struct immure_hosts_line;

struct immure_hostconf {
	struct immure_resolver_address server[IMMURE_RESOLVERS_MAX];
	size_t servers_n;
	struct immure_hosts_line *hosts; /* by name */
	size_t hosts_n, hosts_cap;
};

/* "nameserver ADDRESS[%IFACE]" lines of a resolv.conf; without any, 127.0.0.1. */
void immure_hostconf_resolvers(struct immure_hostconf *h, const char *text, size_t len);
/* "ADDRESS NAME…" lines; what is neither address nor name is passed over. -ENOMEM. */
int immure_hostconf_hosts(struct immure_hostconf *h, const char *text, size_t len);
/* Both files in /etc; a missing one is an empty one. -errno. */
int immure_hostconf_read(struct immure_hostconf *h);
/* From copies of them. What cannot be read changes nothing. -errno. */
int immure_hostconf_replace(struct immure_hostconf *h, int resolv_fd, int hosts_fd);
void immure_hostconf_done(struct immure_hostconf *h);
/* Addresses of a name in normal form; how many of them. */
size_t immure_hostconf_find(const struct immure_hostconf *h, const char *name,
			    struct immure_inet *ret, size_t max);

#endif
