/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/seccomp_builtin.h"

#if defined(__x86_64__)
#define FILTERS   immure_filters_x86_64
#define FILTERS_N immure_filters_x86_64_n
#elif defined(__aarch64__)
#define FILTERS   immure_filters_aarch64
#define FILTERS_N immure_filters_aarch64_n
#else
#error "no seccomp filters for this architecture"
#endif

const struct immure_filter *immure_filter_builtin(const char *name, uint64_t families)
{
	const struct immure_filter_builtin *best = NULL;

	for (size_t i = 0; i < FILTERS_N; i++) {
		const struct immure_filter_builtin *b = &FILTERS[i];

		if (strcmp(b->profile, name) != 0 || (b->families & ~families))
			continue;
		if (!best || (best->families & b->families) == best->families)
			best = b;
	}
	return best ? &best->filter : NULL;
}

int immure_filter_install(const struct immure_filter *f, uint32_t flags)
{
	/* The kernel only reads; its struct merely lacks the const. */
	union {
		const struct sock_filter *ro;
		struct sock_filter *rw;
	} insns = { .ro = f->insns };
	struct sock_fprog prog = { .len = f->len, .filter = insns.rw };
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	if (r < 0)
		return -errno;
	/* Only with TSYNC: the thread that could not be synchronised. */
	if (r > 0 && !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return -ESRCH;
	return (int)r;
}
