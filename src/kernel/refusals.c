/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/refusals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "kernel/netlink.h"
#include "kernel/nftmsg.h"

#define CHAIN_REFUSED "refused" /* SYNs that nobody is handed */
#define CHAIN_RESET "reset"
#define CHAIN_DATAGRAMS "datagrams"
#define CHAIN_BOUND "bound" /* what was prohibited and went on */
#define UNTOLD "untold"

/* Marks of packets: routed again as prohibited (rtnl.c has a rule for it), and to be reset. */
enum { MARK_PROHIBIT = IMMURE_RTNL_MARK, MARK_RESET };
enum { QUEUE = 0, GROUP = 1, COPY = 128, HELD_MAX = IMMURE_REFUSALS_BURST * 2 };

/* Of a socket's buffer: HELD_MAX messages and what comes while nobody reads. By default there is
 * room for little more than one burst. */
enum { ROOM = 1 << 20 };

/* ---- expressions ---- */

static void put_be16(struct immure_netlink *b, uint16_t type, uint16_t v)
{
	uint16_t be = htons(v);

	immure_netlink_put(b, type, &be, sizeof(be));
}

static void put_be64(struct immure_netlink *b, uint16_t type, uint32_t v)
{
	const uint32_t be[2] = { 0, htonl(v) };

	immure_netlink_put(b, type, be, sizeof(be));
}

static void mark_is(struct immure_netlink *b, uint32_t mark)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "meta");

	immure_netlink_put_be32(b, NFTA_META_KEY, NFT_META_MARK);
	immure_netlink_put_be32(b, NFTA_META_DREG, NFT_REG_1);
	immure_nftm_expr_end(b, e);
	immure_nftm_compare(b, NFT_CMP_EQ, &mark, sizeof(mark));
}

static void set_mark(struct immure_netlink *b, uint32_t mark)
{
	struct immure_nftm_expr e;

	immure_nftm_immediate(b, NFT_REG_1, &mark, sizeof(mark));
	e = immure_nftm_expr(b, "meta");
	immure_netlink_put_be32(b, NFTA_META_KEY, NFT_META_MARK);
	immure_netlink_put_be32(b, NFTA_META_SREG, NFT_REG_1);
	immure_nftm_expr_end(b, e);
}

static void limit(struct immure_netlink *b)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "limit");

	put_be64(b, NFTA_LIMIT_RATE, IMMURE_REFUSALS_A_SECOND);
	put_be64(b, NFTA_LIMIT_UNIT, 1);
	immure_netlink_put_be32(b, NFTA_LIMIT_BURST, IMMURE_REFUSALS_BURST);
	immure_netlink_put_be32(b, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	immure_nftm_expr_end(b, e);
}

/* A first packet: SYN without ACK, RST or FIN. */
static void is_syn(struct immure_netlink *b)
{
	const uint8_t mask = 0x17, none = 0, syn = 0x02;
	struct immure_nftm_expr e;

	immure_nftm_meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	immure_nftm_load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG_1);
	e = immure_nftm_expr(b, "bitwise");
	immure_netlink_put_be32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	immure_netlink_put_be32(b, NFTA_BITWISE_LEN, 1);
	immure_nftm_value(b, NFTA_BITWISE_MASK, &mask, 1);
	immure_nftm_value(b, NFTA_BITWISE_XOR, &none, 1);
	immure_nftm_expr_end(b, e);
	immure_nftm_compare(b, NFT_CMP_EQ, &syn, 1);
}

/* Without a reader the packet goes on. compat: the same by way of xtables, for kernels
 * that were built without the expression. */
static void hold(struct immure_netlink *b, bool compat)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, compat ? "target" : "queue");
	const uint16_t info[4] = { QUEUE, 1, 1 }; /* struct xt_NFQ_info_v2: number, of, bypass */

	if (compat) {
		immure_netlink_put_str(b, NFTA_TARGET_NAME, "NFQUEUE");
		immure_netlink_put_be32(b, NFTA_TARGET_REV, 2);
		immure_netlink_put(b, NFTA_TARGET_INFO, info, sizeof(info));
	} else {
		put_be16(b, NFTA_QUEUE_NUM, QUEUE);
		put_be16(b, NFTA_QUEUE_TOTAL, 1);
		put_be16(b, NFTA_QUEUE_FLAGS, NFT_QUEUE_FLAG_BYPASS);
	}
	immure_nftm_expr_end(b, e);
}

static void copy(struct immure_netlink *b)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "log");

	put_be16(b, NFTA_LOG_GROUP, GROUP);
	immure_netlink_put_be32(b, NFTA_LOG_SNAPLEN, COPY);
	put_be16(b, NFTA_LOG_QTHRESHOLD, 1); /* at once, not by the dozen */
	immure_nftm_expr_end(b, e);
}

static void reset(struct immure_netlink *b)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "reject");
	const uint8_t code = 0;

	immure_netlink_put_be32(b, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
	immure_netlink_put(b, NFTA_REJECT_ICMP_CODE, &code, 1);
	immure_nftm_expr_end(b, e);
}

static void count(struct immure_netlink *b)
{
	struct immure_nftm_expr e = immure_nftm_expr(b, "objref");

	immure_netlink_put_be32(b, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	immure_netlink_put_str(b, NFTA_OBJREF_IMM_NAME, UNTOLD);
	immure_nftm_expr_end(b, e);
}

/* ---- rules ---- */

static void put_counter(struct immure_netlink *b)
{
	immure_nftm_message(b, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL);
	immure_netlink_put_str(b, NFTA_OBJ_TABLE, IMMURE_NFTM_TABLE);
	immure_netlink_put_str(b, NFTA_OBJ_NAME, UNTOLD);
	immure_netlink_put_be32(b, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
	immure_netlink_nest_end(b, immure_netlink_nest(b, NFTA_OBJ_DATA));
}

/* What stays inside is nobody's business: this chain's verdict for it. */
static void put_inside(struct immure_netlink *b, const char *chain,
		       const struct immure_rtnl_setup *s, uint32_t verdict)
{
	for (size_t i = 0; i < (s->with_v6 ? 2U : 1U); i++) {
		const struct immure_nftm_family *f = &immure_nftm_families[i];
		const uint8_t *gateway = i ? s->v6.gateway : s->v4.gateway;

		for (int k = 0; k < 2; k++) {
			size_t list = immure_nftm_rule(b, chain);

			immure_nftm_meta_is(b, NFT_META_NFPROTO, f->nfproto);
			immure_nftm_in_network(b, f, k ? gateway : f->loopback,
					       f->addr_len * 8U - (i || k ? 0U : 24U));
			immure_nftm_verdict(b, verdict, NULL);
			immure_netlink_nest_end(b, list);
		}
	}
}

static void put_streams(struct immure_netlink *b, const struct immure_rtnl_setup *s, bool compat)
{
	size_t list;

	immure_nftm_chain(b, CHAIN_REFUSED, NULL, 0, 0);
	put_inside(b, CHAIN_REFUSED, s, (uint32_t)NFT_RETURN);
	list = immure_nftm_rule(b, CHAIN_REFUSED);
	set_mark(b, MARK_RESET);
	limit(b);
	hold(b, compat);
	immure_netlink_nest_end(b, list);
	list = immure_nftm_rule(b, CHAIN_REFUSED); /* what the limit left */
	count(b);
	immure_netlink_nest_end(b, list);
	list = immure_nftm_rule(b, IMMURE_NFTM_NAMES);
	is_syn(b);
	immure_nftm_verdict(b, (uint32_t)NFT_JUMP, CHAIN_REFUSED);
	immure_netlink_nest_end(b, list);
	/* On the way in, because that is where every kernel can answer. By a reset, whatever
	 * was meant: an ICMP message that says more is lost where the socket is just in use. */
	immure_nftm_chain(b, CHAIN_RESET, "filter", NF_INET_LOCAL_IN, 0);
	list = immure_nftm_rule(b, CHAIN_RESET);
	mark_is(b, MARK_RESET);
	immure_nftm_meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	reset(b);
	immure_netlink_nest_end(b, list);
}

/* A chain of the type "route" looks up the route of what it has marked again, and what
 * that lookup says is what the sender is told. */
static void put_datagrams(struct immure_netlink *b, const struct immure_rtnl_setup *s)
{
	size_t list;

	immure_nftm_chain(b, CHAIN_DATAGRAMS, "route", NF_INET_LOCAL_OUT, -150);
	list = immure_nftm_rule(b, CHAIN_DATAGRAMS);
	immure_nftm_meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
	immure_nftm_verdict(b, NF_ACCEPT, NULL);
	immure_netlink_nest_end(b, list);
	put_inside(b, CHAIN_DATAGRAMS, s, NF_ACCEPT);
	list = immure_nftm_rule(b, CHAIN_DATAGRAMS);
	set_mark(b, MARK_PROHIBIT);
	limit(b);
	copy(b);
	immure_nftm_verdict(b, NF_ACCEPT, NULL);
	immure_netlink_nest_end(b, list);
	list = immure_nftm_rule(b, CHAIN_DATAGRAMS);
	count(b);
	immure_netlink_nest_end(b, list);
	/* Of IPv4 a socket that is bound to a device takes "prohibited" for "no route known, so on
	 * that link": it would be sent to nobody, and whoever waits for an answer waited. */
	immure_nftm_chain(b, CHAIN_BOUND, "filter", NF_INET_LOCAL_OUT, 0);
	list = immure_nftm_rule(b, CHAIN_BOUND);
	mark_is(b, MARK_PROHIBIT);
	immure_nftm_verdict(b, NF_DROP, NULL);
	immure_netlink_nest_end(b, list);
}

static int put_rules(int fd, const struct immure_rtnl_setup *s, bool compat)
{
	struct immure_netlink b;

	immure_nftm_batch(&b);
	put_counter(&b);
	put_streams(&b, s, compat);
	put_datagrams(&b, s);
	return immure_nftm_send(fd, &b);
}

/* ---- the socket ---- */

static void config(struct immure_netlink *b, uint16_t subsystem, uint16_t resource)
{
	struct nfgenmsg m = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0,
			      .res_id = htons(resource) };
	/* Both have one message that configures. */
	const uint16_t type = subsystem == NFNL_SUBSYS_QUEUE ? (uint16_t)NFQNL_MSG_CONFIG :
							       (uint16_t)NFULNL_MSG_CONFIG;

	immure_netlink_begin(b, (uint16_t)(subsystem << 8 | type), 0, &m, sizeof(m));
}

/* What is full lets packets go on: refused without being told, not held for ever. */
static void bind_queue(struct immure_netlink *b)
{
	const struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };
	const struct nfqnl_msg_config_params params = { .copy_range = htonl(COPY),
							.copy_mode = NFQNL_COPY_PACKET };

	config(b, NFNL_SUBSYS_QUEUE, QUEUE);
	immure_netlink_put(b, NFQA_CFG_CMD, &cmd, sizeof(cmd));
	immure_netlink_put(b, NFQA_CFG_PARAMS, &params, sizeof(params));
	immure_netlink_put_be32(b, NFQA_CFG_QUEUE_MAXLEN, HELD_MAX);
	immure_netlink_put_be32(b, NFQA_CFG_MASK, NFQA_CFG_F_FAIL_OPEN);
	immure_netlink_put_be32(b, NFQA_CFG_FLAGS, NFQA_CFG_F_FAIL_OPEN);
}

static void bind_log(struct immure_netlink *b)
{
	const struct nfulnl_msg_config_cmd cmd = { .command = NFULNL_CFG_CMD_BIND };
	const struct nfulnl_msg_config_mode mode = { .copy_range = htonl(COPY),
						     .copy_mode = NFULNL_COPY_PACKET };

	config(b, NFNL_SUBSYS_ULOG, GROUP);
	immure_netlink_put(b, NFULA_CFG_CMD, &cmd, sizeof(cmd));
	immure_netlink_put(b, NFULA_CFG_MODE, &mode, sizeof(mode));
}

int immure_refusals_setup(int nft_fd, const struct immure_rtnl_setup *s, bool native, int *ret_fd)
{
	IMMURE_CLEANUP_FD int fd = immure_netlink_open(NETLINK_NETFILTER);
	struct immure_netlink b;
	int on = 1, room = ROOM, r;

	if (fd < 0)
		return immure_nftm_missing(fd) ? IMMURE_REFUSALS_MISSING : fd;
	/* Without it the kernel would answer a full queue with an error and not go on. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	/* As much as the host lets anybody have; what finds no room is counted (dropped()). */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	immure_netlink_init(&b, 1);
	bind_queue(&b);
	bind_log(&b);
	immure_netlink_want_ack(&b);
	r = immure_netlink_send(fd, &b, NULL);
	/* Asked for in this order because looking for a module that is missing takes long. */
	if (r == 0 && !native)
		r = put_rules(nft_fd, s, true);
	if (native ? r == 0 : immure_nftm_missing(r))
		r = put_rules(nft_fd, s, false);
	if (r < 0)
		return immure_nftm_missing(r) || r == -EINVAL ? IMMURE_REFUSALS_MISSING : r;
	*ret_fd = immure_take_fd(&fd);
	return 0;
}

static int let_go(int fd, uint16_t type, uint32_t number)
{
	const struct nfqnl_msg_verdict_hdr v = { .verdict = htonl(NF_ACCEPT), .id = htonl(number) };
	struct nfgenmsg m = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0,
			      .res_id = htons(QUEUE) };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct immure_netlink b;

	immure_netlink_init(&b, 1);
	immure_netlink_begin(&b, (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type), 0, &m, sizeof(m));
	immure_netlink_put(&b, NFQA_VERDICT_HDR, &v, sizeof(v));
	/* No answer is waited for: between packets it would not be found. */
	return sendto(fd, b.data, b.len, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ?
		       -errno : 0;
}

int immure_refusals_let_go(int fd, uint32_t number)
{
	return let_go(fd, NFQNL_MSG_VERDICT, number);
}

int immure_refusals_let_go_until(int fd, uint32_t number)
{
	return let_go(fd, NFQNL_MSG_VERDICT_BATCH, number);
}

/* ---- the counter ---- */

/* Attribute `type` among these, its contents. */
static bool find(const uint8_t *at, size_t len, uint16_t type, const uint8_t **ret, size_t *ret_len)
{
	while (len >= sizeof(struct nlattr)) {
		struct nlattr a;
		size_t whole;

		memcpy(&a, at, sizeof(a));
		if (a.nla_len < sizeof(a) || a.nla_len > len)
			return false;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			*ret = at + sizeof(a);
			*ret_len = a.nla_len - sizeof(a);
			return true;
		}
		whole = (a.nla_len + 3U) & ~(size_t)3;
		if (whole >= len)
			return false;
		at += whole;
		len -= whole;
	}
	return false;
}

int immure_refusals_untold(int nft_fd, uint64_t *ret)
{
	const size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(8) uint8_t in[2048];
	const uint8_t *data, *packets;
	size_t data_len, packets_len;
	struct immure_netlink b;
	struct nlmsghdr h;
	ssize_t n;

	immure_netlink_init(&b, 1);
	immure_nftm_message(&b, NFT_MSG_GETOBJ_RESET, 0);
	immure_netlink_put_str(&b, NFTA_OBJ_TABLE, IMMURE_NFTM_TABLE);
	immure_netlink_put_str(&b, NFTA_OBJ_NAME, UNTOLD);
	immure_netlink_put_be32(&b, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
	if (sendto(nft_fd, b.data, b.len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	/* It has answered by now (netlink.h). */
	n = recv(nft_fd, in, sizeof(in), MSG_DONTWAIT);
	if (n < (ssize_t)head)
		return n < 0 ? -errno : -EPROTO;
	memcpy(&h, in, sizeof(h));
	if (h.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWOBJ) ||
	    !find(in + head, (size_t)n - head, NFTA_OBJ_DATA, &data, &data_len) ||
	    !find(data, data_len, NFTA_COUNTER_PACKETS, &packets, &packets_len) || packets_len != 8)
		return -EPROTO;
	*ret = 0;
	for (int i = 0; i < 8; i++)
		*ret = *ret << 8 | packets[i];
	return 0;
}

uint32_t immure_refusals_dropped(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ||
	    len <= SK_MEMINFO_DROPS * sizeof(info[0]))
		return 0;
	return info[SK_MEMINFO_DROPS];
}

/* ---- packets ---- */

struct bytes {
	const uint8_t *at;
	size_t len;
};

static void ports(const struct bytes *p, size_t at, struct immure_refusal *ret)
{
	if (ret->protocol != IPPROTO_TCP && ret->protocol != IPPROTO_UDP &&
	    ret->protocol != IPPROTO_UDPLITE)
		return;
	if (p->len < at + 4)
		return;
	ret->source.port = (uint16_t)(p->at[at] << 8 | p->at[at + 1]);
	ret->meant.port = (uint16_t)(p->at[at + 2] << 8 | p->at[at + 3]);
}

static bool packet4(const struct bytes *p, struct immure_refusal *ret)
{
	size_t head = (p->at[0] & 15U) * 4U;

	if (p->len < 20 || head < 20)
		return false;
	ret->protocol = p->at[9];
	memcpy(ret->source.addr, p->at + 12, 4);
	memcpy(ret->meant.addr, p->at + 16, 4);
	ports(p, head, ret);
	return true;
}

/* Behind these headers of IPv6 comes another one: hop by hop, routing, destination. */
static bool packet6(const struct bytes *p, struct immure_refusal *ret)
{
	size_t at = 40;

	if (p->len < 40)
		return false;
	ret->source.v6 = ret->meant.v6 = true;
	memcpy(ret->source.addr, p->at + 8, 16);
	memcpy(ret->meant.addr, p->at + 24, 16);
	ret->protocol = p->at[6];
	for (int i = 0; i < 8 && (ret->protocol == IPPROTO_HOPOPTS || ret->protocol == IPPROTO_ROUTING ||
				  ret->protocol == IPPROTO_DSTOPTS) && p->len >= at + 8; i++) {
		ret->protocol = p->at[at];
		at += (p->at[at + 1] + 1U) * 8U;
	}
	ports(p, at, ret);
	return true;
}

/* false: it is no refusal. */
static bool message(uint16_t type, const uint8_t *at, size_t len, struct immure_refusal *ret)
{
	bool queue = type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET);
	const uint8_t *number;
	size_t number_len;
	struct bytes p;

	*ret = (struct immure_refusal){ .held = queue };
	if (queue) {
		if (!find(at, len, NFQA_PACKET_HDR, &number, &number_len) || number_len < 4)
			return false;
		memcpy(&ret->number, number, 4);
		ret->number = ntohl(ret->number);
	} else if (type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET)) {
		return false;
	}
	/* What is held is a refusal even where it cannot be read: it must be let go. */
	if (!find(at, len, queue ? (uint16_t)NFQA_PAYLOAD : (uint16_t)NFULA_PAYLOAD, &p.at, &p.len) ||
	    p.len == 0)
		return queue;
	if (p.at[0] >> 4 == 4)
		return packet4(&p, ret) || queue;
	return (p.at[0] >> 4 == 6 && packet6(&p, ret)) || queue;
}

size_t immure_refusals_decode(const void *data, size_t len, struct immure_refusal *ret, size_t max)
{
	const uint8_t *at = data;
	size_t n = 0;

	while (n < max && len >= sizeof(struct nlmsghdr)) {
		const size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);
		struct nlmsghdr h;
		size_t whole;

		memcpy(&h, at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len)
			break;
		if (h.nlmsg_len >= head && message(h.nlmsg_type, at + head, h.nlmsg_len - head, &ret[n]))
			n++;
		whole = (h.nlmsg_len + 3U) & ~(size_t)3;
		if (whole >= len)
			break;
		at += whole;
		len -= whole;
	}
	return n;
}

int immure_refusals_read(int fd, struct immure_refusal *ret, size_t max)
{
	_Alignas(8) uint8_t data[8192];
	struct sockaddr_nl from = { 0 };
	socklen_t from_len = sizeof(from);
	ssize_t n;

	do
		n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return from.nl_pid == 0 ? (int)immure_refusals_decode(data, (size_t)n, ret, max) : 0;
}
