/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a session without a pid namespace: what descends from init,
 * which every orphan among them comes back to (PR_SET_CHILD_SUBREAPER). */
#ifndef IMMURE_INIT_KIN_H
#define IMMURE_INIT_KIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { IMMURE_KIN_MAX = 4096 };

/* Ends and reaps all of them. scoped: a Landlock scope was seen to hold, so a
 * signal to everyone reaches them and nobody else, all at once; without it,
 * generation by generation. false: some are left. */
bool immure_kin_end(bool scoped);
/* The children of this process alone. A list cut short is filled (-E2BIG). */
long immure_kin_children(pid_t *ret, size_t max);
/* Their numbers, at most max: how many, or -errno (-E2BIG: more). */
long immure_kin_list(pid_t *ret, size_t max);

#endif
