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
#include "kernel/nftmsg.h"

#define TABLE IMMURE_NFTM_TABLE
#define CHAIN IMMURE_NFTM_NAMES
#define CHAIN_RANGES "ranges"
#define CHAIN_NETS "networks"

/* Before anything that a hook of the default priorities would see. */
#define PRIORITY (-150)

/* ---- table ---- */

static void put_table(struct immure_netlink *b)
{
	immure_nftm_message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_TABLE_NAME, TABLE);
	immure_netlink_put_be32(b, NFTA_TABLE_FLAGS, 0);
}

static void put_set(struct immure_netlink *b, const struct immure_nftm_family *f)
{
	immure_nftm_message(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_SET_TABLE, TABLE);
	immure_netlink_put_str(b, NFTA_SET_NAME, f->set);
	immure_netlink_put_be32(b, NFTA_SET_FLAGS, 0);
	immure_netlink_put_be32(b, NFTA_SET_KEY_TYPE, f->key_type);
	immure_netlink_put_be32(b, NFTA_SET_KEY_LEN, f->key_len);
	immure_netlink_put_be32(b, NFTA_SET_ID, f->set_id);
}

static void hand_over(struct immure_netlink *b, const struct immure_nftm_family *f, uint16_t port)
{
	uint16_t be_port = htons(port);
	struct immure_nftm_expr e;

	immure_nftm_immediate(b, NFT_REG_1, f->loopback, f->addr_len);
	immure_nftm_immediate(b, f->port_reg, &be_port, 2);
	e = immure_nftm_expr(b, "tproxy");
	immure_netlink_put_be32(b, NFTA_TPROXY_FAMILY, f->nfproto);
	immure_netlink_put_be32(b, NFTA_TPROXY_REG_ADDR, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_TPROXY_REG_PORT, f->port_reg);
	immure_nftm_expr_end(b, e);
	immure_nftm_verdict(b, NF_ACCEPT, NULL);
}

/* meta nfproto F meta l4proto tcp ip daddr . tcp dport @okF
 * tproxy to LOOPBACK:PORT accept */
static void put_rule(struct immure_netlink *b, const struct immure_nftm_family *f, uint16_t port)
{
	struct immure_nftm_expr e;
	size_t list;

	list = immure_nftm_rule(b, CHAIN);
	immure_nftm_meta_is(b, NFT_META_NFPROTO, f->nfproto);
	immure_nftm_meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	immure_nftm_load(b, NFT_PAYLOAD_NETWORK_HEADER, f->daddr_at, f->addr_len, NFT_REG_1);
	immure_nftm_load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, f->port_reg);
	e = immure_nftm_expr(b, "lookup");
	immure_netlink_put_str(b, NFTA_LOOKUP_SET, f->set);
	immure_netlink_put_be32(b, NFTA_LOOKUP_SET_ID, f->set_id);
	immure_netlink_put_be32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
	immure_nftm_expr_end(b, e);
	hand_over(b, f, port);
	immure_netlink_nest_end(b, list);
}

static void put_jump(struct immure_netlink *b, const char *chain)
{
	size_t list = immure_nftm_rule(b, CHAIN);

	immure_nftm_verdict(b, (uint32_t)NFT_JUMP, chain);
	immure_netlink_nest_end(b, list);
}

int immure_nft_open(int *ret_fd)
{
	int fd = immure_netlink_open(NETLINK_NETFILTER);

	if (fd < 0)
		return immure_nftm_missing(fd) ? IMMURE_NFT_MISSING : fd;
	*ret_fd = fd;
	return 0;
}

int immure_nft_setup(int fd, uint16_t port4, uint16_t port6)
{
	const uint16_t ports[2] = { port4, port6 };
	struct immure_netlink b;
	int r;

	immure_nftm_batch(&b);
	put_table(&b);
	immure_nftm_chain(&b, CHAIN, "filter", NF_INET_PRE_ROUTING, PRIORITY);
	/* Only a jump leads to these: what is rare and long does not stand in the way of
	 * what is common. */
	immure_nftm_chain(&b, CHAIN_RANGES, NULL, 0, 0);
	immure_nftm_chain(&b, CHAIN_NETS, NULL, 0, 0);
	for (size_t i = 0; i < 2; i++) {
		if (!ports[i])
			continue;
		put_set(&b, &immure_nftm_families[i]);
		put_rule(&b, &immure_nftm_families[i], ports[i]);
	}
	put_jump(&b, CHAIN_RANGES);
	put_jump(&b, CHAIN_NETS);
	r = immure_nftm_send(fd, &b);
	return immure_nftm_missing(r) ? IMMURE_NFT_MISSING : r;
}

/* ---- networks ---- */

static size_t nets_rule(struct immure_netlink *b, const char *chain,
			const struct immure_nftm_family *f, const uint8_t *addr, unsigned int bits)
{
	size_t list;

	list = immure_nftm_rule(b, chain);
	immure_nftm_meta_is(b, NFT_META_NFPROTO, f->nfproto);
	immure_nftm_meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	immure_nftm_in_network(b, f, addr, bits);
	return list;
}

static void put_net(struct immure_netlink *b, const char *chain, const struct immure_rtnl_net *n,
		    uint16_t port)
{
	const struct immure_nftm_family *f = &immure_nftm_families[n->v6];
	uint16_t lo = htons(n->lo), hi = htons(n->hi);
	size_t list = nets_rule(b, chain, f, n->addr, n->bits);

	immure_nftm_load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
	immure_nftm_compare(b, NFT_CMP_GTE, &lo, 2);
	immure_nftm_compare(b, NFT_CMP_LTE, &hi, 2);
	hand_over(b, f, port);
	immure_netlink_nest_end(b, list);
}

/* Here ends what is not inside loopback: servers of the sandbox's own and names
 * are not taken by a rule for 0.0.0.0/0. */
static void put_spared(struct immure_netlink *b, const struct immure_nftm_family *f,
		       const uint8_t *addr, unsigned int bits)
{
	size_t list = nets_rule(b, CHAIN_NETS, f, addr, bits);

	immure_nftm_verdict(b, (uint32_t)NFT_RETURN, NULL);
	immure_netlink_nest_end(b, list);
}

static bool is_loopback(const struct immure_rtnl_net *n)
{
	if (n->v6)
		return n->bits == 128 && memcmp(n->addr, immure_nftm_families[1].loopback, 16) == 0;
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
	r = immure_nftm_send(fd, b);
	immure_nftm_batch(b);
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

	immure_nftm_batch(&b);
	immure_nftm_message(&b, NFT_MSG_DELRULE, 0);
	immure_netlink_put_str(&b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(&b, NFTA_RULE_CHAIN, CHAIN_NETS);
	r = put_nets(fd, &b, nets, n, true, ports);
	for (size_t i = 0; i < 2 && n > 0 && r == 0; i++) {
		const struct immure_rtnl_range *own = i ? &spared->v6 : &spared->v4;

		r = room(fd, &b);
		if (r < 0)
			break;
		put_spared(&b, &immure_nftm_families[i], immure_nftm_families[i].loopback, i ? 128 : 8);
		r = room(fd, &b);
		if (r == 0)
			put_spared(&b, &immure_nftm_families[i], own->gateway, own->bits);
	}
	if (r == 0)
		r = put_nets(fd, &b, nets, n, false, ports);
	return r < 0 ? r : immure_nftm_send(fd, &b);
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
	immure_nftm_batch(&b);
	for (size_t i = 0; i < n; i++) {
		struct immure_rtnl_net one = { .v6 = l[i].at.v6, .bits = l[i].at.v6 ? 128 : 32,
					       .lo = l[i].lo, .hi = l[i].hi };
		uint16_t port = one.v6 ? port6 : port4;

		if (port == 0)
			return -EAFNOSUPPORT;
		memcpy(one.addr, l[i].at.addr, sizeof(one.addr));
		put_net(&b, CHAIN_RANGES, &one, port);
	}
	return immure_nftm_send(fd, &b);
}

int immure_nft_clear(int fd, bool pairs, bool with_v6)
{
	struct immure_netlink b;

	immure_nftm_batch(&b);
	for (size_t i = 0; pairs && i < (with_v6 ? 2U : 1U); i++) {
		immure_nftm_message(&b, NFT_MSG_DELSETELEM, 0);
		immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_TABLE, TABLE);
		immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_SET, immure_nftm_families[i].set);
	}
	immure_nftm_message(&b, NFT_MSG_DELRULE, 0);
	immure_netlink_put_str(&b, NFTA_RULE_TABLE, TABLE);
	immure_netlink_put_str(&b, NFTA_RULE_CHAIN, CHAIN_RANGES);
	return immure_nftm_send(fd, &b);
}

/* ---- elements ---- */

static void put_key(struct immure_netlink *b, const struct immure_nftm_family *f,
		    const struct immure_inet *p)
{
	size_t element = immure_netlink_nest(b, NFTA_LIST_ELEM);
	uint16_t be_port = htons(p->port);
	uint8_t key[20] = { 0 };

	memcpy(key, p->addr, f->addr_len);
	memcpy(key + f->addr_len, &be_port, 2);
	immure_nftm_value(b, NFTA_SET_ELEM_KEY, key, f->key_len);
	immure_netlink_nest_end(b, element);
}

static int change(int fd, uint16_t type, uint16_t flags, const struct immure_inet *pairs, size_t n)
{
	struct immure_netlink b;

	if (n == 0)
		return 0;
	if (n > IMMURE_NFT_PAIRS)
		return -E2BIG;
	immure_nftm_batch(&b);
	for (size_t i = 0; i < 2; i++) {
		bool begun = false;
		size_t list = 0;

		for (size_t k = 0; k < n; k++) {
			if (pairs[k].v6 != (i == 1))
				continue;
			if (!begun) {
				immure_nftm_message(&b, type, flags);
				immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_TABLE, TABLE);
				immure_netlink_put_str(&b, NFTA_SET_ELEM_LIST_SET, immure_nftm_families[i].set);
				list = immure_netlink_nest(&b, NFTA_SET_ELEM_LIST_ELEMENTS);
				begun = true;
			}
			put_key(&b, &immure_nftm_families[i], &pairs[k]);
		}
		if (begun)
			immure_netlink_nest_end(&b, list);
	}
	return immure_nftm_send(fd, &b);
}

int immure_nft_add(int fd, const struct immure_inet *pairs, size_t n)
{
	return change(fd, NFT_MSG_NEWSETELEM, NLM_F_CREATE, pairs, n);
}

int immure_nft_remove(int fd, const struct immure_inet *pairs, size_t n)
{
	return change(fd, NFT_MSG_DELSETELEM, 0, pairs, n);
}
