/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's memory and string functions against plain loops, over random
 * lengths, offsets and overlaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__x86_64__)
void *lean_memcpy(void *restrict to, const void *restrict from, size_t n);
void *lean_memmove(void *to, const void *from, size_t n);
void *lean_memset(void *to, int byte, size_t n);
size_t lean_strlen(const char *s);
int lean_strcmp(const char *a, const char *b);
int lean_strncmp(const char *a, const char *b, size_t n);
char *lean_strchr(const char *s, int c);

#define IMMURE_LEAN 1
#define memcpy lean_memcpy
#define memmove lean_memmove
#define memset lean_memset
#define strlen lean_strlen
#define strcmp lean_strcmp
#define strncmp lean_strncmp
#define strchr lean_strchr
#define __strchrnul lean_strchrnul
#include "../../src/base/lean_string.c"
#undef memcpy
#undef memmove
#undef memset
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
#undef __strchrnul

enum { AREA = 9000, ROUNDS = 20000 };

static void test_memory(void **state)
{
	static unsigned char a[AREA], b[AREA], part[AREA];
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int n = rand_r(&seed) % (round % 50 ? 200 : 8000);
		int to = rand_r(&seed) % 300, from = rand_r(&seed) % 300;

		for (int i = 0; i < AREA; i += round % 50 ? 37 : 1)
			a[i] = b[i] = (unsigned char)rand_r(&seed);
		lean_memmove(a + to, a + from, (size_t)n);
		for (int i = 0; i < n; i++)
			part[i] = b[from + i];
		for (int i = 0; i < n; i++)
			b[to + i] = part[i];
		assert_memory_equal(a, b, AREA);
		lean_memcpy(part, a, (size_t)n);
		assert_memory_equal(part, a, (size_t)n);
		lean_memset(a + to, round & 255, (size_t)n);
		for (int i = 0; i < n; i++)
			b[to + i] = (unsigned char)(round & 255);
		assert_memory_equal(a, b, AREA);
	}
}

static int plain_compare(const char *x, const char *y, size_t n)
{
	while (n && *x == *y && *x)
		x++, y++, n--;
	return n ? (unsigned char)*x - (unsigned char)*y : 0;
}

static const char *plain_find(const char *s, int c)
{
	while (*s && *s != (char)c)
		s++;
	return s;
}

static void same_sign(int r, int want)
{
	assert_int_equal(r < 0, want < 0);
	assert_int_equal(r > 0, want > 0);
}

static void test_strings(void **state)
{
	static char area[2][4096 * 2];
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		/* Near the end of a page as often as not. */
		char *x = area[0] + (round % 2 ? 3800 + rand_r(&seed) % 300 : rand_r(&seed) % 64);
		char *y = area[1] + (round % 3 ? 3800 + rand_r(&seed) % 300 : rand_r(&seed) % 64);
		size_t n = (size_t)(rand_r(&seed) % 280), m = (size_t)(rand_r(&seed) % 280);
		size_t most = (size_t)(rand_r(&seed) % 300);

		memset(x, 'a', n);
		x[n] = '\0';
		memset(y, 'a', m);
		y[m] = '\0';
		if (n && rand_r(&seed) % 2)
			x[(size_t)rand_r(&seed) % n] = (char)(1 + rand_r(&seed) % 255);
		assert_int_equal(lean_strlen(x), strlen(x));
		same_sign(lean_strcmp(x, y), plain_compare(x, y, SIZE_MAX));
		same_sign(lean_strncmp(x, y, most), plain_compare(x, y, most));
		for (int c = -1; c < 256; c += 1 + rand_r(&seed) % 60) {
			const char *at = plain_find(x, c);

			assert_ptr_equal(lean_strchrnul(x, c), at);
			assert_ptr_equal(lean_strchr(x, c), *at == (char)c ? at : NULL);
		}
		assert_ptr_equal(lean_strchr(x, 0), x + strlen(x));
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_strings),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
