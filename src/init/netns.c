/* SPDX-License-Identifier: Apache-2.0 */
#include "init/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "kernel/loopback.h"
#include "kernel/rawcall.h"

#ifdef IMMURE_HAVE_RAWCALL

/* Runs beside init, on a stack of its own and init's memory and descriptors:
 * only system calls, and only ones that leave errno alone. */
static int helper(void *ctx)
{
	struct immure_init_net *n = ctx;
	long r = immure_rawcall(SYS_unshare, CLONE_NEWNET, 0, 0, 0);

	if (r == 0 && n->loopback)
		r = immure_loopback_up_raw();
	if (r == 0)
		r = immure_rawcall(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/ns/net",
				   O_RDONLY | O_CLOEXEC, 0);
	n->result = r;
	(void)immure_rawcall(SYS_exit, 0, 0, 0, 0);
	return 0;
}

int immure_init_net_start(struct immure_init_net *n)
{
	/* A process, not a thread: it is waited for like any other child, and
	 * init stays single-threaded. */
	int pid;

	/* Of the kernel and not in a frame of ours, which would be touched as a whole. It
	 * goes with init, or is never missed. */
	if (!n->stack) {
		void *p = mmap(NULL, IMMURE_NETNS_STACK, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		n->stack = p;
	}
	pid = clone(helper, n->stack + IMMURE_NETNS_STACK, CLONE_VM | CLONE_FILES | SIGCHLD, n);
	if (pid < 0)
		return -errno;
	n->pid = pid;
	return 0;
}

int immure_init_net_take(struct immure_init_net *n)
{
	while (n->pid > 0 && waitpid((pid_t)n->pid, NULL, 0) < 0)
		if (errno != EINTR)
			return -errno;
	n->pid = 0;
	return (int)n->result;
}

/* Made before init was. */
static int receive(struct immure_init_net *n)
{
	int fd = -1, result = 0;
	size_t fds_n = 0;
	ssize_t len = immure_fdmsg_receive(n->ahead_fd, &result, sizeof(result), &fd, 1, &fds_n, 0);

	immure_close(&n->ahead_fd);
	if (len != sizeof(result))
		return len < 0 ? (int)len : -ECHILD;
	return result < 0 ? result : fds_n == 1 ? fd : -EPROTO;
}

int immure_init_net_join(struct immure_init_net *n)
{
	int fd, r;

	if (!n->wanted || n->joined)
		return 0;
	fd = n->ahead ? receive(n) : immure_init_net_take(n);
	if (fd < 0)
		return fd;
	r = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
	immure_close(&fd);
	n->joined = r == 0;
	return r;
}

#else

int immure_init_net_start(struct immure_init_net *n)
{
	(void)n;
	return 0;
}

int immure_init_net_join(struct immure_init_net *n)
{
	if (!n->wanted || n->joined)
		return 0;
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	n->joined = true;
	return n->loopback ? immure_loopback_up() : 0;
}

int immure_init_net_take(struct immure_init_net *n)
{
	IMMURE_CLEANUP_FD int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd, r;

	if (own < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	r = n->loopback ? immure_loopback_up() : 0;
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	r = r == 0 && fd < 0 ? -errno : r;
	if (setns(own, CLONE_NEWNET) < 0)
		r = -errno;
	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

#endif
