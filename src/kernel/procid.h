/* SPDX-License-Identifier: Apache-2.0 */
/* Which process, in a form that can be written down: a number is given to
 * another process later, a number with the time it started is not, as long as
 * the machine has not been started anew. */
#ifndef IMMURE_KERNEL_PROCID_H
#define IMMURE_KERNEL_PROCID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMMURE_BOOT_ID_LEN = 36 };

struct immure_procid {
	int32_t pid;    /* as this process sees it; 0 = none */
	uint64_t start; /* clock ticks since boot, field 22 of /proc/PID/stat */
};

/* -ESRCH when there is none. ret_state: 'R', 'S', 'Z' ...; may be NULL. */
int immure_procid_of(int32_t pid, struct immure_procid *ret, char *ret_state);
/* A pidfd of exactly that process: the start time is read again after it was
 * opened. -ESRCH when it is gone or its number belongs to another. */
int immure_procid_open(const struct immure_procid *p);
/* It is there and not a zombie. */
bool immure_procid_runs(const struct immure_procid *p);
/* ret has IMMURE_BOOT_ID_LEN + 1 bytes. */
int immure_boot_id(char *ret);
/* pidfd_send_signal(2); 0 as well when the process is gone. */
int immure_pidfd_kill(int pidfd, int sig);
/* Waits until the process of the pidfd has ended: 1, or 0 after timeout_ms. */
int immure_pidfd_gone(int pidfd, int timeout_ms);

#endif
