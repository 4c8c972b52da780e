/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup of a sealed place: named, written down, made, limited, removed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "session/freezer.h"
#include "session/sealed_parts.h"

static int note_cgroups(struct immure_sealed *s)
{
	int r = 0;

	for (int i = 0; s->journal && i < s->cgroup.n && r == 0; i++)
		r = immure_journal_intent(s->journal, IMMURE_JK_CGROUP, s->cgroup.path[i], NULL,
					  &s->cgroup_seq[i]);
	return r;
}

static int note_cgroups_made(struct immure_sealed *s, int errnum)
{
	int r = 0;

	for (int i = 0; s->journal && i < s->cgroup.n && r == 0; i++)
		r = immure_journal_result(s->journal, IMMURE_JK_CGROUP, s->cgroup_seq[i], errnum, NULL);
	return r;
}

/* A result that is not written leaves an intent, which is looked into later. */
static void note_cgroups_gone(struct immure_sealed *s)
{
	for (int i = 0; s->journal && i < s->cgroup.n; i++)
		if (s->cgroup_seq[i] && !s->cgroup.path[i][0])
			(void)immure_journal_gone(s->journal, IMMURE_JK_CGROUP, s->cgroup_seq[i], NULL);
	memset(s->cgroup_seq, 0, sizeof(s->cgroup_seq));
}

static int32_t cgroup_limit(struct immure_sealed *s, const struct immure_op *op,
			    struct immure_error **err)
{
	int r = 0;

	if (op->kind == IMMURE_OP_CGROUP_MEMORY)
		r = immure_cgroup_set_memory(&s->cgroup, op->num[0]);
	else if (op->kind == IMMURE_OP_CGROUP_PIDS)
		r = immure_cgroup_set_pids(&s->cgroup, op->num[0]);
	else if (op->kind == IMMURE_OP_CGROUP_CPU)
		r = immure_cgroup_set_cpu(&s->cgroup, op->num[0]);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, r, "cgroup", op->key,
				   "cannot set the limit: %s", strerror(-r));
	return 0;
}

static int enable_controllers(const struct immure_sealed *s, const struct immure_op *leaf)
{
	const struct immure_plan *p = s->plan;
	char list[64];

	(void)snprintf(list, sizeof(list), "%s%s%s",
		       immure_plan_find(p, IMMURE_OP_CGROUP_MEMORY) ? "+memory " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_PIDS) ? "+pids " : "",
		       immure_plan_find(p, IMMURE_OP_CGROUP_CPU) ? "+cpu " : "");
	return immure_cgroup_enable(leaf->src, list);
}

/* For limits, and for a session to be frozen by: v1 needs a leaf more for that, v2 has
 * it with any. */
static int name_cgroup(struct immure_sealed *s, const struct immure_op *leaf, bool freezer)
{
	char name[64], dir[2048], parents[4096];
	struct timespec now;
	int version = 0, n;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	(void)snprintf(name, sizeof(name), "immure-%d-%llx", (int)getpid(),
		       (unsigned long long)now.tv_sec * 1000000000U + (unsigned long long)now.tv_nsec);
	if (freezer && !(leaf && leaf->num[0] == 2))
		version = immure_freezer_find(!leaf, dir, sizeof(dir));
	if (version == 2)
		return immure_cgroup_name(&s->cgroup, true, dir, name);
	if (version == 0)
		return leaf ? immure_cgroup_name(&s->cgroup, leaf->num[0] == 2, leaf->src, name) : 0;
	n = snprintf(parents, sizeof(parents), "%s%sfreezer=%s", leaf ? leaf->src : "", leaf ? ":" : "", dir);
	return n < 0 || (size_t)n >= sizeof(parents) ? -ENAMETOOLONG :
						       immure_cgroup_name(&s->cgroup, false, parents, name);
}

/* Below a threaded cgroup of v2 nothing can be born into a leaf. */
static int check_domain(const struct immure_cgroup *c)
{
	IMMURE_CLEANUP_FREE char *type = NULL;
	int r = c->v2 ? immure_read_file_at(c->dir_fd[0], "cgroup.type", 64, &type, NULL) : 0;

	return r < 0 || !type || strcmp(type, "domain\n") == 0 ? r : -EOPNOTSUPP;
}

/* Written down, made, written down. */
static int32_t make_cgroup(struct immure_sealed *s, int *ret_made, struct immure_error **err)
{
	int r = note_cgroups(s), made;

	if (r < 0)
		return immure_sealed_unrecorded(err, r);
	made = immure_cgroup_make(&s->cgroup);
	if (made == 0)
		made = check_domain(&s->cgroup);
	if (made == -EOPNOTSUPP)
		(void)immure_cgroup_remove(&s->cgroup); /* or gc finds it by its name */
	r = note_cgroups_made(s, made);
	if (r < 0 && made == 0)
		return immure_sealed_unrecorded(err, r);
	*ret_made = made; /* the first error is the one to tell */
	return 0;
}

int32_t immure_sealed_make_leaf(struct immure_sealed *s, struct immure_error **err)
{
	const struct immure_op *leaf = immure_plan_find(s->plan, IMMURE_OP_CGROUP_LEAF);
	int made = -1;
	int32_t r;

	if (leaf && leaf->num[1]) {
		r = enable_controllers(s, leaf);
		if (r < 0)
			return immure_sealed_failed(err, r, "cgroup", "cannot hand controllers down");
	}
	for (int i = 0; i < 2 && made < 0; i++) { /* without the freezer if it must be */
		bool freezer = s->freezable && i == 0;

		r = name_cgroup(s, leaf, freezer);
		if (r < 0)
			return immure_sealed_failed(err, r, "cgroup", "cannot make a cgroup");
		/* What only freezes is watched when it does (immure_sealed_guard()). */
		r = leaf && s->janitor.pid < 0 ? immure_sealed_janitor(s, err) : 0;
		if (r < 0)
			return r;
		if (s->cgroup.n == 0)
			return 0;
		r = make_cgroup(s, &made, err);
		if (r < 0)
			return r;
		if (made < 0 && (!freezer || leaf))
			return immure_sealed_failed(err, made, "cgroup", "cannot make a cgroup");
		if (made < 0) {
			immure_cgroup_done(&s->cgroup);
			immure_cgroup_init(&s->cgroup);
		}
	}
	r = 0;
	for (size_t i = 0; i < s->plan->ops_n && r == 0; i++)
		if (s->plan->ops[i].stage == IMMURE_STAGE_CGROUP)
			r = cgroup_limit(s, &s->plan->ops[i], err);
	s->init.cgroup = &s->cgroup;
	return r;
}

int immure_sealed_remove_leaf(struct immure_sealed *s, char *left, size_t len)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	int r = 0;

	/* The last member leaves the leaf just after it was reaped. */
	for (int i = 0; i < 1000 && s->cgroup.n > 0; i++) {
		r = immure_cgroup_remove(&s->cgroup);
		if (r == 0 || (r != -EBUSY && i > 2)) /* other errors get a second try */
			break;
		immure_cgroup_kill(&s->cgroup);
		(void)nanosleep(&pause, NULL); /* cut short: tried once more */
	}
	if (r < 0)
		(void)snprintf(left, len, "%s", s->cgroup.path[0]);
	note_cgroups_gone(s);
	immure_cgroup_done(&s->cgroup);
	return r;
}

int immure_sealed_guard(struct immure_sealed *s)
{
	if (immure_cgroup_freezer(&s->cgroup) != 1 || s->janitor.pid >= 0)
		return 0;
	return immure_janitor_start(&s->janitor, &s->cgroup, NULL, s->orphaned, s->orphaned_ctx);
}
