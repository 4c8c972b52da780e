/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/tighten.h"

#include <string.h>

#include "policy/env.h"
#include "policy/policy.h"

static const void *member(const struct immure_policy *p, const struct immure_key *k)
{
	return (const char *)p + k->offset;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool contains(const struct immure_strv *all, const struct immure_strv *some)
{
	for (size_t i = 0; i < some->n; i++)
		if (!immure_strv_has(all, some->v[i]))
			return false;
	return true;
}

static bool same_list(const struct immure_strv *a, const struct immure_strv *b)
{
	return contains(a, b) && contains(b, a);
}

/* Every variable set after was set before, to the same. */
static bool fewer_variables(const struct immure_policy *before, const struct immure_policy *after)
{
	for (size_t i = 0; i < after->env_set_n; i++) {
		size_t j = 0;

		while (j < before->env_set_n &&
		       !(strcmp(before->env_set[j].name, after->env_set[i].name) == 0 &&
			 strcmp(before->env_set[j].value, after->env_set[i].value) == 0))
			j++;
		if (j == before->env_set_n)
			return false;
	}
	return true;
}

/* What is not set any more would come from the caller if it is passed: the
 * value that the layers below had put something else in the place of. */
static bool uncovers_variable(const struct immure_policy *before, const struct immure_policy *after)
{
	for (size_t i = 0; i < before->env_set_n; i++) {
		const char *name = before->env_set[i].name;
		size_t j = 0;

		while (j < after->env_set_n && strcmp(after->env_set[j].name, name) != 0)
			j++;
		if (j == after->env_set_n && immure_env_passes(after, name, strlen(name)))
			return true;
	}
	return false;
}

/* A path that can only be read may lie in one that can be written: without its
 * entry it could be written as well. */
static bool uncovers_writable(const struct immure_policy *before, const struct immure_policy *after)
{
	return (after->write.n > 0 || after->mounts.n > 0 ||
		immure_policy_changes_workspace(after)) &&
	       !contains(&after->read, &before->read);
}

static bool fewer_secrets(const struct immure_policy *before, const struct immure_policy *after)
{
	for (size_t i = 0; i < after->secrets_n; i++) {
		const struct immure_secret *a = &after->secrets[i];
		size_t j = 0;

		for (; j < before->secrets_n; j++) {
			const struct immure_secret *b = &before->secrets[j];

			if (strcmp(b->name, a->name) == 0 && strcmp(b->from, a->from) == 0 &&
			    strcmp(b->as, a->as) == 0 && contains(&b->to, &a->to))
				break;
		}
		if (j == before->secrets_n)
			return false;
	}
	return true;
}

static bool same(const struct immure_key *k, const struct immure_policy *before,
		 const struct immure_policy *after)
{
	const void *x = member(before, k), *y = member(after, k);

	switch (k->type) {
	case IMMURE_KEY_TEXT:
	case IMMURE_KEY_CHOICE:
		return same_text(*(const char *const *)x, *(const char *const *)y);
	case IMMURE_KEY_ENUM:
		return *(const unsigned int *)x == *(const unsigned int *)y;
	case IMMURE_KEY_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		return *(const uint64_t *)x == *(const uint64_t *)y;
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		return same_list(x, y);
	case IMMURE_KEY_ENV:
		return fewer_variables(before, after) && fewer_variables(after, before);
	case IMMURE_KEY_SECRETS:
		return fewer_secrets(before, after) && fewer_secrets(after, before);
	case IMMURE_KEY_DOWNGRADE:
		return before->downgrade == after->downgrade &&
		       same_list(&before->downgrades, &after->downgrades);
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
	return false;
}

/* Rank of a value; -1 when it is none of the names (a file of the user's). */
static int rank_of(const struct immure_key *k, const struct immure_policy *p)
{
	const void *m = member(p, k);

	if (k->type == IMMURE_KEY_ENUM)
		return k->rank[*(const unsigned int *)m];
	for (size_t i = 0; k->names[i]; i++)
		if (strcmp(k->names[i], *(const char *const *)m) == 0)
			return k->rank[i];
	return -1;
}

static bool higher_rank(const struct immure_key *k, const struct immure_policy *before,
			const struct immure_policy *after)
{
	int x = rank_of(k, before), y = rank_of(k, after);

	return x >= 0 && y > x;
}

bool immure_key_tightens(const struct immure_key *k, const struct immure_policy *before,
			 const struct immure_policy *after)
{
	const void *x = member(before, k), *y = member(after, k);
	uint64_t was, is;

	if (same(k, before, after))
		return true;
	switch (k->tighten) {
	case IMMURE_TIGHTEN_NEVER:
		return false;
	case IMMURE_TIGHTEN_RANK:
		return higher_rank(k, before, after);
	case IMMURE_TIGHTEN_TRUE:
		return *(const bool *)y;
	case IMMURE_TIGHTEN_FALSE:
		return !*(const bool *)y;
	case IMMURE_TIGHTEN_LOWER:
		was = *(const uint64_t *)x;
		is = *(const uint64_t *)y;
		return is != 0 && (was == 0 || is < was);
	case IMMURE_TIGHTEN_MORE:
		return contains(y, x);
	case IMMURE_TIGHTEN_FEWER:
		if (k->type == IMMURE_KEY_ENV)
			return fewer_variables(before, after) && !uncovers_variable(before, after);
		if (k->type == IMMURE_KEY_SECRETS)
			return fewer_secrets(before, after);
		if (x == (const void *)&before->read && uncovers_writable(before, after))
			return false;
		return contains(x, y);
	case IMMURE_TIGHTEN_SET:
		return !*(const char *const *)x;
	case IMMURE_TIGHTEN_DENY:
		/* Without a file below, the caller's flags could accept any gap. */
		return after->downgrade == IMMURE_DOWNGRADE_DENY &&
		       (!before->downgrade_bounded ||
			contains(&before->downgrades, &after->downgrades));
	case IMMURE_TIGHTEN_MAX:
		break;
	}
	return false;
}

const struct immure_key *immure_policy_loosened(const struct immure_policy *before,
						const struct immure_policy *after)
{
	for (size_t i = 0; i < immure_keys_n; i++)
		if (!immure_key_tightens(&immure_keys[i], before, after))
			return &immure_keys[i];
	return NULL;
}
