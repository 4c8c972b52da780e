/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy shows at another path inside: files.mounts, workspace.target.
 *
 * A mount is an allow whose point lies at the target and whose source is the host's
 * path. What is decided of the source (masks, protected files, private areas, what is
 * allowed otherwise) is decided again below the target, by alias.c: it is a second name
 * of the same files. What the target covers cannot be seen; rules of the policy that
 * name paths below it hold for what stands there now.
 *
 * A target that is missing on the host is made in directories of ours, never on the
 * host. In a host view its parent is the host's, which is read-only: then a directory
 * of ours takes the parent's place, with each of the parent's entries bound in it.
 */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

enum { ENTRIES_MAX = 512 };

static const char KEY[] = "files.mounts";

void immure_compile_mount_parts(struct immure_arena *a, const char *text,
				struct immure_mount_parts *ret)
{
	const char *target = strchr(text, ':') + 1, *mode = strchr(target, ':');

	ret->source = immure_arena_strndup(a, text, (size_t)(target - 1 - text));
	ret->target = immure_arena_strndup(a, target, (size_t)(mode - target));
	ret->rw = strcmp(mode, ":rw") == 0;
}

/* The host's path of one inside that lies below a target; NULL when it lies below none. */
const char *immure_compile_outside(struct immure_arena *a, const struct immure_policy *p,
				   const struct immure_facts *f, const char *path)
{
	const char *target = NULL, *source = NULL, *rest;

	for (size_t i = 0; i < p->mounts.n; i++) {
		struct immure_mount_parts m;

		immure_compile_mount_parts(a, p->mounts.v[i], &m);
		if (!m.source || !m.target)
			return NULL; /* the arena knows */
		if (immure_path_is_under(path, m.target) &&
		    (!target || strlen(m.target) > strlen(target))) {
			target = m.target;
			source = immure_compile_path(a, p, f, m.source);
		}
	}
	if (p->workspace_target && immure_path_is_under(path, p->workspace_target) &&
	    (!target || strlen(p->workspace_target) > strlen(target))) {
		target = p->workspace_target;
		source = immure_compile_workspace(a, p, f);
	}
	if (!target || !source)
		return NULL;
	rest = path + strlen(target);
	return *rest ? immure_compile_join(a, source, rest + 1) : source;
}

/* Something of our own, or of the kernel's, or through a link: no place to mount on. */
int32_t immure_compile_target(struct immure_compile *b, const char *target, char type,
			      const char *key)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, target);

	if (immure_compile_is_ours(b, target) || (s && s->real && immure_compile_is_ours(b, s->real)))
		return immure_compile_refuse(b, key, "%s holds this program's own state", target);
	if (immure_compile_kernels(b, target))
		return immure_compile_refuse(b, key, "%s is the kernel's", target);
	for (const char *c = target; c; c = strchr(c + 1, '/')) {
		const char *dir = c == target ? NULL :
				  immure_arena_strndup(b->a, target, (size_t)(c - target));
		const struct immure_fact_path *d = dir ? immure_facts_path(b->f, dir) : NULL;

		if (d && d->link) {
			(void)immure_compile_refuse(b, key, "%s goes through the link %s", target, dir);
			if (d->real)
				immure_compile_hint(b, "name what it leads to: %s", d->real);
			return -IMMURE_ERR_POLICY;
		}
	}
	if (!s)
		return 0;
	if (s->link || s->errnum)
		return immure_compile_refuse(b, key, "%s %s", target,
					     s->link ? "is a link" : "cannot be examined");
	/* Where the view has nothing of the host's this is refused for nothing; but who
	 * means a file to stand where a directory is has made a mistake. */
	if (s->real && (s->type == 'd') != (type == 'd'))
		return immure_compile_refuse(b, key, "%s is %s directory here, its source is %s",
					     target, s->type == 'd' ? "a" : "no",
					     type == 'd' ? "one" : "none");
	return 0;
}

struct immure_point *immure_compile_mount(struct immure_compile *b, bool write, const char *real,
					  const char *target, const char *key)
{
	struct immure_point *pt = immure_compile_point(
		b, write ? IMMURE_POINT_WRITE : IMMURE_POINT_READ, IMMURE_RANK_ALLOW, target, key);

	if (pt) {
		pt->src = real;
		pt->mount = true;
	}
	return pt;
}

/* ---- what a target covers ---- */

/* A mount, or the empty workspace: the one private area that may be anywhere. */
static bool is_target(const struct immure_compile *b, size_t at)
{
	const struct immure_point *pt = &b->points[at];

	return (pt->mount && !pt->again) ||
	       (pt->kind == IMMURE_POINT_TMPFS && pt->rank == IMMURE_RANK_ALLOW);
}

/* What is allowed of the host below a target would have to be mounted into what stands
 * there; what was decided about host paths below it may have nothing to stand on. */
static int32_t covered(struct immure_compile *b, const struct immure_point *target)
{
	for (size_t i = 0; i < b->points_n; i++) {
		struct immure_point *pt = &b->points[i];

		if (pt->seq == target->seq || pt->mount || !immure_path_is_under(pt->path, target->path))
			continue;
		if (pt->rank == IMMURE_RANK_ALLOW) {
			(void)immure_compile_refuse(b, target->key, "%s covers %s", target->path, pt->path);
			immure_compile_hint(b, "%s shows that; mount somewhere else", pt->key);
			return -IMMURE_ERR_POLICY;
		}
		if (pt->kind == IMMURE_POINT_MASK || pt->kind == IMMURE_POINT_READONLY ||
		    pt->kind == IMMURE_POINT_PIN)
			pt->optional = true;
	}
	return 0;
}

/* ---- targets that are missing ---- */

static const char *parent(struct immure_arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? "/" : immure_arena_strndup(a, path, (size_t)(slash - path));
}

/* The deepest directory on the way to target that the host has; NULL: nothing is missing. */
static const char *missing_in(struct immure_arena *a, const struct immure_facts *f, const char *target)
{
	const struct immure_fact_path *s = immure_facts_path(f, target);
	const char *dir = target;

	if (!s || s->real || s->errnum)
		return NULL;
	do {
		dir = parent(a, dir);
		s = dir ? immure_facts_path(f, dir) : NULL;
	} while (dir && strcmp(dir, "/") != 0 && !(s && s->real));
	return dir;
}

static bool adds(const struct immure_strv *list, const char *dir)
{
	return dir && !immure_strv_has(list, dir);
}

int32_t immure_compile_mount_dirs(const struct immure_policy *p, const struct immure_facts *f,
				  struct immure_arena *a, struct immure_strv *ret)
{
	if (p->view != IMMURE_VIEW_HOST)
		return 0;
	for (size_t i = 0; i <= p->mounts.n; i++) {
		struct immure_mount_parts m = { .target = p->workspace_target };
		const char *dir;

		if (i < p->mounts.n)
			immure_compile_mount_parts(a, p->mounts.v[i], &m);
		dir = m.target ? missing_in(a, f, m.target) : NULL;
		if (adds(ret, dir))
			(void)immure_strv_add(a, ret, dir); /* the arena knows */
	}
	return a->failed ? -IMMURE_ERR_NOMEM : 0;
}

/* A directory of ours can be made where one of ours is already: in a private area, and
 * where something is masked. */
static bool is_own_place(const struct immure_compile *b, const char *dir)
{
	for (size_t i = 0; i < b->points_n; i++)
		if ((b->points[i].kind == IMMURE_POINT_TMPFS || b->points[i].kind == IMMURE_POINT_MASK) &&
		    !is_target(b, i) && immure_path_is_under(dir, b->points[i].path))
			return true;
	return false;
}

static int32_t entry(struct immure_compile *b, const char *dir, const struct immure_fact_entry *e)
{
	const char *path = immure_compile_join(b->a, dir, e->name);
	bool link = e->type == 'l' && e->link;
	struct immure_point *pt;

	/* A device is what a policy names by itself, never what a tree holds. */
	if (!link && e->type != 'd' && e->type != 'f' && e->type != 's' && e->type != 'p')
		return 0;
	pt = path ? immure_compile_point(b, link ? IMMURE_POINT_SYMLINK : IMMURE_POINT_READ,
					 IMMURE_RANK_STRUCTURE, path, KEY) : NULL;
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->src = link ? e->link : NULL;
	pt->file = e->type != 'd';
	pt->entry = pt->optional = true;
	return 0;
}

/* dir becomes one of ours. */
static int32_t replace(struct immure_compile *b, const char *dir, const struct immure_point *target)
{
	const struct immure_fact_listing *list = immure_facts_listing(b->f, dir);
	const struct immure_fact_path *s = immure_facts_path(b->f, dir);
	struct immure_point *pt;

	if (immure_compile_writable(b, dir) || (list && (list->errnum || list->truncated)) ||
	    (list && list->n > ENTRIES_MAX)) {
		(void)immure_compile_refuse(b, target->key, "%s does not exist, and cannot be made in %s",
					    target->path, dir);
		immure_compile_hint(b, target->file ? "make it: an empty file" : "make it: mkdir -p %s",
				    target->path);
		return -IMMURE_ERR_POLICY;
	}
	if (!list)
		return 0; /* before listings: it will be asked for */
	if (strcmp(dir, "/") == 0) {
		b->own_root = true;
		return 0;
	}
	pt = immure_compile_point(b, IMMURE_POINT_TMPFS, IMMURE_RANK_STRUCTURE, dir, target->key);
	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->mode = s && s->mode ? s->mode & 0777 : 0755;
	pt->ro = true;
	return 0;
}

/* Each entry of the host's stands in it as before; when all of ours are known, for one of
 * them may be an entry of another. */
static int32_t entries(struct immure_compile *b, const struct immure_strv *dirs)
{
	int32_t r = 0;

	for (size_t d = 0; d < dirs->n; d++) {
		const struct immure_fact_listing *list = immure_facts_listing(b->f, dirs->v[d]);

		for (size_t i = 0; r == 0 && list && i < list->n; i++)
			r = entry(b, dirs->v[d], &list->entries[i]);
	}
	return r;
}

int32_t immure_compile_mounted(struct immure_compile *b)
{
	struct immure_strv done = { 0 };
	size_t n = b->points_n;

	for (size_t i = 0; i < n; i++) {
		struct immure_point target = b->points[i]; /* adding moves the array */
		const char *dir;
		int32_t r;

		if (!is_target(b, i))
			continue;
		r = covered(b, &target);
		if (r < 0)
			return r;
		dir = b->p->view == IMMURE_VIEW_HOST ? missing_in(b->a, b->f, target.path) : NULL;
		if (!adds(&done, dir) || is_own_place(b, dir))
			continue;
		if (!immure_strv_add(b->a, &done, dir))
			return -IMMURE_ERR_NOMEM;
		r = replace(b, dir, &target);
		if (r < 0)
			return r;
	}
	return entries(b, &done);
}
