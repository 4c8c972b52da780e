/* SPDX-License-Identifier: Apache-2.0 */
/* A small strict JSON reader for programs that link libc alone, and for text
 * from strangers: it works in place, in memory of a fixed size that the caller
 * gives, and never recurses. What it takes is what json.h takes: no duplicate
 * keys, no NUL, no bad UTF-8, no numbers out of range, nothing after the end. */
#ifndef IMMURE_BASE_JSONR_H
#define IMMURE_BASE_JSONR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

enum { IMMURE_JSONR_MEMBERS = 256 }; /* of one object */

struct immure_jsonr_value {
	enum immure_json_type type;
	uint32_t next;   /* index of the value after this one and all within it */
	uint32_t size;   /* members of an object, elements of an array */
	uint32_t len;    /* of text */
	const char *key; /* in an object, else NULL */
	const char *text; /* string: its bytes, NUL-terminated; number: as written */
	int64_t integer; /* of a boolean 0 or 1 */
};

struct immure_jsonr {
	struct immure_jsonr_value *v; /* v[0] is the document */
	size_t n, cap;
	size_t at;          /* where it went wrong */
	const char *why;    /* static */
};

/* Parses text, which it changes. text[len] must be writable. 0; -EINVAL with why
 * set, -E2BIG when there are more values than cap. */
int immure_jsonr_parse(struct immure_jsonr *r, char *text, size_t len,
		       struct immure_jsonr_value *v, size_t cap);
/* The member `key`; NULL when there is none or `object` is NULL or no object. */
const struct immure_jsonr_value *immure_jsonr_get(const struct immure_jsonr *r,
						  const struct immure_jsonr_value *object,
						  const char *key);
/* The text of a member; "" when it is not there, or none. */
const char *immure_jsonr_text(const struct immure_jsonr *r, const struct immure_jsonr_value *object, const char *key);
/* Its number, 1 for true; 0 when it is not there, or neither. */
long long immure_jsonr_number(const struct immure_jsonr *r, const struct immure_jsonr_value *object, const char *key);
/* First and next element or member; NULL at the end. */
const struct immure_jsonr_value *immure_jsonr_first(const struct immure_jsonr *r,
						    const struct immure_jsonr_value *of);
const struct immure_jsonr_value *immure_jsonr_after(const struct immure_jsonr *r,
						    const struct immure_jsonr_value *of,
						    const struct immure_jsonr_value *v);

#endif
