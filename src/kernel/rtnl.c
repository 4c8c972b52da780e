/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "kernel/netlink.h"

/* In a namespace that was just made the loopback device is always the first. */
#define LOOPBACK 1

enum { PREF_MARK = 5, PREF_MANY, PREF_NAMES = 10, PREF_NOT_TCP, PREF_TCP = 20, PREF_RANGE, PREF_LOOPBACK };

/* A batch and what its messages are for. */
struct batch {
	struct immure_netlink nl;
	const char *what[32];
	size_t n;
};

static void begin(struct batch *b, const char *what, uint16_t type, uint16_t flags,
		  const void *head, size_t len)
{
	if (b->n < sizeof(b->what) / sizeof(b->what[0]))
		b->what[b->n++] = what;
	immure_netlink_begin(&b->nl, type, flags, head, len);
}

static size_t width(int family)
{
	return family == AF_INET ? 4 : 16;
}

static void link_up(struct batch *b)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = LOOPBACK,
			       .ifi_flags = IFF_UP, .ifi_change = IFF_UP };

	begin(b, "bring lo up", RTM_NEWLINK, 0, &m, sizeof(m));
}

static void address(struct batch *b, int family, const uint8_t *addr, uint8_t bits)
{
	struct ifaddrmsg m = { .ifa_family = (uint8_t)family, .ifa_prefixlen = bits,
			       .ifa_flags = IFA_F_PERMANENT, .ifa_scope = RT_SCOPE_UNIVERSE,
			       .ifa_index = LOOPBACK };

	if (family == AF_INET6)
		m.ifa_flags |= IFA_F_NODAD; /* usable from the first moment */
	begin(b, family == AF_INET ? "gateway address" : "gateway address (IPv6)", RTM_NEWADDR,
	      NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	immure_netlink_put(&b->nl, IFA_LOCAL, addr, width(family));
	immure_netlink_put(&b->nl, IFA_ADDRESS, addr, width(family));
}

/* dst NULL: the default route. from: the source address, NULL: any. */
static void route(struct batch *b, const char *what, int family, uint8_t type, uint8_t table,
		  const uint8_t *dst, uint8_t bits, const uint8_t *from)
{
	struct rtmsg m = { .rtm_family = (uint8_t)family, .rtm_dst_len = bits, .rtm_table = table,
			   .rtm_protocol = RTPROT_STATIC, .rtm_type = type };

	m.rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	begin(b, what, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	if (dst)
		immure_netlink_put(&b->nl, RTA_DST, dst, width(family));
	if (type == RTN_LOCAL || family == AF_INET6)
		immure_netlink_put_u32(&b->nl, RTA_OIF, LOOPBACK);
	if (from)
		immure_netlink_put(&b->nl, RTA_PREFSRC, from, width(family));
}

/* dst NULL: to anything. protocol 0: any. */
static void rule(struct batch *b, const char *what, int family, uint16_t type, uint32_t pref,
		 uint8_t action, const uint8_t *dst, uint8_t bits, uint8_t protocol)
{
	struct fib_rule_hdr m = { .family = (uint8_t)family, .action = action };

	if (dst)
		m.dst_len = bits;
	if (action == FR_ACT_TO_TBL)
		m.table = RT_TABLE_LOCAL;
	begin(b, what, type, type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0, &m, sizeof(m));
	immure_netlink_put_u32(&b->nl, FRA_PRIORITY, pref);
	if (dst)
		immure_netlink_put(&b->nl, FRA_DST, dst, width(family));
	if (protocol)
		immure_netlink_put(&b->nl, FRA_IP_PROTO, &protocol, 1);
}

static void mark_rule(struct batch *b, int family)
{
	struct fib_rule_hdr m = { .family = (uint8_t)family, .action = FR_ACT_PROHIBIT };
	static const uint8_t many[4] = { 224 };

	begin(b, "rule against what is marked", RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	immure_netlink_put_u32(&b->nl, FRA_PRIORITY, PREF_MARK);
	immure_netlink_put_u32(&b->nl, FRA_FWMARK, IMMURE_RTNL_MARK);
	/* Many at once: the second lookup, which would refuse it, never asks the rules then. */
	if (family == AF_INET)
		rule(b, "rule against what is sent to many", family, RTM_NEWRULE, PREF_MANY,
		     FR_ACT_PROHIBIT, many, 3, 0);
}

static void rules(struct batch *b, int family, const struct immure_rtnl_range *r, bool seen)
{
	static const uint8_t loopback4[4] = { 127 }, loopback6[16] = { [15] = 1 };

	rule(b, "rule for TCP to names", family, RTM_NEWRULE, PREF_NAMES, FR_ACT_TO_TBL, r->names,
	     r->names_bits, IPPROTO_TCP);
	if (seen)
		mark_rule(b, family);
	else
		rule(b, "rule against all else to names", family, RTM_NEWRULE, PREF_NOT_TCP,
		     FR_ACT_PROHIBIT, r->names, r->names_bits, 0);
	rule(b, "rule for TCP to what is local", family, RTM_NEWRULE, PREF_TCP, FR_ACT_TO_TBL, NULL,
	     0, IPPROTO_TCP);
	/* Other protocols: not to the networks that rules name by address, which are
	 * in the same table, because only what is there may answer. */
	rule(b, "rule for the gateway", family, RTM_NEWRULE, PREF_RANGE, FR_ACT_TO_TBL, r->gateway,
	     r->bits, 0);
	rule(b, "rule for loopback", family, RTM_NEWRULE, PREF_LOOPBACK, FR_ACT_TO_TBL,
	     family == AF_INET ? loopback4 : loopback6, family == AF_INET ? 8 : 128, 0);
	/* The kernel's own, before all others. Gone last: until then it is in force. */
	rule(b, "remove the first rule", family, RTM_DELRULE, 0, FR_ACT_TO_TBL, NULL, 0, 0);
}

int immure_rtnl_apply(const struct immure_rtnl_setup *s, const char **ret_what)
{
	IMMURE_CLEANUP_FD int fd = immure_netlink_open(NETLINK_ROUTE);
	const uint8_t last = s->seen ? RTN_LOCAL : RTN_PROHIBIT;
	struct batch b;
	size_t failed = 0;
	int r;

	if (ret_what)
		*ret_what = "routing socket";
	if (fd < 0)
		return fd;
	b.n = 0;
	immure_netlink_init(&b.nl, 1);
	link_up(&b);
	/* On a loopback device an address makes its whole v4 prefix local. */
	address(&b, AF_INET, s->v4.gateway, s->v4.bits);
	route(&b, "default route", AF_INET, last, RT_TABLE_MAIN, NULL, 0,
	      s->seen ? s->v4.gateway : NULL);
	rules(&b, AF_INET, &s->v4, s->seen);
	if (s->with_v6) {
		address(&b, AF_INET6, s->v6.gateway, 128);
		route(&b, "route to names (IPv6)", AF_INET6, RTN_LOCAL, RT_TABLE_LOCAL,
		      s->v6.names, s->v6.names_bits, NULL);
		route(&b, "default route (IPv6)", AF_INET6, last, RT_TABLE_MAIN, NULL, 0,
		      s->seen ? s->v6.gateway : NULL);
		rules(&b, AF_INET6, &s->v6, s->seen);
	}
	immure_netlink_want_ack(&b.nl);
	r = immure_netlink_send(fd, &b.nl, &failed);
	if (r < 0 && ret_what)
		*ret_what = failed < b.n ? b.what[failed] : "routing batch";
	return r;
}

enum { NETS_IN_BATCH = 64 };

int immure_rtnl_add(int fd, const struct immure_rtnl_setup *s, const struct immure_rtnl_net *nets,
		    size_t n)
{
	for (size_t at = 0; at < n;) {
		struct immure_netlink b;
		int r;

		immure_netlink_init(&b, 1);
		for (size_t i = 0; i < NETS_IN_BATCH && at < n; i++, at++) {
			int family = nets[at].v6 ? AF_INET6 : AF_INET;
			struct rtmsg m = { .rtm_family = (uint8_t)family,
					   .rtm_dst_len = nets[at].bits, .rtm_table = RT_TABLE_LOCAL,
					   .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_LOCAL,
					   .rtm_scope = RT_SCOPE_HOST };

			immure_netlink_begin(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &m,
					     sizeof(m));
			if (nets[at].bits)
				immure_netlink_put(&b, RTA_DST, nets[at].addr, width(family));
			immure_netlink_put_u32(&b, RTA_OIF, LOOPBACK);
			immure_netlink_put(&b, RTA_PREFSRC,
					   nets[at].v6 ? s->v6.gateway : s->v4.gateway,
					   width(family));
		}
		immure_netlink_want_ack(&b);
		r = immure_netlink_send(fd, &b, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The kernel's own routes to it are of the same form, and add() may have taken their
 * place. */
static bool is_loopback(const struct immure_rtnl_net *n)
{
	static const uint8_t one[16] = { [15] = 1 };

	return n->v6 ? memcmp(n->addr, one, 16) == 0 : n->addr[0] == 127;
}

int immure_rtnl_remove(int fd, const struct immure_rtnl_net *nets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int family = nets[i].v6 ? AF_INET6 : AF_INET, r;
		struct rtmsg m = { .rtm_family = (uint8_t)family, .rtm_dst_len = nets[i].bits,
				   .rtm_table = RT_TABLE_LOCAL, .rtm_protocol = RTPROT_STATIC,
				   .rtm_type = RTN_LOCAL, .rtm_scope = RT_SCOPE_HOST };
		struct immure_netlink b;

		if (is_loopback(&nets[i]))
			continue;
		/* One at a time: several nets of the old rules may have been one route. */
		immure_netlink_init(&b, 1);
		immure_netlink_begin(&b, RTM_DELROUTE, 0, &m, sizeof(m));
		if (nets[i].bits)
			immure_netlink_put(&b, RTA_DST, nets[i].addr, width(family));
		immure_netlink_want_ack(&b);
		r = immure_netlink_send(fd, &b, NULL);
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return 0;
}
