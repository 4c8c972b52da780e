/* SPDX-License-Identifier: Apache-2.0 */
/* inside MARK: exit 0 when this is a sandbox that nothing ran in before, of one command:
 * the second process of its pid namespace, with nobody but pid 1 beside it; no
 * capability, no_new_privs, a filter; no trace of another in the private /tmp, in
 * System V memory or among abstract sockets, where this one leaves its own (MARK, which
 * is the same each time); nothing but lo; a masked file that cannot be read. Links
 * statically. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int confined(void)
{
	struct {
		uint32_t version;
		int pid;
	} h = { 0x20080522, 0 };
	struct {
		uint32_t effective, permitted, inheritable;
	} c[2] = { { 0 } };

	if (getpid() != 2 || getppid() != 1 || kill(3, 0) == 0)
		return 10;
	if (syscall(SYS_capget, &h, c) < 0 || c[0].effective || c[0].permitted || c[1].effective ||
	    c[1].permitted)
		return 11;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 12;
	/* What the filter answers; without one it would be ENOSYS, EPERM or a new root. */
	if (syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0 || errno != EPERM)
		return 13;
	return open("/proc/kallsyms", O_RDONLY) >= 0 || (errno != EACCES && errno != ENOENT) ? 14 : 0;
}

static int alone(const char *mark)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct ifreq second = { .ifr_ifindex = 2 };
	int fd, key = 0x696d6d75;

	fd = open(mark, O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (fd < 0)
		return 20;
	if (shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600) < 0)
		return 21;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s", mark);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return 22;
	return ioctl(fd, SIOCGIFNAME, &second) == 0 ? 23 : 0;
}

int main(int argc, char **argv)
{
	int r = argc == 2 ? confined() : 2;

	return r ? r : alone(argv[1]);
}
