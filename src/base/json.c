/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* struct immure_json is never defined: it is a json_t under a name of ours. */
static json_t *theirs(const struct immure_json *v)
{
	return (json_t *)(uintptr_t)v;
}

static struct immure_json *ours(json_t *v)
{
	return (struct immure_json *)v;
}

static int describe(const json_error_t *e, struct immure_json_failure *f)
{
	enum json_error_code code = json_error_code(e);

	f->line = e->line > 0 ? (size_t)e->line : 1;
	if (code == json_error_out_of_memory)
		return -ENOMEM;
	if (code == json_error_duplicate_key)
		(void)snprintf(f->text, sizeof(f->text), "duplicate key%s",
			       strstr(e->text, " near ") ? strstr(e->text, " near ") + 5 : "");
	else if (code == json_error_end_of_input_expected)
		(void)snprintf(f->text, sizeof(f->text), "expected the end of the file%s",
			       strstr(e->text, " near ") ? strstr(e->text, " near ") : "");
	else
		(void)snprintf(f->text, sizeof(f->text), "not JSON: %s", e->text);
	return -EINVAL;
}

int immure_json_parse(const char *text, size_t len, struct immure_json **ret,
		      struct immure_json_failure *f)
{
	json_error_t e;
	json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);

	if (!v)
		return describe(&e, f);
	*ret = ours(v);
	return 0;
}

void immure_json_free(struct immure_json *doc)
{
	json_decref(theirs(doc));
}

enum immure_json_type immure_json_type(const struct immure_json *v)
{
	switch (json_typeof(theirs(v))) {
	case JSON_OBJECT: return IMMURE_JSON_OBJECT;
	case JSON_ARRAY: return IMMURE_JSON_ARRAY;
	case JSON_STRING: return IMMURE_JSON_STRING;
	case JSON_INTEGER: return IMMURE_JSON_INTEGER;
	case JSON_REAL: return IMMURE_JSON_REAL;
	case JSON_TRUE:
	case JSON_FALSE: return IMMURE_JSON_BOOL;
	case JSON_NULL: break;
	}
	return IMMURE_JSON_NULL;
}

const char *immure_json_string(const struct immure_json *v)
{
	return json_string_value(theirs(v));
}

int64_t immure_json_integer(const struct immure_json *v)
{
	return json_integer_value(theirs(v));
}

bool immure_json_bool(const struct immure_json *v)
{
	return json_is_true(theirs(v));
}

size_t immure_json_size(const struct immure_json *v)
{
	return json_is_array(theirs(v)) ? json_array_size(theirs(v)) : json_object_size(theirs(v));
}

const struct immure_json *immure_json_element(const struct immure_json *array, size_t i)
{
	return ours(json_array_get(theirs(array), i));
}

bool immure_json_next(const struct immure_json *object, struct immure_json_member *m)
{
	m->iter = m->key ? json_object_iter_next(theirs(object), m->iter) :
			   json_object_iter(theirs(object));
	if (!m->iter)
		return false;
	m->key = json_object_iter_key(m->iter);
	m->value = ours(json_object_iter_value(m->iter));
	return true;
}

const struct immure_json *immure_json_get(const struct immure_json *object, const char *key)
{
	return ours(json_object_get(theirs(object), key));
}

const char *immure_json_type_name(enum immure_json_type t)
{
	static const char *const names[] = {
		[IMMURE_JSON_NULL] = "null",	    [IMMURE_JSON_BOOL] = "true or false",
		[IMMURE_JSON_INTEGER] = "a number", [IMMURE_JSON_REAL] = "a fraction",
		[IMMURE_JSON_STRING] = "a string",  [IMMURE_JSON_ARRAY] = "a list",
		[IMMURE_JSON_OBJECT] = "an object",
	};

	return names[t];
}
