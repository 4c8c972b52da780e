/* SPDX-License-Identifier: Apache-2.0 */
/* What an init that was executed, not forked, is told: bubblewrap started it, so it has
 * nothing of the supervisor's memory. One sealed memfd. */
#ifndef IMMURE_INIT_HANDOVER_H
#define IMMURE_INIT_HANDOVER_H

#include "base/error.h"
#include "init/init.h"

/* A memfd with all of in (report_fd, cgroup and shared excepted) and, for each of the
 * plan's operations, what was opened for it. The descriptor or -errno. */
int immure_handover_write(const struct immure_init *in, const struct immure_backend_seen *seen);

/* The executed side: takes both descriptors, says ARRIVED, waits for the streams and
 * becomes init. Returns only when it could not: -errno. */
int immure_handover_become(int handover_fd, int report_fd);

#endif
