/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_KERNEL_PTY_H
#define IMMURE_KERNEL_PTY_H

/* Opens a new terminal of the devpts instance at /dev/pts of the calling
 * process's root. The slave comes from the master by ioctl (TIOCGPTPEER, 4.13),
 * never by a path that something else could have replaced. */
int immure_pty_open(int *ret_master_fd, int *ret_slave_fd);

#endif
