/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the small files in the runtime directory: a line "immure-KIND 1",
 * then "key value" lines. A value is one word: whatever is not plain printable
 * ASCII is %XX, the empty string is "-". Read without any library. */
#ifndef IMMURE_SESSION_FIELDS_H
#define IMMURE_SESSION_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

void immure_field_put(struct immure_buf *b, const char *s);
/* Undoes it. -EINVAL when it is not such a word (one that put would not have
 * written, too), -ENAMETOOLONG when ret is too small. */
int immure_field_get(const char *word, size_t len, char *ret, size_t cap);

void immure_fields_begin(struct immure_buf *b, const char *kind);
void immure_fields_str(struct immure_buf *b, const char *key, const char *value);
void immure_fields_uint(struct immure_buf *b, const char *key, uint64_t value);
/* Every "key value" in order; word is still escaped. each() returns 0 or a
 * negative errno that ends it. -EINVAL for anything that is not of this form,
 * or not of this kind and version. */
int immure_fields_each(const char *text, size_t len, const char *kind,
		       int (*each)(void *ctx, const char *key, const char *word, size_t len),
		       void *ctx);
/* A decimal number, the whole word. */
int immure_field_uint(const char *word, size_t len, uint64_t max, uint64_t *ret);

#endif
