/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pid 1 of a session.
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
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static void send_message(const struct immure_init *in, struct immure_init_msg *m, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	/* A supervisor that is gone cannot be told; its end ends us as well. */
	if (sendmsg(in->report_fd, &msg, MSG_NOSIGNAL) < 0)
		_exit(1);
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
	_exit(1);
}

/* The last pid given out in this namespace is how many were made in it. */
static uint32_t count_forks(void)
{
	char buf[128], *p;
	IMMURE_CLEANUP_FD int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return 0;
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

	s->current = 0;
	if (s->attacker) {
		/* Nothing of the attack may be there when the command comes. */
		(void)kill(-1, SIGKILL); /* ESRCH: it left nothing */
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
	}
	if (s->in->count_forks)
		m.forks = count_forks();
	send_message(s->in, &m, -1);
	if (!s->attacker && s->in->one_shot)
		_exit(0);
	s->attacker = false;
}

static void reap(struct immure_serving *s)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)!read(s->signal_fd, &si, sizeof(si)); /* only to empty it */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->current)
			ended(s, status);
}

static void request(struct immure_serving *s)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(3 * sizeof(int))];
	} control;
	struct immure_init_msg m;
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(s->in->report_fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	int fds[3] = { -1, -1, -1 }, errnum = 0;

	if (n == 0 || (n < 0 && errno != EINTR))
		_exit(1);
	if (n != sizeof(m))
		return;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fds)))
		memcpy(fds, CMSG_DATA(c), sizeof(fds));
	if (m.type == IMMURE_INIT_EXEC && s->current == 0) {
		launch(s);
	} else if (m.type == IMMURE_INIT_EXEC_FD && s->current == 0 && fds[2] >= 0) {
		long pid = immure_init_launch_fd(s->in, fds, &errnum);

		launched(s, pid, errnum, true);
	} else if (m.type == IMMURE_INIT_SIGNAL && s->current > 0) {
		/* The command leads its own session and group; ESRCH means that
		 * it has ended and its exit is on the way. */
		(void)kill(-s->current, m.status);
	}
	for (int i = 0; i < 3; i++)
		immure_close(&fds[i]);
}

/* Private resident pages of every process in the namespace, in bytes. What
 * cannot be measured counts as too much: a command may lower init's own limits
 * (prlimit asks for the same user, no more), so that it cannot open files. */
static uint64_t resident(void)
{
	char buf[4096] __attribute__((aligned(8)));
	IMMURE_CLEANUP_FD int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t pages = 0;
	long n;

	if (proc < 0)
		return UINT64_MAX;
	while ((n = syscall(SYS_getdents64, proc, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			unsigned short reclen;
			const char *name = buf + i + 19;
			char path[32], text[128], *p;
			ssize_t len;
			int fd;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			i += reclen;
			if (name[0] < '1' || name[0] > '9')
				continue;
			(void)snprintf(path, sizeof(path), "%.16s/statm", name);
			fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
			if (fd < 0 && errno != ENOENT && errno != ESRCH)
				return UINT64_MAX;
			if (fd < 0)
				continue; /* ended meanwhile */
			len = read(fd, text, sizeof(text) - 1);
			immure_close(&fd);
			if (len <= 0)
				continue;
			text[len] = '\0';
			p = strchr(text, ' ');
			if (p) {
				uint64_t rss = strtoull(p, &p, 10), shared = strtoull(p, NULL, 10);

				pages += rss > shared ? rss - shared : 0;
			}
		}
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void watch_memory(struct immure_serving *s)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_OVER_MEMORY };

	if (!s->current || resident() <= s->in->memory_watch)
		return;
	(void)kill(-1, SIGKILL); /* the exits are what is waited for next */
	send_message(s->in, &m, -1);
}

__attribute__((noreturn)) static void serve(struct immure_serving *s)
{
	struct pollfd p[2] = { { .fd = s->in->report_fd, .events = POLLIN },
			       { .fd = s->signal_fd, .events = POLLIN } };
	/* 50 ms: what a process can allocate meanwhile is what the sampled
	 * limit is inexact by; with a cgroup it is not sampled at all. */
	struct timespec tick = { .tv_nsec = 50000000 };

	for (;;) {
		int n = ppoll(p, 2, s->in->memory_watch ? &tick : NULL, NULL);

		if (n < 0 && errno != EINTR)
			_exit(1);
		if (s->in->memory_watch)
			watch_memory(s);
		if (n <= 0)
			continue;
		if (p[1].revents)
			reap(s);
		if (p[0].revents)
			request(s);
	}
}

void immure_init_main(struct immure_init *in)
{
	struct immure_serving s = { .in = in, .signal_fd = -1, .master_fd = -1, .slave_fd = -1 };
	struct immure_init_step step = { 0 };
	struct immure_init_msg ready = { .type = IMMURE_INIT_READY };
	sigset_t all;
	int r;

	/* Everything stays blocked in pid 1; children get a clean mask. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL); /* cannot fail with these */
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	step.stage = IMMURE_STAGE_FDS;
	step.subject = "signalfd";
	s.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	r = s.signal_fd < 0 ? -errno : immure_fd_raise(&s.signal_fd, 10);
	if (r == 0)
		r = immure_init_set_up(&s, &step);
	if (r < 0)
		fail(in, &step, r);
	if (in->trace || !in->one_shot || s.master_fd >= 0) {
		memcpy(ready.stage_ns, s.stage_ns, sizeof(ready.stage_ns));
		send_message(in, &ready, s.master_fd);
		immure_close(&s.master_fd);
	}
	if (in->one_shot)
		launch(&s);
	serve(&s);
}
