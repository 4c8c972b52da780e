/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "policy/checks.h"

/* Where in the file the parser is: a value and, for messages, its key. */
struct place {
	const struct immure_policy_file *f;
	struct immure_policy_build *b;
	const char *key;   /* "files.read", "files.read[2]", "secrets.x.to" */
	const struct immure_key *k; /* NULL above the keys of the table */
	size_t key_at, value_at;
	struct immure_error **err;
};

static int32_t refuse(const struct place *p, size_t at, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int32_t refuse(const struct place *p, size_t at, const char *hint, const char *fmt, ...)
{
	char why[400];
	va_list ap;
	int32_t r;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap); /* cut is fine: a message */
	va_end(ap);
	r = immure_fail(p->err, IMMURE_ERR_POLICY, 0, "policy", p->k ? p->k->path : p->key,
			"%s:%zu: %s%s%s", p->f->name, immure_json_line(p->f->text, at), p->key,
			*p->key ? ": " : "", why);
	if (p->err && hint && *hint)
		immure_error_set_hint(*p->err, "%s", hint);
	return r;
}

static int32_t out_of_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
}

static int32_t wrong_type(const struct place *p, const struct immure_json *v, const char *expected)
{
	return refuse(p, p->value_at, NULL, "expected %s, got %s", expected,
		      immure_json_type_name(immure_json_type(v)));
}

/* Turns the answer of build.h into this file's errors. */
static int32_t answer(const struct place *p, int r, const struct immure_complaint *c)
{
	if (r >= 0)
		return 0;
	if (r == -ENOMEM)
		return out_of_memory(p->err);
	return refuse(p, p->value_at, c->hint, "%s", c->text);
}

static int32_t assign(const struct place *p, const char *value, bool append)
{
	struct immure_complaint c = { 0 };

	return answer(p, immure_build_assign(p->b, p->k, value, append, &c), &c);
}

/* The place of the i-th child; its key text is the caller's. */
static struct place child(const struct place *p, size_t i, const char *key)
{
	struct place c = *p;

	c.key = key;
	/* The reader saw this child, so it is there. */
	(void)immure_json_child(p->f->text, p->f->len, p->value_at, i, &c.key_at, &c.value_at);
	return c;
}

static const char *unknown_hint(char *buf, size_t len, const char *word,
				const char *const *candidates, size_t n)
{
	const char *near = immure_nearest(word, candidates, n);

	if (!near)
		return NULL;
	(void)snprintf(buf, len, "did you mean \"%s\"?", near);
	return buf;
}

/* Numbers are taken as they are written, so that nothing passes through
 * floating point. */
static int32_t apply_number(const struct place *p, const struct immure_json *v)
{
	enum immure_json_type t = immure_json_type(v);
	char text[64];
	size_t n;

	if (t == IMMURE_JSON_STRING && p->k->type != IMMURE_KEY_COUNT)
		return assign(p, immure_json_string(v), false);
	if (t != IMMURE_JSON_INTEGER && (t != IMMURE_JSON_REAL || p->k->type == IMMURE_KEY_COUNT ||
					 p->k->type == IMMURE_KEY_SIZE))
		return wrong_type(p, v, immure_key_expects(p->k));
	n = immure_json_token(p->f->text, p->f->len, p->value_at);
	if (n >= sizeof(text))
		return refuse(p, p->value_at, NULL, "the number has more than 63 digits");
	memcpy(text, p->f->text + p->value_at, n);
	text[n] = '\0';
	return assign(p, text, false);
}

static int32_t apply_list(const struct place *p, const struct immure_json *v, bool append)
{
	if (immure_json_type(v) == IMMURE_JSON_NULL && p->k->nullable && !append) {
		immure_build_clear(p->b, p->k);
		return 0;
	}
	if (immure_json_type(v) != IMMURE_JSON_ARRAY)
		return wrong_type(p, v, immure_key_expects(p->k));
	if (!append)
		immure_build_clear(p->b, p->k);
	for (size_t i = 0; i < immure_json_size(v); i++) {
		const struct immure_json *e = immure_json_element(v, i);
		struct immure_complaint c = { 0 };
		char key[192];
		struct place at;
		int r;

		if (immure_json_type(e) == IMMURE_JSON_STRING) {
			r = immure_build_assign(p->b, p->k, immure_json_string(e), append, &c);
			if (r >= 0)
				continue;
			if (r == -ENOMEM)
				return out_of_memory(p->err);
		} else {
			immure_complain(&c, "expected a string, got %s",
					immure_json_type_name(immure_json_type(e)));
		}
		(void)snprintf(key, sizeof(key), "%s[%zu]", p->key, i);
		at = child(p, i, key);
		return refuse(&at, at.value_at, c.hint, "%s", c.text);
	}
	return 0;
}

static int32_t apply_env(const struct place *p, const struct immure_json *v, bool append)
{
	struct immure_json_member m = { 0 };

	if (immure_json_type(v) != IMMURE_JSON_OBJECT)
		return wrong_type(p, v, immure_key_expects(p->k));
	if (!append)
		immure_build_clear(p->b, p->k);
	for (size_t i = 0; immure_json_next(v, &m); i++) {
		struct immure_complaint c = { 0 };
		struct place at = child(p, i, p->key);
		char *text = NULL;
		int r;

		if (immure_json_type(m.value) != IMMURE_JSON_STRING)
			return refuse(&at, at.value_at, NULL, "%.100s: expected a string, got %s", m.key,
				      immure_json_type_name(immure_json_type(m.value)));
		r = immure_check_env_name(m.key, strlen(m.key), &c);
		if (r == 0) {
			if (asprintf(&text, "%s=%s", m.key, immure_json_string(m.value)) < 0)
				return out_of_memory(p->err);
			r = immure_build_assign(p->b, p->k, text, append, &c);
			free(text);
		}
		if (r < 0)
			return answer(&at, r, &c);
	}
	return 0;
}

static int32_t secret_targets(const struct place *p, const struct immure_json *v,
			      struct immure_strv *ret)
{
	struct immure_arena *a = &p->b->p->arena;

	if (immure_json_type(v) != IMMURE_JSON_ARRAY)
		return wrong_type(p, v, "a list of hosts");
	for (size_t i = 0; i < immure_json_size(v); i++) {
		const struct immure_json *e = immure_json_element(v, i);

		if (immure_json_type(e) != IMMURE_JSON_STRING) {
			struct place at = child(p, i, p->key);

			return wrong_type(&at, e, "a host");
		}
		if (!immure_strv_add(a, ret, immure_arena_strdup(a, immure_json_string(e))))
			return out_of_memory(p->err);
	}
	return 0;
}

static int32_t secret_field(const struct place *p, const char *field, const struct immure_json *v,
			    struct immure_secret *s)
{
	static const char *const fields[] = { "from", "to", "as" };
	struct immure_arena *a = &p->b->p->arena;
	char hint[64];

	if (strcmp(field, "to") == 0)
		return secret_targets(p, v, &s->to);
	if (strcmp(field, "from") != 0 && strcmp(field, "as") != 0)
		return refuse(p, p->key_at, unknown_hint(hint, sizeof(hint), field, fields, 3),
			      "unknown key, a secret has from, to and as");
	if (immure_json_type(v) != IMMURE_JSON_STRING)
		return wrong_type(p, v, "a string");
	*(field[0] == 'f' ? &s->from : &s->as) = immure_arena_strdup(a, immure_json_string(v));
	return a->failed ? out_of_memory(p->err) : 0;
}

static int32_t apply_secrets(const struct place *p, const struct immure_json *v, bool append)
{
	struct immure_json_member m = { 0 };

	if (immure_json_type(v) != IMMURE_JSON_OBJECT)
		return wrong_type(p, v, immure_key_expects(p->k));
	if (!append)
		immure_build_clear(p->b, p->k);
	for (size_t i = 0; immure_json_next(v, &m); i++) {
		struct immure_arena *a = &p->b->p->arena;
		struct immure_secret s = { .name = immure_arena_strdup(a, m.key) };
		struct immure_json_member field = { 0 };
		struct immure_complaint c = { 0 };
		const char *key = immure_arena_printf(a, "%s.%.64s", p->key, m.key);
		struct place at;
		int32_t r;

		if (!s.name || !key)
			return out_of_memory(p->err);
		at = child(p, i, key);
		if (immure_json_type(m.value) != IMMURE_JSON_OBJECT)
			return wrong_type(&at, m.value, "an object with from, to and as");
		for (size_t j = 0; immure_json_next(m.value, &field); j++) {
			const char *name = immure_arena_printf(a, "%s.%.64s", key, field.key);
			struct place in = child(&at, j, name ? name : key);

			r = secret_field(&in, field.key, field.value, &s);
			if (r < 0)
				return r;
		}
		r = immure_build_secret(p->b, p->k, &s, append, &c);
		if (r < 0)
			return answer(&at, r, &c);
	}
	return 0;
}

/* In a file a word stands alone and a list only names what this policy can
 * live with: accepting a gap is the caller's. */
static int32_t apply_downgrade(const struct place *p, const struct immure_json *v)
{
	if (immure_json_type(v) == IMMURE_JSON_STRING) {
		const char *word = immure_json_string(v);

		if (strcmp(word, "deny") != 0 && strcmp(word, "allow") != 0)
			return refuse(p, p->value_at, NULL, "expected %s, got \"%.60s\"",
				      immure_key_expects(p->k), word);
		immure_build_clear(p->b, p->k);
		p->b->p->downgrade_listed = (struct immure_strv){ 0 };
		return assign(p, word, false);
	}
	if (immure_json_type(v) != IMMURE_JSON_ARRAY)
		return wrong_type(p, v, immure_key_expects(p->k));
	immure_build_clear(p->b, p->k);
	p->b->p->downgrade = IMMURE_DOWNGRADE_DENY;
	for (size_t i = 0; i < immure_json_size(v); i++) {
		const struct immure_json *e = immure_json_element(v, i);
		struct place at = child(p, i, p->key);
		struct immure_complaint c = { 0 };
		int32_t r;

		if (immure_json_type(e) != IMMURE_JSON_STRING)
			return wrong_type(&at, e, "the name of a gap");
		r = answer(&at, immure_build_downgrade(p->b, p->k, immure_json_string(e), &c), &c);
		if (r < 0)
			return r;
	}
	p->b->p->downgrade_listed = p->b->p->downgrades;
	return 0;
}

static int32_t apply_value(const struct place *p, const struct immure_json *v, bool append)
{
	switch (p->k->type) {
	case IMMURE_KEY_TEXT:
	case IMMURE_KEY_CHOICE:
	case IMMURE_KEY_ENUM:
		if (immure_json_type(v) != IMMURE_JSON_STRING)
			return wrong_type(p, v, immure_key_expects(p->k));
		return assign(p, immure_json_string(v), false);
	case IMMURE_KEY_BOOL:
		if (immure_json_type(v) != IMMURE_JSON_BOOL)
			return wrong_type(p, v, immure_key_expects(p->k));
		return assign(p, immure_json_bool(v) ? "true" : "false", false);
	case IMMURE_KEY_SIZE:
	case IMMURE_KEY_DURATION:
	case IMMURE_KEY_COUNT:
	case IMMURE_KEY_MILLI:
		return apply_number(p, v);
	case IMMURE_KEY_PATHS:
	case IMMURE_KEY_STRINGS:
		return apply_list(p, v, append);
	case IMMURE_KEY_ENV:
		return apply_env(p, v, append);
	case IMMURE_KEY_SECRETS:
		return apply_secrets(p, v, append);
	case IMMURE_KEY_DOWNGRADE:
		return apply_downgrade(p, v);
	case IMMURE_KEY_TYPE_MAX:
		break;
	}
	return refuse(p, p->key_at, NULL, "cannot be set");
}

static bool is_group(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < immure_keys_n; i++)
		if (strncmp(immure_keys[i].path, name, n) == 0 && immure_keys[i].path[n] == '.')
			return true;
	return false;
}

/* Suggests among the full paths and, for a key that stands outside any group,
 * among the last parts of those. */
static int32_t unknown_key(const struct place *p, const char *path)
{
	const char *names[2 * 64 + 8], *near;
	char hint[96];
	size_t n = 0;

	for (size_t i = 0; i < immure_keys_n && i < 64; i++)
		names[n++] = immure_keys[i].path;
	names[n++] = "extends";
	if (!strchr(path, '.')) { /* the groups */
		names[n++] = "workspace";
		names[n++] = "files";
		names[n++] = "network";
		names[n++] = "environment";
		names[n++] = "limits";
		names[n++] = "require";
	}
	for (size_t i = 0; i < immure_keys_n && i < 60; i++) {
		const char *dot = strchr(immure_keys[i].path, '.');

		if (dot && !strchr(path, '.'))
			names[n++] = dot + 1;
	}
	near = immure_nearest(path, names, n);
	if (!near)
		return refuse(p, p->key_at, "`immure policy reference markdown` lists all keys",
			      "unknown key");
	for (size_t i = 0; i < immure_keys_n; i++) { /* a bare name gets its group */
		const char *dot = strchr(immure_keys[i].path, '.');

		if (dot && dot + 1 == near)
			near = immure_keys[i].path;
	}
	(void)snprintf(hint, sizeof(hint), "did you mean \"%s\"?", near);
	return refuse(p, p->key_at, hint, "unknown key");
}

/* "key" or "+key"; name is the last part as written, group may be NULL. */
static int32_t apply_key(const struct place *at, const struct immure_json *container,
			 const char *group, const char *name, const struct immure_json *v)
{
	bool append = name[0] == '+';
	char path[160];
	struct place p = *at;
	int i;

	(void)snprintf(path, sizeof(path), "%s%s%.100s", group ? group : "", group ? "." : "",
		       name + append);
	p.key = path;
	i = immure_key_find(path);
	if (i < 0)
		return unknown_key(&p, path);
	p.k = &immure_keys[i];
	if (!group && strchr(path, '.')) /* else one key could stand twice */
		return refuse(&p, p.key_at, NULL, "stands in the object \"%.*s\", under \"%s\"",
			      (int)strcspn(path, "."), path, strchr(path, '.') + 1);
	if (append && !immure_key_appends(p.k))
		return refuse(&p, p.key_at, NULL, "takes one value, so \"+\" has nothing to add to");
	if (append && immure_json_get(container, name + 1))
		return refuse(&p, p.key_at, NULL, "both \"%.60s\" and \"%.60s\" are here", name + 1, name);
	return apply_value(&p, v, append);
}

static int32_t apply_group(const struct place *at, const char *group, const struct immure_json *v)
{
	struct immure_json_member m = { 0 };

	if (immure_json_type(v) != IMMURE_JSON_OBJECT)
		return wrong_type(at, v, "an object");
	for (size_t i = 0; immure_json_next(v, &m); i++) {
		struct place in = child(at, i, group);
		int32_t r = apply_key(&in, v, group, m.key, m.value);

		if (r < 0)
			return r;
	}
	return 0;
}

int32_t immure_policy_file_apply(const struct immure_policy_file *f,
				 struct immure_policy_build *b, struct immure_error **err)
{
	struct place root = { .f = f, .b = b, .key = "", .err = err };
	struct immure_json_member m = { 0 };

	root.value_at = immure_json_start(f->text, f->len);
	immure_build_layer(b, f->name);
	b->p->downgrade_bounded = true;
	for (size_t i = 0; immure_json_next(f->json, &m); i++) {
		struct place at = child(&root, i, m.key);
		int32_t r = 0;

		if (strcmp(m.key, "extends") == 0 || strcmp(m.key, "$schema") == 0)
			continue; /* seen by immure_policy_file_parse() */
		if (m.key[0] == '+' && is_group(m.key + 1))
			r = refuse(&at, at.key_at, NULL,
				   "\"+\" goes before the name of a list, not of a group");
		else if (is_group(m.key))
			r = apply_group(&at, m.key, m.value);
		else
			r = apply_key(&at, f->json, NULL, m.key, m.value);
		if (r < 0)
			return r;
	}
	return 0;
}

bool immure_policy_extends_file(const char *extends)
{
	size_t n = strlen(extends);

	return strchr(extends, '/') || (n > 5 && strcmp(extends + n - 5, ".json") == 0);
}

/* "extends" and "$schema", which are about the file and not about the policy. */
static int32_t read_head(struct immure_policy_file *f, struct immure_error **err)
{
	struct place root = { .f = f, .key = "", .err = err };
	struct immure_json_member m = { 0 };

	root.value_at = immure_json_start(f->text, f->len);
	if (immure_json_type(f->json) != IMMURE_JSON_OBJECT)
		return wrong_type(&root, f->json, "an object");
	for (size_t i = 0; immure_json_next(f->json, &m); i++) {
		struct place at;

		if (strcmp(m.key, "extends") != 0 && strcmp(m.key, "$schema") != 0)
			continue;
		at = child(&root, i, m.key);
		if (immure_json_type(m.value) != IMMURE_JSON_STRING)
			return wrong_type(&at, m.value, "a string");
		if (m.key[0] == '$')
			continue;
		f->extends = immure_json_string(m.value);
		f->extends_line = immure_json_line(f->text, at.value_at);
		if (!*f->extends)
			return refuse(&at, at.value_at, NULL,
				      "expected a profile or a path, got an empty string");
	}
	return 0;
}

void immure_policy_file_done(struct immure_policy_file *f)
{
	immure_json_free(f->json);
	free(f->text);
	free(f->name);
	*f = (struct immure_policy_file){ 0 };
}

int32_t immure_policy_file_parse(const char *text, size_t len, const char *name,
				 struct immure_policy_file *ret, struct immure_error **err)
{
	struct immure_policy_file f = { .name = strdup(name), .text = malloc(len + 1), .len = len };
	struct immure_json_failure why = { 0 };
	int32_t r;
	int k;

	if (!f.name || !f.text) {
		immure_policy_file_done(&f);
		return out_of_memory(err);
	}
	memcpy(f.text, text, len);
	f.text[len] = '\0';
	if (len > IMMURE_POLICY_FILE_MAX) {
		r = immure_fail(err, IMMURE_ERR_POLICY, EFBIG, "policy", "",
				"%s: a policy has at most 1 MiB", name);
		goto out;
	}
	k = immure_json_strip(f.text, len, &why);
	if (k == 0)
		k = immure_json_parse(f.text, len, &f.json, &why);
	if (k == -ENOSYS)
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, ENOSYS, "json", "",
				"%s: this build reads no policy files", name);
	else if (k == -ENOMEM)
		r = out_of_memory(err);
	else if (k < 0)
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "", "%s:%zu: %s", name, why.line,
				why.text);
	else
		r = read_head(&f, err);
out:
	if (r < 0)
		immure_policy_file_done(&f);
	else
		*ret = f;
	return r;
}
