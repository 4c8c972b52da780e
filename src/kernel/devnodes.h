/* SPDX-License-Identifier: Apache-2.0 */
/* What a session's /dev has besides terminals and shared memory: devices of the host's,
 * each with the numbers that it must have, and links. */
#ifndef IMMURE_KERNEL_DEVNODES_H
#define IMMURE_KERNEL_DEVNODES_H

enum { IMMURE_DEVNODES = 6, IMMURE_DEVLINKS = 5, IMMURE_DEV_PREFIX = 5 /* of "/dev/" */ };

struct immure_devnode {
	const char *path; /* on the host; inside it has the same name */
	unsigned int major, minor;
};

extern const struct immure_devnode immure_devnodes[IMMURE_DEVNODES];
extern const struct immure_devlink {
	const char *target, *name;
} immure_devlinks[IMMURE_DEVLINKS];
/* Of a devpts: key, value pairs ended by NULL (kernel/mount.h). */
extern const char *const immure_devpts_options[];

#endif
