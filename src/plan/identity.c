/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, who the command is inside, and who that is outside. */
#include <sched.h>

#include "plan/compile.h"
#include "plan/identity.h"

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

void immure_plan_ids(enum immure_identity identity, uint32_t uid, uint32_t gid, uint64_t ret[4])
{
	ret[0] = ret[1] = uid;
	ret[2] = ret[3] = gid;
	switch (identity) {
	case IMMURE_IDENTITY_CALLER:
	case IMMURE_IDENTITY_IMAGE:
		break;
	case IMMURE_IDENTITY_ROOT:
		ret[0] = ret[2] = 0;
		break;
	case IMMURE_IDENTITY_NOBODY:
		ret[0] = ret[2] = NOBODY;
		/* Real root can give its own identity up; others keep theirs outside. */
		if (uid == 0)
			ret[1] = ret[3] = NOBODY;
		break;
	}
}

int32_t immure_compile_identity(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	bool subid = p->id_range == IMMURE_ID_RANGE_SUBID;
	struct immure_op *op;

	if (namespaces(b) < 0)
		return -IMMURE_ERR_NOMEM;
	op = immure_compile_op(b, subid ? IMMURE_OP_IDMAP_SUBID : IMMURE_OP_IDMAP, NULL, NULL,
			     subid ? "id_range" : "identity");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	immure_plan_ids(p->identity, b->f->uid, b->f->gid, op->num);
	if (p->identity == IMMURE_IDENTITY_IMAGE)
		immure_compile_image_ids(b, op);
	if (subid && b->f->newuidmap == IMMURE_NO)
		immure_compile_gap(b, true, "id_range", "privileges",
				 "sub-id ranges need newuidmap and newgidmap, which do not work here",
				 "install uidmap and give this user a range in /etc/subuid and "
				 "/etc/subgid, or id_range: single");
	return 0;
}
