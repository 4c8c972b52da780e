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

/* init_pid: of the session, as we number it. netns_fd: its network namespace.
 * source: the local end of the socket. */
void immure_whose_socket(int init_pid, int netns_fd, const struct immure_inet *source, bool udp,
			 struct immure_whose *ret);

#endif
