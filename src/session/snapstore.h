/* SPDX-License-Identifier: Apache-2.0 */
/* Where snapshots are kept:
 *
 *   STATE/snapshots/ID/   0700, ours; .new.ID while it is being made
 *     lock                write-locked (OFD) while it is being made
 *     files               snapfiles.h
 *     meta                "immure-snapshot 1 HASH", then JSON; HASH is that of the JSON, in which
 *                         the hash of files is
 *
 * What has an id for a name is whole. Names are in the meta, and unique among them. */
#ifndef IMMURE_SESSION_SNAPSTORE_H
#define IMMURE_SESSION_SNAPSTORE_H

#include <limits.h>

#include "base/error.h"
#include "base/jsonr.h"
#include "session/registry.h"
#include "session/report.h"

struct immure_snapstore {
	char id[IMMURE_ID_LEN + 1];
	char path[PATH_MAX]; /* of the directory as it is called now */
	int all_fd, dir_fd, lock_fd, files_fd;
};

#define IMMURE_SNAPSTORE_INIT { .all_fd = -1, .dir_fd = -1, .lock_fd = -1, .files_fd = -1 }

/* One that is whole: what is said of it, and its files, of which nothing was checked but that
 * they are there. */
struct immure_snapshot_read {
	char id[IMMURE_ID_LEN + 1];
	int dir_fd, files_fd;
	char *text, *parsed;           /* the JSON; and once more, with json pointing into it */
	struct immure_jsonr_value *v;
	struct immure_jsonr json;
};

#define IMMURE_SNAPSHOT_READ_INIT { .dir_fd = -1, .files_fd = -1 }

/* A new one, to be filled: files_fd. */
int32_t immure_snapstore_begin(const char *state_dir, struct immure_snapstore *ret, struct immure_error **err);
/* A file without a name where snapshots are kept; gone when it is closed. */
int32_t immure_snapstore_nameless(const char *state_dir, int *ret_fd, struct immure_error **err);
/* From here on it is one. name: "" or one that no other has, else STATE. */
int32_t immure_snapstore_commit(struct immure_snapstore *s, const char *state_dir, const char *name, const char *json,
				struct immure_error **err);
/* Lets go; what was not committed is removed. */
void immure_snapstore_done(struct immure_snapstore *s);

/* name: a name, an id, or its unambiguous beginning (4 characters). SNAPSHOT: there is none, or
 * its meta is damaged. */
int32_t immure_snapstore_read(const char *state_dir, const char *name, struct immure_snapshot_read *ret,
			      struct immure_error **err);
/* What a meta says, into text, parsed, v and json of *s: 0, -EBADMSG when it is none, -ENOMEM. */
int immure_snapshot_parse(const char *data, size_t len, struct immure_snapshot_read *s);
/* Whether the files are those that it was made with. SNAPSHOT when not. */
int32_t immure_snapstore_verify(const struct immure_snapshot_read *s, struct immure_error **err);
void immure_snapshot_read_done(struct immure_snapshot_read *s);
/* By id, damaged ones too. */
int32_t immure_snapstore_remove(const char *state_dir, const char *name, struct immure_error **err);
/* Each entry's name; half-made ones (".new.ID") as they are called. */
int immure_snapstore_each(const char *state_dir, int (*each)(void *ctx, const char *name), void *ctx);
/* For gc: half-made ones that nobody makes any more go, damaged ones are named. */
void immure_snapstore_collect(const char *state_dir, bool dry_run, struct immure_report *report);

#endif
