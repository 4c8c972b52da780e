/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of sessions: listed, removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/options.h"
#include "lib/session.h"
#include "session/registry.h"

/* ---- listing ---- */

struct row {
	uint64_t created_ms;
	char *json;
};

struct listing {
	struct immure_registry *registry;
	struct immure_jsonw w; /* of one row */
	struct row *rows;
	size_t n, cap;
	bool failed;
};

static void add_row(struct listing *l, uint64_t created_ms, char *json)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct row *rows = reallocarray(l->rows, cap, sizeof(*rows));

		if (rows) {
			l->rows = rows;
			l->cap = cap;
		}
	}
	if (!json || l->n == l->cap) {
		l->failed = true;
		free(json);
		return;
	}
	l->rows[l->n++] = (struct row){ created_ms, json };
}

/* In the order in which they were made, whatever their ids. */
static int by_age(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->created_ms != b->created_ms)
		return a->created_ms < b->created_ms ? -1 : 1;
	return strcmp(a->json, b->json);
}

/* Everything in rows, which are freed; NULL when out of memory. */
static char *join(struct listing *l)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), by_age);
	immure_buf_putc(&b, '[');
	for (size_t i = 0; i < l->n; i++) {
		if (i)
			immure_buf_putc(&b, ',');
		immure_buf_puts(&b, l->rows[i].json);
		free(l->rows[i].json);
	}
	free(l->rows);
	immure_buf_putc(&b, ']');
	if (!l->failed)
		return immure_buf_take(&b);
	immure_buf_done(&b);
	return NULL;
}

static int list_one(void *ctx, const char *id, bool half_made)
{
	struct listing *l = ctx;
	struct immure_entry e = IMMURE_ENTRY_INIT;
	struct immure_status st = { 0 };
	struct immure_meta m;
	int alive;

	if (half_made || immure_entry_open(l->registry, id, &e) < 0)
		return 0;
	alive = immure_entry_alive(&e);
	if (immure_entry_meta(&e, &m) == 0) {
		bool known = immure_entry_status(&e, &st) == 0;
		struct immure_buf b = IMMURE_BUF_INIT;

		immure_jsonw_init(&l->w, &b, 0);
		immure_jsonw_object(&l->w, NULL);
		immure_jsonw_str(&l->w, "session", id);
		immure_jsonw_str(&l->w, "name", m.name);
		immure_jsonw_bool(&l->w, "alive", alive == 1);
		/* Whoever kept it is gone: whatever it said last is not so any more. */
		immure_jsonw_str(&l->w, "state", !known ? "NEW" : alive == 1 || strcmp(st.state, "SEALED") == 0
								  ? st.state : "LOST");
		immure_jsonw_str(&l->w, "note", st.note);
		immure_jsonw_str(&l->w, "backend", m.backend);
		immure_jsonw_str(&l->w, "profile", m.profile);
		immure_jsonw_str(&l->w, "policy_version", m.policy_version);
		immure_jsonw_str(&l->w, "lifetime", immure_lifetime_name(m.lifetime));
		immure_jsonw_uint(&l->w, "created_ms", m.created_ms);
		immure_jsonw_uint(&l->w, "since_ms", st.since_ms);
		immure_jsonw_uint(&l->w, "execs_running", st.running);
		immure_jsonw_object(&l->w, "labels");
		for (uint32_t i = 0; i < m.labels_n; i++)
			immure_jsonw_str(&l->w, m.labels[i].key, m.labels[i].value);
		immure_jsonw_end(&l->w, '}');
		immure_jsonw_end(&l->w, '}');
		add_row(l, m.created_ms, immure_buf_take(&b));
	}
	immure_entry_done(&e);
	return 0;
}

int32_t immure_session_list(const struct immure_session_options *options, char **ret_json,
			    immure_error **err)
{
	struct immure_session_options o;
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	struct listing l = { .registry = &registry };
	const char *runtime;
	char *text;
	int32_t r = immure_session_options_take(&o, options, err);

	if (r < 0)
		return r;
	runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	if (runtime)
		r = immure_registry_open(runtime, false, &registry, err);
	if (r == 0 && runtime)
		(void)immure_registry_each(&registry, list_one, &l); /* what cannot be read is not listed */
	immure_registry_done(&registry);
	immure_arena_done(&arena);
	text = join(&l);
	if (r < 0) {
		free(text);
		return r;
	}
	*ret_json = text;
	if (r == 0 && !*ret_json)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");
	return r;
}

/* ---- removing ---- */

int32_t immure_session_remove(const char *name, const struct immure_session_options *options,
			      immure_error **err)
{
	struct immure_session_options o;
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_entry entry = IMMURE_ENTRY_INIT;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	const char *runtime;
	char left[4096] = "";
	int32_t r = immure_session_options_take(&o, options, err);
	int e = 0;

	if (r < 0)
		return r;
	runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	r = runtime ? immure_registry_open(runtime, false, &registry, err)
		    : immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "session", name, "%s: no such session",
				  name);
	if (r == 0)
		r = immure_entry_find(&registry, name, &entry, err);
	if (r == 0) {
		e = immure_entry_lock(&entry);
		if (e == 0)
			e = immure_entry_remove(&registry, &entry, left, sizeof(left));
		if (e == -EAGAIN)
			r = immure_fail(err, IMMURE_ERR_STATE, EBUSY, "session", name, "%s: it lives; stop it "
					"first", name);
		else if (e < 0 && e != -ENOENT)
			r = immure_fail(err, IMMURE_ERR_IO, -e, "session", left, "%s: %s", left, strerror(-e));
	}
	immure_entry_done(&entry);
	immure_registry_done(&registry);
	immure_arena_done(&arena);
	return r;
}
