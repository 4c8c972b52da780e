/* SPDX-License-Identifier: Apache-2.0 */
/* What was opened for one operation of a plan by whoever had others apply it, for
 * the comparison from inside. */
#ifndef IMMURE_BACKEND_SEEN_H
#define IMMURE_BACKEND_SEEN_H

#include <stdint.h>

enum { IMMURE_SEEN_NAMESPACES = 6 }; /* user mnt pid net ipc uts */

struct immure_backend_seen {
	uint64_t dev, ino;
	uint64_t outside; /* entry N: inode of the supervisor's Nth namespace */
	uint32_t skipped; /* optional, and not there */
	uint32_t reserved;
};

#endif
