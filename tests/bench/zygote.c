/* SPDX-License-Identifier: Apache-2.0 */
/* zygote SUPERVISOR WORKSPACE PROGRAM INSIDE ROUNDS PAUSE_US
 *
 * One line a round, nanoseconds from the request until the exit is seen: PROGRAM by
 * posix_spawn; PROGRAM in a sandbox of its own after a template; INSIDE, which looks
 * from inside, in another; INSIDE by itself (outside, where it only fails).
 * PAUSE_US between them, for what is made in reserve.
 * zygote ... ROUNDS bulk: all of INSIDE, as many at a time as there may be; one line,
 * nanoseconds in all. */
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "immure/immure.h"

extern char **environ;

enum { AT_ONCE = 16 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void die(const char *what, const immure_error *err)
{
	fprintf(stderr, "zygote: %s: %s\n", what, err ? immure_error_text(err) : "failed");
	exit(1);
}

static uint64_t spawn(const char *const *argv, int quiet)
{
	uint64_t start = now_ns();
	int status;
	pid_t pid;

	if (posix_spawn(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ) ||
	    waitpid(pid, &status, 0) != pid || (status && !quiet))
		die("posix_spawn", NULL);
	return now_ns() - start;
}

static immure_process *begin(immure_pool *pool, const char *const *argv)
{
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = IMMURE_STREAM_NULL,
					 .stdout_fd = IMMURE_STREAM_NULL, .stderr_fd = 2 };
	immure_process *p = NULL;
	immure_error *err = NULL;

	if (immure_pool_exec(pool, &o, NULL, &p, &err) < 0)
		die("exec", err);
	return p;
}

static int end(immure_process *p, int32_t timeout_ms)
{
	struct immure_exit x = { .size = sizeof(x) };
	immure_error *err = NULL;
	int32_t r = immure_process_wait(p, timeout_ms, &x, &err);

	if (r == 0)
		return 0;
	if (r != 1 || x.code || x.failed) {
		fprintf(stderr, "zygote: code %d, signal %d, failed %d errno %d\n", x.code, x.signo, x.failed,
			x.errnum);
		die("exit status", err);
	}
	immure_process_free(p);
	return 1;
}

static uint64_t sealed(immure_pool *pool, const char *const *argv)
{
	uint64_t start = now_ns();

	(void)end(begin(pool, argv), -1);
	return now_ns() - start;
}

static void bulk(immure_pool *pool, const char *const *argv, int rounds)
{
	immure_process *running[AT_ONCE] = { NULL };
	uint64_t start = now_ns();
	int begun = 0, ended = 0;

	while (ended < rounds) {
		struct pollfd p;

		for (int i = 0; i < AT_ONCE; i++) {
			if (running[i] && end(running[i], 0)) {
				running[i] = NULL;
				ended++;
			}
			if (!running[i] && begun < rounds) {
				running[i] = begin(pool, argv);
				begun++;
			}
		}
		p = (struct pollfd){ .fd = immure_pool_fd(pool), .events = POLLIN };
		(void)poll(&p, 1, ended < rounds ? -1 : 0);
	}
	printf("%llu\n", (unsigned long long)(now_ns() - start));
}

static immure_plan *plan_for(const char *workspace, const char *const *argv)
{
	struct immure_policy_options po = { .size = sizeof(po), .profile = "dev", .workspace = workspace,
					    .flags = IMMURE_POLICY_NO_DISCOVERY,
					    .env = (const char *const *)environ };
	struct immure_plan_options lo = { .size = sizeof(lo), .argv = argv, .env = (const char *const *)environ };
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	immure_error *err = NULL;

	if (immure_policy_load(&po, &policy, &err) < 0 || immure_plan_create(policy, &lo, &plan, &err) < 0)
		die("plan", err);
	immure_policy_free(policy);
	return plan;
}

int main(int argc, char **argv)
{
	struct immure_pool_options o = { .size = sizeof(o), .pool_size = 8, .pool_max = 64,
					 .mode = IMMURE_POOL_ZYGOTE, .env = (const char *const *)environ };
	const char *quiet[2] = { NULL, NULL }, *looks[3] = { NULL, "/tmp/mark", NULL };
	immure_pool *pool = NULL;
	immure_error *err = NULL;
	immure_plan *plan;
	int rounds, pause;

	if (argc != 7)
		return 2;
	quiet[0] = argv[3];
	looks[0] = argv[4];
	o.supervisor = argv[1];
	rounds = atoi(argv[5]);
	pause = atoi(argv[6]);
	plan = plan_for(argv[2], quiet);
	if (immure_pool_open(plan, &o, &pool, &err) < 0)
		die("open", err);
	if (!strcmp(argv[6], "bulk"))
		bulk(pool, looks, rounds);
	for (int i = 0; i < rounds && strcmp(argv[6], "bulk") != 0; i++) {
		uint64_t ns[4] = { 0 };

		for (int j = 0; j < 4; j++) {
			int which = (i + j) % 4;

			ns[which] = which == 0 ? spawn(quiet, 0) : which == 1 ? sealed(pool, quiet)
				    : which == 2 ? sealed(pool, looks) : spawn(looks, 1);
			if (pause)
				usleep((useconds_t)pause);
		}
		printf("%llu %llu %llu %llu\n", (unsigned long long)ns[0], (unsigned long long)ns[1],
		       (unsigned long long)ns[2], (unsigned long long)ns[3]);
	}
	immure_pool_free(pool);
	immure_plan_free(plan);
	return 0;
}
