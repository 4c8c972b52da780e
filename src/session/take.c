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
#include "session/snapshot.h"

/* Reading one of those never waits. What somebody could still change, the caller having it
 * open, is taken as a copy. */
static int32_t open_plan(struct immure_ask *a, int *ret_fd)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "plan");
	IMMURE_CLEANUP_FREE char *data = NULL;
	const int all = 0xe; /* F_SEAL_SHRINK, GROW, WRITE */
	int fd = -1, copy, seals, r;
	size_t len = 0;

	if (immure_arg_fd(a, v, &fd) < 0)
		return -IMMURE_ERR_INVALID;
	seals = fcntl(fd, 1034 /* F_GET_SEALS */);
	if (seals < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, errno, "plan", "plan is a memfd");
	*ret_fd = fd;
	if ((seals & all) == all)
		return 0;
	r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : immure_read_all(fd, IMMURE_SERVE_PARAMS, &data, &len);
	copy = r < 0 ? r : immure_memfd_of("immure-plan", data, len);
	if (copy >= 0)
		r = dup3(copy, fd, O_CLOEXEC) < 0 ? -errno : 0; /* in its place: closed with the request */
	else
		r = copy;
	immure_close(&copy);
	return r < 0 ? immure_ask_fail(a, IMMURE_ERR_INVALID, -r, "plan", "plan: %s", strerror(-r)) : 0;
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

static int32_t record(struct immure_ask *a, const struct immure_plan *plan, const void *data, size_t len)
{
	struct immure_server *s = a->s;
	struct immure_meta *m = &s->meta;
	int e;

	(void)snprintf(m->policy_version, sizeof(m->policy_version), "%s", plan->policy_version);
	(void)snprintf(m->plan_hash, sizeof(m->plan_hash), "%s", immure_plan_hash_of(plan));
	(void)snprintf(m->profile, sizeof(m->profile), "%s", plan->profile);
	if (immure_plan_agent(plan)[0]) {
		char about[160];

		(void)snprintf(about, sizeof(about), "agent=%s", immure_plan_agent(plan));
		e = immure_journal_note(&s->journal, IMMURE_JK_SESSION, s->entry.id, about);
		if (e < 0)
			return immure_ask_fail(a, IMMURE_ERR_IO, -e, "journal", "the journal cannot be written: %s",
					       strerror(-e));
	}
	e = immure_file_replace(s->entry.dir_fd, "plan", data, len, false);
	if (e == 0)
		e = immure_entry_set_meta(&s->entry, m);
	return e == 0 ? 0 : immure_ask_fail(a, IMMURE_ERR_IO, -e, "", "it cannot be recorded: %s", strerror(-e));
}

/* What init looks at while we do; nobody can change it any more. */
static int32_t offer(struct immure_ask *a, int fd)
{
	struct immure_init_msg m = { .type = IMMURE_INIT_TAKE };
	struct iovec iov = { &m, sizeof(m) };
	ssize_t n = immure_fdmsg_send(a->s->sealed.sock_fd, &iov, 1, &fd, 1, MSG_DONTWAIT);

	return n < 0 ? immure_ask_fail(a, IMMURE_ERR_IO, (int)-n, "", "init: %s", strerror((int)-n)) : 0;
}

static int32_t offer_anew(struct immure_ask *a, const void *data, size_t len)
{
	IMMURE_CLEANUP_FD int fd = immure_memfd_of("immure-plan", data, len);

	return fd >= 0 ? offer(a, fd)
		       : immure_ask_fail(a, IMMURE_ERR_IO, -fd, "", "no descriptor for the plan: %s", strerror(-fd));
}

/* ---- secrets ---- */

/* The values of variables, which only the caller has: numbers, and as many descriptors after
 * that of the plan. Without any, none comes from the environment that we happen to have. */
static int32_t bring_secrets(struct immure_ask *a, const struct immure_plan *plan)
{
	const struct immure_jsonr_value *list = immure_jsonr_get(&a->json, a->root, "secrets"), *v;
	int none = -1, r = immure_gatekeeper_bring(a->s->sealed.gate, 0, &none);
	size_t i = 1;

	for (v = immure_jsonr_first(&a->json, list); v && r == 0; v = immure_jsonr_after(&a->json, list, v), i++) {
		bool known = false;
		int fd;

		for (size_t k = 0; k < plan->ops_n; k++)
			known |= plan->ops[k].kind == IMMURE_OP_SECRET && v->type == IMMURE_JSON_INTEGER &&
				 plan->ops[k].num[0] == (uint64_t)v->integer &&
				 strncmp(plan->ops[k].dst, "env:", 4) == 0;
		fd = i < a->fds_n ? fcntl(a->fds[i], F_DUPFD_CLOEXEC, 10) : -1;
		if (!known || fd < 0 || fcntl(fd, 1034 /* F_GET_SEALS */) < 0)
			r = -EINVAL;
		else
			r = immure_gatekeeper_bring(a->s->sealed.gate, (uint64_t)v->integer, &fd);
		immure_close(&fd);
	}
	return r < 0 ? immure_ask_fail(a, IMMURE_ERR_INVALID, -r, "secrets", "secrets are numbers of the plan's, "
				       "and a memfd each") : 0;
}

/* Where TLS ends at us, or secrets go: whoever does that is started for this caller, and what
 * init becomes is the plan with his certificates and placeholders in it. */
static int32_t look_inside(struct immure_ask *a, const struct immure_plan **plan)
{
	IMMURE_CLEANUP_FREE void *data = NULL;
	struct immure_server *s = a->s;
	size_t len = 0;
	int32_t r = s->sealed.gate ? bring_secrets(a, *plan)
				   : immure_ask_fail(a, IMMURE_ERR_POLICY, 0, "secrets", "there is no limited network");

	if (r == 0)
		r = immure_gatekeeper_look_inside(s->sealed.gate, s->sealed.init.cgroup ? &s->sealed.cgroup : NULL,
						  s->sealed.egress, s->sealed.session, plan, &a->err);
	if (r == 0)
		r = immure_plan_seal_bytes(*plan, &data, &len, &a->err);
	return r == 0 ? offer_anew(a, data, len) : r;
}

/* From here on it is the caller's, or it ends: half of a plan is nobody's. */
static int32_t become(struct immure_ask *a, struct immure_plan *taken, const struct immure_plan *plan, const void *data,
		      size_t len)
{
	struct immure_server *s = a->s;
	bool lane = false;
	int32_t r = immure_arg_bool(a, "lane", &lane);

	if (r < 0) {
		immure_plan_destroy(taken);
		return r;
	}
	s->awaiting = false;
	s->taken = taken;
	r = set_network(a, plan);
	s->plan = s->sealed.plan = plan;
	if (r == 0)
		r = immure_sealed_own_dirs(&s->sealed, &a->err);
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &s->sealed.since); /* cannot fail */
	if (r == 0)
		r = immure_server_labels(a);
	if (r == 0)
		r = immure_snapshot_given(a);
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

static bool brings_more(struct immure_ask *a)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "secrets");

	return v && v->type == IMMURE_JSON_ARRAY;
}

int32_t immure_take(struct immure_ask *a)
{
	struct immure_plan *plan = NULL;
	const struct immure_plan *filled;
	const void *data = NULL;
	size_t len = 0;
	bool *now;
	int fd = -1;
	int32_t r;

	if (!a->c->boss)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "only whom a pool gave it to may take it");
	if (!a->s->awaiting)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, "", "this session waits for nobody");
	r = open_plan(a, &fd);
	/* Init looks at it at the same time, unless there is something to be put into it. */
	if (r == 0 && !brings_more(a))
		r = offer(a, fd);
	if (r == 0)
		r = immure_plan_unseal_fd(fd, &data, &len, &plan, &a->err);
	if (r == 0)
		r = immure_plan_startable(plan, &a->err);
	if (r == 0)
		r = immure_plan_fit(a->s->plan, plan, &a->arena, &now, &a->err);
	if (r == 0 && !immure_plan_find(plan, IMMURE_OP_INTERCEPT) == brings_more(a))
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "secrets", "secrets are said to come, or not, as the plan has them");
	filled = plan;
	if (r == 0 && brings_more(a)) {
		r = look_inside(a, &filled);
		if (r < 0) /* half of it has begun */
			immure_server_stop(a->s, 0, "take");
	}
	if (r < 0)
		immure_plan_destroy(plan);
	else
		r = become(a, plan, filled, data, len);
	if (data)
		immure_unmap(data, len);
	return r;
}
