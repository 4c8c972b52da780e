/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in filters of both machines, as the tests walk them. */
#ifndef TESTS_SECCOMP_FILTERS_H
#define TESTS_SECCOMP_FILTERS_H

#include <linux/audit.h>
#include <string.h>

#include "kernel/bpf.h"
#include "kernel/seccomp_builtin.h"

struct machine {
	const char *name;
	uint32_t arch;
	const struct immure_filter_builtin *filters;
	const size_t *filters_n;
};

/* In the order of ORACLE_X86_64, ORACLE_AARCH64. */
static const struct machine machines[] = {
	{ "x86_64", AUDIT_ARCH_X86_64, immure_filters_x86_64, &immure_filters_x86_64_n },
	{ "aarch64", AUDIT_ARCH_AARCH64, immure_filters_aarch64, &immure_filters_aarch64_n },
};

static inline struct immure_bpf_result ask(const struct immure_filter_builtin *b, uint32_t arch,
					   uint32_t nr, const uint64_t args[6])
{
	struct seccomp_data data = { .nr = (int)nr, .arch = arch };

	memcpy(data.args, args, sizeof(data.args));
	return immure_bpf_run(b->filter.insns, b->filter.len, &data);
}

#endif
