/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's side of its network: routes, rules and sockets are made here,
 * while init still has the capabilities for it, and handed to the supervisor.
 * Nothing of it stays: whoever looks from inside finds addresses that answer and
 * no socket to act on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"
#include "init/serving.h"
#include "kernel/netplumb.h"
#include "policy/netrule.h"

_Static_assert((int)IMMURE_NETPLUMB_MAX <= (int)IMMURE_INIT_NET_NOTIFY, "one bit for each descriptor");

static int parse(const char *text, enum immure_host_kind *ret_kind, uint8_t ret_address[16],
		 unsigned int *ret_bits)
{
	struct immure_complaint c;

	memset(ret_address, 0, 16);
	return immure_network_parse(text, ret_kind, ret_address, ret_bits, &c);
}

static int range(const char *text, struct immure_rtnl_range *ret)
{
	enum immure_host_kind kind;
	uint8_t address[16];
	unsigned int bits;
	int r = parse(text, &kind, address, &bits);

	return r < 0 ? r : immure_rtnl_range_from(kind == IMMURE_HOST_NET6, address, bits, ret);
}

static int collect(const struct immure_plan *p, struct immure_rtnl_net *nets, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		enum immure_host_kind kind;
		unsigned int bits;
		int r;

		if (op->kind != IMMURE_OP_EGRESS_NET)
			continue;
		if (n == IMMURE_NETPLUMB_NETS_MAX)
			return -E2BIG;
		r = parse(op->src, &kind, nets[n].addr, &bits);
		if (r < 0)
			return r;
		nets[n].v6 = kind == IMMURE_HOST_NET6;
		nets[n].bits = (uint8_t)bits;
		nets[n].lo = (uint16_t)op->num[0];
		nets[n].hi = (uint16_t)op->num[1];
		n++;
	}
	*ret_n = n;
	return 0;
}

static int make(const struct immure_plan *p, const struct immure_op *op,
		struct immure_netplumb *ret, const char **ret_what)
{
	struct immure_rtnl_net nets[IMMURE_NETPLUMB_NETS_MAX];
	struct immure_netplumb_config c = { .spare = IMMURE_NETPLUMB_SPARE, .nets = nets };
	int r;

	if (!op)
		return immure_netplumb_spare(IMMURE_NETPLUMB_SPARE, ret);
	c.proxy = op->num[0] != 0;
	c.routes.with_v6 = true;
	r = range(op->src, &c.routes.v4);
	if (r == 0)
		r = range(op->dst, &c.routes.v6);
	if (r == 0)
		r = collect(p, nets, &c.nets_n);
	return r < 0 ? r : immure_netplumb_make(&c, ret, ret_what);
}

static int send_all(int to, const struct immure_netplumb *p, const int ns[2])
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMMURE_INIT_FDS_MAX * sizeof(int))];
	} control = { .space = { 0 } };
	struct immure_init_msg m = { .type = IMMURE_INIT_NETWORK };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space };
	int fds[IMMURE_INIT_FDS_MAX];
	size_t n = 0;

	m.net_flags = (p->with_v6 ? IMMURE_INIT_NET_V6 : 0) | (p->with_nft ? IMMURE_INIT_NET_NFT : 0) |
		      (p->ports_relaxed ? IMMURE_INIT_NET_PORTS : 0);
	for (unsigned int i = 0; i < IMMURE_NETPLUMB_MAX; i++) {
		if (p->fd[i] < 0)
			continue;
		m.net_fds |= 1U << i;
		fds[n++] = p->fd[i];
	}
	for (unsigned int i = 0; i < 2; i++) {
		m.net_fds |= 1U << (IMMURE_INIT_NET_USERNS + i);
		fds[n++] = ns[i];
	}
	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	return sendmsg(to, &msg, MSG_NOSIGNAL) == sizeof(m) ? 0 : -errno;
}

int immure_init_plumb(const struct immure_plan *plan, const int ns[2], int to, const char **ret_what)
{
	struct immure_netplumb p;
	int r = make(plan, immure_plan_find(plan, IMMURE_OP_EGRESS), &p, ret_what);

	if (r < 0)
		return r;
	*ret_what = "network handover";
	r = send_all(to, &p, ns);
	immure_netplumb_done(&p);
	return r;
}

int immure_init_egress(const struct immure_init *in, struct immure_init_step *step)
{
	if (!immure_plan_find(in->plan, IMMURE_OP_EGRESS) &&
	    !immure_plan_find(in->plan, IMMURE_OP_PUBLISH))
		return 0;
	step->stage = IMMURE_STAGE_NETWORK;
	step->subject = "network plumbing";
	IMMURE_CLEANUP_FD int user = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	IMMURE_CLEANUP_FD int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (user < 0 || net < 0)
		return -errno;
	return immure_init_plumb(in->plan, (int[2]){ user, net }, in->report_fd, &step->subject);
}

int immure_init_hand_listener(const struct immure_init *in, int fd)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_NETWORK,
				     .net_fds = 1U << IMMURE_INIT_NET_NOTIFY };

	if (in->unanswered)
		m = (struct immure_init_msg){ .type = IMMURE_INIT_LISTENER };
	return immure_init_send(in->report_fd, &m, sizeof(m), &fd, 1, 0);
}
