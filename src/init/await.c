/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session that waits for its caller. All that does not depend on who that is has
 * been made; the workspace, its masks and protected files, and the locks that cannot
 * be opened again (pivot, capabilities, Landlock, seccomp) follow when the caller's
 * plan comes. Nothing of a payload's has run by then, and nothing is done otherwise
 * than by the rest of a start, from here on by that plan.
 *
 * The plan comes from our own server, which has looked whether it fits; it is looked
 * at here once more, because what is left to do is what the two differ in.
 */
#include <errno.h>
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
	enum { OTHERS = 9 };
	int keep[OTHERS + IMMURE_BUILD_SEALS] = {
		s->in->report_fd, s->signal_fd, s->host_ns_fd, b->root_fd, b->mask_dir_fd,
		b->mask_file_fd, b->mask_mount[0], b->mask_mount[1], b->areas_fd,
	};

	for (size_t i = 0; i < b->seal_n; i++)
		keep[OTHERS + i] = b->seal[i];
	return immure_init_keep(keep, OTHERS + b->seal_n);
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
 * protected any more by what we did then. */
static void again(const struct immure_build *b, const struct immure_plan *plan, bool *now)
{
	for (size_t i = 0; i < plan->ops_n; i++)
		if (plan->ops[i].stage == IMMURE_STAGE_MOUNT && !now[i])
			now[i] = !immure_op_stands(b->root_fd, plan, &plan->ops[i]);
	immure_plan_cover(plan, now);
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
		again(b, o->plan, o->now);
}

static void refuse(struct offer *o)
{
	immure_plan_destroy(o->plan);
	immure_arena_done(&o->a);
	*o = (struct offer){ .a = IMMURE_ARENA_INIT, .errnum = -EPROTO };
}

int immure_init_wait_for_caller(struct immure_serving *s, struct immure_build *b, struct immure_init_step *step)
{
	struct immure_init_msg waits = { .type = IMMURE_INIT_WAITS };
	struct offer o = { .a = IMMURE_ARENA_INIT, .errnum = -EPROTO };
	int fd = -1, r;

	step->stage = IMMURE_STAGE_MOUNT;
	step->subject = "the caller's plan";
	r = let_go(s, b);
	if (r == 0)
		r = immure_init_send(s->in->report_fd, &waits, sizeof(waits), NULL, 0, 0);
	/* While the server looks at it too. One that it refuses, another may follow. */
	while (r == 0 && (r = receive(s->in, &fd)) == IMMURE_INIT_TAKE) {
		refuse(&o);
		look_at(s, b, fd, &o);
		immure_close(&fd);
		r = 0;
	}
	if (r == IMMURE_INIT_TAKEN)
		r = o.errnum;
	if (r == 0)
		r = immure_root_some(b, o.plan, o.now, step);
	immure_arena_done(&o.a);
	if (r == 0)
		s->in->plan = o.plan; /* for as long as this process lives */
	return r;
}
