/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON Schema of policy files. It says what an editor can know: names,
 * types, choices. What it lets pass is still checked when a file is read. */
#include <string.h>

#include "base/jsonw.h"
#include "facts/report.h"
#include "policy/build.h"
#include "policy/checks.h"
#include "policy/describe.h"
#include "policy/keys.h"

static const char SIZE_PATTERN[] = "^[0-9]+(\\.[0-9]+)?([KkMmGgTt]([Ii]?[Bb])?|[Bb])?$";
static const char TIME_PATTERN[] = "^[0-9]+(\\.[0-9]+)?(ms|s|m|min|h|d)?$";
static const char CPUS_PATTERN[] = "^[0-9]+(\\.[0-9]+)?$";
static const char NAME_PATTERN[] = "^[A-Za-z_][A-Za-z0-9_]*$";
static const char PASS_PATTERN[] = "^[A-Za-z_][A-Za-z0-9_]*\\*?$";
static const char SECRET_PATTERN[] = "^[A-Za-z0-9_-]{1,64}$";

static void put_string(struct immure_jsonw *w, const char *key, const char *pattern)
{
	immure_jsonw_object(w, key);
	immure_jsonw_str(w, "type", "string");
	immure_jsonw_uint(w, "minLength", 1);
	if (pattern)
		immure_jsonw_str(w, "pattern", pattern);
	immure_jsonw_end(w, '}');
}

static void put_enum(struct immure_jsonw *w, const char *key, const char *const *names)
{
	immure_jsonw_array(w, key);
	for (; *names; names++)
		immure_jsonw_str(w, NULL, *names);
	immure_jsonw_end(w, ']');
}

/* What an element of a list must look like. */
static void put_items(struct immure_jsonw *w, const struct immure_key *k)
{
	immure_jsonw_object(w, "items");
	immure_jsonw_str(w, "type", "string");
	immure_jsonw_uint(w, "minLength", 1);
	if (k->check == immure_check_pass)
		immure_jsonw_str(w, "pattern", PASS_PATTERN);
	if (k->check == immure_check_path || k->check == immure_check_write) {
		immure_jsonw_object(w, "not");
		immure_jsonw_str(w, "pattern", "(^|/)\\.\\.(/|$)");
		immure_jsonw_end(w, '}');
	}
	if (k->check == immure_check_created) {
		immure_jsonw_array(w, "enum");
		for (size_t i = 0; i < immure_protected_paths_n; i++)
			immure_jsonw_str(w, NULL, immure_protected_paths[i].path);
		immure_jsonw_end(w, ']');
	}
	if (k->check == immure_check_capability) {
		immure_jsonw_array(w, "enum");
		for (size_t i = 0; i < immure_capability_names_n; i++)
			immure_jsonw_str(w, NULL, immure_capability_names[i]);
		for (int d = 0; d < IMMURE_DIM_MAX; d++)
			immure_jsonw_str(w, NULL, immure_dimension_name((enum immure_dimension)d));
		immure_jsonw_end(w, ']');
	}
	immure_jsonw_end(w, '}');
}

static void put_array(struct immure_jsonw *w, const struct immure_key *k)
{
	if (k->nullable) {
		immure_jsonw_array(w, "type");
		immure_jsonw_str(w, NULL, "array");
		immure_jsonw_str(w, NULL, "null");
		immure_jsonw_end(w, ']');
	} else {
		immure_jsonw_str(w, "type", "array");
	}
	put_items(w, k);
}

static void put_text_or_number(struct immure_jsonw *w, const char *pattern, const char *number,
			       uint64_t min, bool exclusive)
{
	immure_jsonw_array(w, "anyOf");
	put_string(w, NULL, pattern);
	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "type", number);
	immure_jsonw_uint(w, exclusive ? "exclusiveMinimum" : "minimum", min);
	immure_jsonw_end(w, '}');
	immure_jsonw_end(w, ']');
}

static void put_env(struct immure_jsonw *w)
{
	immure_jsonw_str(w, "type", "object");
	put_string(w, "propertyNames", NAME_PATTERN);
	immure_jsonw_object(w, "additionalProperties");
	immure_jsonw_str(w, "type", "string");
	immure_jsonw_end(w, '}');
}

static void put_secrets(struct immure_jsonw *w)
{
	immure_jsonw_str(w, "type", "object");
	put_string(w, "propertyNames", SECRET_PATTERN);
	immure_jsonw_object(w, "additionalProperties");
	immure_jsonw_str(w, "type", "object");
	immure_jsonw_object(w, "properties");
	put_string(w, "from", "^(env:[A-Za-z_][A-Za-z0-9_]*|file:(/|~/).*|fd:[0-9]+)$");
	immure_jsonw_object(w, "to");
	immure_jsonw_str(w, "type", "array");
	immure_jsonw_uint(w, "minItems", 1);
	put_string(w, "items", NULL);
	immure_jsonw_end(w, '}');
	put_string(w, "as", "^(bearer|basic|(header|query|env):.+)$");
	immure_jsonw_end(w, '}');
	put_enum(w, "required", (const char *const[]){ "from", "to", NULL });
	immure_jsonw_bool(w, "additionalProperties", false);
	immure_jsonw_end(w, '}');
}

static void put_type(struct immure_jsonw *w, const struct immure_key *k)
{
	switch (k->type) {
	case IMMURE_KEY_TEXT:
		immure_jsonw_str(w, "type", "string");
		immure_jsonw_uint(w, "minLength", 1);
		break;
	case IMMURE_KEY_CHOICE:
	case IMMURE_KEY_ENUM:
		if (!k->check) {
			put_enum(w, "enum", k->names);
			break;
		}
		immure_jsonw_array(w, "anyOf");
		immure_jsonw_object(w, NULL);
		put_enum(w, "enum", k->names);
		immure_jsonw_end(w, '}');
		put_string(w, NULL, "^/");
		immure_jsonw_end(w, ']');
		break;
	case IMMURE_KEY_BOOL:
		immure_jsonw_str(w, "type", "boolean");
		break;
	case IMMURE_KEY_SIZE:
		put_text_or_number(w, SIZE_PATTERN, "integer", k->min, false);
		break;
	case IMMURE_KEY_DURATION:
		put_text_or_number(w, TIME_PATTERN, "number", 0, true);
		break;
	case IMMURE_KEY_MILLI:
		put_text_or_number(w, CPUS_PATTERN, "number", 0, true);
		break;
	case IMMURE_KEY_COUNT:
		immure_jsonw_str(w, "type", "integer");
		immure_jsonw_uint(w, "minimum", k->min);
		immure_jsonw_uint(w, "maximum", k->max);
		break;
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		put_array(w, k);
		break;
	case IMMURE_KEY_ENV:
		put_env(w);
		break;
	case IMMURE_KEY_SECRETS:
		put_secrets(w);
		break;
	case IMMURE_KEY_DOWNGRADE:
		immure_jsonw_array(w, "anyOf");
		immure_jsonw_object(w, NULL);
		put_enum(w, "enum", k->names);
		immure_jsonw_end(w, '}');
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "type", "array");
		put_string(w, "items", "^[a-z0-9_.]{1,64}$");
		immure_jsonw_end(w, '}');
		immure_jsonw_end(w, ']');
		break;
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
}

static void put_description(struct immure_jsonw *w, const struct immure_key *k, const char *lead)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_buf_printf(&b, "%s%s. %s", lead, k->help, k->doc);
	immure_jsonw_str(w, "description", b.data ? b.data : "");
	if (b.failed)
		w->out->failed = true;
	immure_buf_done(&b);
}

/* The key, and "+key" where a layer can add. name is the last part. */
static void put_key(struct immure_jsonw *w, const struct immure_key *k, const char *name)
{
	struct immure_buf plus = IMMURE_BUF_INIT;

	immure_jsonw_object(w, name);
	put_description(w, k, "");
	put_type(w, k);
	if (k->type == IMMURE_KEY_BOOL)
		immure_jsonw_bool(w, "default", k->fallback[0] == 't');
	else if (k->fallback)
		immure_jsonw_str(w, "default", k->fallback);
	immure_jsonw_end(w, '}');
	if (!immure_key_appends(k))
		return;
	immure_buf_printf(&plus, "+%s", name);
	immure_jsonw_object(w, plus.data ? plus.data : "+");
	put_description(w, k, "Added to what the layers below say: ");
	put_type(w, k);
	immure_jsonw_end(w, '}');
	if (plus.failed)
		w->out->failed = true;
	immure_buf_done(&plus);
}

static void put_group(struct immure_jsonw *w, size_t first, size_t group_len)
{
	char group[32];

	memcpy(group, immure_keys[first].path, group_len);
	group[group_len] = '\0';
	immure_jsonw_object(w, group);
	immure_jsonw_str(w, "type", "object");
	immure_jsonw_object(w, "properties");
	for (size_t i = first; i < immure_keys_n; i++)
		if (strncmp(immure_keys[i].path, group, group_len) == 0 &&
		    immure_keys[i].path[group_len] == '.')
			put_key(w, &immure_keys[i], immure_keys[i].path + group_len + 1);
	immure_jsonw_end(w, '}');
	immure_jsonw_bool(w, "additionalProperties", false);
	immure_jsonw_end(w, '}');
}

/* Whether an earlier key has the same group. */
static bool group_seen(size_t i, size_t group_len)
{
	for (size_t j = 0; j < i; j++)
		if (strncmp(immure_keys[j].path, immure_keys[i].path, group_len + 1) == 0)
			return true;
	return false;
}

static void put_extends(struct immure_jsonw *w)
{
	immure_jsonw_object(w, "extends");
	immure_jsonw_str(w, "description",
			 "What this file builds on: a built-in profile, or a file (with \"/\" in its "
			 "name or ending in .json; relative to this one).");
	immure_jsonw_array(w, "anyOf");
	immure_jsonw_object(w, NULL);
	immure_jsonw_array(w, "enum");
	for (size_t i = 0; i < immure_profiles_n; i++)
		immure_jsonw_str(w, NULL, immure_profiles[i].name);
	immure_jsonw_end(w, ']');
	immure_jsonw_end(w, '}');
	put_string(w, NULL, "(/|\\.json$)");
	immure_jsonw_end(w, ']');
	immure_jsonw_end(w, '}');
}

char *immure_policy_schema_text(void)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
	immure_jsonw_str(&w, "title", "immure policy");
	immure_jsonw_str(&w, "type", "object");
	immure_jsonw_object(&w, "properties");
	put_string(&w, "$schema", NULL);
	put_extends(&w);
	for (size_t i = 0; i < immure_keys_n; i++) {
		const char *dot = strchr(immure_keys[i].path, '.');
		size_t len = dot ? (size_t)(dot - immure_keys[i].path) : 0;

		if (!dot)
			put_key(&w, &immure_keys[i], immure_keys[i].path);
		else if (!group_seen(i, len))
			put_group(&w, i, len);
	}
	immure_jsonw_end(&w, '}');
	immure_jsonw_bool(&w, "additionalProperties", false);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&b, '\n');
	return immure_buf_take(&b);
}
