/* SPDX-License-Identifier: Apache-2.0 */
/* What registry.c and entry.c share: files of ours, opened without trust. */
#ifndef IMMURE_SESSION_RUNTIME_H
#define IMMURE_SESSION_RUNTIME_H

#include "session/registry.h"

enum { IMMURE_RUNTIME_FILE_MAX = 256 << 10 }; /* meta, status, lock, ticket */

/* A directory below dir (or AT_FDCWD) that is ours alone: -EPERM when it is not,
 * -ENOTDIR or -ELOOP when it is no directory. */
int immure_runtime_dir(int dir, const char *name);
/* A plain file that is ours alone, never waiting (a pipe is refused). */
int immure_runtime_file(int dir, const char *name, int flags);
/* All of such a file. */
int immure_runtime_read(int dir, const char *name, size_t max, char **ret, size_t *ret_len);
/* The write lock of an open file: 0, -EAGAIN. */
int immure_runtime_lock(int fd, bool wait);
/* The lock of the whole registry; closing the descriptor lets go. */
int immure_runtime_lock_all(struct immure_registry *r);
/* All in it, not crossing mounts, no link followed. The first failure goes on. */
int immure_runtime_empty(int dir_fd, const char *except, char *left, size_t len);

#endif
