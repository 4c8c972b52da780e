/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "evidence/proof.h"

static const char *verdict_name(enum immure_proof_verdict v)
{
	switch (v) {
	case IMMURE_PROOF_HELD:
		return "held";
	case IMMURE_PROOF_SHORT:
		return "fell_short";
	case IMMURE_PROOF_NOT_APPLICABLE:
		return "not_applicable";
	}
	return "fell_short";
}

static const char *verdict_mark(enum immure_proof_verdict v)
{
	switch (v) {
	case IMMURE_PROOF_HELD:
		return "held ";
	case IMMURE_PROOF_SHORT:
		return "SHORT";
	case IMMURE_PROOF_NOT_APPLICABLE:
		return "n/a  ";
	}
	return "SHORT";
}

static void text(struct immure_buf *out, const char *s)
{
	immure_buf_put_printable(out, s, strlen(s));
}

void immure_proof_summary(const struct immure_proof *p, struct immure_buf *out)
{
	immure_buf_printf(out, "%zu points held, %zu fell short, %zu not applicable", p->held,
			  p->fell_short, p->not_applicable);
}

static void print_point(const struct immure_proof_point *p, struct immure_buf *out)
{
	const char *name = strchr(p->id, '.');

	immure_buf_printf(out, "  %s  %-20s ", verdict_mark(p->verdict), name ? name + 1 : p->id);
	text(out, p->asked);
	if (p->verdict == IMMURE_PROOF_HELD) {
		immure_buf_puts(out, "; ");
		text(out, p->observed);
	} else {
		immure_buf_puts(out, "; ");
		text(out, p->reason);
		if (p->verdict == IMMURE_PROOF_SHORT && *p->observed) {
			immure_buf_puts(out, ": ");
			text(out, p->observed);
		}
	}
	immure_buf_putc(out, '\n');
}

void immure_proof_print(const struct immure_proof *p, struct immure_buf *out)
{
	const char *dimension = "";

	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(dimension, p->points[i].dimension) != 0) {
			dimension = p->points[i].dimension;
			immure_buf_printf(out, "%s\n", dimension);
		}
		print_point(&p->points[i], out);
	}
	if (p->network && p->network[0]) {
		immure_buf_puts(out, "network: ");
		text(out, p->network);
		immure_buf_putc(out, '\n');
	}
	immure_proof_summary(p, out);
	immure_buf_putc(out, '\n');
}

void immure_proof_json(const struct immure_proof *p, struct immure_jsonw *w, const char *key)
{
	immure_jsonw_object(w, key);
	immure_jsonw_bool(w, "holds", immure_proof_holds(p));
	immure_jsonw_uint(w, "held", p->held);
	immure_jsonw_uint(w, "fell_short", p->fell_short);
	immure_jsonw_uint(w, "not_applicable", p->not_applicable);
	immure_jsonw_str(w, "backend", p->backend);
	immure_jsonw_str(w, "policy_version", p->policy_version);
	immure_jsonw_str(w, "plan_hash", p->plan_hash);
	immure_jsonw_str(w, "network", p->network && p->network[0] ? p->network : NULL);
	immure_jsonw_array(w, "points");
	for (size_t i = 0; i < p->n; i++) {
		const struct immure_proof_point *q = &p->points[i];

		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "id", q->id);
		immure_jsonw_str(w, "dimension", q->dimension);
		immure_jsonw_str(w, "asked", q->asked);
		immure_jsonw_str(w, "mechanism", q->mechanism);
		immure_jsonw_str(w, "attempted", q->attempted);
		immure_jsonw_str(w, "observed", q->observed);
		immure_jsonw_int(w, "errno", q->errnum);
		immure_jsonw_str(w, "verdict", verdict_name(q->verdict));
		immure_jsonw_str(w, "reason", q->reason);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
	immure_jsonw_end(w, '}');
}
