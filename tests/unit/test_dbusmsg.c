/* SPDX-License-Identifier: Apache-2.0 */
/* What a user's service manager is told, and how its answers are read. That the call is the
 * right one, a reader of the tests' and systemd itself say (tests/live/test_scope.py,
 * tests/guest/test_scope.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/dbusmsg.h"

#define UNIT "immure-1-00000000.scope"

static void a_call(void **state)
{
	unsigned char msg[IMMURE_DBUS_MESSAGE];
	size_t len = immure_dbus_scope_call(msg, sizeof(msg), 9, UNIT, 4711);

	(void)state;
	assert_true(len > 300);
	assert_int_equal(immure_dbus_length(msg), len);
	for (size_t cap = 0; cap < len; cap++) { /* nothing is written past the end */
		unsigned char *small = malloc(cap ? cap : 1);

		assert_non_null(small);
		assert_int_equal(immure_dbus_scope_call(small, cap, 9, UNIT, 4711), 0);
		free(small);
	}
}

/* A message of that kind; the body is one string at its beginning. */
static size_t message(unsigned char *msg, unsigned char kind, const void *fields, size_t n, const char *body)
{
	uint32_t body_len = (uint32_t)strlen(body), total = body_len ? body_len + 5 : 0, count = (uint32_t)n;
	size_t at = IMMURE_DBUS_HEAD + (n + 7) / 8 * 8;

	memset(msg, 0, 512);
	msg[0] = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';
	msg[1] = kind;
	msg[3] = 1;
	memcpy(msg + 4, &total, 4);
	memcpy(msg + 12, &count, 4);
	memcpy(msg + IMMURE_DBUS_HEAD, fields, n);
	if (total) {
		memcpy(msg + at, &body_len, 4);
		memcpy(msg + at + 4, body, body_len + 1);
	}
	return at + total;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define U32(v) (v), 0, 0, 0
#else
#define U32(v) 0, 0, 0, (v)
#endif

static const unsigned char to_nine[] = { 5, 1, 'u', 0, U32(9) };
static const unsigned char job_removed[] = { 3, 1, 's', 0, U32(10), 'J', 'o', 'b', 'R', 'e', 'm', 'o', 'v', 'e', 'd', 0,
					     0, 0, 0, 0, 0, 8, 1, 'g', 0, 1, 's', 0 };

static void answers(void **state)
{
	unsigned char msg[512];
	size_t len;

	(void)state;
	len = message(msg, 2, to_nine, sizeof(to_nine), "/job");
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_BEGUN);
	assert_int_equal(immure_dbus_judge(msg, len, 8, UNIT), IMMURE_DBUS_OTHER);
	assert_int_equal(immure_dbus_judge(msg, len - 1, 9, UNIT), IMMURE_DBUS_BROKEN);
	len = message(msg, 3, to_nine, sizeof(to_nine), "no");
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_REFUSED);
	len = message(msg, 1, to_nine, sizeof(to_nine), "");
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_OTHER);
	len = message(msg, 4, job_removed, sizeof(job_removed), UNIT);
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_OVER);
	len = message(msg, 4, job_removed, sizeof(job_removed), "x" UNIT);
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_OTHER);
	len = message(msg, 4, job_removed, sizeof(job_removed), UNIT "x");
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_OTHER);
	len = message(msg, 4, to_nine, sizeof(to_nine), UNIT);
	assert_int_equal(immure_dbus_judge(msg, len, 9, UNIT), IMMURE_DBUS_OTHER);
}

static void lengths(void **state)
{
	static const unsigned char huge[4] = { 0xff, 0xff, 0xff, 0xff };
	unsigned char msg[512];

	(void)state;
	(void)message(msg, 2, to_nine, sizeof(to_nine), "");
	assert_int_equal(immure_dbus_length(msg), IMMURE_DBUS_HEAD + 8);
	memcpy(msg + 4, huge, 4);
	assert_int_equal(immure_dbus_length(msg), 0);
	memset(msg + 4, 0, 4);
	memcpy(msg + 12, huge, 4);
	assert_int_equal(immure_dbus_length(msg), 0);
	(void)message(msg, 2, to_nine, sizeof(to_nine), "");
	msg[0] ^= 'l' ^ 'B';
	assert_int_equal(immure_dbus_length(msg), 0);
	(void)message(msg, 2, to_nine, sizeof(to_nine), "");
	msg[3] = 2;
	assert_int_equal(immure_dbus_length(msg), 0);
}

/* Whatever is in it: read is what is there, in memory of just that length. */
static void mutations(void **state)
{
	uint64_t seed = 88172645463325252ULL;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		unsigned char msg[512], *exact;
		size_t len = i & 1 ? message(msg, 4, job_removed, sizeof(job_removed), UNIT)
				   : message(msg, 2, to_nine, sizeof(to_nine), "/job");

		for (int k = 0; k < 3; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			msg[seed % len] = (unsigned char)(seed >> 32);
		}
		exact = malloc(len);
		assert_non_null(exact);
		memcpy(exact, msg, len);
		(void)immure_dbus_judge(exact, len, 9, UNIT);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call), cmocka_unit_test(answers), cmocka_unit_test(lengths), cmocka_unit_test(mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
