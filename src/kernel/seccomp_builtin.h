/* SPDX-License-Identifier: Apache-2.0 */
/* What the generator writes; for kernel/seccomp.c and the tests alone. */
#ifndef IMMURE_KERNEL_SECCOMP_BUILTIN_H
#define IMMURE_KERNEL_SECCOMP_BUILTIN_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/seccomp.h"

struct immure_filter_builtin {
	const char *profile, *variant;
	uint64_t families;
	struct immure_filter filter;
};

extern const struct immure_filter_builtin immure_filters_x86_64[];
extern const size_t immure_filters_x86_64_n;
extern const struct immure_filter_builtin immure_filters_aarch64[];
extern const size_t immure_filters_aarch64_n;

#endif
