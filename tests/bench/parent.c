/* SPDX-License-Identifier: Apache-2.0 */
/* parent MEGABYTES SUPERVISOR WORKSPACE PROGRAM
 *
 * A program that has that much memory and starts sessions through the library:
 * one for each byte on stdin. Prints a line each: nanoseconds until
 * immure_session_start() returned, until the command had ended. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "immure/immure.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int complain(immure_error *err)
{
	fprintf(stderr, "parent: %s\n", immure_error_text(err));
	return 1;
}

static int touch(size_t megabytes)
{
	size_t len = megabytes << 20;
	volatile char *p = malloc(len);

	for (size_t i = 0; p && i < len; i += 4096)
		p[i] = 1;
	return p ? 0 : -1;
}

static int session(const immure_plan *plan, const char *supervisor)
{
	struct immure_run_options o = { .size = sizeof(o), .stdin_fd = -1, .stdout_fd = -1,
					.stderr_fd = 2, .supervisor = supervisor };
	uint64_t start = now_ns(), started;
	immure_session *s = NULL;
	immure_result *result = NULL;
	immure_error *err = NULL;
	int32_t r = immure_session_start(plan, &o, &s, &err);

	if (r < 0)
		return complain(err);
	started = now_ns() - start;
	do {
		struct pollfd p = { .fd = immure_session_fd(s), .events = POLLIN };

		poll(&p, 1, -1);
		r = immure_session_step(s, &result, &err);
	} while (r == 0);
	if (r < 0)
		return complain(err);
	printf("%llu %llu\n", (unsigned long long)started,
	       (unsigned long long)(now_ns() - start));
	r = immure_result_exit_status(result);
	immure_result_free(result);
	immure_session_free(s);
	return fflush(stdout) || r;
}

int main(int argc, char **argv)
{
	struct immure_policy_options po = { .size = sizeof(po), .profile = "strict",
					    .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct immure_plan_options plo = { .size = sizeof(plo) };
	const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	immure_error *err = NULL;
	char c;

	if (argc != 5 || touch(strtoul(argv[1], NULL, 10)) < 0)
		return 2;
	po.workspace = argv[3];
	po.env = plo.env = env;
	plo.argv = (const char *const[]){ argv[4], NULL };
	if (immure_policy_load(&po, &policy, &err) < 0 ||
	    immure_plan_create(policy, &plo, &plan, &err) < 0 || immure_plan_check(plan, &err) < 0)
		return complain(err);
	while (read(0, &c, 1) == 1)
		if (session(plan, argv[2]))
			return 1;
	immure_plan_free(plan);
	immure_policy_free(policy);
	return 0;
}
