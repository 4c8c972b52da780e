/* SPDX-License-Identifier: Apache-2.0 */
#include "session/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"

enum { DEPTH_MAX = 64 };
static const off_t copy_max = 64 << 20; /* of one file: more is left where it is */

/* A mode that keeps its owner from reading does not keep a program from being
 * executed. */
static int open_to_read(int dir, const char *name, int flags, mode_t bits)
{
	unsigned int before;

	return immure_open_anyway(dir, name, flags, bits, &before);
}

static int copy_file(int from_dir, const char *name, int to_dir)
{
	IMMURE_CLEANUP_FD int in = open_to_read(from_dir, name, O_NONBLOCK, 0600);
	IMMURE_CLEANUP_FD int out = -1;
	struct stat st;
	char buf[16384];
	ssize_t n;
	off_t left = copy_max;

	if (in < 0)
		return in;
	if (fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > copy_max)
		return -EFBIG;
	out = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (out < 0)
		return -errno;
	while ((n = read(in, buf, sizeof(buf))) > 0 && left > 0) {
		int r = immure_write_all(out, buf, (size_t)n);

		if (r < 0)
			return r;
		left -= n;
	}
	return n < 0 ? -errno : 0;
}

static int copy_link(int from_dir, const char *name, int to_dir)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return symlinkat(text, to_dir, name) < 0 ? -errno : 0;
}

static int move_entry(int from_dir, const char *name, int to_dir, int depth);

static int move_dir(int from_dir, const char *name, int to_dir, int depth)
{
	IMMURE_CLEANUP_FD int to = -1;
	int from = open_to_read(from_dir, name, O_DIRECTORY, 0700), r = 0;
	struct dirent *d;
	DIR *dir;

	if (from < 0)
		return from;
	if (mkdirat(to_dir, name, 0700) < 0 ||
	    (to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = -errno;
	dir = r < 0 ? NULL : fdopendir(from);
	if (!dir) {
		if (r == 0)
			r = -errno;
		immure_close(&from);
		return r;
	}
	while (r == 0 && (d = immure_readdir(dir, &r)))
		r = move_entry(dirfd(dir), d->d_name, to, depth + 1);
	(void)closedir(dir); /* read only: nothing is lost */
	if (r < 0)
		return r;
	return unlinkat(from_dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int move_entry(int from_dir, const char *name, int to_dir, int depth)
{
	struct stat st;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return move_dir(from_dir, name, to_dir, depth);
	if (S_ISLNK(st.st_mode))
		r = copy_link(from_dir, name, to_dir);
	else if (S_ISREG(st.st_mode))
		r = copy_file(from_dir, name, to_dir);
	else
		r = 0; /* sockets, pipes: nothing worth keeping */
	if (r < 0)
		return r;
	return unlinkat(from_dir, name, 0) < 0 ? -errno : 0;
}

int immure_quarantine_rename(int dir_fd, const char *name, char *ret_name, size_t len)
{
	struct timespec now;
	int n;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	n = snprintf(ret_name, len, "%.100s.quarantined-%lld-%09ld-%d", name, (long long)now.tv_sec,
		     now.tv_nsec, (int)getpid());
	if (n < 0 || (size_t)n >= len)
		return -ENAMETOOLONG;
	return renameat(dir_fd, name, dir_fd, ret_name) < 0 ? -errno : 0;
}

int immure_quarantine_move(int dir_fd, const char *name, const char *state_dir, char *ret_to,
			   size_t len)
{
	char base[PATH_MAX];
	struct timespec now;
	struct stat st;
	int n, r;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	n = snprintf(base, sizeof(base), "%s/quarantine/%lld-%09ld-%d", state_dir,
		     (long long)now.tv_sec, now.tv_nsec, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof(base) || (size_t)n + strlen(name) + 2 > len)
		return -ENAMETOOLONG;
	r = immure_make_dirs(base);
	if (r < 0)
		return r;
	IMMURE_CLEANUP_FD int to = open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	(void)snprintf(ret_to, len, "%s/%s", base, name);
	if (renameat(dir_fd, name, to, name) == 0) {
		/* Not executable where it lies now; a failure changes nothing. One with another name
		 * is a file of the tree's all the same. */
		if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
			(void)!fchmodat(to, name, 0400, 0);
		return 0;
	}
	if (errno != EXDEV && errno != EPERM && errno != EACCES)
		return -errno;
	return move_entry(dir_fd, name, to, 0);
}
