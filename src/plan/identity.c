/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, who the command is inside, and who that is outside. */
#include <sched.h>

#include "plan/compile.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

enum { NOBODY = 65534 };

static int32_t namespaces(struct immure_compile *b)
{
	struct immure_op *op = immure_compile_op(
		b, IMMURE_OP_NAMESPACES, b->netns ? "user mount pid net ipc uts cgroup" :
		"user mount pid ipc uts cgroup", NULL, "(always)");

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = (uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
				CLONE_NEWUTS) | CLONE_NEWCGROUP |
		     (b->netns ? (uint64_t)CLONE_NEWNET : 0u);
	return 0;
}

int32_t immure_compile_identity(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	bool subid = p->id_range == IMMURE_ID_RANGE_SUBID;
	struct immure_op *op;
	uint64_t uid = b->f->uid, gid = b->f->gid;

	if (namespaces(b) < 0)
		return -IMMURE_ERR_NOMEM;
	op = immure_compile_op(b, subid ? IMMURE_OP_IDMAP_SUBID : IMMURE_OP_IDMAP, NULL, NULL,
			     subid ? "id_range" : "identity");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = uid;
	op->num[1] = uid;
	op->num[2] = gid;
	op->num[3] = gid;
	switch (p->identity) {
	case IMMURE_IDENTITY_CALLER:
		break;
	case IMMURE_IDENTITY_ROOT:
		op->num[0] = op->num[2] = 0;
		break;
	case IMMURE_IDENTITY_IMAGE:
		immure_compile_image_ids(b, op);
		break;
	case IMMURE_IDENTITY_NOBODY:
		op->num[0] = op->num[2] = NOBODY;
		/* Real root can give its own identity up; others keep theirs outside. */
		if (uid == 0)
			op->num[1] = op->num[3] = NOBODY;
		break;
	}
	if (subid && b->f->newuidmap == IMMURE_NO)
		immure_compile_gap(b, true, "id_range", "privileges",
				 "sub-id ranges need newuidmap and newgidmap, which do not work here",
				 "install uidmap and give this user a range in /etc/subuid and "
				 "/etc/subgid, or id_range: single");
	return 0;
}
