/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct immure_filter *immure_filter_builtin(const char *name, uint64_t families)
{
	(void)name;
	(void)families;
	return NULL;
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
