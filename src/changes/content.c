/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "changes/changes.h"
#include "kernel/sys.h"

enum { CHUNK = 64 << 10, LIST_MAX = 64 << 10, VALUE_MAX = 64 << 10 };

int immure_content_open(int dir, const char *name, struct stat *ret)
{
	/* Not waiting: a pipe may have taken the place of what was looked at. */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 && errno == EACCES) {
		unsigned int before;
		struct stat st;

		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			return -EACCES;
		fd = immure_open_anyway(dir, name, O_NONBLOCK, 0400, &before);
		if (fd < 0)
			return fd;
		if (fchmod(fd, before) < 0) {
			int saved = -errno;

			immure_close(&fd);
			return saved;
		}
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode)) {
		immure_close(&fd);
		return -EINVAL;
	}
	return fd;
}

static ssize_t read_full(int fd, char *buf, size_t n, off_t at)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = pread(fd, buf + got, n - got, at + (off_t)got);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

/* Where something other than a hole begins, at the earliest. */
static off_t data_from(int fd, off_t at, off_t size)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	return data >= 0 ? data : errno == ENXIO ? size : at;
}

int immure_content_same(int a, int b)
{
	char x[CHUNK / 4], y[CHUNK / 4];
	struct stat s, t;
	off_t at = 0;

	if (fstat(a, &s) < 0 || fstat(b, &t) < 0)
		return -errno;
	if (s.st_size != t.st_size)
		return 0;
	while (at < s.st_size) {
		off_t i = data_from(a, at, s.st_size), k = data_from(b, at, s.st_size);
		ssize_t n, m;

		at = i < k ? i : k; /* before that both have nothing but zeros */
		if (at >= s.st_size)
			break;
		n = read_full(a, x, sizeof(x), at);
		m = read_full(b, y, sizeof(y), at);
		if (n < 0 || m < 0)
			return (int)(n < 0 ? n : m);
		if (n != m || memcmp(x, y, (size_t)n) != 0)
			return 0;
		if (n == 0)
			break;
		at += n;
	}
	return 1;
}

/* len bytes from where both stand. */
static int copy_range(int from, int to, off_t at, off_t len)
{
	char buf[CHUNK];

	while (len > 0) {
		loff_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(len > (1 << 30) ? 1 << 30 : len), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ||
			      errno == EPERM)) {
			size_t part = len > CHUNK ? CHUNK : (size_t)len, done = 0;

			n = pread(from, buf, part, at);
			for (; n > 0 && done < (size_t)n;) {
				ssize_t k = pwrite(to, buf + done, (size_t)n - done, at + (off_t)done);

				if (k < 0 && errno != EINTR)
					return -errno;
				done += k > 0 ? (size_t)k : 0;
			}
		}
		if (n < 0)
			return -errno;
		if (n == 0) /* shorter than it was: what is there now */
			return 0;
		at += n;
		len -= n;
	}
	return 0;
}

int immure_content_copy(int from, int to)
{
	struct stat st;
	off_t at = 0;
	int r = 0;

	if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return -errno;
	while (r == 0 && at < st.st_size) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0) {
			data = at;
			hole = st.st_size;
		} else {
			hole = lseek(from, data, SEEK_HOLE);
			if (hole < 0 || hole > st.st_size)
				hole = st.st_size;
		}
		r = copy_range(from, to, data, hole - data);
		at = hole;
	}
	return r;
}

int immure_content_attributes(int from, int to)
{
	char names[LIST_MAX], value[VALUE_MAX];
	ssize_t n = flistxattr(from, names, sizeof(names));

	if (n < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (const char *s = names; s < names + n; s += strlen(s) + 1) {
		ssize_t len;

		if (strncmp(s, "user.", 5) != 0 || strncmp(s, "user.overlay.", 13) == 0)
			continue;
		len = fgetxattr(from, s, value, sizeof(value));
		if (len >= 0 && fsetxattr(to, s, value, (size_t)len, 0) < 0 && errno != EOPNOTSUPP)
			return -errno;
	}
	return 0;
}

int immure_content_parent(int root, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[IMMURE_CHANGES_PATH + 1];

	*ret_name = slash ? slash + 1 : path;
	if (slash && (size_t)(slash - path) > IMMURE_CHANGES_PATH)
		return -ENAMETOOLONG;
	memcpy(dir, slash ? path : ".", slash ? (size_t)(slash - path) : 1);
	dir[slash ? slash - path : 1] = '\0';
	return immure_sys_openat2(root, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				  IMMURE_RESOLVE_BENEATH | IMMURE_RESOLVE_NO_SYMLINKS |
					  IMMURE_RESOLVE_NO_MAGICLINKS | IMMURE_RESOLVE_NO_XDEV);
}
