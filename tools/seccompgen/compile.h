/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SECCOMPGEN_COMPILE_H
#define SECCOMPGEN_COMPILE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy.h"

struct machine {
	const char *name;
	uint32_t audit_arch;
	bool x32; /* numbers with bit 30 are another ABI's: ENOSYS */
};

/* The filter of one variant of a policy; returns its length. */
size_t compile_filter(const struct policy *p, const struct variant *v, const struct machine *m,
		      struct sock_filter *out, size_t max);

#endif
