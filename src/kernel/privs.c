/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/privs.h"

#include <errno.h>
#include <stdbool.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/fd.h"
#include "kernel/sys.h"

static int write_map(const char *base, const char *file, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", base, file);
	return immure_write_file_at(AT_FDCWD, path, text);
}

static int write_maps(const char *base, bool deny_groups, uint32_t uid_in, uint32_t uid_out,
		      uint32_t gid_in, uint32_t gid_out)
{
	char line[64];
	int r;

	if (deny_groups) {
		r = write_map(base, "setgroups", "deny");
		if (r < 0)
			return r;
	}
	(void)snprintf(line, sizeof(line), "%u %u 1\n", gid_in, gid_out);
	r = write_map(base, "gid_map", line);
	if (r < 0)
		return r;
	(void)snprintf(line, sizeof(line), "%u %u 1\n", uid_in, uid_out);
	return write_map(base, "uid_map", line);
}

int immure_ids_map_self(uint32_t uid_in, uint32_t uid_out, uint32_t gid_in, uint32_t gid_out)
{
	return write_maps("/proc/self", true, uid_in, uid_out, gid_in, gid_out);
}

int immure_ids_map_child(int pid, uint32_t uid_in, uint32_t uid_out, uint32_t gid_in,
			 uint32_t gid_out)
{
	char base[32];

	/* setgroups stays allowed: the child empties its groups, then it can
	 * no longer (no capability is left to it). */
	(void)snprintf(base, sizeof(base), "/proc/%d", pid);
	return write_maps(base, false, uid_in, uid_out, gid_in, gid_out);
}

int immure_ids_become(uint32_t uid, uint32_t gid)
{
	/* Refused where setgroups was denied for the map: then the groups are
	 * the caller's own and cannot be dropped by an ordinary user. */
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return -errno;
	if (syscall(SYS_setresgid, gid, gid, gid) < 0)
		return -errno;
	if (syscall(SYS_setresuid, uid, uid, uid) < 0)
		return -errno;
	return 0;
}

int immure_ids_check(uint32_t uid, uint32_t gid)
{
	uid_t u[3];
	gid_t g[3];

	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return -errno;
	for (int i = 0; i < 3; i++)
		if (u[i] != uid || g[i] != gid)
			return -EPERM;
	return 0;
}

enum {
	LOCKED = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		 SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
};

int immure_caps_drop_all(void)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* past the last one this kernel knows */
				break;
			return -errno;
		}
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_SECUREBITS, LOCKED, 0, 0, 0) < 0)
		return -errno;
	return (int)IMMURE_SYS(syscall(SYS_capset, &hdr, none));
}

int immure_caps_drop_held(void)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (unsigned long cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			break; /* EPERM: not ours to drop; EINVAL: past the last one */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return (int)IMMURE_SYS(syscall(SYS_capset, &hdr, none));
}

int immure_caps_check_empty(void)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[2] = { 0 };

	if (syscall(SYS_capget, &hdr, have) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (have[i].effective | have[i].permitted | have[i].inheritable)
			return -EPERM;
	return 0;
}

int immure_caps_check_held(void)
{
	int r = immure_caps_check_empty();

	return r < 0 ? r : prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EPERM;
}

static int check_bounding(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (r < 0)
			return errno == EINVAL && cap > 0 ? 0 : -errno; /* past the last one */
		if (r > 0)
			return -EPERM;
	}
	return 0;
}

int immure_caps_check_none(void)
{
	int r = immure_caps_check_empty();

	return r < 0 ? r : check_bounding();
}

int immure_caps_check_locked(void)
{
	return prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == LOCKED ? 0 : -EPERM;
}
