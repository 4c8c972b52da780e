/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sort.h"

struct item {
	int key, at;
};

static int by_key(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static void test_sorts_and_keeps_order(void **state)
{
	static struct item items[400];
	static const void *v[400], *scratch[400];
	unsigned int seed = 3;

	(void)state;
	for (int round = 0; round < 500; round++) {
		size_t n = (size_t)(rand_r(&seed) % 400);

		for (size_t i = 0; i < n; i++) {
			/* random, sorted, or a few sorted runs one after another */
			int key = round % 3 == 0 ? rand_r(&seed) % 50 : (int)(i % (round % 3 == 1 ? 400 : 90));

			items[i] = (struct item){ key, (int)i };
			v[i] = &items[i];
		}
		immure_sort(v, n, scratch, by_key);
		for (size_t i = 1; i < n; i++) {
			const struct item *a = v[i - 1], *b = v[i];

			assert_true(a->key < b->key || (a->key == b->key && a->at < b->at));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sorts_and_keeps_order) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
