/* SPDX-License-Identifier: Apache-2.0 */
#include "facts/facts.h"

IMMURE_API int32_t immure_facts_probe(uint32_t flags, const char *const *env,
				      immure_facts **ret, immure_error **err)
{
	if (!ret)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "facts", "ret",
				   "facts: no place for the result");
	return immure_facts_gather(flags, env, ret, err);
}

IMMURE_API void immure_facts_free(immure_facts *facts)
{
	immure_facts_destroy(facts);
}
