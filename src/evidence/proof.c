/* SPDX-License-Identifier: Apache-2.0 */
/* Judging. A point holds when the plan asks for it, the attacker tried all of
 * its targets, every answer is one that the point accepts, and the bait that
 * goes with it was not touched. Everything else falls short. */
#include "evidence/proof.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "evidence/bait.h"
#include "evidence/bare.h"
#include "evidence/points.h"
#include "evidence/records.h"
#include "evidence/targets.h"
#include "plan/plan.h"

#define REPORT_ID "control.report"
#define PROCESSES_MAX 1024 /* what the attacker is willing to make */

struct judge {
	const struct immure_plan *plan;
	const struct immure_bait *bait;
	const char *targets;
	const struct immure_records *records;
	struct immure_proof *proof;
};

int32_t immure_proof_targets(const struct immure_plan *plan, const struct immure_bait *bait,
			     struct immure_buf *out, struct immure_error **err)
{
	immure_targets_write(plan, bait, out);
	if (!immure_buf_ok(out))
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "proof", "",
				   "proof: out of memory");
	if (out->len > IMMURE_PROOF_TARGETS_MAX)
		return immure_fail(err, IMMURE_ERR_LAUNCH, E2BIG, "proof", "",
				   "proof: the plan names more than the attacker can be told");
	return 0;
}

static bool any_target(const struct judge *j, const char *kind)
{
	return immure_targets_count(j->targets, kind) > 0;
}

static bool landlock_scopes_abstract(const struct immure_plan *plan)
{
	const struct immure_op *op = immure_plan_find(plan, IMMURE_OP_LANDLOCK);

	return op && (op->num[2] & 1 /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET */);
}

/* By its mode alone: the sandbox can take rights away and not give any. */
static bool workspace_is_theirs(const struct immure_plan *plan)
{
	const struct immure_op *id = immure_plan_find(plan, IMMURE_OP_IDMAP);
	struct stat st;

	if (!id)
		id = immure_plan_find(plan, IMMURE_OP_IDMAP_SUBID);
	if (!id || stat(plan->workspace, &st) < 0 || st.st_uid == id->num[1])
		return true;
	return st.st_mode & (S_IWGRP | S_IWOTH);
}

static bool lists_programs(const struct immure_plan *p)
{
	const struct immure_op *op = immure_plan_find(p, IMMURE_OP_SECCOMP);

	return op && op->num[2];
}

/* Why the plan does not ask for this point; NULL when it does. */
static const char *not_asked(const struct judge *j, const struct immure_point *p)
{
	bool host_network = immure_plan_find(j->plan, IMMURE_OP_NET_HOST) != NULL;
	bool limited = immure_plan_find(j->plan, IMMURE_OP_EGRESS) != NULL;
	uint64_t limit = immure_targets_number(j->targets, "processes");
	const char *bare = immure_bare_not_asked(j->plan, p->id);

	if (bare)
		return bare;

	switch (p->when) {
	case IMMURE_WHEN_ALWAYS:
	case IMMURE_WHEN_MACHINE:
		return NULL;
	case IMMURE_WHEN_OWN_NETWORK:
		return host_network ? "the plan shares the host's network" : NULL;
	case IMMURE_WHEN_NO_NETWORK:
		if (host_network)
			return "the plan shares the host's network";
		return limited ? "the plan lets names through" : NULL;
	case IMMURE_WHEN_GATE:
		return limited ? NULL : "the plan lets no name through";
	case IMMURE_WHEN_ABSTRACT:
		if (host_network && !landlock_scopes_abstract(j->plan))
			return "the plan shares the host's network";
		return j->bait->fd[p->bait] < 0 ? "the host could not bind one" : NULL;
	case IMMURE_WHEN_BAIT:
		if (host_network)
			return "the plan shares the host's network";
		return j->bait->fd[p->bait] < 0 ? "the host could not listen there" : NULL;
	case IMMURE_WHEN_TARGETS:
		if (p->bait >= 0)
			return j->bait->fd[p->bait] < 0 ? "the host could not bind one" : NULL;
		return any_target(j, p->target) ? NULL : "the plan has no such target";
	case IMMURE_WHEN_WORKSPACE:
		if (!any_target(j, p->target))
			return "the plan has no such target";
		return workspace_is_theirs(j->plan)
			       ? NULL : "it belongs to somebody else, who does not let this identity write";
	case IMMURE_WHEN_PROTECTED_RW:
		if (!any_target(j, "workspace-rw"))
			return "the workspace is not writable";
		return any_target(j, "protect") ? NULL : "the plan has no such target";
	case IMMURE_WHEN_LANDLOCK:
		return immure_plan_find(j->plan, IMMURE_OP_LANDLOCK) ? NULL
								     : "the plan has no Landlock domain";
	case IMMURE_WHEN_PROCESSES:
		if (!limit)
			return "the plan has no such limit";
		return limit > PROCESSES_MAX ? "the limit is too high to be tried" : NULL;
	case IMMURE_WHEN_NOFILE:
		return immure_targets_rlimit(j->targets, "nofile", &limit) ? NULL
									   : "the plan has no such limit";
	case IMMURE_WHEN_FSIZE:
		if (!any_target(j, "tmp"))
			return "there is no place to try it";
		return immure_targets_rlimit(j->targets, "fsize", &limit) ? NULL
									  : "the plan has no such limit";
	case IMMURE_WHEN_AS:
		return immure_targets_rlimit(j->targets, "as", &limit) ? NULL
								       : "the plan has no such limit";
	case IMMURE_WHEN_ANY_PROGRAM:
		return lists_programs(j->plan) ? "the plan lists what may be executed" : NULL;
	case IMMURE_WHEN_LISTED:
		return lists_programs(j->plan) ? NULL : "the plan lets everything be executed";
	case IMMURE_WHEN_PLACE:
		return any_target(j, "tmp") || any_target(j, "workspace-rw")
			       ? NULL
			       : "there is no place to make a file";
	}
	return NULL;
}

static const char *policy_key(const struct immure_plan *plan, const struct immure_point *p)
{
	const struct immure_op *op = immure_plan_find(plan, (enum immure_op_kind)p->op);

	if (!op && p->op == IMMURE_OP_LOOPBACK) /* a gate has one of its own */
		op = immure_plan_find(plan, IMMURE_OP_EGRESS);
	return op && op->key && *op->key ? op->key : "(always)";
}

static const struct immure_record *find_record(const struct judge *j, const char *id, bool *ret_twice)
{
	const struct immure_record *ret = NULL;

	*ret_twice = false;
	for (size_t i = 0; i < j->records->n; i++) {
		if (strcmp(j->records->v[i].id, id) != 0)
			continue;
		*ret_twice = ret != NULL;
		if (*ret_twice)
			break;
		ret = &j->records->v[i];
	}
	return ret;
}

static void observe(struct judge *j, struct immure_proof_point *to, const struct immure_record *r)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *text;

	to->errnum = r->errnos_n ? r->errnos[0] : 0;
	if (r->outcome == IMMURE_RECORD_DENIED) {
		bool fact = r->errnos_n == 1 && r->errnos[0] == 0;

		if (!fact) {
			immure_buf_printf(&b, "refused %u of %u (", r->count, r->count);
			for (uint32_t i = 0; i < r->errnos_n; i++)
				immure_buf_printf(&b, "%s%s", i ? ", " : "",
						  immure_point_errno_name(r->errnos[i]));
			immure_buf_puts(&b, "): ");
		}
	} else if (r->outcome == IMMURE_RECORD_ERROR) {
		immure_buf_puts(&b, "could not be tried: ");
	} else if (r->outcome == IMMURE_RECORD_HUNG) {
		immure_buf_puts(&b, "no answer in time: ");
	}
	immure_buf_puts(&b, r->detail);
	text = immure_buf_take(&b);
	to->observed = immure_arena_strdup(&j->proof->arena, text ? text : "");
	if (!text)
		j->proof->arena.failed = true;
	free(text);
}

static bool all_accepted(const struct immure_point *p, const struct immure_record *r)
{
	if (r->errnos_n == 0)
		return false;
	for (uint32_t i = 0; i < r->errnos_n; i++)
		if (!(p->accept & immure_point_seen(r->errnos[i])))
			return false;
	return true;
}

/* Why what was seen is not what must be seen; NULL when it is. */
static const char *shortfall(const struct judge *j, const struct immure_point *p,
			     const struct immure_record *r)
{
	bool control = p->accept & IMMURE_SEEN_DONE;

	if (p->bait >= 0 && (j->bait->touched & (1U << p->bait)))
		return "the bait outside was reached";
	switch (r->outcome) {
	case IMMURE_RECORD_DENIED:
		if (control)
			return "what must work does not";
		if (!all_accepted(p, r))
			return "refused, but not as the mechanism refuses";
		break;
	case IMMURE_RECORD_DONE:
		if (!control)
			return "the attack succeeded";
		break;
	case IMMURE_RECORD_KILLED:
		if (r->errnos_n != 1 ||
		    !((r->errnos[0] == SIGSYS && (p->accept & IMMURE_SEEN_KILLED)) ||
		      (r->errnos[0] == SIGSEGV && (p->accept & IMMURE_SEEN_FAULT))))
			return "the attacker died in the attempt";
		return NULL; /* what it did not get to try, nobody gets to */
	case IMMURE_RECORD_ERROR:
		return "the attempt could not be made";
	case IMMURE_RECORD_UNSUPPORTED:
		return "the attacker found nothing to attack";
	case IMMURE_RECORD_HUNG:
		return "the attempt did not end";
	case IMMURE_RECORD_SILENT:
		return "the attempt was not made";
	}
	if (p->target && r->count < immure_targets_count(j->targets, p->target))
		return "not every target was tried";
	return NULL;
}

static void judge_point(struct judge *j, const struct immure_point *p, struct immure_proof_point *to)
{
	const struct immure_record *r;
	const char *dot = strchr(p->id, '.'), *why;
	bool twice;

	to->id = p->id;
	to->dimension = immure_arena_strndup(&j->proof->arena, p->id, (size_t)(dot - p->id));
	to->asked = immure_arena_printf(&j->proof->arena, "%s [%s]", p->asked,
					policy_key(j->plan, p));
	to->mechanism = p->mechanism;
	to->attempted = p->attempted;
	to->observed = "";
	to->reason = "";
	r = find_record(j, p->id, &twice);
	if (r)
		observe(j, to, r);
	why = not_asked(j, p);
	if (!why && r && !twice && p->when == IMMURE_WHEN_MACHINE &&
	    r->outcome == IMMURE_RECORD_UNSUPPORTED)
		why = "this machine has no such thing";
	if (why) {
		to->verdict = IMMURE_PROOF_NOT_APPLICABLE;
		to->reason = why;
		return;
	}
	if (!r)
		why = "nothing was reported";
	else if (twice)
		why = "reported more than once";
	else
		why = shortfall(j, p, r);
	to->verdict = why ? IMMURE_PROOF_SHORT : IMMURE_PROOF_HELD;
	to->reason = why ? why : "";
}

static bool is_known(const char *id)
{
	for (size_t i = 0; i < immure_points_n; i++)
		if (strcmp(immure_points[i].id, id) == 0)
			return true;
	return false;
}

/* What is wrong with the report as a whole; "" when nothing is. */
static const char *whole(struct judge *j, const struct immure_attack_exit *how, size_t len)
{
	struct immure_arena *a = &j->proof->arena;
	const char *ret = NULL;

	if (how->timed_out)
		ret = "the attacker did not end in time";
	else if (how->signo)
		ret = immure_arena_printf(a, "the attacker was killed by signal %d", how->signo);
	else if (how->code == 3)
		ret = "the attacker found itself outside of any session";
	else if (how->code != 0)
		ret = immure_arena_printf(a, "the attacker ended with %d", how->code);
	else if (len > IMMURE_PROOF_RECORDS_MAX)
		ret = "the report is too long";
	else if (j->records->trouble)
		ret = j->records->trouble;
	for (size_t i = 0; !ret && i < j->records->n; i++)
		if (!is_known(j->records->v[i].id))
			ret = "the report has a point that nobody asked for";
	return ret ? ret : "";
}

/* The first point: that there is a report at all, and that it is whole. */
static void judge_report(struct judge *j, struct immure_proof_point *to)
{
	*to = (struct immure_proof_point){
		.id = REPORT_ID,
		.dimension = "control",
		.asked = "the attacker ran inside and reported on everything [(always)]",
		.mechanism = "executed by init as the command would be",
		.attempted = "run immure-attack",
		.observed = immure_arena_printf(&j->proof->arena, "%zu records", j->records->n),
		.reason = j->proof->trouble,
		.verdict = *j->proof->trouble ? IMMURE_PROOF_SHORT : IMMURE_PROOF_HELD,
	};
}

static void count(struct immure_proof *p)
{
	for (size_t i = 0; i < p->n; i++) {
		switch (p->points[i].verdict) {
		case IMMURE_PROOF_HELD:
			p->held++;
			break;
		case IMMURE_PROOF_SHORT:
			p->fell_short++;
			break;
		case IMMURE_PROOF_NOT_APPLICABLE:
			p->not_applicable++;
			break;
		}
	}
}

static bool judge_all(struct judge *j, const struct immure_attack_exit *how, size_t len)
{
	struct immure_proof *p = j->proof;
	struct immure_arena *a = &p->arena;

	p->backend = immure_arena_strdup(a, j->plan->backend ? j->plan->backend : "");
	p->policy_version = immure_arena_strdup(a, j->plan->policy_version
							   ? j->plan->policy_version : "");
	p->plan_hash = immure_arena_strdup(a, immure_plan_hash_of(j->plan));
	p->n = immure_points_n + 1;
	p->points = immure_arena_alloc(a, p->n * sizeof(*p->points));
	p->trouble = whole(j, how, len);
	if (a->failed)
		return false;
	judge_report(j, &p->points[0]);
	for (size_t i = 0; i < immure_points_n; i++)
		judge_point(j, &immure_points[i], &p->points[i + 1]);
	count(p);
	return !a->failed;
}

int32_t immure_proof_evaluate(const struct immure_plan *plan, const struct immure_bait *bait,
			      const void *records, size_t len,
			      const struct immure_attack_exit *how, struct immure_proof **ret,
			      struct immure_error **err)
{
	size_t use = len > IMMURE_PROOF_RECORDS_MAX ? 0 : len;
	IMMURE_CLEANUP_FREE char *text = malloc(use + 1);
	IMMURE_CLEANUP_FREE struct immure_record *v = calloc(IMMURE_RECORDS_MAX, sizeof(*v));
	struct immure_proof *proof = calloc(1, sizeof(*proof));
	struct immure_buf targets = IMMURE_BUF_INIT;
	struct immure_records parsed;
	struct judge j = { .plan = plan, .bait = bait, .records = &parsed, .proof = proof };
	bool ok = false;

	immure_targets_write(plan, bait, &targets);
	if (text && v && proof && immure_buf_ok(&targets)) {
		if (use)
			memcpy(text, records, use);
		text[use] = '\0';
		immure_records_parse(text, use, v, &parsed);
		j.targets = targets.data;
		ok = judge_all(&j, how, len);
	}
	immure_buf_done(&targets);
	if (!ok) {
		immure_proof_free(proof);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "proof", "",
				   "proof: out of memory");
	}
	*ret = proof;
	return 0;
}

void immure_proof_free(struct immure_proof *p)
{
	if (!p)
		return;
	immure_arena_done(&p->arena);
	free(p);
}

bool immure_proof_holds(const struct immure_proof *p)
{
	return p->fell_short == 0 && p->held > 0;
}
