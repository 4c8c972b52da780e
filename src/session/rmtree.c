/* SPDX-License-Identifier: Apache-2.0 */
#include "session/rmtree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* Deeper directories are moved up to the top and taken from there. */
enum { DEPTH_MAX = 32, PASSES_MAX = 100000 };

struct remover {
	int top;
	unsigned int moved; /* numbers the names of what was moved up */
	bool again;
	int error;
};

static int open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd;
}

static void empty(struct remover *r, int fd, int depth);

static void remove_entry(struct remover *r, int fd, const char *name, int depth)
{
	char up[32];
	int sub;

	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return;
	if (errno != EISDIR && errno != EPERM) {
		r->error = -errno;
		return;
	}
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0)
		return;
	if (depth == DEPTH_MAX) {
		(void)snprintf(up, sizeof(up), ".immure-%u", r->moved++);
		if (renameat(fd, name, r->top, up) == 0)
			r->again = true;
		else
			r->error = -errno;
		return;
	}
	sub = open_dir(fd, name);
	if (sub < 0) {
		r->error = -errno;
		return;
	}
	empty(r, sub, depth + 1);
	immure_close(&sub);
	if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r->error = -errno;
}

static void empty(struct remover *r, int fd, int depth)
{
	char buf[4096] __attribute__((aligned(8)));
	struct stat st;
	long n;

	/* Its entries can be removed only by whoever may write it. */
	if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
		(void)fchmod(fd, 0700); /* else removing says why not */
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			const char *name = buf + i + 19; /* struct linux_dirent64 */
			unsigned short reclen;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			i += reclen;
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				remove_entry(r, fd, name, depth);
		}
	}
}

int immure_rmtree(const char *path)
{
	IMMURE_CLEANUP_FD int top = open_dir(AT_FDCWD, path);
	struct remover r = { .top = top };

	if (top < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < PASSES_MAX; i++) {
		r.again = false;
		r.error = 0;
		if (lseek(top, 0, SEEK_SET) < 0)
			return -errno;
		empty(&r, top, 0);
		if (!r.again)
			break;
	}
	if (r.error)
		return r.error;
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}
