/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fdmsg.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

union control {
	struct cmsghdr head;
	char space[CMSG_SPACE(IMMURE_FDMSG_MAX * sizeof(int))];
};

ssize_t immure_fdmsg_send(int sock, const struct iovec *iov, size_t iov_n, const int *fds, size_t n,
			  int flags)
{
	union control control;
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = iov_n };
	ssize_t len;

	if (n > IMMURE_FDMSG_MAX)
		return -EINVAL;
	if (n > 0) {
		control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(n * sizeof(int)) };
		memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	do
		len = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : len;
}

ssize_t immure_fdmsg_receive(int sock, void *buf, size_t size, int *fds, size_t max, size_t *ret_n,
			     int flags)
{
	union control control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t len;

	*ret_n = 0;
	if (max > IMMURE_FDMSG_MAX)
		return -EINVAL;
	len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	if (len < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*ret_n < max) {
				fds[(*ret_n)++] = fd;
			} else {
				msg.msg_flags |= MSG_CTRUNC;
				immure_close(&fd);
			}
		}
	}
	return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : len;
}

void immure_close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		immure_close(&fds[i]);
}
