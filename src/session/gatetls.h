/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's side of interception: immure-intercept is started before anything of the
 * session exists, since what it is trusted by is part of what is seen inside. When it ends its
 * connections are cut, and it is started again: with the rules of that moment, and with the same
 * authority, which is in memory that is handed to it and that nobody reads here. Until it is ready,
 * and when it ended too often, what rules ask it for is refused.
 */
#ifndef IMMURE_SESSION_GATETLS_H
#define IMMURE_SESSION_GATETLS_H

#include <time.h>

#include "egress/lendmsg.h"
#include "plan/plan.h"

struct immure_gatekeeper;

struct immure_gate_tls {
	bool there, on, ended; /* it runs; and is ready; it is not started any more */
	int wire_fd, pidfd;
	int program_fd, roots_fd, authority_fd; /* for one that is started anew */
	int source_fd[IMMURE_LEND_SECRETS];     /* files that secrets are in */
	bool brought;          /* values of variables came with the caller; ours are another's */
	char pem[IMMURE_LEND_PEM];              /* its certificate */
	uint32_t deaths, recent;
	time_t first_death;
	uint64_t unanswered;   /* rules that it had no time yet to take; 0 = none */
	pid_t pid;
	uint64_t last_id, answered;
	struct immure_wire_done done;
	char failed_why[IMMURE_WIRE_TEXT];
	char placeholder[IMMURE_LEND_SECRETS][IMMURE_LEND_PLACEHOLDER];
	struct immure_needle needles[2 * IMMURE_LEND_SECRETS]; /* by number; of length 0: none */
	size_t needles_n;
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
/* The session runs again. */
void immure_gate_tls_resumed(struct immure_gatekeeper *g);
void immure_gate_tls_done(struct immure_gatekeeper *g);

/* gatekeeper.c: what it says is heard by step(). */
bool immure_gate_tls_watch(struct immure_gatekeeper *g);
/* gatesecret.c: one more secret is on its way. */
int32_t immure_gate_tls_secret(struct immure_gate_tls *t, const struct immure_plan *plan,
			       const struct immure_op *op, struct immure_error **err);

#endif
