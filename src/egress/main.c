/* SPDX-License-Identifier: Apache-2.0 */
/* immure-egress, the gatekeeper: started by a session's supervisor with a control
 * socket as descriptor 3 (egress/wire.h), and of no use to anybody else. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "egress/confine.h"
#include "egress/worker.h"

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

	if (!immure_confine_has_control(IMMURE_WIRE_FD)) {
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
	r = immure_confine_keep_only(IMMURE_WIRE_FD);
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
