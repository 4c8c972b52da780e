/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

/* At every length: a full list was once handed to execve() without an end. */
static void lists_end_in_null(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv l = { 0 };

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		assert_true(immure_strv_add(&a, &l, "x"));
		assert_int_equal(l.n, i + 1);
		assert_null(l.v[l.n]);
	}
	assert_false(immure_strv_add(&a, &l, NULL));
	assert_int_equal(l.n, 100);
	immure_arena_done(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(lists_end_in_null) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
