/* SPDX-License-Identifier: Apache-2.0 */
#include "base/needle.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Polynomials over the field of this prime, at a point that is not known in advance. */
#define PRIME ((UINT64_C(1) << 61) - 1)

static uint64_t times(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;
	uint64_t r = (uint64_t)(p & PRIME) + (uint64_t)(p >> 61);

	return r >= PRIME ? r - PRIME : r;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a + b >= PRIME ? a + b - PRIME : a + b;
}

static uint64_t point_of(uint64_t base)
{
	return base % (PRIME - 257) + 256;
}

void immure_needle_make(struct immure_needle *n, const void *text, size_t len, uint64_t base)
{
	const unsigned char *p = text;
	uint64_t x = point_of(base), h = 0;

	for (size_t i = 0; i < len; i++)
		h = plus(times(h, x), p[i] + 1U);
	*n = (struct immure_needle){ .len = (uint32_t)len, .base = base, .hash = h };
}

size_t immure_needle_find(const struct immure_needle *n, const void *text, size_t len, size_t at)
{
	const unsigned char *p = text;
	uint64_t x = point_of(n->base), top = 1, h = 0;

	if (n->len < IMMURE_NEEDLE_LEAST || n->len > IMMURE_NEEDLE_MOST || at > len || len - at < n->len)
		return len;
	for (uint32_t i = 0; i < n->len; i++) {
		h = plus(times(h, x), p[at + i] + 1U);
		top = times(top, x);
	}
	for (; h != n->hash; at++) {
		if (at + n->len == len)
			return len;
		/* The oldest leaves: it was worth x^(len-1), and after the step x^len. */
		h = plus(times(h, x), p[at + n->len] + 1U);
		h = plus(h, PRIME - times(top, p[at] + 1U));
	}
	return at;
}

static size_t longest(const struct immure_needle *n, size_t n_needles)
{
	size_t most = 1;

	for (size_t i = 0; i < n_needles; i++)
		if (n[i].len > most && n[i].len <= IMMURE_NEEDLE_MOST)
			most = n[i].len;
	return most;
}

int immure_redactor_feed(struct immure_redactor *r, const struct immure_needle *n, size_t n_needles,
			 char *data, size_t len, immure_redactor_past *past, void *ctx)
{
	size_t before = r->len, all = before + len, keep = longest(n, n_needles) - 1;
	char *text;

	if (n_needles == 0 || len == 0)
		return 0;
	text = malloc(all);
	if (!text) {
		memset(data, '*', len);
		return -ENOMEM;
	}
	if (before)
		memcpy(text, r->held, before);
	memcpy(text + before, data, len);
	for (size_t i = 0; i < n_needles; i++)
		for (size_t at = 0; (at = immure_needle_find(&n[i], text, all, at)) < all; at++) {
			size_t end = at + n[i].len, from = at > before ? at : before;

			if (end > before)
				memset(data + (from - before), '*', end - from);
			if (at < before)
				past(ctx, before - at, (end < before ? end : before) - at);
		}
	if (keep > all)
		keep = all;
	immure_redactor_done(r);
	memmove(text, text + all - keep, keep);
	immure_wipe(text + keep, all - keep);
	r->held = text;
	r->len = keep;
	return 0;
}

void immure_redactor_done(struct immure_redactor *r)
{
	immure_wipe(r->held, r->len);
	free(r->held);
	r->held = NULL;
	r->len = 0;
}
