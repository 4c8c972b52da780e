/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "egress/synth.h"

static struct immure_synth *make(const struct immure_synth_config *c)
{
	struct immure_synth *s = NULL;

	assert_int_equal(immure_synth_new(c, &s), 0);
	return s;
}

static void addresses(void **state)
{
	struct immure_synth_config c;
	unsigned char a[16], mapped[16] = { [10] = 0xff, [11] = 0xff };
	struct immure_synth *s;
	uint32_t x, y, z;

	(void)state;
	immure_synth_defaults(&c);
	s = make(&c);
	immure_synth_own(s, IMMURE_HOST_NET4, a);
	assert_memory_equal(a, "\xc6\x12\0\1", 4);
	assert_null(immure_synth_name(s, IMMURE_HOST_NET4, a));
	assert_int_equal(immure_synth_add(s, "a.example", 0, 0, &x), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "b.example", 0, 0, &y), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "a.example", 0, 0, &z), IMMURE_SYNTH_OK);
	assert_int_equal(x, z);
	assert_int_not_equal(x, y);
	immure_synth_address(s, IMMURE_HOST_NET4, y, a);
	assert_memory_equal(a, "\xc6\x13\0\2", 4);
	assert_string_equal(immure_synth_name(s, IMMURE_HOST_NET4, a), "b.example");
	memcpy(mapped + 12, a, 4);
	assert_string_equal(immure_synth_name(s, IMMURE_HOST_NET6, mapped), "b.example");
	assert_true(immure_synth_covers(s, IMMURE_HOST_NET6, mapped));
	a[3]++;
	assert_null(immure_synth_name(s, IMMURE_HOST_NET4, a));
	assert_true(immure_synth_covers(s, IMMURE_HOST_NET4, a));
	a[0]++;
	assert_false(immure_synth_covers(s, IMMURE_HOST_NET4, a));
	immure_synth_address(s, IMMURE_HOST_NET6, x, a);
	assert_memory_equal(a, "\xfd\x53\x6e\x62\0\0\0\0\0\0\0\0\x80\0\0\1", 16);
	assert_string_equal(immure_synth_name(s, IMMURE_HOST_NET6, a), "a.example");
	a[9] = 1; /* a bit between prefix and number */
	assert_null(immure_synth_name(s, IMMURE_HOST_NET6, a));
	assert_true(immure_synth_covers(s, IMMURE_HOST_NET6, a));
	assert_int_equal(immure_synth_add(s, "", 0, 0, &x), -EINVAL);
	assert_int_equal(immure_synth_count(s), 2);
	immure_synth_free(s);
}

/* Every name of a full table keeps its address, and no two share one. */
static void full(void **state)
{
	struct immure_synth_config c;
	struct immure_complaint complaint;
	struct immure_synth *s;
	uint32_t n;

	(void)state;
	immure_synth_defaults(&c);
	assert_int_equal(immure_synth_prefix(&c, "10.9.0.0/20", &complaint), 0);
	s = make(&c);
	for (uint32_t i = 0;; i++) {
		char name[32];
		int r;

		(void)snprintf(name, sizeof(name), "h%u.example", i);
		r = immure_synth_add(s, name, 0, 0, &n);
		if (r == IMMURE_SYNTH_FULL)
			break;
		assert_int_equal(r, IMMURE_SYNTH_OK);
		assert_int_equal(n, i);
	}
	assert_int_equal(immure_synth_count(s), 2046);
	for (uint32_t i = 0; i < 2046; i++) {
		unsigned char a[16];
		char name[32];

		(void)snprintf(name, sizeof(name), "h%u.example", i);
		immure_synth_address(s, IMMURE_HOST_NET4, i, a);
		assert_true(immure_synth_covers(s, IMMURE_HOST_NET4, a));
		assert_memory_not_equal(a, "\x0a\x09\x0f\xff", 4);
		assert_string_equal(immure_synth_name(s, IMMURE_HOST_NET4, a), name);
		assert_int_equal(immure_synth_add(s, name, 0, 0, &n), IMMURE_SYNTH_OK);
		assert_int_equal(n, i);
	}
	immure_synth_free(s);
}

static void labels(void **state)
{
	struct immure_synth_config c;
	struct immure_synth *s;
	uint32_t n;

	(void)state;
	immure_synth_defaults(&c);
	c.wild_label_bytes = 10;
	c.wild_burst_bytes = 20;
	c.wild_bytes_per_s = 2;
	c.wild_names_max = 4;
	s = make(&c);
	assert_int_equal(immure_synth_add(s, "a.example", 11, 0, &n), IMMURE_SYNTH_LONG);
	assert_int_equal(immure_synth_add(s, "a.example", 10, 0, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "b.example", 10, 0, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "c.example", 1, 0, &n), IMMURE_SYNTH_FAST);
	/* What is known costs nothing, nor what a rule names. */
	assert_int_equal(immure_synth_add(s, "b.example", 10, 0, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "d.example", 0, 0, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "c.example", 1, 499, &n), IMMURE_SYNTH_FAST);
	assert_int_equal(immure_synth_add(s, "c.example", 1, 500, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "e.example", 1, 400, &n), IMMURE_SYNTH_FAST);
	assert_int_equal(immure_synth_add(s, "e.example", 10, UINT64_MAX, &n), IMMURE_SYNTH_OK);
	assert_int_equal(immure_synth_add(s, "f.example", 1, UINT64_MAX, &n), IMMURE_SYNTH_FULL);
	assert_int_equal(immure_synth_add(s, "g.example", 0, UINT64_MAX, &n), IMMURE_SYNTH_OK);
	immure_synth_free(s);
}

static void prefixes(void **state)
{
	static const char *const bad[] = { "198.18.0.0/7", "198.18.0.0/25", "198.18.0.1/15", "x",
					   "fd00::/31", "fd00::/97", "fd00::1/64", "" };
	struct immure_synth_config c;
	struct immure_complaint complaint;
	struct immure_synth *s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		immure_synth_defaults(&c);
		assert_int_equal(immure_synth_prefix(&c, bad[i], &complaint), -EINVAL);
	}
	immure_synth_defaults(&c);
	assert_int_equal(immure_synth_prefix(&c, "fd00:1::/48", &complaint), 0);
	assert_int_equal(c.bits6, 48);
	assert_int_equal(c.bits4, 15);
	c.prefix4[3] = 1;
	assert_int_equal(immure_synth_new(&c, &s), -EINVAL);
	immure_synth_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(full),
		cmocka_unit_test(labels),
		cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
