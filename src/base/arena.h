/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is made piece by piece and given back at once: a policy, a plan.
 * A failed allocation is remembered, so a builder checks once, at the end. */
#ifndef IMMURE_BASE_ARENA_H
#define IMMURE_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct immure_arena_block;

struct immure_arena {
	struct immure_arena_block *last;
	bool failed;
};

#define IMMURE_ARENA_INIT { 0 }

void immure_arena_done(struct immure_arena *a);
/* Zeroed, aligned for any type; NULL (and failed set) when out of memory. */
void *immure_arena_alloc(struct immure_arena *a, size_t size);
char *immure_arena_strdup(struct immure_arena *a, const char *s);
char *immure_arena_strndup(struct immure_arena *a, const char *s, size_t len);
char *immure_arena_printf(struct immure_arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A list of strings in an arena. Once it is not empty, v[n] is NULL: argument
 * and environment vectors are such lists. */
struct immure_strv {
	const char **v;
	size_t n;
	size_t cap;
};

/* Appends s itself (not a copy). false when out of memory. */
bool immure_strv_add(struct immure_arena *a, struct immure_strv *l, const char *s);
bool immure_strv_has(const struct immure_strv *l, const char *s);

#endif
