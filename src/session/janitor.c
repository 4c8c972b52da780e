/* SPDX-License-Identifier: Apache-2.0 */
#include "session/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/rawcall.h"
#include "kernel/sys.h"
#include "session/leftover.h"
#include "session/rmtree.h"

struct duty {
	struct immure_cgroup *c;
	const char *dir;
	void (*after)(void *ctx);
	void *ctx;
};

__attribute__((noreturn)) static void clean_up(const struct duty *d)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	struct immure_cgroup *c = d->c;
	const char *dir = d->dir;
	bool foreign = false;

	for (int k = 0; k < IMMURE_CGROUP_DIRS; k++)
		c->dir_fd[k] = c->tasks_fd[k] = -1; /* they were closed with the others */
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
			if (d->after)
				d->after(d->ctx);
			_exit(0);
		}
		(void)nanosleep(&pause, NULL);
	}
	_exit(1);
}

__attribute__((noreturn)) static void wait_and_clean_up(int pipe_fd, const struct duty *d)
{
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
	clean_up(d);
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

/* ---- on the supervisor's memory ----
 *
 * A copy of it costs three times as much as the process does, and the supervisor pays again
 * for each page that it writes to. As long as the supervisor lives this makes system calls
 * only, and only ones that leave errno alone; afterwards nobody else is left to touch what
 * lies there. What a kill in the middle of something may have left half-done is of no harm
 * with the launcher's own allocator (cli/alloc.c) alone, so others get a copy. */

#if defined(IMMURE_LEAN) && defined(IMMURE_HAVE_RAWCALL)

enum { STACK = 1 << 20 }; /* what is touched of it is there */

struct beside {
	struct duty duty;
	struct immure_cgroup none;
	int ends[2];
	char dir[256];
};

static void shed_beside(const int ends[2])
{
	const uint64_t all = ~UINT64_C(0);
	const long keep = ends[0];
	bool old = false;

	(void)immure_rawcall(SYS_close, ends[1], 0, 0, 0);
	for (long fd = 0; fd < 3; fd++)
		if (fd != keep)
			(void)immure_rawcall(SYS_close, fd, 0, 0, 0); /* not open is as good */
	if (keep > 3)
		old = immure_rawcall(SYS_close_range, 3, keep - 1, 0, 0) < 0;
	if (immure_rawcall(SYS_close_range, keep + 1, ~0U, 0, 0) < 0 || old) /* before 5.9 */
		for (long fd = 3; fd < 1024; fd++)
			if (fd != keep)
				(void)immure_rawcall(SYS_close, fd, 0, 0, 0);
	/* As in wait_and_clean_up(). */
	(void)immure_rawcall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all));
	(void)immure_rawcall(SYS_setsid, 0, 0, 0, 0);
	(void)immure_rawcall(SYS_chdir, (long)"/", 0, 0, 0);
}

static int wait_beside(void *ctx)
{
	struct beside *b = ctx;
	char word;
	long n;

	shed_beside(b->ends);
	do
		n = immure_rawcall(SYS_read, b->ends[0], (long)&word, 1, 0);
	while (n == -EINTR);
	if (n == 1)
		return 0;
	clean_up(&b->duty);
}

/* -ENOTSUP: it takes a copy. The stack is left to the end of this program, which is near. */
static long start_beside(const struct duty *d, const int ends[2])
{
	struct beside *b;
	char *stack;

	if (d->c->n > 0 || !d->dir || strlen(d->dir) >= sizeof(b->dir))
		return -ENOTSUP;
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -ENOTSUP;
	b = (struct beside *)(void *)(stack + STACK - ((sizeof(*b) + 63) & ~(size_t)63));
	b->duty = *d;
	immure_cgroup_init(&b->none);
	b->duty.c = &b->none;
	/* The supervisor's own text is cut short when it removes the directory. */
	strcpy(b->dir, d->dir); /* fits */
	b->duty.dir = b->dir;
	b->ends[0] = ends[0];
	b->ends[1] = ends[1];
	return immure_rawclone(wait_beside, b, CLONE_VM, b, NULL);
}

#else

static long start_beside(const struct duty *d, const int ends[2])
{
	(void)d;
	(void)ends;
	return -ENOTSUP;
}

#endif

int immure_janitor_start(struct immure_janitor *j, struct immure_cgroup *c, const char *dir,
			 void (*after)(void *), void *ctx)
{
	const struct duty d = { .c = c, .dir = dir, .after = after, .ctx = ctx };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* No signal when it ends: asking for any child is asking for the session's. */
	j->pid = (int)start_beside(&d, ends);
	if (j->pid == -ENOTSUP)
		j->pid = (int)immure_sys_clone(0, NULL);
	if (j->pid == 0) {
		close_others(ends);
		wait_and_clean_up(ends[0], &d);
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
