/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes made after a template.
 *
 * The template is the init of a sealed place whose view is built and which never runs
 * anything there: it keeps its capabilities in the session's user namespace and makes,
 * by a clone of itself, one sandbox after the other. Each is a child that is pid 1 of
 * namespaces of its own, gives itself what may not be shared (fresh.h), goes down to a
 * user namespace of its own, and closes in like any other init. Then it waits for one
 * command, runs it, reports its end, and is gone with everything in it.
 *
 *   MAKING   a child on its way; the template hears READY or FAILED from it
 *   READY    closed in, waits for a request
 *   USED     was handed a request: its command, once. When that has ended, which is
 *            answered at once, the kernel still takes the sandbox apart.
 *
 * A request comes over a lane and is handed on as it is, with the lane itself, over which
 * the sandbox answers directly. The template reads no more of it than its head. It
 * remembers whose it is: orders go to the right one, and the end of the lane is its end.
 * Nothing that ran in a sandbox can reach the template: it is outside of that pid
 * namespace, and the only line to it is pid 1's.
 */
#ifndef IMMURE_INIT_ZYGOTE_H
#define IMMURE_INIT_ZYGOTE_H

#include "init/fresh.h"
#include "init/serving.h"

enum {
	IMMURE_ZYGOTE_MOST = 512,   /* alive at a time; as many more may be about to vanish */
	IMMURE_ZYGOTE_LANES = 256,
};

/* Until the supervisor ends. Returns only when no sandbox can be made at first: -errno,
 * with *step set; what it was is said already when step->subject is NULL. */
int immure_zygote_serve(struct immure_serving *s, struct immure_init_step *step);

/* All but init's own and those of the leaves. 0 or -errno. */
int immure_zygote_close_fds(struct immure_serving *s, struct immure_init_step *step);

/* single.c: the child. ctl_fd: its line to the template; net_fd: the network namespace
 * to enter, -1 = none. */
struct immure_single {
	const struct immure_init *in;
	const struct immure_fresh *fresh;
	int signal_fd, ctl_fd, net_fd;
	const struct immure_cgroup *leaf; /* NULL = none */
	struct immure_execs *execs;
	struct immure_init_shared *shared; /* its own; the template looks there whether it has ended */
};
__attribute__((noreturn)) void immure_single_main(const struct immure_single *o);

#endif
