/* SPDX-License-Identifier: Apache-2.0 */
/* Setting up: the plan's stages from the inside, each one function, run by the
 * last one in the only order that there is (plan.h says why it is this one). */
#include "init/build.h"
#include "init/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/fresh.h"
#include "init/mould.h"
#include "init/zygote.h"
#include "kernel/landlock.h"
#include "kernel/notify.h"
#include "kernel/privs.h"
#include "kernel/pty.h"
#include "kernel/sys.h"
#include "policy/policy.h"

uint64_t immure_init_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static const struct immure_op *step_to(const struct immure_plan *p, enum immure_op_kind kind,
				       struct immure_init_step *step)
{
	for (size_t i = 0; i < p->ops_n; i++) {
		if (p->ops[i].kind == kind) {
			step->stage = p->ops[i].stage;
			step->op = (uint32_t)i;
			step->subject = immure_op_name(kind);
			return &p->ops[i];
		}
	}
	return NULL;
}

/* The end of the supervisor is ours; asked before it is relied upon, and
 * looked at once more, because it may have happened in between. */
static int bind_to_supervisor(const struct immure_init *in)
{
	char c;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (recv(in->report_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
	return 0;
}

static int stage_cgroup(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *ns;
	int r = 0;

	step->stage = IMMURE_STAGE_CGROUP;
	step->subject = "cgroup";
	if (in->cgroup)
		r = immure_cgroup_join_self(in->cgroup);
	if (r < 0 || in->template) /* what is made after it joins, and unshares, by itself */
		return r;
	/* Only now: a cgroup namespace is rooted where its maker is. */
	ns = step_to(in->plan, IMMURE_OP_NAMESPACES, step);
	if (ns && (ns->num[0] & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return -errno;
	return 0;
}

int immure_init_await(const struct immure_init *in, enum immure_init_msg_type what)
{
	struct immure_init_msg m;
	ssize_t n;

	do
		n = recv(in->report_fd, &m, sizeof(m), 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(1);
	return n == sizeof(m) && m.type == what ? 0 : -EPROTO;
}

static int stage_ids(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *op = step_to(in->plan, IMMURE_OP_IDMAP, step);
	int r;

	if (!op)
		op = step_to(in->plan, IMMURE_OP_IDMAP_SUBID, step);
	if (!op)
		return -EINVAL; /* never without an identity */
	if (in->wait_for_maps)
		r = immure_init_await(in, IMMURE_INIT_MAPPED);
	else
		r = immure_ids_map_self((uint32_t)op->num[0], (uint32_t)op->num[1],
					(uint32_t)op->num[2], (uint32_t)op->num[3]);
	if (r < 0)
		return r;
	r = immure_ids_become((uint32_t)op->num[0], (uint32_t)op->num[2]);
	/* Becoming someone may have cleared it (prctl(2)). */
	return r < 0 ? r : bind_to_supervisor(in);
}

static int stage_network(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_op *op = step_to(in->plan, IMMURE_OP_HOSTNAME, step);

	return op && sethostname(op->src, strlen(op->src)) < 0 ? -errno : 0;
}

/* As early as there is a user namespace to own it, and before the id maps: it
 * is the longest piece of work that needs nothing from the others. */
static int start_network(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_plan *p = s->in->plan;
	const struct immure_op *ns = step_to(p, IMMURE_OP_NAMESPACES, step);

	s->net.wanted = ns && (ns->num[0] & CLONE_NEWNET);
	s->net.loopback = immure_plan_find(p, IMMURE_OP_LOOPBACK) != NULL;
	s->net.ahead_fd = s->in->ahead_fd;
	s->net.ahead = s->in->ahead_fd >= 0;
	return s->net.wanted && !s->net.ahead ? immure_init_net_start(&s->net) : 0;
}

static int stage_terminal(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r;

	if (!in->tty[0] && !in->tty[1] && !in->tty[2])
		return 0;
	step->stage = IMMURE_STAGE_FDS;
	step->subject = "/dev/pts";
	r = immure_pty_open(&s->master_fd, &s->slave_fd);
	if (r == 0)
		r = immure_fd_raise(&s->master_fd, 10);
	if (r == 0)
		r = immure_fd_raise(&s->slave_fd, 10);
	return r;
}

static const struct {
	const char *name;
	int resource;
} rlimits[] = {
	{ "core", RLIMIT_CORE },     { "cpu", RLIMIT_CPU },	{ "fsize", RLIMIT_FSIZE },
	{ "rtprio", RLIMIT_RTPRIO }, { "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC }, { "memlock", RLIMIT_MEMLOCK },
	{ "as", RLIMIT_AS },	     { "data", RLIMIT_DATA },
};

static int set_rlimit(const struct immure_op *op)
{
	for (size_t i = 0; i < sizeof(rlimits) / sizeof(rlimits[0]); i++) {
		struct rlimit lim = { .rlim_cur = op->num[0], .rlim_max = op->num[0] }, have;

		if (strcmp(op->src, rlimits[i].name) != 0)
			continue;
		/* A limit that the caller is under already is never raised. */
		if (getrlimit(rlimits[i].resource, &have) < 0)
			return -errno;
		if (have.rlim_max < lim.rlim_max)
			lim.rlim_cur = lim.rlim_max = have.rlim_max;
		if (rlimits[i].resource == RLIMIT_CPU) /* SIGXCPU first, then SIGKILL */
			lim.rlim_max = lim.rlim_max == RLIM_INFINITY ? lim.rlim_max : lim.rlim_max + 1;
		return setrlimit(rlimits[i].resource, &lim) < 0 ? -errno : 0;
	}
	return -EINVAL;
}

static int set_affinity(uint64_t cpus)
{
	cpu_set_t have, want;
	uint64_t n = 0;

	CPU_ZERO(&want);
	if (sched_getaffinity(0, sizeof(have), &have) < 0)
		return -errno;
	for (unsigned int i = 0; i < CPU_SETSIZE && n < cpus; i++) {
		if (CPU_ISSET(i, &have)) {
			CPU_SET(i, &want);
			n++;
		}
	}
	return sched_setaffinity(0, sizeof(want), &want) < 0 ? -errno : 0;
}

static int stage_rlimits(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	int r = 0;

	for (size_t i = 0; i < p->ops_n && r == 0; i++) {
		step->stage = p->ops[i].stage;
		step->op = (uint32_t)i;
		step->subject = p->ops[i].src;
		if (p->ops[i].kind == IMMURE_OP_RLIMIT)
			r = set_rlimit(&p->ops[i]);
		else if (p->ops[i].kind == IMMURE_OP_CPU_AFFINITY)
			r = set_affinity(p->ops[i].num[0]);
	}
	return r;
}

static int stage_privileges(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	bool bare = immure_plan_is_bare(p);
	int r;

	/* A new session keyring: the caller's keys are not possessed any more.
	 * ENOSYS is a kernel without keyrings, which has none to leak. */
	if (step_to(p, IMMURE_OP_KEYRING, step) &&
	    syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL) < 0 && errno != ENOSYS &&
	    !(bare && errno == EPERM)) /* a container's filter: then nobody here has keys */
		return -errno;
	/* Where another program has dropped them, which was looked at, there is none left
	 * that dropping takes. */
	if (!in->seen && step_to(p, IMMURE_OP_DROP_CAPS, step)) {
		r = bare ? immure_caps_drop_held() : immure_caps_drop_all();
		if (r < 0)
			return r;
	}
	/* Late, because a process that is not dumpable does not own its files
	 * in /proc, and the id maps are such files. */
	step->stage = IMMURE_STAGE_CAPS;
	step->subject = "dumpable";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (step_to(p, IMMURE_OP_NO_NEW_PRIVS, step) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* A block device, which no rule grants: Landlock says EACCES, before anybody asks for a
 * capability and says EPERM. That may also be a filter around us: then a device that is
 * none, which anybody may make since Linux 5.8, but for Landlock (newer kernels, and older
 * ones with that change, take it for a file). Where a session has namespaces the place is
 * its own. */
static int check_landlock(const struct immure_init *in)
{
	static const char place[] = "/dev/shm/.immure";

	if (immure_plan_is_bare(in->plan) || !immure_plan_find(in->plan, IMMURE_OP_LANDLOCK))
		return 0; /* the former: confine_bare() has looked */
	if (mknod(place, S_IFBLK | 0600, 0) < 0 && errno == EACCES)
		return 0;
	if (mknod(place, S_IFCHR | 0600, 0) == 0) {
		(void)unlink(place); /* nobody will see it */
		return -EPERM;
	}
	return errno == EACCES || errno == EPERM ? 0 : -errno;
}

/* A kernel that takes an option may do nothing about it. */
static int check_proc(const struct immure_init *in)
{
	const struct immure_op *op = immure_plan_find(in->plan, IMMURE_OP_PROC);

	if (!op || !(op->flags & IMMURE_OPF_PIDS) || in->seen) /* the latter: view.c has looked */
		return 0;
	if (faccessat(AT_FDCWD, "/proc/sys", F_OK, 0) == 0)
		return -EPERM;
	return errno == ENOENT ? 0 : -errno;
}

/* Reads back what the kernel now says, instead of believing that calls which
 * returned 0 did what was meant. */
static int stage_check(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	const struct immure_op *ids = immure_plan_find(p, IMMURE_OP_IDMAP);
	bool bare = immure_plan_is_bare(p);
	int r;

	step->stage = IMMURE_STAGE_CHECK;
	step->subject = "pid namespace";
	if (!bare && getpid() != 1)
		return -ECHILD;
	step->subject = "identity";
	if (!ids)
		ids = immure_plan_find(p, IMMURE_OP_IDMAP_SUBID);
	r = ids ? immure_ids_check((uint32_t)ids->num[0], (uint32_t)ids->num[2]) : -EINVAL;
	if (r < 0)
		return r;
	step->subject = "capabilities";
	if (immure_plan_find(p, IMMURE_OP_DROP_CAPS)) {
		r = bare ? immure_caps_check_held() : immure_caps_check_none();
		if (r == 0 && !bare && !in->seen) /* what others dropped they need not have locked */
			r = immure_caps_check_locked();
		if (r < 0)
			return r;
	}
	step->subject = "no_new_privs";
	if (immure_plan_find(p, IMMURE_OP_NO_NEW_PRIVS) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	step->subject = "dumpable";
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -EPERM;
	step->subject = "/proc";
	r = check_proc(in);
	if (r < 0)
		return r;
	step->subject = "Landlock";
	return check_landlock(in);
}

/* Under everything else, where there are no namespaces. Where names can be reached it
 * has a listener, which only the supervisor keeps. */
static int install_beneath(const struct immure_init *in)
{
	int r;

	if (!immure_plan_find(in->plan, IMMURE_OP_EGRESS) && !in->unanswered)
		return immure_filter_install(in->beneath, 0);
	IMMURE_CLEANUP_FD int fd = immure_notify_install(in->beneath);

	if (fd < 0) /* inside another sandbox that listens, or an old kernel */
		return in->unanswered ? immure_filter_install(in->unanswered, 0) : fd;
	r = immure_init_hand_listener(in, fd);
	return r < 0 ? r : 0;
}

/* Filters of the policy's own words, each for itself: one denial is enough. */
static int install_asked(const struct immure_op *op)
{
	const char *names[1 + IMMURE_CALL_GROUPS];
	size_t n = 0;
	int r = 0;

	if (op->num[2])
		names[n++] = "listed";
	for (unsigned int i = 0; i < IMMURE_CALL_GROUPS; i++)
		if (op->num[3] & 1U << i)
			names[n++] = immure_call_groups[i].filter;
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct immure_filter *f = immure_filter_builtin(names[i], IMMURE_FAMILIES_NET);

		r = f ? immure_filter_install(f, 0) : -EINVAL;
	}
	return r;
}

/* Born under what is in force before Landlock then, and no weaker for it. */
static int check_filtered(const struct immure_init *in, const struct immure_op *op)
{
	if (op->num[2] || op->num[3] || !in->beneath || !in->filter_on_init)
		return -EINVAL; /* more was asked for than is put on ahead */
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2 ? 0 : -EPERM;
}

static int stage_seccomp(const struct immure_init *in, struct immure_init_step *step)
{
	int r = 0;

	if (!step_to(in->plan, IMMURE_OP_SECCOMP, step))
		return in->filter ? -EINVAL : 0;
	if (!in->filter)
		return -EINVAL;
	if (in->filtered)
		return check_filtered(in, &in->plan->ops[step->op]);
	r = install_asked(&in->plan->ops[step->op]);
	if (r < 0)
		return r;
	if (in->beneath)
		r = install_beneath(in);
	else if (immure_plan_is_bare(in->plan))
		return -EINVAL;
	if (r < 0)
		return r;
	/* A user's own filter is not written with init in mind: then init runs
	 * under the guard, and the filter goes on just before exec. */
	r = immure_filter_install(in->filter_on_init ? in->filter : in->guard, 0);
	if (r >= 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return -EPERM;
	return r < 0 ? r : 0;
}

static void mark(struct immure_serving *s, enum immure_stage stage)
{
	if (s->in->trace)
		s->stage_ns[stage] = immure_init_now();
}

/* ---- without namespaces ---- */

/* What cleans up must not end with the supervisor: it learns of that end by the
 * line to it, and every orphan inside comes back to it. */
static int become_parent_of_all(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	const struct immure_op *op = step_to(in->plan, IMMURE_OP_IDMAP, step);
	char c;

	step->subject = "subreaper";
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	if (recv(in->report_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(1);
	step->subject = "identity";
	if (!op)
		return -EINVAL;
	return geteuid() == 0 ? immure_ids_become((uint32_t)op->num[0], (uint32_t)op->num[2]) : 0;
}

/* Landlock, and whether it does what it is relied upon for: a write that modes
 * allow, a signal that ids allow. */
static int confine_bare(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_op *op = immure_plan_find(s->in->plan, IMMURE_OP_LANDLOCK);
	bool could = kill(getppid(), 0) == 0;
	int r = immure_init_landlock(s->in, step, &s->ruleset_fd);

	if (r < 0)
		return r;
	step->stage = IMMURE_STAGE_CHECK;
	step->subject = "Landlock";
	IMMURE_CLEANUP_FD int fd = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES)
		return -EPERM;
	step->subject = "Landlock scopes";
	if (!could || !op || !(op->num[2] & IMMURE_LANDLOCK_SCOPE_SIGNAL))
		return 0;
	if (kill(getppid(), 0) == 0)
		return -EPERM;
	s->scoped = errno == EPERM;
	return 0;
}

/* What is in the shared areas can be saved from outside, whatever was put over them. */
static int end_view(struct immure_serving *s, struct immure_build *b)
{
	if (s->in->handles)
		s->areas_fd = immure_take_fd(&b->areas_fd);
	return immure_root_end(b);
}

/* The view, and what of the outside is reached from within: the order that the pivot asks for. */
static int make_view(struct immure_serving *s, struct immure_build *b, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r = immure_init_keep_host_tree(s, step), root_fd;

	if (r < 0)
		return r;
	r = immure_root_begin(b, &s->net, in->plan, NULL, in->kept, step);
	root_fd = r < 0 ? r : in->waits ? immure_root_so_far(b) : end_view(s, b);
	mark(s, IMMURE_STAGE_MOUNT);
	if (root_fd < 0)
		return root_fd;
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "network namespace";
	r = immure_init_net_join(&s->net);
	if (r == 0)
		r = immure_init_egress(in, step);
	return r < 0 ? r : immure_init_pivot(step, root_fd);
}

/* Namespaces, identity, the view of files: the place itself. */
static int make_place(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	struct immure_build b;
	int r;

	r = stage_cgroup(in, step);
	if (r == 0)
		r = start_network(s, step);
	mark(s, IMMURE_STAGE_CGROUP);
	if (r == 0)
		r = stage_ids(in, step);
	mark(s, IMMURE_STAGE_IDS);
	if (r == 0)
		r = make_view(s, &b, step);
	if (r == 0 && in->waits)
		r = immure_init_wait_for_caller(s, &b, step);
	mark(s, IMMURE_STAGE_PIVOT);
	return r < 0 ? r : stage_network(in, step);
}

/* The same in a copy of a mould's mounts, by the rights of their owner: what nobody else
 * may have is made. What the supervisor enters later it enters by those rights, so it is
 * handed over before they are given up. */
static int make_place_after(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	const struct immure_op *ids = immure_plan_find(in->plan, IMMURE_OP_IDMAP);
	int r = ids ? stage_cgroup(in, step) : -EINVAL;

	mark(s, IMMURE_STAGE_CGROUP);
	if (r == 0)
		r = stage_network(in, step);
	if (r == 0)
		r = immure_fresh_apply(in->plan, &in->mould->fresh, in->handles ? &s->areas_fd : NULL, step);
	mark(s, IMMURE_STAGE_MOUNT);
	s->host_ns_fd = in->mould->host_fd;
	if (r == 0)
		r = immure_init_hand_over(s, step);
	if (r == 0)
		r = immure_ids_become((uint32_t)ids->num[0], (uint32_t)ids->num[2]);
	if (r == 0)
		r = immure_init_enter_user(in, step);
	mark(s, IMMURE_STAGE_IDS);
	/* Giving up rights may have cleared it (prctl(2)). */
	return r < 0 ? r : bind_to_supervisor(in);
}

/* Nor is it of its maker's session: by /proc/1/autogroup root inside could set how much processor
 * time all of that session gets. */
static int leave_session(struct immure_init_step *step)
{
	step->subject = "setsid";
	return setsid() < 0 && getsid(0) != getpid() ? -errno : 0;
}

int immure_init_close_in(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r = leave_session(step);

	if (r == 0)
		r = stage_rlimits(in, step);
	mark(s, IMMURE_STAGE_RLIMIT);
	if (r == 0)
		r = stage_privileges(in, step);
	mark(s, IMMURE_STAGE_NO_NEW_PRIVS);
	if (r == 0)
		r = immure_plan_is_bare(in->plan) ? confine_bare(s, step)
						  : immure_init_landlock(in, step, NULL);
	mark(s, IMMURE_STAGE_LANDLOCK);
	if (r == 0 && !in->template) /* a template has forgotten before it was copied */
		r = immure_init_forget(in->plan, step);
	if (r == 0)
		r = stage_check(in, step);
	if (r == 0)
		r = stage_seccomp(in, step);
	mark(s, IMMURE_STAGE_SECCOMP);
	return r;
}

static int set_up_bare(struct immure_serving *s, struct immure_init_step *step)
{
	int r = stage_cgroup(s->in, step);

	mark(s, IMMURE_STAGE_CGROUP);
	if (r == 0)
		r = become_parent_of_all(s, step);
	mark(s, IMMURE_STAGE_IDS);
	if (r == 0)
		r = stage_terminal(s, step);
	if (r == 0)
		r = immure_init_close_fds(s, step);
	mark(s, IMMURE_STAGE_FDS);
	return r < 0 ? r : immure_init_close_in(s, step);
}

int immure_init_set_up(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_init *in = s->in;
	int r;

	if (immure_plan_is_bare(in->plan))
		return set_up_bare(s, step);
	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "parent death";
	r = bind_to_supervisor(in);
	mark(s, IMMURE_STAGE_NAMESPACE);
	if (r == 0)
		r = in->seen    ? immure_init_check_view(in, step)
		    : in->mould ? make_place_after(s, step) : make_place(s, step);
	mark(s, IMMURE_STAGE_NETWORK);
	if (r == 0 && !in->mould && !in->waits) /* the former has, the latter in pieces */
		r = immure_init_hand_over(s, step);
	if (r == 0)
		r = stage_terminal(s, step);
	if (r == 0)
		r = in->template ? immure_zygote_close_fds(s, step) : immure_init_close_fds(s, step);
	mark(s, IMMURE_STAGE_FDS);
	/* What a template makes closes in for itself (zygote.c). */
	if (r == 0)
		r = in->template ? immure_init_forget(in->plan, step) : immure_init_close_in(s, step);
	return r;
}
