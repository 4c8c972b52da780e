/* SPDX-License-Identifier: Apache-2.0 */
/* Messages with descriptors over a unix socket (SCM_RIGHTS). */
#ifndef IMMURE_BASE_FDMSG_H
#define IMMURE_BASE_FDMSG_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { IMMURE_FDMSG_MAX = 32 };

/* flags as sendmsg(2), MSG_NOSIGNAL is added; resumes after EINTR. The number of
 * bytes sent, or -errno. At most IMMURE_FDMSG_MAX descriptors, which stay open. */
ssize_t immure_fdmsg_send(int sock, const struct iovec *iov, size_t iov_n, const int *fds, size_t n,
			  int flags);
/* The descriptors that came along are CLOEXEC and the caller's, whatever is
 * returned: *ret_n of them, at most max. Bytes received (0 = end of file) or
 * -errno; -EMSGSIZE when bytes or descriptors did not fit: then nothing of the
 * message counts. Does not resume after EINTR. */
ssize_t immure_fdmsg_receive(int sock, void *buf, size_t size, int *fds, size_t max, size_t *ret_n,
			     int flags);
void immure_close_all(int *fds, size_t n);

#endif
