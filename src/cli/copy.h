/* SPDX-License-Identifier: Apache-2.0 */
/* Copying between here and a session: by descriptors, one component at a time, no
 * symbolic link followed below the top on either side. */
#ifndef IMMURE_CLI_COPY_H
#define IMMURE_CLI_COPY_H

/* All bytes up to the end; only regular files and pipes may be read. 0 or -errno. */
int immure_copy_bytes(int from, int to);
/* from_fd: a file or directory, becomes `name` in to_dir; a directory with all in it.
 * What is neither is left out and told. The number of things left out, or -errno. */
int immure_copy_tree(int from_fd, int to_dir, const char *name);

#endif
