/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/lendmsg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "egress/http1.h"

#define HEAD offsetof(struct immure_lend_msg, begin)

/* false: no such type. */
static bool shape_of(uint32_t type, size_t *ret_len, size_t *ret_fds)
{
	const struct immure_lend_msg *m = NULL;

	*ret_fds = 0;
	*ret_len = 0;
	switch ((enum immure_lend_type)type) {
	case IMMURE_LEND_BEGIN:
		*ret_len = sizeof(m->begin);
		*ret_fds = 3;
		return true;
	case IMMURE_LEND_SECRET:
		*ret_len = sizeof(m->secret);
		*ret_fds = 1;
		return true;
	case IMMURE_LEND_LINK:
	case IMMURE_LEND_POLICY:
		*ret_fds = 1;
		return true;
	case IMMURE_LEND_LEND:
		*ret_len = sizeof(m->lend);
		*ret_fds = 2;
		return true;
	case IMMURE_LEND_MARK:
		*ret_len = sizeof(m->mark);
		return true;
	case IMMURE_LEND_AUTHORITY:
		*ret_len = sizeof(m->authority);
		return true;
	case IMMURE_LEND_DONE:
	case IMMURE_LEND_FAILED:
		*ret_len = sizeof(m->done);
		return true;
	case IMMURE_LEND_DENIED:
		*ret_len = sizeof(m->denied);
		return true;
	case IMMURE_LEND_RETURN:
		*ret_len = sizeof(m->returned);
		return true;
	}
	return false;
}

static bool text_ok(const char *s, size_t cap)
{
	for (size_t i = 0; i < cap && s[i]; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return memchr(s, '\0', cap);
}

static bool inet_ok(const struct immure_inet *a)
{
	unsigned char v6;

	memcpy(&v6, &a->v6, 1); /* any other value in a bool is undefined to look at */
	return v6 <= 1;
}

static bool content_ok(const struct immure_lend_msg *m)
{
	switch (m->type) {
	case IMMURE_LEND_LEND:
		return inet_ok(&m->lend.source) && inet_ok(&m->lend.meant) &&
		       m->lend.kind <= IMMURE_HOST_NET6 && m->lend.kind != IMMURE_HOST_WILDCARD &&
		       text_ok(m->lend.name, sizeof(m->lend.name)) && m->lend.port - 1 < 65535 &&
		       m->lend.proxy <= 2;
	case IMMURE_LEND_BEGIN:
		return m->begin.secrets_n <= IMMURE_LEND_SECRETS && m->begin.days - 1 < 366;
	case IMMURE_LEND_SECRET:
		return m->secret.use <= IMMURE_LEND_HEADER && text_ok(m->secret.name, sizeof(m->secret.name)) &&
		       text_ok(m->secret.header, sizeof(m->secret.header)) &&
		       text_ok(m->secret.placeholder, sizeof(m->secret.placeholder)) &&
		       text_ok(m->secret.to, sizeof(m->secret.to));
	case IMMURE_LEND_MARK:
		return m->mark.number < IMMURE_LEND_SECRETS && m->mark.n <= 2 &&
		       m->mark.needle[0].len <= IMMURE_NEEDLE_MOST && m->mark.needle[1].len <= IMMURE_NEEDLE_MOST;
	case IMMURE_LEND_AUTHORITY:
		return memchr(m->authority.pem, '\0', sizeof(m->authority.pem));
	case IMMURE_LEND_DENIED:
		return m->denied.step < IMMURE_WIRE_STEPS && m->denied.code < IMMURE_CODES && m->denied.proxy <= 2 &&
		       m->denied.port <= 65535 && inet_ok(&m->denied.source) &&
		       inet_ok(&m->denied.meant) && text_ok(m->denied.host, sizeof(m->denied.host)) &&
		       text_ok(m->denied.rule, sizeof(m->denied.rule)) &&
		       text_ok(m->denied.why, sizeof(m->denied.why)) &&
		       text_ok(m->denied.add, sizeof(m->denied.add));
	case IMMURE_LEND_DONE:
	case IMMURE_LEND_FAILED:
		return m->done.result <= 0 && text_ok(m->done.why, sizeof(m->done.why));
	default:
		return true;
	}
}

int immure_lend_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret) < 0 ? -errno : 0;
}

int immure_lend_send(int fd, const struct immure_lend_msg *m, const int *fds, size_t n_fds)
{
	struct iovec iov;
	size_t len, due;
	ssize_t n;

	if (!shape_of(m->type, &len, &due) || due != n_fds)
		return -EINVAL;
	memcpy(&iov.iov_base, &m, sizeof(m)); /* only read; the struct lacks the const */
	iov.iov_len = HEAD + len;
	n = immure_fdmsg_send(fd, &iov, 1, fds, n_fds, MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

int immure_lend_recv(int fd, struct immure_lend_msg *ret, int fds[IMMURE_LEND_FDS])
{
	struct immure_lend_msg m;
	size_t got = 0, len = 0, due = 0;
	ssize_t n;

	memset(&m, 0, sizeof(m));
	for (size_t i = 0; i < IMMURE_LEND_FDS; i++)
		fds[i] = -1;
	do
		n = immure_fdmsg_receive(fd, &m, sizeof(m), fds, IMMURE_LEND_FDS, &got, 0);
	while (n == -EINTR && got == 0);
	if (n == 0 && got == 0)
		return 0;
	if (n < 0 && n != -EMSGSIZE && got == 0)
		return (int)n;
	if (n < (ssize_t)HEAD || !shape_of(m.type, &len, &due) || (size_t)n != HEAD + len ||
	    due != got || !content_ok(&m)) {
		immure_close_all(fds, got);
		return -EPROTO;
	}
	*ret = m;
	return 1;
}
