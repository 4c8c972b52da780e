/* SPDX-License-Identifier: Apache-2.0 */
/* launch ROUNDS [-m MEGABYTES] LABEL COMMAND... [';' LABEL COMMAND...]...
 *
 * Starts the commands in turn, ROUNDS times, each round beginning with another
 * one, and prints a line per command: its label and the microseconds from vfork
 * to reaped of each sample. A command that does not exit with 0 ends everything:
 * a sample that did not do its work is no sample. -m touches that much memory
 * first, for the cost of starting from a large program. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 32

struct command {
	const char *label;
	char **argv;
	uint32_t *us;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int sample(struct command *c, uint32_t *ret_us)
{
	uint64_t start = now_ns();
	int status, r;
	pid_t pid;

	r = posix_spawn(&pid, c->argv[0], NULL, NULL, c->argv, environ);
	if (r) {
		fprintf(stderr, "launch: %s: %s\n", c->argv[0], strerror(r));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	*ret_us = (uint32_t)((now_ns() - start) / 1000);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "launch: %s: ended with status %#x\n", c->label, (unsigned)status);
		return -1;
	}
	return 0;
}

static size_t parse(char **argv, struct command *commands)
{
	size_t n = 0;

	while (*argv && n < COMMANDS_MAX) {
		struct command *c = &commands[n++];

		c->label = *argv++;
		c->argv = argv;
		while (*argv && strcmp(*argv, ";"))
			argv++;
		if (*argv)
			*argv++ = NULL;
		if (!c->argv[0])
			return 0;
	}
	return n;
}

static void touch(size_t megabytes)
{
	size_t len = megabytes << 20;
	volatile char *p = malloc(len);

	for (size_t i = 0; p && i < len; i += 4096)
		p[i] = 1;
}

int main(int argc, char **argv)
{
	struct command commands[COMMANDS_MAX] = { 0 };
	size_t rounds, n;
	int at = 2;

	if (argc < 4)
		return 2;
	rounds = strtoul(argv[1], NULL, 10);
	if (!strcmp(argv[2], "-m")) {
		touch(strtoul(argv[3], NULL, 10));
		at = 4;
	}
	n = parse(argv + at, commands);
	if (!n || !rounds)
		return 2;
	for (size_t i = 0; i < n; i++)
		commands[i].us = calloc(rounds, sizeof(uint32_t));
	for (size_t round = 0; round < rounds + 3; round++) /* three to warm up */
		for (size_t i = 0; i < n; i++) {
			struct command *c = &commands[(round + i) % n];
			uint32_t us;

			if (sample(c, &us) < 0)
				return 1;
			if (round >= 3)
				c->us[round - 3] = us;
		}
	for (size_t i = 0; i < n; i++) {
		printf("%s", commands[i].label);
		for (size_t j = 0; j < rounds; j++)
			printf(" %u", commands[i].us[j]);
		printf("\n");
	}
	return 0;
}
