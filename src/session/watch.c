/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kinds of watched names. One at a known place did not exist when the plan
 * was made: if it exists now it was created. One that matches anywhere is
 * looked for in the whole tree; it counts as created when its change time is not
 * older than the session. A command cannot set that one, and writing, linking
 * and renaming all change it. One that is older in a directory that may have got
 * its name meanwhile is reported.
 *
 * Repositories are looked for as well, by what they hold and not by their name:
 * git takes any directory for one that has HEAD, objects and refs, so a config
 * or a hook there is obeyed as soon as somebody's shell prompt asks git for the
 * branch. A new config is left alone when it is harmless (gitconfig.h).
 *
 * The walk opens directories one below the other with O_NOFOLLOW. Nothing inside
 * runs any more, so what it sees stays.
 */
#include "session/watching.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fold.h"
#include "base/names.h"
#include "base/path.h"
#include "kernel/dirset.h"
#include "kernel/mount.h"
#include "session/quarantine.h"

enum { WALK_ENTRIES = 2000000, PLACE_ENTRIES = 4000, TOLD_MAX = 50 };

bool immure_watch_touched(int dir, const char *name, const struct timespec *since)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false; /* gone again */
	/* Old ext4 counts whole seconds, FAT pairs of them. */
	if (st.st_ctim.tv_nsec == 0 && st.st_ctim.tv_sec + 1 >= since->tv_sec)
		return true;
	return st.st_ctim.tv_sec > since->tv_sec ||
	       (st.st_ctim.tv_sec == since->tv_sec && st.st_ctim.tv_nsec >= since->tv_nsec);
}

/* in_dir: the pattern is about the directory's name too, so a new name of the
 * directory counts. That changes it and the one it is in; much else does as well. */
static enum immure_age age_of(int dir, const char *name, bool in_dir, const struct timespec *since)
{
	if (immure_watch_touched(dir, name, since))
		return IMMURE_AGE_CREATED;
	return in_dir && immure_watch_touched(dir, ".", since) && immure_watch_touched(dir, "..", since)
		       ? IMMURE_AGE_BROUGHT : IMMURE_AGE_OLD;
}

static void found(struct immure_walk *w, int dir, const char *name, const char *path,
		  const struct immure_op *op, enum immure_age age, bool allowed)
{
	const char *action = "reported";
	char to[PATH_MAX + 256] = "";
	int r = 0;

	if (age == IMMURE_AGE_CREATED && !allowed) {
		r = w->state_dir ? immure_quarantine_move(dir, name, w->state_dir, to, sizeof(to))
				 : -ENOENT;
		action = r < 0 ? "failed" : "quarantined";
		/* In the tree still, but under a name that nobody obeys. */
		if (r < 0 && immure_quarantine_rename(dir, name, to, sizeof(to)) == 0) {
			action = "renamed";
			r = 0;
		}
	}
	if (!immure_result_add_found(w->result, path, op->dst, action, r < 0 ? "" : to))
		immure_result_notice(w->result, "out of memory while recording what was left in the tree");
	if (allowed)
		return; /* in the record; not worth a line each time */
	if (++w->told > TOLD_MAX) { /* there may be as many as the command liked */
		if (w->told == TOLD_MAX + 1)
			immure_result_notice(w->result, "more was found than is told here; the record "
					     "has it (--result)");
		return;
	}
	if (r < 0)
		immure_result_notice(w->result, "%s: created by the command, the host would obey it, and "
				     "it could not be moved away: %s; remove it", path, strerror(-r));
	else if (age == IMMURE_AGE_CREATED)
		immure_result_notice(w->result, "%s: created by the command, the host would obey it; moved "
				     "to %s%s", path, to,
				     strcmp(op->dst, ".immure") == 0 ? "" :
				     " (allow it with files.created)");
	else
		immure_result_notice(w->result, "%s: the host obeys it, and the command may have moved it "
				     "there", path);
}

static bool is_allowed(const struct immure_op *op)
{
	return op->flags & (IMMURE_OPF_ALLOWED | IMMURE_OPF_BUILD);
}

/* ---- known places ---- */

/* The entry that stands at a watched name, or the first component on the way
 * that became something else than a directory: a link planted there leads the
 * host's programs on just as well. Returns the directory that holds it. */
static int find_place(int root, const char *rel, char *path, size_t at, const char **ret_name)
{
	int dir = fcntl(root, F_DUPFD_CLOEXEC, 10);

	while (dir >= 0) {
		size_t n = strcspn(rel, "/");
		struct stat st;
		int next;

		memcpy(path + at, rel, n);
		path[at + n] = '\0';
		*ret_name = path + at;
		if (fstatat(dir, path + at, &st, AT_SYMLINK_NOFOLLOW) < 0)
			break;
		if (rel[n] == '\0' || S_ISLNK(st.st_mode))
			return dir;
		next = openat(dir, path + at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			break;
		immure_close(&dir);
		dir = next;
		path[at + n] = '/';
		at += n + 1;
		rel += n + 1;
	}
	immure_close(&dir);
	return -1;
}

struct place_root {
	const char *path; /* NULL: none yet */
	int fd;
	struct immure_dirset names;
};

/* Watched names of one directory stand together in the plan: it is opened and
 * read once for all of them. */
static void enter_root(struct place_root *root, const char *path)
{
	if (root->path && strcmp(root->path, path) == 0)
		return;
	immure_close(&root->fd);
	memset(&root->names, 0, sizeof(root->names));
	root->path = path;
	IMMURE_CLEANUP_FD int at = immure_mount_open_host(path);
	root->fd = at < 0 ? -1 : openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd >= 0)
		immure_dirset_read(&root->names, root->fd, PLACE_ENTRIES);
	else
		root->fd = immure_take_fd(&at);
}

static void check_place(struct immure_walk *w, const struct immure_op *op, struct place_root *root)
{
	char path[PATH_MAX];
	size_t base = strlen(op->src);
	const char *name;
	int dir;

	enter_root(root, op->src);
	if (root->fd < 0 || !immure_dirset_may_have(&root->names, op->dst, strcspn(op->dst, "/")))
		return;
	if (base == 1)
		base = 0; /* "/" */
	if (base + 1 + strlen(op->dst) >= sizeof(path))
		return; /* no path that long was ever protected */
	memcpy(path, op->src, base);
	path[base] = '/';
	dir = find_place(root->fd, op->dst, path, base + 1, &name);
	/* A build's own inputs are watched where they exist as well: only what
	 * the command touched is worth a report. */
	if (dir >= 0 && (!(op->flags & IMMURE_OPF_BUILD) || immure_watch_touched(dir, name, w->since)))
		found(w, dir, name, path, op, IMMURE_AGE_CREATED, is_allowed(op));
	immure_close(&dir);
}

/* A protected link cannot be made a mount point; it is put back instead. */
static void check_link(struct immure_walk *w, const struct immure_op *op)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	const char *dir = immure_path_dirname(&a, op->dst), *name = immure_path_basename(op->dst);
	char text[PATH_MAX], to[PATH_MAX + 256] = "";
	ssize_t n;

	if (dir) {
		IMMURE_CLEANUP_FD int fd = immure_mount_open_host(dir);

		n = fd < 0 ? -1 : readlinkat(fd, name, text, sizeof(text) - 1);
		if (n >= 0)
			text[n] = '\0';
		if (fd >= 0 && (n < 0 || strcmp(text, op->src) != 0)) {
			struct stat st;
			int r = 0;

			if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
				r = w->state_dir ? immure_quarantine_move(fd, name, w->state_dir, to,
									  sizeof(to))
						 : -ENOENT;
			if (r == 0 && symlinkat(op->src, fd, name) < 0)
				r = -errno;
			(void)immure_result_add_found(w->result, op->dst, "protected link",
						      r < 0 ? "failed" : "restored", to);
			immure_result_notice(w->result, "%s: a protected link was changed by the command; %s",
					     op->dst, r < 0 ? "it could not be restored" : "restored");
		}
	}
	immure_arena_done(&a);
}

/* ---- anywhere ---- */

static void add_pattern(struct immure_walk *w, const struct immure_op *op)
{
	struct immure_watch_pattern *pt;

	if (w->patterns_n == IMMURE_WATCH_PATTERNS) {
		w->incomplete = true;
		return;
	}
	pt = &w->patterns[w->patterns_n++];
	pt->op = op;
	pt->last = immure_path_basename(op->dst);
	pt->suffix = pt->last[0] == '*';
	if (pt->suffix)
		pt->last++;
	pt->last_len = strlen(pt->last);
	if (strcmp(op->dst, ".git/config") == 0)
		w->git = op;
	pt->depth = 1;
	for (const char *c = op->dst; *c; c++)
		pt->depth += *c == '/';
}

/* Whatever the case: there are file systems on which git finds a .GIT. */
static bool last_matches(const struct immure_watch_pattern *pt, const char *name, size_t len)
{
	if (pt->suffix)
		return len >= pt->last_len &&
		       strncasecmp(name + len - pt->last_len, pt->last, pt->last_len) == 0;
	return len == pt->last_len && strncasecmp(name, pt->last, len) == 0;
}

static bool parents_match(const struct immure_walk *w, const struct immure_watch_pattern *pt, size_t depth)
{
	const char *c = pt->op->dst;

	if (pt->depth > depth + 1)
		return false;
	for (size_t i = depth + 1 - pt->depth; i < depth; i++) {
		char folded[IMMURE_FOLD_NAME];
		const char *name = immure_fold_name(w->names[i], folded);
		size_t n = strcspn(c, "/");

		if (strlen(name) != n || strncasecmp(name, c, n) != 0)
			return false;
		c += n + 1;
	}
	return true;
}

static bool is_git_config(const char *pattern)
{
	return strcmp(pattern, ".git/config") == 0 || strcmp(pattern, ".git/config.worktree") == 0;
}

/* The command cannot have changed it: somebody on the host did. */
static bool was_readonly(const struct immure_plan *p, const char *path)
{
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		/* Without namespaces the directory that such a one is in is nobody's to change. */
		if ((op->kind == IMMURE_OP_READONLY ||
		     (op->kind == IMMURE_OP_WITHHELD && op->flags & IMMURE_OPF_RO)) &&
		    immure_path_is_under(path, op->dst))
			return true;
	}
	return false;
}

/* What was found at depth, below the root of the walk. */
void immure_watch_found(struct immure_walk *w, int dir, const char *name, size_t depth,
			  const struct immure_op *op, enum immure_age age, bool allowed)
{
	struct immure_buf path = IMMURE_BUF_INIT;

	immure_buf_puts(&path, w->root);
	for (size_t k = 0; k < depth; k++)
		immure_buf_printf(&path, "/%s", w->names[k]);
	immure_buf_printf(&path, "/%s", name);
	if (!immure_buf_ok(&path))
		w->incomplete = true;
	else if (!was_readonly(w->plan, path.data))
		found(w, dir, name, path.data, op, age, allowed);
	immure_buf_done(&path);
}

static void match(struct immure_walk *w, int dir, const char *name, size_t depth)
{
	char to[IMMURE_FOLD_NAME];
	const char *folded = immure_fold_name(name, to);
	size_t len = strlen(folded);

	for (size_t i = 0; i < w->patterns_n; i++) {
		const struct immure_watch_pattern *pt = &w->patterns[i];
		bool allowed;
		enum immure_age age;

		if (!last_matches(pt, folded, len) || !parents_match(w, pt, depth))
			continue;
		age = age_of(dir, name, pt->depth > 1, w->since);
		if (age == IMMURE_AGE_OLD)
			return;
		allowed = is_allowed(pt->op);
		if (is_git_config(pt->op->dst) && allowed)
			allowed = immure_watch_config_harmless(dir, name, depth);
		if (!allowed || age == IMMURE_AGE_CREATED)
			immure_watch_found(w, dir, name, depth, pt->op, age, allowed);
		return;
	}
}

/* Does a link of that name stand where a pattern has a directory? What it leads to is found by
 * the pattern's name, but not here. (A repository is known by what is in it, wherever it is.) */
static bool stands_in_the_way(const struct immure_walk *w, const struct immure_watch_pattern *pt, const char *name,
			      size_t depth)
{
	const char *c = pt->op->dst;

	for (size_t k = 1; k < pt->depth; k++, c = strchr(c, '/') + 1) {
		struct immure_op way = { .dst = pt->op->dst };
		struct immure_watch_pattern part = { .op = &way, .depth = k };
		size_t n = strcspn(c, "/");

		if (strlen(name) == n && strncasecmp(name, c, n) == 0 && parents_match(w, &part, depth))
			return k > 1 || strncmp(c, ".git/", 5) != 0;
	}
	return false;
}

static void match_link(struct immure_walk *w, int dir, const char *name, size_t depth)
{
	char to[IMMURE_FOLD_NAME];
	const char *folded = immure_fold_name(name, to);

	for (size_t i = 0; i < w->patterns_n; i++) {
		const struct immure_watch_pattern *pt = &w->patterns[i];

		if (!stands_in_the_way(w, pt, folded, depth))
			continue;
		if (immure_watch_touched(dir, name, w->since))
			immure_watch_found(w, dir, name, depth, pt->op, IMMURE_AGE_CREATED, is_allowed(pt->op));
		return;
	}
}

static bool is_link(int dir, const struct dirent *d)
{
	struct stat st;

	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_LNK;
	return fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* ---- the walk ---- */

static int open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A directory that may be passed through but not listed still serves the host's
 * programs, which know the names. If the command made it so, it is listed. */
static int open_unreadable(struct immure_walk *w, int dir, const char *name)
{
	unsigned int before;
	int fd;

	if (!immure_watch_touched(dir, name, w->since))
		return -EACCES;
	fd = immure_open_anyway(dir, name, O_DIRECTORY, 0700, &before);
	/* As the command left it; a failure leaves it readable to its owner. */
	if (fd >= 0)
		(void)!fchmod(fd, before);
	return fd;
}

/* Mounts inside the tree were writable as well; the kernel's own are no files. */
static bool is_kernels(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 || fs.f_type == 0x9fa0 /* proc */ ||
	       fs.f_type == 0x62656572 /* sysfs */ || fs.f_type == 0x27e0eb /* cgroup */ ||
	       fs.f_type == 0x63677270 /* cgroup2 */;
}

/* -1: nothing to walk. */
static int open_sub(struct immure_walk *w, int dir, const char *name, dev_t dev, dev_t *ret_dev)
{
	int fd = open_dir(dir, name);
	struct stat st;

	if (fd == -EACCES)
		fd = open_unreadable(w, dir, name);
	if (fd < 0) { /* EACCES: not the command's, and not changed */
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP && fd != -EACCES)
			w->incomplete = true;
		return -1;
	}
	if (fstat(fd, &st) < 0 || (st.st_ino == w->ours.st_ino && st.st_dev == w->ours.st_dev) ||
	    (st.st_dev != dev && is_kernels(fd))) {
		immure_close(&fd);
		return -1;
	}
	*ret_dev = st.st_dev;
	return fd;
}

static void walk_dir(struct immure_walk *w, int fd, size_t depth, dev_t dev)
{
	DIR *dir = fdopendir(fd);
	struct immure_watch_repo repo = { 0 };
	struct dirent *d;
	int r = 0;

	if (!dir) {
		immure_close(&fd);
		w->incomplete = true;
		return;
	}
	while ((d = immure_readdir(dir, &r))) {
		dev_t sub_dev;
		int sub;

		if (++w->seen > WALK_ENTRIES) {
			w->incomplete = true;
			break;
		}
		immure_watch_note_repo(&repo, d->d_name);
		match(w, dirfd(dir), d->d_name, depth);
		if (is_link(dirfd(dir), d))
			match_link(w, dirfd(dir), d->d_name, depth);
		if (d->d_type != DT_DIR && d->d_type != DT_UNKNOWN)
			continue;
		if (depth + 1 >= IMMURE_WATCH_DEPTH) {
			w->incomplete = true;
			continue;
		}
		sub = open_sub(w, dirfd(dir), d->d_name, dev, &sub_dev);
		if (sub < 0)
			continue;
		w->names[depth] = d->d_name; /* stays valid: this stream is not read on */
		walk_dir(w, sub, depth + 1, sub_dev);
	}
	w->incomplete |= r < 0;
	immure_watch_check_repo(w, dirfd(dir), depth, &repo);
	(void)closedir(dir); /* read only: nothing is lost */
}

static void walk_tree(struct immure_walk *w, const char *root)
{
	IMMURE_CLEANUP_FD int path_fd = immure_mount_open_host(root);
	struct stat st;
	int fd;

	if (path_fd < 0 || fstat(path_fd, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		w->incomplete = true;
		return;
	}
	if (w->state_dir && stat(w->state_dir, &w->ours) < 0)
		w->ours.st_ino = 0; /* none has that number */
	w->root = strcmp(root, "/") == 0 ? "" : root;
	walk_dir(w, fd, 0, st.st_dev);
}

static struct immure_walk *walk_new(const struct immure_plan *p, const struct timespec *since,
			     const char *state_dir, struct immure_result *result)
{
	struct immure_walk *w = calloc(1, sizeof(*w));

	if (w) {
		w->plan = p;
		w->since = since;
		w->state_dir = state_dir;
		w->result = result;
	}
	return w;
}

void immure_watch_collect(const struct immure_plan *p, const struct timespec *since,
			  const char *state_dir, struct immure_result *result)
{
	struct immure_walk *w = walk_new(p, since, state_dir, result);
	struct place_root places = { .fd = -1 };
	const char *root = NULL;

	if (!w) {
		immure_result_notice(result, "out of memory: what the command left was not looked at");
		return;
	}
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->flags & IMMURE_OPF_KEPT)
			continue; /* nothing of the command's is in that tree */
		if (op->kind == IMMURE_OP_PROTECT_LINK)
			check_link(w, op);
		if (op->kind != IMMURE_OP_WATCH)
			continue;
		if (!(op->flags & IMMURE_OPF_ANYWHERE)) {
			check_place(w, op, &places);
			continue;
		}
		/* Patterns of one tree stand together in the plan. */
		if (root && strcmp(root, op->src) != 0) {
			walk_tree(w, root);
			w->patterns_n = 0;
			w->git = NULL;
		}
		root = op->src;
		add_pattern(w, op);
	}
	if (root)
		walk_tree(w, root);
	if (w->incomplete)
		immure_result_notice(result, "the tree is too large or too deep to be looked through whole for "
				     "files that the host would obey");
	immure_close(&places.fd);
	free(w);
}
