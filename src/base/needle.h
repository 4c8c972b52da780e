/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are looked for by somebody who does not know them: of each there are its length
 * and a number that is made of it, with a base that nobody could foresee. What has that number
 * is taken for it; the chance that something else has is 2^-40 for a terabyte.
 */
#ifndef IMMURE_BASE_NEEDLE_H
#define IMMURE_BASE_NEEDLE_H

#include <stddef.h>
#include <stdint.h>

/* LEAST: shorter ones are in every text. */
enum { IMMURE_NEEDLE_LEAST = 8, IMMURE_NEEDLE_MOST = 24 * 1024 };

struct immure_needle {
	uint32_t len;
	uint64_t base, hash;
};

/* base: random; any 64 bits. */
void immure_needle_make(struct immure_needle *n, const void *text, size_t len, uint64_t base);
/* The place of the first from `at` on, or len. A needle of a length that none has is nowhere. */
size_t immure_needle_find(const struct immure_needle *n, const void *text, size_t len, size_t at);

/* What one stream held last, so that a text is found although it comes in pieces. */
struct immure_redactor {
	char *held;
	size_t len;
};

/* `back` bytes before the piece, `len` of them are part of one as well. */
typedef void immure_redactor_past(void *ctx, size_t back, size_t len);

/* Puts stars for what is found in data; of what came before, past() is told. Without memory all of
 * data becomes stars, and -ENOMEM. */
int immure_redactor_feed(struct immure_redactor *r, const struct immure_needle *n, size_t n_needles,
			 char *data, size_t len, immure_redactor_past *past, void *ctx);
void immure_redactor_done(struct immure_redactor *r);

#endif
