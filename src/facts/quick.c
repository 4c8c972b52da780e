/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that the kernel answers in one call without changing anything. */
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "facts/probe.h"
#include "kernel/landlock.h"

int immure_probe_landlock_abi(void)
{
	int abi = immure_landlock_abi();

	return abi < 0 ? 0 : abi;
}

static bool has_action(uint32_t action)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

enum immure_tri immure_probe_seccomp(const char **ret_missing)
{
	const char *missing = NULL;

	if (!has_action(SECCOMP_RET_ERRNO))
		missing = "errno";
	else if (!has_action(SECCOMP_RET_KILL_PROCESS))
		missing = "kill_process";
	if (missing && ret_missing)
		*ret_missing = missing;
	return missing ? IMMURE_NO : IMMURE_YES;
}

enum immure_tri immure_probe_notify(void)
{
	return has_action(SECCOMP_RET_USER_NOTIF) ? IMMURE_YES : IMMURE_NO;
}
