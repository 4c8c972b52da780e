/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must not be read: the policy's denials, the table of sensitive paths,
 * the host's sockets, and our own state, which no word of a policy uncovers.
 *
 * A mask is a mount, so it needs something to stand on. A path that is absent
 * outside writable areas cannot be made by the command, so nothing is needed;
 * the host could make it while the command runs, and then it is as visible as
 * its surroundings. Inside a writable area the command could make it: that is
 * watched, so that what it planted there does not stay.
 */
#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static int32_t mask(struct immure_compile *b, enum immure_rank rank, const char *path, bool file,
		    bool optional, const char *key)
{
	struct immure_point *pt = immure_compile_point(b, IMMURE_POINT_MASK, rank, path, key);

	if (!pt)
		return -IMMURE_ERR_NOMEM;
	pt->file = file;
	pt->optional = optional;
	return 0;
}

/* Watches for something that a denial names and that is not there yet. */
static int32_t watch(struct immure_compile *b, const char *path, const char *key)
{
	const struct immure_root *in = immure_compile_root(b, path);

	if (!in || in->file || strcmp(path, in->real) == 0)
		return 0;
	if (immure_compile_watch(b, in->real, path + strlen(in->real) + 1, 0, key) < 0)
		return -IMMURE_ERR_NOMEM;
	b->denied_n = b->later_n;
	return 0;
}

int32_t immure_compile_watch(struct immure_compile *b, const char *dir, const char *sub,
			     uint32_t flags, const char *key)
{
	size_t n = strlen(dir);
	const struct immure_root *in = immure_compile_root(b, dir);
	struct immure_later *op;

	for (size_t i = 0; i < b->ours.n; i++) {
		const char *o = b->ours.v[i];

		if (strncmp(o, dir, n) == 0 && o[n] == '/' && strcmp(o + n + 1, sub) == 0)
			return 0; /* masked, and made by us if need be */
	}
	for (size_t i = 0; i < b->denied_n; i++)
		if (strcmp(b->later[i].dst, sub) == 0 && strcmp(b->later[i].src, dir) == 0)
			return 0;
	op = immure_compile_later(b, IMMURE_OP_WATCH, dir, sub, key);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->flags = flags | (in && in->cow ? IMMURE_OPF_KEPT : 0u);
	return 0;
}

/* The real path of something absent, as far as the home's own links go. */
static const char *where(struct immure_compile *b, const char *path)
{
	const char *home = b->f->home;

	if (!home || !b->home || strcmp(home, b->home) == 0 || strcmp(home, path) == 0 ||
	    !immure_path_is_under(path, home))
		return path;
	return immure_compile_join(b->a, b->home, path + strlen(home) + (strlen(home) > 1));
}

/* Could be seen were it not masked. What the policy's own words say is not all:
 * a link among them may lead here. */
static bool may_be_shown(const struct immure_compile *b, const struct immure_strv *shown,
			 const char *path)
{
	if (b->p->view == IMMURE_VIEW_HOST &&
	    !(b->p->home == IMMURE_HOME_EMPTY && b->home && immure_path_is_under(path, b->home)))
		return true;
	for (size_t i = 0; i < shown->n; i++) {
		const char *s = shown->v[i];

		/* Some hundred paths meet some ten places: most differ in the first letter. */
		if ((!s[1] || s[1] == path[1]) && immure_path_is_under(path, s))
			return true;
	}
	return false;
}

/* What the policy shows, looked for once: some hundred paths are held against it. */
static bool shown_places(struct immure_compile *b, struct immure_strv *ret)
{
	for (size_t i = 0; i < b->points_n; i++) {
		const struct immure_point *pt = &b->points[i];

		if ((pt->kind == IMMURE_POINT_READ || pt->kind == IMMURE_POINT_WRITE ||
		     pt->kind == IMMURE_POINT_COW) &&
		    (!immure_strv_add(b->a, ret, pt->path) ||
		     (pt->src && !immure_strv_add(b->a, ret, pt->src))))
			return false;
	}
	return true;
}

/* The same bytes under another name, which no mask finds. */
static void linked_elsewhere(struct immure_compile *b, const struct immure_fact_path *s,
			     const char *key)
{
	struct immure_strv shown = { 0 };

	if (s->type == 'f' && s->nlink > 1 && shown_places(b, &shown) && may_be_shown(b, &shown, s->real))
		immure_compile_gap(b, false, key, "secret_read",
				   immure_arena_printf(b->a, "%s has %llu hard links: it could be "
						       "read through another name", s->real,
						       (unsigned long long)s->nlink),
				   "break the links by copying it over itself, or approve it: "
				   "require.downgrade");
}

/* Other file systems stand here inside; not all is there that the host has. */
static bool is_replaced(const char *path)
{
	return immure_path_is_under(path, "/proc") || immure_path_is_under(path, "/sys");
}

static int32_t deny(struct immure_compile *b, enum immure_rank rank, const char *path,
		    const char *key)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, path);

	if (!s) /* not asked for, because the view hides its surroundings */
		return mask(b, rank, path, false, true, key);
	/* A mount stands on one name; the content's other names stay readable. */
	if (s->real && s->type == 'f' && s->nlink > 1)
		immure_compile_gap(b, false, key, "secret_read",
				 immure_arena_printf(b->a, "%s has %llu hard links: it could be read "
						     "through another name", path,
						     (unsigned long long)s->nlink),
				 "break the links: copy the file over itself");
	if (s->real) {
		int32_t r = mask(b, rank, s->real, s->type != 'd', is_replaced(s->real), key);

		linked_elsewhere(b, s, key);
		/* Moved away with its parent it would stay masked, and its place
		 * would be free for something that the host believes. */
		return r < 0 ? r : immure_compile_pins(b, s->real, key);
	}
	if (!s->errnum) {
		path = where(b, path);
		return path ? watch(b, path, key) : -IMMURE_ERR_NOMEM;
	}
	/* We cannot look, so neither can the command, unless it owns the
	 * directory in the way and may change it. */
	if (s->errnum == EACCES && !immure_compile_writable(b, path))
		return 0;
	if (rank == IMMURE_RANK_TABLE && !immure_compile_writable(b, path))
		return mask(b, rank, path, true, true, key);
	return immure_compile_refuse(b, key, "%s: cannot be examined", path);
}

static int32_t denied(struct immure_compile *b)
{
	for (size_t i = 0; i < b->p->deny.n; i++) {
		const char *path = immure_compile_path(b->a, b->p, b->f, b->p->deny.v[i]);
		const char *outside;
		int32_t r;

		if (immure_compile_awaits(b, b->p->deny.v[i]))
			continue;
		if (!path)
			return immure_compile_refuse(b, "files.deny", "%s: cannot be made absolute",
						   b->p->deny.v[i]);
		if (strcmp(path, "/") == 0)
			return immure_compile_refuse(b, "files.deny", "the whole file system cannot be denied");
		/* A path inside that is another on the host: that one is meant as well. */
		outside = immure_compile_outside(b->a, b->p, b->f, path);
		r = outside ? deny(b, IMMURE_RANK_DENY, outside, "files.deny") : 0;
		if (r == 0)
			r = deny(b, IMMURE_RANK_DENY, path, "files.deny");
		/* What an image has there, whatever the host has. */
		if (r == 0 && b->p->view == IMMURE_VIEW_IMAGE)
			r = mask(b, IMMURE_RANK_DENY, path, false, true, "files.deny");
		if (r < 0)
			return r;
		/* The workspace itself denied leaves nothing to run in. */
		if (b->workspace && strcmp(path, b->workspace) == 0)
			return immure_compile_refuse(b, "files.deny", "%s is the workspace", path);
	}
	return 0;
}

static int32_t sensitive(struct immure_compile *b)
{
	struct immure_strv shown = { 0 };

	if (!shown_places(b, &shown))
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < immure_sensitive_paths_n; i++) {
		const char *path = immure_sensitive_paths[i].path;
		const struct immure_fact_path *s;
		int32_t r;

		if (path[0] == '~')
			path = b->f->home ? immure_compile_join(b->a, b->f->home, path + 2) : NULL;
		s = path ? immure_facts_path(b->f, path) : NULL;
		if (!s && path && !may_be_shown(b, &shown, where(b, path)))
			continue;
		if (!path)
			continue;
		if (s && s->real && b->workspace && strcmp(s->real, b->workspace) == 0) {
			(void)immure_compile_refuse(b, "workspace.path", "%s is a place of secrets",
						  s->real);
			immure_compile_hint(b, "start elsewhere, or turn files.sensitive off");
			return -IMMURE_ERR_POLICY;
		}
		r = deny(b, IMMURE_RANK_TABLE, path, "files.sensitive");
		if (r < 0)
			return r;
	}
	return 0;
}

/* A read-only mount does not stop connect(2). A socket is left open only to a
 * policy that names exactly its path, in network.sockets or in a list of files: then an
 * allow stands at that path, and tree.c lets it win; or that lends all of its directory. */
static int32_t sockets(struct immure_compile *b)
{
	for (size_t i = 0; i < b->f->sockets.n; i++) {
		const char *path = b->f->sockets.v[i];
		const struct immure_fact_path *s;
		int32_t r = 0;

		/* A relative address tells nothing about where it lies, and one through
		 * somebody's descriptor neither: /proc/self is another inside. */
		if (!immure_path_is_normal(path) || strcmp(path, "/") == 0 ||
		    immure_path_is_under(path, "/proc"))
			continue;
		/* Nor does one bound through a descriptor, whose name there is gone. */
		if (immure_path_is_under(path, "/proc"))
			continue;
		s = immure_facts_path(b->f, path);
		if (immure_compile_lent(b, s && s->real ? s->real : path))
			continue;
		if (!s)
			r = mask(b, IMMURE_RANK_TABLE, path, true, true, "ipc (always)");
		else if (s->real && s->type == 's')
			r = mask(b, IMMURE_RANK_TABLE, s->real, true, true, "ipc (always)");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Our own directories. One that is missing where the command could make it
 * must not be made by the command: what lies there is trusted later. */
static int32_t control_plane(struct immure_compile *b)
{
	const char *const dirs[] = { b->f->runtime_dir, b->f->state_dir, b->f->config_dir };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		const struct immure_fact_path *s = dirs[i] ? immure_facts_path(b->f, dirs[i]) : NULL;
		const char *path = dirs[i];
		int32_t r;

		if (!path)
			continue;
		if (s && s->errnum) {
			r = deny(b, IMMURE_RANK_OURS, path, "(always)");
			if (r < 0)
				return r;
			continue;
		}
		path = s && s->real ? s->real : where(b, path);
		if (!path || !immure_strv_add(b->a, &b->ours, path))
			return -IMMURE_ERR_NOMEM;
		if (!immure_compile_writable(b, path)) {
			r = s && !s->real ? 0 : mask(b, IMMURE_RANK_OURS, path, false, !s,
						     "(always)");
		} else {
			if (s && !s->real &&
			    !immure_compile_op(b, IMMURE_OP_OWN_DIR, NULL, path, "(always)"))
				return -IMMURE_ERR_NOMEM;
			r = immure_compile_pins(b, path, "(always)");
			if (r == 0)
				r = mask(b, IMMURE_RANK_OURS, path, false, false, "(always)");
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* File systems that are doors to the kernel or to every process on the host. The
 * usual places have been replaced; a chroot or a container's tree has more. */
static bool is_kernels(const char *fstype)
{
	static const char *const types[] = {
		"binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "efivarfs",
		"fusectl", "mqueue", "nfsd", "proc", "pstore", "resctrl", "rpc_pipefs", "securityfs",
		"selinuxfs", "smackfs", "sysfs", "tracefs",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (fstype[0] == types[i][0] && strcmp(fstype, types[i]) == 0)
			return true;
	return false;
}

bool immure_compile_kernels(const struct immure_compile *b, const char *path)
{
	const struct immure_fact_mount *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < b->f->mounts_n; i++) {
		const struct immure_fact_mount *m = &b->f->mounts[i];
		size_t len = strlen(m->target);

		if ((!best || len >= best_len) && immure_path_is_under(path, m->target)) {
			best = m;
			best_len = len;
		}
	}
	return best && is_kernels(best->fstype);
}

static int32_t kernel_mounts(struct immure_compile *b)
{
	static const char *const replaced[] = { "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < b->f->mounts_n; i++) {
		const struct immure_fact_mount *m = &b->f->mounts[i];
		bool there = m->fstype && is_kernels(m->fstype) && immure_path_is_normal(m->target) &&
			     strcmp(m->target, "/") != 0;
		int32_t r;

		for (size_t k = 0; there && k < sizeof(replaced) / sizeof(replaced[0]); k++)
			there = !immure_path_is_under(m->target, replaced[k]);
		r = there ? mask(b, IMMURE_RANK_OURS, m->target, false, true, "(always)") : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int32_t immure_compile_masks(struct immure_compile *b)
{
	int32_t r;

	r = control_plane(b); /* first: the others must know these places */
	if (r == 0)
		r = kernel_mounts(b);
	if (r == 0)
		r = denied(b);
	if (r == 0 && b->p->sensitive)
		r = sensitive(b);
	return r < 0 ? r : sockets(b);
}
