/* SPDX-License-Identifier: Apache-2.0 */
/* What a launch is timed with, and what measures single operations inside.
 *
 * probe plain PIDNS       exit 0 when in that pid namespace
 * probe sealed PIDNS      exit 0 when in another one: every sample proves that
 *                         it was confined
 * probe getppid N         nanoseconds of one getppid()
 * probe open N FILE       nanoseconds of one open()+close()
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int check(int want_same, const char *ns)
{
	char self[64];
	ssize_t n = readlink("/proc/self/ns/pid", self, sizeof(self) - 1);

	if (n < 0)
		return 3;
	self[n] = '\0';
	return (strcmp(self, ns) == 0) == want_same ? 0 : 3;
}

static int loop(const char *what, unsigned long n, const char *file)
{
	uint64_t best = UINT64_MAX;

	for (int batch = 0; batch < 20; batch++) {
		uint64_t start = now_ns(), took;

		for (unsigned long i = 0; i < n; i++) {
			if (!file) {
				(void)syscall(SYS_getppid);
				continue;
			}
			int fd = open(file, O_RDONLY | O_CLOEXEC);

			if (fd < 0)
				return 3;
			close(fd);
		}
		took = now_ns() - start;
		if (took < best)
			best = took;
	}
	printf("%s %.1f\n", what, (double)best / (double)n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "plain"))
		return check(1, argv[2]);
	if (argc == 3 && !strcmp(argv[1], "sealed"))
		return check(0, argv[2]);
	if (argc == 3 && !strcmp(argv[1], "getppid"))
		return loop(argv[1], strtoul(argv[2], NULL, 10), NULL);
	if (argc == 4 && !strcmp(argv[1], "open"))
		return loop(argv[1], strtoul(argv[2], NULL, 10), argv[3]);
	return 2;
}
