/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: the three syscalls and the words they take.
 *
 * The constants are ours because the headers of a build machine are often
 * older than the kernel that runs. Rights of an ABI that the kernel lacks are
 * refused by it with EINVAL: callers ask for immure_landlock_fs_rights(abi)
 * and no more, and a right that is not handled is not restricted.
 *
 * Everything returns 0, a value, or -errno; nothing allocates.
 */
#ifndef IMMURE_KERNEL_LANDLOCK_H
#define IMMURE_KERNEL_LANDLOCK_H

#include <stdint.h>

#define IMMURE_LANDLOCK_ABI_MAX 7 /* the newest ABI this file knows */

/* handled_access_fs */
#define IMMURE_LANDLOCK_FS_EXECUTE     (UINT64_C(1) << 0)
#define IMMURE_LANDLOCK_FS_WRITE_FILE  (UINT64_C(1) << 1)
#define IMMURE_LANDLOCK_FS_READ_FILE   (UINT64_C(1) << 2)
#define IMMURE_LANDLOCK_FS_READ_DIR    (UINT64_C(1) << 3)
#define IMMURE_LANDLOCK_FS_REMOVE_DIR  (UINT64_C(1) << 4)
#define IMMURE_LANDLOCK_FS_REMOVE_FILE (UINT64_C(1) << 5)
#define IMMURE_LANDLOCK_FS_MAKE_CHAR   (UINT64_C(1) << 6)
#define IMMURE_LANDLOCK_FS_MAKE_DIR    (UINT64_C(1) << 7)
#define IMMURE_LANDLOCK_FS_MAKE_REG    (UINT64_C(1) << 8)
#define IMMURE_LANDLOCK_FS_MAKE_SOCK   (UINT64_C(1) << 9)
#define IMMURE_LANDLOCK_FS_MAKE_FIFO   (UINT64_C(1) << 10)
#define IMMURE_LANDLOCK_FS_MAKE_BLOCK  (UINT64_C(1) << 11)
#define IMMURE_LANDLOCK_FS_MAKE_SYM    (UINT64_C(1) << 12)
#define IMMURE_LANDLOCK_FS_REFER       (UINT64_C(1) << 13) /* ABI 2 */
#define IMMURE_LANDLOCK_FS_TRUNCATE    (UINT64_C(1) << 14) /* ABI 3 */
#define IMMURE_LANDLOCK_FS_IOCTL_DEV   (UINT64_C(1) << 15) /* ABI 5 */

/* Rights that mean something on a non-directory; a rule on one may name only
 * these (EINVAL otherwise). */
#define IMMURE_LANDLOCK_FS_ON_FILE                                                              \
	(IMMURE_LANDLOCK_FS_EXECUTE | IMMURE_LANDLOCK_FS_WRITE_FILE |                           \
	 IMMURE_LANDLOCK_FS_READ_FILE | IMMURE_LANDLOCK_FS_TRUNCATE |                           \
	 IMMURE_LANDLOCK_FS_IOCTL_DEV)

/* handled_access_net, ABI 4 */
#define IMMURE_LANDLOCK_NET_BIND_TCP    (UINT64_C(1) << 0)
#define IMMURE_LANDLOCK_NET_CONNECT_TCP (UINT64_C(1) << 1)

/* scoped, ABI 6 */
#define IMMURE_LANDLOCK_SCOPE_ABSTRACT_UNIX (UINT64_C(1) << 0)
#define IMMURE_LANDLOCK_SCOPE_SIGNAL        (UINT64_C(1) << 1)

/* flags of restrict_self, ABI 7: what the audit log hears about denials */
#define IMMURE_LANDLOCK_LOG_SAME_EXEC_OFF  (1U << 0)
#define IMMURE_LANDLOCK_LOG_NEW_EXEC_ON    (1U << 1)
#define IMMURE_LANDLOCK_LOG_SUBDOMAINS_OFF (1U << 2)

/* All that an ABI can handle; 0 for abi <= 0, the newest known set above MAX. */
uint64_t immure_landlock_fs_rights(int abi);
uint64_t immure_landlock_net_rights(int abi);
uint64_t immure_landlock_scopes(int abi);

/* The running kernel's ABI (>= 1); -ENOSYS not built in, -EOPNOTSUPP built in
 * but not enabled at boot. */
int immure_landlock_abi(void);
/* The running kernel's fixed errata, a bit set; 0 when it cannot tell. */
uint32_t immure_landlock_errata(void);
/* A descriptor (CLOEXEC, the kernel makes it so) or -errno. */
int immure_landlock_create(uint64_t fs, uint64_t net, uint64_t scopes);
/* fd: O_PATH will do; borrowed. -ENOMSG when rights is 0. */
int immure_landlock_add_path(int ruleset_fd, int fd, uint64_t rights);
int immure_landlock_add_port(int ruleset_fd, uint16_t port, uint64_t rights);
/* Needs no_new_privs (or CAP_SYS_ADMIN here). -E2BIG at 16 nested layers. */
int immure_landlock_restrict(int ruleset_fd, uint32_t flags);

#endif
