/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "facts/facts.h"
#include "policy/policy.h"

enum { WAIT_MS = 1000 };

IMMURE_API int32_t immure_scope_enter(const immure_policy *policy, const char *const *env, immure_error **err)
{
	int r;

	if (policy && !policy->limits.memory && !policy->limits.processes && !policy->limits.cpus)
		return 0;
	r = immure_facts_enter_scope(env, WAIT_MS);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_IO, -r, "scope", "", "the user's service manager gives no scope: %s",
				   strerror(-r));
	return r;
}
