/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/netlink.h"

#define TABLE "immure"
#define CHAIN "names"
#define CHAIN_RANGES "ranges"
#define CHAIN_NETS "networks"

/* Before anything that a hook of the default priorities would see. */
#define PRIORITY (-150)

/* Where a concatenated key lies: a register is four bytes, the port follows the
 * address in the next one, padded with zeros. */
struct family {
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

static const struct family families[2] = {
	{ "ok4", 1, 7 << 6 | 13, 8, NFPROTO_IPV4, 16, 4, NFT_REG32_01, { 127, 0, 0, 1 } },
	{ "ok6", 2, 8 << 6 | 13, 20, NFPROTO_IPV6, 24, 16, NFT_REG32_04, { [15] = 1 } },
};

static void begin(struct immure_netlink *b, uint16_t type, uint16_t flags)
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

static void batch_begin(struct immure_netlink *b)
{
	immure_netlink_init(b, 1);
	bracket(b, NFNL_MSG_BATCH_BEGIN);
}

static int batch_send(int fd, struct immure_netlink *b)
{
	/* The last message inside the brackets: kernels before 6.10 answer no
	 * bracket. */
	immure_netlink_want_ack(b);
	bracket(b, NFNL_MSG_BATCH_END);
	return immure_netlink_send(fd, b, NULL);
}

/* What a kernel says that lacks the subsystem, the family or an expression. A
 * permission error is not among them: that is a fault of ours or a filter's. */
static bool is_missing(int r)
{
	return r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT || r == -EOPNOTSUPP || r == -ENOENT ||
	       r == -ENOPROTOOPT;
}

/* ---- expressions ---- */

struct expr {
	size_t element, data;
};

static struct expr expr_begin(struct immure_netlink *b, const char *name)
{
	struct expr e;

	e.element = immure_netlink_nest(b, NFTA_LIST_ELEM);
	immure_netlink_put_str(b, NFTA_EXPR_NAME, name);
	e.data = immure_netlink_nest(b, NFTA_EXPR_DATA);
	return e;
}

static void expr_end(struct immure_netlink *b, struct expr e)
{
	immure_netlink_nest_end(b, e.data);
	immure_netlink_nest_end(b, e.element);
}

static void put_value(struct immure_netlink *b, uint16_t type, const void *data, size_t len)
{
	size_t at = immure_netlink_nest(b, type);

	immure_netlink_put(b, NFTA_DATA_VALUE, data, len);
	immure_netlink_nest_end(b, at);
}

/* The rule goes on only where this key of the packet's equals the byte. */
static void meta_is(struct immure_netlink *b, uint32_t key, uint8_t value)
{
	struct expr e = expr_begin(b, "meta");

	immure_netlink_put_be32(b, NFTA_META_KEY, key);
	immure_netlink_put_be32(b, NFTA_META_DREG, NFT_REG_1);
	expr_end(b, e);
	e = expr_begin(b, "cmp");
	immure_netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(b, NFTA_CMP_DATA, &value, 1);
	expr_end(b, e);
}

static void load(struct immure_netlink *b, uint32_t base, uint32_t at, uint32_t len, uint32_t reg)
{
	struct expr e = expr_begin(b, "payload");

	immure_netlink_put_be32(b, NFTA_PAYLOAD_DREG, reg);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_BASE, base);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, at);
	immure_netlink_put_be32(b, NFTA_PAYLOAD_LEN, len);
	expr_end(b, e);
}

static void immediate(struct immure_netlink *b, uint32_t reg, const void *data, size_t len)
{
	struct expr e = expr_begin(b, "immediate");

	immure_netlink_put_be32(b, NFTA_IMMEDIATE_DREG, reg);
	put_value(b, NFTA_IMMEDIATE_DATA, data, len);
	expr_end(b, e);
}

/* chain: where to go on, of a jump. */
static void give_verdict(struct immure_netlink *b, uint32_t code, const char *chain)
{
	struct expr e = expr_begin(b, "immediate");
	size_t data, verdict;

	immure_netlink_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = immure_netlink_nest(b, NFTA_IMMEDIATE_DATA);
	verdict = immure_netlink_nest(b, NFTA_DATA_VERDICT);
	immure_netlink_put_be32(b, NFTA_VERDICT_CODE, code);
	if (chain)
		immure_netlink_put_str(b, NFTA_VERDICT_CHAIN, chain);
	immure_netlink_nest_end(b, verdict);
	immure_netlink_nest_end(b, data);
	expr_end(b, e);
}

/* ---- table ---- */

static void put_table(struct immure_netlink *b)
{
	begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_TABLE_NAME, TABLE);
	immure_netlink_put_be32(b, NFTA_TABLE_FLAGS, 0);
}

static void put_chain(struct immure_netlink *b, const char *name, int priority)
{
	size_t hook;

	begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_CHAIN_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_CHAIN_NAME, name);
	hook = immure_netlink_nest(b, NFTA_CHAIN_HOOK);
	immure_netlink_put_be32(b, NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
	immure_netlink_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	immure_netlink_nest_end(b, hook);
	immure_netlink_put_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
	immure_netlink_put_str(b, NFTA_CHAIN_TYPE, "filter");
}

static void put_set(struct immure_netlink *b, const struct family *f)
{
	begin(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_SET_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_SET_NAME, f->set);
	immure_netlink_put_be32(b, NFTA_SET_FLAGS, 0);
	immure_netlink_put_be32(b, NFTA_SET_KEY_TYPE, f->key_type);
	immure_netlink_put_be32(b, NFTA_SET_KEY_LEN, f->key_len);
	immure_netlink_put_be32(b, NFTA_SET_ID, f->set_id);
}

static void hand_over(struct immure_netlink *b, const struct family *f, uint16_t port)
{
	uint16_t be_port = htons(port);
	struct expr e;

	immediate(b, NFT_REG_1, f->loopback, f->addr_len);
	immediate(b, f->port_reg, &be_port, 2);
	e = expr_begin(b, "tproxy");
	immure_netlink_put_be32(b, NFTA_TPROXY_FAMILY, f->nfproto);
	immure_netlink_put_be32(b, NFTA_TPROXY_REG_ADDR, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_TPROXY_REG_PORT, f->port_reg);
	expr_end(b, e);
	give_verdict(b, NF_ACCEPT, NULL);
}

/* meta nfproto F meta l4proto tcp ip daddr . tcp dport @okF
 * tproxy to LOOPBACK:PORT accept */
static void put_rule(struct immure_netlink *b, const struct family *f, uint16_t port)
{
	struct expr e;
	size_t list;

	begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	immure_netlink_put_str(b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_RULE_CHAIN, CHAIN);
	list = immure_netlink_nest(b, NFTA_RULE_EXPRESSIONS);
	meta_is(b, NFT_META_NFPROTO, f->nfproto);
	meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	load(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr_at, f->addr_len, NFT_REG_1);
	load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, f->port_reg);
	e = expr_begin(b, "lookup");
	immure_netlink_put_str(b, NFTA_LOOKUP_SET, f->set);
	immure_netlink_put_be32(b, NFTA_LOOKUP_SET_ID, f->set_id);
	immure_netlink_put_be32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
	expr_end(b, e);
	hand_over(b, f, port);
	immure_netlink_nest_end(b, list);
}

/* A chain that only a jump leads to: what is rare and long does not stand in the
 * way of what is common. */
static void put_ranges(struct immure_netlink *b)
{
	begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_CHAIN_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_CHAIN_NAME, CHAIN_RANGES);
}

static void put_jump(struct immure_netlink *b)
{
	size_t list;

	begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	immure_netlink_put_str(b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_RULE_CHAIN, CHAIN);
	list = immure_netlink_nest(b, NFTA_RULE_EXPRESSIONS);
	give_verdict(b, (uint32_t)NFT_JUMP, CHAIN_RANGES);
	immure_netlink_nest_end(b, list);
}

int immure_nft_open(int *ret_fd)
{
	int fd = immure_netlink_open(NETLINK_NETFILTER);

	if (fd < 0)
		return is_missing(fd) ? IMMURE_NFT_MISSING : fd;
	*ret_fd = fd;
	return 0;
}

int immure_nft_setup(int fd, uint16_t port4, uint16_t port6)
{
	const uint16_t ports[2] = { port4, port6 };
	struct immure_netlink b;
	int r;

	batch_begin(&b);
	put_table(&b);
	put_chain(&b, CHAIN, PRIORITY);
	put_ranges(&b);
	put_chain(&b, CHAIN_NETS, PRIORITY + 1);
	for (size_t i = 0; i < 2; i++) {
		if (!ports[i])
			continue;
		put_set(&b, &families[i]);
		put_rule(&b, &families[i], ports[i]);
	}
	put_jump(&b);
	r = batch_send(fd, &b);
	return is_missing(r) ? IMMURE_NFT_MISSING : r;
}

/* ---- networks ---- */

static void compare(struct immure_netlink *b, uint32_t op, const void *data, size_t len)
{
	struct expr e = expr_begin(b, "cmp");

	immure_netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_CMP_OP, op);
	put_value(b, NFTA_CMP_DATA, data, len);
	expr_end(b, e);
}

/* ip daddr ADDR/BITS */
static void in_network(struct immure_netlink *b, const struct family *f, const uint8_t *addr,
		       unsigned int bits)
{
	uint8_t mask[16] = { 0 }, none[16] = { 0 }, want[16];
	struct expr e;

	for (unsigned int i = 0; i < bits && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80U >> (i % 8));
	load(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr_at, f->addr_len, NFT_REG_1);
	e = expr_begin(b, "bitwise");
	immure_netlink_put_be32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_LEN, f->addr_len);
	put_value(b, NFTA_BITWISE_MASK, mask, f->addr_len);
	put_value(b, NFTA_BITWISE_XOR, none, f->addr_len);
	expr_end(b, e);
	for (size_t i = 0; i < f->addr_len; i++)
		want[i] = addr[i] & mask[i];
	compare(b, NFT_CMP_EQ, want, f->addr_len);
}

static size_t nets_rule(struct immure_netlink *b, const char *chain, const struct family *f,
			const uint8_t *addr, unsigned int bits)
{
	size_t list;

	begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	immure_netlink_put_str(b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_RULE_CHAIN, chain);
	list = immure_netlink_nest(b, NFTA_RULE_EXPRESSIONS);
	meta_is(b, NFT_META_NFPROTO, f->nfproto);
	meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	in_network(b, f, addr, bits);
	return list;
}

static void put_net(struct immure_netlink *b, const char *chain, const struct immure_rtnl_net *n,
		    uint16_t port)
{
	const struct family *f = &families[n->v6];
	uint16_t lo = htons(n->lo), hi = htons(n->hi);
	size_t list = nets_rule(b, chain, f, n->addr, n->bits);

	load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
	compare(b, NFT_CMP_GTE, &lo, 2);
	compare(b, NFT_CMP_LTE, &hi, 2);
	hand_over(b, f, port);
	immure_netlink_nest_end(b, list);
}

/* Here ends what is not inside loopback: servers of the sandbox's own and names
 * are not taken by a rule for 0.0.0.0/0. */
static void put_spared(struct immure_netlink *b, const struct family *f, const uint8_t *addr,
		       unsigned int bits)
{
	size_t list = nets_rule(b, CHAIN_NETS, f, addr, bits);

	give_verdict(b, NF_ACCEPT, NULL);
	immure_netlink_nest_end(b, list);
}

static bool is_loopback(const struct immure_rtnl_net *n)
{
	if (n->v6)
		return n->bits == 128 && memcmp(n->addr, families[1].loopback, 16) == 0;
	return n->bits >= 8 && n->addr[0] == 127;
}

/* Room for this much more: what is begun is sent when the next rule might not fit,
 * so a handful of rules are one transaction with the removal of those before. */
enum { RULE_ROOM = 1024 };

static int room(int fd, struct immure_netlink *b)
{
	int r;

	if (b->len + RULE_ROOM <= sizeof(b->data))
		return 0;
	r = batch_send(fd, b);
	batch_begin(b);
	return r;
}

static int put_nets(int fd, struct immure_netlink *b, const struct immure_rtnl_net *nets, size_t n,
		    bool loopback, const uint16_t ports[2])
{
	for (size_t i = 0; i < n; i++) {
		int r = room(fd, b);

		if (r < 0)
			return r;
		if (is_loopback(&nets[i]) == loopback && ports[nets[i].v6])
			put_net(b, CHAIN_NETS, &nets[i], ports[nets[i].v6]);
	}
	return 0;
}

int immure_nft_set_nets(int fd, const struct immure_rtnl_net *nets, size_t n,
			const struct immure_rtnl_setup *spared, uint16_t port4, uint16_t port6)
{
	const uint16_t ports[2] = { port4, port6 };
	struct immure_netlink b;
	int r;

	batch_begin(&b);
	begin(&b, NFT_MSG_DELRULE, 0);
	immure_netlink_put_str(&b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(&b, NFTA_RULE_CHAIN, CHAIN_NETS);
	r = put_nets(fd, &b, nets, n, true, ports);
	for (size_t i = 0; i < 2 && n > 0 && r == 0; i++) {
		const struct immure_rtnl_range *own = i ? &spared->v6 : &spared->v4;

		r = room(fd, &b);
		if (r < 0)
			break;
		put_spared(&b, &families[i], families[i].loopback, i ? 128 : 8);
		r = room(fd, &b);
		if (r == 0)
			put_spared(&b, &families[i], own->gateway, own->bits);
	}
	if (r == 0)
		r = put_nets(fd, &b, nets, n, false, ports);
	return r < 0 ? r : batch_send(fd, &b);
}

/* ---- ranges ---- */

int immure_nft_range_add(int fd, uint16_t port4, uint16_t port6, const struct immure_nft_range *l,
			 size_t n)
{
	struct immure_netlink b;

	if (n == 0)
		return 0;
	if (n > IMMURE_NFT_RANGES)
		return -E2BIG;
	batch_begin(&b);
	for (size_t i = 0; i < n; i++) {
		struct immure_rtnl_net one = { .v6 = l[i].at.v6, .bits = l[i].at.v6 ? 128 : 32,
					       .lo = l[i].lo, .hi = l[i].hi };
		uint16_t port = one.v6 ? port6 : port4;

		if (port == 0)
			return -EAFNOSUPPORT;
		memcpy(one.addr, l[i].at.addr, sizeof(one.addr));
		put_net(&b, CHAIN_RANGES, &one, port);
	}
	return batch_send(fd, &b);
}

int immure_nft_clear(int fd, bool pairs, bool with_v6)
{
	struct immure_netlink b;

	batch_begin(&b);
	for (size_t i = 0; pairs && i < (with_v6 ? 2U : 1U); i++) {
		begin(&b, NFT_MSG_DELSETELEM, 0);
		immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_TABLE, TABLE);
		immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_SET, families[i].set);
	}
	begin(&b, NFT_MSG_DELRULE, 0);
	immure_netlink_put_str(&b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(&b, NFTA_RULE_CHAIN, CHAIN_RANGES);
	return batch_send(fd, &b);
}

/* ---- elements ---- */

static void put_key(struct immure_netlink *b, const struct family *f, const struct immure_inet *p)
{
	size_t element = immure_netlink_nest(b, NFTA_LIST_ELEM);
	uint16_t be_port = htons(p->port);
	uint8_t key[20] = { 0 };

	memcpy(key, p->addr, f->addr_len);
	memcpy(key + f->addr_len, &be_port, 2);
	put_value(b, NFTA_SET_ELEM_KEY, key, f->key_len);
	immure_netlink_nest_end(b, element);
}

static int change(int fd, uint16_t type, uint16_t flags, const struct immure_inet *pairs, size_t n)
{
	struct immure_netlink b;

	if (n == 0)
		return 0;
	if (n > IMMURE_NFT_PAIRS)
		return -E2BIG;
	batch_begin(&b);
	for (size_t i = 0; i < 2; i++) {
		bool begun = false;
		size_t list = 0;

		for (size_t k = 0; k < n; k++) {
			if (pairs[k].v6 != (i == 1))
				continue;
			if (!begun) {
				begin(&b, type, flags);
				immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_TABLE, TABLE);
				immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_SET, families[i].set);
				list = immure_netlink_nest(&b, NFTA_SET_ELEM_LIST_ELEMENTS);
				begun = true;
			}
			put_key(&b, &families[i], &pairs[k]);
		}
		if (begun)
			immure_netlink_nest_end(&b, list);
	}
	return batch_send(fd, &b);
}

int immure_nft_add(int fd, const struct immure_inet *pairs, size_t n)
{
	return change(fd, NFT_MSG_NEWSETELEM, NLM_F_CREATE, pairs, n);
}

int immure_nft_remove(int fd, const struct immure_inet *pairs, size_t n)
{
	return change(fd, NFT_MSG_DELSETELEM, 0, pairs, n);
}
