/* SPDX-License-Identifier: Apache-2.0 */
/* What is left and has no entry: of runs that were killed with everything that would
 * have cleaned up after them. Its names tell who made it, and when. */
#ifndef IMMURE_SESSION_LEFTOVER_H
#define IMMURE_SESSION_LEFTOVER_H

#include "session/gc.h"

void immure_leftover_cgroups(const struct immure_gc *gc, struct immure_report *report);
/* Directories that sessions without mounts have for their temporary files. */
void immure_leftover_dirs(const struct immure_gc *gc, int runtime_fd, struct immure_report *report);

/* The processes of a session without a pid namespace: confined, ours, and with a path
 * below its directory in their environment. SIGKILL to all of them; how many there
 * were, or -errno where they cannot all be seen. *ret_foreign: some are of another pid namespace and were left alone. */
int immure_strays_kill(const char *dir, bool *ret_foreign);

#endif
