/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_KERNEL_LOOPBACK_H
#define IMMURE_KERNEL_LOOPBACK_H

/* Brings lo of the current network namespace up (netdevice(7), SIOCSIFFLAGS). */
int immure_loopback_up(void);

#endif
