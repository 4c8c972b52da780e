/* SPDX-License-Identifier: Apache-2.0 */
#include "session/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST = 4096 };

void immure_ring_init(struct immure_ring *r, size_t max)
{
	*r = (struct immure_ring){ .max = max };
}

void immure_ring_done(struct immure_ring *r)
{
	free(r->data);
	r->data = NULL;
	r->cap = 0;
	r->from = r->to;
}

size_t immure_ring_peek(const struct immure_ring *r, uint64_t at, size_t len, const char **ret)
{
	size_t place, n;

	if (at >= r->to || r->cap == 0)
		return 0;
	place = (size_t)(at % r->cap);
	n = r->to - at < len ? (size_t)(r->to - at) : len;
	if (n > r->cap - place)
		n = r->cap - place;
	*ret = r->data + place;
	return n;
}

void immure_ring_star(struct immure_ring *r, size_t back, size_t len)
{
	for (; len > 0; len--, back--)
		if (back && r->cap && r->to - r->from >= back)
			r->data[(r->to - back) % r->cap] = '*';
}

static int grow(struct immure_ring *r, size_t need)
{
	size_t cap = r->cap ? r->cap : LEAST;
	uint64_t at = r->from;
	char *data;

	while (cap < need && cap < r->max)
		cap *= 2;
	if (cap == r->cap)
		return 0;
	data = malloc(cap);
	if (!data)
		return -ENOMEM;
	while (at < r->to) {
		const char *from = NULL;
		size_t place = (size_t)(at % cap), n = immure_ring_peek(r, at, cap - place, &from);

		memcpy(data + place, from, n);
		at += n;
	}
	free(r->data);
	r->data = data;
	r->cap = cap;
	return 0;
}

int immure_ring_put(struct immure_ring *r, const void *data, size_t len)
{
	const char *p = data;
	int e = grow(r, (size_t)(r->to - r->from) + len);

	if (e < 0 && r->cap == 0) {
		r->to += len;
		r->from = r->to;
		return e;
	}
	while (len > 0) {
		size_t place = (size_t)(r->to % r->cap), n = r->cap - place;

		if (n > len)
			n = len;
		memcpy(r->data + place, p, n);
		r->to += n;
		p += n;
		len -= n;
	}
	if (r->to - r->from > r->cap)
		r->from = r->to - r->cap;
	return 0;
}

void immure_ring_trim(struct immure_ring *r, size_t keep)
{
	struct immure_ring less = { .from = r->to - r->from > keep ? r->to - keep : r->from };
	const char *from = NULL;
	size_t n;

	less.to = less.from;
	less.max = LEAST;
	while (less.max < keep && less.max < r->max)
		less.max *= 2;
	while (keep && less.max < r->cap && (n = immure_ring_peek(r, less.to, SIZE_MAX, &from)) > 0)
		if (immure_ring_put(&less, from, n) < 0)
			break;
	if (keep && less.max >= r->cap) { /* as small as it gets */
		r->from = less.from;
		r->max = less.max;
		return;
	}
	less.to = r->to;
	immure_ring_done(r);
	if (!keep)
		less.from = less.to;
	*r = less;
}
