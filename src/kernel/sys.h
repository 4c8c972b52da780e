/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that the C libraries we build against do not wrap. Each returns
 * what the kernel returned: a value, or -errno (not -1). Since: the kernel
 * release that brought the call. */
#ifndef IMMURE_KERNEL_SYS_H
#define IMMURE_KERNEL_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif
#ifndef SYS_fsconfig
#define SYS_fsconfig 431
#endif
#ifndef SYS_fsmount
#define SYS_fsmount 432
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#define IMMURE_CLONE_INTO_CGROUP 0x200000000ULL

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#define IMMURE_OPEN_TREE_CLOEXEC O_CLOEXEC
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define IMMURE_MOVE_F_EMPTY_PATH 0x00000004
#define IMMURE_MOVE_T_EMPTY_PATH 0x00000040

#define IMMURE_ATTR_RDONLY 0x01U
#define IMMURE_ATTR_NOSUID 0x02U
#define IMMURE_ATTR_NODEV 0x04U
#define IMMURE_ATTR_NOEXEC 0x08U

#define IMMURE_RESOLVE_NO_XDEV 0x01ULL
#define IMMURE_RESOLVE_NO_MAGICLINKS 0x02ULL
#define IMMURE_RESOLVE_NO_SYMLINKS 0x04ULL
#define IMMURE_RESOLVE_BENEATH 0x08ULL
#define IMMURE_RESOLVE_IN_ROOT 0x10ULL

#define IMMURE_SYS(call) ({ long r_ = (call); r_ < 0 ? -(long)errno : r_; })

struct immure_open_how {
	uint64_t flags, mode, resolve;
};

struct immure_mount_attr {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

struct immure_clone_args { /* CLONE_ARGS_SIZE_VER2, 5.7 */
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};

/* 5.6 */
static inline int immure_sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct immure_open_how how = { .flags = flags, .resolve = resolve };

	return (int)IMMURE_SYS(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

/* The older call: the lower eight bits of flags are the exit signal. 5.2 for
 * CLONE_PIDFD. */
static inline long immure_sys_clone(unsigned long flags, int *ret_pidfd)
{
	return IMMURE_SYS(syscall(SYS_clone, flags, 0UL, ret_pidfd, 0UL, 0UL));
}

/* 5.2 */
static inline int immure_sys_open_tree(int dirfd, const char *path, unsigned int flags)
{
	return (int)IMMURE_SYS(syscall(SYS_open_tree, dirfd, path, flags));
}

static inline int immure_sys_move_mount(int from, int to)
{
	return (int)IMMURE_SYS(syscall(SYS_move_mount, from, "", to, "",
				       IMMURE_MOVE_F_EMPTY_PATH | IMMURE_MOVE_T_EMPTY_PATH));
}

static inline int immure_sys_fsopen(const char *type)
{
	return (int)IMMURE_SYS(syscall(SYS_fsopen, type, 1 /* FSOPEN_CLOEXEC */));
}

/* cmd: 0 FSCONFIG_SET_FLAG, 1 SET_STRING, 6 CMD_CREATE */
static inline int immure_sys_fsconfig(int fd, unsigned int cmd, const char *key, const char *value)
{
	return (int)IMMURE_SYS(syscall(SYS_fsconfig, fd, cmd, key, value, 0));
}

static inline int immure_sys_fsmount(int fd, unsigned int attr)
{
	return (int)IMMURE_SYS(syscall(SYS_fsmount, fd, 1 /* FSMOUNT_CLOEXEC */, attr));
}

/* 5.12 */
static inline int immure_sys_mount_setattr(int fd, unsigned int flags,
					   const struct immure_mount_attr *attr)
{
	return (int)IMMURE_SYS(syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, attr,
				       sizeof(*attr)));
}

/* 6.15: both at once */
static inline int immure_sys_open_tree_attr(int fd, unsigned int flags,
					    const struct immure_mount_attr *attr)
{
	return (int)IMMURE_SYS(syscall(SYS_open_tree_attr, fd, "", flags, attr, sizeof(*attr)));
}

static inline int immure_sys_pivot_root(const char *new_root, const char *put_old)
{
	return (int)IMMURE_SYS(syscall(SYS_pivot_root, new_root, put_old));
}

/* 5.3, as fork(2): the child continues on a copy of the stack. */
static inline long immure_sys_clone3(struct immure_clone_args *args)
{
	return IMMURE_SYS(syscall(SYS_clone3, args, sizeof(*args)));
}

/* 5.9 */
static inline int immure_sys_close_range(unsigned int first, unsigned int last, unsigned int flags)
{
	return (int)IMMURE_SYS(syscall(SYS_close_range, first, last, flags));
}

#endif
