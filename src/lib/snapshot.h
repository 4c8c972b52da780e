/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on the side of their users. */
#ifndef IMMURE_LIB_SNAPSHOT_H
#define IMMURE_LIB_SNAPSHOT_H

#include "lib/session.h"
#include "session/snapstore.h"

struct immure_facts;

/* ---- api_snapshot.c ---- */
/* Where they are kept; state_dir is set. */
int32_t immure_snapshot_places(const char *const *env, struct immure_facts **ret, struct immure_error **err);
/* The session's files into file_fd, which is empty; what its server says of them, as JSON. path:
 * of that file, for the session's journal; NULL: it has none. */
int32_t immure_snapshot_save(immure_session *session, int file_fd, const char *path, char **ret_about,
			     struct immure_error **err);

/* ---- api_resume.c ---- */
/* The plan of a session with such files: by their policy, or the one in the options, on this host
 * as it is now. */
int32_t immure_resume_plan(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			   const struct immure_resume_options *o, immure_plan **ret, struct immure_error **err);
/* What is asked of each session of such a plan before anybody gets it: the arguments of "tighten"
 * and "net", each empty when there is nothing. One session is made, looked at, and ended. */
int32_t immure_resume_orders(const immure_plan *plan, const struct immure_session_options *o, int files_fd,
			     const struct immure_jsonr *json, const struct immure_jsonr_value *about, bool own,
			     struct immure_buf ret[2], struct immure_error **err);

/* ---- snapsaid.c: SNAPSHOT when it is not such a thing ---- */
/* The request "tighten" for all that was tightened; ret, an empty buffer, stays so when nothing was. */
int32_t immure_said_tightened(const struct immure_jsonr *json, const struct immure_jsonr_value *about,
			      struct immure_buf *ret, struct immure_error **err);
/* Whether that rule was in force; true as well where there were none to be, and where they cannot
 * be read, which immure_said_narrowed() refuses. */
bool immure_said_allowed(const struct immure_jsonr *json, const struct immure_jsonr_value *about, const char *rule);
/* The request "net" that leaves of the rules in force now, which are the server's answer, what the old
 * session had as well; empty when that is all of them. */
int32_t immure_said_narrowed(const struct immure_jsonr *was, const struct immure_jsonr_value *old,
			     const struct immure_jsonr *is, const struct immure_jsonr_value *now, struct immure_buf *ret,
			     struct immure_error **err);

#endif
