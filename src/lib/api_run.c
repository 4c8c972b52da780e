/* SPDX-License-Identifier: Apache-2.0 */
/* Running a plan: in this process as its supervisor, or under one of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/ahead.h"
#include "base/fd.h"
#include "init/handover.h"
#include "lib/options.h"
#include "lib/proving.h"
#include "lib/session.h"
#include "plan/plan.h"
#include "session/control.h"
#include "session/supervise.h"

static int32_t run_options(struct immure_run_options *to, const struct immure_run_options *from,
			   struct immure_error **err)
{
	int32_t r = immure_options_copy(to, sizeof(*to), from, "run", err);

	if (r < 0)
		return r;
	if (to->flags & ~(uint32_t)(IMMURE_RUN_PROVE | IMMURE_RUN_TRACE_TIME | IMMURE_RUN_CONTROL |
				    IMMURE_RUN_COUNT | IMMURE_RUN_NOTES))
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "api", "flags", "unknown flags");
	if (to->approval && (!to->approval[0] || strlen(to->approval) >= IMMURE_CONTROL_TOKEN))
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "api", "approval", "no token of a mediator");
	return 0;
}

int32_t immure_supervise(const immure_plan *plan, const struct immure_run_options *options,
			 immure_result **ret, immure_error **err)
{
	struct immure_error *own_err = NULL, **e = err ? err : &own_err;
	struct immure_run_options o;
	struct immure_proving proving = IMMURE_PROVING_INIT;
	int32_t r = run_options(&o, options, e);

	if (r == 0 && (o.flags & IMMURE_RUN_PROVE))
		r = immure_proving_prepare(&proving, plan, &o, e);
	if (r == 0) {
		struct immure_supervise_options s = {
			.stdio = { o.stdin_fd, o.stdout_fd, o.stderr_fd },
			.control_fd = o.flags & IMMURE_RUN_CONTROL ? o.control_fd : -1,
			.notes_fd = o.flags & IMMURE_RUN_NOTES ? o.notes_fd : -1,
			.trace = o.flags & IMMURE_RUN_TRACE_TIME,
			.count = o.flags & (IMMURE_RUN_COUNT | IMMURE_RUN_CONTROL),
			.state_dir = o.state_dir	   ? o.state_dir
				     : plan->state_dir[0] ? plan->state_dir
							  : NULL,
			.egress = o.egress,
			.approval = o.approval,
			.before = o.flags & IMMURE_RUN_PROVE ? &proving.before : NULL,
		};

		r = immure_session_supervise(plan, &s, ret, e);
		immure_ahead_end(plan->ahead);
	}
	immure_proving_done(&proving);
	if (o.flags & IMMURE_RUN_CONTROL) /* a host program that is gone needs no answer */
		(void)immure_control_send(o.control_fd, r == 0 ? *ret : NULL, r == 0 ? NULL : *e);
	immure_error_free(own_err);
	return r;
}

int32_t immure_become_init(int32_t handover_fd, int32_t report_fd)
{
	(void)immure_handover_become(handover_fd, report_fd); /* returns only when it failed */
	return -IMMURE_ERR_LAUNCH;
}

/* ---- under a supervisor of its own ---- */

enum { CHILD_PLAN_FD = 3, CHILD_CONTROL_FD = 4 };

/* The first thing that the supervisor finds: not among its arguments, which anybody on
 * this machine may read. */
static int send_approval(int fd, const char *token)
{
	struct {
		struct immure_control_msg head;
		char token[IMMURE_CONTROL_TOKEN];
	} m = { .head = { .type = IMMURE_CONTROL_APPROVAL } };
	size_t n = token ? strlen(token) : 0;

	if (!n)
		return 0;
	memcpy(m.token, token, n);
	return send(fd, &m, sizeof(m.head) + n, MSG_NOSIGNAL) < 0 ? errno : 0;
}

static int spawn_one_shot(const struct immure_run_options *o, const int fds[5], pid_t *ret_pid)
{
	const char *argv[9] = { "immure", "supervise", "--plan-fd", "3", "--control-fd", "4" };
	int n = 6;

	if (o->flags & IMMURE_RUN_PROVE)
		argv[n++] = "--prove";
	if (o->flags & IMMURE_RUN_TRACE_TIME)
		argv[n++] = "--trace-time";
	return immure_spawn_supervisor(o->supervisor, argv, fds, ret_pid);
}

int32_t immure_session_start(const immure_plan *plan, const struct immure_run_options *options,
			     immure_session **ret, immure_error **err)
{
	struct immure_run_options o;
	IMMURE_CLEANUP_FD int plan_fd = -1, theirs = -1, ours = -1;
	int fds[5], up[5] = { -1, -1, -1, -1, -1 }, pair[2], eno = 0;
	struct immure_session *s;
	void *sealed = NULL;
	size_t len = 0;
	int32_t r = run_options(&o, options, err);

	if (r == 0 && (o.flags & IMMURE_RUN_NOTES))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "api", "flags",
				"IMMURE_RUN_NOTES is for immure_supervise(); the result has the lines");
	if (r == 0)
		r = immure_plan_startable(plan, err);
	if (r == 0)
		r = immure_plan_seal_bytes(plan, &sealed, &len, err);
	if (r < 0)
		return r;
	plan_fd = immure_memfd_of("immure-plan", sealed, len);
	free(sealed);
	if (plan_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, plan_fd < 0 ? plan_fd : errno, "session", "",
				   "cannot set up the supervisor");
	ours = pair[0];
	theirs = pair[1];
	fds[0] = o.stdin_fd;
	fds[1] = o.stdout_fd;
	fds[2] = o.stderr_fd;
	fds[CHILD_PLAN_FD] = plan_fd;
	fds[CHILD_CONTROL_FD] = theirs;
	for (int i = 0; i < 5 && !eno; i++) { /* sources above the targets, or they clash */
		up[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
		if (fds[i] >= 0 && up[i] < 0)
			eno = errno;
	}
	if (!eno)
		eno = send_approval(ours, o.approval);
	s = eno ? NULL : calloc(1, sizeof(*s));
	if (s)
		eno = -spawn_one_shot(&o, up, &s->pid);
	for (int i = 0; i < 5; i++)
		immure_close(&up[i]);
	if (!s || eno) {
		free(s);
		return immure_fail(err, IMMURE_ERR_LAUNCH, eno ? eno : ENOMEM, "session",
				   o.supervisor ? o.supervisor : IMMURE_BINDIR "/immure",
				   "cannot start the supervisor: %s", strerror(eno ? eno : ENOMEM));
	}
	s->owner = getpid();
	s->kind = IMMURE_SESSION_ONE_SHOT;
	s->control_fd = immure_take_fd(&ours);
	*ret = s;
	return 0;
}

int32_t immure_session_fd(const immure_session *session)
{
	return session->kind == IMMURE_SESSION_ONE_SHOT ? session->control_fd
							: immure_link_pollable(session->link);
}

static void reap(struct immure_session *s)
{
	while (s->pid > 0 && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = -1;
}

int32_t immure_session_step(immure_session *session, immure_result **ret, immure_error **err)
{
	int32_t r;

	if (session->kind != IMMURE_SESSION_ONE_SHOT)
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "",
				   "this session runs many commands; use immure_session_next()");
	if (session->finished || session->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "", "this session is over here");
	r = immure_control_receive(session->control_fd, ret, err);
	if (r != 0) {
		session->finished = true;
		reap(session);
	}
	return r;
}

int32_t immure_session_signal(immure_session *session, int32_t signo, immure_error **err)
{
	struct immure_control_msg m = { .type = 1, .value = signo };

	if (signo <= 0 || signo > 64)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "session", "signo", "no such signal");
	if (session->kind != IMMURE_SESSION_ONE_SHOT)
		return immure_link_signal_all(session->link, signo, err);
	if (session->finished || session->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "", "this session is over here");
	if (send(session->control_fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		return immure_fail(err, IMMURE_ERR_IO, errno, "session", "", "the supervisor is gone");
	return 0;
}

void immure_session_free(immure_session *session)
{
	if (!session)
		return;
	free(session->taken_event);
	if (session->link)
		immure_link_free(session->link);
	/* The end of its control descriptor ends the supervisor and, with it,
	 * the session. */
	immure_close(&session->control_fd);
	if (session->owner == getpid() && !session->let_go)
		reap(session);
	else if (session->owner == getpid() && session->pid > 0)
		(void)waitpid(session->pid, NULL, WNOHANG); /* it may go on: the child is the program's */
	free(session);
}

int32_t immure_run(const immure_plan *plan, const struct immure_run_options *options,
		   immure_result **ret, immure_error **err)
{
	immure_session *s = NULL;
	int32_t r = immure_session_start(plan, options, &s, err);

	if (r < 0)
		return r;
	while ((r = immure_session_step(s, ret, err)) == 0) {
		struct pollfd p = { .fd = immure_session_fd(s), .events = POLLIN };

		if (poll(&p, 1, -1) < 0 && errno != EINTR) {
			r = immure_fail(err, IMMURE_ERR_IO, errno, "session", "", "poll");
			break;
		}
	}
	immure_session_free(s);
	return r < 0 ? r : 0;
}
