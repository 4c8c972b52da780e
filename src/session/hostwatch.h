/* SPDX-License-Identifier: Apache-2.0 */
/* The host's /etc/resolv.conf and /etc/hosts, which change while a session lives: a
 * laptop comes to another network. The gatekeeper cannot open them any more, so
 * they are brought to it. */
#ifndef IMMURE_SESSION_HOSTWATCH_H
#define IMMURE_SESSION_HOSTWATCH_H

#include <stdbool.h>

/* An inotify descriptor, non-blocking, readable when one of the files may have changed:
 * the files themselves, their directories, and where links lead. -errno: no more
 * of those to be had; the session then stays with what it has. */
int immure_hostwatch_open(int *ret_fd);
/* What waits is read. true: it was about one of the files. */
bool immure_hostwatch_changed(int fd);
/* Both files as they are now, in memory: resolv.conf, hosts; a missing one is empty. */
int immure_hostwatch_take(int ret_fds[2]);

#endif
