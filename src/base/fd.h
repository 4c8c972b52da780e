/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: -1 means none, every one is CLOEXEC from birth. */
#ifndef IMMURE_BASE_FD_H
#define IMMURE_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>

/* Closes *fd when it is open and sets it to -1; keeps errno. */
void immure_close(int *fd);
#define IMMURE_CLEANUP_FD __attribute__((cleanup(immure_close)))

void immure_free_ptr(void *p);
#define IMMURE_CLEANUP_FREE __attribute__((cleanup(immure_free_ptr)))

static inline int immure_take_fd(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

/* How many this process has open, by what the kernel lists; without memory of the heap. -errno. */
int immure_count_fds(void);
/* /dev/null for reading and writing; -ENODEV when that is something else. Where it was
 * replaced, by a link or a mount, what is written there comes to lie somewhere. */
int immure_open_null(void);
/* All of it or -errno; resumes after EINTR and short writes. */
int immure_write_all(int fd, const void *data, size_t len);
/* Reads until end of file; -EFBIG when there is more than max bytes.
 * *ret_data is NUL-terminated and owned by the caller. */
int immure_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);
/* Opens and reads a small file below dirfd (AT_FDCWD allowed), following links
 * as open(2) does. For kernel files such as /proc, never for policy. */
int immure_read_file_at(int dirfd, const char *path, size_t max, char **ret_data,
			size_t *ret_len);
/* Writes a kernel control file in one write(2). */
int immure_write_file_at(int dirfd, const char *path, const char *text);
/* Opens the entry `name` of dir for reading, no link, CLOEXEC; where its mode
 * denies that, the mode bits are added first. What is opened is what was changed,
 * whoever swaps names meanwhile. *ret_before: the mode it had, for fchmod(2). */
int immure_open_anyway(int dir, const char *name, int flags, unsigned int bits,
		       unsigned int *ret_before);
/* Moves *fd to a number >= least, still CLOEXEC; on failure *fd is unchanged. */
int immure_fd_raise(int *fd, int least);
/* mkdir -p; what is made is for its owner alone (0700). */
int immure_make_dirs(const char *path);

/* A file of 1 to max bytes, mapped for reading. 0 or -errno; -EFBIG, -ENODATA for its size. */
int immure_map_whole(int fd, size_t max, const void **ret, size_t *ret_len);
void immure_unmap(const void *data, size_t len);

#endif
