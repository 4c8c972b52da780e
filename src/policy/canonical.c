/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/jsonw.h"
#include "policy/keys.h"
#include "policy/policy.h"

static const void *member(const struct immure_policy *p, const struct immure_key *k)
{
	return (const char *)p + k->offset;
}

static void put_strv(struct immure_jsonw *w, const char *key, const struct immure_strv *l)
{
	immure_jsonw_array(w, key);
	for (size_t i = 0; i < l->n; i++)
		immure_jsonw_str(w, NULL, l->v[i]);
	immure_jsonw_end(w, ']');
}

static void put_secrets(struct immure_jsonw *w, const char *key, const struct immure_policy *p)
{
	immure_jsonw_object(w, key);
	for (size_t i = 0; i < p->secrets_n; i++) {
		const struct immure_secret *s = &p->secrets[i];

		immure_jsonw_object(w, s->name);
		immure_jsonw_str(w, "from", s->from);
		put_strv(w, "to", &s->to);
		immure_jsonw_str(w, "as", s->as);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, '}');
}

/* A word when no gap is named; both parts otherwise, since both count. */
static void put_downgrade(struct immure_jsonw *w, const char *key, const struct immure_key *k,
			  const struct immure_policy *p)
{
	/* What only the caller named counts as far as the files list it. */
	bool bounded = p->downgrade_bounded && p->downgrade == IMMURE_DOWNGRADE_ALLOW &&
		       p->downgrades.n && p->downgrades.v != p->downgrade_listed.v;

	if (p->downgrades.n == 0) {
		immure_jsonw_str(w, key, k->names[p->downgrade]);
		return;
	}
	immure_jsonw_object(w, key);
	immure_jsonw_str(w, "mode", k->names[p->downgrade]);
	put_strv(w, "gaps", &p->downgrades);
	if (bounded)
		put_strv(w, "listed", &p->downgrade_listed);
	immure_jsonw_end(w, '}');
}

void immure_key_write(struct immure_jsonw *w, const char *key, const struct immure_key *k,
		      const struct immure_policy *p)
{
	uint64_t n;

	switch (k->type) {
	case IMMURE_KEY_TEXT:
	case IMMURE_KEY_CHOICE:
		immure_jsonw_str(w, key, *(const char *const *)member(p, k));
		break;
	case IMMURE_KEY_ENUM:
		immure_jsonw_str(w, key, k->names[*(const unsigned int *)member(p, k)]);
		break;
	case IMMURE_KEY_BOOL:
		immure_jsonw_bool(w, key, *(const bool *)member(p, k));
		break;
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		n = *(const uint64_t *)member(p, k);
		if (n)
			immure_jsonw_uint(w, key, n);
		else
			immure_jsonw_null(w, key);
		break;
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		put_strv(w, key, member(p, k));
		break;
	case IMMURE_KEY_ENV:
		immure_jsonw_object(w, key);
		for (size_t i = 0; i < p->env_set_n; i++)
			immure_jsonw_str(w, p->env_set[i].name, p->env_set[i].value);
		immure_jsonw_end(w, '}');
		break;
	case IMMURE_KEY_SECRETS:
		put_secrets(w, key, p);
		break;
	case IMMURE_KEY_DOWNGRADE:
		put_downgrade(w, key, k, p);
		break;
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
}

char *immure_policy_canonical(const struct immure_policy *p)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_buf_reserve(&b, 4000); /* a profile and some settings fit */
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	for (size_t i = 0; i < immure_keys_n; i++)
		immure_key_write(&w, immure_keys[i].path, &immure_keys[i], p);
	immure_jsonw_end(&w, '}');
	return immure_buf_take(&b);
}
