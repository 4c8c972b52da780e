/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files, for who is outside. Where a session has a root of its own they are reached below
 * that. Without namespaces the names are the host's, and a link that a command has put
 * there would lead whoever follows it from outside to what the command itself may not
 * reach. So init does it, which is in the same domain and under the same filters as every
 * command: what a command could not open is not opened for anybody by a name either.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/serving.h"

enum { PROC_MAGIC = 0x9fa0 };

/* Never one that waits: for the other end of a pipe, for a lease to be given back. */
static int open_file(const struct immure_init_file *f)
{
	/* Not O_ACCMODE: musl's has O_PATH in it, and by such a directory whoever is outside
	 * could do what nobody inside may. */
	const unsigned int known = O_WRONLY | O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_DIRECTORY |
				   O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	IMMURE_CLEANUP_FD int fd = -1;
	struct statfs fs;

	if (f->flags & ~known)
		return -EINVAL;
	fd = open(f->path, (int)f->flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, f->mode & 0777);
	if (fd < 0)
		return -errno;
	/* There "self" would be init, which is nothing of the session's. */
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	return fs.f_type == PROC_MAGIC ? -EACCES : immure_take_fd(&fd);
}

static int look(const char *path)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int remove_file(const char *path)
{
	if (unlink(path) == 0)
		return 0;
	return (errno == EISDIR || errno == EPERM) && rmdir(path) == 0 ? 0 : -errno;
}

/* >= 0, a descriptor where has_fd says so, or -errno. */
static int act(const struct immure_init_file *f, bool *ret_has_fd)
{
	*ret_has_fd = f->act == IMMURE_FILE_ACT_OPEN || f->act == IMMURE_FILE_ACT_LOOK;
	if (f->path[0] != '/' || !memchr(f->path, 0, sizeof(f->path)) ||
	    !memchr(f->to, 0, sizeof(f->to)))
		return -EINVAL;
	switch (f->act) {
	case IMMURE_FILE_ACT_OPEN:
		return open_file(f);
	case IMMURE_FILE_ACT_LOOK:
		return look(f->path);
	case IMMURE_FILE_ACT_REMOVE:
		return remove_file(f->path);
	case IMMURE_FILE_ACT_RENAME:
		return f->to[0] != '/' ? -EINVAL : rename(f->path, f->to) < 0 ? -errno : 0;
	case IMMURE_FILE_ACT_MKDIR:
		return mkdir(f->path, f->mode & 0777) < 0 ? -errno : 0;
	default:
		return -EINVAL;
	}
}

void immure_init_file(struct immure_serving *s, const struct immure_init_file *f)
{
	struct immure_init_reply reply = { .type = IMMURE_INIT_FILED, .id = f->id };
	bool has_fd = false;
	int r = immure_plan_is_bare(s->in->plan) ? act(f, &has_fd) : -EOPNOTSUPP;
	IMMURE_CLEANUP_FD int fd = r >= 0 && has_fd ? r : -1;

	reply.errnum = r < 0 ? -r : 0;
	if (immure_init_send(s->in->report_fd, &reply, sizeof(reply), &fd, fd >= 0, 0) < 0)
		immure_init_leave(s->in, 1);
}
