/* SPDX-License-Identifier: Apache-2.0 */
/* pool SUPERVISOR WORKSPACE PROGRAM SPEAKER ROUNDS
 *
 * One line a round, nanoseconds, the six in alternating order:
 *   PROGRAM by posix_spawn until it was waited for; the same in a living session;
 *   SPEAKER by posix_spawn until its first byte; acquire, and from the beginning of
 *   acquire until SPEAKER's first byte out of that session; the same two from an open
 *   pool, with a plan of the caller's for its own workspace; the same with that plan made
 *   meanwhile.
 * Each sample's exit status is looked at; each session is seen to be confined. */
#include <fcntl.h>
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

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void die(const char *what, const immure_error *err)
{
	fprintf(stderr, "pool: %s: %s\n", what, err ? immure_error_text(err) : "failed");
	exit(1);
}

static uint64_t spawn(char *program, int *first_byte)
{
	char *argv[] = { program, (char[]){ "x" }, NULL };
	posix_spawn_file_actions_t acts;
	uint64_t start = now_ns(), at;
	int status, out[2] = { -1, -1 };
	pid_t pid;
	char c;

	posix_spawn_file_actions_init(&acts);
	if (first_byte) {
		if (pipe2(out, O_CLOEXEC) < 0)
			die("pipe", NULL);
		posix_spawn_file_actions_adddup2(&acts, out[1], 1);
	}
	if (posix_spawn(&pid, program, &acts, NULL, argv, environ))
		die("posix_spawn", NULL);
	posix_spawn_file_actions_destroy(&acts);
	if (first_byte) {
		close(out[1]);
		if (read(out[0], &c, 1) != 1)
			die("no output", NULL);
		at = now_ns();
		close(out[0]);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("exit status", NULL);
	return (first_byte ? at : now_ns()) - start;
}

static void run_in(immure_session *s, const char *const *argv, int out, uint64_t *ret_first, int in)
{
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = IMMURE_STREAM_NULL,
					 .stdout_fd = out, .stderr_fd = 2 };
	struct immure_exit x = { .size = sizeof(x) };
	immure_process *p = NULL;
	immure_error *err = NULL;
	char c;

	if (immure_session_exec(s, &o, &p, &err) < 0)
		die("exec", err);
	if (ret_first) {
		if (read(in, &c, 1) != 1)
			die("no output", NULL);
		*ret_first = now_ns();
	}
	if (immure_process_wait(p, -1, &x, &err) != 1 || x.code || x.failed) {
		fprintf(stderr, "pool: %s: code %d, signal %d, failed %d\n", argv[0], x.code, x.signo, x.failed);
		die("exit status", err);
	}
	immure_process_free(p);
}

static void confined(immure_session *s)
{
	static const char *const argv[] = { "/bin/sh", "-c", "grep -q '^Seccomp:.2' /proc/self/status && "
					    "test $(echo /proc/[0-9]* | wc -w) -le 6", NULL };

	run_in(s, argv, IMMURE_STREAM_NULL, NULL, -1);
}

static uint64_t acquired(immure_pool *pool, const struct immure_acquire_options *o, const char *const *argv,
			 uint64_t *ret_first)
{
	uint64_t start = now_ns(), got, first;
	immure_session *s = NULL;
	immure_error *err = NULL;
	int out[2];

	if (pipe2(out, O_CLOEXEC) < 0)
		die("pipe", NULL);
	if (immure_pool_acquire(pool, o, &s, &err) < 0)
		die("acquire", err);
	got = now_ns() - start;
	run_in(s, argv, out[1], &first, out[0]);
	*ret_first = first - start;
	close(out[0]);
	close(out[1]);
	confined(s);
	immure_pool_release(pool, s);
	usleep(20000); /* what it takes to replace it is not this caller's */
	return got;
}

static immure_policy *policy_for(const char *workspace)
{
	struct immure_policy_options po = { .size = sizeof(po), .profile = "dev", .workspace = workspace,
					    .flags = IMMURE_POLICY_NO_DISCOVERY,
					    .env = (const char *const *)environ };
	immure_policy *policy = NULL;
	immure_error *err = NULL;

	if (immure_policy_load(&po, &policy, &err) < 0)
		die("policy", err);
	return policy;
}

static immure_plan *plan_for(const immure_policy *policy, const char *const *argv)
{
	struct immure_plan_options lo = { .size = sizeof(lo), .argv = argv, .env = (const char *const *)environ };
	immure_plan *plan = NULL;
	immure_error *err = NULL;

	if (immure_plan_create(policy, &lo, &plan, &err) < 0)
		die("plan", err);
	return plan;
}

enum { SPAWN, EXEC, SPAWN_BYTE, ACQUIRE, ACQUIRE_BYTE, OPEN, OPEN_BYTE, PLANNED, PLANNED_BYTE, COLUMNS, WAYS = 6 };

int main(int argc, char **argv)
{
	struct immure_session_options so = { .size = sizeof(so), .env = (const char *const *)environ };
	struct immure_pool_options o = { .size = sizeof(o), .pool_size = 4, .env = (const char *const *)environ };
	struct immure_acquire_options with = { .size = sizeof(with) };
	struct immure_acquire_options make = { .size = sizeof(make), .env = (const char *const *)environ };
	const char *quiet[2] = { NULL, NULL }, *speaker[3] = { NULL, "x", NULL };
	uint64_t ns[COLUMNS] = { 0 };
	immure_session *s = NULL;
	immure_pool *pool = NULL, *open = NULL;
	immure_error *err = NULL;
	immure_policy *policy;
	immure_plan *plan;

	if (argc != 6)
		return 2;
	quiet[0] = argv[3];
	speaker[0] = argv[4];
	so.supervisor = o.supervisor = argv[1];
	policy = policy_for(argv[2]);
	plan = plan_for(policy, quiet);
	with.plan = plan;
	make.workspace = argv[2];
	if (immure_session_create(plan, &so, &s, &err) < 0 || immure_pool_open(plan, &o, &pool, &err) < 0)
		die("create", err);
	o.policy = policy;
	if (immure_pool_open(NULL, &o, &open, &err) < 0)
		die("open", err);
	confined(s);
	for (int i = 0, n = atoi(argv[5]); i < n; i++) {
		for (int j = 0; j < WAYS; j++) {
			uint64_t start = now_ns();
			int first;

			switch ((i + j) % WAYS) {
			case 0:
				ns[SPAWN] = spawn(argv[3], NULL);
				break;
			case 1:
				run_in(s, quiet, IMMURE_STREAM_NULL, NULL, -1);
				ns[EXEC] = now_ns() - start;
				break;
			case 2:
				ns[SPAWN_BYTE] = spawn(argv[4], &first);
				break;
			case 3:
				ns[ACQUIRE] = acquired(pool, NULL, speaker, &ns[ACQUIRE_BYTE]);
				break;
			case 4:
				ns[OPEN] = acquired(open, &with, speaker, &ns[OPEN_BYTE]);
				break;
			default:
				ns[PLANNED] = acquired(open, &make, speaker, &ns[PLANNED_BYTE]);
			}
		}
		for (int j = 0; j < COLUMNS; j++)
			printf("%llu%c", (unsigned long long)ns[j], j < COLUMNS - 1 ? ' ' : '\n');
	}
	immure_pool_free(open);
	immure_pool_free(pool);
	immure_session_free(s);
	immure_plan_free(plan);
	immure_policy_free(policy);
	return 0;
}
