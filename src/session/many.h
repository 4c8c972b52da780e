/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many sessions of one plan at once, all of them or none. A process of its own, the
 * maker, reads the plan once and forks a server for each session, which shares with it
 * what neither of them writes. Until all of them are there, each ends with its line to
 * the maker; then one word in memory that all of them see lets all go in the same moment.
 * So whenever the maker is killed, there are all or none.
 */
#ifndef IMMURE_SESSION_MANY_H
#define IMMURE_SESSION_MANY_H

#include <stddef.h>

#include "plan/plan.h"
#include "session/serve.h"

enum { IMMURE_MANY_MAX = 4096 };

struct immure_many_options {
	const struct immure_plan *plan;
	const void *plan_data;
	size_t plan_len;
	const char *egress;
	int control_fd; /* taken: one request comes over it, as `create` with a "count" */
	void (*before)(void *ctx, struct immure_serve_options *o); /* in each server; may be NULL */
	void *ctx;
};

/* An exit status. */
int immure_sessions_make(const struct immure_many_options *o);

#endif
