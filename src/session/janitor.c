/* SPDX-License-Identifier: Apache-2.0 */
#include "session/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"

__attribute__((noreturn)) static void wait_and_remove(int pipe_fd, struct immure_cgroup *c)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	sigset_t all;
	char word;
	ssize_t n;

	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL); /* what stops the supervisor must not stop this */
	(void)setsid();                             /* nor what kills its process group */
	(void)!chdir("/");                          /* nor may it hold the caller's directory */
	do
		n = read(pipe_fd, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	/* The supervisor is gone. Init is dying of it (PDEATHSIG); the leaf can
	 * be removed once the kernel has taken the last member out of it. */
	for (int i = 0; i < 1000; i++) {
		immure_cgroup_kill(c);
		if (immure_cgroup_remove(c) == 0)
			_exit(0);
		(void)nanosleep(&pause, NULL);
	}
	_exit(1);
}

static void close_others(const struct immure_cgroup *c, int pipe_fd)
{
	int keep[1 + IMMURE_CGROUP_DIRS], n = 0, from = 0;

	keep[n++] = pipe_fd;
	for (int i = 0; i < c->n; i++)
		keep[n++] = c->dir_fd[i];
	for (;;) {
		int next = -1;

		for (int i = 0; i < n; i++)
			if (keep[i] >= from && (next < 0 || keep[i] < next))
				next = keep[i];
		if (next < 0)
			break;
		if (next > from)
			(void)immure_sys_close_range((unsigned int)from, (unsigned int)next - 1, 0);
		from = next + 1;
	}
	(void)immure_sys_close_range((unsigned int)from, ~0U, 0); /* ENOSYS: they are CLOEXEC, this never execs */
}

int immure_janitor_start(struct immure_janitor *j, struct immure_cgroup *c)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	j->pid = fork();
	if (j->pid == 0) {
		close_others(c, ends[0]);
		wait_and_remove(ends[0], c);
	}
	immure_close(&ends[0]);
	if (j->pid < 0) {
		int saved = -errno;

		immure_close(&ends[1]);
		return saved;
	}
	j->pipe_fd = ends[1];
	return 0;
}

void immure_janitor_dismiss(struct immure_janitor *j)
{
	if (j->pid < 0)
		return;
	(void)!write(j->pipe_fd, "k", 1); /* EPIPE: it is gone already */
	immure_close(&j->pipe_fd);
	while (waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
		;
	j->pid = -1;
}
