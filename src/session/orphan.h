/* SPDX-License-Identifier: Apache-2.0 */
/* A one-shot run whose supervisor was killed. What it would have done at the end
 * about files that the host obeys, the process that outlives it does (janitor.h),
 * and leaves a note for gc to tell: nobody is there to read a result. */
#ifndef IMMURE_SESSION_ORPHAN_H
#define IMMURE_SESSION_ORPHAN_H

#include <stdbool.h>
#include <time.h>

#include "plan/plan.h"
#include "session/report.h"

struct immure_orphan {
	const struct immure_plan *plan;
	const char *state_dir; /* may be NULL: then files are found, and nothing can be done */
	struct timespec since; /* CLOCK_REALTIME_COARSE before the start */
};

/* ctx: struct immure_orphan. */
void immure_orphan_collect(void *ctx);
/* What such notes say; unless dry_run they are removed. */
void immure_orphan_report(const char *state_dir, bool dry_run, struct immure_report *report);

#endif
