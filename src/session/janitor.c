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
#include "session/leftover.h"
#include "session/rmtree.h"

__attribute__((noreturn)) static void wait_and_remove(int pipe_fd, struct immure_cgroup *c, const char *dir,
							 void (*after)(void *), void *ctx)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	bool foreign = false;
	sigset_t all;
	char word;
	ssize_t n;

	for (int k = 0; k < IMMURE_CGROUP_DIRS; k++)
		c->dir_fd[k] = c->tasks_fd[k] = -1; /* they were closed with the others */
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
		/* They may not have been there yet when this process was made. */
		for (int k = 0; k < c->n; k++) {
			immure_close(&c->dir_fd[k]);
			c->dir_fd[k] = open(c->path[k], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		}
		if (c->n > 0 && c->dir_fd[0] >= 0)
			immure_cgroup_kill(c);
		/* Without a leaf, what is left when init was killed as well is known by the
		 * directory in its environment. */
		if (dir && c->n == 0 && immure_strays_kill(dir, &foreign) > 0 && !foreign) {
			(void)nanosleep(&pause, NULL); /* looked at once more */
			continue;
		}
		/* What still lives puts new files there; the next time it does not. */
		if (immure_cgroup_remove(c) == 0 && (!dir || immure_rmtree(dir) == 0)) {
			if (after)
				after(ctx);
			_exit(0);
		}
		(void)nanosleep(&pause, NULL);
	}
	_exit(1);
}

static void close_others(int ends[2])
{
	unsigned int keep = (unsigned int)ends[0];

	/* One by one first: without close_range(2) the end that only the supervisor
	 * may hold, and the streams that others wait for the end of, stayed open. */
	immure_close(&ends[1]);
	for (int fd = 0; fd < 3; fd++)
		if (fd != ends[0])
			(void)close(fd); /* not open is as good */
	if (keep > 3)
		(void)immure_sys_close_range(3, keep - 1, 0);
	/* Before 5.9: what is missed is only kept open. The numbers that matter, the
	 * lock of a session above all, are small. */
	if (immure_sys_close_range(keep + 1, ~0U, 0) < 0)
		for (int fd = 3; fd < 1024; fd++)
			if (fd != ends[0])
				(void)close(fd); /* not open is as good */
}

int immure_janitor_start(struct immure_janitor *j, struct immure_cgroup *c, const char *dir,
			 void (*after)(void *), void *ctx)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* No signal when it ends: asking for any child is asking for the session's. */
	j->pid = (int)immure_sys_clone(0, NULL);
	if (j->pid == 0) {
		close_others(ends);
		wait_and_remove(ends[0], c, dir, after, ctx);
	}
	immure_close(&ends[0]);
	if (j->pid < 0) {
		int saved = j->pid;

		j->pid = -1;
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
	/* Not waited for: it has nothing left to do, and being scheduled once more costs
	 * as much as the rest of this. Who comes after us reaps it. */
	(void)waitpid(j->pid, NULL, WNOHANG | __WCLONE);
	j->pid = -1;
}
