/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in writable places that programs on the host execute or obey by
 * themselves. What exists becomes read-only, with a mount of its own, and so
 * that its directory cannot be moved away and made anew, every directory
 * between it and the writable root is pinned by a mount of its own. What does
 * not exist has nothing to mount on: it is watched, and what the command made
 * there is moved out of the tree when it ends.
 *
 *	component on the way   is a directory   PIN
 *	                       is a link        PROTECT_LINK, go on at its target
 *	                       is another file  READONLY: it says where the rest is
 *	                       is absent        WATCH
 *	the entry itself       exists           READONLY (a link: both)
 */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static const char KEY_TABLE[] = "files.protected";
static const char OURS[] = ".immure"; /* a workspace's own policy */

struct entry {
	const struct immure_root *root;
	const char *sub; /* below root */
	const char *key;
	bool created;    /* files.created names it */
	bool there;      /* the entry exists, whatever links lead to it */
	bool anywhere;   /* watched at every depth, this one included */
};

static int32_t later(struct immure_compile *b, enum immure_op_kind kind, const char *src,
		     const char *dst, const char *key, uint32_t flags)
{
	struct immure_later *op = immure_compile_later(b, kind, src, dst, key);

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->flags = flags;
	return 0;
}

static int32_t watch(struct immure_compile *b, const struct entry *e, uint32_t flags)
{
	if (e->anywhere && !(flags & IMMURE_OPF_ANYWHERE))
		return 0;
	return immure_compile_watch(b, e->root->real, e->sub,
				    flags | (e->created ? IMMURE_OPF_ALLOWED : 0u), e->key);
}

static int32_t point(struct immure_compile *b, enum immure_point_kind kind, const char *path,
		     bool file, bool optional, const char *key)
{
	struct immure_point *pt = immure_compile_point(
		b, kind, kind == IMMURE_POINT_PIN ? IMMURE_RANK_PIN : IMMURE_RANK_PROTECT, path,
		key);

	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->file = file;
	pt->optional = optional;
	return 0;
}

/* Read-only, unless its content has other names: through one of those it could
 * be written, and no mount stops that. */
static int32_t readonly(struct immure_compile *b, const struct entry *e, const char *path,
			const struct immure_fact_path *s)
{
	if (s->type == 'f' && s->nlink > 1) {
		if (e->created)
			return 0;
		(void)immure_compile_refuse(b, e->key,
					  "%s has %llu hard links: it could be changed through "
					  "another name", path, (unsigned long long)s->nlink);
		if (strcmp(e->key, KEY_TABLE) == 0)
			immure_compile_hint(b, "break the links by copying it over itself, or "
					    "permit changes: files.created: [\"%s\"]", e->sub);
		else
			immure_compile_hint(b, "break the links by copying it over itself");
		return -IMMURE_ERR_POLICY;
	}
	return point(b, IMMURE_POINT_READONLY, path, s->type != 'd', false, e->key);
}

/* Where a link led to: only of interest when it can be written there. */
static int32_t target(struct immure_compile *b, const struct entry *e,
		      const struct immure_fact_path *s)
{
	const struct immure_root *in = s->real ? immure_compile_root(b, s->real) : NULL;

	if (!in)
		return 0;
	if (strcmp(s->real, in->real) == 0)
		return immure_compile_refuse(b, e->key, "%s/%s leads to the writable place itself",
					   e->root->real, e->sub);
	if (immure_compile_pins(b, s->real, e->key) < 0)
		return -IMMURE_ERR_NOMEM;
	return readonly(b, e, s->real, s);
}

static int32_t link_found(struct immure_compile *b, const struct entry *e, const char *real,
			  const struct immure_fact_path *s, bool last)
{
	int32_t r = later(b, IMMURE_OP_PROTECT_LINK, s->link_target ? s->link_target : "", real,
			  e->key, (e->created ? IMMURE_OPF_ALLOWED : 0u) |
					  (e->root->cow ? IMMURE_OPF_KEPT : 0u));

	if (r == 0 && !last) { /* what lies behind the link is the entry */
		const char *text = immure_compile_join(b->a, e->root->text, e->sub);

		s = text ? immure_facts_path(b->f, text) : NULL;
		if (s && s->errnum)
			return immure_compile_refuse(b, e->key, "%s: cannot be examined", text);
		if (s && !s->real)
			return watch(b, e, 0);
	}
	return r == 0 && s ? target(b, e, s) : r;
}

/* One component; *ret_more: go on with the next. */
static int32_t component(struct immure_compile *b, const struct entry *e, const char *text,
			 const char *real, bool last, bool *ret_more)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, text);

	*ret_more = false;
	if (!s) {
		/* Not asked for: plan for both. */
		int32_t r = point(b, IMMURE_POINT_READONLY, real, false, true, e->key);

		return r < 0 ? r : watch(b, e, 0);
	}
	if (s->link)
		return link_found(b, e, real, s, last);
	if (s->errnum)
		return immure_compile_refuse(b, e->key, "%s: cannot be examined", real);
	if (!s->real)
		return watch(b, e, 0);
	if (last || s->type != 'd')
		return readonly(b, e, real, s);
	*ret_more = true;
	if (!e->there)
		return 0; /* moving the directory away moves nothing that counts */
	return point(b, IMMURE_POINT_PIN, real, false, false, e->key);
}

static int32_t protect(struct immure_compile *b, struct entry *e)
{
	if (immure_facts_lacks(b->f, e->root->text, e->sub))
		return watch(b, e, 0); /* most entries, most of the time */

	const char *text = immure_compile_join(b->a, e->root->text, e->sub);
	const struct immure_fact_path *s = text ? immure_facts_path(b->f, text) : NULL;
	bool same = strcmp(e->root->text, e->root->real) == 0, more = true;
	const char *real;
	int32_t r = 0;

	if (s && !s->real && !s->link && !s->errnum && !strchr(e->sub, '/'))
		return watch(b, e, 0);
	e->there = s && s->real;
	real = same ? text : immure_compile_join(b->a, e->root->real, e->sub);
	if (!text || !real)
		return -IMMURE_ERR_NOMEM;
	for (const char *c = e->sub; r == 0 && more && c;) {
		const char *end = strchr(c, '/');
		size_t rest = end ? strlen(end) : 0;
		const char *t = text, *q = real;

		if (end) {
			t = immure_arena_strndup(b->a, text, strlen(text) - rest);
			q = same ? t : immure_arena_strndup(b->a, real, strlen(real) - rest);
			if (!t || !q)
				return -IMMURE_ERR_NOMEM;
		}
		r = component(b, e, t, q, !end, &more);
		c = end ? end + 1 : NULL;
	}
	return r;
}

static bool is_created(const struct immure_strv *created, const char *path)
{
	for (size_t i = 0; i < created->n; i++) {
		const char *c = created->v[i];

		if (c[0] == path[0] && c[1] == path[1] && strcmp(c, path) == 0)
			return true;
	}
	return false;
}

/* Two lists of some hundred names meet on every launch. Most that are in one and not in
 * the other differ in this bit; the first letter, a dot as a rule, tells little. */
static uint64_t bit_of(const char *path)
{
	unsigned int a = (unsigned char)path[1], b = a ? (unsigned char)path[2] : 0;

	return path[0] ? (uint64_t)1 << ((a + 3 * b) & 63) : 0;
}

static uint64_t bits_of(const struct immure_strv *l)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < l->n; i++)
		bits |= bit_of(l->v[i]);
	return bits;
}

static int32_t table(struct immure_compile *b, const struct immure_root *root)
{
	const uint64_t created = bits_of(&b->p->created);

	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *t = &immure_protected_paths[i];
		struct entry e = {
			.root = root, .sub = t->path, .key = KEY_TABLE,
			.anywhere = t->anywhere,
			.created = bit_of(t->path) & created && is_created(&b->p->created, t->path),
		};
		uint32_t build = t->build ? IMMURE_OPF_BUILD : 0u;
		bool pattern = strchr(t->path, '*');
		int32_t r = 0;

		if (strcmp(t->path, OURS) == 0)
			continue; /* protected whatever the policy says */
		if (t->anywhere)
			r = watch(b, &e, build | IMMURE_OPF_ANYWHERE);
		else if (pattern || t->build)
			r = watch(b, &e, build);
		if (r == 0 && !pattern && !t->build)
			r = protect(b, &e);
		e.sub = immure_compile_in_home(b->f->home, root->text, t->path);
		e.anywhere = false;
		if (r == 0 && e.sub && !pattern && !t->build)
			r = protect(b, &e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Paths outside writable places need nothing. */
static int32_t named(struct immure_compile *b, const char *text, const char *key)
{
	const char *path = immure_compile_path(b->a, b->p, b->f, text);
	const struct immure_root *in = NULL;
	const struct immure_fact_path *s;
	struct entry e = { .key = key };

	if (immure_compile_awaits(b, text))
		return 0;
	if (!path)
		return immure_compile_refuse(b, e.key, "%s: cannot be made absolute", text);
	for (size_t i = 0; i < b->roots_n; i++) {
		const struct immure_root *r = &b->roots[i];

		if (immure_path_is_under(path, r->text) && strcmp(path, r->text) != 0 &&
		    (!in || strlen(r->text) > strlen(in->text)))
			in = r;
	}
	e.created = is_created(&b->p->created, text);
	if (in) {
		e.root = in;
		e.sub = path + strlen(in->text) + 1;
		return protect(b, &e);
	}
	/* Perhaps a writable place reached by another name, or one itself. */
	s = immure_facts_path(b->f, path);
	if (!s || !s->real || !immure_compile_writable(b, s->real))
		return 0;
	for (size_t i = 0; i < b->roots_n; i++)
		if (strcmp(b->roots[i].real, s->real) == 0)
			return point(b, IMMURE_POINT_READONLY, s->real, s->type != 'd', false,
				     e.key);
	e.root = &(struct immure_root){ .text = "/", .real = "/" };
	e.sub = path + 1;
	return target(b, &e, s);
}

/* What is allowed in a writable place, wider or narrower than that place: its
 * own mount holds it where it is, and so must the way to it. */
static int32_t nested(struct immure_compile *b)
{
	size_t n = b->points_n;

	for (size_t i = 0; i < n; i++) {
		const struct immure_point *pt = &b->points[i];

		if (pt->rank == IMMURE_RANK_ALLOW && !pt->src &&
		    immure_compile_pins(b, pt->path, pt->key) < 0)
			return -IMMURE_ERR_NOMEM;
	}
	return 0;
}

int32_t immure_compile_protect(struct immure_compile *b)
{
	int32_t r = nested(b);

	for (size_t i = 0; r == 0 && i < b->roots_n; i++) {
		struct entry ours = {
			.root = &b->roots[i], .sub = OURS, .key = "(always)",
		};

		if (b->roots[i].file)
			continue;
		r = protect(b, &ours);
		if (r == 0 && b->p->protected_table)
			r = table(b, &b->roots[i]);
	}
	for (size_t i = 0; r == 0 && i < b->p->protect.n; i++) {
		const char *path = immure_compile_path(b->a, b->p, b->f, b->p->protect.v[i]);
		const char *outside = path ? immure_compile_outside(b->a, b->p, b->f, path) : NULL;

		r = named(b, b->p->protect.v[i], "files.protect");
		if (r == 0 && outside)
			r = named(b, outside, "files.protect");
	}
	/* The policy may have been read from anywhere. */
	for (size_t i = 0; r == 0 && i < b->p->files.n; i++)
		r = named(b, b->p->files.v[i], "(always)");
	return r;
}
