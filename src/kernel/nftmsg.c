/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/nftmsg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

const struct immure_nftm_family immure_nftm_families[2] = {
	{ "ok4", 1, 7 << 6 | 13, 8, NFPROTO_IPV4, 16, 4, NFT_REG32_01, { 127, 0, 0, 1 } },
	{ "ok6", 2, 8 << 6 | 13, 20, NFPROTO_IPV6, 24, 16, NFT_REG32_04, { [15] = 1 } },
};

void immure_nftm_message(struct immure_netlink *b, uint16_t type, uint16_t flags)
{
	struct nfgenmsg m = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };

	immure_netlink_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &m, sizeof(m));
}

static void bracket(struct immure_netlink *b, uint16_t type)
{
	struct nfgenmsg m = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0,
			      .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	immure_netlink_begin(b, type, 0, &m, sizeof(m));
}

void immure_nftm_batch(struct immure_netlink *b)
{
	immure_netlink_init(b, 1);
	bracket(b, NFNL_MSG_BATCH_BEGIN);
}

int immure_nftm_send(int fd, struct immure_netlink *b)
{
	/* The last message inside the brackets: kernels before 6.10 answer no
	 * bracket. */
	immure_netlink_want_ack(b);
	bracket(b, NFNL_MSG_BATCH_END);
	return immure_netlink_send(fd, b, NULL);
}

bool immure_nftm_missing(int r)
{
	return r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT || r == -EOPNOTSUPP || r == -ENOENT ||
	       r == -ENOPROTOOPT;
}

size_t immure_nftm_rule(struct immure_netlink *b, const char *chain)
{
	immure_nftm_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	immure_netlink_put_str(b, NFTA_RULE_TABLE, IMMURE_NFTM_TABLE);
	immure_netlink_put_str(b, NFTA_RULE_CHAIN, chain);
	return immure_netlink_nest(b, NFTA_RULE_EXPRESSIONS);
}

void immure_nftm_chain(struct immure_netlink *b, const char *name, const char *type, uint32_t hook,
		       int priority)
{
	size_t at;

	immure_nftm_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_CHAIN_TABLE, IMMURE_NFTM_TABLE);
	immure_netlink_put_str(b, NFTA_CHAIN_NAME, name);
	if (!type)
		return;
	at = immure_netlink_nest(b, NFTA_CHAIN_HOOK);
	immure_netlink_put_be32(b, NFTA_HOOK_HOOKNUM, hook);
	immure_netlink_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	immure_netlink_nest_end(b, at);
	immure_netlink_put_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
	immure_netlink_put_str(b, NFTA_CHAIN_TYPE, type);
}

/* ---- expressions ---- */

struct immure_nftm_expr immure_nftm_expr(struct immure_netlink *b, const char *name)
{
	struct immure_nftm_expr e;

	e.element = immure_netlink_nest(b, NFTA_LIST_ELEM);
	immure_netlink_put_str(b, NFTA_EXPR_NAME, name);
	e.data = immure_netlink_nest(b, NFTA_EXPR_DATA);
	return e;
}

void immure_nftm_expr_end(struct immure_netlink *b, struct immure_nftm_expr e)
{
	immure_netlink_nest_end(b, e.data);
	immure_netlink_nest_end(b, e.element);
}

void immure_nftm_value(struct immure_netlink *b, uint16_t type, const void *data, size_t len)
{
	size_t at = immure_netlink_nest(b, type);

	immure_netlink_put(b, NFTA_DATA_VALUE, data, len);
	immure_netlink_nest_end(b, at);
}

void immure_nftm_meta_is(struct immure_netlink *b, uint32_t key, uint8_t value)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "meta");

	immure_netlink_put_be32(b, NFTA_META_KEY, key);
	immure_netlink_put_be32(b, NFTA_META_DREG, NFT_REG_1);
	immure_nftm_expr_end(b, e);
	e = immure_nftm_expr(b, "cmp");
	immure_netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	immure_nftm_value(b, NFTA_CMP_DATA, &value, 1);
	immure_nftm_expr_end(b, e);
}

void immure_nftm_load(struct immure_netlink *b, uint32_t base, uint32_t at, uint32_t len,
		      uint32_t reg)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "payload");

	immure_netlink_put_be32(b, NFTA_PAYLOAD_DREG, reg);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_BASE, base);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, at);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_LEN, len);
	immure_nftm_expr_end(b, e);
}

void immure_nftm_immediate(struct immure_netlink *b, uint32_t reg, const void *data, size_t len)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "immediate");

	immure_netlink_put_be32(b, NFTA_IMMEDIATE_DREG, reg);
	immure_nftm_value(b, NFTA_IMMEDIATE_DATA, data, len);
	immure_nftm_expr_end(b, e);
}

void immure_nftm_verdict(struct immure_netlink *b, uint32_t code, const char *chain)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "immediate");
	size_t data, verdict;

	immure_netlink_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = immure_netlink_nest(b, NFTA_IMMEDIATE_DATA);
	verdict = immure_netlink_nest(b, NFTA_DATA_VERDICT);
	immure_netlink_put_be32(b, NFTA_VERDICT_CODE, code);
	if (chain)
		immure_netlink_put_str(b, NFTA_VERDICT_CHAIN, chain);
	immure_netlink_nest_end(b, verdict);
	immure_netlink_nest_end(b, data);
	immure_nftm_expr_end(b, e);
}

void immure_nftm_compare(struct immure_netlink *b, uint32_t op, const void *data, size_t len)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "cmp");

	immure_netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_CMP_OP, op);
	immure_nftm_value(b, NFTA_CMP_DATA, data, len);
	immure_nftm_expr_end(b, e);
}

void immure_nftm_in_network(struct immure_netlink *b, const struct immure_nftm_family *f,
			    const uint8_t *addr, unsigned int bits)
{
	uint8_t mask[16] = { 0 }, none[16] = { 0 }, want[16];
	struct immure_nftm_expr e;

	for (unsigned int i = 0; i < bits && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80U >> (i % 8));
	immure_nftm_load(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr_at, f->addr_len, NFT_REG_1);
	e = immure_nftm_expr(b, "bitwise");
	immure_netlink_put_be32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_LEN, f->addr_len);
	immure_nftm_value(b, NFTA_BITWISE_MASK, mask, f->addr_len);
	immure_nftm_value(b, NFTA_BITWISE_XOR, none, f->addr_len);
	immure_nftm_expr_end(b, e);
	for (size_t i = 0; i < f->addr_len; i++)
		want[i] = addr[i] & mask[i];
	immure_nftm_compare(b, NFT_CMP_EQ, want, f->addr_len);
}

