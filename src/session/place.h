/* SPDX-License-Identifier: Apache-2.0 */
/* Where in its file system something is, whatever path leads there: by the mount table of
 * whoever asks. */
#ifndef IMMURE_SESSION_PLACE_H
#define IMMURE_SESSION_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "facts/facts.h"

enum { IMMURE_PLACE = 4096 };

struct immure_place {
	uint32_t major, minor;
	const struct immure_fact_mount *mount;
	char path[IMMURE_PLACE];
};

struct immure_view {
	struct immure_arena arena;
	struct immure_fact_mount *mounts;
	size_t n;
	int proc_fd, root_fd;
};

/* All return 0 or -errno. The mount table is read anew, from v->proc_fd. */
int immure_view_read(struct immure_view *v);
/* The number of the mount that fd is on. */
int immure_view_mount_id(const struct immure_view *v, int fd, uint32_t *ret);
/* path, which has no links, below base. */
const char *immure_view_rest(const char *path, const char *base);
/* Into IMMURE_PLACE bytes. */
int immure_view_join(char *ret, const char *base, const char *rest);
/* Of what fd has open, by this path. -ESTALE: moved meanwhile. */
int immure_view_find(const struct immure_view *v, int fd, const char *path, struct immure_place *ret);

#endif
