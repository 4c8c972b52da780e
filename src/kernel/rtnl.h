/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of a namespace from which nothing leads out: names have addresses
 * in a range that is local, and every other destination is refused at once.
 *
 * The range is in two halves by use: the gateway, where names are looked up,
 * lies outside `names`; all that a name resolves to lies in `names`. Rules tell
 * the protocols apart: TCP to `names` is local, anything else to `names` is
 * prohibited (EACCES, also for a sendto that is not connected and would
 * otherwise be lost without a word). Loopback and the gateway stay local for
 * every protocol; networks that rules name by address become so for TCP.
 */
#ifndef IMMURE_KERNEL_RTNL_H
#define IMMURE_KERNEL_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct immure_rtnl_range {
	uint8_t gateway[16]; /* network order; v4 uses the first four bytes */
	uint8_t bits;        /* of the whole range, which the gateway is in */
	uint8_t names[16];
	uint8_t names_bits;
};

/* What has this mark is prohibited, where `seen` is set. */
enum { IMMURE_RTNL_MARK = 1 };

struct immure_rtnl_setup {
	struct immure_rtnl_range v4;
	bool with_v6; /* false, for kernels without it: then nothing in v6 has a route */
	struct immure_rtnl_range v6;
	/* Every destination is local, so that rules see what is refused (refusals.h); without
	 * these rules the session would speak to itself alone. */
	bool seen;
};

/* 198.18.0.0/15: gateway 198.18.0.1, names 198.19.0.0/16;
 * fd53:6e62::/64: gateway fd53:6e62::1, names fd53:6e62::8000:0/97. */
void immure_rtnl_setup_default(struct immure_rtnl_setup *s, bool with_v6);
/* From the whole range, whose bits below `bits` must be 0: the gateway is its
 * first address, the names are its upper half (v4) or that of its first 2^32
 * addresses (v6). -EINVAL when it has stray bits or another size than
 * /8 to /24 (v4), /32 to /96 (v6). */
int immure_rtnl_range_from(bool v6, const uint8_t *prefix, unsigned int bits,
			   struct immure_rtnl_range *ret);
/* A destination that is no name: an address or a network, on ports lo to hi. */
struct immure_rtnl_net {
	bool v6;
	uint8_t addr[16]; /* network order; bits below `bits` are 0 */
	uint8_t bits;
	uint16_t lo, hi;
};

/* Makes TCP to these networks local as well; what they lead to is then decided
 * like everything local. Adding what is there is no error. fd: a routing socket
 * of the namespace, which may be used from outside it (see nft.h). */
int immure_rtnl_add(int fd, const struct immure_rtnl_setup *s, const struct immure_rtnl_net *nets,
		    size_t n);
/* The other way: only routes that add() made, and none to loopback. One that is not
 * there is no error. */
int immure_rtnl_remove(int fd, const struct immure_rtnl_net *nets, size_t n);
/* One sendto, for the network namespace of the calling process. 0, or the
 * -errno of the first message that failed, and in *ret_what (when not NULL) what
 * that was, in words. A namespace in which this failed is not to be used. */
int immure_rtnl_apply(const struct immure_rtnl_setup *s, const char **ret_what);

#endif
