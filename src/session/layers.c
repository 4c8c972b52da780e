/* SPDX-License-Identifier: Apache-2.0 */
#include "session/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fd.h"

static int hold(const char *path)
{
	IMMURE_CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return -errno;
	/* Removed between the two: what is locked is nobody's any more. */
	if (fstat(fd, &st) < 0 || st.st_nlink == 0)
		return -ENOENT;
	return immure_fd_raise(&fd, 10) < 0 ? -EMFILE : immure_take_fd(&fd);
}

int32_t immure_layers_hold(struct immure_layers *l, const struct immure_plan *plan, struct immure_error **err)
{
	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		int fd;

		if (op->kind != IMMURE_OP_LAYER || strcmp(op->key, "image") != 0 || l->n == IMMURE_LAYERS_MAX)
			continue;
		fd = hold(op->src);
		if (fd < 0)
			return immure_fail(err, IMMURE_ERR_LAUNCH, -fd, "image", op->src, "image: the layer %s %s", op->src,
					   fd == -EWOULDBLOCK ? "is being removed" :
					   fd == -ENOENT ? "is gone" : strerror(-fd));
		l->fd[l->n++] = fd;
	}
	return 0;
}

void immure_layers_done(struct immure_layers *l)
{
	while (l->n)
		immure_close(&l->fd[--l->n]);
}
