/* SPDX-License-Identifier: Apache-2.0 */
/* The files meta and status of a session's directory. */
#include "session/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "session/fields.h"
#include "session/runtime.h"

static int put(const struct immure_entry *e, const char *name, struct immure_buf *b)
{
	int r = immure_buf_ok(b) ? immure_file_replace(e->dir_fd, name, b->data, b->len, false)
				 : -ENOMEM;

	immure_buf_done(b);
	return r;
}

static bool is(const char *key, const char *want)
{
	return strcmp(key, want) == 0;
}

/* ---- meta ---- */

static void write_meta(struct immure_buf *b, const struct immure_meta *m)
{
	immure_fields_begin(b, "meta");
	immure_fields_str(b, "id", m->id);
	immure_fields_str(b, "name", m->name);
	immure_fields_uint(b, "created", m->created_ms);
	immure_fields_str(b, "policy", m->policy_version);
	immure_fields_str(b, "plan", m->plan_hash);
	immure_fields_str(b, "backend", m->backend);
	immure_fields_str(b, "profile", m->profile);
	immure_fields_str(b, "lifetime", immure_lifetime_name(m->lifetime));
	immure_fields_uint(b, "idle", m->idle_ms);
	immure_fields_uint(b, "life", m->life_ms);
	for (uint32_t i = 0; i < m->labels_n && i < IMMURE_LABELS_MAX; i++) {
		char text[IMMURE_LABEL_KEY_MAX + IMMURE_LABEL_VALUE_MAX + 2];

		(void)snprintf(text, sizeof(text), "%s=%s", m->labels[i].key, m->labels[i].value);
		immure_fields_str(b, "label", text);
	}
}

int immure_entry_set_meta(const struct immure_entry *e, const struct immure_meta *m)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	write_meta(&b, m);
	return put(e, "meta", &b);
}

int immure_entry_new_meta(const struct immure_entry *e, const struct immure_meta *m)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	int r;

	write_meta(&b, m);
	r = immure_buf_ok(&b) ? immure_file_new(e->dir_fd, "meta", b.data, b.len) : -ENOMEM;
	immure_buf_done(&b);
	return r;
}

static int take_lifetime(const char *word, size_t len, enum immure_lifetime *ret)
{
	for (unsigned int i = 0; i < IMMURE_LIFETIME_MAX; i++) {
		const char *name = immure_lifetime_name((enum immure_lifetime)i);

		if (strlen(name) == len && memcmp(name, word, len) == 0) {
			*ret = (enum immure_lifetime)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int take_label(const char *word, size_t len, struct immure_meta *m)
{
	char text[IMMURE_LABEL_KEY_MAX + IMMURE_LABEL_VALUE_MAX + 2], *eq;
	struct immure_label *l = &m->labels[m->labels_n];
	int r = immure_field_get(word, len, text, sizeof(text));

	if (r < 0)
		return r;
	eq = strchr(text, '=');
	if (!eq || m->labels_n == IMMURE_LABELS_MAX)
		return -EINVAL;
	*eq = '\0';
	if (!immure_label_valid(text, eq + 1))
		return -EINVAL;
	memcpy(l->key, text, strlen(text) + 1);
	memcpy(l->value, eq + 1, strlen(eq + 1) + 1);
	m->labels_n++;
	return 0;
}

/* Keys of a later version are passed over. */
static int take_meta(void *ctx, const char *key, const char *word, size_t len)
{
	struct immure_meta *m = ctx;

	if (is(key, "id"))
		return immure_field_get(word, len, m->id, sizeof(m->id));
	if (is(key, "name"))
		return immure_field_get(word, len, m->name, sizeof(m->name));
	if (is(key, "created"))
		return immure_field_uint(word, len, UINT64_MAX, &m->created_ms);
	if (is(key, "policy"))
		return immure_field_get(word, len, m->policy_version, sizeof(m->policy_version));
	if (is(key, "plan"))
		return immure_field_get(word, len, m->plan_hash, sizeof(m->plan_hash));
	if (is(key, "backend"))
		return immure_field_get(word, len, m->backend, sizeof(m->backend));
	if (is(key, "profile"))
		return immure_field_get(word, len, m->profile, sizeof(m->profile));
	if (is(key, "lifetime"))
		return take_lifetime(word, len, &m->lifetime);
	if (is(key, "idle"))
		return immure_field_uint(word, len, UINT64_MAX, &m->idle_ms);
	if (is(key, "life"))
		return immure_field_uint(word, len, UINT64_MAX, &m->life_ms);
	return is(key, "label") ? take_label(word, len, m) : 0;
}

int immure_entry_meta(const struct immure_entry *e, struct immure_meta *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len = 0;
	int r = immure_runtime_read(e->dir_fd, "meta", IMMURE_RUNTIME_FILE_MAX, &text, &len);

	if (r == 0)
		r = immure_meta_parse(text, len, ret);
	return r == 0 && strcmp(ret->id, e->id) != 0 ? -EINVAL : r;
}

int immure_meta_parse(const char *text, size_t len, struct immure_meta *ret)
{
	struct immure_meta m;
	int r;

	memset(&m, 0, sizeof(m));
	r = immure_fields_each(text, len, "meta", take_meta, &m);
	if (r == 0 && (!immure_id_valid(m.id) || (m.name[0] && !immure_name_valid(m.name))))
		r = -EINVAL;
	if (r == 0)
		*ret = m;
	return r;
}

/* ---- status ---- */

int immure_entry_set_status(const struct immure_entry *e, const struct immure_status *s)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_fields_begin(&b, "status");
	immure_fields_str(&b, "state", s->state);
	immure_fields_uint(&b, "since", s->since_ms ? s->since_ms : immure_now_ms());
	immure_fields_uint(&b, "used", s->used_ms);
	immure_fields_uint(&b, "running", s->running);
	immure_fields_uint(&b, "started", s->started);
	immure_fields_uint(&b, "init", (uint64_t)(s->init.pid > 0 ? s->init.pid : 0));
	immure_fields_uint(&b, "init-start", s->init.start);
	immure_fields_str(&b, "note", s->note);
	return put(e, "status", &b);
}

static int take_state(const char *word, size_t len, char *ret, size_t cap)
{
	if (len == 0 || len >= cap)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if ((word[i] < 'A' || word[i] > 'Z') && word[i] != '_')
			return -EINVAL;
	memcpy(ret, word, len);
	ret[len] = '\0';
	return 0;
}

static int take_status(void *ctx, const char *key, const char *word, size_t len)
{
	struct immure_status *s = ctx;
	uint64_t v = 0;
	int r;

	if (is(key, "state"))
		return take_state(word, len, s->state, sizeof(s->state));
	if (is(key, "since"))
		return immure_field_uint(word, len, UINT64_MAX, &s->since_ms);
	if (is(key, "used"))
		return immure_field_uint(word, len, UINT64_MAX, &s->used_ms);
	if (is(key, "running"))
		return immure_field_uint(word, len, UINT64_MAX, &s->running);
	if (is(key, "started"))
		return immure_field_uint(word, len, UINT64_MAX, &s->started);
	if (is(key, "init")) {
		r = immure_field_uint(word, len, INT32_MAX, &v);
		s->init.pid = (int32_t)v;
		return r;
	}
	if (is(key, "init-start"))
		return immure_field_uint(word, len, UINT64_MAX, &s->init.start);
	return is(key, "note") ? immure_field_get(word, len, s->note, sizeof(s->note)) : 0;
}

int immure_status_parse(const char *text, size_t len, struct immure_status *ret)
{
	struct immure_status s;
	int r;

	memset(&s, 0, sizeof(s));
	r = immure_fields_each(text, len, "status", take_status, &s);
	if (r == 0 && !s.state[0])
		r = -EINVAL;
	if (r == 0)
		*ret = s;
	return r;
}

int immure_entry_status(const struct immure_entry *e, struct immure_status *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len = 0;
	int r = immure_runtime_read(e->dir_fd, "status", IMMURE_RUNTIME_FILE_MAX, &text, &len);

	if (r == -ENOENT) {
		*ret = (struct immure_status){ .state = "NEW" };
		return 0;
	}
	return r < 0 ? r : immure_status_parse(text, len, ret);
}
