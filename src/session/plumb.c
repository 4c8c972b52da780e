/* SPDX-License-Identifier: Apache-2.0 */
#include "session/plumb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/init.h"

static int32_t failed(struct immure_error **err, int r, const char *what)
{
	return immure_fail(err, IMMURE_ERR_LAUNCH, -r, "network", "network.mode",
			   "the session's network: %s: %s", what, strerror(-r));
}

/* The network that init is in, which must not be ours, and the namespace that owns it. */
static int open_namespaces(int init_pid, int init_pidfd, int *ret_user, int *ret_net)
{
	struct pollfd alive = { .fd = init_pidfd, .events = POLLIN };
	IMMURE_CLEANUP_FD int net = -1, user = -1;
	struct stat theirs, ours;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", init_pid);
	net = open(path, O_RDONLY | O_CLOEXEC);
	if (net < 0 || fstat(net, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0)
		return -errno;
	if (poll(&alive, 1, 0) != 0) /* then the number may have been another's */
		return -ESRCH;
	if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
		return -EPERM;
	user = ioctl(net, NS_GET_USERNS);
	if (user < 0 || fcntl(user, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*ret_user = immure_take_fd(&user);
	*ret_net = immure_take_fd(&net);
	return 0;
}

__attribute__((noreturn)) static void make(const struct immure_plan *plan, const int ns[2], int to,
					   pid_t parent)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED };
	const char *what = "entering it";
	int r = 0;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(1);
	if (setns(ns[0], CLONE_NEWUSER) < 0 || setns(ns[1], CLONE_NEWNET) < 0)
		r = -errno;
	if (r == 0)
		r = immure_init_plumb(plan, ns, to, &what);
	m.errnum = -r;
	(void)snprintf(m.subject, sizeof(m.subject), "%s", what);
	if (r < 0)
		(void)send(to, &m, sizeof(m), MSG_NOSIGNAL); /* or its end says it */
	_exit(r < 0);
}

/* What the process that was started for it says; -EPIPE: nothing. */
static int hear(const struct immure_plan *plan, const int ns[2], struct immure_init_msg *m, int *fds,
		size_t *n)
{
	pid_t parent = getpid(), pid;
	ssize_t got;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		make(plan, ns, pair[1], parent);
	immure_close(&pair[1]);
	do
		got = pid < 0 ? -1 : immure_fdmsg_receive(pair[0], m, sizeof(*m), fds,
							  IMMURE_INIT_FDS_MAX, n, 0);
	while (got == -EINTR);
	immure_close(&pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return got == sizeof(*m) ? 0 : -EPIPE;
}

int32_t immure_plumb_outside(const struct immure_plan *plan, int init_pid, int init_pidfd,
			     struct immure_gatekeeper *g, struct immure_error **err)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED };
	int ns[2] = { -1, -1 }, fds[IMMURE_INIT_FDS_MAX], r;
	size_t n = 0;

	if (!g)
		return 0;
	r = open_namespaces(init_pid, init_pidfd, &ns[0], &ns[1]);
	if (r < 0)
		return failed(err, r, "looking for it");
	r = hear(plan, ns, &m, fds, &n);
	immure_close(&ns[0]);
	immure_close(&ns[1]);
	if (r == 0 && m.type == IMMURE_INIT_NETWORK)
		return immure_gatekeeper_adopt(g, &m, fds, n, init_pid, err);
	immure_close_all(fds, n);
	m.subject[sizeof(m.subject) - 1] = '\0';
	return failed(err, r < 0 ? r : -m.errnum, r < 0 ? "nothing came back" : m.subject);
}
