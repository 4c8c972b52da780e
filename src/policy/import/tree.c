/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/import/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonr.h"

int immure_tree_fail(struct immure_tree_failure *f, size_t line, const char *fmt, ...)
{
	va_list ap;

	f->line = line;
	va_start(ap, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, ap); /* cut is fine: a message */
	va_end(ap);
	return -EINVAL;
}

struct immure_tree *immure_tree_add(struct immure_arena *a, struct immure_tree *parent,
				    const char *key, enum immure_tree_type type, size_t line)
{
	struct immure_tree *t = immure_arena_alloc(a, sizeof(*t));

	if (!t)
		return NULL;
	t->key = key;
	t->type = type;
	t->line = line;
	if (!parent)
		return t;
	if (parent->last)
		parent->last->next = t;
	else
		parent->first = t;
	parent->last = t;
	return t;
}

const struct immure_tree *immure_tree_get(const struct immure_tree *t, const char *key)
{
	if (!t || t->type != IMMURE_TREE_TABLE)
		return NULL;
	for (t = t->first; t; t = t->next)
		if (strcmp(t->key, key) == 0)
			return t;
	return NULL;
}

const char *immure_tree_string(const struct immure_tree *t)
{
	return t && t->type == IMMURE_TREE_STRING ? t->text : NULL;
}

bool immure_tree_is(const struct immure_tree *t, bool value)
{
	return t && t->type == IMMURE_TREE_BOOL && (t->number != 0) == value;
}

/* ---- JSON ---- */

/* Which line an offset is in, by the offsets of the newlines. */
struct lines {
	size_t *ends, n;
};

static int find_lines(struct immure_arena *a, const char *text, size_t len, struct lines *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	ret->n = 0;
	ret->ends = immure_arena_alloc(a, (n + 1) * sizeof(*ret->ends));
	if (!ret->ends)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n')
			ret->ends[ret->n++] = i;
	return 0;
}

static size_t line_of(const struct lines *l, size_t at)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->ends[mid] < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo + 1;
}

struct json_source {
	struct immure_arena *a;
	struct immure_jsonr r;
	struct lines lines;
	const char *text;
};

static int add_json(struct json_source *s, const struct immure_jsonr_value *v, size_t line,
		    struct immure_tree *parent, struct immure_tree **ret)
{
	static const enum immure_tree_type types[] = {
		[IMMURE_JSON_NULL] = IMMURE_TREE_NULL,       [IMMURE_JSON_BOOL] = IMMURE_TREE_BOOL,
		[IMMURE_JSON_INTEGER] = IMMURE_TREE_INTEGER, [IMMURE_JSON_REAL] = IMMURE_TREE_OTHER,
		[IMMURE_JSON_STRING] = IMMURE_TREE_STRING,   [IMMURE_JSON_ARRAY] = IMMURE_TREE_ARRAY,
		[IMMURE_JSON_OBJECT] = IMMURE_TREE_TABLE,
	};
	const char *where = v->key ? v->key : v->text;
	const struct immure_jsonr_value *m;
	struct immure_tree *t;
	int r = 0;

	if (where)
		line = line_of(&s->lines, (size_t)(where - s->text));
	t = immure_tree_add(s->a, parent, v->key, types[v->type], line);
	if (!t)
		return -ENOMEM;
	*ret = t;
	t->number = v->integer;
	if (v->type == IMMURE_JSON_STRING)
		t->text = v->text;
	else if (v->type == IMMURE_JSON_REAL)
		t->text = immure_arena_strndup(s->a, v->text, v->len);
	for (m = immure_jsonr_first(&s->r, v); m && r == 0; m = immure_jsonr_after(&s->r, v, m)) {
		struct immure_tree *child = NULL;

		r = add_json(s, m, line, t, &child); /* the reader bounds the depth */
		if (child)
			line = child->line;
	}
	return r < 0 ? r : s->a->failed ? -ENOMEM : 0;
}

/* The text stays: strings of the tree are in it. */
int immure_tree_from_json(struct immure_arena *a, const char *text, size_t len,
			  struct immure_tree **ret, struct immure_tree_failure *f)
{
	char *copy = immure_arena_alloc(a, len + 1);
	struct json_source s = { .a = a, .text = copy };
	struct immure_json_failure jf = { 0 };
	struct immure_jsonr_value *v;
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	r = immure_json_strip(copy, len, &jf);
	if (r == -EINVAL)
		return immure_tree_fail(f, jf.line, "%s", jf.text);
	if (r == 0)
		r = find_lines(a, copy, len, &s.lines);
	v = r < 0 ? NULL : calloc(IMMURE_TREE_NODES_MAX, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r = immure_jsonr_parse(&s.r, copy, len, v, IMMURE_TREE_NODES_MAX);
	if (r == 0)
		r = add_json(&s, &v[0], 1, NULL, ret);
	else if (r == -E2BIG)
		r = immure_tree_fail(f, line_of(&s.lines, s.r.at), "too many values");
	else
		r = immure_tree_fail(f, line_of(&s.lines, s.r.at), "not JSON: %s",
				     s.r.why ? s.r.why : "?");
	free(v);
	return r;
}
