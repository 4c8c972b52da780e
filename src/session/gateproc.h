/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that the gatekeeper's supervisor starts: the worker, and for an
 * instant one that makes sockets inside. */
#ifndef IMMURE_SESSION_GATEPROC_H
#define IMMURE_SESSION_GATEPROC_H

#include <sys/types.h>

#include "kernel/cgroup.h"

/* program_fd: immure-egress, borrowed, >= 10. The worker dies with the calling
 * process. within: the session's leaf, by which it is bounded and in which it is counted;
 * NULL: none. 0 or -errno. */
int immure_gateproc_worker(int program_fd, struct immure_cgroup *within, pid_t *ret_pid,
			   int *ret_pidfd, int *ret_wire_fd);
/* The same for another program. */
int immure_gateproc_program(int program_fd, const char *name, struct immure_cgroup *within,
			    pid_t *ret_pid, int *ret_pidfd, int *ret_wire_fd);
/* Kills it if need be, and reaps it. within: as it was started. */
void immure_gateproc_end(struct immure_cgroup *within, pid_t *pid, int *pidfd);
/* Unbound TCP sockets born in the namespaces given: n4, then n6; how many there
 * are in all, or -errno. fds: room for n4 + n6. */
int immure_gateproc_sockets(int userns_fd, int netns_fd, unsigned int n4, unsigned int n6, int *fds);

#endif
