/* SPDX-License-Identifier: Apache-2.0 */
#include "init/kin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

enum { ROUNDS = 5000 }; /* of a millisecond */

/* Appends the numbers in a file of them. */
static long read_numbers(const char *path, pid_t *ret, size_t n, size_t max)
{
	IMMURE_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[4096];
	long number = 0;
	bool digits = false;
	ssize_t len;

	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? (long)n : -errno;
	while ((len = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < len; i++) {
			if (buf[i] >= '0' && buf[i] <= '9') {
				number = number * 10 + (buf[i] - '0');
				digits = true;
			} else if (digits) {
				if (n == max)
					return -E2BIG;
				ret[n++] = (pid_t)number;
				number = 0;
				digits = false;
			}
		}
	}
	return len < 0 && errno != ESRCH ? -errno : (long)n;
}

/* Children of every thread of pid. */
static long children_of(pid_t pid, pid_t *ret, size_t n, size_t max)
{
	char path[64], buf[4096] __attribute__((aligned(8)));
	long len = 0, got = (long)n;
	int dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT || errno == ESRCH ? got : -errno;
	while (got >= 0 && (len = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < len && got >= 0;) {
			const char *name = buf + i + 19;
			unsigned short reclen;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			i += reclen;
			if (name[0] < '1' || name[0] > '9')
				continue;
			(void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)pid,
				       name);
			got = read_numbers(path, ret, (size_t)got, max);
		}
	}
	immure_close(&dir);
	return got;
}

long immure_kin_children(pid_t *ret, size_t max)
{
	return children_of(getpid(), ret, 0, max);
}

long immure_kin_list(pid_t *ret, size_t max)
{
	long n = children_of(getpid(), ret, 0, max);

	for (long i = 0; i >= 0 && i < n; i++) {
		long more = children_of(ret[i], ret, (size_t)n, max);

		if (more < 0)
			return more;
		n = more;
	}
	return n;
}

static bool reap_all(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid < 0 && errno == ECHILD;
}

static void kill_children(void)
{
	pid_t list[256];
	/* A list cut short is gone on with in the next round. What is not reaped
	 * keeps its number, and only we reap. */
	long n = children_of(getpid(), list, 0, sizeof(list) / sizeof(list[0]));

	if (n == -E2BIG)
		n = sizeof(list) / sizeof(list[0]);
	for (long i = 0; i < n; i++)
		(void)kill(list[i], SIGKILL); /* ESRCH: it is dead */
}

bool immure_kin_end(bool scoped)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < ROUNDS; i++) {
		if (reap_all())
			return true;
		if (scoped)
			(void)kill(-1, SIGKILL); /* ESRCH: nobody is left */
		else
			kill_children();
		if (reap_all())
			return true;
		(void)nanosleep(&pause, NULL); /* cut short: looked at once more */
	}
	return false;
}
