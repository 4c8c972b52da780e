/* SPDX-License-Identifier: Apache-2.0 */
/* The state of init, shared by the two files that carry it through: setup.c
 * (the plan's stages) and init.c (serving afterwards). */
#ifndef IMMURE_INIT_SERVING_H
#define IMMURE_INIT_SERVING_H

#include <sys/types.h>

#include "init/init.h"
#include "init/netns.h"

struct immure_serving {
	const struct immure_init *in;
	int signal_fd;
	int master_fd, slave_fd;
	pid_t current; /* the command, or the attacker; 0 = none */
	bool attacker;
	uint64_t stage_ns[16];
	struct immure_init_net net;
};

/* All stages up to seccomp, in their order. 0, or -errno with *step saying where. */
int immure_init_set_up(struct immure_serving *s, struct immure_init_step *step);

#endif
