/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the host that the policy lends (network.sockets). All others are masked
 * (masks.c), since a read-only mount does not stop connect(2).
 *
 * One that is named exactly is always a mount of its own, also where its surroundings
 * show it: the command cannot put anything else in its place. What the host puts there
 * shows only where the view is the host's tree: unlinking what somebody has mounted on
 * takes the mount away. Of a directory whatever lies below it can be connected to,
 * now and later.
 */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"
#include "plan/render.h"

static const char KEY[] = "network.sockets";

const char *immure_compile_socket(struct immure_arena *a, const struct immure_policy *p,
				  const struct immure_facts *f, const char *text)
{
	if (strcmp(text + (text[0] == '?'), IMMURE_POLICY_AGENT) == 0)
		return f->agent;
	return immure_compile_path(a, p, f, text);
}

bool immure_compile_lent(const struct immure_compile *b, const char *path)
{
	for (size_t i = 0; i < b->lent.n; i++)
		if (immure_path_is_under(path, b->lent.v[i]))
			return true;
	return false;
}

static int32_t lend_one(struct immure_compile *b, const struct immure_fact_path *s, bool all)
{
	struct immure_point *pt, copy;

	if (all && s->type != 'd')
		return immure_compile_refuse(b, KEY, "%s: not a directory", s->real);
	if (!all && s->type != 's') {
		(void)immure_compile_refuse(b, KEY, "%s: not a socket", s->real);
		if (s->type == 'd')
			immure_compile_hint(b, "%s/ lends all that are below it", s->real);
		return -IMMURE_ERR_POLICY;
	}
	if (strcmp(s->real, "/") == 0 || immure_compile_kernels(b, s->real))
		return immure_compile_refuse(b, KEY, "%s cannot be lent", s->real);
	if (immure_compile_is_ours(b, s->real))
		return immure_compile_refuse(b, KEY, "%s holds this program's own state", s->real);
	pt = immure_compile_point(b, IMMURE_POINT_READ, IMMURE_RANK_ALLOW, s->real, KEY);
	if (!pt || (all && !immure_strv_add(b->a, &b->lent, s->real)))
		return -IMMURE_ERR_NOMEM;
	pt->file = !all;
	pt->socket = true;
	copy = *pt; /* adding moves the array */
	if (strcmp(s->path, s->real) != 0)
		immure_compile_also_at(b, s, &copy);
	return 0;
}

static int32_t lend(struct immure_compile *b, const char *text)
{
	const char *path = immure_compile_socket(b->a, b->p, b->f, text);
	const struct immure_fact_path *s = path ? immure_facts_path(b->f, path) : NULL;
	bool all = text[strlen(text) - 1] == '/';

	if (text[0] == '?' && (!path || (s && !s->real && !s->errnum)))
		return 0;
	if (!path && strcmp(text, IMMURE_POLICY_AGENT) == 0) {
		(void)immure_compile_refuse(b, KEY, "SSH_AUTH_SOCK names no socket");
		immure_compile_hint(b, "start an agent, or write ?" IMMURE_POLICY_AGENT
				       " for one that may be missing");
		return -IMMURE_ERR_POLICY;
	}
	if (!s || s->errnum)
		return immure_compile_refuse(b, KEY, "%s: cannot be %s", text,
					   path ? "examined" : "made absolute");
	if (!s->real) {
		(void)immure_compile_refuse(b, KEY, "%s: does not exist", path);
		immure_compile_hint(b, "write ?%s for one that may be missing", text);
		return -IMMURE_ERR_POLICY;
	}
	/* Where the agent is, the caller's environment says. */
	if (strcmp(text + (text[0] == '?'), IMMURE_POLICY_AGENT) != 0 && immure_compile_no_escape(b, s, KEY) < 0)
		return -IMMURE_ERR_POLICY;
	return lend_one(b, s, all);
}

/* Why none can be; NULL: they can. */
static const char *unlendable(const struct immure_compile *b)
{
	if (b->bare)
		return "no unix socket can be made with this backend, so none can be lent";
	if (b->report && immure_elsewhere_is(b->report->backend))
		return "sockets of the host are not lent by this backend";
	return NULL;
}

int32_t immure_compile_lend(struct immure_compile *b)
{
	int32_t r = 0;

	for (size_t i = 0; i < b->p->sockets.n && r == 0 && !unlendable(b); i++)
		r = lend(b, b->p->sockets.v[i]);
	return r;
}

void immure_compile_lend_gaps(struct immure_compile *b)
{
	if (b->p->sockets.n && unlendable(b))
		immure_compile_gap(b, false, KEY, "ipc", unlendable(b),
				   "take network.sockets out of the policy, or backend native");
}
