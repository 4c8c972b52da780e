/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "base/fd.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

int immure_pty_open(int *ret_master_fd, int *ret_slave_fd)
{
	IMMURE_CLEANUP_FD int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlocked = 0, slave;

	/* Of a devpts that is shared the node beside it is the one that all may open. */
	if (master < 0)
		master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0)
		return -errno;
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	*ret_slave_fd = slave;
	*ret_master_fd = immure_take_fd(&master);
	return 0;
}
