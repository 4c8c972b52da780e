/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on the side of a session's server: its files into a file that a client opened, and
 * out of one into a session that is being made.
 *
 *   snapareas.c  which trees those are
 *   snapask.c    saved: the session frozen, a child that reads, the answer
 *   snapfill.c   put back, before anybody gets the session */
#ifndef IMMURE_SESSION_SNAPSHOT_H
#define IMMURE_SESSION_SNAPSHOT_H

#include "session/serve.h"
#include "session/snapfiles.h"

enum { IMMURE_SNAP_AREAS = 128 };

struct immure_snap_areas {
	struct immure_snap_area v[IMMURE_SNAP_AREAS];
	size_t n;
};

#define IMMURE_SNAP_AREAS_INIT { .n = 0 }

/* ---- snapareas.c ---- */

/* Those of the kinds ("p", "c"), open; whose files theirs are, seen from inside the session, of
 * a workspace from outside. UNSUPPORTED, with the policy key: something cannot be saved. */
int32_t immure_snap_areas(const struct immure_server *s, const char *kinds, struct immure_snap_areas *ret,
			  struct immure_error **err);
void immure_snap_areas_done(struct immure_snap_areas *a);
/* In a child of the server: with the rights of the session's owner over its files, and none
 * elsewhere. become: what it makes is the session's. 0 or -errno. */
int immure_snap_enter(const struct immure_server *s, bool become);

/* ---- snapask.c ---- */

int32_t immure_snapshot_ask(struct immure_ask *a);
/* What may not be asked meanwhile. */
int32_t immure_snapshot_busy(struct immure_ask *a);
/* Whether it waits for the answer. */
bool immure_snapshot_is_for(const struct immure_server *s, const struct immure_client *c);
/* Init has done what was asked before: nobody inside runs any more. true: it was for this. */
bool immure_snapshot_quiet(struct immure_server *s);
/* Somebody inside runs again, or the session ends: it will not be one. */
void immure_snapshot_spoil(struct immure_server *s, const char *why);
/* Nobody is there any more to finish it. */
void immure_snapshot_client_gone(struct immure_server *s, const struct immure_client *c);
void immure_snapshot_done(struct immure_server *s);

/* ---- snapfill.c ---- */

/* Takes {"fd":N} of create. */
int32_t immure_snapshot_given(struct immure_ask *a);
/* Before init is there: what was changed in the workspace. */
int32_t immure_snapshot_fill_upper(struct immure_server *s, struct immure_error **err);
/* When it is there, and nothing of a client's has run: the private areas. */
int32_t immure_snapshot_fill(struct immure_server *s, struct immure_error **err);

/* ---- life.c ---- */

int immure_life_pause(struct immure_server *s); /* frozen, for a snapshot; 0 or -errno */
int immure_life_go_on(struct immure_server *s);

#endif
