/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's allocator, under other names beside the C library's. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *own_malloc(size_t size);
void *own_calloc(size_t n, size_t size);
void *own_realloc(void *p, size_t size);
void *own_aligned_alloc(size_t align, size_t size);
void own_free(void *p);

#define malloc own_malloc
#define calloc own_calloc
#define realloc own_realloc
#define aligned_alloc own_aligned_alloc
#define free own_free
#include "../../src/cli/alloc.c"
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc
#undef free

#include <cmocka.h>

static bool holds(const unsigned char *p, size_t n, unsigned char value)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void test_many_blocks_do_not_overlap(void **state)
{
	enum { N = 4000 };
	static unsigned char *block[N];
	static size_t size[N];
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t i;

		seed = seed * 1664525 + 1013904223;
		i = seed >> 8 & 0xfff;
		if (i >= N)
			continue;
		if (block[i]) {
			assert_true(holds(block[i], size[i], (unsigned char)i));
			own_free(block[i]);
			block[i] = NULL;
			continue;
		}
		size[i] = (seed >> 20) % 700;
		if (i % 97 == 0)
			size[i] *= 500; /* some are mappings of their own */
		block[i] = i % 2 ? own_malloc(size[i]) : own_calloc(1, size[i]);
		assert_non_null(block[i]);
		assert_int_equal((uintptr_t)block[i] % 16, 0);
		if (i % 2 == 0)
			assert_true(holds(block[i], size[i], 0));
		memset(block[i], (int)i, size[i]);
	}
	for (size_t i = 0; i < N; i++)
		own_free(block[i]);
}

static void test_freed_blocks_are_used_again(void **state)
{
	void *a = own_malloc(100), *b;

	(void)state;
	own_free(a);
	b = own_malloc(90);
	assert_ptr_equal(a, b);
	own_free(b);
}

static void test_realloc_keeps_the_contents(void **state)
{
	unsigned char *p = own_realloc(NULL, 1);

	(void)state;
	p[0] = 7;
	for (size_t n = 2; n < 3000000; n = n * 3 / 2 + 1) {
		p = own_realloc(p, n);
		assert_non_null(p);
		assert_int_equal(p[0], 7);
		memset(p, 7, n);
	}
	p = own_realloc(p, 10);
	assert_true(holds(p, 10, 7));
	own_free(p);
}

static void test_what_cannot_be(void **state)
{
	(void)state;
	assert_null(own_malloc(SIZE_MAX));
	assert_null(own_malloc((size_t)PTRDIFF_MAX));
	assert_null(own_calloc(SIZE_MAX / 2, 4));
	assert_null(own_aligned_alloc(64, 64));
	own_free(NULL);
	assert_non_null(own_malloc(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_blocks_do_not_overlap),
		cmocka_unit_test(test_freed_blocks_are_used_again),
		cmocka_unit_test(test_realloc_keeps_the_contents),
		cmocka_unit_test(test_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
