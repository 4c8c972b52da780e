/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process closes itself in before it reads a byte of the sandbox. What the gatekeeper
 * keeps is that it is the user who owns the session's user namespace: that, and
 * no capability, is why the kernel lets it change tables and bind ports there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "egress/confine.h"
#include "egress/wire.h"
#include "kernel/landlock.h"
#include "kernel/privs.h"
#include "kernel/seccomp.h"
#include "kernel/sys.h"

#ifdef __SANITIZE_ADDRESS__
#define KEEP_STDERR 1 /* what it has to say goes there */
#else
#define KEEP_STDERR 0
#endif

bool immure_confine_has_control(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

int immure_confine_keep_only(int fd)
{
	int null, r = immure_sys_close_range((unsigned int)fd + 1, ~0U, 0);

	if (r == -ENOSYS) /* before 5.9 */
		for (int i = fd + 1; i < 65536; i++)
			(void)close(i); /* most are not open */
	else if (r < 0)
		return r;
	null = immure_open_null();
	if (null < 0)
		return null;
	for (int i = 0; i < 3 - KEEP_STDERR; i++)
		if (dup3(null, i, O_CLOEXEC) < 0)
			return -errno;
	immure_close(&null);
	return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

/* An ordinary user has none to drop, and may not drop them either. */
static int drop_caps(void)
{
	return immure_caps_check_empty() == 0 ? 0 : immure_caps_drop_all();
}

static int limit(uint64_t memory_max)
{
#ifdef __SANITIZE_ADDRESS__ /* which maps terabytes */
	(void)memory_max;
#else
	const struct rlimit memory = { memory_max, memory_max };
#endif
	const struct rlimit none = { 0, 0 };
	const struct rlimit file = { IMMURE_WIRE_SHOW_MAX, IMMURE_WIRE_SHOW_MAX };
	struct rlimit files;

#ifndef __SANITIZE_ADDRESS__
	if (setrlimit(RLIMIT_AS, &memory) < 0)
		return -errno;
#endif
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
	    setrlimit(RLIMIT_NPROC, &none) < 0 || setrlimit(RLIMIT_FSIZE, &file) < 0)
		return -errno;
	return 0;
}

/* No file at all, no bind() where none is needed, no signal and no abstract
 * socket of anybody else. 0 in *ret_abi: this kernel has no Landlock, seccomp
 * alone stands. */
static int landlock(bool nft, uint32_t *ret_abi)
{
	IMMURE_CLEANUP_FD int fd = -1;
	int abi = immure_landlock_abi();
	uint64_t net;

	*ret_abi = 0;
	if (abi == -ENOSYS || abi == -EOPNOTSUPP)
		return 0;
	if (abi < 0)
		return abi;
	net = nft ? immure_landlock_net_rights(abi) & IMMURE_LANDLOCK_NET_BIND_TCP : 0;
	fd = immure_landlock_create(immure_landlock_fs_rights(abi), net, immure_landlock_scopes(abi));
	if (fd < 0)
		return fd;
	*ret_abi = (uint32_t)abi;
	return immure_landlock_restrict(fd, 0);
}

/* Each line was just asked for; here it is looked at. */
static int check(const char **ret_why)
{
	int fd;

	*ret_why = "self-check: capabilities are left";
	if (immure_caps_check_empty() < 0)
		return -EPERM;
	*ret_why = "self-check: no_new_privs is not set";
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	*ret_why = "self-check: memory could be read by others";
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -EPERM;
	*ret_why = "self-check: no filter is in force";
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return -EPERM;
	*ret_why = "self-check: a file can be opened";
	fd = (int)syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0 || errno != EPERM)
		return -EPERM;
	*ret_why = "self-check: a local socket can be made";
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 || errno != EPERM)
		return -EPERM;
	*ret_why = "self-check: memory can be made executable";
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return -EPERM;
	return 0;
}

/* Landlock alone, before the filter hides it. */
static int check_landlock(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	immure_close(&fd);
	return -EPERM;
}

int immure_confine(const char *name, uint64_t memory_max, bool no_bind, uint32_t *ret_landlock_abi,
		   const char **ret_why)
{
	const struct immure_filter *filter =
		immure_filter_builtin(name, IMMURE_FAMILY_INET | IMMURE_FAMILY_INET6);
	int r;

	*ret_why = "limits";
	r = limit(memory_max);
	if (r < 0)
		return r;
	*ret_why = "dropping capabilities";
	r = drop_caps();
	if (r < 0)
		return r;
	*ret_why = "no_new_privs";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	*ret_why = "Landlock";
	r = landlock(no_bind, ret_landlock_abi);
	if (r == 0 && *ret_landlock_abi)
		r = check_landlock();
	if (r < 0)
		return r;
	*ret_why = "system call filter";
	if (!filter)
		return -ENOENT;
	r = immure_filter_install(filter, 0);
	if (r < 0)
		return r;
	return check(ret_why);
}
