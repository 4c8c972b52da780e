/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor of a session without namespaces does that mounts and a pid
 * namespace do elsewhere: a directory for its temporary files, and the end of
 * whatever outlives init. */
#ifndef IMMURE_SESSION_BARE_H
#define IMMURE_SESSION_BARE_H

#include "base/error.h"
#include "init/init.h"

enum { IMMURE_BARE_CHILDREN = 256 };

struct immure_bare {
	bool wanted;          /* the plan is one of these; the rest is unused otherwise */
	char dir[4000];       /* "" = not named yet */
	const char **env;     /* NULL, or with strings of its own from `own` on */
	char *texts;
	int before[IMMURE_BARE_CHILDREN + 1]; /* children that are not the session's */
	size_t before_n;
};

/* Settles the directory's name, and tells init; nothing is made. */
int32_t immure_bare_name(struct immure_bare *b, const struct immure_plan *plan,
			 struct immure_init *init, struct immure_error **err);
int32_t immure_bare_make(const struct immure_bare *b, const struct immure_plan *plan,
			 struct immure_error **err);
/* From here on what init leaves behind comes to this process. */
/* alone: all children there are will be reaped before anything is swept. */
int32_t immure_bare_adopt(struct immure_bare *b, bool alone, struct immure_error **err);
/* A child, made since, that is none of the session's. */
void immure_bare_spare(struct immure_bare *b, int pid);
/* Init is gone: ends and reaps what it left. 0, or -EBUSY when some would not end. */
int immure_bare_sweep(const struct immure_bare *b);
/* Idempotent. 0, or -errno when something of the directory is left. */
int immure_bare_done(struct immure_bare *b);

#endif
