/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same on every architecture. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule 445
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_VERSION (1U << 0)
#define CREATE_ERRATA  (1U << 1)

#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT     2

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;    /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

struct path_beneath_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

struct net_port_attr {
	uint64_t allowed;
	uint64_t port;
};

_Static_assert(sizeof(struct path_beneath_attr) == 12, "uapi layout");

uint64_t immure_landlock_fs_rights(int abi)
{
	if (abi <= 0)
		return 0;
	if (abi == 1)
		return IMMURE_LANDLOCK_FS_REFER - 1;
	if (abi == 2)
		return IMMURE_LANDLOCK_FS_TRUNCATE - 1;
	if (abi <= 4)
		return IMMURE_LANDLOCK_FS_IOCTL_DEV - 1;
	return (IMMURE_LANDLOCK_FS_IOCTL_DEV << 1) - 1;
}

uint64_t immure_landlock_net_rights(int abi)
{
	return abi < 4 ? 0 : IMMURE_LANDLOCK_NET_BIND_TCP | IMMURE_LANDLOCK_NET_CONNECT_TCP;
}

uint64_t immure_landlock_scopes(int abi)
{
	return abi < 6 ? 0 : IMMURE_LANDLOCK_SCOPE_ABSTRACT_UNIX | IMMURE_LANDLOCK_SCOPE_SIGNAL;
}

static int query(uint32_t flag)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, flag);

	return r < 0 ? -errno : (int)r;
}

int immure_landlock_abi(void)
{
	return query(CREATE_VERSION);
}

uint32_t immure_landlock_errata(void)
{
	int r = query(CREATE_ERRATA);

	return r < 0 ? 0 : (uint32_t)r;
}

int immure_landlock_create(uint64_t fs, uint64_t net, uint64_t scopes)
{
	/* A longer struct is accepted by older kernels as long as the part they do
	 * not know is zero, and refused (E2BIG) when it is not: never weaker than
	 * asked for. */
	struct ruleset_attr attr = { .fs = fs, .net = net, .scoped = scopes };
	long r = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0U);

	return r < 0 ? -errno : (int)r;
}

static int add_rule(int ruleset_fd, unsigned int type, const void *attr)
{
	return syscall(SYS_landlock_add_rule, ruleset_fd, type, attr, 0U) < 0 ? -errno : 0;
}

int immure_landlock_add_path(int ruleset_fd, int fd, uint64_t rights)
{
	struct path_beneath_attr attr = { .allowed = rights, .parent_fd = fd };

	return add_rule(ruleset_fd, RULE_PATH_BENEATH, &attr);
}

int immure_landlock_add_port(int ruleset_fd, uint16_t port, uint64_t rights)
{
	struct net_port_attr attr = { .allowed = rights, .port = port };

	return add_rule(ruleset_fd, RULE_NET_PORT, &attr);
}

int immure_landlock_restrict(int ruleset_fd, uint32_t flags)
{
	return syscall(SYS_landlock_restrict_self, ruleset_fd, flags) < 0 ? -errno : 0;
}
