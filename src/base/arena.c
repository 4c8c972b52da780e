/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct immure_arena_block {
	struct immure_arena_block *prev;
	size_t used;
	size_t cap;
	alignas(max_align_t) char data[];
};

/* Small first, so that a short-lived arena costs no page of its own. */
enum { ARENA_FIRST = 4096 - 64, ARENA_LARGEST = 32 * 1024 - 64 };

void immure_arena_done(struct immure_arena *a)
{
	struct immure_arena_block *b = a->last;

	while (b) {
		struct immure_arena_block *prev = b->prev;

		free(b);
		b = prev;
	}
	*a = (struct immure_arena)IMMURE_ARENA_INIT;
}

void *immure_arena_alloc(struct immure_arena *a, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct immure_arena_block *b = a->last;
	void *p;

	if (a->failed || size > SIZE_MAX / 4)
		goto failed;
	size = (size + align - 1) & ~(align - 1);
	if (!b || b->cap - b->used < size) {
		size_t cap = b ? b->cap * 2 + 64 : ARENA_FIRST;

		if (cap > ARENA_LARGEST)
			cap = ARENA_LARGEST;
		if (cap < size)
			cap = size;

		/* Zeroed as a whole, which costs nothing where the memory is new; nothing
		 * in it is ever given out twice. */
		b = calloc(1, sizeof(*b) + cap);
		if (!b)
			goto failed;
		b->prev = a->last;
		b->used = 0;
		b->cap = cap;
		a->last = b;
	}
	p = b->data + b->used;
	b->used += size;
	return p;
failed:
	a->failed = true;
	return NULL;
}

char *immure_arena_strndup(struct immure_arena *a, const char *s, size_t len)
{
	char *p = immure_arena_alloc(a, len + 1);

	if (p)
		memcpy(p, s, len);
	return p;
}

char *immure_arena_strdup(struct immure_arena *a, const char *s)
{
	return immure_arena_strndup(a, s, strlen(s));
}

char *immure_arena_printf(struct immure_arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		a->failed = true;
		return NULL;
	}
	p = immure_arena_alloc(a, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, ap); /* sized above */
	va_end(ap);
	return p;
}

bool immure_strv_add(struct immure_arena *a, struct immure_strv *l, const char *s)
{
	if (!s || a->failed)
		return false;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		/* One more than it holds, so that a list always ends in NULL. */
		const char **v = immure_arena_alloc(a, (cap + 1) * sizeof(*v));

		if (!v)
			return false;
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = s;
	return true;
}

bool immure_strv_has(const struct immure_strv *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return true;
	return false;
}
