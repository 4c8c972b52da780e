/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of sessions: taken, listed, looked at, removed. */
#include "lib/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/facts.h"
#include "lib/options.h"
#include "session/registry.h"

enum { ABOUT_MAX = 8 << 20 };

static int32_t no_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "snapshot", "", "out of memory");
}

int32_t immure_snapshot_places(const char *const *env, struct immure_facts **ret, struct immure_error **err)
{
	int32_t r = immure_facts_places(env, ret, err);

	if (r == 0 && !(*ret)->state_dir) {
		immure_facts_destroy(*ret);
		r = immure_fail(err, IMMURE_ERR_SNAPSHOT, ENOENT, "snapshot", "", "there is no state directory, so no "
				"snapshot");
	}
	return r;
}

/* ---- taken ---- */

int32_t immure_snapshot_save(immure_session *session, int file_fd, const char *path, char **ret_about,
			     struct immure_error **err)
{
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_link_ask ask;
	size_t len = 0;
	int32_t r = immure_session_usable(session, err);
	int e;

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "snapshot");
	immure_jsonw_object(&ask.w, "file");
	immure_jsonw_uint(&ask.w, "fd", 0);
	immure_jsonw_end(&ask.w, '}');
	if (path)
		immure_jsonw_str(&ask.w, "path", path);
	r = immure_link_send(session->link, &ask, &file_fd, 1, err);
	if (r == 0)
		r = immure_link_answer(session->link, &ask, NULL, &fd, err);
	if (r < 0)
		return r;
	e = fd < 0 ? -EBADF : immure_read_all(fd, ABOUT_MAX, ret_about, &len);
	return e < 0 ? immure_fail(err, IMMURE_ERR_IO, -e, "snapshot", "", "what is said of the snapshot cannot be read: "
				   "%s", strerror(-e)) : 0;
}

static int32_t put_labels(struct immure_jsonw *w, const char *const *labels, struct immure_error **err)
{
	immure_jsonw_object(w, "labels");
	for (unsigned int n = 0; labels && *labels; labels++, n++) {
		const char *eq = strchr(*labels, '=');
		char key[IMMURE_LABEL_KEY_MAX + 1];

		if (!eq || (size_t)(eq - *labels) >= sizeof(key) || n == IMMURE_LABELS_MAX)
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "snapshot", "labels", "%s: a label is KEY=VALUE, "
					   "and there are at most %d", *labels, IMMURE_LABELS_MAX);
		memcpy(key, *labels, (size_t)(eq - *labels));
		key[eq - *labels] = '\0';
		if (!immure_label_valid(key, eq + 1))
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "snapshot", "labels", "%s: no label", *labels);
		immure_jsonw_str(w, key, eq + 1);
	}
	immure_jsonw_end(w, '}');
	return 0;
}

static int32_t describe(const struct immure_snapstore *s, const struct immure_snapshot_options *o, const char *about,
			struct immure_buf *b, struct immure_error **err)
{
	struct immure_jsonw w;
	int32_t r;

	immure_jsonw_init(&w, b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "id", s->id);
	immure_jsonw_str(&w, "name", o->name ? o->name : "");
	immure_jsonw_uint(&w, "created_ms", immure_now_ms());
	r = put_labels(&w, o->labels, err);
	if (r < 0)
		return r;
	immure_jsonw_raw(&w, "about", about);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(b, '\n');
	return immure_buf_ok(b) ? 0 : no_memory(err);
}

static int32_t take(immure_session *session, const struct immure_snapshot_options *o, const char *state_dir,
		    char **ret_json, struct immure_error **err)
{
	struct immure_snapstore s = IMMURE_SNAPSTORE_INIT;
	IMMURE_CLEANUP_FREE char *about = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	char path[PATH_MAX + 8];
	int32_t r = immure_snapstore_begin(state_dir, &s, err);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/files", s.path);
	r = immure_snapshot_save(session, s.files_fd, path, &about, err);
	if (r == 0)
		r = describe(&s, o, about, &b, err);
	if (r == 0)
		r = immure_snapstore_commit(&s, state_dir, o->name ? o->name : "", b.data, err);
	if (r == 0) {
		*ret_json = immure_buf_take(&b);
		r = *ret_json ? 0 : no_memory(err);
	}
	immure_buf_done(&b);
	immure_snapstore_done(&s);
	return r;
}

int32_t immure_snapshot_create(immure_session *session, const struct immure_snapshot_options *options, char **ret_json,
			       immure_error **err)
{
	struct immure_snapshot_options o;
	struct immure_facts *places = NULL;
	int32_t r = immure_options_copy(&o, sizeof(o), options, "snapshot", err);

	if (r == 0 && (!ret_json || (o.name && !immure_name_valid(o.name))))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "snapshot", "name", "a name is a letter, then letters, digits, "
				"'_', '-' or '.', at most %d", IMMURE_NAME_MAX);
	if (r == 0)
		r = immure_snapshot_places(o.env, &places, err);
	if (r < 0)
		return r;
	r = take(session, &o, places->state_dir, ret_json, err);
	immure_facts_destroy(places);
	return r;
}

/* ---- told ---- */

struct listing {
	struct immure_jsonw w;
	const char *state_dir;
};

/* As much of it as a list has; what is damaged says only that. */
static int put_row(void *ctx, const char *id)
{
	static const char *const texts[] = { "session", "session_name", "profile", "policy_version", "workspace",
					     "workspace_mode" };
	struct listing *l = ctx;
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	const struct immure_jsonr_value *about, *v;
	struct immure_error *why = NULL;
	struct stat st;
	int32_t r;

	if (!immure_id_valid(id))
		return 0;
	r = immure_snapstore_read(l->state_dir, id, &s, &why);
	immure_jsonw_object(&l->w, NULL);
	immure_jsonw_str(&l->w, "id", id);
	immure_jsonw_bool(&l->w, "damaged", r < 0);
	if (r == 0) {
		about = immure_jsonr_get(&s.json, s.v, "about");
		v = immure_jsonr_get(&s.json, s.v, "name");
		immure_jsonw_str(&l->w, "name", v ? v->text : "");
		v = immure_jsonr_get(&s.json, s.v, "created_ms");
		immure_jsonw_int(&l->w, "created_ms", v ? v->integer : 0);
		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
			v = immure_jsonr_get(&s.json, about, texts[i]);
			immure_jsonw_str(&l->w, texts[i], v && v->type == IMMURE_JSON_STRING ? v->text : "");
		}
		immure_jsonw_int(&l->w, "size", fstat(s.files_fd, &st) == 0 ? st.st_size : 0);
		v = immure_jsonr_get(&s.json, s.v, "labels");
		immure_jsonw_object(&l->w, "labels");
		for (const struct immure_jsonr_value *e = immure_jsonr_first(&s.json, v); e;
		     e = immure_jsonr_after(&s.json, v, e))
			immure_jsonw_str(&l->w, e->key, e->text);
		immure_jsonw_end(&l->w, '}');
	} else {
		immure_jsonw_str(&l->w, "why", immure_error_text(why));
	}
	immure_jsonw_end(&l->w, '}');
	immure_error_free(why);
	immure_snapshot_read_done(&s);
	return 0;
}

int32_t immure_snapshot_list(const char *const *env, char **ret_json, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_facts *places = NULL;
	struct listing l;
	int32_t r = ret_json ? immure_facts_places(env, &places, err) :
			       immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret_json", "no place for the list");
	int e = 0;

	if (r < 0)
		return r;
	l.state_dir = places->state_dir;
	immure_jsonw_init(&l.w, &b, 0);
	immure_jsonw_array(&l.w, NULL);
	if (l.state_dir)
		e = immure_snapstore_each(l.state_dir, put_row, &l);
	immure_jsonw_end(&l.w, ']');
	if (e < 0)
		r = immure_fail(err, IMMURE_ERR_IO, e, "snapshot", l.state_dir, "%s: %s", l.state_dir, strerror(-e));
	if (r == 0) {
		*ret_json = immure_buf_take(&b);
		r = *ret_json ? 0 : no_memory(err);
	}
	immure_buf_done(&b);
	immure_facts_destroy(places);
	return r;
}

int32_t immure_snapshot_inspect(const char *snapshot, const char *const *env, char **ret_json, immure_error **err)
{
	struct immure_snapshot_read s = IMMURE_SNAPSHOT_READ_INIT;
	struct immure_facts *places = NULL;
	int32_t r = snapshot && ret_json ? immure_snapshot_places(env, &places, err) :
					   immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "snapshot", "no snapshot, "
						       "or no place for what is said of it");

	if (r < 0)
		return r;
	r = immure_snapstore_read(places->state_dir, snapshot, &s, err);
	if (r == 0)
		r = immure_snapstore_verify(&s, err);
	if (r == 0) {
		*ret_json = strdup(s.text);
		r = *ret_json ? 0 : no_memory(err);
	}
	immure_snapshot_read_done(&s);
	immure_facts_destroy(places);
	return r;
}

int32_t immure_snapshot_remove(const char *snapshot, const char *const *env, immure_error **err)
{
	struct immure_facts *places = NULL;
	int32_t r = snapshot ? immure_snapshot_places(env, &places, err) :
			       immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "snapshot", "no snapshot is named");

	if (r < 0)
		return r;
	r = immure_snapstore_remove(places->state_dir, snapshot, err);
	immure_facts_destroy(places);
	return r;
}
