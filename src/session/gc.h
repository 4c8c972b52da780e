/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of sessions that nobody keeps any more, found and removed. */
#ifndef IMMURE_SESSION_GC_H
#define IMMURE_SESSION_GC_H

#include <stdbool.h>
#include <stdint.h>

#include "session/registry.h"
#include "session/report.h"

struct immure_gc {
	const char *runtime_dir;
	const char *state_dir;  /* notes of one-shot runs; NULL = none */
	bool dry_run;
	bool force;             /* also entries whose journal cannot be believed */
	bool ended;             /* also the records of sessions that ended in order */
	uint32_t grace_ms;      /* how long to wait for what was killed; 0 = 2000 */
};

/* All dead sessions, half-made entries, names without one, leaf cgroups without a
 * session. Everything that went wrong is in the report; an error only when
 * nothing could be looked at. */
int32_t immure_gc_run(const struct immure_gc *gc, struct immure_report *report,
		      struct immure_error **err);
/* One session: stops a living supervisor first (SIGTERM, after stop_ms SIGKILL), then
 * removes all of it. For reclaim and for rm --force. Repeatable. */
int32_t immure_gc_session(const struct immure_gc *gc, struct immure_registry *r,
			  struct immure_entry *e, uint32_t stop_ms, struct immure_report *report,
			  struct immure_error **err);

#endif
