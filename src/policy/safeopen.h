/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a file that is about to be obeyed: no link out of the tree it was
 * found in, nothing that somebody else could have put there or can still
 * change. What was checked is the open file, not its name. */
#ifndef IMMURE_POLICY_SAFEOPEN_H
#define IMMURE_POLICY_SAFEOPEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct immure_safe_file {
	int dir_fd;  /* O_PATH, the directory that holds the file */
	char *data;
	size_t len;
	dev_t dev;
	ino_t ino;
	char digest[65]; /* SHA-256 of data */
};

void immure_safe_file_done(struct immure_safe_file *f);

/* Opens, checks and reads rel below tree_fd. within: symlinks may be followed,
 * but no step may leave tree_fd; otherwise directories are followed anywhere
 * and the last component must not be a symlink. name is for messages. max is
 * the largest size taken. -IMMURE_ERR_TRUST, IO or NOMEM. When the file is
 * absent and no link led to it: IO with errno ENOENT. */
int32_t immure_safe_read(int tree_fd, const char *rel, bool within, size_t max, const char *name,
			 struct immure_safe_file *ret, struct immure_error **err);

/* openat2(2) with RESOLVE_NO_MAGICLINKS and what resolve adds, or -errno. Where
 * the kernel has no openat2, components are opened one by one and no symlink is
 * followed at all. */
int immure_safe_openat(int dir_fd, const char *path, int flags, bool beneath, bool no_symlinks);

#endif
