/* SPDX-License-Identifier: Apache-2.0 */
/* A session that waited becomes a caller's: its plan takes the place of the one that
 * was made without a workspace, for init, which does what is left of it, and for all
 * that is done by the plan later: what is looked at in the tree in the end, whose
 * policy is on record, which hosts can be reached. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "plan/fit.h"
#include "session/control.h"
#include "session/serve.h"

static int32_t open_plan(struct immure_ask *a, char **ret_data, size_t *ret_len, struct immure_plan **ret)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "plan");
	int fd = -1, r;

	if (immure_arg_fd(a, v, &fd) < 0)
		return -IMMURE_ERR_INVALID;
	/* Reading one of those never waits. */
	if (fcntl(fd, 1034 /* F_GET_SEALS */) < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, errno, "plan", "plan is a memfd");
	r = lseek(fd, 0, SEEK_SET) < 0 ? -errno
				       : immure_read_all(fd, IMMURE_SERVE_PARAMS, ret_data, ret_len);
	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, -r, "plan", "plan: %s", strerror(-r));
	return immure_plan_unseal(*ret_data, *ret_len, ret, &a->err);
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

/* A copy of what was looked at: the caller still has the other one open. */
static int32_t tell_init(struct immure_ask *a, const char *data, size_t len)
{
	IMMURE_CLEANUP_FD int fd = immure_memfd_of("immure-plan", data, len);
	struct immure_init_msg m = { .type = IMMURE_INIT_TAKE };
	struct iovec iov = { &m, sizeof(m) };
	ssize_t n = fd < 0 ? fd : immure_fdmsg_send(a->s->sealed.sock_fd, &iov, 1, &fd, 1, 0);

	return n < 0 ? immure_ask_fail(a, IMMURE_ERR_IO, (int)-n, "", "init: %s", strerror((int)-n)) : 0;
}

/* From here on it is the caller's, or it ends: half of a plan is nobody's. */
static int32_t become(struct immure_ask *a, struct immure_plan *plan, const char *data, size_t len)
{
	struct immure_server *s = a->s;
	int32_t r;

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
		r = tell_init(a, data, len);
	if (r == 0) /* while init is at work; nobody is answered before it is on record */
		r = record(a, plan, data, len);
	if (r < 0) {
		immure_server_stop(s, 0, "take");
		return r;
	}
	s->creator = a->c;
	s->creator_request = a->id;
	return 0;
}

int32_t immure_take(struct immure_ask *a)
{
	IMMURE_CLEANUP_FREE char *data = NULL;
	struct immure_plan *plan = NULL;
	bool *now;
	size_t len = 0;
	int32_t r;

	if (!a->c->boss)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "only whom a pool gave it to may take it");
	if (!a->s->awaiting)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "this session waits for nobody");
	r = open_plan(a, &data, &len, &plan);
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
