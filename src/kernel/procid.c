/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/procid.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

static int read_small(const char *path, char *buf, size_t len)
{
	IMMURE_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

int immure_procid_of(int32_t pid, struct immure_procid *ret, char *ret_state)
{
	char path[32], buf[1024], *p, *end;
	uint64_t start;
	char state;
	int r;

	if (pid <= 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = read_small(path, buf, sizeof(buf));
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	/* The name stands in parentheses and may contain some; the last one ends it. */
	p = strrchr(buf, ')');
	if (!p || p[1] != ' ' || !p[2])
		return -EIO;
	state = p[2];
	p += 2;
	for (int field = 3; field < 22; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -EIO;
		p++;
	}
	errno = 0;
	start = strtoull(p, &end, 10);
	if (end == p || errno)
		return -EIO;
	*ret = (struct immure_procid){ .pid = pid, .start = start };
	if (ret_state)
		*ret_state = state;
	return 0;
}

int immure_procid_open(const struct immure_procid *p)
{
	struct immure_procid now;
	int fd, r;

	if (p->pid <= 0)
		return -ESRCH;
	fd = (int)IMMURE_SYS(syscall(SYS_pidfd_open, p->pid, 0)); /* CLOEXEC by itself */
	if (fd < 0)
		return fd == -EINVAL ? -ESRCH : fd;
	r = immure_procid_of(p->pid, &now, NULL);
	if (r == 0 && now.start != p->start)
		r = -ESRCH;
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	return fd;
}

bool immure_procid_runs(const struct immure_procid *p)
{
	struct immure_procid now;
	char state = 'X';

	return immure_procid_of(p->pid, &now, &state) == 0 && now.start == p->start &&
	       state != 'Z' && state != 'X';
}

int immure_boot_id(char *ret)
{
	char buf[64];
	int r = read_small("/proc/sys/kernel/random/boot_id", buf, sizeof(buf));

	if (r < 0)
		return r;
	if (strcspn(buf, "\n") != IMMURE_BOOT_ID_LEN)
		return -EIO;
	memcpy(ret, buf, IMMURE_BOOT_ID_LEN);
	ret[IMMURE_BOOT_ID_LEN] = '\0';
	return 0;
}

int immure_pidfd_kill(int pidfd, int sig)
{
	long r = IMMURE_SYS(syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0));

	return r == -ESRCH ? 0 : (int)r;
}

int immure_pidfd_gone(int pidfd, int timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r > 0;
}
