/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that are looked for by a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/needle.h"

static void is_found_where_it_is(void **unused)
{
	static const char text[] = "the canary-0123456789 and canary-012345678 and canary-0123456789";
	struct immure_needle n;

	(void)unused;
	for (uint64_t base = 0; base < 5; base++) {
		immure_needle_make(&n, "canary-0123456789", 17, base * UINT64_C(0x9e3779b97f4a7c15));
		assert_int_equal(immure_needle_find(&n, text, sizeof(text) - 1, 0), 4);
		assert_int_equal(immure_needle_find(&n, text, sizeof(text) - 1, 5), sizeof(text) - 18);
		assert_int_equal(immure_needle_find(&n, text, sizeof(text) - 2, 5), sizeof(text) - 2);
		assert_int_equal(immure_needle_find(&n, text, 16, 0), 16);
		assert_int_equal(immure_needle_find(&n, text + 4, 17, 0), 0);
	}
	immure_needle_make(&n, "seven77", 7, 1);
	assert_int_equal(immure_needle_find(&n, "seven77seven77", 14, 0), 14);
	immure_needle_make(&n, "\0\0\0\0\0\0\0\0", 8, 1);
	assert_int_equal(immure_needle_find(&n, "\1\0\0\0\0\0\0\0\0", 9, 0), 1);
}

struct seen {
	char out[256];
	size_t len;
};

/* Those that went on already. */
static void stars(void *ctx, size_t back, size_t len)
{
	struct seen *s = ctx;

	assert_true(back <= s->len && len <= back);
	memset(s->out + s->len - back, '*', len);
}

static void pieces_of_every_length(void **unused)
{
	static const char text[] = "a canary-0123456789canary-0123456789, another-one, canary-012345678 another-one";
	static const char want[] = "a **********************************, ***********, canary-012345678 ***********";
	struct immure_needle n[2];

	(void)unused;
	immure_needle_make(&n[0], "canary-0123456789", 17, 7);
	immure_needle_make(&n[1], "another-one", 11, 8);
	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct immure_redactor r = { 0 };
		struct seen s = { 0 };

		for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
			size_t left = sizeof(text) - 1 - at, now = left < piece ? left : piece;
			char copy[128];

			memcpy(copy, text + at, now);
			assert_int_equal(immure_redactor_feed(&r, n, 2, copy, now, stars, &s), 0);
			memcpy(s.out + s.len, copy, now);
			s.len += now;
			assert_true(r.len <= 16);
		}
		assert_string_equal(s.out, want);
		immure_redactor_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_found_where_it_is),
		cmocka_unit_test(pieces_of_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
