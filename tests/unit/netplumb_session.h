/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plumbing of a session's network namespace, in namespaces of the test's
 * own. Three processes, as in a session: a sandbox in a new user and network
 * namespace; a helper that enters both, builds, passes the descriptors out and
 * ends; and this one, outside, which never enters and works on the descriptors.
 * The sandbox acts on command: it has the view that a sealed command has.
 */
#ifndef IMMURE_TESTS_NETPLUMB_SESSION_H
#define IMMURE_TESTS_NETPLUMB_SESSION_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/netlink.h"
#include "kernel/netplumb.h"
#include "kernel/netsock.h"
#include "kernel/nft.h"

enum plumbed_act { ACT_TCP, ACT_UDP, ACT_UDP_CONNECTED, ACT_ICMP, ACT_BIND, ACT_DNS };

struct plumbed {
	pid_t pid;
	int pidfd, ctl;
	long setup_us; /* in the helper: immure_netplumb_make() alone */
	struct immure_netplumb p;
};

/* One of each family: a name's address, another's, one outside of the names. */
struct plumbed_family {
	const char *name, *other, *outside;
	enum immure_netplumb_fd listener;
};

extern const struct plumbed_family plumbed_families[2];

/* A child in new namespaces, with uid 0 there mapped to ours. false: this host
 * does not allow it. */
bool plumbed_start(struct plumbed *s);
/* filtered: where nf_tables is not to be had. what, len: the step that failed. */
int plumbed_build(struct plumbed *s, const struct immure_netplumb_config *c, bool filtered,
		  char *what, size_t len);
void plumbed_stop(struct plumbed *s);

struct immure_netplumb_config plumbed_config(void);
/* Both in one; and with what the test needs, or it is skipped. */
bool plumbed_start_built(struct plumbed *s);
void plumbed_need(bool there, const char *what);
void plumbed_need_namespaces(bool started);
void plumbed_start_caught(struct plumbed *s);

struct immure_inet plumbed_at(const char *text, uint16_t port);
struct immure_rtnl_net plumbed_net(const char *text, unsigned int bits, uint16_t lo, uint16_t hi);
/* What the sandbox is to do, and the errno of it. */
void plumbed_ask(const struct plumbed *s, enum plumbed_act act, struct immure_inet to);
int plumbed_answer(const struct plumbed *s);
int plumbed_result(const struct plumbed *s, enum plumbed_act act, const char *to, uint16_t port);
void plumbed_wait_readable(int fd);
/* A connection arrives at this listener, meant for that address and port. */
void plumbed_arrives(const struct plumbed *s, int listener, const char *to, uint16_t port);

#endif
