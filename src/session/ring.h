/* SPDX-License-Identifier: Apache-2.0 */
/* The last part of a stream: bytes are numbered from its beginning, and what no
 * longer fits is the oldest. Grows up to its limit, from nothing. */
#ifndef IMMURE_SESSION_RING_H
#define IMMURE_SESSION_RING_H

#include <stddef.h>
#include <stdint.h>

struct immure_ring {
	char *data;
	size_t cap, max; /* max: a power of two */
	uint64_t from, to; /* numbers of the first byte that is there, and of the next to come */
};

enum { IMMURE_RING_MAX = 1 << 20 };

void immure_ring_init(struct immure_ring *r, size_t max);
void immure_ring_done(struct immure_ring *r); /* the numbers stay */
/* 0, or -ENOMEM: then the bytes are counted and lost. */
int immure_ring_put(struct immure_ring *r, const void *data, size_t len);
/* Up to len bytes from number `at` on (at >= from), in one piece. */
size_t immure_ring_peek(const struct immure_ring *r, uint64_t at, size_t len, const char **ret);
/* Stars for `len` bytes, of which the first is `back` before the end; those that are no more there are. */
void immure_ring_star(struct immure_ring *r, size_t back, size_t len);
/* Drops all but the last keep bytes, memory as well, and holds no more from now on. */
void immure_ring_trim(struct immure_ring *r, size_t keep);

#endif
