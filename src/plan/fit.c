/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/fit.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"

struct fit {
	const struct immure_plan *base, *plan;
	bool *now, *had; /* of the plan's, of the base's operations */
	struct immure_error **err;
};

static int32_t differ(const struct fit *f, const struct immure_op *op, const char *why)
{
	const char *path = op->dst[0] ? op->dst : op->src;

	(void)immure_fail(f->err, IMMURE_ERR_POLICY, 0, "pool", op->key, "%s: %s%s%s", op->key,
			  path, path[0] ? ": " : "", why);
	if (f->err && *f->err)
		immure_error_set_hint(*f->err, "immure run without --pool, or a pool of that policy");
	return -IMMURE_ERR_POLICY;
}

static bool same(const struct immure_op *x, const struct immure_op *y)
{
	return x->kind == y->kind && x->stage == y->stage && x->flags == y->flags &&
	       memcmp(x->num, y->num, sizeof(x->num)) == 0 && strcmp(x->src, y->src) == 0 &&
	       strcmp(x->dst, y->dst) == 0;
}

/* ---- what is not a mount ---- */

enum part {
	PART_MOUNTS, /* compared by themselves */
	PART_PLACED, /* where is whoever made the session's matter */
	PART_RULES,  /* may only become fewer, or more, see below */
	PART_OWN,    /* the caller's: done or looked at when it comes */
	PART_SAME,
};

static enum part part_of(const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_CGROUP_LEAF:
		return PART_PLACED;
	case IMMURE_OP_EGRESS_ALLOW:
	case IMMURE_OP_EGRESS_DENY:
	case IMMURE_OP_LANDLOCK_RULE:
		return PART_RULES;
	case IMMURE_OP_EGRESS_NET: /* follows from the rules */
	case IMMURE_OP_OWN_DIR:
	case IMMURE_OP_EXEC:
	case IMMURE_OP_WATCH:
	case IMMURE_OP_PROTECT_LINK:
	case IMMURE_OP_AGENT:
	case IMMURE_OP_INTERCEPT: /* with the files of whom to trust, which are mounts */
	case IMMURE_OP_SECRET:
	case IMMURE_OP_SECRET_TO:
	case IMMURE_OP_ATTRIBUTE:
		return PART_OWN;
	default:
		return op->stage == IMMURE_STAGE_MOUNT ? PART_MOUNTS : PART_SAME;
	}
}

static const struct immure_op *next_of(const struct immure_plan *p, size_t *at)
{
	while (*at < p->ops_n) {
		const struct immure_op *op = &p->ops[(*at)++];
		enum part part = part_of(op);

		if (part == PART_SAME || part == PART_PLACED)
			return op;
	}
	return NULL;
}

static int32_t same_rest(const struct fit *f)
{
	size_t i = 0, k = 0;

	for (;;) {
		const struct immure_op *x = next_of(f->base, &i), *y = next_of(f->plan, &k);

		if (!x && !y)
			return 0;
		if (!x || !y)
			return differ(f, x ? x : y, "the pool's sessions were made otherwise");
		if (part_of(x) == PART_PLACED ? x->kind != y->kind || x->num[0] != y->num[0] : !same(x, y))
			return differ(f, y, "the pool's sessions were made otherwise");
	}
}

/* "/" stands for none. */
static bool in_workspace(const struct fit *f, const char *path)
{
	const char *inside = immure_plan_inside(f->plan);

	return inside[1] && immure_path_is_under(path, inside);
}

static bool has(const struct immure_plan *p, const struct immure_op *op)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if (same(&p->ops[i], op))
			return true;
	return false;
}

static int32_t rules(const struct fit *f)
{
	for (size_t i = 0; i < f->plan->ops_n; i++) {
		const struct immure_op *op = &f->plan->ops[i];

		if (op->kind == IMMURE_OP_EGRESS_ALLOW && !has(f->base, op))
			return differ(f, op, "the pool's policy does not allow this");
		if (op->kind == IMMURE_OP_LANDLOCK_RULE && !has(f->base, op) && !in_workspace(f, op->dst))
			return differ(f, op, "the pool's policy does not give this");
	}
	for (size_t i = 0; i < f->base->ops_n; i++)
		if (f->base->ops[i].kind == IMMURE_OP_EGRESS_DENY && !has(f->plan, &f->base->ops[i]))
			return differ(f, &f->base->ops[i], "the pool's policy denies this");
	for (size_t i = 0; i < f->base->ops_n; i++)
		if (f->base->ops[i].kind == IMMURE_OP_AGENT && !has(f->plan, &f->base->ops[i]))
			return differ(f, &f->base->ops[i], "the pool is on behalf of this one");
	return 0;
}

/* ---- mounts ---- */

static bool is_mount(const struct immure_op *op)
{
	return part_of(op) == PART_MOUNTS;
}

/* Both are walks of one tree, so what they share is in the same order. */
static void pair(const struct fit *f)
{
	size_t next = 0;

	for (size_t i = 0; i < f->base->ops_n; i++) {
		const struct immure_op *op = &f->base->ops[i];
		size_t k = next;

		while (is_mount(op) && k < f->plan->ops_n && !same(op, &f->plan->ops[k]))
			k++;
		if (!is_mount(op) || k == f->plan->ops_n)
			continue;
		f->had[i] = true;
		f->now[k] = false;
		next = k + 1;
	}
}

/* A mask too many hides something that was there: a socket of the host's, say, that
 * is gone. Nothing else can be taken back. */
static int32_t taken_back(const struct fit *f)
{
	for (size_t i = 0; i < f->base->ops_n; i++) {
		const struct immure_op *op = &f->base->ops[i];

		if (!is_mount(op) || f->had[i])
			continue;
		if (op->kind != IMMURE_OP_MASK)
			return differ(f, op, "the pool's sessions have this, and it cannot be taken back");
		for (size_t k = 0; k < f->plan->ops_n; k++)
			if (is_mount(&f->plan->ops[k]) && f->plan->ops[k].dst[0] == '/' &&
			    immure_path_is_under(f->plan->ops[k].dst, op->dst))
				return differ(f, &f->plan->ops[k], "hidden in the pool's sessions");
	}
	return 0;
}

void immure_plan_cover(const struct immure_plan *plan, bool *now)
{
	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];

		if (!now[i] || op->dst[0] != '/')
			continue;
		for (size_t k = i + 1; k < plan->ops_n; k++)
			if (is_mount(&plan->ops[k]) && immure_path_is_under(plan->ops[k].dst, op->dst))
				now[k] = true;
	}
}

static int32_t may_add(const struct fit *f, const struct immure_op *op)
{
	switch (op->kind) {
	case IMMURE_OP_BIND: /* read-only as well: a view may be made of what is named */
	case IMMURE_OP_SYMLINK:
		if (in_workspace(f, op->dst))
			return 0;
		return differ(f, op, "the pool's policy does not give this");
	case IMMURE_OP_MASK:
	case IMMURE_OP_MASK_KEEP:
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
	case IMMURE_OP_TMPFS:
	case IMMURE_OP_DIR:
	case IMMURE_OP_FILE:
		return 0;
	default:
		return differ(f, op, "cannot be made anew in a session that waits");
	}
}

static int32_t mounts(const struct fit *f)
{
	int32_t r;

	for (size_t i = 0; i < f->plan->ops_n; i++)
		f->now[i] = is_mount(&f->plan->ops[i]);
	pair(f);
	r = taken_back(f);
	immure_plan_cover(f->plan, f->now);
	for (size_t i = 0; r == 0 && i < f->plan->ops_n; i++)
		if (f->now[i])
			r = may_add(f, &f->plan->ops[i]);
	return r;
}

int32_t immure_plan_fit(const struct immure_plan *base, const struct immure_plan *plan,
			struct immure_arena *a, bool **ret_now, struct immure_error **err)
{
	struct fit f = { .base = base, .plan = plan, .err = err };
	int32_t r;

	f.now = immure_arena_alloc(a, plan->ops_n + 1);
	f.had = immure_arena_alloc(a, base->ops_n + 1);
	if (!f.now || !f.had)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
	memset(f.had, 0, base->ops_n + 1);
	if (strcmp(base->backend, "native") != 0 || strcmp(plan->backend, "native") != 0)
		return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "backend",
				   "backend %s: its sessions cannot wait for a workspace", plan->backend);
	r = same_rest(&f);
	if (r == 0)
		r = rules(&f);
	if (r == 0)
		r = mounts(&f);
	if (r == 0)
		*ret_now = f.now;
	return r;
}
