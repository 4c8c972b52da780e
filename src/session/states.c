/* SPDX-License-Identifier: Apache-2.0 */
#include "session/states.h"

#include <string.h>

/* One column a state: New, Prepared, Running, Frozen, stOpping, Exited, Sealed.
 * '-' refused, 'y' legal, '=' done already. What a client may ask of a frozen
 * session does not need anybody inside to run; an exec wakes one that is frozen
 * because it was idle, which the server knows and this table does not. */
static const struct {
	const char *name, *in; /*    NPRFOES */
	int spare; /* may be asked over a connection that is one too many */
} requests[IMMURE_REQ_MAX] = {
	[IMMURE_REQ_HELLO] =   { "hello",   "yyyyyyy", 1 },
	[IMMURE_REQ_CREATE] =  { "create",  "y------" },
	[IMMURE_REQ_TAKE] =    { "take",    "-y-----" },
	[IMMURE_REQ_LEND] =    { "lend",    "--y----" },
	[IMMURE_REQ_EXEC] =    { "exec",    "--y----" },
	[IMMURE_REQ_ATTACH] =  { "attach",  "--yyyy-" },
	[IMMURE_REQ_INPUT] =   { "input",   "--yyy--" },
	[IMMURE_REQ_RESIZE] =  { "resize",  "--yyy--" },
	[IMMURE_REQ_SIGNAL] =  { "signal",  "--yyy--", 1 },
	[IMMURE_REQ_WAIT] =    { "wait",    "--yyyy-" },
	[IMMURE_REQ_EXECS] =   { "execs",   "--yyyy-", 1 },
	[IMMURE_REQ_OUTPUT] =  { "output",  "--yyyy-", 1 },
	[IMMURE_REQ_FORGET] =  { "forget",  "--yy---" },
	[IMMURE_REQ_INSPECT] = { "inspect", "yyyyyyy", 1 },
	[IMMURE_REQ_STATS] =   { "stats",   "--yyyy-", 1 },
	[IMMURE_REQ_FREEZE] =  { "freeze",  "--y=---", 1 },
	[IMMURE_REQ_THAW] =    { "thaw",    "--=y---", 1 },
	[IMMURE_REQ_LIMITS] =  { "limits",  "--yy---" },
	[IMMURE_REQ_LEASE] =   { "lease",   "--yy---" },
	[IMMURE_REQ_DETACH] =  { "detach",  "--yy---" },
	[IMMURE_REQ_LANE] =    { "lane",    "--yy---" },
	[IMMURE_REQ_ROOT] =    { "root",    "--yy---" },
	[IMMURE_REQ_FILE] =    { "file",    "--y----" },
	[IMMURE_REQ_MOUNT] =   { "mount",   "--yy---" },
	[IMMURE_REQ_UNMOUNT] = { "unmount", "--yy---" },
	[IMMURE_REQ_NET] =     { "net",     "--yy---" },
	[IMMURE_REQ_TIGHTEN] = { "tighten", "--yy---" },
	[IMMURE_REQ_PROOF] =   { "proof",   "--yyyy-" },
	[IMMURE_REQ_SNAPSHOT] = { "snapshot", "--yy---" },
	[IMMURE_REQ_STOP] =    { "stop",    "yyyy===", 1 },
};

static const struct {
	const char *name, *to; /* 'y' under the states it may become */
} states[IMMURE_STATE_MAX] = { /*      NPRFOES */
	[IMMURE_STATE_NEW] =      { "NEW",      "-y--yy-" },
	[IMMURE_STATE_PREPARED] = { "PREPARED", "--y-yy-" },
	[IMMURE_STATE_RUNNING] =  { "RUNNING",  "---yyy-" },
	[IMMURE_STATE_FROZEN] =   { "FROZEN",   "--y-yy-" },
	[IMMURE_STATE_STOPPING] = { "STOPPING", "-----y-" },
	[IMMURE_STATE_EXITED] =   { "EXITED",   "------y" },
	[IMMURE_STATE_SEALED] =   { "SEALED",   "-------" },
};

const char *immure_state_name(enum immure_state s)
{
	return s < IMMURE_STATE_MAX ? states[s].name : "?";
}

const char *immure_request_name(enum immure_request r)
{
	return r < IMMURE_REQ_MAX ? requests[r].name : "?";
}

enum immure_request immure_request_by_name(const char *name)
{
	for (int i = 0; i < IMMURE_REQ_MAX; i++)
		if (strcmp(requests[i].name, name) == 0)
			return (enum immure_request)i;
	return IMMURE_REQ_MAX;
}

enum immure_permit immure_permit(enum immure_request r, enum immure_state s)
{
	if (r >= IMMURE_REQ_MAX || s >= IMMURE_STATE_MAX)
		return IMMURE_PERMIT_NO;
	switch (requests[r].in[s]) {
	case 'y':
		return IMMURE_PERMIT_YES;
	case '=':
		return IMMURE_PERMIT_DONE;
	default:
		return IMMURE_PERMIT_NO;
	}
}

int immure_request_is_spare(enum immure_request r)
{
	return r < IMMURE_REQ_MAX && requests[r].spare;
}

int immure_state_may_become(enum immure_state from, enum immure_state to)
{
	return from < IMMURE_STATE_MAX && to < IMMURE_STATE_MAX && states[from].to[to] == 'y';
}
