/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's memory and string functions. musl favours size: its copies
 * start with a microcoded instruction and its comparisons go byte by byte,
 * which together were a quarter of the time that planning takes. Built into
 * the static launcher for x86-64 only; its symbols come before libc's. */
#if defined(IMMURE_LEAN) && defined(__x86_64__)

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Or the compiler turns these loops into calls of themselves. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

static inline __m128i load(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

static inline void store(void *p, __m128i v)
{
	_mm_storeu_si128((__m128i *)p, v);
}

#define COPY_AS(type)                                                                            \
	do {                                                                                      \
		type first, last;                                                                 \
                                                                                                  \
		__builtin_memcpy(&first, s, sizeof(first));                                        \
		__builtin_memcpy(&last, s + n - sizeof(last), sizeof(last));                     \
		__builtin_memcpy(d, &first, sizeof(first));                                        \
		__builtin_memcpy(d + n - sizeof(last), &last, sizeof(last));                     \
	} while (0)

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	unsigned char *d = to;
	const unsigned char *s = from;
	__m128i tail;

	if (n < 16) {
		if (n >= 8)
			COPY_AS(uint64_t);
		else if (n >= 4)
			COPY_AS(uint32_t);
		else if (n >= 2)
			COPY_AS(uint16_t);
		else if (n)
			*d = *s;
		return to;
	}
	if (n >= 4096) {
		void *dst = d;

		__asm__ volatile("rep movsb" : "+D"(dst), "+S"(s), "+c"(n) : : "memory");
		return to;
	}
	tail = load(s + n - 16);
	for (size_t i = 0; i + 16 < n; i += 16)
		store(d + i, load(s + i));
	store(d + n - 16, tail);
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *d = to;
	const unsigned char *s = from;
	__m128i head;

	/* Going up, what is still to be read lies above all that was written. */
	if (d <= s || d >= s + n)
		return memcpy(to, from, n);
	if (n < 16) {
		while (n-- > 0)
			((volatile unsigned char *)d)[n] = s[n];
		return to;
	}
	head = load(s);
	for (; n > 16; n -= 16)
		store(d + n - 16, load(s + n - 16));
	store(d, head);
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	unsigned char *d = to;
	__m128i v = _mm_set1_epi8((char)byte);

	if (n < 16) {
		for (size_t i = 0; i < n; i++)
			((volatile unsigned char *)d)[i] = (unsigned char)byte;
		return to;
	}
	if (n >= 4096) {
		void *dst = d;

		__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(byte) : "memory");
		return to;
	}
	for (size_t i = 0; i + 16 < n; i += 16)
		store(d + i, v);
	store(d + n - 16, v);
	return to;
}

/* Aligned loads stay within a page, so reading past the end is harmless. */
size_t strlen(const char *s)
{
	uintptr_t off = (uintptr_t)s & 15;
	const char *p = s - off;
	const __m128i zero = _mm_setzero_si128();
	unsigned int found =
		(unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128((const __m128i *)(const void *)p), zero)) >>
		off;

	if (found)
		return (size_t)__builtin_ctz(found);
	do {
		p += 16;
		found = (unsigned int)_mm_movemask_epi8(
			_mm_cmpeq_epi8(_mm_load_si128((const __m128i *)(const void *)p), zero));
	} while (!found);
	return (size_t)(p - s) + (size_t)__builtin_ctz(found);
}

/* As strlen(). */
static inline unsigned int either(const char *p, __m128i wanted)
{
	__m128i v = _mm_load_si128((const __m128i *)(const void *)p);

	return (unsigned int)_mm_movemask_epi8(
		_mm_or_si128(_mm_cmpeq_epi8(v, wanted), _mm_cmpeq_epi8(v, _mm_setzero_si128())));
}

static inline const char *find(const char *s, int c)
{
	const __m128i wanted = _mm_set1_epi8((char)c);
	uintptr_t off = (uintptr_t)s & 15;
	const char *p = s - off;
	unsigned int found = either(p, wanted) >> off;

	if (found)
		return s + __builtin_ctz(found);
	do {
		p += 16;
		found = either(p, wanted);
	} while (!found);
	return p + __builtin_ctz(found);
}

char *strchr(const char *s, int c)
{
	const char *at = find(s, c);

	return *at == (char)c ? (char *)(uintptr_t)at : NULL;
}

/* By which musl's other functions search for one byte. */
char *__strchrnul(const char *s, int c);
char *__strchrnul(const char *s, int c)
{
	return (char *)(uintptr_t)find(s, c);
}

/* Sixteen bytes at a time while neither string is near the end of a page. Inlined twice,
 * once with an n that never ends. */
static inline __attribute__((always_inline)) int compare(const char *a, const char *b, size_t n)
{
	const __m128i zero = _mm_setzero_si128();

	while (n) {
		unsigned int stop;

		if (n < 16 || ((uintptr_t)a & 4095) > 4080 || ((uintptr_t)b & 4095) > 4080) {
			for (int i = 0; i < 16 && n; i++, a++, b++, n--)
				if (*a != *b || !*a)
					return (unsigned char)*a - (unsigned char)*b;
			continue;
		}
		__m128i x = load(a), y = load(b);

		/* 1 bits: a difference, or the end of a */
		stop = (unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)) ^ 0xffffU;
		stop |= (unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(x, zero));
		if (stop) {
			int i = __builtin_ctz(stop);

			return (unsigned char)a[i] - (unsigned char)b[i];
		}
		a += 16;
		b += 16;
		n -= 16;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return compare(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	return compare(a, b, n);
}

#else
typedef int immure_lean_string_unused; /* ISO C wants a declaration */
#endif
