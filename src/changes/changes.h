/* SPDX-License-Identifier: Apache-2.0 */
/* What a command changed in a copy-on-write workspace, told, and landed in the real tree.
 *
 * The upper directory was written by whoever was sealed in: names, links, kinds, modes and
 * contents are hostile. It is walked by descriptors, one component at a time, no link
 * followed and nothing opened that could wait or do something (guard.c says what is refused).
 * The real tree is the user's, and may change meanwhile.
 *
 *   walk.c     the two trees side by side: a list of changes
 *   guard.c    what may not land
 *   content.c  files: the same? copied
 *   select.c   those that are asked for; which of them may land
 *   apply.c    lands them, all or none
 *   log.c      what is needed to finish that, or to undo it, after a crash
 */
#ifndef IMMURE_CHANGES_CHANGES_H
#define IMMURE_CHANGES_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "session/upper.h"

enum immure_change_kind {
	IMMURE_CHANGE_ADDED,
	IMMURE_CHANGE_MODIFIED, /* contents, of a link its text */
	IMMURE_CHANGE_REMOVED,  /* with all that is below */
	IMMURE_CHANGE_REPLACED, /* by something of another type */
	IMMURE_CHANGE_MODE,     /* nothing but permissions */
	IMMURE_CHANGE_KINDS,
};

enum {
	IMMURE_CHANGES_MAX = 500000,
	IMMURE_CHANGES_DEPTH = 200,
	IMMURE_CHANGES_PATH = 4000, /* what one system call takes */
};

struct immure_change {
	const char *path;     /* below the workspace, any bytes */
	uint8_t kind;
	char type, was;       /* 'f' 'd' 'l' 'c' 'b' 'p' 's', 0 = none */
	bool selected;
	uint32_t mode, was_mode;
	uint64_t size;
	/* What stands in the real tree: 0 = nothing. */
	uint64_t ino;
	struct timespec ctim;
	const char *refused;  /* why it may not land; NULL = it may */
	const char *conflict; /* what happened to the real one meanwhile; NULL = nothing */
};

/* One kept workspace, open. */
struct immure_changes {
	struct immure_arena arena;
	char id[IMMURE_ID_LEN + 1];
	const char *state_dir;
	int dir_fd, lock_fd;   /* lock_fd -1: something may still write */
	int upper_fd, real_fd; /* real_fd -1: the workspace is gone */
	const char *why_not;   /* nothing can land: the real tree is another one, or gone */
	struct immure_upper_meta meta;
	struct immure_plan *plan;
	struct immure_guard *guard;
	struct immure_change *v;
	size_t n, cap;
	struct immure_own_trace *own; /* log.c */
	size_t own_n;
};

#define IMMURE_CHANGES_INIT                                                                     \
	{ .dir_fd = -1, .lock_fd = -1, .upper_fd = -1, .real_fd = -1, .arena = IMMURE_ARENA_INIT }

/* id: whole, or its unambiguous beginning (4 characters); "" = the only one there is. */
int32_t immure_changes_open(const char *state_dir, const char *id, struct immure_changes *ret,
			    struct immure_error **err);
void immure_changes_done(struct immure_changes *c);
/* Fills v, by path. */
int32_t immure_changes_walk(struct immure_changes *c, struct immure_error **err);

struct immure_change *immure_changes_find(const struct immure_changes *c, const char *path);

/* ---- guard.c ---- */

struct immure_guard *immure_guard_new(struct immure_arena *a, const struct immure_plan *p);
/* Why nothing may be changed at path (relative); NULL: it may. removed: what stands there
 * goes away, with what is below it. dir_fd, name: where its new contents are, -1 = nowhere;
 * depth: how many directories lie above it. */
const char *immure_guard_path(const struct immure_guard *g, const char *path, bool removed, int dir_fd,
			      const char *name, size_t depth);
/* A directory that git takes for a repository, whatever it is called. */
struct immure_guard_repo {
	bool head, objects, refs, commondir;
};
void immure_guard_see(struct immure_guard_repo *r, const char *name);
const char *immure_guard_repo(const struct immure_guard *g, const struct immure_guard_repo *r,
			      const char *dir_name, const char *name);
/* Where a link in a directory so deep below the workspace leads. */
const char *immure_guard_link(const struct immure_guard *g, const char *text, size_t depth);
const char *immure_guard_stat(const struct stat *st, bool parent_setgid);

/* ---- content.c ---- */

/* A regular file for reading, whatever its mode; -errno. */
int immure_content_open(int dir, const char *name, struct stat *ret);
/* 1 the same bytes, 0 others. */
int immure_content_same(int a, int b);
/* Holes stay holes. */
int immure_content_copy(int from, int to);
/* The user's own attributes, none of the kernel's or of overlayfs. */
int immure_content_attributes(int from, int to);
/* The directory that path is to be in, below root, no link on the way, one file system. */
int immure_content_parent(int root, const char *path, const char **ret_name);

/* ---- select.c ---- */

enum {
	IMMURE_APPLY_OVERWRITE = 1, /* what was changed on both sides: theirs */
	IMMURE_APPLY_REST = 2,      /* what may land lands, though something else may not */
	IMMURE_APPLY_LINKS = 4,     /* links that lead out of the tree as well */
	IMMURE_APPLY_DRY_RUN = 8,
};
/* paths: NULL-terminated, relative or below the workspace; none = all. Marks what lands.
 * STATE when something may not, with flags that do not say otherwise. */
int32_t immure_changes_select(struct immure_changes *c, const char *const *paths, uint32_t flags,
			      struct immure_error **err);

/* ---- apply.c ---- */

/* What is selected lands, all of it or, on any error, nothing. ret_n: how many. */
int32_t immure_changes_apply(struct immure_changes *c, uint64_t *ret_n, struct immure_error **err);
/* What an apply that was killed left: 1 finished, 2 undone, 0 there was nothing. back:
 * undone rather than finished. beside, or NULL: what cannot be undone stays as it is, what had to
 * give way to it is put beside its place, and these paths are added. */
int32_t immure_changes_recover(struct immure_changes *c, bool back, struct immure_strv *beside,
			       struct immure_error **err);
/* An apply was killed. */
bool immure_changes_is_torn(const struct immure_changes *c);

/* ---- log.c ---- */

enum immure_step_kind { IMMURE_STEP_REMOVE, IMMURE_STEP_DIR, IMMURE_STEP_PUT, IMMURE_STEP_MODE };

struct immure_step {
	uint8_t kind;
	bool over;           /* PUT: something stands there */
	bool foreign;        /* not recorded: somebody else changed it since it landed */
	uint32_t mode, was_mode;
	const char *path;
	uint64_t ino;        /* what has to stand there, 0 = nothing */
	struct timespec ctim; /* not recorded */
};
struct immure_steps {
	struct immure_step *v;
	size_t n;
};

enum immure_log_phase {
	IMMURE_LOG_NONE,
	IMMURE_LOG_STAGING, /* nothing of the tree is touched */
	IMMURE_LOG_LANDING,
	IMMURE_LOG_LANDED,  /* what is left is litter of ours */
};
int immure_log_write(int dir, const struct immure_steps *s);
int immure_log_read(int dir, struct immure_arena *a, struct immure_steps *ret);
enum immure_log_phase immure_log_phase(int dir);
int immure_log_set(int dir, enum immure_log_phase phase);
/* What we ourselves left in the real tree, so that it is not taken for somebody else's. */
int immure_log_landed(int dir, int real_fd, const struct immure_steps *s);
bool immure_log_is_ours(const struct immure_changes *c, uint64_t ino, const struct timespec *ctim);
int immure_log_load(struct immure_changes *c);

/* ---- tell.c ---- */

char immure_change_type(uint32_t mode);
const char *immure_change_name(uint8_t kind);
void immure_changes_json(const struct immure_changes *c, struct immure_buf *out);
void immure_changes_text(const struct immure_changes *c, struct immure_buf *out);

#endif
