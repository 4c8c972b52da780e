/* SPDX-License-Identifier: Apache-2.0 */
/* What the members of a session's cgroup use, by /proc: when init cannot say, because it
 * is frozen as well. */
#ifndef IMMURE_SESSION_MEMBERS_H
#define IMMURE_SESSION_MEMBERS_H

#include "init/message.h"
#include "kernel/cgroup.h"

/* user_us, system_us, memory (private, bytes), and how many they are in pid. */
void immure_members_measure(const struct immure_cgroup *c, struct immure_init_reply *ret);

#endif
