/* SPDX-License-Identifier: Apache-2.0 */
/* The walk through what a command could write: watch.c, and repositories: watchrepo.c. */
#ifndef IMMURE_SESSION_WATCHING_H
#define IMMURE_SESSION_WATCHING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#include "session/watch.h"

enum { IMMURE_WATCH_DEPTH = 200, IMMURE_WATCH_PATTERNS = 128 };

struct immure_watch_pattern {
	const struct immure_op *op;
	const char *last;  /* its last component, without a leading '*' */
	size_t last_len;
	bool suffix;
	size_t depth;      /* components */
};

struct immure_walk {
	const struct immure_plan *plan;
	const struct timespec *since;
	const char *state_dir;
	struct immure_result *result;
	struct immure_watch_pattern patterns[IMMURE_WATCH_PATTERNS];
	size_t patterns_n;
	const struct immure_op *git;   /* the pattern of a repository's config */
	const char *names[IMMURE_WATCH_DEPTH]; /* components below the root of the walk */
	const char *root;
	struct stat ours;              /* state_dir, when it is there: what lies in it is put away */
	size_t seen, told;
	bool incomplete;
};

/* Which objects of git's are in the directory being read. */
struct immure_watch_repo {
	bool head, objects, refs, commondir;
};

enum immure_age { IMMURE_AGE_OLD, IMMURE_AGE_BROUGHT, IMMURE_AGE_CREATED };

/* Its change time is not older than the session. */
bool immure_watch_touched(int dir, const char *name, const struct timespec *since);
/* What was found at depth, below the root of the walk. */
void immure_watch_found(struct immure_walk *w, int dir, const char *name, size_t depth, const struct immure_op *op,
			enum immure_age age, bool allowed);

/* depth: of the directory that holds it. What cannot be read is not harmless. */
bool immure_watch_config_harmless(int dir, const char *name, size_t depth);
void immure_watch_note_repo(struct immure_watch_repo *r, const char *name);
/* A repository that is not called .git; those have patterns of their own. */
void immure_watch_check_repo(struct immure_walk *w, int dir, size_t depth, const struct immure_watch_repo *r);

#endif
