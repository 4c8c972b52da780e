/* SPDX-License-Identifier: Apache-2.0 */
#include "session/gateproc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/wire.h"
#include "kernel/netsock.h"
#include "kernel/sys.h"

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* The end of the supervisor is the worker's. Its own signals: none of the
 * terminal's reach it, so that a command interrupted by hand can still end well. */
static void detach(pid_t parent)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct rlimit files;
	sigset_t none;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(126);
	(void)setsid(); /* EPERM: it leads a group already */
	for (int signo = 1; signo < 32; signo++)
		(void)sigaction(signo, &plain, NULL); /* KILL and STOP say EINVAL */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)!chdir("/");
	/* Two descriptors a connection and more. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files); /* else fewer connections */
	}
}

/* Before it has memory of its own. When the session's memory is used up its command is to
 * blame, whose denials are still to be told: v2 ends all of them at once, v1 who has the
 * most, and only root may have a say in that. */
static void await_place(const struct immure_cgroup_sub *sub, int placed[2])
{
	char word;

	if (placed[0] < 0)
		return;
	immure_close(&placed[1]);
	if (read(placed[0], &word, 1) != 1)
		_exit(126); /* nobody is served without bounds */
	if (sub->memory && !sub->v2)
		(void)immure_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999");
}

__attribute__((noreturn)) static void become_worker(int program_fd, const char *name, int wire_fd,
						    pid_t parent)
{
	char own[32], *const argv[] = { own, NULL }, *const env[] = { NULL };
	int null_fd;

	(void)snprintf(own, sizeof(own), "%s", name);
	detach(parent);
	null_fd = immure_open_null();
	for (int i = 0; i < 3; i++)
		if (null_fd < 0 || dup2(null_fd, i) < 0)
			_exit(126);
	if (dup2(wire_fd, IMMURE_WIRE_FD) < 0)
		_exit(126);
	if (immure_sys_close_range(IMMURE_WIRE_FD + 1, (unsigned int)program_fd - 1, 0) < 0 ||
	    immure_sys_close_range((unsigned int)program_fd + 1, ~0U, 0) < 0)
		_exit(126);
	(void)syscall(SYS_execveat, program_fd, "", argv, env, AT_EMPTY_PATH);
	_exit(127);
}

/* Born in the sub-group where that can be said: of v2, with a place left. A filter says
 * ENOSYS, a command that forks meanwhile has the place. */
static pid_t born_there(const struct immure_cgroup_sub *sub)
{
	struct immure_clone_args args = { .flags = IMMURE_CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };

	if (!sub->v2 || !sub->n)
		return -1;
	args.cgroup = (uint64_t)sub->fd[0];
	return (pid_t)immure_sys_clone3(&args);
}

/* As fork(2), but the child is in the sub-group when it goes on. */
static int fork_into(const struct immure_cgroup_sub *sub, pid_t *ret_pid)
{
	int placed[2] = { -1, -1 }, r = 0;
	pid_t pid = born_there(sub);

	if (pid < 0) {
		if (sub->n && pipe2(placed, O_CLOEXEC) < 0)
			return -errno;
		pid = fork();
		if (pid == 0)
			await_place(sub, placed);
	}
	if (pid > 0 && placed[1] >= 0) {
		r = immure_cgroup_sub_put(sub, pid);
		if (r == 0 && write(placed[1], "p", 1) != 1)
			r = -EPIPE; /* else it ends by itself, not being told */
	}
	if (pid < 0)
		r = -errno;
	immure_close(&placed[0]);
	immure_close(&placed[1]);
	if (r < 0 && pid > 0)
		(void)waitpid(pid, NULL, 0); /* it has nothing to wait for any more */
	*ret_pid = pid;
	return r;
}

/* 0 in the child. */
static int start(struct immure_cgroup *within, pid_t *ret_pid)
{
	struct immure_cgroup_sub sub = IMMURE_CGROUP_SUB_INIT;
	int r = within && within->n ? immure_cgroup_sub_open(within, &sub) : 0;

	if (r == 0)
		r = fork_into(&sub, ret_pid);
	/* Not before it is there: the place would be a command's. */
	if (r == 0 && *ret_pid > 0 && sub.n)
		(void)immure_cgroup_sub_counts(within, true); /* else commands have one less */
	immure_cgroup_sub_close(&sub);
	return r;
}

int immure_gateproc_worker(int program_fd, struct immure_cgroup *within, pid_t *ret_pid,
			   int *ret_pidfd, int *ret_wire_fd)
{
	return immure_gateproc_program(program_fd, "immure-egress", within, ret_pid, ret_pidfd, ret_wire_fd);
}

int immure_gateproc_program(int program_fd, const char *name, struct immure_cgroup *within,
			    pid_t *ret_pid, int *ret_pidfd, int *ret_wire_fd)
{
	pid_t parent = getpid(), pid = -1;
	int pair[2] = { -1, -1 }, r = immure_wire_pair(pair);
	IMMURE_CLEANUP_FD int ours = r < 0 ? -1 : pair[0], theirs = r < 0 ? -1 : pair[1];
	int pidfd;

	if (r == 0)
		r = immure_fd_raise(&ours, 10);
	if (r >= 0)
		r = immure_fd_raise(&theirs, 10);
	if (r >= 0)
		r = start(within, &pid);
	if (r < 0)
		return r;
	if (pid == 0)
		become_worker(program_fd, name, theirs, parent);
	pidfd = (int)IMMURE_SYS(syscall(SYS_pidfd_open, pid, 0));
	if (pidfd < 0) {
		immure_gateproc_end(within, &pid, &pidfd);
		return pidfd;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	*ret_wire_fd = immure_take_fd(&ours);
	return 0;
}

void immure_gateproc_end(struct immure_cgroup *within, pid_t *pid, int *pidfd)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, SIGKILL); /* not reaped yet, so the number is its own */
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
	immure_close(pidfd);
	/* Its place is no command's. Not written: one more may run until there is another. */
	if (within && within->n)
		(void)immure_cgroup_sub_counts(within, false);
}

/* ---- sockets from inside ---- */

__attribute__((noreturn)) static void make_sockets(int userns_fd, int netns_fd, unsigned int n4,
						   unsigned int n6, int to)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMMURE_WIRE_SOCKETS_MAX * sizeof(int))];
	} control = { .space = { 0 } };
	int fds[IMMURE_WIRE_SOCKETS_MAX];
	unsigned int n = 0;
	char word = 0;
	struct iovec iov = { .iov_base = &word, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (setns(userns_fd, CLONE_NEWUSER) < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		_exit(1);
	for (; n < n4 + n6; n++) {
		fds[n] = immure_netsock_tcp(n >= n4);
		if (fds[n] < 0)
			_exit(1);
	}
	msg.msg_control = control.space;
	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	_exit(sendmsg(to, &msg, MSG_NOSIGNAL) == 1 ? 0 : 1);
}

static int receive_sockets(int from, unsigned int n, int *fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMMURE_WIRE_SOCKETS_MAX * sizeof(int))];
	} control;
	char word;
	struct iovec iov = { .iov_base = &word, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	const struct cmsghdr *c;
	ssize_t got;

	do
		got = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	c = got == 1 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(n * sizeof(int)))
		return -EIO; /* our own child, so nothing else can have come */
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return (int)n;
}

int immure_gateproc_sockets(int userns_fd, int netns_fd, unsigned int n4, unsigned int n6, int *fds)
{
	pid_t parent = getpid(), pid;
	int pair[2], r;

	if (n4 > IMMURE_WIRE_SOCKETS_MAX || n6 > IMMURE_WIRE_SOCKETS_MAX - n4)
		return -E2BIG;
	if (n4 + n6 == 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
			_exit(1);
		make_sockets(userns_fd, netns_fd, n4, n6, pair[1]);
	}
	r = pid < 0 ? -errno : 0;
	immure_close(&pair[1]);
	if (r == 0) {
		r = receive_sockets(pair[0], n4 + n6, fds);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	immure_close(&pair[0]);
	return r;
}
