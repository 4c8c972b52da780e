/* SPDX-License-Identifier: Apache-2.0 */
/* What is in an answer. */
#include <string.h>

#include "lib/session.h"

const char *immure_link_string(const struct immure_link *l, const struct immure_jsonr_value *of,
			       const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&l->json, of, key);

	return v && v->type == IMMURE_JSON_STRING ? v->text : "";
}

uint64_t immure_link_uint(const struct immure_link *l, const struct immure_jsonr_value *of, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&l->json, of, key);

	return v && (v->type == IMMURE_JSON_INTEGER || v->type == IMMURE_JSON_BOOL) ? (uint64_t)v->integer
										    : 0;
}

static void write_value(const struct immure_link *l, struct immure_jsonw *w,
			const struct immure_jsonr_value *v, const char *key)
{
	switch (v->type) {
	case IMMURE_JSON_NULL:
		immure_jsonw_null(w, key);
		break;
	case IMMURE_JSON_BOOL:
		immure_jsonw_bool(w, key, v->integer);
		break;
	case IMMURE_JSON_INTEGER:
	case IMMURE_JSON_REAL:
		immure_jsonw_int(w, key, v->integer);
		break;
	case IMMURE_JSON_STRING:
		immure_jsonw_str(w, key, v->text);
		break;
	case IMMURE_JSON_ARRAY:
	case IMMURE_JSON_OBJECT:
		if (v->type == IMMURE_JSON_ARRAY)
			immure_jsonw_array(w, key);
		else
			immure_jsonw_object(w, key);
		for (const struct immure_jsonr_value *e = immure_jsonr_first(&l->json, v); e;
		     e = immure_jsonr_after(&l->json, v, e))
			write_value(l, w, e, e->key);
		immure_jsonw_end(w, v->type == IMMURE_JSON_ARRAY ? ']' : '}');
		break;
	}
}

char *immure_link_text(const struct immure_link *l, const struct immure_jsonr_value *root)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	for (const struct immure_jsonr_value *e = immure_jsonr_first(&l->json, root); e;
	     e = immure_jsonr_after(&l->json, root, e))
		if (strcmp(e->key, "id") != 0 && strcmp(e->key, "ok") != 0)
			write_value(l, &w, e, e->key);
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&b);
}

int32_t immure_link_carried_error(struct immure_link *l, const struct immure_jsonr_value *root,
				  struct immure_error **err)
{
	const struct immure_jsonr_value *e = immure_jsonr_get(&l->json, root, "error");
	int32_t code = (int32_t)immure_link_uint(l, e, "code");
	const char *hint = immure_link_string(l, e, "hint");

	if (code <= 0 || code > 1000)
		code = IMMURE_ERR_IO;
	(void)immure_fail(err, code, (int)immure_link_uint(l, e, "errno"),
			  immure_link_string(l, e, "stage"), immure_link_string(l, e, "subject"), "%s",
			  immure_link_string(l, e, "text"));
	if (err && *err && hint[0])
		immure_error_set_hint(*err, "%s", hint);
	return -code;
}
