/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a filter policy, read into decisions per system call.
 *
 *	include FILE                    as if FILE's lines stood here
 *	const NAME NUMBER
 *	default ACTION                  for every number that no line names
 *	complete                        every call of the table must be decided
 *	families VARIANT CONST...       one filter is made per variant; $families in
 *	                                a rule is this list. A later line replaces.
 *	allow CALL...
 *	errno ERRNO CALL...
 *	rule CALL ACTION [when COND {and COND}]   the first that matches decides;
 *	                                the last one of a call has no condition
 *	reset CALL...                   forgets what was decided before
 *
 * ACTION is ALLOW, KILL, NOTIFY or an errno's name. COND is
 *	argN[&MASK] is|not VALUE...     VALUE: number, const, A..B or $families
 *	argN[:64] has|lacks MASK        any / none of these bits
 * and looks at the low 32 bits of the argument, as the kernel does where it
 * takes an int, unless :64 is said. A line that begins with white space goes on
 * from the one before; # starts a comment.
 *
 * A call decided twice, or a name not in the table, is an error: die().
 */
#ifndef SECCOMPGEN_POLICY_H
#define SECCOMPGEN_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CALLS_MAX = 512, NUMBERS_MAX = 4096, CLAUSES_MAX = 24, CONDS_MAX = 4, VALUES_MAX = 40,
       NAME_MAX_LEN = 40, VARIANTS_MAX = 8, CONSTS_MAX = 200, ACTION_NONE = 1 };

struct call {
	char name[NAME_MAX_LEN];
	int nr; /* on the architecture asked for; -1 = not there */
};

struct call_table {
	struct call calls[CALLS_MAX];
	size_t n;
};

struct value_range {
	uint32_t lo, hi;
};

enum cond_op { COND_IS, COND_NOT, COND_HAS, COND_LACKS };

struct cond {
	unsigned int arg;
	enum cond_op op;
	uint32_t mask;     /* IS, NOT: applied first; all ones = none */
	uint64_t bits;     /* HAS, LACKS */
	bool families;     /* the list is the variant's families */
	size_t values_n;
	struct value_range values[VALUES_MAX]; /* sorted, apart */
};

struct clause {
	uint32_t action;
	size_t conds_n;
	struct cond conds[CONDS_MAX];
};

struct decision {
	bool decided;
	uint32_t action;   /* when there are no clauses */
	size_t clauses_n;
	struct clause *clauses;
};

struct variant {
	char name[NAME_MAX_LEN];
	size_t families_n;
	struct value_range families[VALUES_MAX];
};

struct named {
	char name[NAME_MAX_LEN];
	uint64_t value;
};

struct policy {
	const struct call_table *table;
	uint32_t default_action; /* ACTION_NONE until given */
	bool complete;
	struct decision decisions[CALLS_MAX]; /* by index in the table */
	struct variant variants[VARIANTS_MAX];
	size_t variants_n;
	struct named consts[CONSTS_MAX];
	size_t consts_n;
};

/* Prints FILE:LINE: message to stderr and exits 1. */
void die(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* column 0: x86_64, 1: aarch64. */
void call_table_read(struct call_table *t, const char *path, int column);
void policy_read(struct policy *p, const struct call_table *table, const char *path);
void policy_free(struct policy *p);

#endif
