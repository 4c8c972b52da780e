/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One nf_tables table that hands connections to a transparent listener: those
 * to an (address, port) pair in a set. All others the kernel refuses by itself
 * (ECONNREFUSED), because nothing listens there.
 *
 * The socket is opened inside the namespace and may be used from outside by the
 * process that owns the user namespace. A batch is one transaction: all of it
 * or nothing, in force when the call returns.
 */
#ifndef IMMURE_KERNEL_NFT_H
#define IMMURE_KERNEL_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netsock.h"
#include "kernel/rtnl.h"

/* This kernel, or what it lets us load, has no nf_tables with tproxy: not a
 * fault, the caller listens on every pair by itself instead. */
#define IMMURE_NFT_MISSING 1

enum { IMMURE_NFT_PAIRS = 64 }; /* in one transaction */

/* 0, IMMURE_NFT_MISSING or -errno. */
int immure_nft_open(int *ret_fd);
/* Makes the table, in a namespace where it is not yet. Ports of the transparent
 * listeners on the loopback addresses; 0: not this family. 0, MISSING, -errno. */
int immure_nft_setup(int fd, uint16_t port4, uint16_t port6);
/* Both up to IMMURE_NFT_PAIRS pairs at once (-E2BIG), of any family. Adding
 * what is there is no error; removing what is not is -ENOENT, and then nothing
 * was removed. */
int immure_nft_add(int fd, const struct immure_inet *pairs, size_t n);
int immure_nft_remove(int fd, const struct immure_inet *pairs, size_t n);

/* For names with more ports than pairs are good for: the ports lo to hi of one
 * address. Looked at after the pairs. */
struct immure_nft_range {
	struct immure_inet at; /* its port does not count */
	uint16_t lo, hi;
};
enum { IMMURE_NFT_RANGES = 8 }; /* in one transaction */
/* port4, port6: those of the setup. Adding twice makes two rules. */
int immure_nft_range_add(int fd, uint16_t port4, uint16_t port6, const struct immure_nft_range *l,
			 size_t n);
/* All ranges are gone; and, with pairs, all pairs too. */
int immure_nft_clear(int fd, bool pairs, bool with_v6);

/* Replaces what is handed over besides pairs: TCP to the ports of networks. What
 * is in `spared` (the range of names) and on loopback is so only where a network
 * lies inside loopback itself. Not one transaction: between two calls of the
 * kernel some of it may be missing, and is refused then. */
int immure_nft_set_nets(int fd, const struct immure_rtnl_net *nets, size_t n,
			const struct immure_rtnl_setup *spared, uint16_t port4, uint16_t port6);

#endif
