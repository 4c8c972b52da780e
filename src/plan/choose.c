/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which backend a plan is for. One that the policy names is used or refused. Only
 * auto may choose: the first of the table, or of those that the caller prefers, whose
 * plan can be started. What it says about itself is not enough for that: the plan is
 * made, and its gaps are what decides. Why each earlier one was passed over is part
 * of the plan. When none can do it, the plan of the first is shown with its gaps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "plan/compile.h"

struct choice {
	const struct immure_policy *p;
	const struct immure_facts *f;
	const struct immure_command *cmd;
	struct immure_compile *begun; /* NULL: nothing, or taken */
	struct immure_arena a;
	struct immure_backend_report *reports;
	size_t reports_n;
	struct immure_buf passed; /* ", NAME: why" for each */
	const struct immure_planner *first; /* of those whose plan cannot be started */
};

static const struct immure_backend_report *report_of(const struct choice *c, const char *name)
{
	for (size_t i = 0; i < c->reports_n; i++)
		if (strcmp(c->reports[i].backend, name) == 0)
			return &c->reports[i];
	return NULL;
}

static const struct immure_planner *planner_of(const char *name)
{
	for (size_t i = 0; i < immure_planners_n; i++)
		if (strcmp(immure_planners[i].name, name) == 0)
			return &immure_planners[i];
	return NULL;
}

/* reason: why this one; the report's own words follow. */
static int32_t plan_for(struct choice *c, const struct immure_planner *planner,
			const struct immure_backend_report *report, const char *reason,
			struct immure_plan **ret, struct immure_error **err)
{
	bool begun = c->begun && planner && strcmp(planner->name, "landlock") == 0;
	struct immure_plan *plan = begun ? c->begun->plan : calloc(1, sizeof(*plan));
	struct immure_compile b = { .p = c->p, .f = c->f, .cmd = c->cmd, .plan = plan };
	const char *passed = c->passed.len ? c->passed.data : "";
	int32_t r;

	if (!plan)
		return -IMMURE_ERR_NOMEM;
	if (begun) { /* with all that was settled then */
		b = *c->begun;
		c->begun = NULL;
	}
	b.err = err;
	b.report = report;
	b.a = &plan->arena;
	b.unusable = !planner || report->available == IMMURE_NO;
	r = (planner ? planner : &immure_planners[0])->compile(&b);
	plan->backend_why = immure_arena_printf(b.a, "%s%s%s%s%s", reason, *passed ? "; passed over: " : "",
						*passed ? passed + 2 : "", report->why ? "; " : "",
						report->why ? report->why : "");
	if (r == 0 && b.a->failed)
		r = -IMMURE_ERR_NOMEM;
	if (r == 0)
		r = immure_plan_close(plan, err);
	if (r == 0)
		*ret = plan;
	else
		immure_plan_destroy(plan);
	return r;
}

static const char *first_gap(const struct immure_plan *plan)
{
	for (size_t i = 0; i < plan->gaps_n; i++)
		if (!plan->gaps[i].approved)
			return plan->gaps[i].what;
	return "";
}

static void pass_over(struct choice *c, const char *name, const char *why)
{
	immure_buf_printf(&c->passed, ", %s: %s", name, why && *why ? why : "cannot be used");
}

/* 0 with *ret set: it will do. */
static int32_t try_one(struct choice *c, const struct immure_planner *planner,
		       struct immure_plan **ret, struct immure_error **err)
{
	const struct immure_backend_report *report = report_of(c, planner->name);
	struct immure_plan *plan = NULL;
	int32_t r;

	if (!report || report->available == IMMURE_NO) {
		pass_over(c, planner->name, report ? report->why : "");
		return 0;
	}
	r = plan_for(c, planner, report,
		     "auto: the first that can enforce this policy", &plan, err);
	if (r < 0)
		return r;
	if (immure_plan_startable(plan, NULL) == 0) {
		*ret = plan;
		return 0;
	}
	pass_over(c, planner->name, first_gap(plan));
	immure_plan_destroy(plan);
	if (!c->first)
		c->first = planner;
	return 0;
}

static int32_t choose(struct choice *c, struct immure_plan **ret, struct immure_error **err)
{
	const struct immure_strv *prefer = &c->p->prefer;
	int32_t r = 0;

	for (size_t i = 0; i < prefer->n && r == 0 && !*ret; i++) {
		const struct immure_planner *planner = planner_of(prefer->v[i]);

		if (planner)
			r = try_one(c, planner, ret, err);
		else
			pass_over(c, prefer->v[i], "not built in this version");
	}
	for (size_t i = 0; i < immure_planners_n && r == 0 && !*ret; i++)
		if (!immure_planners[i].by_name && !immure_strv_has(prefer, immure_planners[i].name))
			r = try_one(c, &immure_planners[i], ret, err);
	if (r < 0 || *ret)
		return r;
	if (!c->first)
		c->first = &immure_planners[0];
	return plan_for(c, c->first, report_of(c, c->first->name),
			"auto: none can enforce this policy", ret, err);
}

static int32_t make(struct choice *c, struct immure_plan **ret, struct immure_error **err)
{
	const char *name = c->p->backend ? c->p->backend : "auto";
	const struct immure_backend_report *report;

	c->reports_n = immure_reports(c->f, &c->a, &c->reports);
	if (!c->reports_n)
		return -IMMURE_ERR_NOMEM;
	if (strcmp(name, "auto") == 0)
		return choose(c, ret, err);
	report = report_of(c, name);
	if (!report)
		return immure_fail(err, IMMURE_ERR_POLICY, 0, "plan", "backend",
				   "backend: no backend is called %s", name);
	return plan_for(c, planner_of(name), report, "named by the policy", ret, err);
}

int32_t immure_plan_make(const struct immure_policy *p, const struct immure_facts *f,
			 const struct immure_command *cmd, struct immure_compile **begun,
			 struct immure_plan **ret, struct immure_error **err)
{
	struct choice c = { .p = p, .f = f, .cmd = cmd, .passed = IMMURE_BUF_INIT };
	struct immure_plan *plan = NULL;
	int32_t r;

	if (begun) {
		c.begun = *begun;
		*begun = NULL;
	}
	r = make(&c, &plan, err);
	immure_plan_begun_free(c.begun); /* another backend it was */
	if (r == 0 && c.passed.failed) {
		immure_plan_destroy(plan);
		r = -IMMURE_ERR_NOMEM;
	}
	immure_buf_done(&c.passed);
	immure_arena_done(&c.a);
	if (r == 0)
		*ret = plan;
	return r == -IMMURE_ERR_NOMEM ? immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "plan", "",
						    "plan: out of memory") : r;
}
