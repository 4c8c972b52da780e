/* SPDX-License-Identifier: Apache-2.0 */
/* bubblewrap, tried with everything that backend bwrap asks of it: its options differ
 * between versions, and what a distribution's AppArmor profile permits it cannot be
 * read off any file. A shell looks from inside whether it really happened. */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"
#include "kernel/netplumb.h"

enum { TRY_MS = 4000, INSIDE_OK = 7, ARGS_MAX = 64 };

static const char *bwrap_path(const struct immure_facts *f)
{
	for (size_t i = 0; i < f->programs_n; i++)
		if (strcmp(f->programs[i].name, "bwrap") == 0)
			return f->programs[i].path;
	return NULL;
}

/* Nobody but the system's administrator may be able to change it, and it must have no
 * rights that we do not have: a setuid one is a program with another threat model. */
const char *immure_bwrap_unfit(const struct stat *st, uint32_t euid)
{
	if (!S_ISREG(st->st_mode))
		return "is no regular file";
	if (st->st_mode & (S_ISUID | S_ISGID))
		return "is setuid: it would run with more rights than its caller";
	/* In a user namespace the owner may be one who has no number there. */
	if (st->st_uid != 0 && (st->st_uid != 65534 || euid == 65534))
		return "does not belong to root";
	if (st->st_mode & 022)
		return "can be written by others than its owner";
	return NULL;
}

static const char looks[] = "cd /sys && exit 1; [ $$ = 1 ] && [ -d /proc/1 ] && "
			    "[ -c /dev/null ] && [ ! -w /usr ] && exit 7; exit 2";
/* Stays until its standard input ends. */
static const char waits[] = "read x; exit 7";

/* Descriptors, -1 = not passed on: usr, to be bound; info, to be told of the child. */
static void run_inside(const char *path, const char *script, int shell, int usr, int info,
		       const struct immure_facts *f)
{
	char id[2][16], program[32], usr_fd[16], info_fd[16];
	const char *argv[ARGS_MAX] = {
		path, "--die-with-parent", "--as-pid-1", "--unshare-user", "--unshare-pid",
		"--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--unshare-net", "--cap-drop",
		"ALL", "--hostname", "immure", "--ro-bind", "/", "/", "--dev", "/dev", "--perms",
		"1777", "--size", "65536", "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--proc",
		"/proc", "--remount-ro", "/proc", "--perms", "0000", "--tmpfs", "/sys",
		"--remount-ro", "/sys", "--uid", id[0], "--gid", id[1],
	};
	const char *const env[] = { "LC_ALL=C", NULL };
	size_t n = 0;

	while (argv[n])
		n++;
	(void)snprintf(id[0], sizeof(id[0]), "%u", f->uid);
	(void)snprintf(id[1], sizeof(id[1]), "%u", f->gid);
	(void)snprintf(program, sizeof(program), "/proc/self/fd/%d", shell);
	(void)snprintf(usr_fd, sizeof(usr_fd), "%d", usr);
	(void)snprintf(info_fd, sizeof(info_fd), "%d", info);
	if (usr >= 0) {
		argv[n++] = "--ro-bind-fd";
		argv[n++] = usr_fd;
		argv[n++] = "/usr";
	}
	if (info >= 0) {
		argv[n++] = "--info-fd";
		argv[n++] = info_fd;
	}
	argv[n++] = "--";
	argv[n++] = program;
	argv[n++] = "-c";
	argv[n++] = script;
	(void)execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	_exit(127);
}

/* What a program that was started inside is handed must not close at exec. */
static int keep_open(const char *path)
{
	return open(path, O_PATH); /* no CLOEXEC: this process ends with the probe */
}

static void take_line(int fd, char *said, size_t cap)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = poll(&p, 1, 0) > 0 ? read(fd, said, cap - 1) : 0;

	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
}

/* 0: everything was as it should be. */
static int attempt(const char *path, const struct immure_facts *f, bool by_fd,
		   struct immure_outcome *o)
{
	int pipes[2], pidfd = -1, status = 0, pid, r;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		int null = immure_open_null(), shell = keep_open("/bin/sh");
		int usr = by_fd ? keep_open("/usr") : -1;

		if (null < 0 || shell < 0 || (by_fd && usr < 0) || chdir("/") < 0 ||
		    dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(pipes[1], 2) < 0)
			_exit(126);
		run_inside(path, looks, shell, usr, -1, f);
	}
	(void)close(pipes[1]);
	r = pid < 0 ? pid : immure_child_wait(pid, &pidfd, TRY_MS, &status);
	take_line(pipes[0], o->said, sizeof(o->said));
	(void)close(pipes[0]);
	if (r < 0)
		return r;
	return WIFEXITED(status) && WEXITSTATUS(status) == INSIDE_OK ? 0 : -EPERM;
}

void immure_try_bwrap(const struct immure_facts *f, struct immure_outcome *o)
{
	const char *path = bwrap_path(f), *unfit;
	struct stat st;

	o->ok = IMMURE_NO;
	o->step = "not installed";
	if (!path)
		return;
	if (stat(path, &st) < 0)
		return immure_probe_no(o, "look at bwrap");
	unfit = immure_bwrap_unfit(&st, f->uid);
	if (unfit) {
		o->step = unfit;
		return;
	}
	/* With descriptors its binds cannot be led elsewhere; without them they are
	 * looked at afterwards. */
	o->value = attempt(path, f, true, o) == 0;
	if (!o->value && attempt(path, f, false, o) < 0) {
		o->step = "start a shell in bubblewrap";
		return;
	}
	o->said[0] = '\0';
	o->ok = IMMURE_YES;
}

/* ---- its network ---- */

/* Once in a child: whoever made the user namespace may enter what it owns. */
static int plumb(const char *net_path, const char **what, uint64_t *ret_ways)
{
	struct immure_netplumb_config c = { .spare = 1, .proxy = true };
	IMMURE_CLEANUP_FD int net = open(net_path, O_RDONLY | O_CLOEXEC);
	IMMURE_CLEANUP_FD int user = net < 0 ? -1 : ioctl(net, NS_GET_USERNS);
	struct immure_netplumb p;
	int r;

	*what = "look for the network namespace";
	if (user < 0)
		return -errno;
	*what = "enter the namespaces";
	if (setns(user, CLONE_NEWUSER) < 0 || setns(net, CLONE_NEWNET) < 0)
		return -errno;
	immure_rtnl_setup_default(&c.routes, true);
	*what = "network plumbing";
	r = immure_netplumb_make(&c, &p, what);
	if (r < 0)
		return r;
	*ret_ways = immure_netplumb_ways(&p);
	immure_netplumb_done(&p);
	return 0;
}

/* The number of the first process inside, as bubblewrap tells it before it sets up
 * anything but the namespaces. */
static int child_of(int info)
{
	struct pollfd p = { .fd = info, .events = POLLIN };
	char text[256];
	const char *at;
	ssize_t n = poll(&p, 1, TRY_MS) == 1 ? read(info, text, sizeof(text) - 1) : -1;

	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, "\"child-pid\": ");
	return at ? atoi(at + strlen("\"child-pid\": ")) : 0;
}

void immure_try_bwrap_net(const struct immure_facts *f, struct immure_outcome *o)
{
	const char *path = bwrap_path(f), *what = "start a shell in bubblewrap";
	int info[2], in[2], pidfd = -1, status = 0, pid, child, r;
	char net[64];
	struct stat st;

	o->ok = IMMURE_NO;
	o->step = "not installed";
	if (!path || stat(path, &st) < 0 || immure_bwrap_unfit(&st, f->uid))
		return;
	if (pipe2(info, O_CLOEXEC) < 0 || pipe2(in, O_CLOEXEC) < 0)
		return immure_probe_no(o, "pipe");
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		int null = immure_open_null(), shell = keep_open("/bin/sh");

		if (null < 0 || shell < 0 || chdir("/") < 0 || dup2(in[0], 0) < 0 ||
		    dup2(null, 1) < 0 || dup2(null, 2) < 0 || fcntl(info[1], F_SETFD, 0) < 0)
			_exit(126);
		run_inside(path, waits, shell, -1, info[1], f);
	}
	immure_close(&info[1]);
	immure_close(&in[0]);
	child = pid < 0 ? 0 : child_of(info[0]);
	(void)snprintf(net, sizeof(net), "/proc/%d/ns/net", child);
	r = child > 0 ? plumb(net, &what, &o->value) : -EPERM; /* this process ends with the probe */
	immure_close(&in[1]);
	if (pid > 0)
		(void)immure_child_wait(pid, &pidfd, TRY_MS, &status); /* it ends by its input */
	immure_close(&info[0]); /* bubblewrap has more to say there, and would die of it */
	errno = -r;
	if (r < 0)
		return immure_probe_no(o, what);
	o->ok = IMMURE_YES;
}
