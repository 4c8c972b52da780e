/* SPDX-License-Identifier: Apache-2.0 */
/* The proof: what the plan asked for, set against what an attacker inside the
 * session observed. The attacker (immure-attack) is executed by the session's
 * init exactly as the command would be: same identity, Landlock domain, seccomp
 * filter, environment. It only tries and reports; judging is done here, outside.
 *
 *     bait     immure_bait_prepare()                    before the session starts
 *     text     immure_proof_targets()                   -> the attacker's stdin
 *     run      immure-attack FD, its stdin closed after the text; it writes its
 *              records to descriptor FD (the session's part, see there)
 *     look     immure_bait_check()
 *     judge    immure_proof_evaluate()
 *
 * Whatever the attacker does not report, reports twice, or reports in another
 * form, fell short: evidence comes from inside, never from intention. */
#ifndef IMMURE_EVIDENCE_PROOF_H
#define IMMURE_EVIDENCE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/jsonw.h"

struct immure_plan;
struct immure_bait;

/* Both fit into a pipe, so that neither side needs to read while it writes. */
#define IMMURE_PROOF_TARGETS_MAX 49152
#define IMMURE_PROOF_RECORDS_MAX 65536
/* Longer than any attack takes; the whole run is meant to need well under 150 ms. */
#define IMMURE_PROOF_TIMEOUT_MS 20000

enum immure_proof_verdict {
	IMMURE_PROOF_SHORT,
	IMMURE_PROOF_HELD,
	IMMURE_PROOF_NOT_APPLICABLE,
};

struct immure_proof_point {
	const char *id;        /* "network_egress.tcp4-host" */
	const char *dimension; /* DESIGN's name, or "control" */
	const char *asked;     /* what the plan asks for, with the policy key */
	const char *mechanism; /* what enforces it */
	const char *attempted; /* what was tried */
	const char *observed;  /* what happened, "" when nothing was heard */
	const char *reason;    /* why short or not applicable, "" when held */
	int32_t errnum;        /* errno (or signal, when killed) seen inside, 0 = none */
	enum immure_proof_verdict verdict;
};

struct immure_proof {
	struct immure_arena arena;
	const char *backend;
	const char *policy_version;
	const char *plan_hash;
	const char *network; /* which way of catching names there was, "" = none is limited */
	struct immure_proof_point *points;
	size_t n;
	size_t held, fell_short, not_applicable;
	const char *trouble; /* what was wrong with the attacker's report as a whole, "" = nothing */
};

/* How the attacker ended. */
struct immure_attack_exit {
	int32_t code;    /* exit status, -1 when it did not exit */
	int32_t signo;   /* that killed it, 0 = none */
	bool timed_out;  /* we killed it */
};

/* Appends the text that tells the attacker what to attack. */
int32_t immure_proof_targets(const struct immure_plan *plan, const struct immure_bait *bait,
			     struct immure_buf *out, struct immure_error **err);

/* records: all that was read from the attacker (at most IMMURE_PROOF_RECORDS_MAX
 * bytes; more is treated as garbage). Fails only for lack of memory: bad
 * evidence is a proof with points that fell short, not an error. */
int32_t immure_proof_evaluate(const struct immure_plan *plan, const struct immure_bait *bait,
			      const void *records, size_t len,
			      const struct immure_attack_exit *how, struct immure_proof **ret,
			      struct immure_error **err);
void immure_proof_free(struct immure_proof *p);

/* True when no point fell short and something held at all. */
bool immure_proof_holds(const struct immure_proof *p);
/* "71 points held, 0 fell short, 6 not applicable" */
void immure_proof_summary(const struct immure_proof *p, struct immure_buf *out);
/* Points grouped by dimension, then the summary. */
void immure_proof_print(const struct immure_proof *p, struct immure_buf *out);
void immure_proof_json(const struct immure_proof *p, struct immure_jsonw *w, const char *key);

#endif
