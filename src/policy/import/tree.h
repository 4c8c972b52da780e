/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of other programs as one kind of tree, whatever they were written in.
 * Every node knows its line. Full build only. */
#ifndef IMMURE_POLICY_IMPORT_TREE_H
#define IMMURE_POLICY_IMPORT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum immure_tree_type {
	IMMURE_TREE_NULL,
	IMMURE_TREE_BOOL,
	IMMURE_TREE_INTEGER,
	IMMURE_TREE_OTHER, /* a fraction or a date: text as written */
	IMMURE_TREE_STRING,
	IMMURE_TREE_ARRAY,
	IMMURE_TREE_TABLE,
};

struct immure_tree {
	enum immure_tree_type type;
	const char *key;  /* in a table; NULL in an array and at the top */
	const char *text; /* STRING, OTHER */
	int64_t number;   /* INTEGER, BOOL */
	size_t line;      /* from 1; of a table that came to be by a longer name: where first */
	struct immure_tree *first, *last, *next;
	bool closed;      /* TOML: complete, nothing may be added from elsewhere */
	bool defined;     /* TOML: has had its own [header] */
	bool of_tables;   /* TOML: an array made by [[header]] */
};

struct immure_tree_failure {
	size_t line;
	char text[200];
};

enum { IMMURE_TREE_DEPTH = 32, IMMURE_TREE_NODES_MAX = 20000 };

/* -EINVAL with *f filled, -ENOMEM. Strings hold no NUL. JSON may have comments. */
int immure_tree_from_json(struct immure_arena *a, const char *text, size_t len,
			  struct immure_tree **ret, struct immure_tree_failure *f);
/* TOML 1.0: tables, dotted and quoted keys, arrays, inline tables, arrays of
 * tables, all four kinds of strings, integers, booleans; fractions and dates are
 * kept as they are written. Duplicates are errors. */
int immure_tree_from_toml(struct immure_arena *a, const char *text, size_t len,
			  struct immure_tree **ret, struct immure_tree_failure *f);

/* The member of that name, NULL when there is none or t is no table (or NULL). */
const struct immure_tree *immure_tree_get(const struct immure_tree *t, const char *key);
/* A string's text; NULL for anything else. */
const char *immure_tree_string(const struct immure_tree *t);
bool immure_tree_is(const struct immure_tree *t, bool value);

/* For the two readers: -EINVAL with *f filled. */
int immure_tree_fail(struct immure_tree_failure *f, size_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct immure_tree *immure_tree_add(struct immure_arena *a, struct immure_tree *parent,
				    const char *key, enum immure_tree_type type, size_t line);

#endif
