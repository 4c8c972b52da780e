/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in one line: what can be written, what of the host can be read, the network, the
 * limits, and what was given up. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"
#include "plan/plan.h"

enum { NAMED = 4 };

static bool is_writable(const struct immure_plan *p, const struct immure_op *op)
{
	if (immure_plan_is_bare(p)) /* what a rule of the policy's own words grants */
		return op->kind == IMMURE_OP_LANDLOCK_RULE &&
		       (strcmp(op->key, "workspace.mode") == 0 || strcmp(op->key, "files.write") == 0);
	return op->kind == IMMURE_OP_BIND && !(op->flags & IMMURE_OPF_RO);
}

static void writes(struct immure_buf *o, const struct immure_plan *p)
{
	const char *copied = NULL;
	size_t n = 0, areas = 0;

	immure_buf_puts(o, "writes ");
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->kind == IMMURE_OP_OVERLAY && op->flags & IMMURE_OPF_KEPT)
			copied = op->dst;
		areas += op->kind == IMMURE_OP_TMPFS && !(op->flags & IMMURE_OPF_RO);
		if (!is_writable(p, op) || n++ >= NAMED)
			continue;
		immure_buf_puts(o, n > 1 ? ", " : "");
		immure_buf_put_printable(o, op->dst, strlen(op->dst));
	}
	if (n > NAMED)
		immure_buf_printf(o, " and %zu more", n - NAMED);
	if (n == 0)
		immure_buf_puts(o, "nothing of the host");
	if (copied) {
		immure_buf_puts(o, ", a copy of ");
		immure_buf_put_printable(o, copied, strlen(copied));
	}
	if (areas)
		immure_buf_printf(o, ", %zu private area%s", areas, areas > 1 ? "s" : "");
}

static void reads(struct immure_buf *o, const struct immure_plan *p)
{
	bool host = immure_plan_is_bare(p);
	size_t masked = 0;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		/* Also where the root is ours, and each entry of the host's stands in it. */
		if (op->kind == IMMURE_OP_ROOT_HOST ||
		    (op->kind == IMMURE_OP_BIND && strcmp(op->src, "/etc") == 0))
			host = true;
		masked += (op->kind == IMMURE_OP_MASK || op->kind == IMMURE_OP_MASK_KEEP ||
			   op->kind == IMMURE_OP_WITHHELD) && strcmp(op->key, "(always)") != 0;
	}
	immure_buf_printf(o, "; reads %s", host ? "the host's files" : "system directories");
	if (masked)
		immure_buf_printf(o, " but for %zu place%s", masked, masked > 1 ? "s" : "");
}

static void network(struct immure_buf *o, const struct immure_plan *p)
{
	size_t rules = 0;

	for (size_t i = 0; i < p->ops_n; i++)
		rules += p->ops[i].kind == IMMURE_OP_EGRESS_ALLOW;
	if (immure_plan_find(p, IMMURE_OP_NET_HOST))
		immure_buf_puts(o, "; network: the host's");
	else if (immure_plan_find(p, IMMURE_OP_EGRESS))
		immure_buf_printf(o, "; network: %zu rule%s", rules, rules == 1 ? "" : "s");
	else
		immure_buf_puts(o, "; no network");
}

static void limits(struct immure_buf *o, const struct immure_plan *p)
{
	static const enum immure_op_kind memory[] = { IMMURE_OP_CGROUP_MEMORY, IMMURE_OP_MEMORY_WATCH };
	const struct immure_op *op = NULL;
	char text[32];

	for (size_t i = 0; i < 2 && !op; i++)
		op = immure_plan_find(p, memory[i]);
	if (op)
		immure_buf_printf(o, "; memory %s", immure_format_size(op->num[0], text, sizeof(text)));
	op = immure_plan_find(p, IMMURE_OP_WALL_TIME);
	if (op)
		immure_buf_printf(o, "; time %s", immure_format_duration(op->num[0], text, sizeof(text)));
}

char *immure_plan_line(const struct immure_plan *p)
{
	struct immure_buf o = IMMURE_BUF_INIT;
	size_t given_up = 0;

	immure_buf_printf(&o, "%s: ", p->backend);
	writes(&o, p);
	reads(&o, p);
	network(&o, p);
	limits(&o, p);
	for (size_t i = 0; i < p->gaps_n; i++)
		given_up += p->gaps[i].approved;
	if (given_up)
		immure_buf_printf(&o, "; %zu downgrade%s", given_up, given_up > 1 ? "s" : "");
	immure_buf_printf(&o, "; %s", p->policy_version);
	return immure_buf_take(&o);
}
