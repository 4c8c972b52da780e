/* SPDX-License-Identifier: Apache-2.0 */
/* Included before everything where a host that is not Linux is built for: what the portable
 * parts use of Linux's libc, and the numbers of Linux that plans are written in, because
 * a plan says what happens on Linux wherever it is made. Nothing here makes another
 * system enforce anything. */
#ifndef IMMURE_BASE_ELSEWHERE_LINUX_H
#define IMMURE_BASE_ELSEWHERE_LINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* To look from, not to read: a directory can be looked from by reading it, a link is
 * refused with O_NOFOLLOW, and a pipe holds nobody. */
#define O_PATH (O_RDONLY | O_NONBLOCK)

#define CLONE_NEWNS 0x00020000
#define CLONE_NEWCGROUP 0x02000000
#define CLONE_NEWUTS 0x04000000
#define CLONE_NEWIPC 0x08000000
#define CLONE_NEWUSER 0x10000000
#define CLONE_NEWPID 0x20000000
#define CLONE_NEWNET 0x40000000
#define AF_NETLINK 16
#define AT_EMPTY_PATH 0x1000

extern char **environ;

#define st_mtim st_mtimespec
#define st_ctim st_ctimespec

/* No system call of Linux is there: whoever asks for one has another way for old
 * kernels, and takes that. */
static inline long immure_no_system_call(long number, ...)
{
	(void)number;
	errno = ENOSYS;
	return -1;
}
#define syscall immure_no_system_call

static inline void explicit_bzero(void *p, size_t len)
{
	for (volatile unsigned char *at = p; len > 0; len--)
		*at++ = 0;
}

static inline void *reallocarray(void *p, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, n * size);
}

static inline void *memrchr(const void *s, int c, size_t len)
{
	const unsigned char *at = s;

	while (len-- > 0)
		if (at[len] == (unsigned char)c)
			return (void *)(size_t)(at + len);
	return NULL;
}

#endif
