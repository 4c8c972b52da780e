/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/proving.h"

int32_t immure_proving_prepare(struct immure_proving *p, const struct immure_plan *plan,
			       const struct immure_run_options *o, struct immure_error **err)
{
	(void)p;
	(void)plan;
	(void)o;
	return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "proof", "", "this build has no proof");
}

void immure_proving_done(struct immure_proving *p)
{
	(void)p;
}
