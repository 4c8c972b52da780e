/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void immure_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd); /* EINTR on Linux still closes; nothing to do */
	*fd = -1;
	errno = saved;
}

void immure_free_ptr(void *p)
{
	free(*(void **)p);
}

/* getdents64(2) */
struct entry64 {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

int immure_count_fds(void)
{
	IMMURE_CLEANUP_FD int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[2048] __attribute__((aligned(8)));
	int count = 0;
	long n;

	if (fd < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (long i = 0; i < n;) {
			const struct entry64 *e = (const struct entry64 *)(const void *)(buf + i);

			count += e->name[0] != '.';
			i += e->reclen;
		}
	return n < 0 ? -errno : count - 1; /* but the one it is listed by */
}

int immure_open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return fd;
	immure_close(&fd);
	return -ENODEV;
}

int immure_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int immure_read_all(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	size_t cap = max < 4096 ? max + 1 : 4096, len = 0;
	IMMURE_CLEANUP_FREE char *buf = malloc(cap + 1);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, buf + len, cap - len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len == cap) {
			char *p;

			cap = cap * 2 > max + 1 ? max + 1 : cap * 2;
			p = realloc(buf, cap + 1);
			if (!p)
				return -ENOMEM;
			buf = p;
		}
	}
	buf[len] = '\0';
	*ret_data = buf;
	buf = NULL;
	if (ret_len)
		*ret_len = len;
	return 0;
}

int immure_read_file_at(int dirfd, const char *path, size_t max, char **ret_data,
			size_t *ret_len)
{
	IMMURE_CLEANUP_FD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return immure_read_all(fd, max, ret_data, ret_len);
}

int immure_write_file_at(int dirfd, const char *path, const char *text)
{
	IMMURE_CLEANUP_FD int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int immure_fd_raise(int *fd, int least)
{
	int up;

	if (*fd >= least)
		return 0;
	up = fcntl(*fd, F_DUPFD_CLOEXEC, least);
	if (up < 0)
		return -errno;
	immure_close(fd);
	*fd = up;
	return 0;
}

int immure_open_anyway(int dir, const char *name, int flags, unsigned int bits,
		       unsigned int *ret_before)
{
	IMMURE_CLEANUP_FD int path_fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC |
						     (flags & O_DIRECTORY));
	char path[32];
	struct stat st;
	int fd;

	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	/* chmod(2) and open(2) of an O_PATH descriptor go by its name here. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0 && errno == EACCES && chmod(path, (st.st_mode & 07777) | bits) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0)
		return -errno;
	*ret_before = st.st_mode & 07777;
	return fd;
}

int immure_make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char c = part[i];

		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		part[i] = c;
	}
	return 0;
}

int immure_map_whole(int fd, size_t max, const void **ret, size_t *ret_len)
{
	struct stat st;
	void *data;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return st.st_size > 0 ? -EFBIG : -ENODATA;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret = data;
	*ret_len = (size_t)st.st_size;
	return 0;
}

void immure_unmap(const void *data, size_t len)
{
	(void)munmap((void *)(uintptr_t)data, len); /* fails only for what no mapping is */
}
