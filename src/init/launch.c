/* SPDX-License-Identifier: Apache-2.0 */
/* Launching from pid 1: vfork, because nothing of init is to be copied, and
 * because an exec that failed can then say so in init's own memory. Between
 * vfork and exec there are only system calls on prepared data. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/serving.h"
#include "kernel/landlock.h"
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
		int null = open("/dev/null", O_RDWR | O_CLOEXEC), r = 0;

		(void)setsid(); /* as above */
		/* The program is moved up first: 0..3 are about to be taken. */
		int program = fcntl(fds[0], F_DUPFD_CLOEXEC, 20);

		if (null < 0 || program < 0 || dup2(fds[1], 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(null, 2) < 0 || dup2(fds[2], 3) < 0 || chdir(p->cwd) < 0)
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
			null = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (null < 0)
				return -errno;
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

long immure_init_launch_run(const struct immure_init *in, const struct immure_init_start *start,
			    int *ret_errno, const char **ret_what)
{
	const struct immure_run_strings *s = start->strings;
	const char *cwd = s->cwd[0] ? s->cwd : in->plan->cwd, *volatile what = "streams";
	volatile int failed = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		(void)setsid(); /* as above */
		int r = take_streams(start);

		if (r == 0 && chdir(cwd) < 0) {
			r = -errno;
			what = cwd;
		}
		if (r == 0 && start->head->rlimits_n) {
			r = lower_limits(start->head);
			what = r < 0 ? "limits" : what;
		}
		if (r == 0)
			r = last_filter(in);
		if (r == 0)
			r = immure_sys_close_range(3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
		if (r == 0) {
			default_mask();
			what = s->argv[0];
			r = -exec_search((char *const *)(uintptr_t)s->argv,
					 (char *const *)(uintptr_t)s->envp);
		}
		failed = -r;
		_exit(127);
	}
	*ret_errno = pid < 0 ? errno : failed;
	*ret_what = pid < 0 ? "vfork" : what;
	return pid;
}
