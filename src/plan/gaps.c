/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked for and cannot be enforced here. Nothing that is asked is
 * dropped in silence: it is in an operation, or it is a gap. An approved gap is
 * never filled with something wider: a network rule that cannot be judged
 * reaches nothing, a cow workspace becomes read-only, a secret is not given. */
#include <string.h>

#include "plan/compile.h"
#include "plan/render.h"
#include "plan/require.h"

void immure_compile_gap(struct immure_compile *b, bool final, const char *key,
		      const char *dimension, const char *what, const char *remedy)
{
	struct immure_plan *plan = b->plan;

	if (!what || !remedy)
		return; /* out of memory: the arena knows */
	if (plan->gaps_n == b->gaps_cap) {
		size_t cap = b->gaps_cap ? b->gaps_cap * 2 : 8;
		struct immure_gap *gaps = immure_arena_alloc(b->a, cap * sizeof(*gaps));

		if (!gaps)
			return;
		if (plan->gaps_n)
			memcpy(gaps, plan->gaps, plan->gaps_n * sizeof(*gaps));
		plan->gaps = gaps;
		b->gaps_cap = cap;
	}
	plan->gaps[plan->gaps_n++] = (struct immure_gap){
		.key = key, .dimension = dimension, .what = what,
		.remedy = final ? remedy : immure_require_remedy(b->a, b->p, key, dimension, remedy),
		.approved = !final && immure_require_approved(b->p, key, dimension),
	};
}

static void gap_cow(struct immure_compile *b)
{
	const char *what = "this backend gives no copy-on-write workspace";

	if (strcmp(b->report->backend, "native") == 0)
		what = b->f->overlay_userns == IMMURE_NO ?
			       "an overlay cannot be mounted in a user namespace here" :
		       !*immure_compile_state(b) ? "there is no directory to keep the changes in" :
						   "another identity cannot copy the caller's files";
	immure_compile_gap(b, false, "workspace.mode", "writable_layer", what,
			 "workspace.mode: rw or ro; cow needs backend native, Linux 5.11, a state "
			 "directory and the caller's identity");
}

static void gap_files(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;

	if (p->workspace_mode == IMMURE_WORKSPACE_COW && !immure_compile_cow(b))
		gap_cow(b);
	if ((p->mounts.n || p->workspace_target || p->workspace_mode == IMMURE_WORKSPACE_SCRATCH) &&
	    strcmp(b->report->backend, "native") != 0 && strcmp(b->report->backend, "bwrap") != 0 &&
	    strcmp(b->report->backend, "wsl2") != 0 && strcmp(b->report->backend, "remote") != 0)
		immure_compile_gap(b, true, p->mounts.n ? "files.mounts" :
				   p->workspace_target ? "workspace.target" : "workspace.mode", "file_write",
				   "nothing can be mounted at another path without a mount namespace",
				   "take it out of the policy, or backend native or bwrap");
	immure_compile_image_gaps(b);
}

static void gap_calls(struct immure_compile *b)
{
	const char *s = b->p->syscalls;
	const struct immure_fact_path *file;

	/* Of this host, which is not where a plan for another platform is applied. */
	if (b->f->seccomp == IMMURE_NO && !immure_elsewhere_is(b->report->backend))
		immure_compile_gap(b, true, "syscalls", "syscalls",
				 "seccomp filters do not work here",
				 "use a kernel with CONFIG_SECCOMP_FILTER");
	if (!s || s[0] != '/')
		return;
	file = immure_facts_path(b->f, s);
	if (!file || !file->real || file->type != 'f')
		immure_compile_gap(b, true, "syscalls", "syscalls",
				 immure_arena_printf(b->a, "%s: no such filter", s),
				 "build it, or syscalls: default or strict");
}

static void gap_facts(struct immure_compile *b)
{
	const struct immure_facts *f = b->f;

	if (f->userns == IMMURE_NO || f->userns_mount == IMMURE_NO)
		immure_compile_gap(b, true, "backend", "file_write",
				 "user namespaces with mounts of their own do not work here",
				 "immure doctor tells why and what helps");
	if (f->userns_proc == IMMURE_NO)
		immure_compile_gap(b, true, "(always)", "process_visibility",
				 "a /proc of its own cannot be mounted here",
				 "immure doctor tells why and what helps");
	if (b->netns && f->netns == IMMURE_NO)
		immure_compile_gap(b, true, "network.mode", "network_egress",
				 "network namespaces do not work here",
				 "immure doctor tells why and what helps");
}

static const char *said(const char *s, const char *otherwise)
{
	return s && *s ? s : otherwise;
}

/* Whether the backend that was chosen, or named, can be used at all, and whether it
 * is what the caller requires. */
static void gap_backend(struct immure_compile *b)
{
	const struct immure_backend_report *r = b->report;

	b->plan->backend = immure_arena_strdup(b->a, r->backend);
	if (b->unusable)
		immure_compile_gap(b, true, "backend", "backend",
				 immure_arena_printf(b->a, "backend %s cannot be used: %s", r->backend,
						     said(r->why, "unknown")),
				 immure_arena_strdup(b->a, said(r->remedy, "backend: auto; immure "
							       "doctor tells what helps")));
	immure_require_gaps(b, r);
}

int32_t immure_compile_gaps(struct immure_compile *b)
{
	gap_backend(b);
	if (strcmp(b->report->backend, "native") == 0)
		gap_facts(b);
	immure_elsewhere_gaps(b);
	gap_files(b);
	immure_compile_network_gaps(b);
	immure_compile_lend_gaps(b);
	immure_compile_intercept_gaps(b);
	gap_calls(b);
	return b->a->failed ? -IMMURE_ERR_NOMEM : 0;
}
