/* SPDX-License-Identifier: Apache-2.0 */
/* What ties the session to the proof: bait, the attacker's streams, judging. */
#ifndef IMMURE_LIB_PROVING_H
#define IMMURE_LIB_PROVING_H

#include "evidence/bait.h"
#include "plan/plan.h"
#include "session/supervise.h"

struct immure_proving {
	const struct immure_plan *plan;
	struct immure_before before;
	struct immure_bait bait;
	int records_fd; /* reading end of the attacker's report */
};

#define IMMURE_PROVING_INIT                                                                      \
	{                                                                                        \
		.before = { .program_fd = -1, .stdin_fd = -1, .report_fd = -1 },                 \
		.bait = IMMURE_BAIT_INIT, .records_fd = -1                                       \
	}

int32_t immure_proving_prepare(struct immure_proving *p, const struct immure_plan *plan,
			       const struct immure_run_options *o, struct immure_error **err);
void immure_proving_done(struct immure_proving *p);

#endif
