/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/native.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/ahead.h"
#include "backend/subid.h"
#include "base/fd.h"
#include "kernel/privs.h"
#include "kernel/sys.h"

static const struct immure_op *id_op(const struct immure_plan *p)
{
	const struct immure_op *op = immure_plan_find(p, IMMURE_OP_IDMAP);

	return op ? op : immure_plan_find(p, IMMURE_OP_IDMAP_SUBID);
}

static bool has_other_groups(void)
{
	gid_t list[256], own = getegid();
	int n = getgroups(256, list);

	if (n < 0) /* more than that: there are others */
		return true;
	for (int i = 0; i < n; i++)
		if (list[i] != own)
			return true;
	return false;
}

/* Another identity than the caller's own, sub-id ranges, or groups that only root
 * can take away. */
static bool maps_outside(const struct immure_plan *p)
{
	const struct immure_op *op = id_op(p);

	if (!op)
		return false;
	if (op->kind == IMMURE_OP_IDMAP_SUBID)
		return true;
	if (geteuid() != 0)
		return false;
	return op->num[1] != 0 || op->num[3] != getegid() || has_other_groups();
}

static const char *spawn_hint(int errnum)
{
	switch (errnum) {
	case EPERM:
	case EACCES:
		return "this host does not let this user make user namespaces; `immure doctor` says why "
		       "and what to do";
	case ENOSPC:
	case EUSERS:
		return "the limit on namespaces is reached (user.max_*_namespaces), or they are nested "
		       "too deep";
	case ENOSYS:
	case EINVAL:
		return "this kernel lacks a namespace the plan needs; `immure doctor` lists them";
	default:
		return "";
	}
}

/* In what was begun ahead, where that can be. Else, or when that fails: -errno. */
static long clone_ahead(const struct immure_plan *p, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret)
{
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	struct immure_ahead *a = ret->ahead ? ret->ahead : p->ahead;
	long pid;

	if (!a || !(ns->num[0] & CLONE_NEWNET))
		return -ENOENT;
	ret->ahead_fd = immure_ahead_socket(a);
	ret->within = immure_ahead_is_within(a);
	pid = immure_ahead_clone(a, args, entry, ctx);
	if (pid < 0) {
		ret->ahead_fd = -1;
		ret->within = false;
	}
	return pid;
}

/* clone3 with the plan's namespaces (and into the v2 cgroup). */
static int32_t spawn(const struct immure_plan *p, const struct immure_cgroup *cgroup,
			    void (*entry)(void *ctx), void *ctx, struct immure_backend_child *ret,
			    struct immure_error **err)
{
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	struct immure_clone_args args = { .exit_signal = SIGCHLD };
	bool placed = false;
	int pidfd = -1;
	long pid;

	/* A plan for this backend without them would be no sandbox at all. */
	if (!ns || (ns->num[0] & (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)) !=
			   (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID))
		return immure_fail(err, IMMURE_ERR_LAUNCH, EINVAL, "namespace", "",
				   "the plan lacks the user, mount or pid namespace");
	/* Init makes these two itself: a cgroup namespace is rooted where its
	 * maker is, and a network namespace takes long enough to be made beside
	 * other work. */
	args.flags = (ns->num[0] & ~(uint64_t)(CLONE_NEWCGROUP | CLONE_NEWNET)) | CLONE_PIDFD;
	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	if (cgroup && cgroup->v2 && cgroup->n > 0) {
		args.flags |= IMMURE_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup->dir_fd[0];
		placed = true;
	}
	pid = clone_ahead(p, &args, entry, ctx, ret);
	if (pid == -EOWNERDEAD) {
		if (pidfd >= 0)
			(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		immure_close(&pidfd);
	} else if (pid < 0) { /* whatever it was, what is made here says it better */
		pid = immure_sys_clone3(&args);
	}
	/* Filters of container runtimes say ENOSYS, because they cannot see clone3's
	 * flags. The older call will do, except for what only clone3 can express. */
	if (pid == -ENOSYS && !(args.flags & CLONE_NEWTIME)) {
		placed = false; /* so it has to enter its v2 leaf itself */
		args.flags &= ~(uint64_t)IMMURE_CLONE_INTO_CGROUP;
		pid = immure_sys_clone((unsigned long)args.flags | SIGCHLD, &pidfd);
	}
	if (pid == 0) {
		/* Not entered: the end of the line says that there is no session. */
		if (placed || !cgroup || immure_cgroup_enter_v2(cgroup) == 0)
			entry(ctx);
		_exit(1);
	}
	/* No refusal of the host's: another backend must not be tried, because the command
	 * may have been started. */
	if (pid == -EOWNERDEAD)
		return immure_fail(err, IMMURE_ERR_LAUNCH, EOWNERDEAD, "start", "",
				   "a process that makes the session was killed");
	if (pid < 0) {
		int32_t r = immure_fail(err, IMMURE_ERR_LAUNCH, (int)-pid, "namespace", ns->src,
					"cannot make the session's namespaces: %s", strerror((int)-pid));

		if (err && *err)
			immure_error_set_hint(*err, "%s", spawn_hint((int)-pid));
		return r;
	}
	ret->pid = (int)pid;
	ret->pidfd = pidfd;
	return 0;
}

static int32_t write_maps(const struct immure_plan *p, int pid, struct immure_error **err)
{
	const struct immure_op *op = id_op(p);
	int r;

	if (op->kind == IMMURE_OP_IDMAP_SUBID)
		return immure_subid_write_maps(op, pid, err);
	r = immure_ids_map_child(pid, (uint32_t)op->num[0], (uint32_t)op->num[1],
				 (uint32_t)op->num[2], (uint32_t)op->num[3]);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "ids", op->key,
				   "cannot write the id maps: %s", strerror(-r));
	return 0;
}

const struct immure_backend immure_native = {
	.name = "native",
	.maps_outside = maps_outside,
	.write_maps = write_maps,
	.spawn = spawn,
};
