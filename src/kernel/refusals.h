/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused in a session's network namespace, told before it is.
 *
 * Routes alone refuse without a packet, so nobody could see what was wanted. With this
 * every destination is local (rtnl.h, `seen`), a packet is made, and rules see it:
 *
 *   TCP        A SYN that nobody is handed is held (nfnetlink_queue) until somebody has
 *              looked at it: meanwhile its socket can be found, and whose it is. Let go,
 *              it is refused all the same.
 *   the rest   is copied (nfnetlink_log) and then routed again with a mark that is
 *              prohibited: whoever sends gets EACCES at once, as before.
 *
 * Both have a rate: what is above it is refused without being told.
 */
#ifndef IMMURE_KERNEL_REFUSALS_H
#define IMMURE_KERNEL_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netsock.h"
#include "kernel/rtnl.h"

/* This kernel, or what it lets us load, cannot hold or copy packets. */
#define IMMURE_REFUSALS_MISSING 1

enum { IMMURE_REFUSALS_A_SECOND = 64, IMMURE_REFUSALS_BURST = 256 };

struct immure_refusal {
	bool held;          /* until let go by its number */
	uint32_t number;
	uint8_t protocol;   /* IPPROTO_*, of the innermost header that was read */
	struct immure_inet source, meant; /* port 0: a protocol without ports */
};

/* The rules, beside those of immure_nft_setup(), over its socket; and *ret_fd, the socket
 * from which refusals are read. Both inside the namespace. native: only with nf_tables' own
 * expression for holding, not by way of xtables. 0, MISSING, -errno. */
int immure_refusals_setup(int nft_fd, const struct immure_rtnl_setup *s, bool native, int *ret_fd);

/* What waits, up to `max`: how many (0: nothing that is one), or -EAGAIN. Never blocks.
 * What found no room in the socket is in dropped(). */
int immure_refusals_read(int fd, struct immure_refusal *ret, size_t max);
int immure_refusals_let_go(int fd, uint32_t number);
/* All that are held up to this one, also those that another reader was told of. */
int immure_refusals_let_go_until(int fd, uint32_t number);
/* How many were refused without being told since this was last asked. */
int immure_refusals_untold(int nft_fd, uint64_t *ret);
/* How many the socket had no room for since it was made; fd -1: 0. Those were refused as well,
 * and are none of the former. */
uint32_t immure_refusals_dropped(int fd);

/* The decoder alone, for tests: one netlink datagram. */
size_t immure_refusals_decode(const void *data, size_t len, struct immure_refusal *ret, size_t max);

#endif
