/* SPDX-License-Identifier: Apache-2.0 */
/* What runs inside while something is measured.
 *
 * probe check POINT...    status 0 when every point holds:
 *       same:NS=LINK      in that namespace (pid, mnt, net, user ...)
 *       other:NS=LINK     not in it
 *       status:FIELD=V    a line of /proc/self/status
 *       denied:PATH       cannot be opened: permission denied
 * probe getppid N | read N | open N FILE | spawn N FILE
 *                         nanoseconds of one such operation, best of 20 batches
 * probe time COMMAND...   runs it; nanoseconds it took, its CPU time in us
 * probe hold              says so on stdout, ends with stdin
 * probe family N          the same with N daemons that do not end by themselves */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* ---- check ---- */

static int in_namespace(const char *name, size_t len, const char *link)
{
	char path[64], self[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/ns/%.*s", (int)len, name);
	n = readlink(path, self, sizeof(self) - 1);
	if (n < 0)
		return -1;
	self[n] = '\0';
	return strcmp(self, link) == 0;
}

static int status_is(const char *field, size_t len, const char *value)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		found = !strncmp(line, field, len) && line[len] == ':' &&
			!strcmp(line + len + 1 + strspn(line + len + 1, " \t"), value);
	}
	if (f)
		fclose(f);
	return found;
}

static int holds(const char *point)
{
	const char *name = strchr(point, ':'), *value = strchr(point, '=');
	size_t len;
	int fd;

	if (!name++)
		return 0;
	if (!strncmp(point, "denied:", 7)) {
		fd = open(name, O_RDONLY | O_CLOEXEC);
		return fd < 0 && errno == EACCES;
	}
	if (!value)
		return 0;
	len = (size_t)(value++ - name);
	if (!strncmp(point, "same:", 5))
		return in_namespace(name, len, value) == 1;
	if (!strncmp(point, "other:", 6))
		return in_namespace(name, len, value) == 0;
	return !strncmp(point, "status:", 7) && status_is(name, len, value);
}

static int check(char **points)
{
	for (; *points; points++)
		if (!holds(*points)) {
			fprintf(stderr, "probe: does not hold: %s\n", *points);
			return 3;
		}
	return 0;
}

/* ---- operations ---- */

static int spawn_once(const char *file)
{
	char *argv[] = { (char *)(uintptr_t)file, NULL };
	int status;
	pid_t pid;

	if (posix_spawn(&pid, file, NULL, NULL, argv, environ))
		return -1;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int once(char what, int zero_fd, const char *file)
{
	char c;
	int fd;

	switch (what) {
	case 'g':
		return syscall(SYS_getppid) < 0;
	case 'r':
		return read(zero_fd, &c, 1) != 1;
	case 's':
		return spawn_once(file);
	default:
		fd = open(file, O_RDONLY | O_CLOEXEC);
		return fd < 0 || close(fd) < 0;
	}
}

static int loop(const char *what, unsigned long n, const char *file)
{
	int zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	uint64_t best = UINT64_MAX;

	for (int batch = 0; batch < 20; batch++) {
		uint64_t start = now_ns(), took;

		for (unsigned long i = 0; i < n; i++)
			if (once(what[0], zero_fd, file))
				return 3;
		took = now_ns() - start;
		if (took < best)
			best = took;
	}
	printf("%.1f\n", (double)best / (double)n);
	return 0;
}

static int timed(char **argv)
{
	uint64_t start = now_ns();
	struct rusage u;
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, &status, 0) < 0)
		return 3;
	start = now_ns() - start;
	getrusage(RUSAGE_CHILDREN, &u);
	printf("%llu %llu\n", (unsigned long long)start,
	       (unsigned long long)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
		       (unsigned long long)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
	return status ? 3 : 0;
}

static int hold(unsigned long daemons)
{
	char c = '.';

	while (daemons--)
		if (fork() == 0) {
			setsid();
			if (fork() == 0)
				for (;;)
					pause();
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	if (write(1, &c, 1) != 1)
		return 3;
	while (read(0, &c, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "check"))
		return check(argv + 2);
	if (!strcmp(what, "time") && argc > 2)
		return timed(argv + 2);
	if (!strcmp(what, "hold"))
		return hold(0);
	if (argc < 3)
		return 2;
	if (!strcmp(what, "family"))
		return hold(strtoul(argv[2], NULL, 10));
	return loop(what, strtoul(argv[2], NULL, 10), argc > 3 ? argv[3] : "");
}
