/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead session left in the world, by its journal, and its removal:
 *
 *   open     its lock is ours; what is standing
 *   kill     everything of it that may still run
 *   clear    waits for that, removes resource by resource, then the entry
 *
 * kill of all comes before clear of the first, so that many die at once. */
#ifndef IMMURE_SESSION_REMAINS_H
#define IMMURE_SESSION_REMAINS_H

#include "session/gc.h"
#include "session/journal.h"

enum { IMMURE_REMAINS_PIDFDS = 8 };

struct immure_remains {
	struct immure_entry entry;
	struct immure_owner owner;     /* who kept it; pid 0 = not known */
	bool this_boot;                /* else only files can be left */
	struct immure_journal journal; /* fd -1 when it cannot be written to */
	int journal_error;             /* 0, -ENOENT there is none, -EBADMSG ... */
	struct immure_standing *standing;
	size_t standing_n;
	struct {
		int fd;
		size_t of; /* index into standing; SIZE_MAX = the supervisor */
	} killed[IMMURE_REMAINS_PIDFDS];
	size_t killed_n;
	uint64_t deadline_ms; /* monotonic: when waiting for the killed ends */
};

/* Takes e over. lock: become its keeper; else (dry run) only look. 0, or -EAGAIN when
 * somebody keeps it, -ENOENT when there is no lock: half-made, or gone. */
int immure_remains_open(struct immure_entry *e, bool lock, struct immure_remains *ret);
/* It ended in order, and is kept on record for whoever wants to know. */
bool immure_remains_sealed(const struct immure_remains *m);
void immure_remains_kill(struct immure_remains *m, uint32_t grace_ms);
/* True when nothing is left. */
bool immure_remains_clear(struct immure_remains *m, const struct immure_gc *gc,
			  struct immure_registry *r, struct immure_report *report);
/* What clear would do. */
void immure_remains_list(const struct immure_remains *m, struct immure_report *report);
void immure_remains_done(struct immure_remains *m);

#endif
