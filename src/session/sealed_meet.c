/* SPDX-License-Identifier: Apache-2.0 */
/* The line to init, and how it is met where another program made it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "init/handover.h"
#include "session/plumb.h"
#include "session/sealed_parts.h"

/* ---- an init that is executed ---- */

enum { ARRIVE_MS = 30000 };

static int32_t lost(struct immure_sealed *s, struct immure_error **err)
{
	char said[256] = "";
	struct immure_buf text = IMMURE_BUF_INIT;
	int32_t r;

	if (s->backend->complaint)
		s->backend->complaint(&s->child, said, sizeof(said));
	immure_buf_put_printable(&text, said, strlen(said));
	/* All that is passed on was there; what was taken away meanwhile, a file that is
	 * being replaced above all, may be there again. */
	s->overtaken = strstr(said, "No such file or directory"); /* LC_ALL=C */
	r = immure_fail(err, IMMURE_ERR_LAUNCH, s->overtaken ? ESTALE : ECHILD, "namespace", s->backend->name,
			"backend %s: %s", s->backend->name,
			said[0] && immure_buf_ok(&text) ? text.data
							: "ended before init was there");
	if (err && *err)
		immure_error_set_hint(*err, "`immure doctor` tries it and says what helps");
	immure_buf_done(&text);
	return r;
}

/* A message from the other end of the line, and by which process it was sent. */
static int receive_from(int sock, struct immure_init_msg *m, struct ucred *who)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(*who))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (n != sizeof(*m) || !c || c->cmsg_type != SCM_CREDENTIALS ||
	    c->cmsg_len != CMSG_LEN(sizeof(*who)))
		return n < 0 ? -errno : -EPROTO;
	memcpy(who, CMSG_DATA(c), sizeof(*who));
	return 0;
}

/* Waits for init, holds it, and gives it the streams. It waits for them, so the number
 * that the kernel put under its message is still its own when it is opened. */
int32_t immure_sealed_meet(struct immure_sealed *s, const int stdio[3], struct immure_error **err)
{
	struct pollfd p[2] = { { .fd = s->sock_fd, .events = POLLIN },
			       { .fd = s->child.pidfd, .events = POLLIN } };
	struct immure_init_msg m;
	struct ucred who = { 0 };
	int r, n, off = 0;

	do
		n = poll(p, 2, ARRIVE_MS);
	while (n < 0 && errno == EINTR);
	r = receive_from(s->sock_fd, &m, &who);
	if (r == 0 && m.type == IMMURE_INIT_FAILED)
		return immure_fail(err, IMMURE_ERR_LAUNCH, m.errnum, immure_stage_name(m.stage),
				   s->backend->name, "%.*s: %s", (int)sizeof(m.subject), m.subject,
				   strerror(m.errnum));
	if (r < 0 || m.type != IMMURE_INIT_ARRIVED || who.pid <= 0)
		return lost(s, err);
	s->child.init_pidfd = (int)syscall(SYS_pidfd_open, who.pid, 0);
	if (s->child.init_pidfd < 0)
		return immure_sealed_failed(err, errno, "start", "pidfd of init");
	if (setsockopt(s->sock_fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)) < 0)
		return immure_sealed_failed(err, errno, "start", "line to init");
	r = immure_plumb_outside(s->plan, who.pid, s->child.init_pidfd, s->gate, err);
	if (r < 0)
		return r;
	(void)immure_sealed_send(s, IMMURE_INIT_STREAMS, 0, stdio); /* gone: its end is seen */
	return 0;
}

int32_t immure_sealed_prepare_other(struct immure_sealed *s, struct immure_error **err)
{
	int on = 1;
	int32_t r = s->backend->prepare(s->plan, &s->child, &s->init.seen, err);

	if (r < 0)
		return r;
	s->handover_fd = immure_handover_write(&s->init, s->init.seen);
	if (s->handover_fd < 0)
		return immure_sealed_failed(err, s->handover_fd, "start", "what init is to be told");
	if (immure_fd_raise(&s->handover_fd, 10) < 0 ||
	    setsockopt(s->sock_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return immure_sealed_failed(err, errno, "start", "line to init");
	return 0;
}

/* ---- messages ---- */

int32_t immure_sealed_send(struct immure_sealed *s, uint32_t type, int32_t status, const int fds[3])
{
	struct immure_init_msg m = { .type = type, .status = status };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(3 * sizeof(int));
		memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
	}
	return sendmsg(s->sock_fd, &msg, MSG_NOSIGNAL) == sizeof(m) ? 0 : -IMMURE_ERR_IO;
}

int32_t immure_sealed_receive(struct immure_sealed *s, struct immure_init_msg *ret,
			      int fds[IMMURE_INIT_FDS_MAX], struct immure_error **err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMMURE_INIT_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(s->sock_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c;
	size_t count = 0;

	/* Init ended with something unread, which is told before its last words are. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(s->sock_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	for (int i = 0; i < IMMURE_INIT_FDS_MAX; i++)
		fds[i] = -1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
	}
	if (n != sizeof(*ret)) { /* end of file: init died without a word */
		for (size_t i = 0; i < count; i++)
			immure_close(&fds[i]);
		return -IMMURE_ERR_IO;
	}
	if (ret->type == IMMURE_INIT_LISTENER) {
		s->metadata.listener_fd = immure_take_fd(&fds[0]);
		return 0;
	}
	if (ret->type == IMMURE_INIT_NETWORK) {
		int32_t r = immure_gatekeeper_adopt(s->gate, ret, fds, count, s->child.pid, err);

		return r < 0 ? r : 1;
	}
	return 1;
}
