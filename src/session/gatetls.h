/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's side of interception: immure-intercept is started before anything of the
 * session exists, since what it is trusted by is part of what is seen inside, and is never
 * started again: another one would have another authority, and no secrets. When it has ended,
 * what rules ask it for is refused.
 */
#ifndef IMMURE_SESSION_GATETLS_H
#define IMMURE_SESSION_GATETLS_H

#include "egress/lendmsg.h"
#include "plan/plan.h"

struct immure_gatekeeper;

struct immure_gate_tls {
	bool on, ended;        /* it runs; it did */
	int wire_fd, pidfd;
	pid_t pid;
	uint64_t last_id, answered;
	struct immure_wire_done done;
	char failed_why[IMMURE_WIRE_TEXT];
	char placeholder[IMMURE_LEND_SECRETS][IMMURE_LEND_PLACEHOLDER];
	char *bundle;          /* certificates to be trusted inside, PEM */
	struct immure_arena arena;
	struct immure_plan plan; /* with what is made at the start in its place */
};

void immure_gate_tls_init(struct immure_gate_tls *t);
/* egress: path of immure-egress, beside which it lies; NULL: the installed one. */
int32_t immure_gate_tls_start(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      const char *egress, struct immure_error **err);
/* A new worker's socket to it, to be sent as LINK; -1: there is none. */
int immure_gate_tls_link(struct immure_gatekeeper *g);
/* It said something, or ended. */
void immure_gate_tls_step(struct immure_gatekeeper *g);
/* Rules that are in force for new connections now, and for those that it has. */
void immure_gate_tls_rules(struct immure_gatekeeper *g);
void immure_gate_tls_end(struct immure_gatekeeper *g);
void immure_gate_tls_done(struct immure_gate_tls *t);

#endif
