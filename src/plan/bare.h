/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for the backend landlock: no namespaces, so no mounts, and every path is
 * the host's. What stands where is decided as for any backend (points); here it
 * becomes Landlock rules. Not for other layers. */
#ifndef IMMURE_PLAN_BARE_H
#define IMMURE_PLAN_BARE_H

#include "plan/compile.h"

/* The key of masks over sockets; without unix sockets they mask nothing. */
#define IMMURE_BARE_SOCKETS "ipc (always)"

/* landlock_plan.c: everything after the points, up to EXEC. */
int32_t immure_bare_compile(struct immure_compile *b);

/* landlock_rules.c. The points must be sorted. */
int32_t immure_bare_dirs(struct immure_compile *b, struct immure_arena *a, struct immure_strv *ret);
/* fs: the rights that are handled. */
int32_t immure_bare_rules(struct immure_compile *b, uint64_t fs);
/* Files at this path may be read. */
bool immure_bare_visible(struct immure_compile *b, const char *path);

#endif
