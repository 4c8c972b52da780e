/* SPDX-License-Identifier: Apache-2.0 */
/* immure-egress, the gatekeeper: started by a session's supervisor with a control
 * socket as descriptor 3 (egress/wire.h), and of no use to anybody else. */
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
#include "egress/worker.h"
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

	if (r == -ENOSYS)
		for (int fd = IMMURE_WIRE_FD + 1; fd < 65536; fd++)
			(void)close(fd); /* most are not open */
	else if (r < 0)
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

static int tell_failure(struct worker *w, int r)
{
	struct immure_wire m = { .type = IMMURE_WIRE_FAILED };

	m.failed.error = r;
	(void)snprintf(m.failed.why, sizeof(m.failed.why), "%s: %s", w->why ? w->why : "failed",
		       strerror(-r));
	/* What was queued is lost with us; this may be too. */
	(void)immure_wire_send(w->control_fd, &m, NULL, 0);
	return 1;
}

int main(void)
{
	struct worker *w;
	int r, code = 0;

	if (!control_is_one()) {
		(void)fputs("immure-egress: not started by a supervisor: descriptor 3 is no control "
			    "socket; it is not for use by hand\n", stderr);
		return 2;
	}
	/* A handler cannot outlive what it was for: with the supervisor gone the control
	 * socket is at its end as well; the signal is only quicker. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN); /* splice has no flag against it */
	w = calloc(1, sizeof(*w));
	if (!w)
		return 1;
	w->control_fd = IMMURE_WIRE_FD;
	w->epoll_fd = w->own.fd = w->link_fd = -1;
	w->why = "descriptors";
	r = only_control();
	if (r == 0)
		r = immure_worker_start(w);
	if (r == 0)
		r = immure_worker_loop(w);
	if (r < 0)
		code = tell_failure(w, r);
	immure_worker_done(w);
	free(w);
	return code;
}
