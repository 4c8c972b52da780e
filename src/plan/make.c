/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the parts of the compiler in the order of the stages. No system call is
 * made anywhere in this folder: what is not in the policy, the facts or the
 * command does not exist. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/path.h"
#include "plan/bare.h"
#include "plan/render.h"

static bool simple(struct immure_compile *b, enum immure_op_kind kind)
{
	return immure_compile_op(b, kind, NULL, NULL, "(always)");
}

/* Decides what stands where; the mounts themselves are made from it later. */
int32_t immure_compile_points(struct immure_compile *b)
{
	const struct immure_fact_path *home = b->f->home ? immure_facts_path(b->f, b->f->home) :
							   NULL;
	int32_t r;

	b->netns = b->p->network != IMMURE_NETWORK_HOST;
	b->home = home && home->real ? home->real : b->f->home;
	r = immure_compile_names(b);
	if (r == 0)
		r = immure_compile_files(b);
	if (r == 0)
		r = immure_compile_lend(b);
	if (r == 0)
		r = immure_compile_view(b);
	if (r == 0)
		r = immure_compile_masks(b);
	if (r == 0)
		r = immure_compile_protect(b);
	if (r == 0)
		r = immure_compile_mounted(b);
	return r < 0 ? r : immure_compile_aliases(b);
}

static int32_t seccomp(struct immure_compile *b)
{
	const char *s = b->p->syscalls ? b->p->syscalls : "default";
	struct immure_op *op = immure_compile_op(b, IMMURE_OP_SECCOMP,
					       immure_arena_strdup(b->a, s), NULL, "syscalls");

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = 1u << AF_UNIX | 1u << AF_INET | 1u << AF_INET6 | 1u << AF_NETLINK;
	op->num[2] = immure_compile_listed(b);
	op->num[3] = immure_compile_denied_groups(b);
	return 0;
}

static int32_t inside(struct immure_compile *b)
{
	int32_t r;

	if (!immure_compile_op(b, IMMURE_OP_HOSTNAME, "immure", NULL, "(always)") ||
	    !simple(b, IMMURE_OP_PIVOT))
		return -IMMURE_ERR_NOMEM;
	r = immure_compile_network(b);
	if (r < 0)
		return r;
	if (!simple(b, IMMURE_OP_CLOSE_FDS) || !simple(b, IMMURE_OP_DROP_CAPS) ||
	    !simple(b, IMMURE_OP_NO_NEW_PRIVS) || !simple(b, IMMURE_OP_KEYRING))
		return -IMMURE_ERR_NOMEM;
	r = immure_compile_landlock(b);
	if (r < 0)
		return r;
	if (!simple(b, IMMURE_OP_SELF_CHECK))
		return -IMMURE_ERR_NOMEM;
	r = seccomp(b);
	if (r < 0)
		return r;
	return simple(b, IMMURE_OP_EXEC) ? 0 : -IMMURE_ERR_NOMEM;
}

static int32_t with_namespaces(struct immure_compile *b)
{
	int32_t r = immure_compile_limits(b);

	if (r == 0)
		r = immure_compile_identity(b);
	if (r == 0)
		r = immure_compile_tree(b);
	return r < 0 ? r : inside(b);
}

/* A home that is not there is not made for the quarantine's sake. */
const char *immure_compile_state(const struct immure_compile *b)
{
	const struct immure_fact_path *home = b->f->home ? immure_facts_path(b->f, b->f->home) :
							   NULL;

	if (!b->f->state_dir)
		return "";
	if (home && !home->real && !home->errnum &&
	    immure_path_is_under(b->f->state_dir, b->f->home))
		return "";
	return b->f->state_dir;
}

static int32_t compile(struct immure_compile *b)
{
	int32_t r;

	b->bare = strcmp(b->report->backend, "landlock") == 0;
	r = b->settled ? 0 : immure_compile_points(b);
	if (r == 0)
		r = b->bare ? immure_bare_compile(b) : with_namespaces(b);
	if (r == 0)
		r = immure_compile_command(b);
	if (r == 0)
		r = immure_compile_supervision(b);
	if (r == 0)
		r = immure_compile_gaps(b);
	if (r < 0)
		return r;
	b->plan->profile = immure_arena_strdup(b->a, b->p->profile ? b->p->profile : "");
	b->plan->policy_version = immure_arena_strdup(b->a, b->p->version);
	b->plan->workspace = b->workspace;
	b->plan->state_dir = immure_arena_strdup(b->a, immure_compile_state(b));
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}

static int32_t by_bubblewrap(struct immure_compile *b)
{
	int32_t r = compile(b);

	return r < 0 ? r : immure_compile_bwrap(b);
}

const struct immure_planner immure_planners[] = {
	{ "native", compile, false },
	{ "bwrap", by_bubblewrap, false },
	{ "landlock", compile, false },
	{ "seatbelt", immure_elsewhere_compile, true },
	{ "vz", immure_elsewhere_compile, true },
	{ "wsl2", immure_elsewhere_compile, true },
	{ "remote", immure_elsewhere_compile, true },
};
const size_t immure_planners_n = sizeof(immure_planners) / sizeof(immure_planners[0]);

void immure_plan_destroy(struct immure_plan *p)
{
	if (!p)
		return;
	immure_arena_done(&p->arena);
	free(p);
}

/* The remedy of the first; of the others, what they are about. */
static void hint_at(const struct immure_plan *p, const struct immure_gap *first, struct immure_error *err)
{
	const struct immure_gap *end = p->gaps + p->gaps_n;
	char others[256] = "";
	size_t at = 0;

	for (const struct immure_gap *g = first + 1; g < end && at < sizeof(others); g++)
		if (!g->approved)
			at += (size_t)snprintf(others + at, sizeof(others) - at, "%s%s",
					       at ? ", " : "; also missing: ",
					       g->dimension && g->dimension[0] ? g->dimension : g->key);
	immure_error_set_hint(err, "%s%s", first->remedy, others);
}

int32_t immure_plan_startable(const struct immure_plan *p, struct immure_error **err)
{
	for (size_t i = 0; i < p->gaps_n; i++) {
		const struct immure_gap *g = &p->gaps[i];

		if (g->approved)
			continue;
		(void)immure_fail(err, IMMURE_ERR_GAP, 0, "plan", g->key, "%s: %s", g->key, g->what);
		if (err && *err)
			hint_at(p, g, *err);
		return -IMMURE_ERR_GAP;
	}
	return 0;
}

bool immure_plan_is_bare(const struct immure_plan *p)
{
	/* In the order of stages; a plan without has many operations after. */
	for (size_t i = 0; i < p->ops_n && p->ops[i].stage <= IMMURE_STAGE_NAMESPACE; i++)
		if (p->ops[i].kind == IMMURE_OP_NAMESPACES)
			return false;
	return true;
}

const char *immure_plan_inside(const struct immure_plan *p)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if ((p->ops[i].kind == IMMURE_OP_BIND || p->ops[i].kind == IMMURE_OP_LAYER) && strcmp(p->ops[i].key, "workspace.target") == 0 &&
		    strcmp(p->ops[i].src, p->workspace) == 0)
			return p->ops[i].dst;
	return p->workspace;
}

const char *immure_plan_agent(const struct immure_plan *p)
{
	const struct immure_op *op = immure_plan_find(p, IMMURE_OP_AGENT);

	return op ? op->src : "";
}

const struct immure_op *immure_plan_find(const struct immure_plan *p, enum immure_op_kind kind)
{
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == kind)
			return &p->ops[i];
	return NULL;
}
