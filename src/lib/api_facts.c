/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "facts/facts.h"
#include "facts/report.h"

IMMURE_API int32_t immure_facts_probe(uint32_t flags, const char *const *env,
				      immure_facts **ret, immure_error **err)
{
	if (!ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "facts", "ret",
				   "facts: no place for the result");
	return immure_facts_gather(flags, env, ret, err);
}

IMMURE_API void immure_facts_free(immure_facts *facts)
{
	immure_facts_destroy(facts);
}

IMMURE_API int32_t immure_facts_report(const immure_facts *facts, int32_t json, char **ret,
				       immure_error **err)
{
	char *text;

	if (!facts || !ret)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "facts", "",
				   "facts: nothing to report, or no place for it");
	text = json ? immure_facts_json(facts) : immure_facts_text(facts);
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "",
				   "facts: out of memory");
	*ret = text;
	return 0;
}
