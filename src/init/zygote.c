/* SPDX-License-Identifier: Apache-2.0 */
#include "init/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "kernel/sys.h"

enum {
	PLACES = 2 * IMMURE_ZYGOTE_MOST,
	REFILL_NS = 1000000,   /* after one was used, while others are ready: its caller goes first */
	RETRY_NS = 100000000,  /* after a failure */
	IDLE_NS = 100000000,   /* nothing ran for so long: the supervisor is told */
};

enum { SUPERVISOR, SIGNALS, MOUNTS, LANES }; /* in poll; then the sandboxes */

enum state { MAKING, READY, USED, ENDING };

struct sandbox {
	pid_t pid;
	int ctl_fd;
	enum state state;
	int lane; /* USED; -1 = its caller is gone */
	uint32_t place; /* in shared */
	uint32_t leaf;  /* of in->leaves, where there are any */
	uint64_t id;
	uint32_t flags;
};

struct zygote {
	struct immure_serving *s;
	struct immure_fresh fresh;
	struct immure_init_net net;
	bool net_wanted, announced, told_idle;
	uint32_t n, count[ENDING + 1];
	struct sandbox v[PLACES];
	bool taken[PLACES], leaf_taken[PLACES];
	struct immure_init_shared *shared; /* one for each place, mapped by all */
	int lane_fd[IMMURE_ZYGOTE_LANES];
	uint32_t lanes; /* those from here on are free */
	int mounts_fd; /* says when the template's mounts change */
	uint64_t refill_ns, retry_ns, idle_ns; /* 0 = not waited for */
	struct immure_init_msg failure;        /* of the last that could not be made */
	struct pollfd poll[LANES + IMMURE_ZYGOTE_LANES + PLACES];
};

static void move(struct zygote *z, struct sandbox *b, enum state to)
{
	z->count[b->state]--;
	z->count[to]++;
	b->state = to;
}

static void forget(struct zygote *z, struct sandbox *b)
{
	z->count[b->state]--;
	z->taken[b->place] = false;
	z->leaf_taken[b->leaf] = false; /* it was pid 1 and is reaped: nobody is in there */
	immure_close(&b->ctl_fd);
	*b = z->v[--z->n];
}

/* No more may be there than are asked for; those that have answered do not count, or
 * a caller who goes on at once would be told that it is too early. */
static bool is_full(const struct zygote *z)
{
	uint32_t over = 0;

	if (z->n < z->s->in->most)
		return false;
	for (uint32_t i = 0; i < z->n; i++)
		over += z->v[i].state == ENDING ||
			__atomic_load_n(&z->shared[z->v[i].place].ended, __ATOMIC_ACQUIRE) > 0;
	return z->n == PLACES || z->n - over >= z->s->in->most;
}

/* leaves_n when all are taken. */
static uint32_t free_leaf(const struct zygote *z)
{
	uint32_t i = 0;

	while (i < z->s->in->leaves_n && z->leaf_taken[i])
		i++;
	return i;
}

static uint32_t free_place(struct zygote *z)
{
	uint32_t i = 0;

	while (z->taken[i]) /* is_full() was asked: there is one */
		i++;
	z->taken[i] = true;
	memset(&z->shared[i], 0, sizeof(z->shared[i]));
	return i;
}

/* ---- answers ---- */

static void drop_lane(struct zygote *z, int lane)
{
	immure_close(&z->lane_fd[lane]);
	while (z->lanes > 0 && z->lane_fd[z->lanes - 1] < 0)
		z->lanes--;
	for (uint32_t i = 0; i < z->n; i++) {
		struct sandbox *b = &z->v[i];

		if (b->state != USED || b->lane != lane)
			continue;
		b->lane = -1;
		if (!(b->flags & IMMURE_RUNF_KEEP))
			(void)kill(b->pid, SIGKILL); /* our child, not waited for: this very one */
	}
}

/* A lane that does not read loses its line. */
static void answer(struct zygote *z, int lane, const struct immure_init_reply *r)
{
	if (lane >= 0 && z->lane_fd[lane] >= 0 &&
	    immure_init_send(z->lane_fd[lane], r, sizeof(*r), NULL, 0, MSG_DONTWAIT) < 0)
		drop_lane(z, lane);
}

static void deny(struct zygote *z, int lane, uint64_t id, uint32_t stage, int errnum, const char *subject)
{
	struct immure_init_reply r = {
		.type = IMMURE_INIT_DENIED, .id = id, .stage = stage, .errnum = errnum,
	};
	size_t n = strnlen(subject, sizeof(r.subject) - 1);

	memcpy(r.subject, subject, n);
	answer(z, lane, &r);
}

static void tell(struct zygote *z, const void *data, size_t len)
{
	if (immure_init_send(z->s->in->report_fd, data, len, NULL, 0, 0) < 0)
		immure_init_leave(z->s->in, 1); /* a supervisor that is gone */
}

static void count_used(struct zygote *z, bool started)
{
	struct immure_init_shared *shared = z->s->in->shared;

	if (!shared)
		return;
	if (started)
		shared->started++;
	else
		shared->ended++;
	shared->running = z->count[USED];
	shared->lanes = z->lanes;
	__atomic_store_n(&shared->active_ns, immure_init_now(), __ATOMIC_RELEASE);
}

/* ---- making ---- */

static long clone_one(const struct immure_plan *p)
{
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	struct immure_clone_args args = { .exit_signal = SIGCHLD };
	long pid;

	if (!ns || (ns->num[0] & (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC)) !=
			   (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC))
		return -EINVAL;
	/* These three come by themselves (single.c). */
	args.flags = ns->num[0] & ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWNET);
	pid = immure_sys_clone3(&args);
	if (pid == -ENOSYS && !(args.flags & CLONE_NEWTIME)) /* as in backend/native.c */
		pid = immure_sys_clone((unsigned long)args.flags | SIGCHLD, NULL);
	return pid;
}

/* The next one's network namespace is made while this one closes in. */
static int take_net(struct zygote *z, int *ret_fd)
{
	int r = 0;

	if (!z->net_wanted)
		return 0;
	if (z->net.pid == 0 && z->net.result <= 0)
		r = immure_init_net_start(&z->net);
	if (r == 0)
		r = immure_init_net_take(&z->net);
	z->net.result = 0;
	if (r < 0)
		return r;
	*ret_fd = r;
	return immure_fd_raise(ret_fd, 10);
}

static int make(struct zygote *z)
{
	int pair[2], net = -1, r = take_net(z, &net);
	uint32_t place, leaf = free_leaf(z);

	if (r < 0) {
		immure_close(&net);
		return r;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		r = -errno;
		immure_close(&net);
		return r;
	}
	place = free_place(z);
	if (immure_fd_raise(&pair[0], 10) < 0 || immure_fd_raise(&pair[1], 10) < 0)
		r = -EMFILE;
	else
		r = (int)clone_one(z->s->in->plan);
	if (r == 0) {
		struct immure_single o = { .in = z->s->in, .fresh = &z->fresh,
					   .signal_fd = z->s->signal_fd, .ctl_fd = pair[1],
					   .net_fd = net, .execs = z->s->execs,
					   .shared = &z->shared[place],
					   .leaf = leaf < z->s->in->leaves_n ? &z->s->in->leaves[leaf] : NULL };

		immure_single_main(&o);
	}
	immure_close(&pair[1]);
	immure_close(&net);
	if (r < 0) {
		z->taken[place] = false;
		immure_close(&pair[0]);
		return r;
	}
	if (z->net_wanted)
		(void)immure_init_net_start(&z->net); /* or it is made when it is needed */
	z->v[z->n++] = (struct sandbox){ .pid = (pid_t)r, .ctl_fd = pair[0], .state = MAKING, .lane = -1,
					 .place = place, .leaf = leaf };
	z->leaf_taken[leaf] = z->s->in->leaves_n > 0;
	z->count[MAKING]++;
	return 0;
}

static void failed(struct zygote *z, const struct immure_init_msg *m)
{
	z->failure = *m;
	z->retry_ns = immure_init_now() + RETRY_NS;
	if (z->announced)
		return;
	tell(z, m, sizeof(*m)); /* none could be made at all: there is no template */
	immure_init_leave(z->s->in, 1);
}

static void make_one(struct zygote *z)
{
	int r = make(z);
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED, .stage = IMMURE_STAGE_NAMESPACE,
				     .errnum = -r, .subject = "a sandbox after the template" };

	if (r < 0)
		failed(z, &m);
}

/* Whether one is to be made now; when later, z->refill_ns says so. */
static bool wanted(struct zygote *z, uint64_t now)
{
	const struct immure_init *in = z->s->in;

	if (z->count[READY] + z->count[MAKING] >= in->spares || is_full(z) || z->retry_ns > now ||
	    (in->leaves_n && free_leaf(z) == in->leaves_n)) {
		z->refill_ns = 0;
		return false;
	}
	if (z->count[READY] == 0)
		return z->count[MAKING] < 2; /* more at once are not there sooner */
	if (!z->refill_ns)
		z->refill_ns = now + REFILL_NS;
	return z->refill_ns <= now;
}

/* ---- what a sandbox says ---- */

static void on_sandbox(struct zygote *z, struct sandbox *b)
{
	struct immure_init_msg m;
	ssize_t n = recv(b->ctl_fd, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == sizeof(m) && m.type == IMMURE_INIT_READY && b->state == MAKING) {
		move(z, b, READY);
		z->retry_ns = 0;
		if (z->announced)
			return;
		z->announced = true;
		tell(z, &m, sizeof(m));
		return;
	}
	if (n == sizeof(m) && m.type == IMMURE_INIT_FAILED)
		failed(z, &m);
	(void)kill(b->pid, SIGKILL); /* our child; reaping it forgets it */
	move(z, b, ENDING);
	immure_close(&b->ctl_fd);
}

/* One that ended without having answered is answered for. */
static void over(struct zygote *z, struct sandbox *b, int status)
{
	struct immure_init_reply r = { .type = IMMURE_INIT_ENDED, .id = b->id, .status = SIGKILL };
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED, .stage = IMMURE_STAGE_NAMESPACE,
				     .errnum = ECHILD, .subject = "a sandbox ended before it was ready" };
	bool used = b->state == USED, making = b->state == MAKING;
	int lane = b->lane;

	forget(z, b);
	if (making)
		failed(z, &m);
	if (!used)
		return;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		answer(z, lane, &r);
	count_used(z, false);
	z->idle_ns = z->count[USED] == 0 ? immure_init_now() + IDLE_NS : 0;
	z->told_idle = false;
}

static void reap(struct zygote *z)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)!read(z->s->signal_fd, &si, sizeof(si)); /* only to empty it */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == z->net.pid)
			z->net.pid = 0;
		for (uint32_t i = 0; i < z->n; i++)
			if (z->v[i].pid == pid) {
				over(z, &z->v[i], status);
				break;
			}
	}
}

/* ---- requests ---- */

static struct sandbox *ready_one(struct zygote *z)
{
	for (uint32_t i = 0; i < z->n; i++)
		if (z->v[i].state == READY && z->v[i].ctl_fd >= 0)
			return &z->v[i];
	return NULL;
}

/* The policy's time is the most; who asks may have less. */
static void bound_time(const struct immure_plan *p, struct immure_init_run *h)
{
	const struct immure_op *wall = immure_plan_find(p, IMMURE_OP_WALL_TIME);

	if (wall && (h->timeout_ms == 0 || h->timeout_ms > wall->num[0]))
		h->timeout_ms = wall->num[0];
}

static void run(struct zygote *z, int lane, size_t len, const int *fds, size_t fds_n)
{
	struct immure_init_run *h = (void *)z->s->execs->message;
	struct iovec iov = { z->s->execs->message, len };
	int all[IMMURE_RUN_FDS + 1];
	struct sandbox *b;

	memcpy(all, fds, fds_n * sizeof(*fds));
	all[fds_n] = z->lane_fd[lane];
	bound_time(z->s->in->plan, h);
	while ((b = ready_one(z))) {
		if (immure_fdmsg_send(b->ctl_fd, &iov, 1, all, fds_n + 1, MSG_DONTWAIT) >= 0)
			break;
		(void)kill(b->pid, SIGKILL); /* our child; reaping it forgets it */
		move(z, b, ENDING);
		immure_close(&b->ctl_fd);
	}
	if (!b && z->retry_ns) {
		deny(z, lane, h->id, z->failure.stage, z->failure.errnum, z->failure.subject);
	} else if (!b) {
		deny(z, lane, h->id, IMMURE_STAGE_SUPERVISE, EAGAIN, "commands at once");
	} else {
		b->lane = lane;
		b->id = h->id;
		b->flags = h->flags;
		move(z, b, USED);
		z->idle_ns = 0;
		count_used(z, true);
	}
}

static void order(struct zygote *z, int lane, const struct immure_init_order *o)
{
	for (uint32_t i = 0; i < z->n; i++) {
		struct sandbox *b = &z->v[i];

		/* One that does not take it has ended, or has too many unread ones. */
		if (b->state == USED && b->lane == lane && b->id == o->id && o->type == IMMURE_INIT_KILL)
			(void)immure_init_send(b->ctl_fd, o, sizeof(*o), NULL, 0, MSG_DONTWAIT);
	}
}

static void on_lane(struct zygote *z, int lane)
{
	char *message = z->s->execs->message;
	int fds[IMMURE_RUN_FDS];
	size_t fds_n;
	ssize_t n = immure_fdmsg_receive(z->lane_fd[lane], message, sizeof(z->s->execs->message), fds,
					 IMMURE_RUN_FDS, &fds_n, MSG_DONTWAIT);
	uint32_t type = 0;

	if (n >= (ssize_t)sizeof(type))
		memcpy(&type, message, sizeof(type));
	if (type == IMMURE_INIT_RUN && n >= (ssize_t)sizeof(struct immure_init_run))
		run(z, lane, (size_t)n, fds, fds_n);
	else if (type >= IMMURE_INIT_KILL && n == sizeof(struct immure_init_order))
		order(z, lane, (const void *)message);
	else if (n != -EAGAIN && n != -EINTR)
		drop_lane(z, lane);
	immure_close_all(fds, fds_n);
}

static void add_lane(struct zygote *z, int *fd)
{
	uint32_t i = 0;

	while (i < z->lanes && z->lane_fd[i] >= 0)
		i++;
	if (i == IMMURE_ZYGOTE_LANES)
		return; /* its other end sees the end of it */
	z->lane_fd[i] = immure_take_fd(fd);
	(void)immure_fd_raise(&z->lane_fd[i], 10); /* or it stays where it is */
	if (i == z->lanes)
		z->lanes++;
}

static void on_supervisor(struct zygote *z)
{
	struct immure_init_order o;
	int fds[IMMURE_RUN_FDS];
	size_t fds_n;
	ssize_t n = immure_fdmsg_receive(z->s->in->report_fd, &o, sizeof(o), fds, IMMURE_RUN_FDS, &fds_n,
					 MSG_DONTWAIT);

	if (n == 0 || (n < 0 && n != -EINTR && n != -EAGAIN && n != -EMSGSIZE))
		immure_init_leave(z->s->in, 1);
	if (n == sizeof(o) && o.type == IMMURE_INIT_LANE && fds_n == 1)
		add_lane(z, &fds[0]);
	immure_close_all(fds, fds_n);
}

/* ---- the loop ---- */

/* A request is read when there is somebody for it, or never will be in time. */
static bool may_read(const struct zygote *z)
{
	return z->count[READY] > 0 || (is_full(z) && z->count[MAKING] == 0) || z->retry_ns;
}

static uint32_t watch(struct zygote *z)
{
	uint32_t n = LANES + z->lanes;

	z->poll[SUPERVISOR] = (struct pollfd){ .fd = z->s->in->report_fd, .events = POLLIN };
	z->poll[SIGNALS] = (struct pollfd){ .fd = z->s->signal_fd, .events = POLLIN };
	z->poll[MOUNTS] = (struct pollfd){ .fd = z->mounts_fd, .events = POLLPRI };
	for (uint32_t i = 0; i < z->lanes; i++)
		z->poll[LANES + i] = (struct pollfd){ .fd = z->lane_fd[i],
						  .events = may_read(z) ? POLLIN : 0 };
	for (uint32_t i = 0; i < z->n; i++)
		if (z->v[i].state != USED && z->v[i].ctl_fd >= 0)
			z->poll[n++] = (struct pollfd){ .fd = z->v[i].ctl_fd, .events = POLLIN };
	return n;
}

static const struct timespec *how_long(const struct zygote *z, uint64_t now, struct timespec *buf)
{
	uint64_t at = 0, all[] = { z->refill_ns, z->retry_ns, z->told_idle ? 0 : z->idle_ns };

	for (size_t i = 0; i < 3; i++)
		if (all[i] && (!at || all[i] < at))
			at = all[i];
	if (!at)
		return NULL;
	at = at > now ? at - now : 0;
	*buf = (struct timespec){ .tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000) };
	return buf;
}

/* Whether the view is what it was. What waits has a copy of one that is not any more,
 * so none of it is used then. */
static bool see_to_view(struct zygote *z)
{
	int r = immure_fresh_repair(z->s->in->plan, &z->fresh);
	struct immure_init_msg m = { .type = IMMURE_INIT_FAILED, .stage = IMMURE_STAGE_MOUNT, .errnum = -r,
				     .subject = "the view that sandboxes are made after" };

	if (r == 0)
		return true;
	if (r < 0) {
		tell(z, &m, sizeof(m));
		immure_init_leave(z->s->in, 1);
	}
	for (uint32_t i = 0; i < z->n; i++) {
		struct sandbox *b = &z->v[i];

		if (b->state == USED)
			continue;
		(void)kill(b->pid, SIGKILL); /* our child; reaping it forgets it */
		move(z, b, ENDING);
		immure_close(&b->ctl_fd);
	}
	return false;
}

static void look(struct zygote *z, uint32_t watched)
{
	uint32_t lanes = z->lanes;
	bool held = true;

	if (z->poll[MOUNTS].revents || z->fresh.missing)
		held = see_to_view(z);
	if (z->poll[SIGNALS].revents)
		reap(z);
	for (uint32_t i = LANES + lanes; i < watched; i++)
		for (uint32_t j = 0; z->poll[i].revents && j < z->n; j++)
			if (z->v[j].state != USED && z->v[j].ctl_fd == z->poll[i].fd &&
			    z->poll[i].fd >= 0) {
				on_sandbox(z, &z->v[j]);
				break;
			}
	if (z->poll[SUPERVISOR].revents)
		on_supervisor(z);
	for (uint32_t i = 0; i < lanes && held; i++) { /* else once there is one for it */
		if (!z->poll[LANES + i].revents || z->lane_fd[i] != z->poll[LANES + i].fd || z->lane_fd[i] < 0)
			continue;
		if (!(z->poll[LANES + i].revents & POLLIN))
			drop_lane(z, (int)i);
		else if (may_read(z)) /* the one before may have got the last */
			on_lane(z, (int)i);
	}
}

static void tick(struct zygote *z, uint64_t now)
{
	struct immure_init_reply note = { .type = IMMURE_INIT_NOTE };

	if (z->retry_ns && z->retry_ns <= now)
		z->retry_ns = 0;
	if (z->idle_ns && z->idle_ns <= now && !z->told_idle) {
		z->told_idle = true;
		tell(z, &note, sizeof(note));
	}
	if (wanted(z, now)) {
		z->refill_ns = 0;
		make_one(z);
	}
}

int immure_zygote_close_fds(struct immure_serving *s, struct immure_init_step *step)
{
	enum { OWN = 4 };
	int keep[OWN + IMMURE_CGROUP_DIRS * PLACES];
	size_t n = 0;

	step->stage = IMMURE_STAGE_FDS;
	step->subject = "close_range";
	keep[n++] = s->in->report_fd;
	keep[n++] = s->signal_fd;
	for (uint32_t i = 0; i < s->in->leaves_n && i < PLACES; i++)
		for (int k = 0; k < s->in->leaves[i].n; k++)
			keep[n++] = s->in->leaves[i].tasks_fd[k];
	return immure_init_keep(keep, n);
}

int immure_zygote_serve(struct immure_serving *s, struct immure_init_step *step)
{
	const struct immure_op *ns = immure_plan_find(s->in->plan, IMMURE_OP_NAMESPACES);
	struct zygote *z = mmap(NULL, sizeof(*z), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec t;
	int r;

	step->stage = IMMURE_STAGE_NAMESPACE;
	step->subject = "template";
	if ((void *)z == MAP_FAILED)
		return -errno;
	z->shared = mmap(NULL, PLACES * sizeof(*z->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	if ((void *)z->shared == MAP_FAILED)
		return -errno;
	z->s = s;
	z->net_wanted = ns && (ns->num[0] & CLONE_NEWNET);
	z->net.loopback = immure_plan_find(s->in->plan, IMMURE_OP_LOOPBACK) != NULL;
	z->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (z->mounts_fd < 0 || immure_fd_raise(&z->mounts_fd, 10) < 0)
		return -errno;
	r = immure_fresh_prepare(s->in->plan, &z->fresh);
	if (r < 0)
		return r;
	for (;;) {
		uint64_t now = immure_init_now();
		uint32_t watched;

		tick(z, now);
		watched = watch(z);
		if (ppoll(z->poll, watched, wanted(z, now) ? &(struct timespec){ 0 } : how_long(z, now, &t),
			  NULL) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		look(z, watched);
	}
}
