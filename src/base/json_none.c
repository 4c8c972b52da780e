/* SPDX-License-Identifier: Apache-2.0 */
/* The lean build reads no JSON: parsing says so, and since there is then never
 * a document, nothing else here can be reached with one. */
#include <errno.h>

#include "base/json.h"

int immure_json_parse(const char *text, size_t len, struct immure_json **ret,
		      struct immure_json_failure *f)
{
	(void)text;
	(void)len;
	(void)ret;
	(void)f;
	return -ENOSYS;
}

void immure_json_free(struct immure_json *doc)
{
	(void)doc;
}

enum immure_json_type immure_json_type(const struct immure_json *v)
{
	(void)v;
	return IMMURE_JSON_NULL;
}

const char *immure_json_type_name(enum immure_json_type t)
{
	(void)t;
	return "";
}

const char *immure_json_string(const struct immure_json *v)
{
	(void)v;
	return "";
}

int64_t immure_json_integer(const struct immure_json *v)
{
	(void)v;
	return 0;
}

bool immure_json_bool(const struct immure_json *v)
{
	(void)v;
	return false;
}

size_t immure_json_size(const struct immure_json *v)
{
	(void)v;
	return 0;
}

const struct immure_json *immure_json_element(const struct immure_json *array, size_t i)
{
	(void)array;
	(void)i;
	return NULL;
}

bool immure_json_next(const struct immure_json *object, struct immure_json_member *m)
{
	(void)object;
	(void)m;
	return false;
}

const struct immure_json *immure_json_get(const struct immure_json *object, const char *key)
{
	(void)object;
	(void)key;
	return NULL;
}
