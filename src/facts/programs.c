/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that backends may use: where they are, and what they say they are.
 * Looked for in the system's directories only, never in the caller's PATH: a
 * workspace's own "bwrap" must not be run by doctor. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"

enum { ASK_MS = 200 };

static const struct {
	const char *name;
	const char *ask; /* NULL: it has no such option */
} known[] = {
	{ "bwrap", "--version" },
	{ "crun", "--version" },
	{ "runc", "--version" },
	{ "podman", "--version" },
	{ "skopeo", "--version" },
	{ "newuidmap", NULL },
	{ "newgidmap", NULL },
	{ "git", "--version" },
	{ "qemu-system-x86_64", "--version" },
	{ "firecracker", "--version" },
	{ "cloud-hypervisor", "--version" },
	{ "passt", "--version" },
	{ "pasta", "--version" },
	{ "criu", "--version" },
	{ "nft", "--version" },
	{ "systemd-run", "--version" },
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };
_Static_assert((int)KNOWN <= (int)IMMURE_PROGRAMS_MAX, "grow IMMURE_PROGRAMS_MAX");

void immure_programs_find(struct immure_facts *f)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					    "/usr/bin", "/sbin", "/bin" };
	struct immure_fact_program *list = immure_arena_alloc(&f->arena, KNOWN * sizeof(*list));

	for (size_t i = 0; list && i < KNOWN; i++) {
		list[i].name = known[i].name;
		for (size_t d = 0; d < sizeof(dirs) / sizeof(dirs[0]) && !list[i].path; d++) {
			char path[128];

			(void)snprintf(path, sizeof(path), "%s/%s", dirs[d], known[i].name);
			if (access(path, X_OK) == 0)
				list[i].path = immure_arena_strdup(&f->arena, path);
		}
	}
	f->programs = list;
	f->programs_n = list ? KNOWN : 0;
}

struct asked {
	int pid, pidfd, fd;
	size_t len;
};

static void ask(const char *path, const char *option, struct asked *q)
{
	const char *const argv[] = { path, option, NULL };
	const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/",
				    NULL };
	int pipes[2], null;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return;
	q->pid = immure_child_start(&q->pidfd);
	if (q->pid == 0) {
		null = immure_open_null();
		if (null < 0 || chdir("/") < 0 || dup2(null, 0) < 0 || dup2(pipes[1], 1) < 0 ||
		    dup2(null, 2) < 0)
			_exit(127);
		(void)alarm(2); /* the parent's deadline is shorter */
		(void)execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
		_exit(127);
	}
	(void)close(pipes[1]);
	q->fd = pipes[0];
	if (q->pid < 0)
		immure_close(&q->fd);
}

static int left_ms(const struct timespec *start)
{
	struct timespec now;
	int64_t ms;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	ms = (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
	return ms >= ASK_MS ? 0 : ASK_MS - (int)ms;
}

/* The first line is all we want; the rest is read and dropped by closing. */
static void take_answer(struct asked *q, char *version)
{
	ssize_t n = read(q->fd, version + q->len, IMMURE_VERSION_LEN - 1 - q->len);

	if (n > 0) {
		char *end = memchr(version, '\n', q->len += (size_t)n);

		if (!end && q->len < IMMURE_VERSION_LEN - 1)
			return;
		if (end)
			*end = '\0';
	} else if (n < 0 && errno == EINTR) {
		return;
	}
	immure_close(&q->fd);
}

void immure_programs_ask(const struct immure_facts *f, char (*versions)[IMMURE_VERSION_LEN])
{
	struct asked q[KNOWN];
	struct timespec start;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	for (size_t i = 0; i < KNOWN; i++) {
		q[i] = (struct asked){ -1, -1, -1, 0 };
		if (i < f->programs_n && f->programs[i].path && known[i].ask)
			ask(f->programs[i].path, known[i].ask, &q[i]);
	}
	for (;;) {
		struct pollfd p[KNOWN];
		size_t open = 0;

		for (size_t i = 0; i < KNOWN; i++) {
			p[i] = (struct pollfd){ .fd = q[i].fd, .events = POLLIN };
			open += q[i].fd >= 0;
		}
		if (open == 0 || poll(p, KNOWN, left_ms(&start)) <= 0)
			break;
		for (size_t i = 0; i < KNOWN; i++)
			if (p[i].fd >= 0 && p[i].revents)
				take_answer(&q[i], versions[i]);
	}
	for (size_t i = 0; i < KNOWN; i++) {
		int status;

		if (q[i].fd >= 0) /* too late: half an answer is none */
			versions[i][0] = '\0';
		immure_close(&q[i].fd);
		if (q[i].pid > 0)
			(void)immure_child_wait(q[i].pid, &q[i].pidfd, left_ms(&start), &status);
	}
}
