/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/carry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "policy/build.h"
#include "policy/keys.h"

struct list {
	struct immure_arena *a;
	struct immure_setting *v;
	size_t n, cap;
};

static void add(struct list *l, const char *key, const char *value)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct immure_setting *v = immure_arena_alloc(l->a, cap * sizeof(*v));

		if (!v)
			return; /* the arena knows */
		if (l->n)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
		l->cap = cap;
	}
	if (!value)
		l->a->failed = true;
	l->v[l->n++] = (struct immure_setting){ key, value ? value : "", "(carried)" };
}

static const void *member(const struct immure_policy *p, const struct immure_key *k)
{
	return (const char *)p + k->offset;
}

static void add_number(struct list *l, const struct immure_key *k, uint64_t v)
{
	const char *text;

	if (k->type == IMMURE_KEY_DURATION)
		text = immure_arena_printf(l->a, "%llums", (unsigned long long)v);
	else if (k->type == IMMURE_KEY_MILLI)
		text = immure_arena_printf(l->a, "%llu.%03llu", (unsigned long long)v / 1000,
					   (unsigned long long)v % 1000);
	else
		text = immure_arena_printf(l->a, "%llu", (unsigned long long)v);
	add(l, k->path, text);
}

/* The first one replaces what the profile says, further ones are added to it. */
static void add_list(struct list *l, const struct immure_key *k, const struct immure_strv *s)
{
	if (s->n == 0)
		add(l, immure_arena_printf(l->a, "-%s", k->path), "");
	for (size_t i = 0; i < s->n; i++)
		add(l, k->path, s->v[i]);
}

static void add_environment(struct list *l, const struct immure_key *k,
			    const struct immure_policy *p)
{
	if (p->env_set_n == 0)
		add(l, immure_arena_printf(l->a, "-%s", k->path), "");
	for (size_t i = 0; i < p->env_set_n; i++)
		add(l, k->path, immure_arena_printf(l->a, "%s=%s", p->env_set[i].name,
						    p->env_set[i].value));
}

/* The caller named gaps that the files do not list: those count for nothing. */
static bool named_more(const struct immure_policy *p)
{
	return p->downgrade_bounded && p->downgrades.v != p->downgrade_listed.v;
}

/* Files and caller become one list here, so only what both name goes on. A name
 * accepts, so the word comes last. */
static void add_downgrade(struct list *l, const struct immure_key *k,
			  const struct immure_policy *p)
{
	for (size_t i = 0; i < p->downgrades.n; i++)
		if (!named_more(p) || immure_strv_has(&p->downgrade_listed, p->downgrades.v[i]))
			add(l, k->path, p->downgrades.v[i]);
	add(l, k->path, k->names[p->downgrade]);
}

/* Where it comes from and goes, never what it is. Between programs only: nobody types it. */
static void add_secrets(struct list *l, const struct immure_key *k, const struct immure_policy *p)
{
	if (p->secrets_n == 0)
		add(l, immure_arena_printf(l->a, "-%s", k->path), "");
	for (size_t i = 0; i < p->secrets_n; i++) {
		const struct immure_secret *s = &p->secrets[i];
		const char *text = immure_arena_printf(l->a, "%s\x1f%s\x1f%s", s->name, s->from, s->as);

		for (size_t j = 0; j < s->to.n && text; j++)
			text = immure_arena_printf(l->a, "%s\x1f%s", text, s->to.v[j]);
		add(l, k->path, text);
	}
}

/* false: this key has no form as a setting. */
static bool add_key(struct list *l, const struct immure_key *k, const struct immure_policy *p)
{
	const char *text;

	switch (k->type) {
	case IMMURE_KEY_TEXT:
	case IMMURE_KEY_CHOICE:
		text = *(const char *const *)member(p, k);
		if (text)
			add(l, k->path, text);
		return text != NULL;
	case IMMURE_KEY_ENUM:
		add(l, k->path, k->names[*(const unsigned int *)member(p, k)]);
		return true;
	case IMMURE_KEY_BOOL:
		add(l, k->path, *(const bool *)member(p, k) ? "true" : "false");
		return true;
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		if (*(const uint64_t *)member(p, k))
			add_number(l, k, *(const uint64_t *)member(p, k));
		return *(const uint64_t *)member(p, k) != 0;
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		add_list(l, k, member(p, k));
		return true;
	case IMMURE_KEY_ENV:
		add_environment(l, k, p);
		return true;
	case IMMURE_KEY_DOWNGRADE:
		add_downgrade(l, k, p);
		return true;
	case IMMURE_KEY_SECRETS:
		add_secrets(l, k, p);
		return true;
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
	return false;
}

static int32_t no_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "wrap", "", "out of memory");
}

static int32_t not_carried(const struct immure_key *k, struct immure_error **err)
{
	int32_t r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "wrap", k->path,
				"%s: cannot be carried in arguments", k->path);

	if (err)
		immure_error_set_hint(*err, "prepare a session with this policy and wrap for that");
	return r;
}

static char *text_of(const struct immure_key *k, const struct immure_policy *p)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_jsonw_init(&w, &b, 0);
	immure_key_write(&w, NULL, k, p);
	return immure_buf_take(&b);
}

/* Settings for the keys in which p differs from base. */
static int32_t differences(const struct immure_policy *p, const struct immure_policy *base,
			   struct list *l, struct immure_error **err)
{
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		char *is, *was;
		bool same;

		if (strcmp(k->path, "workspace.path") == 0)
			continue;
		is = text_of(k, p);
		was = text_of(k, base);
		same = is && was && strcmp(is, was) == 0;
		if (!is || !was)
			l->a->failed = true;
		free(is);
		free(was);
		if (!l->a->failed && !same && !add_key(l, k, p))
			return not_carried(k, err);
	}
	/* What the policy was read from stays out of the command's reach. */
	for (size_t i = 0; i < p->files.n; i++)
		add(l, "+files.protect", p->files.v[i]);
	return l->a->failed ? no_memory(err) : 0;
}

/* What the process that gets them will make of them. */
static int32_t rebuild(const struct immure_carried *c, size_t n, struct immure_policy **ret,
		       struct immure_error **err)
{
	const struct immure_setting workspace = { "workspace.path", c->workspace, "(carried)" };
	struct immure_policy_build b = { 0 };
	int32_t r = immure_build_begin(&b, err);

	if (r < 0)
		return r;
	r = immure_build_profile(&b, c->profile, err);
	if (r == 0)
		r = immure_build_settings(&b, &workspace, 1, err);
	if (r == 0)
		r = immure_build_settings(&b, c->settings, n, err);
	if (r < 0) {
		immure_build_abort(&b);
		return r;
	}
	return immure_build_finish(&b, ret, err);
}

/* Key by key, besides what was added on purpose. */
static int32_t same_policy(const struct immure_policy *p, const struct immure_policy *made,
			   struct immure_error **err)
{
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		char *is, *was;
		bool same, memory;

		if (strcmp(k->path, "workspace.path") == 0 || strcmp(k->path, "files.protect") == 0 ||
		    (k->type == IMMURE_KEY_DOWNGRADE && named_more(p)))
			continue;
		is = text_of(k, made);
		was = text_of(k, p);
		memory = is && was;
		same = memory && strcmp(is, was) == 0;
		free(is);
		free(was);
		if (!memory)
			return no_memory(err);
		if (!same)
			return not_carried(k, err);
	}
	return 0;
}

static int32_t base_of(const struct immure_policy *p, struct immure_policy **ret,
		       struct immure_error **err)
{
	struct immure_policy_build b = { 0 };
	int32_t r = immure_build_begin(&b, err);

	if (r < 0)
		return r;
	r = immure_build_profile(&b, p->profile, err);
	*ret = b.p;
	if (r < 0)
		immure_build_abort(&b);
	return r;
}

static int32_t workspace_of(const struct immure_policy *p, const char *given, const char **ret,
			    struct immure_error **err)
{
	const char *w = given ? given : p->workspace;
	int32_t r;

	if (w && w[0] == '/') {
		*ret = w;
		return 0;
	}
	r = immure_fail(err, IMMURE_ERR_INVALID, 0, "wrap", "workspace.path",
			"workspace: \"%s\" is not an absolute path", w ? w : "");
	if (err)
		immure_error_set_hint(*err, "what is wrapped may be started from anywhere: name the "
				      "workspace in full");
	return r;
}

int32_t immure_policy_carry_all(const struct immure_policy *p, const char *workspace,
			    const char *const *env, struct immure_arena *a,
			    struct immure_carried *ret, struct immure_error **err)
{
	struct immure_policy *base = NULL, *made = NULL, *whole = NULL;
	struct immure_carried c = { .profile = p->profile };
	struct list l = { .a = a };
	size_t own;
	int32_t r = workspace_of(p, workspace, &c.workspace, err);

	if (r == 0)
		r = base_of(p, &base, err);
	if (r == 0)
		r = differences(p, base, &l, err);
	own = l.n;
	for (size_t i = 0; r == 0 && env && env[i]; i++)
		add(&l, "+environment.set", env[i]);
	c.settings = l.v;
	c.settings_n = l.n;
	if (r == 0 && a->failed)
		r = no_memory(err);
	if (r == 0)
		r = rebuild(&c, own, &made, err);
	if (r == 0)
		r = same_policy(p, made, err);
	if (r == 0 && l.n > own)
		r = rebuild(&c, l.n, &whole, err);
	if (r == 0) {
		memcpy(c.version, (whole ? whole : made)->version, sizeof(c.version));
		*ret = c;
	}
	immure_policy_destroy(base);
	immure_policy_destroy(made);
	immure_policy_destroy(whole);
	return r;
}

int32_t immure_policy_carry(const struct immure_policy *p, const char *workspace,
			    const char *const *env, struct immure_arena *a,
			    struct immure_carried *ret, struct immure_error **err)
{
	for (size_t i = 0; p->secrets_n && i < immure_keys_n; i++)
		if (immure_keys[i].type == IMMURE_KEY_SECRETS)
			return not_carried(&immure_keys[i], err);
	return immure_policy_carry_all(p, workspace, env, a, ret, err);
}
