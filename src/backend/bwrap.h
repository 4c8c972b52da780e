/* SPDX-License-Identifier: Apache-2.0 */
/* The backend bwrap: bubblewrap makes namespaces and mounts, then executes an init of
 * ours, which looks whether they are what the plan says and does the rest. */
#ifndef IMMURE_BACKEND_BWRAP_H
#define IMMURE_BACKEND_BWRAP_H

#include "backend/backend.h"
#include "base/buf.h"

extern const struct immure_backend immure_bwrap;

/* What one launch hands to bubblewrap. */
struct immure_bwrap {
	struct immure_buf args;              /* NUL-separated, for --args */
	struct immure_backend_seen *seen;    /* one per operation */
	int *fds;                            /* open in bubblewrap, and named in args */
	size_t fds_n, fds_cap;
	int program_fd, args_fd, helper_fd, error_fd, null_fd;
};

/* bwrap_args.c: the plan up to PIVOT as arguments, in its own order, with what is made
 * read-only as a whole at the end. Fills args, seen and fds. */
int32_t immure_bwrap_render(struct immure_bwrap *w, const struct immure_plan *p,
			    struct immure_error **err);
/* Keeps fd for bubblewrap; takes it, also on failure. */
int immure_bwrap_keep(struct immure_bwrap *w, int fd);

#endif
