/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/own.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

enum { MOST = 65536 };

static int grow(struct immure_own *o)
{
	size_t cap = o->cap ? o->cap * 2 : 16;
	struct immure_judge_net *l;

	if (o->n < o->cap)
		return 0;
	if (o->n >= MOST)
		return -E2BIG;
	l = realloc(o->net, cap * sizeof(*l));
	if (!l)
		return -ENOMEM;
	o->net = l;
	o->cap = cap;
	return 0;
}

static int add(struct immure_own *o, int family, const unsigned char *bytes)
{
	struct immure_judge_net *l;
	int r = grow(o);

	if (r < 0)
		return r;
	l = &o->net[o->n++];
	memset(l, 0, sizeof(*l));
	l->kind = family == AF_INET ? IMMURE_HOST_NET4 : IMMURE_HOST_NET6;
	l->bits = family == AF_INET ? 32 : 128;
	memcpy(l->address, bytes, l->bits / 8);
	if (family == AF_INET6 && (bytes[0] & 0xe0) == 0x20)
		o->global6 = true;
	if (family == AF_INET6 && (bytes[0] & 0xfe) == 0xfc) /* ULA: may be routed here */
		o->global6 = true;
	return 0;
}

static int one_address(struct immure_own *o, const unsigned char *at, size_t len)
{
	struct ifaddrmsg m;
	size_t i = NLMSG_ALIGN(sizeof(m));

	if (len < sizeof(m))
		return -EBADMSG;
	memcpy(&m, at, sizeof(m));
	if (m.ifa_family != AF_INET && m.ifa_family != AF_INET6)
		return 0;
	while (i + sizeof(struct rtattr) <= len) {
		struct rtattr a;
		size_t want = m.ifa_family == AF_INET ? 4 : 16;
		int r = 0;

		memcpy(&a, at + i, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > len - i)
			return -EBADMSG;
		/* Of a tunnel, IFA_ADDRESS is the far end: refused all the same. */
		if ((a.rta_type == IFA_LOCAL || a.rta_type == IFA_ADDRESS) &&
		    a.rta_len == sizeof(a) + want)
			r = add(o, m.ifa_family, at + i + sizeof(a));
		if (r < 0)
			return r;
		i += RTA_ALIGN(a.rta_len);
	}
	return 0;
}

/* 1: the dump is complete. */
static int take(struct immure_own *o, const unsigned char *at, size_t len, uint32_t seq)
{
	while (len >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		int r = 0;

		memcpy(&h, at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len)
			return -EBADMSG;
		if (h.nlmsg_seq == seq) { /* others are notices: the dump is newer */
			if (h.nlmsg_flags & NLM_F_DUMP_INTR)
				return -EAGAIN;
			if (h.nlmsg_type == NLMSG_DONE)
				return 1;
			if (h.nlmsg_type == NLMSG_ERROR)
				return -EIO;
			if (h.nlmsg_type == RTM_NEWADDR)
				r = one_address(o, at + sizeof(h), h.nlmsg_len - sizeof(h));
			if (r < 0)
				return r;
		}
		if (NLMSG_ALIGN(h.nlmsg_len) >= len)
			return 0;
		at += NLMSG_ALIGN(h.nlmsg_len);
		len -= NLMSG_ALIGN(h.nlmsg_len);
	}
	return 0;
}

static int dump(struct immure_own *o, uint32_t seq)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} ask = { .h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETADDR, .nlmsg_seq = seq,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(8) unsigned char in[32768];
	int r = 0;

	if (sendto(o->fd, &ask, sizeof(ask), 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	/* The kernel fills the queue while it is read: it never runs dry before the
	 * end. */
	while (r == 0) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(o->fd, in, sizeof(in), MSG_DONTWAIT | MSG_TRUNC,
				     (struct sockaddr *)&from, &len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS)
			return -EAGAIN; /* notices were lost: once more */
		if (n < 0)
			return errno == EAGAIN ? -EIO : -errno;
		if ((size_t)n > sizeof(in))
			return -EMSGSIZE;
		if (from.nl_pid == 0)
			r = take(o, in, (size_t)n, seq);
	}
	return r < 0 ? r : 0;
}

int immure_own_refresh(struct immure_own *o)
{
	struct immure_own fresh = { .fd = o->fd, .fixed = o->fixed };
	int r = 0;

	/* What the synthetic prefixes are is not the kernel's to say. */
	for (size_t i = 0; i < o->fixed && r == 0; i++) {
		r = grow(&fresh);
		if (r == 0)
			fresh.net[fresh.n++] = o->net[i];
	}
	if (r < 0)
		goto fail;
	r = -EAGAIN;
	for (uint32_t i = 0; i < 8 && r == -EAGAIN; i++) {
		fresh.n = fresh.fixed;
		fresh.global6 = false;
		r = dump(&fresh, 1 + i);
	}
	if (r < 0)
		goto fail;
	free(o->net);
	*o = fresh;
	return 0;
fail:
	free(fresh.net);
	return r;
}

int immure_own_init(struct immure_own *o, const struct immure_judge_net *fixed, size_t n)
{
	struct sockaddr_nl me = { .nl_family = AF_NETLINK,
				  .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	int r;

	memset(o, 0, sizeof(*o));
	o->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (o->fd < 0)
		return -errno;
	if (bind(o->fd, (struct sockaddr *)&me, sizeof(me)) < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		r = grow(o);
		if (r < 0)
			return r;
		o->net[o->n++] = fixed[i];
	}
	o->fixed = n;
	return immure_own_refresh(o);
}

void immure_own_done(struct immure_own *o)
{
	immure_close(&o->fd);
	free(o->net);
	memset(o, 0, sizeof(*o));
	o->fd = -1;
}
