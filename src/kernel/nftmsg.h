/* SPDX-License-Identifier: Apache-2.0 */
/* How messages of nf_tables are written: batches, rules and the expressions that rules
 * of ours are made of. For the files that fill the session's table (nft.h). */
#ifndef IMMURE_KERNEL_NFTMSG_H
#define IMMURE_KERNEL_NFTMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netlink.h"

#define IMMURE_NFTM_TABLE "immure"
#define IMMURE_NFTM_NAMES "names" /* the chain that everything arriving passes first */

/* Where a concatenated key lies: a register is four bytes, the port follows the
 * address in the next one, padded with zeros. */
struct immure_nftm_family {
	const char *set;
	uint32_t set_id;
	uint32_t key_type;  /* how nft(8) is to print it: address . inet_service */
	uint32_t key_len;
	uint8_t nfproto;
	uint32_t daddr_at;  /* in the network header */
	uint32_t addr_len;
	uint32_t port_reg;
	uint8_t loopback[16];
};

extern const struct immure_nftm_family immure_nftm_families[2]; /* IPv4, IPv6 */

/* A batch is one transaction. send() asks for the answer and reads it. */
void immure_nftm_batch(struct immure_netlink *b);
int immure_nftm_send(int fd, struct immure_netlink *b);
/* What a kernel says that lacks the subsystem, the family or an expression. A
 * permission error is not among them: that is a fault of ours or a filter's. */
bool immure_nftm_missing(int r);
void immure_nftm_message(struct immure_netlink *b, uint16_t type, uint16_t flags);
/* type NULL: a chain that only jumps lead to. */
void immure_nftm_chain(struct immure_netlink *b, const char *name, const char *type, uint32_t hook,
		       int priority);
/* Appends a rule; what follows is its expressions until the nest is ended. */
size_t immure_nftm_rule(struct immure_netlink *b, const char *chain);

struct immure_nftm_expr {
	size_t element, data;
};

struct immure_nftm_expr immure_nftm_expr(struct immure_netlink *b, const char *name);
void immure_nftm_expr_end(struct immure_netlink *b, struct immure_nftm_expr e);
void immure_nftm_value(struct immure_netlink *b, uint16_t type, const void *data, size_t len);
/* The rule goes on only where this key of the packet's equals the byte. */
void immure_nftm_meta_is(struct immure_netlink *b, uint32_t key, uint8_t value);
void immure_nftm_load(struct immure_netlink *b, uint32_t base, uint32_t at, uint32_t len,
		      uint32_t reg);
void immure_nftm_immediate(struct immure_netlink *b, uint32_t reg, const void *data, size_t len);
/* chain: where to go on, of a jump. */
void immure_nftm_verdict(struct immure_netlink *b, uint32_t code, const char *chain);
/* The first register with these bytes. */
void immure_nftm_compare(struct immure_netlink *b, uint32_t op, const void *data, size_t len);
/* ip daddr ADDR/BITS */
void immure_nftm_in_network(struct immure_netlink *b, const struct immure_nftm_family *f,
			    const uint8_t *addr, unsigned int bits);

#endif
