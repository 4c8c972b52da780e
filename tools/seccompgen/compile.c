/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From decisions to instructions.
 *
 *	load arch; another than ours: kill
 *	load number
 *	a tree of comparisons over ranges of numbers with the same outcome
 *	blocks that look at arguments, one per distinct list of rules
 *	one return per action
 *
 * The kernel runs a new filter once for every number when it is installed, to
 * learn which calls are always allowed and need no run later. So the tree's
 * shape is chosen (by dynamic programming over the ranges) for the least sum of
 * steps over all numbers plus a price per instruction: installing is part of
 * every launch. Only loads of arch and number, and jumps, may come before the
 * verdict for that to work; argument loads are in the blocks alone.
 */
#include "compile.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "asm.h"

#define X32_BIT UINT32_C(0x40000000)

enum {
	RANGES_MAX = 1024,
	LEAF_RANGES = 9,    /* ranges that one leaf may cover */
	NUMBERS_USED = 470, /* what the kernel tries when a filter is installed */
	STEP_PRICE = 1,
	INSN_PRICE = 10,
	RULE_WEIGHT = 40,   /* calls with rules run the filter each time */
	OUTCOMES_MAX = 128,
};

struct outcome {
	uint32_t action;
	const struct decision *rules; /* NULL: the action alone */
	int label;
};

struct range {
	uint32_t lo, hi;
	int outcome;
};

struct choice {
	uint32_t cost;
	int16_t split; /* the last range of the left half; -1: a leaf */
	int16_t other; /* leaf: outcome of all but the exceptions */
};

struct compiler {
	const struct variant *variant;
	struct asm_unit *unit;
	struct outcome outcomes[OUTCOMES_MAX];
	int outcomes_n;
	struct range ranges[RANGES_MAX];
	int n;
	uint32_t weight[RANGES_MAX + 1]; /* sums up to here */
	struct choice *choices;          /* [i * n + j] */
};

static bool same_rules(const struct decision *a, const struct decision *b)
{
	return a->clauses_n == b->clauses_n &&
	       memcmp(a->clauses, b->clauses, a->clauses_n * sizeof(*a->clauses)) == 0;
}

static int outcome_of(struct compiler *c, uint32_t action, const struct decision *rules)
{
	for (int i = 0; i < c->outcomes_n; i++) {
		const struct outcome *o = &c->outcomes[i];

		if (rules ? o->rules && same_rules(o->rules, rules)
			  : !o->rules && o->action == action)
			return i;
	}
	if (c->outcomes_n == OUTCOMES_MAX)
		die("compile", 0, "too many outcomes");
	c->outcomes[c->outcomes_n] = (struct outcome){ action, rules, asm_label(c->unit) };
	return c->outcomes_n++;
}

static int outcome_of_decision(struct compiler *c, const struct policy *p,
			       const struct decision *d)
{
	if (!d || !d->decided)
		return outcome_of(c, p->default_action, NULL);
	if (d->clauses_n == 0)
		return outcome_of(c, d->action, NULL);
	if (d->clauses_n == 1)
		return outcome_of(c, d->clauses[0].action, NULL);
	return outcome_of(c, 0, d);
}

static void add_range(struct compiler *c, uint32_t lo, uint32_t hi, int outcome)
{
	if (c->n && c->ranges[c->n - 1].outcome == outcome) {
		c->ranges[c->n - 1].hi = hi;
		return;
	}
	if (c->n == RANGES_MAX)
		die("compile", 0, "too many ranges");
	c->ranges[c->n++] = (struct range){ lo, hi, outcome };
}

static void find_ranges(struct compiler *c, const struct policy *p, const struct machine *m)
{
	const struct decision *by_nr[NUMBERS_MAX] = { NULL };
	uint32_t end = 0;
	int rest = outcome_of(c, p->default_action, NULL);

	for (size_t i = 0; i < p->table->n; i++) {
		int nr = p->table->calls[i].nr;

		if (nr < 0)
			continue;
		if (by_nr[nr])
			die("compile", 0, "two calls have the number %d", nr);
		by_nr[nr] = &p->decisions[i];
		if ((uint32_t)nr >= end)
			end = (uint32_t)nr + 1;
	}
	for (uint32_t nr = 0; nr < end; nr++)
		add_range(c, nr, nr, outcome_of_decision(c, p, by_nr[nr]));
	if (m->x32) {
		add_range(c, end, X32_BIT - 1, rest);
		add_range(c, X32_BIT, UINT32_MAX,
			  outcome_of(c, SECCOMP_RET_ERRNO | ENOSYS, NULL));
	} else {
		add_range(c, end, UINT32_MAX, rest);
	}
}

static void weigh(struct compiler *c)
{
	for (int i = 0; i < c->n; i++) {
		const struct range *r = &c->ranges[i];
		uint32_t w = 1;

		if (r->lo < NUMBERS_USED)
			w = (r->hi < NUMBERS_USED ? r->hi + 1 : NUMBERS_USED) - r->lo;
		if (c->outcomes[r->outcome].rules)
			w += RULE_WEIGHT;
		c->weight[i + 1] = c->weight[i] + w;
	}
}

/* Ranges i to j as one leaf: all but single numbers share an outcome. */
static bool as_leaf(const struct compiler *c, int i, int j, int other, uint32_t *ret_cost)
{
	uint32_t exceptions = 0;

	for (int k = i; k <= j; k++) {
		const struct range *r = &c->ranges[k];

		if (r->outcome == other)
			continue;
		if (r->lo != r->hi)
			return false;
		exceptions++;
	}
	*ret_cost = exceptions * (INSN_PRICE + STEP_PRICE * (c->weight[j + 1] - c->weight[i]));
	return true;
}

static struct choice choose(const struct compiler *c, int i, int j)
{
	struct choice best = { UINT32_MAX, -1, -1 };
	uint32_t here = INSN_PRICE + STEP_PRICE * (c->weight[j + 1] - c->weight[i]);

	for (int k = i; k <= j && j - i < LEAF_RANGES; k++) {
		uint32_t cost;

		if (as_leaf(c, i, j, c->ranges[k].outcome, &cost) && cost < best.cost)
			best = (struct choice){ cost, -1, (int16_t)c->ranges[k].outcome };
	}
	for (int k = i; k < j; k++) {
		uint32_t cost = here + c->choices[i * c->n + k].cost +
				c->choices[(k + 1) * c->n + j].cost;

		if (cost < best.cost)
			best = (struct choice){ cost, (int16_t)k, -1 };
	}
	return best;
}

static void plan_tree(struct compiler *c)
{
	c->choices = calloc((size_t)c->n * (size_t)c->n, sizeof(*c->choices));
	if (!c->choices)
		die("compile", 0, "out of memory");
	for (int len = 1; len <= c->n; len++) {
		for (int i = 0; i + len <= c->n; i++)
			c->choices[i * c->n + i + len - 1] = choose(c, i, i + len - 1);
	}
}

/* The label of ranges i to j: the outcome's own when there is nothing to test. */
static int label_of(struct compiler *c, int i, int j)
{
	const struct choice *ch = &c->choices[i * c->n + j];

	return ch->split < 0 && ch->cost == 0 ? c->outcomes[ch->other].label : asm_label(c->unit);
}

static void emit_leaf(struct compiler *c, int i, int j, int other)
{
	int last = -1;

	for (int k = i; k <= j; k++) {
		if (c->ranges[k].outcome != other)
			last = k;
	}
	for (int k = i; k <= last; k++) {
		const struct range *r = &c->ranges[k];

		if (r->outcome != other)
			asm_jump(c->unit, BPF_JMP | BPF_JEQ | BPF_K, r->lo,
				 c->outcomes[r->outcome].label,
				 k == last ? c->outcomes[other].label : ASM_NEXT);
	}
}

static void emit_tree(struct compiler *c, int i, int j, int label)
{
	const struct choice *ch = &c->choices[i * c->n + j];
	int left, right, k = ch->split;

	if (k < 0 && ch->cost == 0)
		return;
	asm_place(c->unit, label);
	if (k < 0) {
		emit_leaf(c, i, j, ch->other);
		return;
	}
	left = label_of(c, i, k);
	right = label_of(c, k + 1, j);
	asm_jump(c->unit, BPF_JMP | BPF_JGE | BPF_K, c->ranges[k + 1].lo, right, left);
	emit_tree(c, i, k, left);
	emit_tree(c, k + 1, j, right);
}

/* ---- argument blocks ---- */

/* What the accumulator holds; offset 0 (the number) stands for "not known". */
struct held {
	uint32_t offset, mask;
};

/* A place that several tests jump to, and what is held on every way there. */
struct meeting {
	int label;
	bool reached;
	struct held held;
};

static bool same_held(struct held a, struct held b)
{
	return a.offset == b.offset && a.mask == b.mask;
}

static void arrive(struct meeting *m, struct held h)
{
	if (m->reached && !same_held(m->held, h))
		h = (struct held){ 0, 0 };
	m->held = h;
	m->reached = true;
}

static void load(struct asm_unit *u, struct held *h, uint32_t offset, uint32_t mask)
{
	struct held want = { offset, mask };

	if (same_held(*h, want))
		return;
	if (h->offset != offset || h->mask != UINT32_MAX)
		asm_emit(u, BPF_LD | BPF_W | BPF_ABS, offset);
	if (mask != UINT32_MAX)
		asm_emit(u, BPF_ALU | BPF_AND | BPF_K, mask);
	*h = want;
}

/* Both machines are little endian: the low word comes first. */
static uint32_t low_word(unsigned int arg)
{
	return (uint32_t)offsetof(struct seccomp_data, args) + 8 * arg;
}

/* Goes to yes when the held value is in the list, else to no. */
static void emit_list(struct asm_unit *u, const struct value_range *v, size_t n, int yes, int no)
{
	for (size_t i = 0; i < n; i++) {
		int otherwise = i + 1 < n ? ASM_NEXT : no;

		if (v[i].lo == v[i].hi) {
			asm_jump(u, BPF_JMP | BPF_JEQ | BPF_K, v[i].lo, yes, otherwise);
			continue;
		}
		/* sorted: below this range is in no later one either */
		if (v[i].lo > 0)
			asm_jump(u, BPF_JMP | BPF_JGE | BPF_K, v[i].lo, ASM_NEXT, no);
		asm_jump(u, BPF_JMP | BPF_JGT | BPF_K, v[i].hi, otherwise, yes);
	}
}

static void emit_bits(struct asm_unit *u, const struct cond *cd, struct held *h, int yes, int no)
{
	uint32_t lo = (uint32_t)cd->bits, hi = (uint32_t)(cd->bits >> 32);

	if (lo) {
		load(u, h, low_word(cd->arg), UINT32_MAX);
		asm_jump(u, BPF_JMP | BPF_JSET | BPF_K, lo, yes, hi ? ASM_NEXT : no);
	}
	if (hi) {
		asm_emit(u, BPF_LD | BPF_W | BPF_ABS, low_word(cd->arg) + 4);
		asm_jump(u, BPF_JMP | BPF_JSET | BPF_K, hi, yes, no);
		*h = (struct held){ 0, 0 }; /* differs between the two ways out */
	}
}

/* Falls to pass when the condition holds, else goes to fail. */
static void emit_cond(struct compiler *c, const struct cond *cd, struct held *h, int pass, int fail)
{
	bool positive = cd->op == COND_IS || cd->op == COND_HAS;
	int yes = positive ? pass : fail, no = positive ? fail : pass;

	if (cd->op == COND_HAS || cd->op == COND_LACKS) {
		emit_bits(c->unit, cd, h, yes, no);
		return;
	}
	load(c->unit, h, low_word(cd->arg), cd->mask);
	if (cd->families)
		emit_list(c->unit, c->variant->families, c->variant->families_n, yes, no);
	else
		emit_list(c->unit, cd->values, cd->values_n, yes, no);
}

static void emit_rules(struct compiler *c, const struct outcome *o)
{
	const struct decision *d = o->rules;
	struct held h = { 0, 0 };

	asm_place(c->unit, o->label);
	for (size_t i = 0; i < d->clauses_n; i++) {
		const struct clause *cl = &d->clauses[i];
		int action = c->outcomes[outcome_of(c, cl->action, NULL)].label;
		struct meeting next = { .label = asm_label(c->unit) };

		if (cl->conds_n == 0) {
			asm_emit(c->unit, BPF_RET | BPF_K, cl->action);
			return;
		}
		for (size_t k = 0; k < cl->conds_n; k++) {
			bool last = k + 1 == cl->conds_n;
			int pass = last ? action : asm_label(c->unit);

			emit_cond(c, &cl->conds[k], &h, pass, next.label);
			arrive(&next, h);
			if (!last)
				asm_place(c->unit, pass);
		}
		asm_place(c->unit, next.label);
		h = next.held;
	}
}

size_t compile_filter(const struct policy *p, const struct variant *v, const struct machine *m,
		      struct sock_filter *out, size_t max)
{
	struct compiler *c = calloc(1, sizeof(*c));
	size_t len;
	int ours, root;

	if (!c)
		die("compile", 0, "out of memory");
	c->variant = v;
	c->unit = asm_new();
	find_ranges(c, p, m);
	weigh(c);
	plan_tree(c);
	ours = asm_label(c->unit);
	asm_emit(c->unit, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	asm_jump(c->unit, BPF_JMP | BPF_JEQ | BPF_K, m->audit_arch, ours, ASM_NEXT);
	asm_emit(c->unit, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	asm_place(c->unit, ours);
	asm_emit(c->unit, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	root = label_of(c, 0, c->n - 1);
	if (c->choices[c->n - 1].cost == 0)
		asm_jump(c->unit, BPF_JMP | BPF_JA, 0, root, ASM_NEXT);
	emit_tree(c, 0, c->n - 1, root);
	for (int i = 0; i < c->outcomes_n; i++) {
		if (c->outcomes[i].rules)
			emit_rules(c, &c->outcomes[i]);
	}
	for (int i = 0; i < c->outcomes_n; i++) {
		if (c->outcomes[i].rules)
			continue;
		asm_place(c->unit, c->outcomes[i].label);
		asm_emit(c->unit, BPF_RET | BPF_K, c->outcomes[i].action);
	}
	len = asm_finish(c->unit, out, max);
	free(c->choices);
	free(c->unit);
	free(c);
	return len;
}
