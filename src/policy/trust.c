/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

enum { TRUST_MAX = 4 * 1024 * 1024, HEX = 64 };

static int32_t io_error(struct immure_error **err, const char *what, int errnum)
{
	return immure_fail(err, IMMURE_ERR_IO, errnum, "trust", what, "%s: %s", what,
			   strerror(errnum < 0 ? -errnum : errnum));
}

/* The list as text; empty when there is none. */
static int32_t read_list(int dir_fd, const char *dir, char **ret, size_t *ret_len,
			 struct immure_error **err)
{
	IMMURE_CLEANUP_FD int fd = openat(dir_fd, "trust", O_RDONLY | O_NOFOLLOW | O_CLOEXEC |
					  O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int k;

	if (fd < 0 && errno == ENOENT) {
		*ret = calloc(1, 1);
		*ret_len = 0;
		return *ret ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "trust", "",
					      "out of memory");
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return io_error(err, dir, errno);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		return immure_fail(err, IMMURE_ERR_TRUST, 0, "trust", dir,
				   "%s/trust: must be a file of the caller's own with mode 0600", dir);
	k = immure_read_all(fd, TRUST_MAX, ret, ret_len);
	return k < 0 ? io_error(err, dir, k) : 0;
}

static int32_t check_dir(int dir_fd, const char *dir, struct immure_error **err)
{
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return io_error(err, dir, errno);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return immure_fail(err, IMMURE_ERR_TRUST, 0, "trust", dir,
				   "%s: must be the caller's own directory with mode 0700", dir);
	return 0;
}

static void put_path(struct immure_buf *b, const char *path)
{
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;

		if (c <= ' ' || c == '\\' || c >= 0x7f)
			immure_buf_printf(b, "\\x%02x", c);
		else
			immure_buf_putc(b, (char)c);
	}
}

static char *entry(const char *digest, const char *path)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	if (digest)
		immure_buf_printf(&b, "%s ", digest);
	put_path(&b, path);
	immure_buf_putc(&b, '\n');
	return immure_buf_take(&b);
}

int32_t immure_trust_has(const char *state_dir, const char *digest, const char *path, bool *ret,
			 struct immure_error **err)
{
	IMMURE_CLEANUP_FD int dir_fd = -1;
	IMMURE_CLEANUP_FREE char *list = NULL;
	IMMURE_CLEANUP_FREE char *want = NULL;
	size_t len;
	int32_t r;

	*ret = false;
	if (!state_dir)
		return 0;
	dir_fd = open(state_dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return errno == ENOENT ? 0 : io_error(err, state_dir, errno);
	r = check_dir(dir_fd, state_dir, err);
	if (r == 0)
		r = read_list(dir_fd, state_dir, &list, &len, err);
	if (r < 0)
		return r;
	want = entry(digest, path);
	if (!want)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "trust", "", "out of memory");
	for (char *line = list; *line; line += strcspn(line, "\n") + 1) {
		if (strncmp(line, want, strlen(want)) == 0)
			*ret = true;
		if (!strchr(line, '\n'))
			break;
	}
	return 0;
}

/* mkdir -p; what is made is for the caller alone. */
static int make_dirs(const char *path)
{
	IMMURE_CLEANUP_FREE char *p = strdup(path);

	if (!p)
		return -ENOMEM;
	for (char *s = p + 1;; s++) {
		char c = *s;

		if (c != '/' && c != '\0')
			continue;
		*s = '\0';
		if (mkdir(p, 0700) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			return -errno; /* EROFS, EACCES: it may exist; opening it tells */
		*s = c;
		if (c == '\0')
			return 0;
	}
}

/* Written aside and renamed, so that a reader sees the old list or the new. */
static int replace_list(int dir_fd, const char *text, size_t len)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int k;

	(void)unlinkat(dir_fd, "trust.new", 0); /* of a run that was killed; we hold the lock */
	fd = openat(dir_fd, "trust.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	k = immure_write_all(fd, text, len);
	if (k == 0 && fsync(fd) < 0)
		k = -errno;
	if (k == 0 && renameat(dir_fd, "trust.new", dir_fd, "trust") < 0)
		k = -errno;
	if (k == 0 && fsync(dir_fd) < 0)
		k = -errno;
	if (k < 0)
		(void)unlinkat(dir_fd, "trust.new", 0); /* best effort, the error is reported */
	return k;
}

/* The list without what it says of this path, plus the new entry. */
static char *edited(const char *list, const char *digest, const char *path, size_t *ret_len)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *same = entry(NULL, path), *added = entry(digest, path);

	for (const char *line = list; same && *line;) {
		size_t n = strcspn(line, "\n");

		if (line[n] == '\n' && n > HEX + 1 && strncmp(line + HEX + 1, same, n - HEX) != 0)
			immure_buf_put(&b, line, n + 1);
		line += n + (line[n] == '\n');
	}
	if (!same || !added)
		b.failed = true;
	else
		immure_buf_puts(&b, added);
	free(same);
	free(added);
	*ret_len = b.len;
	return immure_buf_take(&b);
}

int32_t immure_trust_add(const char *state_dir, const char *digest, const char *path,
			 struct immure_error **err)
{
	IMMURE_CLEANUP_FD int dir_fd = -1;
	IMMURE_CLEANUP_FD int lock_fd = -1;
	IMMURE_CLEANUP_FREE char *list = NULL;
	IMMURE_CLEANUP_FREE char *text = NULL;
	size_t len;
	int32_t r;
	int k;

	if (!state_dir) {
		r = immure_fail(err, IMMURE_ERR_IO, ENOENT, "trust", "",
				"there is no state directory to record trust in");
		if (err)
			immure_error_set_hint(*err, "set HOME or XDG_STATE_HOME");
		return r;
	}
	k = make_dirs(state_dir);
	if (k == 0)
		dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (k < 0 || dir_fd < 0)
		return io_error(err, state_dir, k < 0 ? k : errno);
	r = check_dir(dir_fd, state_dir, err);
	if (r < 0)
		return r;
	lock_fd = openat(dir_fd, "trust.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock_fd < 0 || flock(lock_fd, LOCK_EX) < 0)
		return io_error(err, state_dir, errno);
	r = read_list(dir_fd, state_dir, &list, &len, err);
	if (r < 0)
		return r;
	text = edited(list, digest, path, &len);
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "trust", "", "out of memory");
	k = replace_list(dir_fd, text, len);
	return k < 0 ? io_error(err, state_dir, k) : 0;
}
