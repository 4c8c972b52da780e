/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf cgroups of ours that another process made: found, emptied, removed with
 * whatever was made below them. A leaf of ours is called immure-PID-TIME, after the
 * process that made it and CLOCK_MONOTONIC (ns, hex) when it did. */
#ifndef IMMURE_KERNEL_CGTREE_H
#define IMMURE_KERNEL_CGTREE_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor of the directory when it is a cgroup, has a name of ours and belongs
 * to our user; -ENOENT, -EPERM, -EINVAL. */
int immure_cgtree_open(const char *path, bool *ret_v2);
/* SIGKILL to every member, and below. By pidfd, and only who still is a member after
 * that was opened: a number that changed hands is nobody's. */
int immure_cgtree_kill(int dir_fd, bool v2);
/* Directories first from below; 0 when it is gone, -EBUSY while something lives. */
int immure_cgtree_remove(const char *path);
/* Calls each() with every pid of it and below: 0 for one that has no number here. */
int immure_cgtree_members(int dir_fd, int (*each)(void *ctx, int32_t pid), void *ctx);
/* pid and time of a name of ours. */
bool immure_cgtree_name(const char *name, int32_t *ret_pid, uint64_t *ret_ns);
/* Every directory with a name of ours in all hierarchies that are mounted here. */
int immure_cgtree_each(int (*each)(void *ctx, const char *path), void *ctx);

#endif
