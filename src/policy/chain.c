/* SPDX-License-Identifier: Apache-2.0 */
/* Files found, opened and read, with what they extend. Messages name files by
 * their real path, so that nobody has to guess which one was meant. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "policy/load.h"

static const char POLICY_DIR[] = ".immure";
static const char POLICY_REL[] = ".immure/policy.json";

void immure_policy_chain_done(struct immure_policy_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		immure_safe_file_done(&c->links[i].opened);
		immure_policy_file_done(&c->links[i].parsed);
		free(c->links[i].path);
	}
	c->n = 0;
	c->profile = NULL;
}

static int32_t out_of_memory(struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
}

/* The lean program hands over as soon as there is a file: the full one then
 * does all of the checking. */
static int32_t no_reader(const char *name, struct immure_error **err)
{
#ifdef IMMURE_LEAN
	return immure_fail(err, IMMURE_ERR_UNSUPPORTED, ENOSYS, "json", "",
			   "%s: this build reads no policy files", name);
#else
	(void)name;
	(void)err;
	return 0;
#endif
}

/* A name for messages: the directory as the kernel knows it, and the file. */
static char *real_name(int tree_fd, const char *tree, const char *rel)
{
	char link[64], dir[PATH_MAX];
	ssize_t n = -1;
	char *ret;

	if (rel[0] == '/')
		return strdup(rel);
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", tree_fd);
	if (tree_fd >= 0)
		n = readlink(link, dir, sizeof(dir) - 1);
	if (n > 0) {
		dir[n] = '\0';
		tree = dir;
	}
	if (asprintf(&ret, "%s%s%s", tree, strcmp(tree, "/") == 0 ? "" : "/", rel) < 0)
		return NULL;
	return ret;
}

/* Reads one file and appends it. */
static int32_t add_link(struct immure_policy_chain *c, int tree_fd, const char *tree,
			const char *rel, bool within, struct immure_error **err)
{
	struct immure_policy_link l = { .opened.dir_fd = -1 };
	char *name = real_name(tree_fd, tree, rel);
	char full[PATH_MAX];
	int32_t r;

	if (!name)
		return out_of_memory(err);
	r = no_reader(name, err);
	if (r == 0)
		r = immure_safe_read(tree_fd, rel, within, IMMURE_POLICY_FILE_MAX, name, &l.opened, err);
	if (r < 0) {
		free(name);
		return r;
	}
	for (size_t i = 0; i < c->n && r == 0; i++)
		if (c->links[i].opened.dev == l.opened.dev && c->links[i].opened.ino == l.opened.ino)
			r = immure_fail(err, IMMURE_ERR_POLICY, ELOOP, "policy", "extends",
					"%s: extends itself, through %s", name,
					c->links[c->n - 1].path);
	if (r == 0)
		r = immure_policy_file_parse(l.opened.data, l.opened.len, name, &l.parsed, err);
	if (r < 0) {
		immure_safe_file_done(&l.opened);
		free(name);
		return r;
	}
	/* Trust is bound to the place, so the place must have one name only. */
	l.path = name;
	if (realpath(name, full)) {
		char *real = strdup(full);

		if (real) {
			free(name);
			l.path = real;
		}
	}
	c->links[c->n++] = l;
	return 0;
}

static int32_t extends_at(const struct immure_policy_link *l, struct immure_error **err, int errnum,
			  const char *why)
{
	return immure_fail(err, IMMURE_ERR_POLICY, errnum, "policy", "extends", "%s:%zu: extends: %s",
			   l->parsed.name, l->parsed.extends_line, why);
}

/* Opens what the last link extends. within: a workspace's files may not lead
 * out of their tree either. */
static int32_t add_extended(struct immure_policy_chain *c, int tree_fd, const char *home,
			    bool within, struct immure_error **err)
{
	struct immure_policy_link *last = &c->links[c->n - 1];
	const char *e = last->parsed.extends;
	char path[PATH_MAX];
	int n;

	if (c->n == IMMURE_POLICY_CHAIN_MAX)
		return extends_at(last, err, ELOOP, "more than 8 files extend each other");
	if (e[0] == '~' && e[1] == '/') {
		if (within)
			return extends_at(last, err, EXDEV, "leads out of the workspace's tree");
		if (!home)
			return extends_at(last, err, ENOENT, "there is no home directory");
		n = snprintf(path, sizeof(path), "%s/%s", home, e + 2);
		if (n < 0 || (size_t)n >= sizeof(path))
			return extends_at(last, err, ENAMETOOLONG, "the path is too long");
		return add_link(c, AT_FDCWD, "", path, false, err);
	}
	if (within && e[0] == '/')
		return extends_at(last, err, EXDEV, "leads out of the workspace's tree");
	if (within) {
		/* from the tree's top, so that ".." can be judged against it */
		const char *rel = last->parsed.name;
		IMMURE_CLEANUP_FREE char *top = real_name(tree_fd, "", ".");
		size_t top_len = top ? strlen(top) - 1 : 0;
		const char *slash;

		if (!top)
			return out_of_memory(err);
		if (strncmp(rel, top, top_len) != 0)
			return extends_at(last, err, EXDEV, "leads out of the workspace's tree");
		rel += top_len;
		slash = strrchr(rel, '/');
		n = snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash + 1 - rel) : 0, rel, e);
		if (n < 0 || (size_t)n >= sizeof(path))
			return extends_at(last, err, ENAMETOOLONG, "the path is too long");
		return add_link(c, tree_fd, top, path, true, err);
	}
	return add_link(c, last->opened.dir_fd, "", e, false, err);
}

static int32_t add_rest(struct immure_policy_chain *c, int tree_fd, const char *home, bool within,
			struct immure_error **err)
{
	for (;;) {
		const char *e = c->links[c->n - 1].parsed.extends;
		int32_t r;

		if (!e)
			return 0;
		if (!immure_policy_extends_file(e)) {
			if (!immure_profile_find(e))
				return extends_at(&c->links[c->n - 1], err, 0,
						  "is no built-in profile (`immure policy profiles`), "
						  "and a file's name has \"/\" or ends in .json");
			c->profile = e;
			return 0;
		}
		r = add_extended(c, tree_fd, home, within, err);
		if (r < 0)
			return r;
	}
}

int32_t immure_policy_chain_open(const char *path, const char *home,
				 struct immure_policy_chain *ret, struct immure_error **err)
{
	struct immure_policy_chain c = { .n = 0 };
	char full[PATH_MAX], cwd[PATH_MAX];
	int32_t r;
	int n = 0;

	if (!*path)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "--policy",
				   "--policy: expected a file, got an empty string");
	if (path[0] == '~' && path[1] == '/' && home)
		n = snprintf(full, sizeof(full), "%s/%s", home, path + 2);
	else if (path[0] != '/' && getcwd(cwd, sizeof(cwd)))
		n = snprintf(full, sizeof(full), "%s/%s", cwd, path);
	else
		n = snprintf(full, sizeof(full), "%s", path);
	if (n < 0 || (size_t)n >= sizeof(full))
		return immure_fail(err, IMMURE_ERR_IO, ENAMETOOLONG, "policy", "--policy",
				   "--policy: the path is too long");
	r = add_link(&c, AT_FDCWD, "", full, false, err);
	if (r == 0)
		r = add_rest(&c, -1, home, false, err);
	if (r < 0)
		immure_policy_chain_done(&c);
	else
		*ret = c;
	return r;
}

static int32_t cannot_search(const char *path, int errnum, struct immure_error **err)
{
	int32_t r = immure_fail(err, IMMURE_ERR_IO, errnum, "policy", path,
				"%s: cannot be searched for a policy: %s", path, strerror(errnum));

	if (err)
		immure_error_set_hint(*err, "name the file with --policy, or use none with "
				      "--no-policy");
	return r;
}

int32_t immure_policy_chain_find(const char *tree, const char *rel, const char *home,
				 struct immure_policy_chain *ret, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int tree_fd = -1;
	struct immure_policy_chain c = { .n = 0 };
	struct immure_error *e = NULL;
	char quick[PATH_MAX];
	int32_t r;
	int n = snprintf(quick, sizeof(quick), "%s/%s", tree, rel);

	if (n < 0 || (size_t)n >= sizeof(quick))
		return immure_fail(err, IMMURE_ERR_IO, ENAMETOOLONG, "policy", tree,
				   "%s: the path is too long", tree);
	/* All that a launch without policy files pays. O_NOFOLLOW, so that a link
	 * to nothing counts as being there. */
	tree_fd = open(quick, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (tree_fd >= 0) {
		immure_close(&tree_fd);
		tree_fd = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (tree_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : cannot_search(quick, errno, err);
	r = add_link(&c, tree_fd, tree, rel, true, &e);
	if (r == -IMMURE_ERR_IO && (e->errnum == ENOENT || e->errnum == ENOTDIR)) {
		immure_error_free(e);
		return 0;
	}
	if (r == 0)
		r = add_rest(&c, tree_fd, home, strcmp(rel, POLICY_REL) == 0, &e);
	if (r < 0) {
		immure_policy_chain_done(&c);
		if (err)
			*err = e;
		else
			immure_error_free(e);
		return r;
	}
	*ret = c;
	return 1;
}

/* The directory to start from, as the kernel names it. false: it has no name
 * any more (deleted), so nothing can be above it. */
static int32_t start_dir(const char *workspace, const char *home, char *ret, bool *ret_have,
			 struct immure_error **err)
{
	char joined[PATH_MAX];

	*ret_have = true;
	if (!workspace || strcmp(workspace, ".") == 0) {
		if (!getcwd(ret, PATH_MAX) || ret[0] != '/')
			*ret_have = false;
		return 0;
	}
	if (workspace[0] == '~' && (workspace[1] == '/' || !workspace[1]) && home) {
		(void)snprintf(joined, sizeof(joined), "%s%s", home, workspace + 1);
		workspace = joined;
	}
	if (!realpath(workspace, ret)) {
		int e = errno;

		return immure_fail(err, IMMURE_ERR_IO, e, "policy", "workspace.path",
				   "workspace %s: %s", workspace, strerror(e));
	}
	return 0;
}

int32_t immure_policy_find_workspace(const char *workspace, const char *home,
				     struct immure_policy_chain *ret, struct immure_error **err)
{
	char dir[PATH_MAX + sizeof(POLICY_DIR) + 1];
	bool have;
	int32_t r = start_dir(workspace, home, dir, &have, err);
	size_t len;

	if (r < 0 || !have)
		return r;
	len = strlen(dir);
	for (;;) {
		IMMURE_CLEANUP_FD int fd = -1;

		if (len == 1)
			len = 0; /* the root itself */
		dir[len] = '/';
		memcpy(dir + len + 1, POLICY_DIR, sizeof(POLICY_DIR));
		/* One failed open a level, for a launch without policy files. */
		fd = open(dir, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
			return cannot_search(dir, errno, err);
		if (fd >= 0 && access(dir, F_OK) < 0)
			return immure_fail(err, IMMURE_ERR_TRUST, errno, "policy", dir,
					   "%s: is a symlink that cannot be followed", dir);
		dir[len] = '\0';
		if (fd >= 0) {
			r = immure_policy_chain_find(len ? dir : "/", POLICY_REL, home, ret, err);
			if (r != 0)
				return r;
		}
		if (len == 0)
			return 0;
		while (dir[len - 1] != '/')
			len--;
		len -= len > 1;
		dir[len] = '\0';
	}
}

int32_t immure_policy_chain_apply(const struct immure_policy_chain *c,
				  struct immure_policy_build *b, struct immure_error **err)
{
	for (size_t i = c->n; i-- > 0;) {
		int32_t r = immure_policy_file_apply(&c->links[i].parsed, b, err);

		if (r < 0)
			return r;
	}
	return 0;
}
