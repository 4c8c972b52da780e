/* SPDX-License-Identifier: Apache-2.0 */
#include "session/members.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/cgtree.h"

/* Of a process: its words after the name, which may hold anything. */
static char *words_of(int32_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	IMMURE_CLEANUP_FD int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	return strrchr(text, ')') ? strrchr(text, ')') + 1 : text;
}

static int add(void *ctx, int32_t pid)
{
	struct immure_init_reply *sum = ctx;
	uint64_t ticks[2], hz = (uint64_t)sysconf(_SC_CLK_TCK), page = (uint64_t)sysconf(_SC_PAGESIZE);
	char text[1024], *p = words_of(pid, "statm", text, sizeof(text));

	if (!p)
		return 0; /* it has just ended */
	(void)strtoull(p, &p, 10);
	ticks[0] = strtoull(p, &p, 10);
	ticks[1] = strtoull(p, NULL, 10);
	sum->memory += ticks[0] > ticks[1] ? (ticks[0] - ticks[1]) * page : 0;
	sum->pid++;
	p = words_of(pid, "stat", text, sizeof(text));
	for (int field = 3; p && field < 14; field++) /* up to utime, stime, cutime, cstime */
		p = strchr(p + 1, ' ');
	for (int i = 0; p && i < 4; i++) {
		uint64_t us = strtoull(p, &p, 10) * 1000000 / hz;

		*(i % 2 ? &sum->system_us : &sum->user_us) += us;
	}
	return 0;
}

void immure_members_measure(const struct immure_cgroup *c, struct immure_init_reply *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (c->n > 0)
		(void)immure_cgtree_members(c->dir_fd[0], add, ret); /* what could be counted */
}
