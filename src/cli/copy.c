/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"

int immure_copy_bytes(int from, int to)
{
	struct stat st;
	char buf[65536];

	if (fstat(from, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));
		int r;

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = immure_write_all(to, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

/* Bits that would mean something else on the other side are not taken along. */
static mode_t plain_mode(const struct stat *st)
{
	return st->st_mode & 0777;
}

static int copy_file(int from, const struct stat *st, int to_dir, const char *name)
{
	IMMURE_CLEANUP_FD int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC |
					  O_NONBLOCK, plain_mode(st) | 0200);
	struct stat is;
	int r;

	if (to < 0)
		return -errno;
	if (fstat(to, &is) < 0)
		return -errno;
	if (!S_ISREG(is.st_mode))
		return -EEXIST;
	r = immure_copy_bytes(from, to);
	if (r == 0 && fchmod(to, plain_mode(st)) < 0)
		r = -errno;
	return r;
}

enum { DEPTH_MAX = 128 };

static int copy_any(int from, int to_dir, const char *name, int depth);

static int copy_entries(int from, int to, int depth)
{
	int list = fcntl(from, F_DUPFD_CLOEXEC, 3), left_out = 0, r = 0;
	DIR *d = list < 0 ? NULL : fdopendir(list);
	struct dirent *e;

	if (!d) {
		immure_close(&list);
		return -errno;
	}
	while (r >= 0 && (e = readdir(d))) {
		IMMURE_CLEANUP_FD int fd = -1;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		fd = openat(from, e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd < 0) {
			immure_cli_say("cp: %s: left out: %s", e->d_name,
				       errno == ELOOP ? "it is a symbolic link" : strerror(errno));
			left_out++;
			continue;
		}
		r = copy_any(fd, to, e->d_name, depth + 1);
		left_out += r > 0 ? r : 0;
	}
	(void)closedir(d); /* nothing was written */
	return r < 0 ? r : left_out;
}

static int copy_directory(int from, const struct stat *st, int to_dir, const char *name, int depth)
{
	IMMURE_CLEANUP_FD int to = -1;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (mkdirat(to_dir, name, plain_mode(st) | 0700) < 0 && errno != EEXIST)
		return -errno;
	to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	r = copy_entries(from, to, depth);
	if (r >= 0 && fchmod(to, plain_mode(st)) < 0)
		r = -errno;
	return r;
}

static int copy_any(int from, int to_dir, const char *name, int depth)
{
	struct stat st;
	int r = 0;

	if (fstat(from, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_directory(from, &st, to_dir, name, depth);
	if (S_ISREG(st.st_mode)) {
		r = copy_file(from, &st, to_dir, name);
	} else {
		immure_cli_say("cp: %s: left out: neither a file nor a directory", name);
		r = 1;
	}
	if (r < 0)
		immure_cli_say("cp: %s: %s", name, strerror(-r));
	return r;
}

int immure_copy_tree(int from_fd, int to_dir, const char *name)
{
	return copy_any(from_fd, to_dir, name, 0);
}
