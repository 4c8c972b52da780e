/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

static size_t aligned(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static bool room(struct immure_netlink *b, size_t len)
{
	if (b->overflow || len > sizeof(b->data) - b->len) {
		b->overflow = true;
		return false;
	}
	return true;
}

/* The message's length covers all that was written since it began. */
static void grow(struct immure_netlink *b)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b->data + b->msg);

	h->nlmsg_len = (uint32_t)(b->len - b->msg);
}

void immure_netlink_init(struct immure_netlink *b, uint32_t first)
{
	b->len = b->msg = 0;
	b->first = b->next = first;
	b->overflow = false;
}

void immure_netlink_begin(struct immure_netlink *b, uint16_t type, uint16_t flags,
			  const void *head, size_t len)
{
	struct nlmsghdr *h;

	if (!room(b, sizeof(*h) + aligned(len)))
		return;
	b->msg = b->len;
	h = (struct nlmsghdr *)(void *)(b->data + b->msg);
	memset(h, 0, sizeof(*h) + aligned(len));
	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = b->next++;
	memcpy(h + 1, head, len);
	b->len += sizeof(*h) + aligned(len);
	grow(b);
}

void immure_netlink_put(struct immure_netlink *b, uint16_t type, const void *data, size_t len)
{
	struct nlattr *a;

	if (!room(b, sizeof(*a) + aligned(len)))
		return;
	a = (struct nlattr *)(void *)(b->data + b->len);
	memset(a, 0, sizeof(*a) + aligned(len));
	a->nla_len = (uint16_t)(sizeof(*a) + len);
	a->nla_type = type;
	if (len)
		memcpy(a + 1, data, len);
	b->len += sizeof(*a) + aligned(len);
	grow(b);
}

void immure_netlink_put_u32(struct immure_netlink *b, uint16_t type, uint32_t v)
{
	immure_netlink_put(b, type, &v, sizeof(v));
}

void immure_netlink_put_be32(struct immure_netlink *b, uint16_t type, uint32_t v)
{
	v = htonl(v);
	immure_netlink_put(b, type, &v, sizeof(v));
}

void immure_netlink_put_str(struct immure_netlink *b, uint16_t type, const char *s)
{
	immure_netlink_put(b, type, s, strlen(s) + 1);
}

size_t immure_netlink_nest(struct immure_netlink *b, uint16_t type)
{
	size_t at = b->len;

	immure_netlink_put(b, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void immure_netlink_nest_end(struct immure_netlink *b, size_t at)
{
	struct nlattr *a;

	if (b->overflow)
		return;
	a = (struct nlattr *)(void *)(b->data + at);
	a->nla_len = (uint16_t)(b->len - at);
}

void immure_netlink_want_ack(struct immure_netlink *b)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b->data + b->msg);

	if (!b->overflow && b->len)
		h->nlmsg_flags |= NLM_F_ACK;
}

int immure_netlink_open(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), on = 1;

	if (fd < 0)
		return -errno;
	/* Answers without a copy of the message, so that all of them fit into
	 * the receive queue; where that is refused they are only longer. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return fd;
}

struct answers {
	bool acked;
	bool failed;
	uint32_t failed_seq;
	int error;
};

static void note(struct answers *r, const struct immure_netlink *b, const unsigned char *at,
		 size_t len)
{
	while (len >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		int32_t code;

		memcpy(&h, at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len)
			return;
		if (h.nlmsg_type == NLMSG_ERROR && h.nlmsg_len >= sizeof(h) + sizeof(code) &&
		    h.nlmsg_seq - b->first < b->next - b->first) {
			memcpy(&code, at + sizeof(h), sizeof(code));
			/* The first is the one that is told; the others tend to be
			 * its consequences. */
			if (code < 0 && (!r->failed || h.nlmsg_seq - b->first <
							r->failed_seq - b->first)) {
				r->failed = true;
				r->failed_seq = h.nlmsg_seq;
				r->error = code;
			} else if (code == 0) {
				r->acked = true;
			}
		}
		if (aligned(h.nlmsg_len) >= len)
			return;
		at += aligned(h.nlmsg_len);
		len -= aligned(h.nlmsg_len);
	}
}

int immure_netlink_send(int fd, const struct immure_netlink *b, size_t *ret_failed)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(4) unsigned char in[4096];
	struct answers r = { 0 };
	ssize_t n;

	if (b->overflow)
		return -EMSGSIZE;
	n = sendto(fd, b->data, b->len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	if (n < 0)
		return -errno;
	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof(from);

		n = recvfrom(fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&from,
			     &from_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno; /* ENOBUFS: answers were lost */
		if (n <= 0)
			break;
		if (from.nl_pid == 0) /* only the kernel's word counts */
			note(&r, b, in, (size_t)n);
	}
	if (r.failed) {
		if (ret_failed)
			*ret_failed = r.failed_seq - b->first;
		return r.error;
	}
	return r.acked ? 0 : -EPROTO;
}
