/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one supervised run, shared by the files that carry it through:
 * supervise.c (make and take down) and loop.c (meanwhile). */
#ifndef IMMURE_SESSION_RUN_H
#define IMMURE_SESSION_RUN_H

#include <signal.h>
#include <time.h>

#include "session/relay.h"
#include "session/runlog.h"
#include "session/sealed.h"
#include "session/supervise.h"
#include "session/terminal.h"

enum { RELAY_OUT, RELAY_ERR, RELAY_TTY_IN, RELAY_MAX };

struct immure_run {
	const struct immure_plan *plan;
	const struct immure_supervise_options *o;
	struct immure_result *result;
	struct immure_error **err;

	struct immure_sealed sealed;
	struct immure_runlog log;
	int signal_fd, timer_fd;
	sigset_t saved_mask;
	struct sigaction saved_chld;
	bool chld_changed;
	int stdio[3];      /* what the command gets as 0..2 */
	int null_fd;
	int pipe_fd[2][2]; /* stdout and stderr when they are relayed */
	struct immure_terminal terminal;
	struct immure_relay relay[RELAY_MAX];
	struct immure_output_count count;

	char approval[IMMURE_CONTROL_TOKEN];
	bool *allowed;     /* by the mediator: also for another attempt */
	bool ready, started, exited, init_gone;
	bool blind; /* it cannot be watched any more, and may have run */
	bool alone;        /* of what was inside only init is left */
	int status;        /* wait status of the command */
	int signals;       /* how many the caller sent */
	bool timed_out, killed, over_memory, interrupted, attacking;
	unsigned int notes; /* lines that were told meanwhile */
	bool rejected;     /* by what was executed before the command */
	int attack_status;
	struct immure_cgroup_stats before; /* what the attack ran into on purpose */
	struct immure_init_msg failure; /* type set when init refused */
};

/* Until the command has ended, or init refused. 0, or a negative code. */
int32_t immure_run_loop(struct immure_run *run);
/* Copies what is still in the pipes after everything inside is gone. */
void immure_run_drain(struct immure_run *run);
/* SIGKILL to init, and so to everything inside. */
void immure_run_kill(struct immure_run *run);
uint64_t immure_run_now(void);

#endif
