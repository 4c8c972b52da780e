/* SPDX-License-Identifier: Apache-2.0 */
/* Launching from pid 1: in init's own memory, because nothing of it is to be
 * copied, and because an exec that failed can then say so. Until exec there are
 * only system calls on prepared data. The first command comes by vfork; later ones
 * do not, because those that are there already could stop them meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/serving.h"
#include "kernel/landlock.h"
#include "kernel/rawcall.h"
#include "kernel/sys.h"

static const char *path_of(const char *const *env)
{
	for (; env && *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return "/usr/local/bin:/usr/bin:/bin";
}

/* execvpe(3) without its shell fall-back: what has no interpreter line is not
 * executable, and says so. Returns the errno that tells most. */
static int exec_search(char *const *argv, char *const *envp)
{
	const char *name = argv[0], *path = path_of((const char *const *)envp);
	char file[4096];
	int worst = ENOENT;
	size_t len = strlen(name);

	if (strchr(name, '/')) {
		(void)execve(name, argv, envp); /* returns only on failure */
		return errno;
	}
	for (;;) {
		size_t n = strcspn(path, ":");

		if (n > 0 && path[0] == '/' && n + 1 + len < sizeof(file)) {
			memcpy(file, path, n);
			file[n] = '/';
			memcpy(file + n + 1, name, len + 1);
			(void)execve(file, argv, envp); /* returns only on failure */
			if (errno != ENOENT && errno != ENOTDIR) {
				worst = errno;
				if (errno != EACCES)
					return errno;
			}
		}
		if (!path[n])
			return worst;
		path += n + 1;
	}
}

static int settle_stdio(const struct immure_init *in, int slave_fd)
{
	if (slave_fd < 0)
		return 0;
	if (ioctl(slave_fd, TIOCSCTTY, 0) < 0)
		return -errno;
	for (int i = 0; i < 3; i++)
		if (in->tty[i] && dup2(slave_fd, i) < 0)
			return -errno;
	return 0;
}

/* Without namespaces a domain of the command's own, below init's: so init is out of
 * its reach. */
static int last_filter(const struct immure_init *in)
{
	int r = immure_plan_is_bare(in->plan) ? immure_landlock_restrict(in->ruleset_fd, 0) : 0;

	if (r == 0 && in->filter && !in->filter_on_init)
		r = immure_filter_install(in->filter, 0);
	return r < 0 ? r : 0;
}

static const char *const *env_of(const struct immure_init *in)
{
	return in->env ? in->env : (const char *const *)in->plan->env.v;
}

static void default_mask(void)
{
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these */
}

long immure_init_launch(const struct immure_init *in, int slave_fd, int *ret_errno)
{
	const struct immure_plan *p = in->plan;
	volatile int failed = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		/* A session of its own even without a terminal: the caller's
		 * terminal is then not the command's controlling one. */
		(void)setsid(); /* fails only for a group leader, which this is not */
		int r = settle_stdio(in, slave_fd);

		if (r == 0 && chdir(p->cwd) < 0)
			r = -errno;
		if (r == 0)
			r = last_filter(in);
		if (r == 0)
			r = immure_sys_close_range(3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
		if (r == 0) {
			default_mask();
			/* The vectors end in NULL: the plan's builder sees to it. */
			r = -exec_search((char *const *)(uintptr_t)p->argv.v,
					 (char *const *)(uintptr_t)env_of(in));
		}
		failed = -r;
		_exit(127);
	}
	*ret_errno = pid < 0 ? errno : failed;
	return pid;
}

long immure_init_launch_fd(const struct immure_init *in, const int fds[3], int *ret_errno)
{
	static const char *const argv[] = { "immure-attack", "3", NULL };
	const struct immure_plan *p = in->plan;
	volatile int failed = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		int null = immure_open_null(), r = null < 0 ? null : 0;

		(void)setsid(); /* as above */
		/* The program is moved up first: 0..3 are about to be taken. */
		int program = fcntl(fds[0], F_DUPFD_CLOEXEC, 20);

		if (r == 0 && (program < 0 || dup2(fds[1], 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(null, 2) < 0 || dup2(fds[2], 3) < 0 || chdir(p->cwd) < 0))
			r = -errno;
		if (r == 0)
			r = last_filter(in);
		if (r == 0)
			r = immure_sys_close_range(4, ~0U, 4);
		if (r == 0) {
			default_mask();
			(void)syscall(SYS_execveat, program, "", argv, env_of(in), AT_EMPTY_PATH);
			r = -errno;
		}
		failed = -r;
		_exit(127);
	}
	*ret_errno = pid < 0 ? errno : failed;
	return pid;
}

/* ---- one of many ---- */

static int take_streams(const struct immure_init_start *start)
{
	int from[3], null = -1;

	if (start->slave_fd >= 0) {
		if (ioctl(start->slave_fd, TIOCSCTTY, 0) < 0)
			return -errno;
		for (int i = 0; i < 3; i++)
			if (dup2(start->slave_fd, i) < 0)
				return -errno;
		return 0;
	}
	for (int i = 0; i < 3; i++) { /* all above 2: init has those open itself */
		from[i] = start->stdio[i];
		if (from[i] < 0 && null < 0) {
			null = immure_open_null();
			if (null < 0)
				return null;
		}
		if (from[i] < 0)
			from[i] = null;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], i) < 0)
			return -errno;
	return 0;
}

/* Never above what init itself is under. */
static int lower_limits(const struct immure_init_run *head)
{
	for (uint32_t i = 0; i < head->rlimits_n; i++) {
		struct rlimit have, want = { head->rlimit[i].value, head->rlimit[i].value };
		int which = (int)head->rlimit[i].resource;

		if (getrlimit(which, &have) < 0)
			return -errno;
		if (want.rlim_max > have.rlim_max)
			want.rlim_cur = want.rlim_max = have.rlim_max;
		else if (which == RLIMIT_CPU && want.rlim_max < have.rlim_max)
			want.rlim_max++; /* SIGXCPU first, then SIGKILL */
		if (setrlimit(which, &want) < 0)
			return -errno;
	}
	return 0;
}

struct newborn {
	const struct immure_init *in;
	const struct immure_init_start *start;
	const char *cwd;
	const char *volatile what;
	volatile int failed;
};

static int newborn(void *arg)
{
	struct newborn *b = arg;
	const struct immure_run_strings *s = b->start->strings;
	int r;

	(void)setsid(); /* as above */
	r = take_streams(b->start);
	if (r == 0 && chdir(b->cwd) < 0) {
		r = -errno;
		b->what = b->cwd;
	}
	if (r == 0) {
		r = lower_limits(b->start->head);
		if (r == 0)
			r = immure_init_bear_mark(b->start->mark);
		b->what = r < 0 ? "limits" : b->what;
	}
	if (r == 0 && b->start->apart_fd >= 0)
		r = immure_landlock_restrict(b->start->apart_fd, 0);
	if (r == 0)
		r = last_filter(b->in);
	if (r == 0)
		r = immure_sys_close_range(3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
	if (r == 0) {
		default_mask();
		b->what = s->argv[0];
		r = -exec_search((char *const *)(uintptr_t)s->argv, (char *const *)(uintptr_t)s->envp);
	}
	b->failed = -r;
	/* As _exit(), before which a sanitizer would look at the stack, and not know it. */
	(void)immure_rawcall(SYS_exit_group, 127, 0, 0, 0);
	return 127;
}

/* Until the child has our memory no more: it executed, or is dead. What runs inside
 * already may stop the child before its exec, and with vfork that would stop init and
 * with it every deadline. So it is woken, again and again, while deadlines go on, and
 * in the end killed. Steps are counted: a frozen session's clock is not. */
static bool wait_for_exec(struct immure_serving *s, pid_t pid, int fd)
{
	enum { STEP_MS = 20, STEPS = 10000 / STEP_MS };
	struct pollfd p = { .fd = fd };
	int step = 0;

	while (poll(&p, 1, step < STEPS ? STEP_MS : -1) <= 0) {
		(void)kill(pid, ++step < STEPS ? SIGCONT : SIGKILL); /* not reaped yet: it is there */
		(void)immure_execs_expire(s); /* asked again before the next wait */
	}
	return step < STEPS;
}

#if defined(__SANITIZE_ADDRESS__)
void __asan_unpoison_memory_region(void const volatile *, size_t);
#endif

/* A child that became another program has not left its frames: in what a sanitizer keeps
 * of init's memory, which was the child's as well, they are still there. */
static void forget_frames(void *stack, size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
	__asan_unpoison_memory_region(stack, size);
#else
	(void)stack;
	(void)size;
#endif
}

long immure_init_launch_run(struct immure_serving *s, const struct immure_init_start *start,
			    int *ret_errno, const char **ret_what)
{
	const struct immure_run_strings *strings = start->strings;
	struct newborn b = { .in = s->in, .start = start, .what = "streams",
			     .cwd = strings->cwd[0] ? strings->cwd : s->in->plan->cwd };
	int ends[2];
	pid_t pid;

	*ret_what = "clone";
	if (pipe2(ends, O_CLOEXEC) < 0) {
		*ret_errno = errno;
		return -1;
	}
	forget_frames(s->execs->stack, sizeof(s->execs->stack));
	pid = clone(newborn, s->execs->stack + sizeof(s->execs->stack), CLONE_VM | SIGCHLD, &b);
	*ret_errno = pid < 0 ? errno : 0;
	(void)close(ends[1]); /* nothing was written; the child's is the last one */
	if (pid > 0) {
		*ret_errno = wait_for_exec(s, pid, ends[0]) ? b.failed : ETIMEDOUT;
		*ret_what = *ret_errno == ETIMEDOUT ? strings->argv[0] : b.what;
	}
	(void)close(ends[0]); /* as above */
	return pid;
}
