/* SPDX-License-Identifier: Apache-2.0 */
/* Writes JSON, one value after another, in the order given: same calls, same
 * bytes. Reading is base/json.h. Bytes that are not UTF-8 (file names) are
 * written as U+FFFD plus hex, so output is always valid JSON. */
#ifndef IMMURE_BASE_JSONW_H
#define IMMURE_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct immure_jsonw {
	struct immure_buf *out;
	int indent;     /* spaces a level, 0 = one line */
	int depth;
	bool need_comma;
};

void immure_jsonw_init(struct immure_jsonw *w, struct immure_buf *out, int indent);
/* key is NULL inside arrays and at the top. */
void immure_jsonw_object(struct immure_jsonw *w, const char *key);
void immure_jsonw_array(struct immure_jsonw *w, const char *key);
void immure_jsonw_end(struct immure_jsonw *w, char close); /* '}' or ']' */
void immure_jsonw_str(struct immure_jsonw *w, const char *key, const char *s); /* NULL: null */
void immure_jsonw_int(struct immure_jsonw *w, const char *key, int64_t v);
void immure_jsonw_uint(struct immure_jsonw *w, const char *key, uint64_t v);
void immure_jsonw_bool(struct immure_jsonw *w, const char *key, bool v);
void immure_jsonw_null(struct immure_jsonw *w, const char *key);
void immure_jsonw_raw(struct immure_jsonw *w, const char *key, const char *json);
/* Just the quoted, escaped string. */
void immure_json_quote(struct immure_buf *out, const char *s, size_t len);

#endif
