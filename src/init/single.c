/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox that is made after a template, for one command: pid 1 of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/zygote.h"
#include "kernel/privs.h"
#include "kernel/sys.h"

/* ---- becoming one ---- */

int immure_init_enter_user(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *op = immure_plan_find(in->plan, IMMURE_OP_IDMAP);

	step->stage = IMMURE_STAGE_IDS;
	step->subject = "user namespace";
	if (!op)
		return -EINVAL;
	/* Else the files of this process in /proc are not its own. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || unshare(CLONE_NEWUSER) < 0)
		return -errno;
	step->subject = "id maps";
	return immure_ids_map_self((uint32_t)op->num[0], (uint32_t)op->num[0], (uint32_t)op->num[2],
				   (uint32_t)op->num[2]);
}

static int enter(const struct immure_single *o, struct immure_init_step *step)
{
	const struct immure_op *ns = immure_plan_find(o->in->plan, IMMURE_OP_NAMESPACES);

	step->stage = IMMURE_STAGE_CGROUP;
	step->subject = "cgroup";
	for (int i = 0; o->leaf && i < o->leaf->n; i++)
		if (write(o->leaf->tasks_fd[i], "0", 1) != 1)
			return errno ? -errno : -EIO;
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "network namespace";
	if (o->net_fd >= 0 && setns(o->net_fd, CLONE_NEWNET) < 0)
		return -errno;
	step->subject = "cgroup namespace";
	return ns && (ns->num[0] & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0 ? -errno : 0;
}

/* Who started the pool has this many, and a command no more. */
static int lower_files(const struct immure_init *in, struct immure_init_step *step)
{
	struct rlimit have;

	step->stage = IMMURE_STAGE_RLIMIT;
	step->subject = "nofile";
	if (getrlimit(RLIMIT_NOFILE, &have) < 0)
		return -errno;
	if (in->soft_files < have.rlim_cur)
		have.rlim_cur = in->soft_files;
	return setrlimit(RLIMIT_NOFILE, &have) < 0 ? -errno : 0;
}

static int become(struct immure_serving *s, const struct immure_single *o, struct immure_init_step *step)
{
	int r = enter(o, step);

	if (r == 0)
		r = immure_fresh_apply(s->in->plan, o->fresh, NULL, step);
	if (r == 0)
		r = immure_init_close_fds(s, step);
	if (r == 0)
		r = lower_files(s->in, step);
	if (r == 0)
		r = immure_init_enter_user(s->in, step);
	return r < 0 ? r : immure_init_close_in(s, step);
}

/* ---- one command ---- */

/* What it left behind ends first: whoever sees its end sees the end of all of it. */
__attribute__((noreturn)) static void finished(struct immure_serving *s, pid_t pid, int status,
					       const struct rusage *usage)
{
	(void)kill(-1, SIGKILL); /* ESRCH: it left nobody */
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	(void)immure_execs_reaped(s, pid, status, usage);
	_exit(0);
}

static void reap(struct immure_serving *s)
{
	struct signalfd_siginfo si;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)!read(s->signal_fd, &si, sizeof(si)); /* only to empty it */
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		if (s->execs->n > 0 && s->execs->v[0].pid == pid)
			finished(s, pid, status, &usage);
}

/* The template's request comes with one descriptor more: the lane of who asked. */
static void request(struct immure_serving *s)
{
	struct immure_execs *x = s->execs;
	int fds[IMMURE_RUN_FDS + 1];
	size_t fds_n;
	ssize_t n = immure_fdmsg_receive(s->in->report_fd, x->message, sizeof(x->message), fds,
					 IMMURE_RUN_FDS + 1, &fds_n, MSG_DONTWAIT);
	bool first = x->lane_fd[0] < 0;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < (ssize_t)sizeof(uint32_t) || (first && fds_n == 0))
		_exit(1);
	if (first) {
		x->lane_fd[0] = fds[--fds_n];
		if (immure_fd_raise(&x->lane_fd[0], 10) < 0)
			_exit(1);
	}
	immure_execs_request(s, 0, (size_t)n, fds, fds_n);
	immure_close_all(fds, fds_n);
	if (x->n == 0)
		_exit(0); /* it was denied, which was said */
}

static void watch_memory(struct immure_serving *s)
{
	if (s->execs->n == 0 || immure_init_resident(s->in, NULL) <= s->in->memory_watch)
		return;
	immure_execs_mark(s, IMMURE_ENDED_OVER_MEMORY);
	immure_init_signal_all(s->in, SIGKILL); /* the end is what is waited for next */
}

__attribute__((noreturn)) static void serve(struct immure_serving *s)
{
	struct pollfd p[2] = { { .fd = s->in->report_fd, .events = POLLIN },
			       { .fd = s->signal_fd, .events = POLLIN } };

	for (;;) {
		int64_t ms = immure_execs_expire(s);

		if (s->in->memory_watch && s->execs->n > 0 && (ms < 0 || ms > 50))
			ms = 50; /* as in init.c */
		if (poll(p, 2, ms > INT32_MAX ? INT32_MAX : (int)ms) < 0 && errno != EINTR)
			_exit(1);
		if (s->in->memory_watch)
			watch_memory(s);
		if (p[1].revents)
			reap(s);
		if (p[0].revents)
			request(s);
	}
}

void immure_single_main(const struct immure_single *o)
{
	struct immure_init in = *o->in;
	struct immure_serving s = { .in = &in, .signal_fd = o->signal_fd, .master_fd = -1,
				    .slave_fd = -1, .host_ns_fd = -1, .areas_fd = -1, .ruleset_fd = -1,
				    .execs = o->execs };
	struct immure_init_step step = { 0 };
	struct immure_init_msg m = { .type = IMMURE_INIT_READY };
	int r;

	in.report_fd = o->ctl_fd;
	in.shared = o->shared;
	r = become(&s, o, &step);
	if (r < 0) {
		m.type = IMMURE_INIT_FAILED;
		m.stage = step.stage;
		m.op = step.op;
		m.errnum = -r;
		(void)snprintf(m.subject, sizeof(m.subject), "%s", step.subject ? step.subject : "");
	}
	if (immure_init_send(in.report_fd, &m, sizeof(m), NULL, 0, 0) < 0 || r < 0)
		_exit(1);
	serve(&s);
}
