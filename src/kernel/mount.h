/* SPDX-License-Identifier: Apache-2.0 */
/* The new mount API, on descriptors only: nothing here takes a path that it
 * would resolve a second time. All return 0 or a descriptor, else -errno. */
#ifndef IMMURE_KERNEL_MOUNT_H
#define IMMURE_KERNEL_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* O_PATH descriptor of an absolute path on the host, symlinks refused (ELOOP). */
int immure_mount_open_host(const char *path);
/* O_PATH descriptor of path (absolute, normal) below root_fd; symlinks refused,
 * mount points crossed. */
int immure_mount_open_in(int root_fd, const char *path);
/* Recursive private clone of the tree at fd, with these attributes set. In a
 * user namespace a clone must take locked submounts along, so always all. */
int immure_mount_clone(int fd, uint64_t attr_set);
/* Another mount of what is mounted at fd itself (fd is a mount's root), with the
 * attributes and the propagation that it has there. */
int immure_mount_again(int fd);
/* A detached tmpfs; mode as chmod(2), size 0 = the kernel's default. */
int immure_mount_tmpfs(uint64_t size, uint32_t mode, uint32_t attr);
/* A detached instance of a file system that takes no more than flags and
 * strings; options are key, value pairs ended by NULL (value "" = a flag). */
int immure_mount_new(const char *type, const char *const *options, uint32_t attr);
/* Attaches the detached tree on the object that target_fd names. */
int immure_mount_attach(int tree_fd, int target_fd);
/* 1 when fd is the root of a mount, 0 when not; -ENOSYS before 5.8. */
int immure_mount_is_root(int fd);
/* A clone of ours of what is read-only here becomes writable. */
int immure_mount_let_write(int fd);
struct immure_mount_seen {
	uint64_t ino;
	uint32_t dev[2], mode;
	bool is_root;
};
/* What is at path below root_fd, which is not an end of the walk: a look, no more. 0 or
 * -errno; -ENOSYS before Linux 5.8. */
int immure_mount_look(int root_fd, const char *path, struct immure_mount_seen *ret);
int immure_mount_set(int fd, uint64_t attr_set, bool recursive);
/* Every mount of this namespace stops receiving and sending mount events. */
int immure_mount_make_private(void);
/* Makes root_fd the root and drops the old one with all below it. */
int immure_mount_pivot(int root_fd);

#endif
