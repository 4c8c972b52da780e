/* SPDX-License-Identifier: Apache-2.0 */
/* The session's network namespace. Making one costs the kernel as much as all
 * mounts together, so a helper that shares init's memory makes it on another
 * CPU while init builds the view; init joins it when it is needed. Or one was begun
 * even before (backend/ahead.h). */
#ifndef IMMURE_INIT_NETNS_H
#define IMMURE_INIT_NETNS_H

#include <stdbool.h>

enum { IMMURE_NETNS_STACK = 16384 };

struct immure_init_net {
	bool wanted, joined, loopback;
	bool ahead;           /* one that was made before init was comes by ahead_fd */
	int ahead_fd;
	long pid;             /* of the helper, 0 = none */
	volatile long result; /* of the helper: the namespace's descriptor or -errno */
	char *stack;          /* the helper's */
};

/* 0 or -errno. */
int immure_init_net_start(struct immure_init_net *n);
/* Waits for the helper and enters what it made. Idempotent. */
int immure_init_net_join(struct immure_init_net *n);
/* Waits for the helper; the descriptor of what it made, for somebody else to enter, or
 * -errno. Whoever reaps all children sets pid to 0 when the helper was among them. */
int immure_init_net_take(struct immure_init_net *n);

#endif
