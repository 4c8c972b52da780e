/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_KERNEL_LOOPBACK_H
#define IMMURE_KERNEL_LOOPBACK_H

/* Brings lo of the current network namespace up (netdevice(7), SIOCSIFFLAGS). */
int immure_loopback_up(void);
/* The same for code that shares memory with a thread of control that is running: only
 * system calls, and errno is left alone. 0 or -errno; where such calls are not to be
 * had (kernel/rawcall.h), -ENOSYS. */
int immure_loopback_up_raw(void);

#endif
