/* SPDX-License-Identifier: Apache-2.0 */
/* Where a session gets a leaf to be frozen by. It enforces nothing, so it is in no plan: a
 * session without one is frozen by signals, and says so. Looked for at the usual places
 * only, below our own cgroup: this is on the way of every session that is made. */
#ifndef IMMURE_SESSION_FREEZER_H
#define IMMURE_SESSION_FREEZER_H

#include <stdbool.h>
#include <stddef.h>

/* 1 or 2, the version of cgroup, and the directory in which to make the leaf; 0: none. */
int immure_freezer_find(bool v2_too, char *ret, size_t size);

#endif
