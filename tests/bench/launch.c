/* SPDX-License-Identifier: Apache-2.0 */
/* launch ROUNDS SECONDS LABEL [every=N] [ns=FILE] COMMAND... [:: CHECK...] [';' LABEL ...]...
 *
 * Starts the commands in turn, one of each a round, until ROUNDS are done or
 * SECONDS are over (but at least five rounds), in another order each round: what ran
 * just before is still in the caches, and with one order the same command would always
 * have the same one before it. The orders are the same in each run.
 * Prints a line per command: its label, and for each round the nanoseconds
 * from spawn to reaped, or '-' where every=N left the round out (for what takes
 * long). A command that does not end with status 0 ends everything: what did not
 * do its work is no sample. Nor is what was not confined: CHECK, the same command
 * line with a program that looks for itself, runs after each sample, untimed.
 * ns=FILE: a mount namespace to be in meanwhile, entered and left untimed. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS_MAX = 32, WARM_UP = 1, LEAST = 5 };

struct command {
	const char *label;
	char **argv, **check;
	size_t every;
	int ns_fd;
	uint64_t *ns; /* a round each; 0 = left out */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int sample(const char *label, char **argv, uint64_t *ret_ns)
{
	uint64_t start = now_ns();
	struct rusage usage;
	int status, r;
	pid_t pid;

	r = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	if (r) {
		fprintf(stderr, "launch: %s: %s: %s\n", label, argv[0], strerror(r));
		return -1;
	}
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return -1;
	*ret_ns = now_ns() - start;
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "launch: %s: %s ended with status %#x\n", label, argv[0],
			(unsigned int)status);
		return -1;
	}
	return 0;
}

static int one(struct command *c, int home_fd, uint64_t *ret_ns)
{
	uint64_t unused;
	int r;

	if (c->ns_fd >= 0 && setns(c->ns_fd, CLONE_NEWNS) < 0)
		return perror("launch: setns"), -1;
	r = sample(c->label, c->argv, ret_ns);
	if (r == 0 && c->check)
		r = sample(c->label, c->check, &unused);
	if (c->ns_fd >= 0 && setns(home_fd, CLONE_NEWNS) < 0)
		return perror("launch: setns"), -1;
	return r;
}

/* A command ends at ';' or '::'; *ret_more tells which by pointing behind it. */
static char **vector(char **argv, char ***ret_check, char ***ret_more)
{
	char **v = argv;

	*ret_check = NULL;
	for (; *argv; argv++) {
		if (!strcmp(*argv, "::")) {
			*argv = NULL;
			*ret_check = argv + 1;
		} else if (!strcmp(*argv, ";")) {
			*argv = NULL;
			*ret_more = argv + 1;
			return v;
		}
	}
	*ret_more = argv;
	return v;
}

static size_t parse(char **argv, struct command *commands, size_t rounds)
{
	size_t n = 0;

	while (*argv && n < COMMANDS_MAX) {
		struct command *c = &commands[n++];

		*c = (struct command){ .label = *argv++, .every = 1, .ns_fd = -1 };
		for (; *argv; argv++) {
			if (!strncmp(*argv, "every=", 6))
				c->every = strtoul(*argv + 6, NULL, 10);
			else if (!strncmp(*argv, "ns=", 3))
				c->ns_fd = open(*argv + 3, O_RDONLY | O_CLOEXEC);
			else
				break;
		}
		c->argv = vector(argv, &c->check, &argv);
		c->ns = calloc(rounds, sizeof(*c->ns));
		if (!c->argv[0] || !c->every || !c->ns)
			return 0;
	}
	return n;
}

/* By xorshift64. */
static void shuffle(size_t *order, size_t n, uint64_t *state)
{
	for (size_t i = n - 1; i > 0; i--) {
		size_t k, was = order[i];

		*state ^= *state << 13;
		*state ^= *state >> 7;
		*state ^= *state << 17;
		k = *state % (i + 1);
		order[i] = order[k];
		order[k] = was;
	}
}

int main(int argc, char **argv)
{
	int home_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct command commands[COMMANDS_MAX];
	size_t rounds, n, done = 0, order[COMMANDS_MAX];
	uint64_t until, random = 88172645463325252U;

	if (argc < 5)
		return 2;
	rounds = strtoul(argv[1], NULL, 10) + WARM_UP;
	until = now_ns() + (uint64_t)(strtod(argv[2], NULL) * 1e9);
	n = parse(argv + 3, commands, rounds);
	if (!n)
		return 2;
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (; done < rounds && (done < WARM_UP + LEAST || now_ns() < until); done++) {
		shuffle(order, n, &random);
		for (size_t i = 0; i < n; i++) {
			struct command *c = &commands[order[i]];

			if (done >= WARM_UP && (done - WARM_UP) % c->every != 0)
				continue;
			if (one(c, home_fd, &c->ns[done]) < 0)
				return 1;
		}
	}
	for (size_t i = 0; i < n; i++) {
		printf("%s", commands[i].label);
		for (size_t j = WARM_UP; j < done; j++)
			if (commands[i].ns[j])
				printf(" %llu", (unsigned long long)commands[i].ns[j]);
			else
				printf(" -");
		printf("\n");
	}
	return 0;
}
