/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan of namespaces as bubblewrap can make it true. It differs in five places:
 *
 *  - bubblewrap has no sysfs: /sys is empty but for the processors, read-only, where
 *    the session has a network of its own (the host's sysfs would show the host's);
 *  - /proc is read-only as a whole, because what would be made read-only in it could
 *    only be bound from the host's /proc; a process cannot change its own settings there;
 *  - files.proc pids: bubblewrap mounts no such procfs, so all that is there beside processes
 *    is masked when it starts, and init looks that nothing was left out;
 *  - one user is mapped, and it is the caller outside;
 *  - nothing is mounted noexec.
 *
 * What cannot be expressed is a gap that nobody can approve.
 */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static bool drops(const struct immure_op *op, bool own_sys)
{
	if (op->stage != IMMURE_STAGE_MOUNT)
		return false;
	if (op->kind == IMMURE_OP_READONLY && immure_path_is_under(op->dst, "/proc"))
		return true;
	return own_sys && strcmp(op->dst, "/sys") != 0 && immure_path_is_under(op->dst, "/sys");
}

/* bubblewrap makes each area a file system of its own, so each gets an equal part of
 * what all may hold: the sum stays, whatever the command does. */
static uint64_t share(const struct immure_plan *p, const struct immure_op *op)
{
	uint64_t areas = 0;

	for (size_t i = 0; i < p->ops_n; i++)
		areas += p->ops[i].flags & IMMURE_OPF_SHARED ? 1 : 0;
	return op->num[0] / (areas ? areas : 1) / 4096 * 4096;
}

/* In place of one operation up to two; the order of the others is kept. */
static size_t lower(struct immure_compile *b, const struct immure_op *op, bool own_sys,
		    struct immure_op *to)
{
	if (drops(op, own_sys))
		return 0;
	*to = *op;
	if (op->flags & IMMURE_OPF_SHARED && op->kind != IMMURE_OP_OVERLAY) {
		to->flags &= ~(uint32_t)IMMURE_OPF_SHARED;
		to->num[0] = share(b->plan, op);
	}
	if (op->kind == IMMURE_OP_PROC)
		to->flags |= IMMURE_OPF_RO;
	if (op->kind == IMMURE_OP_NAMESPACES) {
		to[1] = *op;
		to->kind = IMMURE_OP_BWRAP;
		to->src = immure_arena_strdup(b->a, b->f->bwrap_path ? b->f->bwrap_path : "/none");
		to->num[0] = b->f->bwrap_pins;
		return 2;
	}
	if (op->kind == IMMURE_OP_SYSFS) {
		to->kind = IMMURE_OP_TMPFS;
		to->flags = IMMURE_OPF_RO;
		to->num[1] = 0755;
		to[1] = *op;
		to[1].kind = IMMURE_OP_BIND;
		to[1].flags = IMMURE_OPF_RO | IMMURE_OPF_OPTIONAL;
		to[1].src = to[1].dst = "/sys/devices/system";
		return 2;
	}
	return 1;
}

static void refuse(struct immure_compile *b, const char *key, const char *dimension,
		   const char *what, const char *remedy)
{
	immure_compile_gap(b, true, key, dimension, what, remedy);
}

static void gap_op(struct immure_compile *b, const struct immure_op *op)
{
	if (op->kind == IMMURE_OP_IDMAP_SUBID)
		refuse(b, "id_range", "privileges", "bubblewrap writes the id maps itself, of one user: it takes no range, and "
		       "nobody else can write them after it",
		       "id_range: single, or backend native");
	if (op->kind == IMMURE_OP_IDMAP && (op->num[1] != b->f->uid || op->num[3] != b->f->gid))
		refuse(b, "identity", "privileges",
		       "bubblewrap runs as its caller; it cannot give root's identity up",
		       "identity: caller, or start immure as another user");
	if (op->kind == IMMURE_OP_EGRESS && b->f->bwrap_net == IMMURE_NO)
		refuse(b, "network.mode", "egress_allowlist",
		       "the network that bubblewrap makes cannot be entered from outside here",
		       "immure doctor tells why (bwrap_net); network.mode: none or host");
	if (op->kind == IMMURE_OP_PUBLISH && b->f->bwrap_net == IMMURE_NO)
		refuse(b, "network.publish", "network_ingress",
		       "the network that bubblewrap makes cannot be entered from outside here",
		       "immure doctor tells why (bwrap_net); take network.publish out of the policy");
	if (op->kind == IMMURE_OP_OVERLAY)
		refuse(b, op->key, "writable_layer", "this version makes no overlay by bubblewrap",
		       "backend native");
	if (op->flags & IMMURE_OPF_SHARED && op->kind != IMMURE_OP_OVERLAY && op->num[0] && !share(b->plan, op))
		refuse(b, "limits.disk", "resources",
		       "too small to be divided among the private directories",
		       "a larger limits.disk, or backend native");
	if (op->flags & IMMURE_OPF_NOEXEC)
		refuse(b, op->key, "file_write", "bubblewrap mounts nothing noexec",
		       "backend native");
}

int32_t immure_compile_bwrap(struct immure_compile *b)
{
	struct immure_plan *p = b->plan;
	struct immure_op *ops = immure_arena_alloc(b->a, (p->ops_n + 2) * sizeof(*ops));
	bool own_sys = immure_plan_find(p, IMMURE_OP_SYSFS);
	size_t n = 0;

	if (!ops)
		return -IMMURE_ERR_NOMEM;
	for (size_t i = 0; i < p->ops_n; i++) {
		gap_op(b, &p->ops[i]);
		n += lower(b, &p->ops[i], own_sys, ops + n);
	}
	p->ops = ops;
	p->ops_n = n;
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}
