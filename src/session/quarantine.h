/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_SESSION_QUARANTINE_H
#define IMMURE_SESSION_QUARANTINE_H

#include <stddef.h>

#include "base/fd.h"

/* Moves the entry `name` of dir_fd below state_dir/quarantine, without ever
 * following a link in either place: by rename where that works, else by copying
 * regular files, directories and link texts and removing the original. What
 * arrives is readable by its owner only and not executable. Writes the new path
 * to ret_to. 0 or -errno; on failure the original may be left in place. */
int immure_quarantine_move(int dir_fd, const char *name, const char *state_dir, char *ret_to,
			   size_t len);

/* For what cannot be moved: a new name beside the old one, that no program
 * looks for. Writes that name to ret_name. */
int immure_quarantine_rename(int dir_fd, const char *name, char *ret_name, size_t len);

#endif
