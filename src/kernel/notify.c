/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/seccomp.h"
#include "kernel/sys.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#define PIDFD_THREAD_FLAG O_EXCL /* 6.9 */

/* What the kernel writes may be longer than what we were built with. */
enum { ROOM = 512 };

int immure_notify_install(const struct immure_filter *f)
{
	int r = immure_filter_install(f, SECCOMP_FILTER_FLAG_NEW_LISTENER |
						 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

	return r == -EINVAL ? immure_filter_install(f, SECCOMP_FILTER_FLAG_NEW_LISTENER) : r;
}

int immure_notify_waits(int listener_fd)
{
	struct pollfd p = { .fd = listener_fd, .events = POLLIN };

	if (poll(&p, 1, 0) <= 0)
		return 0;
	return p.revents & POLLIN ? 1 : -ENOTCONN;
}

int immure_notify_receive(int listener_fd, struct immure_notice *ret)
{
	union {
		struct seccomp_notif n;
		char room[ROOM];
	} u;

	memset(&u, 0, sizeof(u)); /* asked for by the kernel */
	if (ioctl(listener_fd, SECCOMP_IOCTL_NOTIF_RECV, &u) < 0)
		return errno == ENOENT || errno == EINTR ? 0 : -errno;
	ret->id = u.n.id;
	ret->tid = (int)u.n.pid;
	ret->nr = u.n.data.nr;
	for (int i = 0; i < 6; i++)
		ret->args[i] = u.n.data.args[i];
	return 1;
}

bool immure_notify_valid(int listener_fd, uint64_t id)
{
	return ioctl(listener_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int immure_notify_answer(int listener_fd, uint64_t id, int64_t value, int errnum)
{
	union {
		struct seccomp_notif_resp r;
		char room[ROOM];
	} u;

	memset(&u, 0, sizeof(u));
	u.r.id = id;
	u.r.val = errnum ? 0 : value;
	u.r.error = -errnum;
	return ioctl(listener_fd, SECCOMP_IOCTL_NOTIF_SEND, &u) < 0 ? -errno : 0;
}

static int add_fd(int listener_fd, const struct seccomp_notif_addfd *a)
{
	return ioctl(listener_fd, SECCOMP_IOCTL_NOTIF_ADDFD, a) < 0 ? -errno : 0;
}

int immure_notify_answer_fd(int listener_fd, uint64_t id, int fd, bool cloexec)
{
	const struct seccomp_notif_addfd a = {
		.id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	return add_fd(listener_fd, &a);
}

int immure_notify_replace_fd(int listener_fd, uint64_t id, int fd, int theirs, bool cloexec)
{
	const struct seccomp_notif_addfd a = {
		.id = id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = (uint32_t)fd,
		.newfd = (uint32_t)theirs, .newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	return add_fd(listener_fd, &a);
}

static struct iovec remote(uint64_t at, size_t len)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)at, .iov_len = len };
}

int immure_notify_read(const struct immure_notice *n, uint64_t at, void *ret, size_t len)
{
	struct iovec here = { .iov_base = ret, .iov_len = len }, there = remote(at, len);
	ssize_t got = process_vm_readv(n->tid, &here, 1, &there, 1, 0);

	return got < 0 ? -errno : (size_t)got == len ? 0 : -EFAULT;
}

int immure_notify_write(const struct immure_notice *n, uint64_t at, const void *data, size_t len)
{
	struct iovec here = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct iovec there = remote(at, len);
	ssize_t done = process_vm_writev(n->tid, &here, 1, &there, 1, 0);

	return done < 0 ? -errno : (size_t)done == len ? 0 : -EFAULT;
}

/* The value of "NAME:\t..." in a file of /proc/TID. */
static int field(int tid, const char *file, const char *name, int base, long *ret)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	const char *at;
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", tid, file);
	r = immure_read_file_at(AT_FDCWD, path, 1 << 16, &text, NULL);
	if (r < 0)
		return r;
	at = strstr(text, name);
	if (!at)
		return -EPROTO;
	*ret = strtol(at + strlen(name), NULL, base);
	return 0;
}

/* A thread's own descriptors where the kernel can tell them apart, else those of its
 * process: another's they are in no case. */
static int open_caller(int tid)
{
	int fd = (int)IMMURE_SYS(syscall(SYS_pidfd_open, tid, PIDFD_THREAD_FLAG));
	long leader = tid;

	if (fd != -EINVAL)
		return fd;
	if (field(tid, "status", "\nTgid:", 10, &leader) < 0)
		return -ESRCH;
	return (int)IMMURE_SYS(syscall(SYS_pidfd_open, (int)leader, 0));
}

int immure_notify_take_fd(const struct immure_notice *n, int theirs)
{
	IMMURE_CLEANUP_FD int pidfd = open_caller(n->tid);

	if (pidfd < 0)
		return pidfd;
	return (int)IMMURE_SYS(syscall(SYS_pidfd_getfd, pidfd, theirs, 0)); /* CLOEXEC */
}

int immure_notify_fd_flags(const struct immure_notice *n, int theirs)
{
	char file[32];
	long flags = 0;
	int r;

	(void)snprintf(file, sizeof(file), "fdinfo/%d", theirs);
	r = field(n->tid, file, "flags:", 8, &flags);
	return r < 0 ? r : (int)flags;
}
