/* SPDX-License-Identifier: Apache-2.0 */
/* This host's own addresses, kept current by a routing socket that is opened once
 * and only listens and asks. */
#ifndef IMMURE_EGRESS_OWN_H
#define IMMURE_EGRESS_OWN_H

#include "egress/judge.h"

struct immure_own {
	int fd;                       /* readable: call refresh */
	struct immure_judge_net *net; /* the synthetic prefixes first, then addresses */
	size_t n, cap, fixed;
	bool global6;                 /* some IPv6 address of the host leads further */
};

/* fixed: what is always among them. -errno. */
int immure_own_init(struct immure_own *o, const struct immure_judge_net *fixed, size_t n);
/* Reads everything anew. On failure the list is the old one and -errno: what can
 * no longer be known is a reason to stop. */
int immure_own_refresh(struct immure_own *o);
void immure_own_done(struct immure_own *o);

#endif
