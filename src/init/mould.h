/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view of files that many sessions of one plan are made after, at one time. It is built
 * once, in a user and a mount namespace of its own, by a process that ends when that is done.
 * A session is born with a copy of its mounts (backend/ahead.h), gives itself what nobody
 * else may have (fresh.h), goes down to a user namespace of its own and closes in like any.
 * No process stays in the mould's: nothing inside a session has rights over what they own.
 *
 * It stands for a moment only: whoever makes sessions after it looks in the end whether
 * the host still is what it was made from, and if not, makes none of them so.
 */
#ifndef IMMURE_INIT_MOULD_H
#define IMMURE_INIT_MOULD_H

#include <stdbool.h>

#include "init/fresh.h"

struct immure_mould {
	struct immure_fresh fresh;
	int user_fd, mount_fd; /* its namespaces */
	int host_fd;           /* a mount namespace that has the host's tree, to attach from; -1 = none */
};

/* The descriptors that come with READY. */
enum immure_mould_fd {
	IMMURE_MOULD_ROOT, /* O_PATH: its root */
	IMMURE_MOULD_USER,
	IMMURE_MOULD_MOUNT,
	IMMURE_MOULD_HOST,    /* only where it is asked for */
	IMMURE_MOULD_MAX
};

struct immure_mould_make {
	const struct immure_plan *plan;
	const bool *needed;         /* immure_fresh_needs() of each operation */
	struct immure_fresh *fresh; /* shared with who asked: written before READY is said */
	int line_fd;                /* READY or FAILED is said there */
	bool keep_host;
};

/* Whether sessions of the plan can be made so; a pure function of it. */
bool immure_mould_can(const struct immure_plan *p);
/* In a process with the plan's namespaces but the network's and the cgroup's. */
__attribute__((noreturn)) void immure_mould_main(const struct immure_mould_make *o);

#endif
