/* SPDX-License-Identifier: Apache-2.0 */
/* immure-intercept: started by a session's supervisor with a control socket as descriptor 3
 * (egress/lendmsg.h), and of no use to anybody else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "intercept/intercept.h"
#include "kernel/sys.h"

#ifdef __SANITIZE_ADDRESS__
#define KEEP_STDERR 1
#else
#define KEEP_STDERR 0
#endif

static bool control_is_one(void)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(IMMURE_WIRE_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_SEQPACKET;
}

/* Nothing of whoever started us stays but the control socket. */
static int only_control(void)
{
	int null, r = immure_sys_close_range(IMMURE_WIRE_FD + 1, ~0U, 0);

	if (r < 0)
		return r;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3 - KEEP_STDERR; fd++)
		if (dup3(null, fd, O_CLOEXEC) < 0)
			return -errno;
	immure_close(&null);
	return fcntl(IMMURE_WIRE_FD, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

static int tell_failure(struct intercept *in, int r)
{
	struct immure_lend_msg m = { .type = IMMURE_LEND_FAILED };

	m.done.result = r;
	(void)snprintf(m.done.why, sizeof(m.done.why), "%s: %s", in->why ? in->why : "failed",
		       strerror(-r));
	(void)immure_lend_send(in->control_fd, &m, NULL, 0); /* its end is told anyway */
	return 1;
}

int main(void)
{
	struct intercept *in;
	int r, code = 0;

	if (!control_is_one()) {
		(void)fputs("immure-intercept: not started by a supervisor: descriptor 3 is no control "
			    "socket; it is not for use by hand\n", stderr);
		return 2;
	}
	/* With the supervisor gone the control socket is at its end as well; the signal is only
	 * quicker. Memory is nobody's from before there is anything in it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes, it does not send */
	in = calloc(1, sizeof(*in));
	if (!in)
		return 1;
	in->control_fd = IMMURE_WIRE_FD;
	in->link_fd = in->epoll_fd = -1;
	in->why = "descriptors";
	r = only_control();
	if (r == 0)
		r = immure_intercept_start(in);
	if (r == 0)
		r = immure_intercept_loop(in);
	if (r < 0)
		code = tell_failure(in, r);
	immure_intercept_done(in);
	free(in);
	return code;
}
