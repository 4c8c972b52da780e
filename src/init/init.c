/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pid 1 of a session, or, where there are no namespaces, the process that all of
 * it descends from.
 *
 * States: setting up -> sealed in -> serving -> ended. Setting up runs the
 * plan's stages in their one order; any failure is reported with stage,
 * operation and errno, and ends the process: nothing of the payload has run
 * then. Serving waits for the supervisor's requests and for children. The end
 * of this process is the end of everything in its pid namespace.
 */
#include "init/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/kin.h"
#include "init/zygote.h"

int immure_init_send(int sock, const void *data, size_t len, const int *fds, size_t fds_n, int flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	ssize_t n = immure_fdmsg_send(sock, &iov, 1, fds, fds_n, flags);

	return n < 0 ? (int)n : 0;
}

void immure_init_leave(const struct immure_init *in, int code)
{
	/* With a pid namespace the kernel sees to it. */
	if (immure_plan_is_bare(in->plan))
		(void)immure_kin_end(in->scoped); /* the supervisor looks once more */
	_exit(code);
}

void immure_init_signal_all(const struct immure_init *in, int signo)
{
	pid_t list[IMMURE_KIN_MAX];
	long n;

	if (!immure_plan_is_bare(in->plan) || in->scoped) {
		(void)kill(-1, signo); /* ESRCH: there is nobody */
		return;
	}
	n = immure_kin_list(list, IMMURE_KIN_MAX);
	for (long i = 0; i < n; i++)
		(void)kill(list[i], signo); /* ESRCH: it was quicker */
}

static void send_message(const struct immure_init *in, struct immure_init_msg *m, int fd)
{
	/* A supervisor that is gone cannot be told; its end ends us as well. */
	if (immure_init_send(in->report_fd, m, sizeof(*m), &fd, fd >= 0, 0) < 0)
		immure_init_leave(in, 1);
}

__attribute__((noreturn)) static void fail(const struct immure_init *in,
					   const struct immure_init_step *step, int errnum)
{
	struct immure_init_msg m = {
		.type = IMMURE_INIT_FAILED,
		.stage = step->stage,
		.op = step->op,
		.errnum = errnum < 0 ? -errnum : errnum,
	};

	(void)snprintf(m.subject, sizeof(m.subject), "%s", step->subject ? step->subject : "");
	send_message(in, &m, -1);
	immure_init_leave(in, 1);
}

/* One more process, which has the next number, and none before it was its. */
static uint32_t count_by_fork(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return pid > 0 ? (uint32_t)pid - 1 : 0;
}

/* The last pid given out in this namespace is how many were made in it. */
static uint32_t count_forks(void)
{
	char buf[128], *p;
	IMMURE_CLEANUP_FD int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return count_by_fork(); /* files.proc pids */
	buf[n] = '\0';
	p = strrchr(buf, ' ');
	return p ? (uint32_t)strtoul(p, NULL, 10) : 0;
}

static void launched(struct immure_serving *s, long pid, int errnum, bool attacker)
{
	if (pid <= 0 || errnum) {
		struct immure_init_step step = {
			.stage = IMMURE_STAGE_EXEC,
			.subject = attacker ? "immure-attack" : s->in->plan->argv.v[0],
		};

		if (pid <= 0) { /* no word about the program: nobody was there to try it */
			step.stage = IMMURE_STAGE_SUPERVISE;
			step.subject = "vfork";
		}

		fail(s->in, &step, errnum);
	}
	s->current = (pid_t)pid;
	s->attacker = attacker;
}

static void launch(struct immure_serving *s)
{
	int errnum = 0;
	long pid = immure_init_launch(s->in, s->slave_fd, &errnum);

	launched(s, pid, errnum, false);
	immure_close(&s->slave_fd); /* the terminal hangs up when the last user is gone */
}

static void ended(struct immure_serving *s, int status)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_EXITED, .status = status };
	bool bare = immure_plan_is_bare(s->in->plan);

	s->current = 0;
	if (bare && (s->attacker || s->in->one_shot)) {
		bool none = immure_kin_end(s->in->scoped); /* what is left is ended with init */

		m.alone = none && !s->attacker;
	}
	/* Nothing of the attack may be there when the command comes; and while the
	 * kernel takes apart what a single command had, the supervisor may already
	 * look at what it left behind. */
	if (!bare && (s->attacker || s->in->one_shot)) {
		(void)kill(-1, SIGKILL); /* ESRCH: it left nothing */
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
		m.alone = 1;
	}
	if (s->in->count_forks && !bare) /* the host's count is not the session's */
		m.forks = count_forks();
	send_message(s->in, &m, -1);
	if (!s->attacker && s->in->one_shot)
		immure_init_leave(s->in, 0);
	s->attacker = false;
}

static void reap(struct immure_serving *s)
{
	struct signalfd_siginfo si;
	struct rusage usage;
	int status;
	pid_t pid;

	(void)!read(s->signal_fd, &si, sizeof(si)); /* only to empty it */
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		if (pid == s->current)
			ended(s, status);
		else if (s->execs)
			(void)immure_execs_reaped(s, pid, status, &usage); /* or an orphan */
	}
	if (s->execs && pid < 0)
		s->execs->alone = true;
}

static void old_request(struct immure_serving *s, const struct immure_init_msg *m, const int *fds,
			size_t n)
{
	int errnum = 0;

	if (m->type == IMMURE_INIT_EXEC && s->current == 0) {
		launch(s);
	} else if (m->type == IMMURE_INIT_EXEC_FD && s->current == 0 && n == 3) {
		long pid = immure_init_launch_fd(s->in, fds, &errnum);

		launched(s, pid, errnum, true);
	} else if (m->type == IMMURE_INIT_SIGNAL && s->current > 0) {
		/* The command leads its own session and group; ESRCH means that
		 * it has ended and its exit is on the way. */
		(void)kill(-s->current, m->status);
	}
}

static void request(struct immure_serving *s)
{
	struct immure_init_msg m;
	void *buf = s->execs ? (void *)s->execs->message : &m;
	size_t size = s->execs ? sizeof(s->execs->message) : sizeof(m), fds_n;
	int fds[IMMURE_RUN_FDS];
	ssize_t n = immure_fdmsg_receive(s->in->report_fd, buf, size, fds, IMMURE_RUN_FDS, &fds_n, 0);

	if (n == 0 || (n < 0 && n != -EINTR && n != -EMSGSIZE))
		immure_init_leave(s->in, 1);
	if (n == sizeof(m) && *(uint32_t *)buf < IMMURE_INIT_RUN) {
		if (buf != &m)
			memcpy(&m, buf, sizeof(m));
		old_request(s, &m, fds, fds_n);
	} else if (n >= (ssize_t)sizeof(uint32_t) && s->execs) {
		immure_execs_request(s, -1, (size_t)n, fds, fds_n);
	}
	immure_close_all(fds, fds_n);
}

static void lane_request(struct immure_serving *s, int lane)
{
	size_t fds_n;
	int fds[IMMURE_RUN_FDS];
	ssize_t n = immure_fdmsg_receive(s->execs->lane_fd[lane], s->execs->message,
					 sizeof(s->execs->message), fds, IMMURE_RUN_FDS, &fds_n,
					 MSG_DONTWAIT);

	if (n >= (ssize_t)sizeof(uint32_t))
		immure_execs_request(s, lane, (size_t)n, fds, fds_n);
	else if (n != -EAGAIN && n != -EINTR)
		immure_execs_orphan(s, lane);
	immure_close_all(fds, fds_n);
}

static void watch_memory(struct immure_serving *s)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_OVER_MEMORY };

	if (!(s->execs ? !s->execs->alone : s->current > 0) ||
	    immure_init_resident(s->in, NULL) <= s->in->memory_watch)
		return;
	if (s->execs)
		immure_execs_mark(s, IMMURE_ENDED_OVER_MEMORY);
	immure_init_signal_all(s->in, SIGKILL); /* the exits are what is waited for next */
	send_message(s->in, &m, -1);
}

enum { P_REPORT, P_SIGNAL, P_LANES, P_MAX = P_LANES + IMMURE_INIT_LANES };

static size_t watch(const struct immure_serving *s, struct pollfd *p)
{
	size_t n = P_LANES;

	p[P_REPORT] = (struct pollfd){ .fd = s->in->report_fd, .events = POLLIN };
	p[P_SIGNAL] = (struct pollfd){ .fd = s->signal_fd, .events = POLLIN };
	for (int i = 0; s->execs && i < IMMURE_INIT_LANES; i++) {
		p[P_LANES + i] = (struct pollfd){ .fd = s->execs->lane_fd[i], .events = POLLIN };
		if (s->execs->lane_fd[i] >= 0)
			n = P_LANES + (size_t)i + 1;
	}
	return n;
}

/* 50 ms: what a process can allocate meanwhile is what the sampled limit is
 * inexact by; with a cgroup it is not sampled at all, nor when nobody runs. */
static const struct timespec *how_long(struct immure_serving *s, struct timespec *buf)
{
	int64_t ms = s->execs ? immure_execs_expire(s) : -1;

	if (s->in->memory_watch && !(s->execs && s->execs->alone) && (ms < 0 || ms > 50))
		ms = 50;
	if (ms < 0)
		return NULL;
	*buf = (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000 };
	return buf;
}

__attribute__((noreturn)) static void serve(struct immure_serving *s)
{
	struct pollfd p[P_MAX];
	struct timespec t;

	for (;;) {
		size_t watched = watch(s, p);
		int n = ppoll(p, watched, how_long(s, &t), NULL);

		if (n < 0 && errno != EINTR)
			immure_init_leave(s->in, 1);
		if (s->in->memory_watch)
			watch_memory(s);
		if (n <= 0)
			continue;
		if (p[P_SIGNAL].revents)
			reap(s);
		if (p[P_REPORT].revents)
			request(s);
		for (size_t i = P_LANES; i < watched; i++)
			if (p[i].revents && s->execs->lane_fd[i - P_LANES] == p[i].fd && p[i].fd >= 0)
				lane_request(s, (int)(i - P_LANES));
	}
}

void immure_init_main(struct immure_init *in)
{
	struct immure_serving s = { .in = in, .signal_fd = -1, .master_fd = -1, .slave_fd = -1,
				    .host_ns_fd = -1, .areas_fd = -1, .ruleset_fd = -1 };
	struct immure_init_step step = { 0 };
	struct immure_init_msg ready = { .type = IMMURE_INIT_READY };
	sigset_t all;
	int r;

	/* Everything stays blocked in pid 1; children get a clean mask. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL); /* cannot fail with these */
	/* Ignored by who started us, it would make the kernel reap what we wait for. */
	(void)signal(SIGCHLD, SIG_DFL);
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	step.stage = IMMURE_STAGE_FDS;
	step.subject = "signalfd";
	s.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	r = s.signal_fd < 0 ? -errno : immure_fd_raise(&s.signal_fd, 10);
	if (r == 0 && in->serve)
		r = immure_execs_make(&s);
	if (r == 0)
		r = immure_init_set_up(&s, &step);
	if (r < 0)
		fail(in, &step, r);
	if (in->template) {
		r = immure_zygote_serve(&s, &step);
		fail(in, &step, r);
	}
	in->ruleset_fd = s.ruleset_fd;
	in->scoped = s.scoped;
	if (in->trace || !in->one_shot || s.master_fd >= 0) {
		memcpy(ready.stage_ns, s.stage_ns, sizeof(ready.stage_ns));
		send_message(in, &ready, s.master_fd);
		immure_close(&s.master_fd);
	}
	if (in->one_shot)
		launch(&s);
	serve(&s);
}
