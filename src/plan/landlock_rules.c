/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files without mounts: what a tree of points means as Landlock rules.
 *
 * A rule grants below a path and nothing takes away again, so a denial inside
 * something allowed is made of its complement: the directory is not granted,
 * each of its other entries is. Three kinds of rights are laid out side by side,
 * because what divides one need not divide the others: a masked file does not
 * stop its directory from being listed, a protected one not from being read.
 *
 * At a directory, for each kind that is still open on the way down:
 *
 *	the same for all below     one rule here (or none), and the kind is settled
 *	allowed here, not below    every other entry gets a rule, as it was when
 *	                           the facts were gathered; a new one has none
 *	denied here, not below     only what is named below is looked at
 */
#include <string.h>

#include "base/path.h"
#include "kernel/landlock.h"
#include "plan/bare.h"

enum kind { FILES = 1, LISTS = 2, WRITES = 4 };

/* More is a refusal: each is work for the kernel at every start. */
enum { RULES_MAX = 2048, DEPTH_MAX = 256 };

struct mark {
	const char *path, *key;
	size_t len;
	unsigned int allow; /* enum kind */
	bool file, optional;
	bool withheld; /* its surroundings are allowed more */
};

struct layout {
	struct immure_compile *b;
	struct mark *marks;
	size_t n;
	struct immure_strv *dirs; /* collecting what must be listed; NULL = laying out */
	struct immure_arena *into;
	uint64_t fs;              /* what this ABI has */
	size_t rules;
	const char *split;        /* the first writable place in which nothing new can be made */
	const char *split_for;
};

static const char KEY_VIEW[] = "files.view";

static bool is_below(const struct mark *m, const char *dir, size_t len)
{
	return m->len > len && strncmp(m->path, dir, len) == 0 && m->path[len] == '/';
}

/* What holds at a path: its own mark, or that of the nearest place above. */
static const struct mark *mark_of(const struct layout *l, const char *path)
{
	const struct mark *ret = &l->marks[0];

	for (size_t i = 1; i < l->n; i++)
		if (immure_path_is_under(path, l->marks[i].path))
			ret = &l->marks[i]; /* sorted: the later is the deeper */
	return ret;
}

/* What a point means without mounts; false: nothing. */
static bool meaning(const struct layout *l, const struct immure_point *pt, unsigned int *ret)
{
	const struct immure_fact_path *s;

	/* Links stay what they are on the host, and lead where they lead there. */
	if (pt->through || (pt->src && pt->kind != IMMURE_POINT_TEXT && strcmp(pt->src, pt->path) != 0))
		return false;
	switch ((enum immure_point_kind)pt->kind) {
	case IMMURE_POINT_PIN: /* what is not granted to its parent cannot be moved */
	case IMMURE_POINT_SYMLINK:
		return false;
	case IMMURE_POINT_READONLY:
		*ret = FILES | LISTS;
		return mark_of(l, pt->path)->allow & WRITES;
	case IMMURE_POINT_READ:
	case IMMURE_POINT_COW: /* a gap here */
	case IMMURE_POINT_TEXT: /* the host's own file of that name */
		*ret = FILES | LISTS;
		return true;
	case IMMURE_POINT_WRITE:
		*ret = FILES | LISTS | WRITES;
		return true;
	case IMMURE_POINT_MASK:
		*ret = 0;
		s = immure_facts_path(l->b->f, pt->path);
		if (s && s->closed)
			return false; /* by its mode, for whoever the command is */
		return !(pt->rank == IMMURE_RANK_TABLE && strcmp(pt->key, IMMURE_BARE_SOCKETS) == 0);
	case IMMURE_POINT_TMPFS: /* private areas: what is there is the host's */
	case IMMURE_POINT_DEV:
	case IMMURE_POINT_PROC:
	case IMMURE_POINT_SYSFS:
	case IMMURE_POINT_SYS:
		*ret = 0;
		return true;
	}
	return false;
}

static bool make_marks(struct layout *l)
{
	struct immure_compile *b = l->b;
	bool host = b->p->view == IMMURE_VIEW_HOST;

	l->marks = immure_arena_alloc(b->a, (b->points_n + 1) * sizeof(*l->marks));
	if (!l->marks)
		return false;
	l->marks[l->n++] = (struct mark){ .path = "/", .key = KEY_VIEW,
					  .allow = host ? FILES | LISTS : 0 };
	for (size_t i = 0; i < b->points_n; i++) {
		const struct immure_point *pt = &b->points[i];
		unsigned int allow = 0, around;

		if (strcmp(pt->path, "/") == 0 || !meaning(l, pt, &allow))
			continue;
		around = mark_of(l, pt->path)->allow;
		l->marks[l->n++] = (struct mark){
			.path = pt->path, .key = pt->key, .len = strlen(pt->path), .allow = allow,
			.file = pt->file, .optional = pt->optional || pt->kind != IMMURE_POINT_READONLY,
			/* landlock_plan.c grants reading it */
			.withheld = pt->kind != IMMURE_POINT_PROC && (around & ~allow & (FILES | WRITES)),
		};
	}
	return true;
}

static uint64_t rights_of(const struct layout *l, unsigned int kinds, bool device)
{
	const uint64_t reading = IMMURE_LANDLOCK_FS_EXECUTE | IMMURE_LANDLOCK_FS_READ_FILE;
	uint64_t r = 0;

	if (kinds & FILES)
		r |= immure_compile_listed(l->b) ? IMMURE_LANDLOCK_FS_READ_FILE : reading;
	if (kinds & LISTS)
		r |= IMMURE_LANDLOCK_FS_READ_DIR;
	if (kinds & WRITES)
		r |= l->fs & ~(reading | IMMURE_LANDLOCK_FS_READ_DIR | IMMURE_LANDLOCK_FS_MAKE_CHAR |
			       IMMURE_LANDLOCK_FS_MAKE_BLOCK |
			       (device ? 0 : IMMURE_LANDLOCK_FS_IOCTL_DEV));
	return r;
}

static int32_t add_rule(struct layout *l, const char *path, unsigned int kinds, char type,
			bool optional, const char *key)
{
	uint64_t rights = rights_of(l, kinds, immure_path_is_under(path, "/dev"));
	struct immure_op *op;

	if (type && type != 'd')
		rights &= IMMURE_LANDLOCK_FS_ON_FILE;
	if (!rights || l->dirs)
		return 0;
	if (++l->rules > RULES_MAX)
		return immure_compile_refuse(l->b, "backend", "more than %d rules are needed to leave "
					     "out what is denied", RULES_MAX);
	op = immure_compile_op(l->b, IMMURE_OP_LANDLOCK_RULE, NULL, path, key);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = rights;
	op->flags = optional ? IMMURE_OPF_OPTIONAL : 0u;
	return 0;
}

/* The kinds that are the same at everything from marks[lo] to marks[hi). */
static unsigned int settled(const struct layout *l, size_t lo, size_t hi, unsigned int here,
			    unsigned int open)
{
	for (size_t i = lo; i < hi && open; i++) {
		unsigned int differs = (l->marks[i].allow ^ here) & open;

		if (l->marks[i].file)
			differs &= ~(unsigned int)LISTS;
		open &= ~differs;
	}
	return open;
}

/* Whether one of the marks, all of them below dir, is that entry of it or below that. Their
 * common beginning, of len bytes with its slash, is not looked at again. */
static bool leads_to_mark(const struct layout *l, size_t lo, size_t hi, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (size_t k = lo; k < hi; k++) {
		const char *rest = l->marks[k].path + len;

		if (rest[0] == name[0] && strncmp(rest, name, n) == 0 && (rest[n] == '/' || !rest[n]))
			return true;
	}
	return false;
}

static int32_t siblings(struct layout *l, const char *dir, size_t lo, size_t hi, unsigned int kinds,
			const char *key)
{
	const struct immure_fact_listing *list = immure_facts_listing(l->b->f, dir);
	size_t len = strcmp(dir, "/") == 0 ? 1 : strlen(dir) + 1;

	if (l->dirs)
		return immure_strv_add(l->into, l->dirs, immure_arena_strdup(l->into, dir)) ? 0 :
											     -IMMURE_ERR_NOMEM;
	if (!list) {
		immure_compile_gap(l->b, true, "backend", "file_read",
				   immure_arena_printf(l->b->a, "%s was not listed, so nothing in it "
						       "can be left out", dir),
				   "name the backend: --backend landlock");
		return 0;
	}
	if (list->truncated)
		return immure_compile_refuse(l->b, key, "%s has too many entries to leave some out: a "
					     "denial inside it cannot be enforced by Landlock", dir);
	for (size_t i = 0; i < list->n; i++) {
		const char *name = list->entries[i].name, *path;
		int32_t r;

		if (list->entries[i].type == 'l' || leads_to_mark(l, lo, hi, len, name))
			continue;
		path = immure_compile_join(l->b->a, dir, name);
		if (!path)
			return -IMMURE_ERR_NOMEM;
		r = add_rule(l, path, kinds, list->entries[i].type, true, key);
		if (r < 0)
			return r;
	}
	return 0;
}

static int32_t lay(struct layout *l, const char *path, size_t lo, size_t hi, struct mark here,
		   unsigned int open, unsigned int depth);

/* Goes into each entry of dir on the way to a mark. */
static int32_t children(struct layout *l, const char *dir, size_t lo, size_t hi, struct mark here,
			unsigned int open, unsigned int depth)
{
	size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	for (size_t i = lo, next; i < hi; i = next) {
		const char *rest = l->marks[i].path + len + 1;
		size_t n = strcspn(rest, "/");
		const char *path = immure_arena_strndup(l->b->a, l->marks[i].path, len + 1 + n);
		struct mark at = here;
		size_t from = i;
		int32_t r;

		if (!path)
			return -IMMURE_ERR_NOMEM;
		at.path = path;
		at.file = false;
		if (rest[n] == '\0')
			at = l->marks[from++];
		for (next = from; next < hi && is_below(&l->marks[next], path, len + 1 + n); next++)
			;
		r = lay(l, path, from, next, at, open, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static int32_t lay(struct layout *l, const char *path, size_t lo, size_t hi, struct mark here,
		   unsigned int open, unsigned int depth)
{
	unsigned int done = settled(l, lo, hi, here.allow, open);
	int32_t r = 0;

	if (depth == DEPTH_MAX)
		return immure_compile_refuse(l->b, "files", "paths are nested more than %d deep",
					     DEPTH_MAX);
	if (done & here.allow)
		r = add_rule(l, path, done & here.allow, here.file ? 'f' : 0,
			     !(here.allow & WRITES), here.key);
	open &= ~done;
	if (r < 0 || !open)
		return r;
	if ((open & here.allow & WRITES) && !l->split) {
		l->split = path;
		l->split_for = l->marks[lo].path;
	}
	if (open & here.allow)
		r = siblings(l, path, lo, hi, open & here.allow, here.key);
	return r < 0 ? r : children(l, path, lo, hi, here, open, depth);
}

static int32_t lay_all(struct layout *l)
{
	if (!make_marks(l))
		return -IMMURE_ERR_NOMEM;
	return lay(l, "/", 1, l->n, l->marks[0], FILES | LISTS | WRITES, 0);
}

int32_t immure_bare_dirs(struct immure_compile *b, struct immure_arena *a, struct immure_strv *ret)
{
	struct layout l = { .b = b, .dirs = ret, .into = a };

	return lay_all(&l);
}

/* Says it, so that it can be read, looked at when it is in force, and attacked. */
static int32_t withhold(struct immure_compile *b, const struct mark *m)
{
	struct immure_op *op = immure_compile_op(b, IMMURE_OP_WITHHELD, NULL, m->path, m->key);

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->flags = (m->allow & FILES ? IMMURE_OPF_RO : 0u) | (m->optional ? IMMURE_OPF_OPTIONAL : 0u) |
		    (m->file ? IMMURE_OPF_FILE : 0u);
	return 0;
}

int32_t immure_bare_rules(struct immure_compile *b, uint64_t fs)
{
	struct layout l = { .b = b, .fs = fs };
	int32_t r = lay_all(&l);

	for (size_t i = 1; r == 0 && i < l.n; i++)
		r = l.marks[i].withheld ? withhold(b, &l.marks[i]) : 0;
	if (r == 0 && l.split)
		immure_compile_gap(b, false, "workspace.mode", "file_create",
				   immure_arena_printf(b->a, "nothing new can be made in %s itself, "
						       "because %s is kept from being changed or read",
						       l.split, l.split_for),
				   "another backend, or approve it: require.downgrade: file_create");
	return r;
}

bool immure_bare_visible(struct immure_compile *b, const char *path)
{
	struct layout l = { .b = b };

	return make_marks(&l) && mark_of(&l, path)->allow & FILES;
}
