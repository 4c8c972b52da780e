/* SPDX-License-Identifier: Apache-2.0 */
/* Requirements against a backend's report, and what of a shortfall is approved. */
#ifndef IMMURE_PLAN_REQUIRE_H
#define IMMURE_PLAN_REQUIRE_H

#include "facts/report.h"
#include "plan/compile.h"

/* One gap for each thing required that r does not offer with this policy. */
void immure_require_gaps(struct immure_compile *b, const struct immure_backend_report *r);

/* Whether exactly this downgrade is accepted: the policy lists it and the caller
 * approves it. */
bool immure_require_approved(const struct immure_policy *p, const char *key,
			     const char *dimension);
/* What to do about a gap; says so when the caller approved what no policy lists. */
const char *immure_require_remedy(struct immure_arena *a, const struct immure_policy *p,
				  const char *key, const char *dimension, const char *remedy);

#endif
