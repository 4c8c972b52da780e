/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Init forgets its callers. What it ever had of them, arguments, environment and paths,
 * was in the memory of struct immure_execs and nowhere else (what does not fit there is
 * mapped for the time of one request): that memory is given back to the kernel, which
 * gives zeroes for it, and is looked at afterwards. Nothing is done while a command runs
 * or somebody still has a line to init: the answer says that.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/serving.h"

/* Whose other end is gone is no line any more, though nobody has looked yet. */
static bool has_lanes(struct immure_serving *s)
{
	bool any = false;
	char c;

	for (int i = 0; i < IMMURE_INIT_LANES; i++) {
		if (s->execs->lane_fd[i] < 0)
			continue;
		if (recv(s->execs->lane_fd[i], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			immure_execs_orphan(s, i);
		else
			any = true;
	}
	return any;
}

static bool is_zero(const void *from, size_t len)
{
	const volatile uint64_t *p = from;

	for (size_t i = 0; i < len / sizeof(*p); i++)
		if (p[i])
			return false;
	return true;
}

static bool forget(struct immure_execs *x)
{
	bool clean = madvise(x, sizeof(*x), MADV_DONTNEED) == 0 && is_zero(x, sizeof(*x));

	if (clean)
		immure_execs_reset(x);
	return clean;
}

/* What it counted was of those who are gone. */
static void count_anew(struct immure_init_shared *shared)
{
	if (!shared)
		return;
	shared->started = shared->ended = 0;
	shared->running = shared->lanes = 0;
	__atomic_store_n(&shared->active_ns, 0, __ATOMIC_RELEASE);
}

void immure_init_wipe(struct immure_serving *s, uint64_t id)
{
	struct immure_init_reply r = { .type = IMMURE_INIT_WIPED, .id = id };
	struct rusage u;

	r.flags = s->execs->n ? IMMURE_WIPED_COMMANDS : 0U;
	r.flags |= has_lanes(s) ? IMMURE_WIPED_LANES : 0U;
	if (!r.flags && (s->execs->apart_fd >= 0 || !forget(s->execs)))
		r.flags |= IMMURE_WIPED_MEMORY;
	if (!r.flags)
		count_anew(s->in->shared);
	r.pid = immure_count_fds();
	(void)getrusage(RUSAGE_CHILDREN, &u); /* cannot fail */
	r.user_us = (uint64_t)u.ru_utime.tv_sec * 1000000U + (uint64_t)u.ru_utime.tv_usec;
	r.system_us = (uint64_t)u.ru_stime.tv_sec * 1000000U + (uint64_t)u.ru_stime.tv_usec;
	if (immure_init_send(s->in->report_fd, &r, sizeof(r), NULL, 0, 0) < 0)
		immure_init_leave(s->in, 1);
}
