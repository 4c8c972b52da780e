/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/answer.h"

#include <string.h>

void immure_answer_bounded(struct immure_verdict *v, int outcome, const char *name)
{
	const char *why = "out of memory";

	if (outcome == IMMURE_SYNTH_FULL)
		why = "no room for another name";
	else if (outcome == IMMURE_SYNTH_LONG)
		why = "more label bytes than a wildcard allows";
	else if (outcome == IMMURE_SYNTH_FAST)
		why = "too many new names below wildcards";
	(void)immure_verdict_deny(v, NULL, "%s: %s", name, why);
}

/* The name of one of our addresses. */
static enum immure_answer_outcome pointer(const struct immure_synth *s,
					  enum immure_host_kind kind,
					  const unsigned char address[16],
					  struct immure_dns_answer *a)
{
	a->name = immure_synth_name(s, kind, address);
	if (a->name)
		a->type = IMMURE_DNS_PTR;
	else
		a->rcode = IMMURE_DNS_NXDOMAIN;
	return IMMURE_ANSWER_GIVEN;
}

static enum immure_answer_outcome decide(const struct immure_judge *j, struct immure_synth *s,
					 bool six, const struct immure_dns_query *q,
					 uint64_t now_ms, struct immure_dns_answer *a,
					 struct immure_verdict *v)
{
	unsigned char address[16];
	enum immure_host_kind kind;
	uint32_t number = 0;
	size_t wild = 0;
	int r;

	if (q->strange) {
		a->rcode = IMMURE_DNS_NXDOMAIN;
		(void)immure_verdict_deny(v, NULL, "a name that no host has");
		return IMMURE_ANSWER_DENIED;
	}
	if (!q->name[0]) /* the root exists, and has nothing for anybody here */
		return IMMURE_ANSWER_GIVEN;
	if (q->type == IMMURE_DNS_PTR && immure_dns_reverse(q->name, &kind, address) == 0)
		return pointer(s, kind, address, a);
	if (immure_judge_name(j, q->name, &wild, v) != IMMURE_VERDICT_ALLOW) {
		a->rcode = IMMURE_DNS_NXDOMAIN;
		return IMMURE_ANSWER_DENIED;
	}
	if (q->type != IMMURE_DNS_A && !(six && q->type == IMMURE_DNS_AAAA))
		return IMMURE_ANSWER_GIVEN;
	r = immure_synth_add(s, q->name, wild, now_ms, &number);
	if (r != IMMURE_SYNTH_OK) {
		/* A name that is too long stays so; the others may pass later. */
		a->rcode = r == IMMURE_SYNTH_LONG ? IMMURE_DNS_NXDOMAIN : IMMURE_DNS_SERVFAIL;
		immure_answer_bounded(v, r, q->name);
		return IMMURE_ANSWER_BOUNDED;
	}
	a->type = q->type;
	immure_synth_address(s, q->type == IMMURE_DNS_A ? IMMURE_HOST_NET4 : IMMURE_HOST_NET6,
			     number, a->address);
	return IMMURE_ANSWER_GIVEN;
}

enum immure_answer_outcome immure_answer(const struct immure_judge *j, struct immure_synth *s,
					 bool six, const unsigned char *msg, size_t len,
					 uint64_t now_ms, unsigned char *out, size_t *ret_len,
					 char ret_name[IMMURE_HOST_NAME_MAX + 1],
					 struct immure_verdict *ret_verdict)
{
	enum immure_answer_outcome outcome = IMMURE_ANSWER_REJECTED;
	struct immure_dns_answer a = { 0 };
	struct immure_dns_query q;
	int r = immure_dns_parse(msg, len, &q);

	ret_name[0] = '\0';
	if (r < 0)
		return IMMURE_ANSWER_SILENT;
	a.rcode = r;
	memcpy(ret_name, q.name, sizeof(q.name));
	if (r == IMMURE_DNS_NOERROR)
		outcome = decide(j, s, six, &q, now_ms, &a, ret_verdict);
	r = immure_dns_respond(&q, &a, out, IMMURE_DNS_RESPONSE_MAX);
	if (r < 0)
		return IMMURE_ANSWER_SILENT;
	*ret_len = (size_t)r;
	return outcome;
}
