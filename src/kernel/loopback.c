/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/loopback.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "kernel/rawcall.h"

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

int immure_loopback_up_raw(void)
{
#ifdef IMMURE_HAVE_RAWCALL
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };
	long fd = immure_rawcall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0), r;

	if (fd < 0)
		return (int)fd;
	r = immure_rawcall(SYS_ioctl, fd, SIOCSIFFLAGS, (long)&req, 0);
	(void)immure_rawcall(SYS_close, fd, 0, 0, 0); /* nothing was written */
	return (int)r;
#else
	return -ENOSYS;
#endif
}
