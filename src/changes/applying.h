/* SPDX-License-Identifier: Apache-2.0 */
/* An apply under way: what landing and undoing share. */
#ifndef IMMURE_CHANGES_APPLYING_H
#define IMMURE_CHANGES_APPLYING_H

#include "changes/changes.h"

struct apply {
	struct immure_changes *c;
	struct immure_error **err;
	struct immure_steps s;
	int stage_fd;
	bool again;          /* after a crash: what is done is done */
	struct immure_strv *beside; /* not NULL: what cannot be taken back stays, and here is told what gave way */
	char stage[IMMURE_ID_LEN + 24];
};

/* Fills in the apply's error; its code. */
int32_t immure_apply_fail(const struct apply *a, const char *path, int errnum);
/* The name that step i has in the directory of ours: of what is new (""), of what was there (".old"). */
void immure_apply_number(size_t i, const char *what, char ret[40]);
bool immure_apply_stands(int dir, const char *name, struct stat *st);
/* To a name where nothing stands: 0, -EEXIST, -errno. */
int immure_apply_move(int from_dir, const char *from, int to_dir, const char *to);
/* -ESTALE when something else stands there now. */
int immure_apply_set_mode(const struct apply *a, const struct immure_step *s, uint32_t mode);
/* What stands there is what landed, as far as its copy tells: else it is somebody's work. */
bool immure_apply_is_ours(const struct apply *a, size_t i, int dir, const char *name);
int immure_apply_remove_stage(struct apply *a);
/* The directory goes, and the journal says that nothing is under way. */
int32_t immure_apply_tidy(struct apply *a);

/* ---- undo.c ---- */

/* Last step first. What cannot be put back is still in the directory, unless a->beside is set. */
int32_t immure_apply_undo(struct apply *a);

#endif
