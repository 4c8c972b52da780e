/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot says of the session that it was taken of, as requests to the next one. Whoever
 * can write there could write another one; all the same nothing is taken for what it is not. */
#include <errno.h>
#include <string.h>

#include "lib/snapshot.h"

/* ---- what was tightened ---- */

static int32_t damaged(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_SNAPSHOT, EBADMSG, "resume", "", "invalid_snapshot: what was tightened cannot "
			   "be read");
}

int32_t immure_said_tightened(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			      struct immure_buf *ret, struct immure_error **err)
{
	const struct immure_jsonr_value *list = immure_jsonr_get(json, about, "tightened"), *cut, *e;
	struct immure_jsonw w;

	cut = immure_jsonr_get(json, about, "tightened_truncated");
	if (!list || list->type != IMMURE_JSON_ARRAY || !cut || cut->type != IMMURE_JSON_BOOL || cut->integer)
		return damaged(err);
	if (!immure_jsonr_first(json, list))
		return 0;
	immure_jsonw_init(&w, ret, 0);
	immure_jsonw_object(&w, NULL);
	for (int deny = 0; deny < 2; deny++) {
		immure_jsonw_array(&w, deny ? "deny" : "read_only");
		for (e = immure_jsonr_first(json, list); e; e = immure_jsonr_after(json, list, e)) {
			const char *path = immure_jsonr_text(json, e, "path"), *how = immure_jsonr_text(json, e, "how");

			if (!path || !how || (strcmp(how, "deny") != 0 && strcmp(how, "read-only") != 0))
				return damaged(err);
			if ((strcmp(how, "deny") == 0) == deny)
				immure_jsonw_str(&w, NULL, path);
		}
		immure_jsonw_end(&w, ']');
	}
	immure_jsonw_end(&w, '}');
	return immure_buf_ok(ret) ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "resume", "", "out of memory");
}

/* ---- rules of the network ---- */

static bool has_rule(const struct immure_jsonr *json, const struct immure_jsonr_value *list, const char *rule)
{
	const struct immure_jsonr_value *e;

	for (e = immure_jsonr_first(json, list); e; e = immure_jsonr_after(json, list, e))
		if (e->type == IMMURE_JSON_STRING && strcmp(e->text, rule) == 0)
			return true;
	return false;
}

static bool is_texts(const struct immure_jsonr *json, const struct immure_jsonr_value *list)
{
	if (!list || list->type != IMMURE_JSON_ARRAY)
		return false;
	for (const struct immure_jsonr_value *e = immure_jsonr_first(json, list); e; e = immure_jsonr_after(json, list, e))
		if (e->type != IMMURE_JSON_STRING)
			return false;
	return true;
}

bool immure_said_allowed(const struct immure_jsonr *json, const struct immure_jsonr_value *about, const char *rule)
{
	const struct immure_jsonr_value *network = immure_jsonr_get(json, about, "network");
	const struct immure_jsonr_value *rules = network && network->type == IMMURE_JSON_OBJECT ?
							 immure_jsonr_get(json, network, "allow") : NULL;

	return !rules || !is_texts(json, rules) || has_rule(json, rules, rule);
}

/* What both allow, and what either denies. */
int32_t immure_said_narrowed(const struct immure_jsonr *was, const struct immure_jsonr_value *old,
			     const struct immure_jsonr *is, const struct immure_jsonr_value *now, struct immure_buf *ret,
			     struct immure_error **err)
{
	const struct immure_jsonr_value *a = immure_jsonr_get(is, now, "allow"), *old_a = immure_jsonr_get(was, old, "allow"),
					*d = immure_jsonr_get(is, now, "deny"), *old_d = immure_jsonr_get(was, old, "deny"), *e;
	struct immure_jsonw w;
	bool changed = false;

	if (!is_texts(is, a) || !is_texts(is, d) || !is_texts(was, old_a) || !is_texts(was, old_d))
		return immure_fail(err, IMMURE_ERR_SNAPSHOT, EBADMSG, "resume", "", "invalid_snapshot: its rules of the "
				   "network cannot be read");
	immure_jsonw_init(&w, ret, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_bool(&w, "replace", true);
	immure_jsonw_array(&w, "allow");
	for (e = immure_jsonr_first(is, a); e; e = immure_jsonr_after(is, a, e)) {
		if (has_rule(was, old_a, e->text))
			immure_jsonw_str(&w, NULL, e->text);
		else
			changed = true;
	}
	immure_jsonw_end(&w, ']');
	immure_jsonw_array(&w, "deny");
	for (e = immure_jsonr_first(is, d); e; e = immure_jsonr_after(is, d, e))
		immure_jsonw_str(&w, NULL, e->text);
	for (e = immure_jsonr_first(was, old_d); e; e = immure_jsonr_after(was, old_d, e))
		if (!has_rule(is, d, e->text)) {
			immure_jsonw_str(&w, NULL, e->text);
			changed = true;
		}
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	if (!immure_buf_ok(ret))
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "resume", "", "out of memory");
	if (!changed)
		ret->len = 0;
	return 0;
}
