/* SPDX-License-Identifier: Apache-2.0 */
/* What a sealed-in command was refused, seen from outside by tracing it: for explain.c. */
#ifndef IMMURE_CLI_OBSERVE_H
#define IMMURE_CLI_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum immure_refused {
	IMMURE_REFUSED_READ,    /* a file, or a directory's list */
	IMMURE_REFUSED_WRITE,   /* what is there */
	IMMURE_REFUSED_CHANGE,  /* an entry of a directory: made, removed, renamed */
	IMMURE_REFUSED_EXECUTE,
	IMMURE_REFUSED_CONNECT, /* a unix socket */
	IMMURE_REFUSED_DIAL,    /* an address of a network: path is "ADDRESS:PORT" */
	IMMURE_REFUSED_CALL,    /* a system call as such: path is its name */
};

struct immure_refusal {
	enum immure_refused what;
	int errnum;
	uint64_t count;
	char program[16]; /* who was refused first */
	char *path;       /* absolute, inside */
};

enum { IMMURE_OBSERVED_MAX = 1000 };

struct immure_observed {
	struct immure_refusal *v;
	size_t n;
	uint64_t dropped; /* distinct ones beyond that many */
};

/* Starts argv and follows it to its end. What is recorded are calls of processes that a
 * system call filter more than ours holds: those that are sealed in. 0 with its wait status, or
 * -errno: it could not be traced, and was killed. */
int immure_observe(char *const argv[], int stdout_fd, struct immure_observed *ret, int *ret_status);
void immure_observed_done(struct immure_observed *o);

/* observe_call.c: what a call that failed was about; false: nothing of interest. The
 * process is stopped. path: PATH_MAX bytes. */
bool immure_observe_call(pid_t pid, uint64_t nr, const uint64_t args[6], int errnum,
			 enum immure_refused *ret, char *path);

#endif
