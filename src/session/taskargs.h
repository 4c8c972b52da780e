/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of `exec`, read from its request. */
#ifndef IMMURE_SESSION_TASKARGS_H
#define IMMURE_SESSION_TASKARGS_H

#include "init/run.h"
#include "session/serve.h"

struct immure_task_args {
	struct immure_run_spec spec; /* pointers into the request and its arena */
	bool streamed[3];            /* the server makes a pipe for it */
	bool merge;                  /* stderr goes where stdout goes */
	bool follow, detach;
	const char *key;
	const char *approval;        /* of the mediator's, from an earlier time */
	unsigned char request[32];
	enum immure_capture capture;
	size_t capture_max;
	int data_fd;                 /* stdin's content */
	size_t data_len;
};

int32_t immure_task_args(struct immure_ask *a, struct immure_task_args *ret);
/* "TERM", "SIGTERM" or "15"; 0 when there is none. */
int immure_signal_number(const char *name);

#endif
