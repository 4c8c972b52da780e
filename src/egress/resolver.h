/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks this host's resolvers for the addresses of a name, when something is about
 * to be dialled. Nothing waits: answers come by callback from event() and tick().
 *
 * One name that several wait for is asked once, and an answer is kept as long as it
 * says, a minute at most. What it gives is not trusted: each address is vetted each
 * time it is dialled.
 *
 * The host's own list (/etc/hosts) goes before. A resolver that does not answer,
 * refuses or fails is followed by the next one; a truncated reply by TCP. There is no
 * EDNS in our questions, so nothing to do without.
 */
#ifndef IMMURE_EGRESS_RESOLVER_H
#define IMMURE_EGRESS_RESOLVER_H

#include "egress/dns.h"
#include "egress/hostconf.h"

enum {
	IMMURE_RESOLVER_QUERIES = 256, /* names asked for at once */
	IMMURE_RESOLVER_ADDRESSES = 32,
	IMMURE_RESOLVER_KEPT_S = 60,
};

struct immure_resolver;

/* result: 0 with n > 0; -ENOENT: no such name, or no address of a family in use;
 * -ETIMEDOUT, -EAGAIN (the resolvers fail). who: of immure_resolver_ask(). */
typedef void immure_resolver_done(void *ctx, uint64_t who, int result,
				  const struct immure_inet *addrs, size_t n);

/* Descriptors are watched in epoll_fd with `tag` | number, see event(). conf is
 * borrowed. -ENOMEM. */
int immure_resolver_new(const struct immure_hostconf *conf, int epoll_fd, uint64_t tag,
			immure_resolver_done *done, void *ctx, struct immure_resolver **ret);
void immure_resolver_free(struct immure_resolver *r);

/* 1: known already, *ret_n addresses (at most IMMURE_RESOLVER_ADDRESSES) are in ret.
 * 0: the callback will say. -ENOBUFS: too many names at once, -ENOMEM. six: also
 * IPv6 addresses. */
int immure_resolver_ask(struct immure_resolver *r, const char *name, bool six, uint64_t who,
			uint32_t limit_ms, uint64_t now_ms, struct immure_inet *ret,
			size_t *ret_n);
/* who does not wait any more. */
void immure_resolver_forget(struct immure_resolver *r, uint64_t who);
/* What is kept of this name is of no use. */
void immure_resolver_drop(struct immure_resolver *r, const char *name);
/* Nor is anything else: the resolvers are others from now on. */
void immure_resolver_drop_all(struct immure_resolver *r);
/* number: what epoll gave, without the tag. */
void immure_resolver_event(struct immure_resolver *r, uint32_t number, uint64_t now_ms);
uint64_t immure_resolver_due(const struct immure_resolver *r);
void immure_resolver_tick(struct immure_resolver *r, uint64_t now_ms);

#endif
