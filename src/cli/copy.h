/* SPDX-License-Identifier: Apache-2.0 */
/* Copying between here and a session, one component at a time: here by descriptors, there
 * by names that the session resolves. No symbolic link is followed below the top. */
#ifndef IMMURE_CLI_COPY_H
#define IMMURE_CLI_COPY_H

#include "immure/immure.h"

/* All bytes up to the end; only regular files and pipes may be read. 0 or -errno. */
int immure_copy_bytes(int from, int to);
struct immure_copy {
	/* NULL: here, where the paths are not looked at. */
	immure_session *from_session, *to_session;
	int from_fd;           /* a file or directory */
	const char *from_path; /* and what it is called */
	int to_dir;
	const char *to_path;
	const char *name;      /* what it becomes in there */
};
/* A directory with all in it. What is neither is left out and told. The number of things
 * left out, or -errno. */
int immure_copy_tree(const struct immure_copy *copy);

#endif
