/* SPDX-License-Identifier: Apache-2.0 */
/* On whose behalf a command runs, who is asked before it does, and where that is written
 * down. */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

static const char KEY[] = "mediator.ask";

enum { ANSWER_MS = 500, WAIT_MS = 300000 };

static int32_t agent(struct immure_compile *b)
{
	if (b->p->agent)
		return immure_compile_op(b, IMMURE_OP_AGENT, immure_arena_strdup(b->a, b->p->agent), NULL,
					 "agent") ? 0 : -IMMURE_ERR_NOMEM;
	if (!b->p->require_agent)
		return 0;
	(void)immure_compile_refuse(b, "require.agent", "no agent is named");
	immure_compile_hint(b, "--agent ID, or agent in the policy");
	return -IMMURE_ERR_POLICY;
}

static bool in_writable(const struct immure_compile *b, const char *path)
{
	const struct immure_fact_path *s = immure_facts_path(b->f, path);
	const char *slash = strrchr(path, '/');
	const char *dir = slash == path ? "/" : immure_arena_strndup(b->a, path, (size_t)(slash - path));
	const struct immure_fact_path *d = dir ? immure_facts_path(b->f, dir) : NULL;

	return immure_compile_writable(b, path) || (s && s->real && immure_compile_writable(b, s->real)) ||
	       (d && d->real && immure_compile_writable(b, d->real));
}

static int32_t journal(struct immure_compile *b)
{
	const char *path = b->p->journal ? immure_compile_path(b->a, b->p, b->f, b->p->journal) : NULL;
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;

	if (!b->p->journal)
		return 0;
	if (!s || !s->real || s->type != 'd')
		return immure_compile_refuse(b, "journal", "%s: %s", path ? path : b->p->journal,
					     !s ? "cannot be examined" : s->real ? "not a directory" :
					     "does not exist");
	for (size_t i = 0; i < b->roots_n; i++)
		if (immure_path_is_under(s->real, b->roots[i].real))
			return immure_compile_refuse(b, "journal", "%s lies where the command can write: it "
						     "could change what is on record", s->real);
	return immure_compile_op(b, IMMURE_OP_JOURNAL, s->real, NULL, "journal") ? 0 : -IMMURE_ERR_NOMEM;
}

/* Settings of a mediator that nobody named would be obeyed by nobody. */
static int32_t nobody(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;

	if (p->mediator_mode == IMMURE_MEDIATOR_SYNC_WAIT && !p->mediator_answer && !p->mediator_wait &&
	    !p->mediator_budget)
		return 0;
	(void)immure_compile_refuse(b, KEY, "missing: other keys of mediator say how somebody is asked");
	immure_compile_hint(b, "--mediator unix:PATH or program:PATH");
	return -IMMURE_ERR_POLICY;
}

int32_t immure_compile_mediator(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	bool program = p->mediator && strncmp(p->mediator, "program:", 8) == 0;
	struct immure_op *op;
	const char *path;

	int32_t r = agent(b);

	if (r == 0)
		r = journal(b);
	if (r < 0)
		return r;
	if (!p->mediator)
		return nobody(b);
	path = immure_compile_path(b->a, p, b->f, p->mediator + (program ? 8 : 5));
	if (!path)
		return immure_compile_refuse(b, KEY, "%s: cannot be made absolute", p->mediator);
	if (in_writable(b, path)) {
		(void)immure_compile_refuse(b, KEY, "%s lies where the command can write: it could answer "
					    "itself", path);
		immure_compile_hint(b, "a path outside the workspace and files.write");
		return -IMMURE_ERR_POLICY;
	}
	op = immure_compile_op(b, IMMURE_OP_MEDIATOR, path, NULL, KEY);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = program;
	op->num[1] = p->mediator_mode == IMMURE_MEDIATOR_ASYNC_TOKEN;
	op->num[2] = p->mediator_answer ? p->mediator_answer : ANSWER_MS;
	op->num[3] = p->mediator_wait ? p->mediator_wait : WAIT_MS;
	if (p->mediator_budget &&
	    !immure_compile_op(b, IMMURE_OP_MEDIATOR_BUDGET, immure_arena_strdup(b->a, p->mediator_budget),
			       NULL, "mediator.budget"))
		return -IMMURE_ERR_NOMEM;
	return 0;
}
