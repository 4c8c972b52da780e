/* SPDX-License-Identifier: Apache-2.0 */
/* Reads JSON: the only file that knows the JSON library is json.c. The lean
 * build has no reader (json_none.c). Strict: duplicate keys, trailing data,
 * NUL, bad UTF-8 and numbers out of range are errors. Writing is jsonw.h. */
#ifndef IMMURE_BASE_JSON_H
#define IMMURE_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum immure_json_type {
	IMMURE_JSON_NULL,
	IMMURE_JSON_BOOL,
	IMMURE_JSON_INTEGER,
	IMMURE_JSON_REAL,
	IMMURE_JSON_STRING,
	IMMURE_JSON_ARRAY,
	IMMURE_JSON_OBJECT,
};

struct immure_json; /* a document, or a value within one */

struct immure_json_failure {
	size_t line; /* from 1 */
	char text[200];
};

/* -EINVAL with *f filled, -ENOMEM, or -ENOSYS in the lean build. Nesting
 * deeper than IMMURE_JSON_DEPTH is refused. */
int immure_json_parse(const char *text, size_t len, struct immure_json **ret,
		      struct immure_json_failure *f);
void immure_json_free(struct immure_json *doc); /* the document only */

enum immure_json_type immure_json_type(const struct immure_json *v);
const char *immure_json_type_name(enum immure_json_type t); /* "a list", "an object" */
/* Values of the type asked for; the caller looked at the type. */
const char *immure_json_string(const struct immure_json *v);
int64_t immure_json_integer(const struct immure_json *v);
bool immure_json_bool(const struct immure_json *v);
/* Members in the order of the text. */
size_t immure_json_size(const struct immure_json *v); /* of an array or object */
const struct immure_json *immure_json_element(const struct immure_json *array, size_t i);
/* The member after key; NULL key: the first. false at the end. */
struct immure_json_member {
	const char *key;
	const struct immure_json *value;
	void *iter;
};
bool immure_json_next(const struct immure_json *object, struct immure_json_member *m);
const struct immure_json *immure_json_get(const struct immure_json *object, const char *key);

/* ---- the text itself (jsontext.c; both builds) ---- */

enum { IMMURE_JSON_DEPTH = 32 };

/* Blanks out // and slash-star comments, keeping every line where it was, and
 * refuses NUL bytes and too deep nesting. -EINVAL with *f filled. */
int immure_json_strip(char *text, size_t len, struct immure_json_failure *f);
/* Where the i-th member of the object, or element of the array, at offset
 * `at` of a valid text is. In arrays key and value are the same place.
 * false when there is none. */
bool immure_json_child(const char *text, size_t len, size_t at, size_t i, size_t *ret_key,
		       size_t *ret_value);
/* First byte of the document that is not white space. */
size_t immure_json_start(const char *text, size_t len);
/* Length of the number, word or string at offset `at`. */
size_t immure_json_token(const char *text, size_t len, size_t at);
size_t immure_json_line(const char *text, size_t at); /* from 1 */

#endif
