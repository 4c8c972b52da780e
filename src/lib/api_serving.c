/* SPDX-License-Identifier: Apache-2.0 */
/* What `immure supervise` becomes: the server of a session, or the holder of a pool. */
#include <unistd.h>

#include "base/fd.h"
#include "lib/proving.h"
#include "plan/plan.h"
#include "session/many.h"
#include "session/pool.h"
#include "session/serve.h"

/* Whether we are who goes on: with detach, a child. Else *ret_status is an exit status. */
static bool go_on(bool detach, int *plan_fd, int *control_fd, int32_t *ret_status)
{
	pid_t pid = detach ? fork() : 0;

	if (pid == 0)
		return true;
	immure_close(plan_fd);
	immure_close(control_fd);
	*ret_status = pid < 0 ? 125 : 0;
	return false;
}

int32_t immure_pool_hold_fds(int32_t plan_fd, int32_t control_fd, const char *egress, int32_t detach)
{
	struct immure_hold_options o = { .egress = egress };
	immure_plan *plan = NULL;
	int32_t r = 1, opened;

	if (!go_on(detach, &plan_fd, &control_fd, &r))
		return r;
	o.control_fd = control_fd;
	opened = immure_plan_unseal_fd(plan_fd, &o.plan_data, &o.plan_len, &plan, NULL);
	immure_close(&plan_fd);
	if (opened == 0) {
		o.plan = plan;
		r = immure_pool_hold(&o);
		immure_plan_free(plan);
	}
	return r;
}

static void release_proving(void *ctx)
{
	immure_proving_done(ctx);
}

static void prepare_proof(struct immure_proving *p, const immure_plan *plan, const char *attacker,
			  struct immure_serve_options *o, struct immure_error **err)
{
	struct immure_run_options how = { .size = sizeof(how), .attacker = attacker };

	if (immure_proving_prepare(p, plan, &how, err) < 0)
		o->unprovable = *err; /* told who asks for the session */
	p->before.release = release_proving;
	o->before = &p->before;
}

int32_t immure_session_serve_fds(int32_t plan_fd, int32_t control_fd, const char *egress, const char *attacker,
				 int32_t detach)
{
	struct immure_serve_options o = { .egress = egress };
	struct immure_proving proving = IMMURE_PROVING_INIT;
	struct immure_error *unprovable = NULL;
	immure_plan *plan = NULL;
	int32_t r = 1, opened;

	if (!go_on(detach, &plan_fd, &control_fd, &r))
		return r;
	o.control_fd = control_fd;
	opened = immure_plan_unseal_fd(plan_fd, &o.plan_data, &o.plan_len, &plan, NULL);
	immure_close(&plan_fd);
	if (opened == 0) {
		o.plan = plan;
		if (attacker)
			prepare_proof(&proving, plan, attacker, &o, &unprovable);
		r = immure_session_serve(&o);
		immure_proving_done(&proving);
		immure_error_free(unprovable);
		immure_plan_free(plan);
	}
	return r;
}

/* Of each server of many: what it is proven with is its own. */
struct attacker {
	const immure_plan *plan;
	const char *path;
	struct immure_proving proving;
	struct immure_error *unprovable;
};

static void before_each(void *ctx, struct immure_serve_options *o)
{
	struct attacker *a = ctx;

	prepare_proof(&a->proving, a->plan, a->path, o, &a->unprovable);
}

int32_t immure_session_make_fds(int32_t plan_fd, int32_t control_fd, const char *egress, const char *attacker)
{
	struct attacker a = { .path = attacker, .proving = IMMURE_PROVING_INIT };
	struct immure_many_options o = { .egress = egress, .control_fd = control_fd,
					 .before = attacker ? before_each : NULL, .ctx = &a };
	immure_plan *plan = NULL;
	int32_t r = 1, opened = immure_plan_unseal_fd(plan_fd, &o.plan_data, &o.plan_len, &plan, NULL);

	immure_close(&plan_fd);
	if (opened == 0) {
		o.plan = a.plan = plan;
		r = immure_sessions_make(&o);
		immure_plan_free(plan);
	}
	immure_close(&control_fd);
	return r;
}
