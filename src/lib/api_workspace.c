/* SPDX-License-Identifier: Apache-2.0 */
/* Copy-on-write workspaces that are kept: listed, told, applied, discarded. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsonw.h"
#include "changes/changes.h"
#include "facts/facts.h"
#include "kernel/sys.h"
#include "lib/options.h"
#include "session/registry.h"

struct opened {
	struct immure_facts *places;
	struct immure_changes c;
};

static void done(struct opened *o)
{
	immure_changes_done(&o->c);
	immure_facts_destroy(o->places);
}

/* The name of a session that is on record stands for its id. */
static int32_t by_session(struct opened *o, const char *name, struct immure_error **err)
{
	struct immure_registry reg = IMMURE_REGISTRY_INIT;
	struct immure_entry e = IMMURE_ENTRY_INIT;
	int32_t r = immure_registry_open(o->places->runtime_dir, false, &reg, err);

	if (r == 0)
		r = immure_entry_find(&reg, name, &e, err);
	if (r == 0)
		r = immure_changes_open(o->places->state_dir, e.id, &o->c, err);
	immure_entry_done(&e);
	immure_registry_done(&reg);
	return r;
}

static int32_t open_one(const char *id, const char *const *env, struct opened *ret, struct immure_error **err)
{
	struct opened o = { .c = IMMURE_CHANGES_INIT };
	struct immure_error *why = NULL;
	int32_t r = immure_facts_places(env, &o.places, err);

	if (r == 0 && !o.places->state_dir)
		r = immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "workspace", "", "there is no state directory");
	else if (r == 0)
		r = immure_changes_open(o.places->state_dir, id, &o.c, &why);
	if (r == -IMMURE_ERR_NO_SESSION && id && immure_name_valid(id) && by_session(&o, id, NULL) == 0)
		r = 0;
	if (r < 0 && err && !*err)
		*err = why;
	else
		immure_error_free(why);
	if (r < 0)
		done(&o);
	else
		*ret = o;
	return r;
}

static int32_t give(struct immure_buf *b, char **ret, struct immure_error **err)
{
	char *text = immure_buf_take(b);

	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "workspace", "", "out of memory");
	*ret = text;
	return 0;
}

/* ---- which there are ---- */

struct listing {
	struct immure_jsonw w;
	const char *state_dir;
};

static int put_row(void *ctx, const char *name)
{
	struct listing *l = ctx;
	struct immure_changes c = IMMURE_CHANGES_INIT;

	if (!immure_id_valid(name) || immure_changes_open(l->state_dir, name, &c, NULL) < 0)
		return 0;
	immure_jsonw_object(&l->w, NULL);
	immure_jsonw_str(&l->w, "id", c.id);
	immure_jsonw_str(&l->w, "workspace", c.plan->workspace);
	immure_jsonw_str(&l->w, "session", c.meta.session);
	immure_jsonw_uint(&l->w, "created_ms", c.meta.created_ms);
	immure_jsonw_bool(&l->w, "in_use", c.lock_fd < 0);
	immure_jsonw_bool(&l->w, "changed", !immure_upper_is_empty(c.dir_fd));
	immure_jsonw_bool(&l->w, "torn", immure_changes_is_torn(&c));
	immure_jsonw_end(&l->w, '}');
	immure_changes_done(&c);
	return 0;
}

int32_t immure_workspace_list(const char *const *env, char **ret_json, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_facts *places = NULL;
	struct listing l;
	int32_t r = ret_json ? immure_facts_places(env, &places, err) :
			       immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret_json", "no place for the list");
	int k = 0;

	if (r < 0)
		return r;
	immure_jsonw_init(&l.w, &b, 2);
	immure_jsonw_array(&l.w, NULL);
	l.state_dir = places->state_dir;
	if (l.state_dir)
		k = immure_upper_each(l.state_dir, put_row, &l);
	immure_jsonw_end(&l.w, ']');
	immure_buf_putc(&b, '\n');
	if (k < 0)
		r = immure_fail(err, IMMURE_ERR_IO, k, "workspace", l.state_dir, "%s: %s", l.state_dir, strerror(-k));
	r = r == 0 ? give(&b, ret_json, err) : r;
	immure_buf_done(&b);
	immure_facts_destroy(places);
	return r;
}

/* ---- told ---- */

int32_t immure_workspace_diff(const char *id, const char *const *env, int32_t json, char **ret, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct opened o;
	int32_t r = ret ? open_one(id, env, &o, err) :
			  immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret", "no place for the changes");

	if (r < 0)
		return r;
	r = immure_changes_walk(&o.c, err);
	if (r == 0) {
		if (json)
			immure_changes_json(&o.c, &b);
		else
			immure_changes_text(&o.c, &b);
		if (!b.data)
			immure_buf_puts(&b, "");
		r = give(&b, ret, err);
	}
	immure_buf_done(&b);
	done(&o);
	return r;
}

int32_t immure_workspace_open_file(const char *id, const char *const *env, const char *path, int32_t changed,
				   int32_t *ret_fd, immure_error **err)
{
	struct opened o;
	int32_t r = path && ret_fd ? open_one(id, env, &o, err) :
				     immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "path", "no path, or no place");
	const char *name;
	struct stat st;
	int fd;

	if (r < 0)
		return r;
	IMMURE_CLEANUP_FD int dir = immure_content_parent(changed ? o.c.upper_fd : o.c.real_fd, path, &name);
	fd = dir < 0 ? dir : immure_content_open(dir, name, &st);
	if (fd < 0)
		r = immure_fail(err, IMMURE_ERR_IO, fd, "workspace", path, "%s: %s", path, strerror(-fd));
	else
		*ret_fd = fd;
	done(&o);
	return r;
}

/* ---- landed ---- */

static int32_t recover(struct immure_changes *c, uint32_t flags, struct immure_strv *beside, struct immure_error **err)
{
	int32_t r = immure_changes_recover(c, flags & (IMMURE_WORKSPACE_UNDO | IMMURE_WORKSPACE_ABANDON),
					   flags & IMMURE_WORKSPACE_ABANDON ? beside : NULL, err);

	return r < 0 ? r : 0;
}

static int32_t walk_and_select(struct immure_changes *c, const struct immure_workspace_options *o,
			       struct immure_error **err)
{
	int32_t r = immure_log_load(c);

	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, r, "workspace", c->id, "%s: %s", c->id, strerror(-r));
	r = immure_changes_walk(c, err);
	return r == 0 ? immure_changes_select(c, o->paths,
					      (o->flags & IMMURE_WORKSPACE_OVERWRITE ? IMMURE_APPLY_OVERWRITE : 0U) |
					      (o->flags & IMMURE_WORKSPACE_REST ? IMMURE_APPLY_REST : 0U) |
					      (o->flags & IMMURE_WORKSPACE_LINKS ? IMMURE_APPLY_LINKS : 0U), err) : r;
}

/* What is left once all has landed is nobody's work. */
static void discard_whole(struct opened *o)
{
	if (immure_changes_walk(&o->c, NULL) == 0 && o->c.n == 0)
		(void)immure_upper_remove(o->places->state_dir, o->c.id); /* or gc keeps it, and says so */
}

static void tell_beside(const struct immure_strv *beside, struct immure_buf *out)
{
	struct immure_jsonw w;

	immure_jsonw_init(&w, out, 0);
	immure_jsonw_object(&w, NULL);
	if (beside->n) {
		immure_jsonw_array(&w, "beside");
		for (size_t i = 0; i < beside->n; i++)
			immure_jsonw_str(&w, NULL, beside->v[i]);
		immure_jsonw_end(&w, ']');
	}
	immure_jsonw_end(&w, '}');
	immure_buf_putc(out, '\n');
}

int32_t immure_workspace_apply(const char *id, const struct immure_workspace_options *options, char **ret_json,
			       immure_error **err)
{
	const struct immure_workspace_options none = { .size = sizeof(none) };
	struct immure_workspace_options o;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct opened w;
	struct immure_strv beside = { 0 };
	bool back;
	uint64_t n = 0;
	int32_t r = immure_options_copy(&o, sizeof(o), options ? options : &none, "apply", err);

	if (r == 0 && (!ret_json || o.flags & ~(uint32_t)IMMURE_WORKSPACE_FLAGS))
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "flags", "unknown flags, or no place for what landed");
	if (r == 0)
		r = open_one(id, o.env, &w, err);
	if (r < 0)
		return r;
	back = o.flags & (IMMURE_WORKSPACE_UNDO | IMMURE_WORKSPACE_ABANDON);
	if (!(o.flags & IMMURE_WORKSPACE_DRY_RUN) || back)
		r = recover(&w.c, o.flags, &beside, err);
	if (r == 0 && !back) {
		r = walk_and_select(&w.c, &o, err);
		if (r == 0)
			immure_changes_json(&w.c, &b);
		if (r == 0 && !(o.flags & IMMURE_WORKSPACE_DRY_RUN))
			r = immure_changes_apply(&w.c, &n, err);
		if (r == 0 && !(o.flags & IMMURE_WORKSPACE_DRY_RUN))
			discard_whole(&w);
	} else if (r == 0) {
		tell_beside(&beside, &b);
	}
	if (r == 0)
		r = give(&b, ret_json, err);
	immure_buf_done(&b);
	done(&w);
	return r;
}

int32_t immure_workspace_discard(const char *id, const char *const *env, immure_error **err)
{
	struct opened o;
	int32_t r = open_one(id, env, &o, err);
	int k = 0;

	if (r < 0)
		return r;
	if (o.c.lock_fd < 0)
		r = immure_fail(err, IMMURE_ERR_STATE, EBUSY, "discard", o.c.id, "%s: its session still runs", o.c.id);
	/* Half of it is in the tree: what is needed to undo that is here. */
	else if (immure_log_phase(o.c.dir_fd) == IMMURE_LOG_LANDING)
		r = immure_fail(err, IMMURE_ERR_STATE, EBUSY, "discard", o.c.id,
				"%s: an apply was interrupted; finish it (immure apply), undo it (--undo) or let it be "
				"(--abandon) first", o.c.id);
	else if (immure_changes_is_torn(&o.c))
		r = recover(&o.c, 0, NULL, err);
	if (r == 0)
		k = immure_upper_remove(o.places->state_dir, o.c.id);
	if (k < 0)
		r = immure_fail(err, IMMURE_ERR_IO, k, "discard", o.c.id, "%s: cannot be removed: %s", o.c.id, strerror(-k));
	done(&o);
	return r;
}
