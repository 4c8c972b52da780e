/* SPDX-License-Identifier: Apache-2.0 */
/* immure-intercept: started by a session's supervisor with a control socket as descriptor 3
 * (egress/lendmsg.h), and of no use to anybody else. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "egress/confine.h"
#include "intercept/intercept.h"

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

	if (!immure_confine_has_control(IMMURE_WIRE_FD)) {
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
	r = immure_confine_keep_only(IMMURE_WIRE_FD);
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
