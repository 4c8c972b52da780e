/* SPDX-License-Identifier: Apache-2.0 */
/* A command's DNS question to the bytes of its answer, by the rules of
 * docs/EGRESS.md: judge and name table together, nothing asked upstream. */
#ifndef IMMURE_EGRESS_ANSWER_H
#define IMMURE_EGRESS_ANSWER_H

#include "egress/dns.h"
#include "egress/judge.h"
#include "egress/synth.h"

enum immure_answer_outcome {
	IMMURE_ANSWER_SILENT,   /* no answer is due; nothing was written */
	IMMURE_ANSWER_GIVEN,
	IMMURE_ANSWER_DENIED,   /* NXDOMAIN because of the rules: ret_verdict says which */
	IMMURE_ANSWER_BOUNDED,  /* allowed, but no room or too many labels: an error code */
	IMMURE_ANSWER_REJECTED, /* no question of ours: an error code */
};

/* six: whether the session has the synthetic IPv6 prefix. out holds
 * IMMURE_DNS_RESPONSE_MAX bytes. ret_name: the name asked for, "" when there was
 * none; ret_verdict is set for DENIED and, with a reason, for BOUNDED. */
enum immure_answer_outcome immure_answer(const struct immure_judge *j, struct immure_synth *s,
					 bool six, const unsigned char *msg, size_t len,
					 uint64_t now_ms, unsigned char *out, size_t *ret_len,
					 char ret_name[IMMURE_HOST_NAME_MAX + 1],
					 struct immure_verdict *ret_verdict);
/* The denial of a name that rules allow and bounds do not: what immure_synth_add()
 * returned, in words. */
void immure_answer_bounded(struct immure_verdict *v, int outcome, const char *name);

#endif
