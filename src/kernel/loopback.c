/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/loopback.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"

int immure_loopback_up(void)
{
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req;

	if (fd < 0)
		return -errno;
	memset(&req, 0, sizeof(req));
	memcpy(req.ifr_name, "lo", 3);
	req.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &req) < 0 ? -errno : 0;
}
