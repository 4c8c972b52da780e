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
#include "init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/netns.h"
#include "kernel/privs.h"
#include "kernel/pty.h"
#include "kernel/sys.h"

struct serving {
	const struct immure_init *in;
	int signal_fd;
	int master_fd, slave_fd;
	pid_t current; /* the command, or the attacker; 0 = none */
	bool attacker;
	uint64_t stage_ns[16];
	struct immure_init_net net;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

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

/* ---- setting up ---- */

static const struct immure_op *step_to(const struct immure_plan *p, enum immure_op_kind kind,
				       struct immure_init_step *step)
{
	for (size_t i = 0; i < p->ops_n; i++) {
		if (p->ops[i].kind == kind) {
			step->stage = p->ops[i].stage;
			step->op = (uint32_t)i;
			step->subject = immure_op_name(kind);
			return &p->ops[i];
		}
	}
	return NULL;
}

/* The end of the supervisor is ours; asked before it is relied upon, and
 * looked at once more, because it may have happened in between. */
static int bind_to_supervisor(const struct immure_init *in)
{
	char c;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (recv(in->report_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
	return 0;
}

static int stage_cgroup(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *ns;
	int r = 0;

	step->stage = IMMURE_STAGE_CGROUP;
	step->subject = "cgroup";
	if (in->cgroup)
		r = immure_cgroup_join_self(in->cgroup);
	if (r < 0)
		return r;
	/* Only now: a cgroup namespace is rooted where its maker is. */
	ns = step_to(in->plan, IMMURE_OP_NAMESPACES, step);
	if (ns && (ns->num[0] & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return -errno;
	return 0;
}

static int wait_mapped(const struct immure_init *in)
{
	struct immure_init_msg m;
	ssize_t n;

	do
		n = recv(in->report_fd, &m, sizeof(m), 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(1);
	return n == sizeof(m) && m.type == IMMURE_INIT_MAPPED ? 0 : -EPROTO;
}

static int stage_ids(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *op = step_to(in->plan, IMMURE_OP_IDMAP, step);
	int r;

	if (!op)
		op = step_to(in->plan, IMMURE_OP_IDMAP_SUBID, step);
	if (!op)
		return -EINVAL; /* never without an identity */
	if (in->wait_for_maps)
		r = wait_mapped(in);
	else
		r = immure_ids_map_self((uint32_t)op->num[0], (uint32_t)op->num[1],
					(uint32_t)op->num[2], (uint32_t)op->num[3]);
	if (r < 0)
		return r;
	r = immure_ids_become((uint32_t)op->num[0], (uint32_t)op->num[2]);
	/* Becoming someone may have cleared it (prctl(2)). */
	return r < 0 ? r : bind_to_supervisor(in);
}

static int stage_network(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *op = step_to(in->plan, IMMURE_OP_HOSTNAME, step);

	return op && sethostname(op->src, strlen(op->src)) < 0 ? -errno : 0;
}

/* As early as there is a user namespace to own it, and before the id maps: it
 * is the longest piece of work that needs nothing from the others. */
static int start_network(struct serving *s, struct immure_init_step *step)
{
	const struct immure_plan *p = s->in->plan;
	const struct immure_op *ns = step_to(p, IMMURE_OP_NAMESPACES, step);

	s->net.wanted = ns && (ns->num[0] & CLONE_NEWNET);
	s->net.loopback = immure_plan_find(p, IMMURE_OP_LOOPBACK) != NULL;
	return s->net.wanted ? immure_init_net_start(&s->net) : 0;
}

static int stage_terminal(struct serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r;

	if (!in->tty[0] && !in->tty[1] && !in->tty[2])
		return 0;
	step->stage = IMMURE_STAGE_FDS;
	step->subject = "/dev/pts";
	r = immure_pty_open(&s->master_fd, &s->slave_fd);
	if (r == 0)
		r = immure_fd_raise(&s->master_fd, 10);
	if (r == 0)
		r = immure_fd_raise(&s->slave_fd, 10);
	return r;
}

static int stage_fds(struct serving *s, struct immure_init_step *step)
{
	int keep[4] = { s->in->report_fd, s->master_fd, s->slave_fd, s->signal_fd };
	unsigned int from = 3;
	int r = 0;

	step->stage = IMMURE_STAGE_FDS;
	step->subject = "close_range";
	for (int i = 0; i < 4; i++) /* four numbers: the simplest sort there is */
		for (int j = i + 1; j < 4; j++)
			if (keep[j] < keep[i]) {
				int t = keep[i];

				keep[i] = keep[j];
				keep[j] = t;
			}
	for (int i = 0; i < 4 && r == 0; i++) {
		if (keep[i] < 0)
			continue;
		if ((unsigned int)keep[i] > from)
			r = immure_sys_close_range(from, (unsigned int)keep[i] - 1, 0);
		from = (unsigned int)keep[i] + 1;
	}
	return r < 0 ? r : immure_sys_close_range(from, ~0U, 0);
}

static const struct {
	const char *name;
	int resource;
} rlimits[] = {
	{ "core", RLIMIT_CORE },     { "cpu", RLIMIT_CPU },	{ "fsize", RLIMIT_FSIZE },
	{ "rtprio", RLIMIT_RTPRIO }, { "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC }, { "memlock", RLIMIT_MEMLOCK },
	{ "as", RLIMIT_AS },	     { "data", RLIMIT_DATA },
};

static int set_rlimit(const struct immure_op *op)
{
	for (size_t i = 0; i < sizeof(rlimits) / sizeof(rlimits[0]); i++) {
		struct rlimit lim = { .rlim_cur = op->num[0], .rlim_max = op->num[0] }, have;

		if (strcmp(op->src, rlimits[i].name) != 0)
			continue;
		/* A limit that the caller is under already is never raised. */
		if (getrlimit(rlimits[i].resource, &have) < 0)
			return -errno;
		if (have.rlim_max < lim.rlim_max)
			lim.rlim_cur = lim.rlim_max = have.rlim_max;
		if (rlimits[i].resource == RLIMIT_CPU) /* SIGXCPU first, then SIGKILL */
			lim.rlim_max = lim.rlim_max == RLIM_INFINITY ? lim.rlim_max : lim.rlim_max + 1;
		return setrlimit(rlimits[i].resource, &lim) < 0 ? -errno : 0;
	}
	return -EINVAL;
}

static int set_affinity(uint64_t cpus)
{
	cpu_set_t have, want;
	uint64_t n = 0;

	CPU_ZERO(&want);
	if (sched_getaffinity(0, sizeof(have), &have) < 0)
		return -errno;
	for (unsigned int i = 0; i < CPU_SETSIZE && n < cpus; i++) {
		if (CPU_ISSET(i, &have)) {
			CPU_SET(i, &want);
			n++;
		}
	}
	return sched_setaffinity(0, sizeof(want), &want) < 0 ? -errno : 0;
}

static int stage_rlimits(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	int r = 0;

	for (size_t i = 0; i < p->ops_n && r == 0; i++) {
		step->stage = p->ops[i].stage;
		step->op = (uint32_t)i;
		step->subject = p->ops[i].src;
		if (p->ops[i].kind == IMMURE_OP_RLIMIT)
			r = set_rlimit(&p->ops[i]);
		else if (p->ops[i].kind == IMMURE_OP_CPU_AFFINITY)
			r = set_affinity(p->ops[i].num[0]);
	}
	return r;
}

static int stage_privileges(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	int r;

	/* A new session keyring: the caller's keys are not possessed any more.
	 * ENOSYS is a kernel without keyrings, which has none to leak. */
	if (step_to(p, IMMURE_OP_KEYRING, step) &&
	    syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL) < 0 && errno != ENOSYS)
		return -errno;
	if (step_to(p, IMMURE_OP_DROP_CAPS, step)) {
		r = immure_caps_drop_all();
		if (r < 0)
			return r;
	}
	/* Late, because a process that is not dumpable does not own its files
	 * in /proc, and the id maps are such files. */
	step->stage = IMMURE_STAGE_CAPS;
	step->subject = "dumpable";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (step_to(p, IMMURE_OP_NO_NEW_PRIVS, step) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* Reads back what the kernel now says, instead of believing that calls which
 * returned 0 did what was meant. */
static int stage_check(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	int r;

	step->stage = IMMURE_STAGE_CHECK;
	step->subject = "pid namespace";
	if (getpid() != 1)
		return -ECHILD;
	step->subject = "capabilities";
	if (immure_plan_find(p, IMMURE_OP_DROP_CAPS)) {
		r = immure_caps_check_none();
		if (r < 0)
			return r;
	}
	step->subject = "no_new_privs";
	if (immure_plan_find(p, IMMURE_OP_NO_NEW_PRIVS) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	step->subject = "dumpable";
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -EPERM;
	return 0;
}

static int stage_seccomp(const struct immure_init *in, struct immure_init_step *step)
{
	int r = 0;

	if (!step_to(in->plan, IMMURE_OP_SECCOMP, step))
		return in->filter ? -EINVAL : 0;
	if (!in->filter)
		return -EINVAL;
	/* A user's own filter is not written with init in mind: then init runs
	 * under the guard, and the filter goes on just before exec. */
	r = immure_filter_install(in->filter_on_init ? in->filter : in->guard, 0);
	if (r >= 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return -EPERM;
	return r < 0 ? r : 0;
}

static void mark(struct serving *s, enum immure_stage stage)
{
	if (s->in->trace)
		s->stage_ns[stage] = now_ns();
}

static int set_up(struct serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r, root_fd;

	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "parent death";
	r = bind_to_supervisor(in);
	mark(s, IMMURE_STAGE_NAMESPACE);
	if (r == 0)
		r = stage_cgroup(in, step);
	if (r == 0)
		r = start_network(s, step);
	mark(s, IMMURE_STAGE_CGROUP);
	if (r == 0)
		r = stage_ids(in, step);
	mark(s, IMMURE_STAGE_IDS);
	if (r < 0)
		return r;
	root_fd = immure_init_build_root(in->plan, &s->net, step);
	mark(s, IMMURE_STAGE_MOUNT);
	if (root_fd < 0)
		return root_fd;
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "network namespace";
	r = immure_init_net_join(&s->net);
	if (r < 0)
		return r;
	r = immure_init_pivot(step, root_fd);
	mark(s, IMMURE_STAGE_PIVOT);
	if (r == 0)
		r = stage_network(in, step);
	mark(s, IMMURE_STAGE_NETWORK);
	if (r == 0)
		r = stage_terminal(s, step);
	if (r == 0)
		r = stage_fds(s, step);
	mark(s, IMMURE_STAGE_FDS);
	if (r == 0)
		r = stage_rlimits(in, step);
	mark(s, IMMURE_STAGE_RLIMIT);
	if (r == 0)
		r = stage_privileges(in, step);
	mark(s, IMMURE_STAGE_NO_NEW_PRIVS);
	if (r == 0)
		r = immure_init_landlock(in->plan, step);
	mark(s, IMMURE_STAGE_LANDLOCK);
	if (r == 0)
		r = immure_init_forget(in->plan, step);
	if (r == 0)
		r = stage_check(in, step);
	if (r == 0)
		r = stage_seccomp(in, step);
	mark(s, IMMURE_STAGE_SECCOMP);
	return r;
}

/* ---- serving ---- */

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

static void launched(struct serving *s, long pid, int errnum, bool attacker)
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

static void launch(struct serving *s)
{
	int errnum = 0;
	long pid = immure_init_launch(s->in, s->slave_fd, &errnum);

	launched(s, pid, errnum, false);
	immure_close(&s->slave_fd); /* the terminal hangs up when the last user is gone */
}

static void ended(struct serving *s, int status)
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

static void reap(struct serving *s)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)!read(s->signal_fd, &si, sizeof(si)); /* only to empty it */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->current)
			ended(s, status);
}

static void request(struct serving *s)
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

static void watch_memory(struct serving *s)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_OVER_MEMORY };

	if (!s->current || resident() <= s->in->memory_watch)
		return;
	(void)kill(-1, SIGKILL); /* the exits are what is waited for next */
	send_message(s->in, &m, -1);
}

__attribute__((noreturn)) static void serve(struct serving *s)
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
	struct serving s = { .in = in, .signal_fd = -1, .master_fd = -1, .slave_fd = -1 };
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
		r = set_up(&s, &step);
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
