/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session that waits for its caller. All that does not depend on who that is has
 * been made; the workspace, its masks and protected files, and the locks that cannot
 * be opened again (capabilities, Landlock, seccomp) follow when the caller's plan
 * comes. Nothing of a payload's has run by then, and nothing is done otherwise than by
 * the rest of a start, from here on by that plan.
 *
 * The pivot has been as well, because the kernel takes long to detach the host's tree.
 * What is bound later is cloned where that tree still is, in the namespace before the
 * pivot, of which we and the server have a descriptor each. Ours is closed with all
 * others; by then nothing of a host path is needed any more.
 *
 * The plan comes from our own server, which has looked whether it fits; it is looked
 * at here once more, because what is left to do is what the two differ in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/build.h"
#include "init/serving.h"
#include "init/stands.h"
#include "plan/fit.h"

/* What was the server's at the fork, its lock above all: as long as we have a copy it
 * seems to live. */
static int let_go(const struct immure_serving *s, const struct immure_build *b)
{
	enum { OTHERS = 10 };
	int keep[OTHERS + IMMURE_BUILD_SEALS] = {
		s->in->report_fd, s->signal_fd, b->host_ns_fd, b->own_ns_fd, b->root_fd,
		b->mask_dir_fd, b->mask_file_fd, b->mask_mount[0], b->mask_mount[1], b->areas_fd,
	};

	for (size_t i = 0; i < b->seal_n; i++)
		keep[OTHERS + i] = b->seal[i];
	return immure_init_keep(keep, OTHERS + b->seal_n);
}

static int copy(int fd)
{
	int r = fd < 0 ? -EBADF : fcntl(fd, F_DUPFD_CLOEXEC, 10);

	return r < 0 && fd >= 0 ? -errno : r;
}

/* What the server gets of a session it gets now: it is the caller's time later. */
static int hand_over(struct immure_serving *s, struct immure_build *b, struct immure_init_step *step)
{
	b->host_ns_fd = copy(s->host_ns_fd);
	b->own_ns_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (b->own_ns_fd < 0 || b->host_ns_fd < 0)
		return b->own_ns_fd < 0 ? -errno : b->host_ns_fd;
	if (s->in->handles && b->areas_fd >= 0) {
		s->areas_fd = copy(b->areas_fd);
		if (s->areas_fd < 0)
			return s->areas_fd;
	}
	return immure_init_hand_over(s, step);
}

/* TAKE with its descriptor, or TAKEN. */
static int receive(const struct immure_init *in, int *ret_fd)
{
	struct immure_init_msg m;
	size_t n = 0;
	ssize_t len;

	do
		len = immure_fdmsg_receive(in->report_fd, &m, sizeof(m), ret_fd, 1, &n, 0);
	while (len == -EINTR);
	if (len == 0)
		_exit(1); /* nobody is there any more */
	if (len != sizeof(m) || n != (m.type == IMMURE_INIT_TAKE) ||
	    (m.type != IMMURE_INIT_TAKE && m.type != IMMURE_INIT_TAKEN))
		return -EPROTO;
	return (int)m.type;
}

/* We may have waited for long: what the host replaced meanwhile is not hidden or
 * protected any more by what we did then. What is made of more than one place of the
 * host's cannot be made anew here: it would be made of the session's. No plan has such a
 * thing where a host could take it away. */
static int again(const struct immure_build *b, const struct immure_plan *plan, bool *now)
{
	int r = immure_build_to_host(b), back;

	for (size_t i = 0; i < plan->ops_n && r == 0; i++)
		if (plan->ops[i].stage == IMMURE_STAGE_MOUNT && !now[i])
			now[i] = !immure_op_stands(b->root_fd, plan, &plan->ops[i]);
	back = immure_build_to_own(b);
	if (r < 0 || back < 0)
		return r < 0 ? r : back;
	immure_plan_cover(plan, now);
	for (size_t i = 0; i < plan->ops_n; i++)
		if (now[i] && (plan->ops[i].kind == IMMURE_OP_OVERLAY || plan->ops[i].kind == IMMURE_OP_DEV))
			return -ESTALE;
	return 0;
}

struct offer {
	struct immure_plan *plan;
	struct immure_arena a;
	bool *now;
	int errnum; /* why it cannot be taken, 0 = it can */
};

static void look_at(const struct immure_serving *s, const struct immure_build *b, int fd, struct offer *o)
{
	o->errnum = 0;
	if (immure_plan_unseal_fd(fd, NULL, NULL, &o->plan, NULL) < 0)
		o->errnum = -EPROTO;
	else if (immure_plan_fit(s->in->plan, o->plan, &o->a, &o->now, NULL) < 0)
		o->errnum = -EPERM;
	else
		o->errnum = again(b, o->plan, o->now);
}

static void refuse(struct offer *o)
{
	immure_plan_destroy(o->plan);
	immure_arena_done(&o->a);
	*o = (struct offer){ .a = IMMURE_ARENA_INIT, .errnum = -EPROTO };
}

/* The caller's plan; what is in o is freed by the caller. */
static int take(struct immure_serving *s, struct immure_build *b, struct offer *o)
{
	int fd = -1, r;

	/* While the server looks at it too. One that it refuses, another may follow. */
	while ((r = receive(s->in, &fd)) == IMMURE_INIT_TAKE) {
		refuse(o);
		look_at(s, b, fd, o);
		immure_close(&fd);
	}
	return r == IMMURE_INIT_TAKEN ? o->errnum : r;
}

int immure_init_wait_for_caller(struct immure_serving *s, struct immure_build *b, struct immure_init_step *step)
{
	struct immure_init_msg waits = { .type = IMMURE_INIT_WAITS };
	struct offer o = { .a = IMMURE_ARENA_INIT, .errnum = -EPROTO };
	bool areas = b->areas_fd >= 0;
	int r = hand_over(s, b, step);

	step->stage = IMMURE_STAGE_MOUNT;
	step->subject = "the caller's plan";
	if (r == 0)
		r = let_go(s, b);
	if (r == 0)
		r = immure_init_send(s->in->report_fd, &waits, sizeof(waits), NULL, 0, 0);
	if (r == 0)
		r = take(s, b, &o);
	if (r == 0)
		r = immure_root_some(b, o.plan, o.now, step);
	if (r == 0 && !areas && b->areas_fd >= 0)
		r = immure_init_hand_over_areas(s, b->areas_fd);
	immure_arena_done(&o.a);
	if (r == 0)
		r = immure_root_end(b);
	if (r < 0)
		return r;
	immure_close(&b->root_fd);
	s->in->plan = o.plan; /* for as long as this process lives */
	return 0;
}
