/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a gatekeeper, shared by gatekeeper.c (the worker's life), gatehear.c
 * (what it says), gateplan.c (what it is told) and gatelog.c (what it denied). */
#ifndef IMMURE_SESSION_GATEKEEP_H
#define IMMURE_SESSION_GATEKEEP_H

#include "egress/wire.h"
#include "session/broker.h"
#include "session/gatekeeper.h"
#include "session/gatetls.h"

enum immure_gate_state { IMMURE_GATE_IDLE, IMMURE_GATE_RUNNING, IMMURE_GATE_CLOSED };

/* Distinct denials and failures that are kept; more are counted. */
enum { IMMURE_GATE_DENIALS = 256 };

struct immure_gate_rules {
	struct immure_arena arena;
	struct immure_strv allow, deny;
	bool inside; /* a rule is about methods or paths inside TLS */
	struct immure_rtnl_net *nets;
	size_t nets_n;
};

struct immure_gatekeeper {
	struct immure_arena arena; /* of denials */
	enum immure_gate_state state;
	bool adopted;
	int epoll_fd, activate_fd; /* the second: the listeners, watched as one */
	int program_fd;
	int init_pid;
	struct immure_netplumb plumb;
	struct immure_rtnl_setup routes;
	int userns_fd, netns_fd;
	const struct immure_metadata *metadata; /* beside the broker; NULL = nobody */
	struct immure_broker broker; /* where there is no namespace: instead of the plumbing */
	bool proxy;
	int listeners[IMMURE_EGRESS_PUBLISH_MAX];

	struct immure_gate_rules rules;
	struct immure_egress_config config; /* its rules are those of `rules` */
	struct immure_cgroup *within; /* the worker is in it as well; NULL: nothing bounds the session so */
	bool paused;                  /* with the session, by that */
	uint32_t unanswered;          /* new rules that it had no time yet to take; 0 = none */
	int wire_fd, pidfd;
	struct immure_gate_tls tls;
	int hostwatch_fd; /* -1 = not (yet) watched */
	pid_t pid;
	uint32_t last_id, answered;
	struct immure_wire_done done;
	uint32_t starts, deaths, recent;
	uint64_t first_death;
	uint64_t wants_s;          /* in this second … */
	uint32_t wants_n;          /* … so many times sockets were asked for */
	uint32_t whose_ms;         /* spent in looking for culprits, less what time gives back */
	uint64_t whose_at_ms;
	char way[IMMURE_NETPLUMB_WAY_TEXT]; /* how names are caught here, "" = they are not, or not yet known */
	char closed_why[128], failed_why[IMMURE_WIRE_TEXT];

	struct immure_wire_stats stats, total; /* of this worker, of those before */
	struct immure_denial denials[IMMURE_GATE_DENIALS];
	bool told[IMMURE_GATE_DENIALS]; /* people know of it */
	size_t denials_n;
	uint64_t denials_more;
	uint64_t forgotten; /* of what was lost */
	immure_gate_tell *tell;
	void *tell_ctx;
};

/* gatekeeper.c: starts the worker if none runs. false: there is none. */
bool immure_gate_wake(struct immure_gatekeeper *g);

/* ---- gatehear.c ---- */

/* All that waits. false: the worker is gone, or says what it must not. */
bool immure_gate_hear(struct immure_gatekeeper *g);
/* The answer to request `id`; what else it says meanwhile is heard as well. */
bool immure_gate_answer(struct immure_gatekeeper *g, uint32_t id, int timeout_ms);

/* ---- gateplan.c ---- */

int32_t immure_gate_open_program(struct immure_gatekeeper *g, const char *program,
				 struct immure_error **err);
int32_t immure_gate_configure(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      struct immure_error **err);
int32_t immure_gate_attribute(struct immure_gatekeeper *g, const struct immure_plan *plan,
			      const char *session, struct immure_error **err);
/* Where secrets of this plan go; part of the former. */
int32_t immure_gate_secrets(struct immure_gatekeeper *g, const struct immure_plan *plan, struct immure_error **err);
/* Copies, checks, and finds what is by address. */
int32_t immure_gate_rules_take(struct immure_gate_rules *r, const struct immure_strv *allow,
			       const struct immure_strv *deny, struct immure_error **err);
void immure_gate_rules_use(struct immure_gatekeeper *g);
void immure_gate_rules_done(struct immure_gate_rules *r);

/* ---- gatelog.c ---- */

void immure_gate_denied(struct immure_gatekeeper *g, const struct immure_wire_denied *d);
void immure_gate_report(struct immure_gatekeeper *g, struct immure_result *result);

#endif
