/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asked before a command starts (mediator.*): a conversation of one line each
 * way, in a process of its own, so that whoever waits for the verdict waits on a
 * descriptor. docs/PROTOCOL.md has the form. */
#ifndef IMMURE_SESSION_MEDIATE_H
#define IMMURE_SESSION_MEDIATE_H

#include <sys/types.h>

#include "plan/plan.h"

enum { IMMURE_MEDIATE_REASON = 200, IMMURE_MEDIATE_TOKEN = 128 };

enum immure_decision { IMMURE_DECISION_DENY, IMMURE_DECISION_ALLOW, IMMURE_DECISION_PENDING };

/* What comes over the descriptor, once. */
struct immure_verdict {
	uint32_t decision; /* zero is a denial */
	uint32_t failed;   /* nobody decided: it was not reached, late, or not understood */
	uint64_t retry_ms;
	char reason[IMMURE_MEDIATE_REASON];
	char token[IMMURE_MEDIATE_TOKEN];
};

struct immure_mediate_about {
	const char *const *argv;
	const char *const *env; /* for PATH */
	const char *cwd;
	const char *session;    /* its id; "" of a run */
	const char *approval;   /* a token of an earlier pending answer, NULL = none */
};

struct immure_mediation {
	int fd; /* readable: there is a verdict, or its end, which is a denial. -1 = none */
	pid_t pid;
};

/* 0, -errno. Only where the plan has a mediator. */
int immure_mediate_start(const struct immure_plan *plan, const struct immure_mediate_about *about,
			 struct immure_mediation *ret);
/* When fd is readable. Never fails: what is not an allow denies. */
void immure_mediate_read(struct immure_mediation *m, struct immure_verdict *ret);
/* Also before there is a verdict: then whoever asks is killed. */
void immure_mediate_end(struct immure_mediation *m);
/* For anything but an allow: the refusal. */
int32_t immure_mediate_refusal(const struct immure_plan *plan, const struct immure_verdict *v,
			       const char *what, struct immure_error **err);

/* ---- mediate_talk.c ---- */

/* The whole conversation: blocks, for as long as the plan says at most. line ends in
 * a newline. again: the line for a further question, with the token of the last answer. */
struct immure_mediate_talk {
	const struct immure_op *op;
	const char *line;
	char *(*again)(void *ctx, const char *token); /* caller frees */
	void *ctx;
};
void immure_mediate_talk(const struct immure_mediate_talk *t, struct immure_verdict *ret);
/* One answer: strict. text is changed; text[len] must be writable. */
void immure_mediate_parse(char *text, size_t len, struct immure_verdict *ret);

#endif
