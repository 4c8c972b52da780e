/* SPDX-License-Identifier: Apache-2.0 */
/* The paths that the planner asks about, each once, and finding one of them again. */
#include "facts/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/sort.h"

void immure_facts_set_stat(struct immure_fact_path *p, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFDIR: p->type = 'd'; break;
	case S_IFREG: p->type = 'f'; break;
	case S_IFLNK: p->type = 'l'; break;
	case S_IFSOCK: p->type = 's'; break;
	case S_IFIFO: p->type = 'p'; break;
	case S_IFBLK: p->type = 'b'; break;
	case S_IFCHR: p->type = 'c'; break;
	default: p->errnum = EINVAL; break;
	}
	p->mode = st->st_mode & 07777;
	p->uid = st->st_uid;
	p->gid = st->st_gid;
	p->dev = st->st_dev;
	p->ino = st->st_ino;
	p->nlink = st->st_nlink;
}

static int compare_paths(const void *x, const void *y)
{
	const struct immure_fact_path *a = x, *b = y;

	return strcmp(a->path, b->path);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* ---- finding one again ----
 *
 * The planner looks up each of some hundred paths, most of them several times.
 * The index is a hash table with open addressing, at most half full: a slot is
 * the place in paths plus one, 0 = empty. */

/* Paths differ at their ends: the last sixteen bytes and the length. */
static uint32_t hash(const char *s)
{
	const uint64_t odd = 0x9e3779b97f4a7c15U;
	size_t n = strlen(s);
	uint64_t h = n * odd, w;

	if (n < 8) {
		for (; *s; s++)
			h = (h ^ (unsigned char)*s) * odd;
		return (uint32_t)(h >> 32);
	}
	memcpy(&w, s + n - 8, sizeof(w));
	h = (h ^ w) * odd;
	memcpy(&w, s + (n < 16 ? 0 : n - 16), sizeof(w));
	h = (h ^ h >> 29 ^ w) * odd;
	return (uint32_t)(h >> 32);
}

static void make_index(struct immure_facts *f)
{
	size_t slots = 64;

	f->path_index = NULL;
	if (f->paths_n > UINT16_MAX / 2)
		return;
	while (slots < 2 * f->paths_n)
		slots *= 2;
	f->path_index = immure_arena_alloc(&f->arena, slots * sizeof(*f->path_index));
	f->path_slots = slots;
	for (size_t i = 0; f->path_index && i < f->paths_n; i++) {
		size_t at = hash(f->paths[i].path) & (slots - 1);

		while (f->path_index[at])
			at = (at + 1) & (slots - 1);
		f->path_index[at] = (uint16_t)(i + 1);
	}
}

const struct immure_fact_path *immure_facts_path(const struct immure_facts *f, const char *path)
{
	struct immure_fact_path key = { .path = path };

	if (f->paths_n == 0)
		return NULL;
	if (!f->path_index)
		return bsearch(&key, f->paths, f->paths_n, sizeof(key), compare_paths);
	for (size_t at = hash(path);; at++) {
		unsigned int i = f->path_index[at & (f->path_slots - 1)];

		if (i == 0)
			return NULL;
		if (strcmp(f->paths[i - 1].path, path) == 0)
			return &f->paths[i - 1];
	}
}

static int32_t examine(struct immure_facts *f, const struct immure_strv *paths, bool own,
		       struct immure_error **err)
{
	struct immure_fact_path *all;
	struct immure_fact_path **anew;
	const void **sorted;
	size_t n = f->paths_n, out = 0, fresh = 0;

	for (size_t i = 0; !own && i < paths->n; i++) /* the planner's are */
		if (!immure_path_is_normal(paths->v[i]))
			return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "facts", paths->v[i],
					   "%s: not an absolute, normal path", paths->v[i]);
	n += paths->n;
	all = immure_arena_alloc(&f->arena, (n + 1) * sizeof(*all));
	sorted = immure_arena_alloc(&f->arena, 2 * (n + 1) * sizeof(*sorted));
	anew = immure_arena_alloc(&f->arena, (n + 1) * sizeof(*anew));
	if (!all || !sorted || !anew)
		goto oom;
	for (size_t i = 0; i < f->paths_n; i++)
		sorted[i] = f->paths[i].path;
	if (paths->n)
		memcpy(sorted + f->paths_n, paths->v, paths->n * sizeof(*sorted));
	immure_sort(sorted, n, sorted + n + 1, compare_strings);
	for (size_t i = 0; i < n; i++) {
		const struct immure_fact_path *known;

		if (out > 0 && strcmp(all[out - 1].path, sorted[i]) == 0)
			continue;
		known = immure_facts_path(f, sorted[i]);
		if (known) {
			all[out++] = *known;
			continue;
		}
		all[out].path = own ? sorted[i] : immure_arena_strdup(&f->arena, sorted[i]);
		if (!all[out].path)
			goto oom;
		anew[fresh++] = &all[out++];
	}
	immure_facts_resolve(&f->arena, anew, fresh);
	if (f->arena.failed)
		goto oom;
	f->paths = all;
	f->paths_n = out;
	make_index(f);
	if (f->arena.failed)
		goto oom;
	return 0;
oom:
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
}

int32_t immure_facts_examine(struct immure_facts *f, const struct immure_strv *paths,
			     struct immure_error **err)
{
	return examine(f, paths, false, err);
}

int32_t immure_facts_examine_own(struct immure_facts *f, const struct immure_strv *paths,
				 struct immure_error **err)
{
	return examine(f, paths, true, err);
}

const struct immure_fact_listing *immure_facts_listing(const struct immure_facts *f,
						       const char *path)
{
	for (size_t i = 0; i < f->listings_n; i++)
		if (strcmp(f->listings[i].path, path) == 0)
			return &f->listings[i];
	return NULL;
}
