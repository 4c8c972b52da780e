/* SPDX-License-Identifier: Apache-2.0 */
/* The view of files while it is assembled (root.c): where its parts are put
 * (target.c) and its /dev (dev.c). All functions return 0, a descriptor, or
 * -errno. */
#ifndef IMMURE_INIT_BUILD_H
#define IMMURE_INIT_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "init/area.h"
#include "init/init.h"
#include "init/netns.h"
#include "plan/plan.h"

enum { IMMURE_BUILD_OWN = 64, IMMURE_BUILD_SEALS = 32, IMMURE_BUILD_PARENT = 256 };

struct immure_build {
	struct immure_init_net *net;
	const char *kept;              /* what an overlay with KEPT puts its changes in; NULL = none */
	uint64_t texts;                /* bytes that its large files of ours take */
	int root_fd;
	int host_ns_fd;                /* where sources are when the pivot has been, else -1 ... */
	int own_ns_fd;                 /* ... and where everything else happens */
	bool root_own;                 /* a tmpfs of ours, which is read-only in the end */
	int mask_dir_fd, mask_file_fd; /* mode 000, cloned over what is masked */
	const char *mask_home;         /* the directory they are in until then */
	int mask_mount[2];             /* the first mount of each, which the others are copied from */
	int areas_fd;                  /* the tmpfs that the shared areas are directories of */
	int parent_fd;                 /* where the last thing was made, a directory of ours ... */
	char parent[IMMURE_BUILD_PARENT]; /* ... and its path */
	dev_t own[IMMURE_BUILD_OWN];            /* file systems that we made */
	size_t own_n;
	int seal[IMMURE_BUILD_SEALS];            /* become read-only when the stage ends */
	size_t seal_n;
};

#define IMMURE_BUILD_INIT(n, root)                                                             \
	{                                                                                      \
		.net = (n), .root_fd = (root), .host_ns_fd = -1, .own_ns_fd = -1,              \
		.mask_dir_fd = -1, .mask_file_fd = -1,          \
		.mask_mount = { -1, -1 }, .areas_fd = -1, .parent_fd = -1                      \
	}

/* ---- root.c: the MOUNT stage; 0 or -errno with *step set ---- */

/* The network namespace is joined on the way, where the view of /sys depends on it. */
int immure_root_begin(struct immure_build *b, struct immure_init_net *net, const struct immure_plan *p,
		      const bool *which, const char *kept, struct immure_init_step *step);
/* Those of the operations for which which[i] is set, in their order. NULL: all. */
int immure_root_some(struct immure_build *b, const struct immure_plan *p, const bool *which,
		      struct immure_init_step *step);
/* A descriptor of the root as it is, for the pivot of a view that is added to after it. */
int immure_root_so_far(struct immure_build *b);
/* Where host paths mean what they meant, and back; nothing before the pivot. Whoever could
 * not come back does nothing more. */
int immure_build_to_host(const struct immure_build *b);
int immure_build_to_own(const struct immure_build *b);
/* Seals what is to be read-only. The descriptor of the root, or -errno. */
int immure_root_end(struct immure_build *b);
/* root.c: what is mounted at tree_fd becomes the root. */
int immure_build_root(struct immure_build *b, int tree_fd);
/* root.c: one operation of the MOUNT stage. An OVERLAY comes with the layers before it. */
int immure_build_apply(struct immure_build *b, const struct immure_op *op);

/* ---- target.c ---- */

bool immure_build_is_own(const struct immure_build *b, int fd);
/* fd is on a file system that we made: things may be created there. */
int immure_build_own(struct immure_build *b, int fd);
/* The mount at fd becomes read-only when all mounts are made. */
int immure_build_seal_later(struct immure_build *b, int fd);
/* O_PATH descriptor of one component, never through a link. */
int immure_build_step(int dir, const char *name);
/* Opens a destination; what is missing is created in file systems of our own. */
int immure_build_target(struct immure_build *b, const char *path, bool file);
/* The directory of ours that path is to be in, kept by b, and the last component of path. */
int immure_build_parent(struct immure_build *b, const char *path, const char **ret_name);
int immure_build_attach(struct immure_build *b, int tree_fd, const char *dst, bool file);
int immure_build_empty_file(int dir, const char *name, mode_t mode);

/* ---- overlay.c ---- */

int immure_build_overlay(struct immure_build *b, const struct immure_op *op);

/* ---- area.c ---- */

/* A directory of the tmpfs that the areas share, which is put at target_fd when it is
 * not there yet: a descriptor. It has the name that the operation gives it (area.h). */
int immure_build_area_dir(struct immure_build *b, int target_fd, uint64_t size, mode_t mode,
			  const struct immure_op *op, enum immure_area_part part);
/* A writable area at target_fd: a directory of the one tmpfs that they all share,
 * of size bytes (0 = the kernel's default) altogether. */
int immure_build_area(struct immure_build *b, int target_fd, uint64_t size, mode_t mode,
		      uint64_t attr, const struct immure_op *op);
/* The mask over what target_fd names. */
int immure_build_mask(struct immure_build *b, int target_fd, bool is_dir);

/* ---- dev.c ---- */

int immure_build_dev(struct immure_build *b, const struct immure_op *op);
/* New terminals and shared memory in a /dev that is there, and objects for masks. */
int immure_build_dev_again(struct immure_build *b, const struct immure_op *op);
int immure_build_masks_again(struct immure_build *b);
/* A file with contents of ours over one that is there. */
int immure_build_cover(struct immure_build *b, const struct immure_op *op);
/* The names of what masks show go away once every mask is placed. */
int immure_build_drop_mask_names(struct immure_build *b);

#endif
