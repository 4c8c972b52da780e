/* SPDX-License-Identifier: Apache-2.0 */
#include "init/stands.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/mount.h"

/* A look from outside does not stop at links as the build did: what a link on the way
 * leads to is no mount of ours, or the same that is seen inside. */
static bool same_source(const char *path, const struct immure_mount_seen *seen)
{
	struct immure_mount_seen src;
	IMMURE_CLEANUP_FD int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return top >= 0 && immure_mount_look(top, path, &src) == 0 && src.ino == seen->ino &&
	       src.dev[0] == seen->dev[0] && src.dev[1] == seen->dev[1];
}

/* An area that nobody writes is a directory of a root that is all ours, no mount. */
static bool is_directory_of_ours(int root_fd, const struct immure_plan *p, const struct immure_op *op,
				 const struct immure_mount_seen *seen)
{
	struct immure_mount_seen top;

	return op->kind == IMMURE_OP_TMPFS && op->flags & IMMURE_OPF_RO &&
	       immure_plan_find(p, IMMURE_OP_ROOT_EMPTY) && immure_mount_look(root_fd, "/", &top) == 0 &&
	       seen->dev[0] == top.dev[0] && seen->dev[1] == top.dev[1];
}

bool immure_op_stands(int root_fd, const struct immure_plan *p, const struct immure_op *op)
{
	struct immure_mount_seen seen;
	int r;

	switch (op->kind) {
	case IMMURE_OP_BIND:
	case IMMURE_OP_TMPFS:
	case IMMURE_OP_OVERLAY:
	case IMMURE_OP_MASK:
	case IMMURE_OP_MASK_KEEP:
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
		break;
	case IMMURE_OP_FILE:
		if (op->flags & IMMURE_OPF_COVER)
			break;
		return true; /* in a file system of ours */
	default:
		return true; /* the same, or places that nobody replaces */
	}
	r = immure_mount_look(root_fd, op->dst, &seen);
	/* Nothing there to be hidden, or that would have to be; or out of reach, for those
	 * inside too. */
	if (r == -ENOENT || r == -ENOTDIR)
		return op->kind == IMMURE_OP_MASK || op->flags & IMMURE_OPF_OPTIONAL;
	if (r == -EACCES)
		return op->kind == IMMURE_OP_MASK;
	if (r < 0 || !seen.is_root)
		return r == 0 && is_directory_of_ours(root_fd, p, op, &seen);
	if (op->kind == IMMURE_OP_MASK)
		return (seen.mode & 07777) == 0;
	return op->kind != IMMURE_OP_BIND || same_source(op->src, &seen);
}

bool immure_plan_stands(int root_fd, const struct immure_plan *p)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].stage == IMMURE_STAGE_MOUNT && !immure_op_stands(root_fd, p, &p->ops[i]))
			return false;
	return true;
}
