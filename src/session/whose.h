/* SPDX-License-Identifier: Apache-2.0 */
/* Which process of a session has a socket: asked when something of it was
 * denied. It may be gone by then; that is an answer. */
#ifndef IMMURE_SESSION_WHOSE_H
#define IMMURE_SESSION_WHOSE_H

#include <stdbool.h>

#include "kernel/netsock.h"

struct immure_whose {
	int pid;       /* as the session numbers it; 0: nobody was found */
	char exe[256]; /* path inside, printable; "" = unknown */
};

/* Of a connection or question, as seen inside. */
struct immure_whose_ends {
	struct immure_inet source, meant;
};

/* init_pid: of the session, as we number it. netns_fd: its network namespace. The session
 * decides how long looking takes (processes, descriptors): after limit_ms it was
 * nobody. So it is where several UDP sockets may have been it. */
void immure_whose_socket(int init_pid, int netns_fd, const struct immure_whose_ends *of, bool udp,
			 uint32_t limit_ms, struct immure_whose *ret);
/* By one of its threads, as we number it. */
void immure_whose_thread(int tid, struct immure_whose *ret);

#endif
