/* SPDX-License-Identifier: Apache-2.0 */
/* The table of policy keys. Everything that knows the name of a key reads it
 * here: the parser, the settings and flags, help, man page, reference, schema,
 * `policy show` and the canonical form. A new key is one new row. */
#ifndef IMMURE_POLICY_KEYS_H
#define IMMURE_POLICY_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum immure_key_type {
	IMMURE_KEY_TEXT,     /* const char *, NULL = none */
	IMMURE_KEY_CHOICE,   /* const char *, one of names, or what check() takes */
	IMMURE_KEY_ENUM,     /* an enum's value = index into names */
	IMMURE_KEY_BOOL,
	IMMURE_KEY_SIZE,     /* uint64_t, bytes */
	IMMURE_KEY_DURATION, /* uint64_t, ms */
	IMMURE_KEY_COUNT,    /* uint64_t */
	IMMURE_KEY_MILLI,    /* uint64_t, thousandths */
	IMMURE_KEY_PATHS,    /* struct immure_strv */
	IMMURE_KEY_STRINGS,  /* struct immure_strv, each taken by check() */
	IMMURE_KEY_ENV,      /* environment.set */
	IMMURE_KEY_SECRETS,  /* secrets */
	IMMURE_KEY_DOWNGRADE, /* require.downgrade: a word or a list */
	IMMURE_KEY_TYPE_MAX
};

/* What a workspace's own untrusted file may do to a key: only what leaves the
 * command with less. */
enum immure_tighten {
	IMMURE_TIGHTEN_NEVER, /* any change counts as loosening */
	IMMURE_TIGHTEN_RANK,  /* an enum or choice: to a value of higher rank */
	IMMURE_TIGHTEN_TRUE,  /* a bool: to true */
	IMMURE_TIGHTEN_FALSE, /* a bool: to false */
	IMMURE_TIGHTEN_LOWER, /* a limit: lower, or set where there was none */
	IMMURE_TIGHTEN_MORE,  /* a list: additions */
	IMMURE_TIGHTEN_FEWER, /* a list or map: removals */
	IMMURE_TIGHTEN_SET,   /* from unset to something */
	IMMURE_TIGHTEN_DENY,  /* require.downgrade: to deny, with no more gaps named */
	IMMURE_TIGHTEN_MAX
};

/* Why a value is refused: text completes "KEY: ...". */
struct immure_complaint {
	char text[320];
	char hint[320];
};

/* Checks one value or list element and gives its normal form (may be the
 * argument itself). -EINVAL with the complaint filled, -ENOMEM. */
typedef int immure_key_check(struct immure_arena *a, const char *value, const char **ret,
			     struct immure_complaint *c);

struct immure_key {
	const char *path;          /* "limits.memory" */
	const char *plus;          /* "+limits.memory" */
	enum immure_key_type type;
	size_t offset;             /* into struct immure_policy */
	const char *const *names;  /* ENUM and CHOICE, NULL-terminated */
	const char *choices;       /* names as "a|b" when there is nothing else to choose */
	const unsigned char *rank; /* with TIGHTEN_RANK, one per name: higher = tighter */
	uint64_t min, max;         /* numbers; zero is never legal */
	immure_key_check *check;
	bool nullable;             /* a list that may be written null: empty */
	const char *fallback;      /* the value when no layer sets it; NULL = none */
	enum immure_tighten tighten;
	const char *flag;          /* "memory"; NULL = no flag */
	const char *argument;      /* "SIZE" */
	const char *help;          /* one line, no full stop */
	const char *doc;           /* what it means, units, errors, what it rests on */
	const char *enforced_by;   /* dimension or capability that must be enforced */
	const char *example;       /* JSON of a value, for the reference */
};

extern const struct immure_key immure_keys[];
extern const size_t immure_keys_n;

/* Index into the table, or -1. */
int immure_key_find(const char *path);
static inline bool immure_key_is_list(const struct immure_key *k)
{
	return k->type == IMMURE_KEY_PATHS || k->type == IMMURE_KEY_STRINGS;
}
/* Takes "+": lists, and maps that a layer may add to. */
static inline bool immure_key_appends(const struct immure_key *k)
{
	return immure_key_is_list(k) || k->type == IMMURE_KEY_ENV ||
	       k->type == IMMURE_KEY_SECRETS;
}
static inline bool immure_key_is_number(const struct immure_key *k)
{
	return k->type == IMMURE_KEY_SIZE || k->type == IMMURE_KEY_DURATION ||
	       k->type == IMMURE_KEY_COUNT || k->type == IMMURE_KEY_MILLI;
}
/* What a value looks like, for messages: "a size such as 512M or 2G". */
const char *immure_key_expects(const struct immure_key *k);

struct immure_jsonw;
struct immure_policy;
/* The key's value in p as canonical JSON: sizes in bytes, times in ms, CPUs in
 * thousandths, unset as null. key as for the functions of base/jsonw.h. */
void immure_key_write(struct immure_jsonw *w, const char *key, const struct immure_key *k,
		      const struct immure_policy *p);

/* The candidate nearest to word by edit distance when it is near enough to be
 * what was meant; NULL otherwise. */
const char *immure_nearest(const char *word, const char *const *candidates, size_t n);

#endif
