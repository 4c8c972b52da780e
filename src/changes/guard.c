/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may not land, whatever the command put into its copy:
 *
 *  - what the plan protects or denies, there or not yet (the same patterns that a writable
 *    workspace is watched with), and whatever would take it away with a directory above it;
 *  - a repository that git would obey by any name, and its hooks and config;
 *  - what is no file, directory or link; set-id bits;
 *  - links that lead out of the tree.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fold.h"
#include "base/path.h"
#include "changes/changes.h"
#include "session/gitconfig.h"

enum { CONFIG_MAX = 256 << 10 };

struct rule {
	const char *pattern; /* below the workspace */
	const char *why;
	size_t depth;        /* components */
	bool anywhere, config_only;
};

struct immure_guard {
	const char *workspace;
	struct rule *v;
	size_t n;
	bool git;          /* the plan looks for repositories */
	bool configs;      /* harmless configs may be made */
};

static size_t components(const char *s)
{
	size_t n = 1;

	for (; *s; s++)
		n += *s == '/';
	return n;
}

static void add(struct immure_guard *g, const char *pattern, const char *why, bool anywhere, bool config_only)
{
	g->v[g->n++] = (struct rule){ pattern, why, components(pattern), anywhere, config_only };
}

/* The part below top; NULL when it is not below. */
static const char *below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && path[n] == '/' && path[n + 1] ? path + n + 1 : NULL;
}

static bool is_config(const char *pattern)
{
	return strcmp(pattern, ".git/config") == 0 || strcmp(pattern, ".git/config.worktree") == 0;
}

static void from_op(struct immure_guard *g, const struct immure_plan *p, const struct immure_op *op)
{
	const char *sub;
	bool allowed;

	switch (op->kind) {
	case IMMURE_OP_WATCH:
		allowed = op->flags & (IMMURE_OPF_ALLOWED | IMMURE_OPF_BUILD);
		if (is_config(op->dst) && op->flags & IMMURE_OPF_ANYWHERE) {
			g->git = true;
			g->configs = g->configs || (op->flags & IMMURE_OPF_ALLOWED);
		}
		sub = strcmp(op->src, p->workspace) == 0 ? "" : below(op->src, p->workspace);
		if (!sub || *sub || (allowed && !is_config(op->dst)))
			return;
		add(g, op->dst, "programs on the host obey it by themselves",
		    op->flags & IMMURE_OPF_ANYWHERE, allowed);
		return;
	case IMMURE_OP_PROTECT_LINK:
		sub = below(op->dst, p->workspace);
		if (sub && !(op->flags & IMMURE_OPF_ALLOWED))
			add(g, sub, "it leads to what is protected", false, false);
		return;
	case IMMURE_OP_READONLY:
	case IMMURE_OP_MASK:
	case IMMURE_OP_MASK_KEEP:
		sub = below(op->dst, immure_plan_inside(p));
		if (sub)
			add(g, sub, op->kind == IMMURE_OP_READONLY ? "it is protected" :
								    "the policy denies it", false, false);
		return;
	default:
		return;
	}
}

struct immure_guard *immure_guard_new(struct immure_arena *a, const struct immure_plan *p)
{
	struct immure_guard *g = immure_arena_alloc(a, sizeof(*g));

	if (!g)
		return NULL;
	g->workspace = p->workspace;
	g->v = immure_arena_alloc(a, (p->ops_n + 2) * sizeof(*g->v));
	if (!g->v)
		return NULL;
	for (size_t i = 0; i < p->ops_n; i++)
		from_op(g, p, &p->ops[i]);
	/* A policy of the workspace's own, whatever the plan says. */
	add(g, ".immure", "it is a policy of this program's", false, false);
	return g;
}

/* One component against one of a pattern, in which a "*" may begin it. Whatever the case:
 * there are file systems on which git finds a .GIT. */
static bool is_like(const char *name, size_t n, const char *pattern, size_t m)
{
	char own[IMMURE_FOLD_NAME], folded[IMMURE_FOLD_NAME];

	if (n >= sizeof(own))
		return false; /* no file has such a name */
	memcpy(own, name, n);
	own[n] = '\0';
	name = immure_fold_name(own, folded);
	n = strlen(name);
	if (m > 0 && pattern[0] == '*') {
		pattern++;
		m--;
		return n >= m && strncasecmp(name + n - m, pattern, m) == 0;
	}
	return n == m && strncasecmp(name, pattern, m) == 0;
}

/* How pattern and path meet when both begin at the same place: path is the pattern's or
 * below it (1), above it (-1), or neither (0). */
static int meet(const char *path, const char *pattern)
{
	for (;;) {
		size_t n = strcspn(path, "/"), m = strcspn(pattern, "/");

		if (!is_like(path, n, pattern, m))
			return 0;
		if (!pattern[m])
			return 1;
		if (!path[n])
			return -1;
		path += n + 1;
		pattern += m + 1;
	}
}

/* What is no directory and would stand where a pattern has one leads on, if it is a link, to
 * what is found by the pattern's name. But a repository is known by what is in it. */
static bool leads_on(const struct rule *r, const char *path)
{
	return meet(path, r->pattern) < 0 && (strchr(path, '/') || strncmp(r->pattern, ".git/", 5) != 0);
}

static bool matches(const struct rule *r, const char *path, bool removed, bool leads)
{
	int how = meet(path, r->pattern);

	if (how > 0 || (how < 0 && removed && !r->anywhere) || (leads && leads_on(r, path)))
		return true;
	for (const char *c = path; r->anywhere && (c = strchr(c, '/')); )
		if (meet(++c, r->pattern) > 0 || (leads && leads_on(r, c)))
			return true;
	return false;
}

static bool harmless(int dir, const char *name, size_t depth)
{
	struct stat st;
	IMMURE_CLEANUP_FD int fd = dir < 0 ? -1 : immure_content_open(dir, name, &st);
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;

	return fd >= 0 && immure_read_all(fd, CONFIG_MAX, &text, &len) == 0 &&
	       immure_gitconfig_harmless(text, len, depth);
}

const char *immure_guard_path(const struct immure_guard *g, const char *path, bool removed, int dir_fd,
			      const char *name, size_t depth)
{
	struct stat st;
	bool leads = dir_fd >= 0 && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);

	for (size_t i = 0; i < g->n; i++) {
		const struct rule *r = &g->v[i];

		if (!matches(r, path, removed, leads))
			continue;
		if (r->config_only && (dir_fd < 0 || harmless(dir_fd, name, depth)))
			continue;
		return r->why;
	}
	return NULL;
}

void immure_guard_see(struct immure_guard_repo *r, const char *name)
{
	char folded[IMMURE_FOLD_NAME];

	name = immure_fold_name(name, folded);
	r->head = r->head || strcasecmp(name, "HEAD") == 0;
	r->objects = r->objects || strcasecmp(name, "objects") == 0;
	r->refs = r->refs || strcasecmp(name, "refs") == 0;
	r->commondir = r->commondir || strcasecmp(name, "commondir") == 0;
}

/* Those that are called .git have patterns of their own. */
const char *immure_guard_repo(const struct immure_guard *g, const struct immure_guard_repo *r,
			      const char *dir_name, const char *name)
{
	static const char *const obeyed[] = { "config", "config.worktree", "hooks", "HEAD", "commondir" };
	char folded[IMMURE_FOLD_NAME];

	if (!g->git || !r->head || !((r->objects && r->refs) || r->commondir) ||
	    strcmp(dir_name, ".git") == 0)
		return NULL;
	for (size_t i = 0; i < sizeof(obeyed) / sizeof(obeyed[0]); i++)
		if (strcasecmp(immure_fold_name(name, folded), obeyed[i]) == 0)
			return "git would obey it as a repository";
	return NULL;
}

/* ".." only at the beginning: after a name it would count from wherever that name, which may
 * be a link itself, leads. */
static const char *relative_link(const char *text, size_t depth)
{
	bool names = false;

	while (*text) {
		size_t n = strcspn(text, "/");

		if (n == 2 && text[0] == '.' && text[1] == '.') {
			if (names)
				return "a link that leads up again";
			if (depth-- == 0)
				return "a link that leads out of the workspace";
		} else if (n > 0 && !(n == 1 && text[0] == '.')) {
			names = true;
		}
		text += n;
		while (*text == '/')
			text++;
	}
	return NULL;
}

const char *immure_guard_link(const struct immure_guard *g, const char *text, size_t depth)
{
	if (!*text)
		return "a link to nothing";
	if (text[0] != '/')
		return relative_link(text, depth);
	return immure_path_is_normal(text) && immure_path_is_under(text, g->workspace) ?
		       NULL : "a link that leads out of the workspace";
}

const char *immure_guard_stat(const struct stat *st, bool parent_setgid)
{
	if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode))
		return "a device";
	if (S_ISFIFO(st->st_mode))
		return "a pipe";
	if (S_ISSOCK(st->st_mode))
		return "a socket";
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode))
		return "of no known type";
	if (S_ISLNK(st->st_mode))
		return NULL;
	if (st->st_mode & S_ISUID)
		return "set-user-id";
	if (st->st_mode & S_ISGID && !(S_ISDIR(st->st_mode) && parent_setgid))
		return "set-group-id";
	return NULL;
}
