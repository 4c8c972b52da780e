/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/sha256.h"
#include "policy/checks.h"

static void *member(struct immure_policy *p, const struct immure_key *k)
{
	return (char *)p + k->offset;
}

void immure_policy_destroy(struct immure_policy *p)
{
	if (!p)
		return;
	immure_arena_done(&p->arena);
	free(p);
}

void immure_build_abort(struct immure_policy_build *b)
{
	immure_policy_destroy(b->p);
	b->p = NULL;
}

void immure_build_layer(struct immure_policy_build *b, const char *source)
{
	b->layer++;
	b->source = immure_arena_strdup(&b->p->arena, source);
}

static size_t index_of(const struct immure_key *k)
{
	return (size_t)(k - immure_keys);
}

/* Notes who set the key; a list that was added to has several sources. */
static void note(struct immure_policy_build *b, const struct immure_key *k, bool added)
{
	const char **slot = &b->p->sources[index_of(k)];

	b->set_in[index_of(k)] = b->layer;
	if (!added || !*slot || strcmp(*slot, "default") == 0)
		*slot = b->source;
	else if (b->source && strcmp(*slot, b->source) != 0)
		*slot = immure_arena_printf(&b->p->arena, "%s, %s", *slot, b->source);
}

static int parse_number(const struct immure_key *k, const char *value, uint64_t *ret,
			struct immure_complaint *c)
{
	uint64_t v = 0;
	char lo[32], hi[32];
	int r;

	if (k->type == IMMURE_KEY_SIZE)
		r = immure_parse_size(value, &v);
	else if (k->type == IMMURE_KEY_DURATION)
		r = immure_parse_duration(value, &v);
	else if (k->type == IMMURE_KEY_MILLI)
		r = immure_parse_milli(value, &v);
	else
		r = immure_parse_u64(value, &v);
	if (r == -ERANGE)
		return immure_complain(c, "%.60s is too large", value);
	if (r < 0)
		return immure_complain(c, "expected %s, got \"%.60s\"", immure_key_expects(k), value);
	if (v == 0) {
		immure_complain(c, "a limit of zero is an error");
		immure_complain_hint(c, "leave the key out for no limit");
		return -EINVAL;
	}
	if (v >= k->min && v <= k->max) {
		*ret = v;
		return 0;
	}
	if (k->type == IMMURE_KEY_SIZE) {
		(void)immure_format_size(k->min, lo, sizeof(lo));
		(void)immure_format_size(k->max, hi, sizeof(hi));
	} else if (k->type == IMMURE_KEY_DURATION) {
		(void)immure_format_duration(k->min, lo, sizeof(lo));
		(void)immure_format_duration(k->max, hi, sizeof(hi));
	} else {
		unsigned long long d = k->type == IMMURE_KEY_MILLI ? 1000 : 1;

		(void)snprintf(lo, sizeof(lo), "%g", (double)k->min / (double)d);
		(void)snprintf(hi, sizeof(hi), "%llu", (unsigned long long)k->max / d);
	}
	return immure_complain(c, "%.60s is out of range: %s to %s", value, lo, hi);
}

/* One of names, or whatever the key's check() takes. */
static int parse_choice(struct immure_policy_build *b, const struct immure_key *k,
			const char *value, const char **ret, struct immure_complaint *c)
{
	char list[200] = "";
	size_t n, at = 0;
	const char *near;
	int r;

	for (n = 0; k->names[n]; n++) {
		if (strcmp(k->names[n], value) == 0) {
			*ret = k->names[n];
			return (int)n;
		}
	}
	if (k->check) {
		r = k->check(&b->p->arena, value, ret, c);
		if (r != -ENOENT)
			return r;
	}
	for (size_t i = 0; i < n && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
				       i == 0 ? "" : i + 1 < n ? ", " : " or ", k->names[i]);
	immure_complain(c, "expected %s%s, got \"%.60s\"", list,
			k->check ? " or an absolute path" : "", value);
	near = immure_nearest(value, k->names, n);
	if (near)
		immure_complain_hint(c, "did you mean \"%s\"?", near);
	return -EINVAL;
}

void immure_build_clear(struct immure_policy_build *b, const struct immure_key *k)
{
	if (immure_key_is_list(k)) {
		*(struct immure_strv *)member(b->p, k) = (struct immure_strv){ 0 };
	} else if (k->type == IMMURE_KEY_ENV) {
		b->p->env_set = NULL;
		b->p->env_set_n = 0;
	} else if (k->type == IMMURE_KEY_SECRETS) {
		b->p->secrets = NULL;
		b->p->secrets_n = 0;
	} else if (k->type == IMMURE_KEY_DOWNGRADE) {
		b->p->downgrades = (struct immure_strv){ 0 };
	}
	note(b, k, false);
}

/* Starts the list in this layer if it was not; false = there is more to keep. */
static void open_list(struct immure_policy_build *b, const struct immure_key *k, bool append)
{
	if (!append && b->set_in[index_of(k)] != b->layer)
		immure_build_clear(b, k);
	note(b, k, true);
}

/* Lists are searched for duplicates and rules one by one: a hostile file must
 * not be able to make that take long. */
enum { LIST_MAX = 4096, MAP_MAX = 512 };

static int add_env(struct immure_policy_build *b, const char *value, struct immure_complaint *c)
{
	struct immure_policy *p = b->p;
	struct immure_env_set *v, e;
	int r = immure_check_env(&p->arena, value, &e.name, &e.value, c);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->env_set_n; i++) {
		if (strcmp(p->env_set[i].name, e.name) == 0) {
			v = immure_arena_alloc(&p->arena, p->env_set_n * sizeof(*v));
			if (!v)
				return -ENOMEM;
			memcpy(v, p->env_set, p->env_set_n * sizeof(*v));
			v[i] = e;
			p->env_set = v;
			return 0;
		}
	}
	if (p->env_set_n >= MAP_MAX)
		return immure_complain(c, "more than %d variables", MAP_MAX);
	v = immure_arena_alloc(&p->arena, (p->env_set_n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (p->env_set_n)
		memcpy(v, p->env_set, p->env_set_n * sizeof(*v));
	v[p->env_set_n++] = e;
	p->env_set = v;
	return 0;
}

int immure_build_secret(struct immure_policy_build *b, const struct immure_key *k,
			struct immure_secret *s, bool append, struct immure_complaint *c)
{
	struct immure_policy *p = b->p;
	struct immure_secret *v;
	int r = immure_check_secret(&p->arena, s, c);
	size_t at;

	if (r < 0)
		return r;
	open_list(b, k, append);
	if (p->secrets_n >= MAP_MAX)
		return immure_complain(c, "more than %d secrets", MAP_MAX);
	v = immure_arena_alloc(&p->arena, (p->secrets_n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (p->secrets_n)
		memcpy(v, p->secrets, p->secrets_n * sizeof(*v));
	for (at = 0; at < p->secrets_n; at++)
		if (strcmp(v[at].name, s->name) == 0)
			break;
	v[at] = *s;
	p->secrets = v;
	p->secrets_n += at == p->secrets_n;
	return 0;
}

/* What a gap can be named by: its policy key, a word of the report, or the one
 * mechanism that can be missing while all keys are still enforced. */
static bool names_a_gap(struct immure_policy_build *b, const char *name)
{
	struct immure_complaint unused = { 0 };
	const struct immure_key *class = &immure_keys[immure_key_find("require.class")];
	const char *same;

	for (const char *const *one = class->names; *one; one++)
		if (strcmp(*one, name) == 0)
			return true;
	for (int t = 0; t < IMMURE_TRUST_MAX; t++)
		if (strcmp(immure_trust_fields[t].delta, name) == 0)
			return true;
	return strcmp(name, "landlock") == 0 || strcmp(name, "file_metadata") == 0 ||
	       strcmp(name, "file_create") == 0 || strncmp(name, "secrets.", 8) == 0 ||
	       immure_key_find(name) >= 0 ||
	       immure_check_capability(&b->p->arena, name, &same, &unused) == 0;
}

int immure_build_downgrade(struct immure_policy_build *b, const struct immure_key *k,
			   const char *name, struct immure_complaint *c)
{
	size_t n = strlen(name);

	if (n == 0 || n > 64 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") != n ||
	    !names_a_gap(b, name))
		return immure_complain(c, "expected a policy key, dimension or capability, got "
				       "\"%.60s\"", name);
	open_list(b, k, false);
	if (immure_strv_has(&b->p->downgrades, name))
		return 0;
	if (b->p->downgrades.n >= LIST_MAX)
		return immure_complain(c, "the list has more than %d entries", LIST_MAX);
	return immure_strv_add(&b->p->arena, &b->p->downgrades,
			       immure_arena_strdup(&b->p->arena, name)) ? 0 : -ENOMEM;
}

/* As text it comes from the caller, who may accept: a word, or a gap's name. A
 * word keeps the list below it: it accepts what the policy listed. */
static int assign_downgrade(struct immure_policy_build *b, const struct immure_key *k,
			    const char *value, struct immure_complaint *c)
{
	int r;

	if (strcmp(value, "deny") == 0 || strcmp(value, "allow") == 0) {
		b->p->downgrade = value[0] == 'd' ? IMMURE_DOWNGRADE_DENY : IMMURE_DOWNGRADE_ALLOW;
		note(b, k, b->p->downgrades.n > 0);
		return 0;
	}
	r = immure_build_downgrade(b, k, value, c);
	if (r == 0)
		b->p->downgrade = IMMURE_DOWNGRADE_ALLOW;
	return r;
}

static int assign_element(struct immure_policy_build *b, const struct immure_key *k,
			  const char *value, struct immure_complaint *c)
{
	struct immure_strv *l = member(b->p, k);
	const char *v = NULL;
	int r = k->check(&b->p->arena, value, &v, c);

	if (r < 0)
		return r;
	if (immure_strv_has(l, v))
		return 0;
	if (l->n >= LIST_MAX)
		return immure_complain(c, "the list has more than %d entries", LIST_MAX);
	return immure_strv_add(&b->p->arena, l, v) ? 0 : -ENOMEM;
}

static int assign_scalar(struct immure_policy_build *b, const struct immure_key *k,
			 const char *value, struct immure_complaint *c)
{
	const char *text = NULL;
	int r;

	switch (k->type) {
	case IMMURE_KEY_TEXT:
		r = k->check(&b->p->arena, value, &text, c);
		if (r >= 0)
			*(const char **)member(b->p, k) = text;
		return r;
	case IMMURE_KEY_CHOICE:
		r = parse_choice(b, k, value, &text, c);
		if (r >= 0)
			*(const char **)member(b->p, k) = text;
		return r;
	case IMMURE_KEY_ENUM:
		r = parse_choice(b, k, value, &text, c);
		if (r >= 0)
			*(unsigned int *)member(b->p, k) = (unsigned int)r;
		return r;
	case IMMURE_KEY_BOOL:
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return immure_complain(c, "expected true or false, got \"%.60s\"", value);
		*(bool *)member(b->p, k) = value[0] == 't';
		return 0;
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		return parse_number(k, value, member(b->p, k), c);
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
	case IMMURE_KEY_ENV:
	case IMMURE_KEY_SECRETS:
	case IMMURE_KEY_DOWNGRADE:
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
	return immure_complain(c, "has no text form");
}

/* As it is carried from one process to another (carry.c). */
static int assign_secret(struct immure_policy_build *b, const struct immure_key *k, const char *value,
			 bool append, struct immure_complaint *c)
{
	char *text = immure_arena_strdup(&b->p->arena, value), *field[3] = { NULL };
	struct immure_secret s = { 0 };

	for (int i = 0; i < 3 && text; i++) {
		field[i] = text;
		text = strchr(text, '\x1f');
		if (text)
			*text++ = '\0';
	}
	if (!field[2])
		return immure_complain(c, "no secret as it is carried");
	s.name = field[0];
	s.from = field[1];
	s.as = field[2];
	while (text) {
		char *next = strchr(text, '\x1f');

		if (next)
			*next++ = '\0';
		if (!immure_strv_add(&b->p->arena, &s.to, text))
			return -ENOMEM;
		text = next;
	}
	return immure_build_secret(b, k, &s, append, c);
}

int immure_build_assign(struct immure_policy_build *b, const struct immure_key *k,
			const char *value, bool append, struct immure_complaint *c)
{
	int r;

	if (immure_key_is_list(k)) {
		open_list(b, k, append);
		return assign_element(b, k, value, c);
	}
	if (k->type == IMMURE_KEY_ENV) {
		open_list(b, k, append);
		return add_env(b, value, c);
	}
	if (k->type == IMMURE_KEY_DOWNGRADE)
		return assign_downgrade(b, k, value, c);
	if (k->type == IMMURE_KEY_SECRETS && strchr(value, '\x1f'))
		return assign_secret(b, k, value, append, c);
	r = assign_scalar(b, k, value, c);
	if (r < 0)
		return r;
	note(b, k, false);
	return 0;
}

/* Defaults of the table need no checking: a test does that. Lists have none. */
static void set_fallback(struct immure_policy *p, const struct immure_key *k)
{
	if (!k->fallback)
		return;
	if (k->type == IMMURE_KEY_TEXT || k->type == IMMURE_KEY_CHOICE) {
		*(const char **)member(p, k) = k->fallback;
	} else if (k->type == IMMURE_KEY_BOOL) {
		*(bool *)member(p, k) = k->fallback[0] == 't';
	} else if (k->type == IMMURE_KEY_ENUM) {
		unsigned int v = 0;

		while (strcmp(k->names[v], k->fallback) != 0)
			v++;
		*(unsigned int *)member(p, k) = v;
	}
}

int32_t immure_build_begin(struct immure_policy_build *b, struct immure_error **err)
{
	struct immure_policy *p = calloc(1, sizeof(*p));

	*b = (struct immure_policy_build){ .p = p };
	if (!p)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	p->profile = "";
	p->sources = immure_arena_alloc(&p->arena, immure_keys_n * sizeof(*p->sources));
	b->set_in = immure_arena_alloc(&p->arena, immure_keys_n * sizeof(*b->set_in));
	if (p->arena.failed) {
		immure_build_abort(b);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	}
	for (size_t i = 0; i < immure_keys_n; i++) {
		set_fallback(p, &immure_keys[i]);
		p->sources[i] = "default";
	}
	return 0;
}

/* A profile's own values are right by test, so they are not checked, copied or
 * looked up in the tables again: this is on the path of every launch. */
static int apply_profile_value(struct immure_policy_build *b, const struct immure_profile_value *v)
{
	int i = immure_key_find(v->key);
	struct immure_complaint c = { 0 };
	const struct immure_key *k;
	struct immure_strv *l;
	int r = 0;

	if (i < 0)
		return -EINVAL;
	k = &immure_keys[i];
	if (!v->list)
		return immure_build_assign(b, k, v->value, v->append, &c);
	open_list(b, k, v->append);
	if (k->type == IMMURE_KEY_ENV) {
		for (size_t j = 0; v->list[j] && r == 0; j++)
			r = add_env(b, v->list[j], &c);
		return r;
	}
	l = member(b->p, k);
	for (size_t j = 0; v->list[j]; j++)
		if (!immure_strv_add(&b->p->arena, l, v->list[j]))
			return -ENOMEM;
	return 0;
}

enum { PROFILE_DEPTH = 8 };

int32_t immure_build_profile(struct immure_policy_build *b, const char *name,
			     struct immure_error **err)
{
	const struct immure_profile *chain[PROFILE_DEPTH];
	size_t n = 0;

	chain[0] = NULL;
	for (const char *next = name; next; next = chain[n++]->extends) {
		const struct immure_profile *pr = immure_profile_find(next);

		if (!pr || n == PROFILE_DEPTH) {
			const char *names[32], *near;
			size_t names_n = 0;
			int32_t r = immure_fail(err, IMMURE_ERR_INVALID, 0, "policy", "extends",
						"profile \"%s\": there is no such built-in profile",
						name);

			for (; names_n < immure_profiles_n && names_n < 32; names_n++)
				names[names_n] = immure_profiles[names_n].name;
			near = immure_nearest(name, names, names_n);
			if (err && near)
				immure_error_set_hint(*err, "did you mean \"%s\"?", near);
			else if (err)
				immure_error_set_hint(*err, "`immure policy profiles` lists them");
			return r;
		}
		chain[n] = pr;
	}
	b->p->profile = chain[0] ? chain[0]->name : "";
	while (n-- > 0) {
		b->layer++;
		b->source = chain[n]->name;
		for (size_t i = 0; i < chain[n]->values_n; i++) {
			const struct immure_profile_value *v = &chain[n]->values[i];

			if (apply_profile_value(b, v) < 0)
				return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", v->key,
						   "profile %s: %s cannot be set", chain[n]->name,
						   v->key);
		}
	}
	return 0;
}

static int32_t unknown_setting(const struct immure_setting *s, const char *key,
			       struct immure_error **err)
{
	const char *names[64], *near;
	size_t n = 0;
	int32_t r = immure_fail(err, IMMURE_ERR_INVALID, 0, "policy", key, "%s: unknown policy key \"%s\"",
				s->source ? s->source : "setting", key);

	for (; n < immure_keys_n && n < 64; n++)
		names[n] = immure_keys[n].path;
	near = immure_nearest(key, names, n);
	if (err && near)
		immure_error_set_hint(*err, "did you mean \"%s\"?", near);
	return r;
}

/* A flag may be named with or without its dashes; people see it with them. */
static const char *setting_source(struct immure_policy_build *b, const struct immure_setting *s,
				  const struct immure_key *k)
{
	const char *source = s->source ? s->source : k->path, *ret;

	if (k->flag && strcmp(source, k->flag) == 0)
		ret = immure_arena_printf(&b->p->arena, "--%s", source);
	else
		ret = immure_arena_strdup(&b->p->arena, source);
	return ret ? ret : "";
}

static int empty_list(struct immure_policy_build *b, const struct immure_key *k, const char *value,
		      struct immure_complaint *c)
{
	if (*value)
		return immure_complain(c, "to empty a list takes no value, got \"%.60s\"", value);
	immure_build_clear(b, k);
	return 0;
}

int32_t immure_build_settings(struct immure_policy_build *b, const struct immure_setting *s,
			      size_t n, struct immure_error **err)
{
	if (n == 0)
		return 0;
	b->layer++;
	for (size_t i = 0; i < n; i++) {
		struct immure_complaint c = { 0 };
		const char *key = s[i].key ? s[i].key : "", *source;
		bool append = key[0] == '+', clear = key[0] == '-';
		int at = immure_key_find(key + (append || clear)), r;
		int32_t code;

		key += append || clear;
		if (at < 0)
			return unknown_setting(&s[i], key, err);
		source = setting_source(b, &s[i], &immure_keys[at]);
		if (!s[i].value)
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "policy", key, "%s: no value",
					   source);
		b->source = source;
		if ((append || clear) && !immure_key_appends(&immure_keys[at]))
			r = immure_complain(&c, "takes one value, so there is nothing to %s",
					    clear ? "empty" : "append to");
		else if (clear)
			r = empty_list(b, &immure_keys[at], s[i].value, &c);
		else
			r = immure_build_flag(b, &immure_keys[at], s[i].value, append, &c);
		if (r == -ENOMEM)
			return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "",
					   "out of memory");
		if (r >= 0)
			continue;
		code = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", key, "%s: %s", source, c.text);
		if (err && *c.hint)
			immure_error_set_hint(*err, "%s", c.hint);
		return code;
	}
	return 0;
}

int32_t immure_build_finish(struct immure_policy_build *b, struct immure_policy **ret,
			    struct immure_error **err)
{
	int32_t r = immure_build_whole(b, err);
	struct immure_policy *p = b->p;
	char *canonical;

	if (r < 0) {
		immure_build_abort(b);
		return r;
	}
	canonical = immure_policy_canonical(p);
	if (!canonical || p->arena.failed) {
		free(canonical);
		immure_build_abort(b);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	}
	memcpy(p->version, "policy-", 7);
	immure_sha256_hex(canonical, strlen(canonical), 12, p->version + 7);
	free(canonical);
	b->p = NULL;
	*ret = p;
	return 0;
}
