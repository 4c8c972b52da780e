/* SPDX-License-Identifier: Apache-2.0 */
/* The filters against the policy text: every number, and arguments at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "seccomp_filters.h"
#include "seccomp_oracle.h"

enum { SAMPLES = 5000 }; /* per filter: six of each of two machines */

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static struct oracle *open_oracle(const char *profile)
{
	char dir[1024];

	(void)snprintf(dir, sizeof(dir), "%s/src/kernel/filters", getenv("IMMURE_SOURCE_DIR"));
	return oracle_new(dir, profile);
}

static void compare(const struct oracle *o, int m, const struct immure_filter_builtin *b,
		    uint32_t nr, const uint64_t args[6])
{
	uint32_t want = oracle_verdict(o, b->variant, m, nr, args);
	uint32_t got = ask(b, machines[m].arch, nr, args).action;

	if (want != got)
		fail_msg("%s %s/%s nr %u (%#llx, %#llx, %#llx): text says %#x, filter %#x",
			 machines[m].name, b->profile, b->variant, nr,
			 (unsigned long long)args[0], (unsigned long long)args[1],
			 (unsigned long long)args[2], want, got);
}

static void each_filter(void (*check)(const struct oracle *, int,
				      const struct immure_filter_builtin *))
{
	for (int m = 0; m < 2; m++) {
		for (size_t i = 0; i < *machines[m].filters_n; i++) {
			const struct immure_filter_builtin *b = &machines[m].filters[i];
			struct oracle *o = open_oracle(b->profile);

			check(o, m, b);
			oracle_free(o);
		}
	}
}

static void check_numbers(const struct oracle *o, int m, const struct immure_filter_builtin *b)
{
	static const uint32_t odd[] = { 1024, 4096, 0x3fffffff, 0x40000000, 0x7fffffff,
					0x80000000, 0xffffffff };
	static const uint64_t zero[6], ones[6] = { ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0),
						   ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0) };

	for (uint32_t nr = 0; nr < 1024; nr++) {
		compare(o, m, b, nr, zero);
		compare(o, m, b, nr, ones);
		if (m == ORACLE_X86_64)
			compare(o, m, b, nr | 0x40000000, zero);
	}
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		compare(o, m, b, odd[i], zero);
}

/* A number the policies name, or its neighbour, or anything; the upper word set
 * now and then, since that is where filters go wrong. */
static uint64_t draw_argument(const struct oracle *o)
{
	uint64_t v;

	switch (draw() % 4) {
	case 0: v = draw() % 80; break;
	case 1: v = UINT64_C(1) << draw() % 64; break;
	case 2: v = draw(); break;
	default: v = o->consts[draw() % o->consts_n] + draw() % 3 - 1; break;
	}
	if (draw() % 3 == 0)
		v = (v & 0xffffffff) | draw() << 32;
	return v;
}

static void check_random(const struct oracle *o, int m, const struct immure_filter_builtin *b)
{
	const struct oracle_call *ruled[64];
	size_t ruled_n = 0;

	for (size_t i = 0; i < o->calls_n && ruled_n < 64; i++) {
		if (o->calls[i].nr[m] >= 0 && oracle_has_rules(o, o->calls[i].name))
			ruled[ruled_n++] = &o->calls[i];
	}
	if (ruled_n == 0)
		return; /* lists of calls alone: check_numbers() has compared them */
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t args[6];

		for (int k = 0; k < 6; k++)
			args[k] = draw_argument(o);
		compare(o, m, b, (uint32_t)ruled[draw() % ruled_n]->nr[m], args);
	}
}

static void numbers_are_as_written(void **unused)
{
	(void)unused;
	each_filter(check_numbers);
}

static void arguments_are_as_written(void **unused)
{
	(void)unused;
	each_filter(check_random);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_as_written),
		cmocka_unit_test(arguments_are_as_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
