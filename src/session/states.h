/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a session, and which request is legal in which: one table. */
#ifndef IMMURE_SESSION_STATES_H
#define IMMURE_SESSION_STATES_H

enum immure_state {
	IMMURE_STATE_NEW,      /* a plan, nothing made yet */
	IMMURE_STATE_PREPARED, /* cgroup and init are being made, or made and wait for a caller's plan */
	IMMURE_STATE_RUNNING,
	IMMURE_STATE_FROZEN,   /* nobody inside runs; by request, or because it was idle */
	IMMURE_STATE_STOPPING, /* what runs was told to end */
	IMMURE_STATE_EXITED,   /* everything inside is dead; cleaning up */
	IMMURE_STATE_SEALED,   /* only the record is left */
	IMMURE_STATE_MAX,
};

enum immure_request {
	IMMURE_REQ_HELLO, /* always first */
	IMMURE_REQ_CREATE,
	IMMURE_REQ_TAKE,
	IMMURE_REQ_LEND,
	IMMURE_REQ_EXEC,
	IMMURE_REQ_ATTACH,
	IMMURE_REQ_INPUT,
	IMMURE_REQ_RESIZE,
	IMMURE_REQ_SIGNAL,
	IMMURE_REQ_WAIT,
	IMMURE_REQ_EXECS,
	IMMURE_REQ_OUTPUT,
	IMMURE_REQ_FORGET,
	IMMURE_REQ_INSPECT,
	IMMURE_REQ_STATS,
	IMMURE_REQ_FREEZE,
	IMMURE_REQ_THAW,
	IMMURE_REQ_LIMITS,
	IMMURE_REQ_LEASE,
	IMMURE_REQ_DETACH,
	IMMURE_REQ_LANE,
	IMMURE_REQ_ROOT,
	IMMURE_REQ_FILE,
	IMMURE_REQ_MOUNT,
	IMMURE_REQ_UNMOUNT,
	IMMURE_REQ_NET,
	IMMURE_REQ_TIGHTEN,
	IMMURE_REQ_PROOF,
	IMMURE_REQ_SNAPSHOT,
	IMMURE_REQ_STOP,
	IMMURE_REQ_MAX,
};

enum immure_permit {
	IMMURE_PERMIT_NO,
	IMMURE_PERMIT_YES,
	IMMURE_PERMIT_DONE, /* it is so already: success, nothing is done */
};

const char *immure_state_name(enum immure_state s);
const char *immure_request_name(enum immure_request r);
/* IMMURE_REQ_MAX when there is none of that name. */
enum immure_request immure_request_by_name(const char *name);
enum immure_permit immure_permit(enum immure_request r, enum immure_state s);
/* Whether it starts nothing and keeps nothing: who finds all connections taken may. */
int immure_request_is_spare(enum immure_request r);
/* Whether a session may go from one state to the other. */
int immure_state_may_become(enum immure_state from, enum immure_state to);

#endif
