/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock stage: a second gate under the mounts. It comes after every
 * mount, because a domain forbids later ones, and after the pivot, because its
 * rules name objects by descriptors opened in the final view. */
#include <errno.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "init/init.h"
#include "kernel/landlock.h"
#include "kernel/mount.h"

static int add_rule(int ruleset, const struct immure_op *op)
{
	/* No links: the tree may be another session's as well, which could put one
	 * where the plan saw a directory. */
	IMMURE_CLEANUP_FD int fd = immure_mount_open_host(op->dst);
	uint64_t rights = op->num[0];
	struct stat st;

	if (fd < 0)
		return fd == -ENOENT && (op->flags & IMMURE_OPF_OPTIONAL) ? 0 : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rights &= IMMURE_LANDLOCK_FS_ON_FILE;
	return immure_landlock_add_path(ruleset, fd, rights);
}

int immure_init_landlock(const struct immure_plan *p, struct immure_init_step *step)
{
	IMMURE_CLEANUP_FD int ruleset = -1;
	int r;

	step->stage = IMMURE_STAGE_LANDLOCK;
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->stage != IMMURE_STAGE_LANDLOCK)
			continue;
		step->op = (uint32_t)i;
		step->subject = op->dst;
		if (op->kind == IMMURE_OP_LANDLOCK) {
			ruleset = immure_landlock_create(op->num[1], op->num[3], op->num[2]);
			if (ruleset < 0)
				return ruleset;
		} else if (op->kind == IMMURE_OP_LANDLOCK_RULE) {
			r = ruleset < 0 ? -EINVAL : add_rule(ruleset, op);
			if (r < 0)
				return r;
		}
	}
	return ruleset < 0 ? 0 : immure_landlock_restrict(ruleset, 0);
}
