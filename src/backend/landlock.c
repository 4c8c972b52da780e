/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/ahead.h"
#include "base/fd.h"
#include "kernel/sys.h"

/* Where clone3 is closed the child has to enter its v2 leaf itself. */
static bool enter(const struct immure_cgroup *cgroup)
{
	return !cgroup || immure_cgroup_enter_v2(cgroup) == 0;
}

/* Under filters, where they were put on ahead. Else, or when that fails: -errno. */
static long clone_ahead(const struct immure_plan *p, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret)
{
	long pid;

	if (!p->ahead || !ret->filtered)
		return -ENOENT;
	immure_ahead_order(p->ahead, args, entry, ctx);
	if (ret->meanwhile)
		ret->meanwhile(ret->meanwhile_ctx);
	pid = immure_ahead_clone(p->ahead, args, entry, ctx);
	if (pid != -EOWNERDEAD)
		return pid;
	/* Perhaps there is one: nothing may be started a second time. */
	if (*(int *)(uintptr_t)args->pidfd >= 0) {
		(void)syscall(SYS_pidfd_send_signal, *(int *)(uintptr_t)args->pidfd, SIGKILL, NULL, 0);
		immure_close((int *)(uintptr_t)args->pidfd);
	}
	return pid;
}

static int32_t spawn(const struct immure_plan *p, const struct immure_cgroup *cgroup,
		     void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret,
		     struct immure_error **err)
{
	struct immure_clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	bool placed = false;
	int pidfd = -1;
	long pid;

	/* A plan for this backend without it would be no sandbox at all. */
	if (!immure_plan_find(p, IMMURE_OP_LANDLOCK))
		return immure_fail(err, IMMURE_ERR_LAUNCH, EINVAL, "landlock", "",
				   "the plan lacks Landlock");
	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	pid = clone_ahead(p, &args, entry, ctx, ret);
	if (pid == -EOWNERDEAD)
		return immure_fail(err, IMMURE_ERR_LAUNCH, EOWNERDEAD, "start", "",
				   "a process that makes the session was killed");
	if (pid > 0) {
		ret->pid = (int)pid;
		ret->pidfd = pidfd;
		return 0;
	}
	ret->filtered = false; /* it does all of it itself */
	if (cgroup && cgroup->v2 && cgroup->n > 0) {
		args.flags |= IMMURE_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup->dir_fd[0];
		placed = true;
	}
	pid = immure_sys_clone3(&args);
	if (pid == -ENOSYS) { /* filters of container runtimes say so */
		placed = false;
		pid = immure_sys_clone(CLONE_PIDFD | SIGCHLD, &pidfd);
	}
	if (pid == 0) {
		/* Not entered: the end of the line says that there is no session. */
		if (placed || enter(cgroup))
			entry(ctx);
		_exit(1);
	}
	if (pid < 0) {
		int32_t r = immure_fail(err, IMMURE_ERR_LAUNCH, (int)-pid, "start", "",
					"cannot make a process: %s", strerror((int)-pid));

		if (pid == -EINVAL && err && *err)
			immure_error_set_hint(*err, "it needs a pidfd for it (Linux 5.2); `immure doctor` says more");
		return r;
	}
	ret->pid = (int)pid;
	ret->pidfd = pidfd;
	return 0;
}

const struct immure_backend immure_landlock = {
	.name = "landlock",
	.spawn = spawn,
};
