/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "facts/facts.h"
#include "lib/options.h"
#include "plan/plan.h"
#include "policy/policy.h"

int32_t immure_plan_create(const immure_policy *policy, const struct immure_plan_options *options,
			   immure_plan **ret, immure_error **err)
{
	struct immure_plan_options o;
	struct immure_arena paths_arena = IMMURE_ARENA_INIT;
	struct immure_strv paths = { 0 };
	struct immure_facts *f = NULL;
	int32_t r = immure_options_copy(&o, sizeof(o), options, "plan", err);

	if (r == 0)
		r = immure_facts_gather(o.facts, o.env, &f, err);
	if (r == 0)
		r = immure_plan_interest(policy, f, &paths_arena, &paths, err);
	if (r == 0)
		r = immure_facts_examine(f, &paths, err);
	if (r == 0) {
		struct immure_command cmd = { .argv = o.argv, .env = o.env, .cwd = o.cwd };

		r = immure_plan_make(policy, f, &cmd, ret, err);
	}
	immure_arena_done(&paths_arena);
	immure_facts_free(f);
	return r;
}

void immure_plan_free(immure_plan *plan)
{
	immure_plan_destroy(plan);
}

const char *immure_plan_hash(const immure_plan *plan)
{
	return plan->hash;
}

int32_t immure_plan_check(const immure_plan *plan, immure_error **err)
{
	return immure_plan_startable(plan, err);
}
