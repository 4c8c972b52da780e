/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy text says, worked out the slow way: lines are kept as text
 * and read again for each question. Shares nothing with the generator, so that
 * a mistake would have to be made twice.
 */
#ifndef TESTS_SECCOMP_ORACLE_H
#define TESTS_SECCOMP_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle_call {
	char name[40];
	int nr[2]; /* x86_64, aarch64; -1 = not there */
};

struct oracle {
	struct oracle_call calls[512];
	size_t calls_n;
	char *lines[1024]; /* directives, joined, includes in place */
	size_t lines_n;
	uint64_t consts[256];
	char const_names[256][48];
	size_t consts_n;
};

enum { ORACLE_X86_64 = 0, ORACLE_AARCH64 = 1 };

/* dir: .../src/kernel/filters. Fails the test when something is not understood. */
struct oracle *oracle_new(const char *dir, const char *profile);
void oracle_free(struct oracle *o);
/* NULL when no call has this number. */
const struct oracle_call *oracle_by_nr(const struct oracle *o, int machine, uint32_t nr);
const struct oracle_call *oracle_by_name(const struct oracle *o, const char *name);
/* The SECCOMP_RET_ value for a call of the native ABI. */
uint32_t oracle_verdict(const struct oracle *o, const char *variant, int machine, uint32_t nr,
			const uint64_t args[6]);
/* Does the text have rules with conditions for it? */
bool oracle_has_rules(const struct oracle *o, const char *name);

#endif
