/* SPDX-License-Identifier: Apache-2.0 */
/* session SESSION PROGRAM ROUNDS: per round a line with nanoseconds from request to
 * exit status: posix_spawn and waitpid here, over a lane, by way of the server.
 * session SESSION PROGRAM ROUNDS flat: as many over a lane, nothing printed. */
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

static void complain(const char *what, immure_error *err)
{
	fprintf(stderr, "session: %s: %s\n", what, err ? immure_error_text(err) : "wrong status");
	exit(1);
}

static uint64_t plain(const char *program)
{
	char *argv[] = { (char *)(uintptr_t)program, NULL };
	uint64_t start = now_ns();
	int status;
	pid_t pid;

	if (posix_spawn(&pid, program, NULL, NULL, argv, environ) || waitpid(pid, &status, 0) < 0 || status)
		complain("spawn", NULL);
	return now_ns() - start;
}

static uint64_t inside(immure_session *session, const char *program, uint32_t flags)
{
	const char *argv[] = { program, NULL };
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = -1, .stdout_fd = -1,
					 .stderr_fd = -1, .flags = flags };
	struct immure_exit x = { .size = sizeof(x) };
	immure_process *process = NULL;
	immure_error *err = NULL;
	uint64_t start = now_ns(), end;

	if (immure_session_exec(session, &o, &process, &err) < 0 ||
	    immure_process_wait(process, -1, &x, &err) != 1 || x.code != 0)
		complain("exec", err);
	end = now_ns();
	immure_process_free(process);
	return end - start;
}

int main(int argc, char **argv)
{
	struct immure_session_options o = { .size = sizeof(o), .env = (const char *const *)environ };
	immure_session *session = NULL;
	immure_error *err = NULL;
	int rounds = argc > 3 ? atoi(argv[3]) : 0;

	if (argc < 4 || immure_session_open(argv[1], &o, &session, &err) < 0)
		complain("open", err);
	if (argc > 4) {
		for (int i = 0; i < rounds; i++)
			(void)inside(session, argv[2], 0);
	} else {
		for (int i = 0; i < rounds; i++)
			printf("%llu %llu %llu\n", (unsigned long long)plain(argv[2]),
			       (unsigned long long)inside(session, argv[2], 0),
			       (unsigned long long)inside(session, argv[2], IMMURE_EXEC_NO_LANE));
	}
	immure_session_free(session);
	return 0;
}
