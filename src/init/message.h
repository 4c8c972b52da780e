/* SPDX-License-Identifier: Apache-2.0 */
/* What passes between the supervisor and init: fixed records on a
 * SOCK_SEQPACKET pair that exists before init does. Init acknowledges and
 * reports; it never asks. */
#ifndef IMMURE_INIT_MESSAGE_H
#define IMMURE_INIT_MESSAGE_H

#include <stdint.h>

enum immure_init_msg_type {
	/* init -> supervisor */
	IMMURE_INIT_FAILED = 1, /* stage, op, errnum, subject: nothing of the payload ran */
	IMMURE_INIT_READY,      /* sealed in; one descriptor (pty master) when a terminal was asked for */
	IMMURE_INIT_EXITED,     /* status: wait status of the command; forks */
	IMMURE_INIT_OVER_MEMORY, /* the sampled sum passed the limit; everything was killed */
	/* supervisor -> init */
	IMMURE_INIT_MAPPED = 100, /* the id maps are written */
	IMMURE_INIT_EXEC,       /* run the plan's command */
	IMMURE_INIT_EXEC_FD,    /* run the program at descriptor 0 of the message, its
				 * stdin descriptor 1, its descriptor 3 descriptor 2 */
	IMMURE_INIT_SIGNAL,     /* status: signal number, to the command's process group */
};

struct immure_init_msg {
	uint32_t type;
	uint32_t stage; /* enum immure_stage */
	uint32_t op;    /* index into the plan's operations */
	int32_t errnum;
	int32_t status;
	uint32_t forks; /* processes and threads made in the session so far */
	uint64_t stage_ns[16]; /* CLOCK_MONOTONIC at the end of each stage, READY only */
	char subject[160];
};

#endif
