/* SPDX-License-Identifier: Apache-2.0 */
/* What the command left in the tree that some program on the host would obey:
 * found when the session has ended and nothing of it runs any more, reported,
 * and moved out of the tree unless the policy allows it. */
#ifndef IMMURE_SESSION_WATCH_H
#define IMMURE_SESSION_WATCH_H

#include <time.h>

#include "plan/plan.h"
#include "session/result.h"

/* since: CLOCK_REALTIME_COARSE before the session started; for patterns that
 * match anywhere, what is older was there before. state_dir: where the
 * quarantine is made (0700), NULL = nowhere: found things are only reported. */
void immure_watch_collect(const struct immure_plan *p, const struct timespec *since,
			  const char *state_dir, struct immure_result *result);

#endif
