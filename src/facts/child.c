/* SPDX-License-Identifier: Apache-2.0 */
/* Throw-away children. Started with the bare system call: no fork handlers run,
 * no exit signal is sent, and a waitpid(-1) of the host program cannot take
 * them. The price: a child may use only what is safe after fork. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

int immure_child_start(int *ret_pidfd)
{
	static const int defaults[] = { SIGCHLD, SIGALRM, SIGPIPE, SIGTERM, SIGINT };
	int pidfd = -1;
	pid_t parent = getpid();
	sigset_t none;
	long pid;

	/* clone(flags, stack, parent_tid = where the pidfd goes, ...) has its
	 * last arguments in another order on aarch64, but they are all 0 here. */
	pid = syscall(SYS_clone, (unsigned long)CLONE_PIDFD, 0UL, &pidfd, 0UL, 0UL);
	if (pid < 0 && errno == EINVAL) /* a filter without pidfds: do without one */
		pid = syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL);
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		*ret_pidfd = pidfd;
		return (int)pid;
	}
	/* Both may fail only for want of memory; then a killed parent leaves us
	 * to the alarm below. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		(void)signal(defaults[i], SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* The parent may be in another pid namespace by now: 0 then. */
	if (syscall(SYS_getppid) != parent && syscall(SYS_getppid) != 0)
		_exit(1);
	return 0;
}

int immure_child_wait(int pid, int *pidfd, int timeout_ms, int *ret_status)
{
	struct pollfd p = { .fd = *pidfd, .events = POLLIN };
	int n = 1, r, status = 0;

	if (*pidfd >= 0) {
		do
			n = poll(&p, 1, timeout_ms);
		while (n < 0 && errno == EINTR); /* a little longer then; no harm */
	}
	if (n <= 0)
		(void)kill(pid, SIGKILL); /* still ours: not reaped yet */
	do
		r = waitpid(pid, &status, __WALL);
	while (r < 0 && errno == EINTR);
	immure_close(pidfd);
	if (r < 0)
		return -errno;
	if (n <= 0)
		return -ETIMEDOUT;
	*ret_status = status;
	return 0;
}

void immure_child_adopt(void)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* cannot fail since Linux 3.4 */
}

/* The list that the kernel gives may miss one while another ends, so it is read again
 * until there is nobody left to wait for. */
void immure_child_end_all(void)
{
	enum { ROUNDS = 1000 };
	char text[1024], *at, *end;

	for (int i = 0; i < ROUNDS && waitpid(-1, NULL, __WALL | WNOHANG) >= 0; i++) {
		IMMURE_CLEANUP_FD int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		int killed = 0;

		if (n < 0)
			return;
		text[n] = '\0';
		/* A number that was cut short is not followed by a space: it comes next time. */
		for (at = text; strtol(at, &end, 10) > 0 && *end == ' '; at = end)
			killed += kill((pid_t)strtol(at, NULL, 10), SIGKILL) == 0;
		while (killed-- > 0)
			(void)waitpid(-1, NULL, __WALL); /* what was killed, whichever is first */
	}
}
