/* SPDX-License-Identifier: Apache-2.0 */
/* A session that waited becomes a caller's: its plan takes the place of the one that
 * was made without a workspace, for init, which does what is left of it, and for all
 * that is done by the plan later: what is looked at in the tree in the end, whose
 * policy is on record, which hosts can be reached. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "plan/fit.h"
#include "session/control.h"
#include "session/serve.h"

/* Reading one of those never waits. *ret_fixed: nobody can change it any more. */
static int32_t open_plan(struct immure_ask *a, int *ret_fd, bool *ret_fixed, char **ret_data, size_t *ret_len)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "plan");
	const int all = 0xe; /* F_SEAL_SHRINK, GROW, WRITE */
	int fd = -1, seals, r;

	if (immure_arg_fd(a, v, &fd) < 0)
		return -IMMURE_ERR_INVALID;
	seals = fcntl(fd, 1034 /* F_GET_SEALS */);
	if (seals < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, errno, "plan", "plan is a memfd");
	r = lseek(fd, 0, SEEK_SET) < 0 ? -errno
				       : immure_read_all(fd, IMMURE_SERVE_PARAMS, ret_data, ret_len);
	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, -r, "plan", "plan: %s", strerror(-r));
	*ret_fd = fd;
	*ret_fixed = (seals & all) == all;
	return 0;
}

static bool collect(const struct immure_plan *p, enum immure_op_kind kind, struct immure_arena *a,
		    struct immure_strv *ret)
{
	bool ok = true;

	for (size_t i = 0; i < p->ops_n && ok; i++)
		if (p->ops[i].kind == (uint32_t)kind)
			ok = immure_strv_add(a, ret, p->ops[i].src);
	return ok;
}

static bool has_all(const struct immure_strv *in, const struct immure_strv *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (!immure_strv_has(in, all->v[i]))
			return false;
	return true;
}

/* In force before the caller has the session. */
static int32_t set_network(struct immure_ask *a, const struct immure_plan *plan)
{
	struct immure_strv allow = { 0 }, deny = { 0 }, had = { 0 }, had_not = { 0 };
	struct immure_server *s = a->s;

	if (!s->sealed.gate)
		return 0;
	if (!collect(plan, IMMURE_OP_EGRESS_ALLOW, &a->arena, &allow) ||
	    !collect(plan, IMMURE_OP_EGRESS_DENY, &a->arena, &deny) ||
	    !collect(s->plan, IMMURE_OP_EGRESS_ALLOW, &a->arena, &had) ||
	    !collect(s->plan, IMMURE_OP_EGRESS_DENY, &a->arena, &had_not))
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	if (has_all(&allow, &had) && has_all(&had_not, &deny)) /* the plan fits: the same */
		return 0;
	return immure_gatekeeper_set_rules(s->sealed.gate, &allow, &deny, &a->err);
}

static int32_t record(struct immure_ask *a, const struct immure_plan *plan, const char *data, size_t len)
{
	struct immure_server *s = a->s;
	struct immure_meta *m = &s->meta;
	int e;

	(void)snprintf(m->policy_version, sizeof(m->policy_version), "%s", plan->policy_version);
	(void)snprintf(m->plan_hash, sizeof(m->plan_hash), "%s", immure_plan_hash_of(plan));
	(void)snprintf(m->profile, sizeof(m->profile), "%s", plan->profile);
	e = immure_file_replace(s->entry.dir_fd, "plan", data, len, false);
	if (e == 0)
		e = immure_entry_set_meta(&s->entry, m);
	return e == 0 ? 0 : immure_ask_fail(a, IMMURE_ERR_IO, -e, "", "it cannot be recorded: %s", strerror(-e));
}

/* What init looks at while we do. What somebody could still change, the caller having it
 * open, goes as a copy. */
static int32_t offer(struct immure_ask *a, int fd, bool fixed, const char *data, size_t len)
{
	IMMURE_CLEANUP_FD int copy = fixed ? -1 : immure_memfd_of("immure-plan", data, len);
	struct immure_init_msg m = { .type = IMMURE_INIT_TAKE };
	struct iovec iov = { &m, sizeof(m) };
	ssize_t n = fixed || copy >= 0
			    ? immure_fdmsg_send(a->s->sealed.sock_fd, &iov, 1, fixed ? &fd : &copy, 1, MSG_DONTWAIT)
			    : copy;

	return n < 0 ? immure_ask_fail(a, IMMURE_ERR_IO, (int)-n, "", "init: %s", strerror((int)-n)) : 0;
}

/* From here on it is the caller's, or it ends: half of a plan is nobody's. */
static int32_t become(struct immure_ask *a, struct immure_plan *plan, const char *data, size_t len)
{
	struct immure_server *s = a->s;
	bool lane = false;
	int32_t r = immure_arg_bool(a, "lane", &lane);

	if (r < 0) {
		immure_plan_destroy(plan);
		return r;
	}
	s->awaiting = false;
	s->taken = plan;
	r = set_network(a, plan);
	s->plan = s->sealed.plan = plan;
	if (r == 0)
		r = immure_sealed_own_dirs(&s->sealed, &a->err);
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &s->sealed.since); /* cannot fail */
	if (r == 0)
		r = immure_server_labels(a);
	if (r == 0)
		r = immure_sealed_send(&s->sealed, IMMURE_INIT_TAKEN, 0, NULL);
	if (r == 0) /* while init is at work; nobody is answered before it is on record */
		r = record(a, plan, data, len);
	if (r < 0) {
		immure_server_stop(s, 0, "take");
		return r;
	}
	s->creator = a->c;
	s->creator_request = a->id;
	if (lane) /* as above. None to be had: the caller asks for one, or does without */
		(void)immure_life_lane_make(s, a->c, &s->creator_lane);
	return 0;
}

int32_t immure_take(struct immure_ask *a)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	struct immure_plan *plan = NULL;
	bool *now, fixed = false;
	size_t len = 0;
	int fd = -1;
	int32_t r;

	if (!a->c->boss)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "only whom a pool gave it to may take it");
	if (!a->s->awaiting)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "this session waits for nobody");
	r = open_plan(a, &fd, &fixed, &data, &len);
	if (r == 0)
		r = offer(a, fd, fixed, data, len);
	if (r == 0)
		r = immure_plan_unseal(data, len, &plan, &a->err);
	if (r == 0)
		r = immure_plan_startable(plan, &a->err);
	if (r == 0)
		r = immure_plan_fit(a->s->plan, plan, &a->arena, &now, &a->err);
	if (r < 0) {
		immure_plan_destroy(plan);
		return r;
	}
	return become(a, plan, data, len);
}
