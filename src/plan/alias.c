/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, several names. A mask covers a path, so every other path to the
 * same thing must be covered too:
 *
 *  - the host has a directory mounted twice (bind mounts, subvolumes): mounts of
 *    one device whose roots contain, or are contained in, what is masked;
 *  - we ourselves bind the target of a link in the link's place: what holds
 *    below the target holds below that place;
 *  - the policy shows something at another path inside (mounts.c): what holds below
 *    the source holds below that path, down to what is protected or pinned.
 *
 * Hard links cannot be found this way; protect.c refuses files that have them,
 * and the command can make none, because no link(2) crosses a mount.
 */
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

struct shared { /* mounts of devices that are mounted more than once */
	uint64_t dev;
	const struct immure_fact_mount *m;
};

/* All mounts with the lengths of their targets, and those of devices that are
 * mounted more than once: asked about for each mask. */
struct mounts {
	const struct immure_fact_mount *v;
	size_t *len;
	size_t n;
	struct shared *shared;
	size_t shared_n;
};

static uint64_t device(const struct immure_fact_mount *m)
{
	return (uint64_t)m->major << 32 | m->minor;
}

static int by_device(const void *x, const void *y)
{
	const struct shared *a = x, *b = y;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return (a->m > b->m) - (a->m < b->m); /* order in mountinfo */
}

static bool find_mounts(struct immure_compile *b, struct mounts *ret)
{
	size_t *len = immure_arena_alloc(b->a, (b->f->mounts_n + 1) * sizeof(*len));
	struct shared *s = immure_arena_alloc(b->a, (b->f->mounts_n + 1) * sizeof(*s));
	size_t n = 0, out = 0;

	if (!s || !len)
		return false;
	for (size_t i = 0; i < b->f->mounts_n; i++) {
		const struct immure_fact_mount *m = &b->f->mounts[i];

		len[i] = strlen(m->target);
		/* nsfs and the like have no path as root */
		if (immure_path_is_normal(m->root) && immure_path_is_normal(m->target))
			s[n++] = (struct shared){ device(m), m };
	}
	qsort(s, n, sizeof(*s), by_device);
	for (size_t i = 0; i < n; i++)
		if ((i > 0 && out > 0 && s[out - 1].dev == s[i].dev) ||
		    (i + 1 < n && s[i + 1].dev == s[i].dev))
			s[out++] = s[i];
	*ret = (struct mounts){ b->f->mounts, len, b->f->mounts_n, s, out };
	return true;
}

/* The mount that a path is on: the deepest target, of equal ones the last. */
static const struct immure_fact_mount *mount_of(const struct mounts *all, const char *path)
{
	size_t best_len = 0, path_len = strlen(path);
	const struct immure_fact_mount *best = NULL;

	for (size_t i = 0; i < all->n; i++) {
		size_t len = all->len[i];

		if (len > path_len || (best && len < best_len))
			continue;
		if (immure_path_is_under(path, all->v[i].target)) {
			best = &all->v[i];
			best_len = len;
		}
	}
	return best;
}

/* path with its prefix `from` replaced by `to`; path is at or below from. */
static const char *moved(struct immure_arena *a, const char *path, const char *from,
			 const char *to)
{
	const char *rest = path + (strcmp(from, "/") == 0 ? 0 : strlen(from));

	while (*rest == '/')
		rest++;
	return *rest ? immure_compile_join(a, to, rest) : to;
}

static int32_t add_like(struct immure_compile *b, const struct immure_point *like,
			const char *path)
{
	struct immure_point copy = *like; /* adding moves the array */
	struct immure_point *pt = immure_compile_point(b, (enum immure_point_kind)copy.kind,
						     (enum immure_rank)copy.rank, path, copy.key);

	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->file = copy.file;
	pt->optional = copy.optional;
	pt->mode = copy.mode;
	pt->ro = copy.ro;
	return 0;
}

static int32_t cover(struct immure_compile *b, size_t index, const struct mounts *all)
{
	struct immure_point pt = b->points[index];
	const struct immure_fact_mount *m = mount_of(all, pt.path);
	const char *inner;

	if (!m || !immure_path_is_normal(m->root))
		return 0;
	inner = moved(b->a, pt.path, m->target, m->root);
	if (!inner)
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < all->shared_n; i++) {
		const struct immure_fact_mount *o = all->shared[i].m;
		const char *at;

		if (all->shared[i].dev != device(m) || o == m)
			continue;
		if (immure_path_is_under(inner, o->root))
			at = moved(b->a, inner, o->root, o->target);
		else if (immure_path_is_under(o->root, inner))
			at = o->target; /* all that is mounted there is from inside */
		else
			continue;
		if (!at)
			return -IMMURE_ERR_NOMEM;
		if (strcmp(at, pt.path) == 0 || strcmp(at, "/") == 0 || mount_of(all, at) != o)
			continue;
		if (pt.kind == IMMURE_POINT_READONLY && !immure_compile_writable(b, at))
			continue;
		pt.optional = true;
		if (add_like(b, &pt, at) < 0)
			return -IMMURE_ERR_NOMEM;
	}
	return 0;
}

/* Of what stands at or below the source of a mount, what must stand below its target. */
static bool holds_again(const struct immure_point *pt)
{
	switch ((enum immure_point_kind)pt->kind) {
	case IMMURE_POINT_PIN:
	case IMMURE_POINT_READONLY:
	case IMMURE_POINT_TMPFS:
	case IMMURE_POINT_MASK:
		return true;
	case IMMURE_POINT_READ:
	case IMMURE_POINT_WRITE:
	case IMMURE_POINT_COW:
		return pt->rank == IMMURE_RANK_ALLOW;
	case IMMURE_POINT_DEV: /* the root alone has these */
	case IMMURE_POINT_PROC:
	case IMMURE_POINT_SYSFS:
	case IMMURE_POINT_SYS:
	case IMMURE_POINT_SYMLINK:
	case IMMURE_POINT_TEXT:
		break;
	}
	return false;
}

/* Another target stands between: what lies there is of another source. */
static bool is_covered(const struct immure_compile *b, const struct immure_point *mount,
		       const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct immure_point *pt = &b->points[i];

		if (pt->mount && !pt->again && strcmp(pt->path, mount->path) != 0 &&
		    immure_path_is_under(pt->path, mount->path) && immure_path_is_under(at, pt->path))
			return true;
	}
	return false;
}

static int32_t below_target(struct immure_compile *b, const struct immure_point *mount, size_t n)
{
	struct immure_point m = *mount; /* adding moves the array */

	for (size_t k = 0; k < n; k++) {
		struct immure_point pt = b->points[k];
		const char *at;
		int32_t r;

		if (pt.src || !holds_again(&pt) || !immure_path_is_under(pt.path, m.src) ||
		    (pt.rank == IMMURE_RANK_ALLOW && strcmp(pt.path, m.src) == 0))
			continue;
		if (m.kind == IMMURE_POINT_READ && (pt.kind == IMMURE_POINT_WRITE || pt.kind == IMMURE_POINT_COW))
			pt.kind = IMMURE_POINT_READ;
		at = moved(b->a, pt.path, m.src, m.path);
		if (at && is_covered(b, &m, at, n))
			continue;
		r = at ? add_like(b, &pt, at) : -IMMURE_ERR_NOMEM;
		if (r < 0)
			return r;
		b->points[b->points_n - 1].mount = b->points[b->points_n - 1].again = true;
		if (pt.rank == IMMURE_RANK_ALLOW)
			b->points[b->points_n - 1].src = pt.path;
	}
	return 0;
}

static int32_t own_binds(struct immure_compile *b)
{
	size_t n = b->points_n;

	for (size_t i = 0; i < n; i++) {
		const char *dst = b->points[i].path, *src = b->points[i].src;

		if (b->points[i].rank != IMMURE_RANK_ALLOW || !src || strcmp(src, dst) == 0)
			continue;
		if (b->points[i].mount) {
			int32_t r = below_target(b, &b->points[i], n);

			if (r < 0)
				return r;
			continue;
		}
		for (size_t k = 0; k < n; k++) {
			struct immure_point pt = b->points[k];
			const char *at;
			int32_t r;

			if (pt.rank < IMMURE_RANK_TABLE || pt.src ||
			    !immure_path_is_under(pt.path, src) ||
			    (pt.rank == IMMURE_RANK_ALLOW && strcmp(pt.path, src) == 0))
				continue;
			at = moved(b->a, pt.path, src, dst);
			r = at ? add_like(b, &pt, at) : -IMMURE_ERR_NOMEM;
			if (r < 0)
				return r;
			b->points[b->points_n - 1].through = dst;
			if (pt.rank == IMMURE_RANK_ALLOW)
				b->points[b->points_n - 1].src = pt.path;
		}
	}
	return 0;
}

int32_t immure_compile_aliases(struct immure_compile *b)
{
	size_t n = b->points_n;
	struct mounts all;

	if (b->a->failed || !find_mounts(b, &all))
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; all.shared_n && i < n; i++)
		if (b->points[i].kind == IMMURE_POINT_MASK ||
		    b->points[i].kind == IMMURE_POINT_READONLY) {
			int32_t r = cover(b, i, &all);

			if (r < 0)
				return r;
		}
	return own_binds(b);
}
