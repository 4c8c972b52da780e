/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session is born in or under, begun ahead of the plan.
 *
 * A network namespace takes the kernel longer to make than everything else of a
 * session, and about as long as the plan. So where a plan of the native backend is
 * likely, a maker is started first: it makes the namespaces that every such plan has,
 * and another process beside it the network namespace, on another CPU, while the plan
 * is made. A session that is started from that plan is born in them, as a child of the
 * caller, and is handed the network namespace when it wants it. Whatever goes wrong
 * ahead is no error: then the session makes its own, and says what cannot be made.
 *
 * Without namespaces what takes as long is that the kernel compiles system call filters.
 * There the maker gives up what every such plan makes init give up (other groups, keys,
 * capabilities) and takes the filters, which permit all that init still has to do.
 *
 * For small single-threaded programs such as the launcher: the child is a copy of the
 * caller's memory.
 */
#ifndef IMMURE_BACKEND_AHEAD_H
#define IMMURE_BACKEND_AHEAD_H

#include <stdbool.h>

#include "kernel/seccomp.h"
#include "kernel/sys.h"

struct immure_ahead;

/* In the order in which they are installed; of those that init has, init.h. */
struct immure_ahead_filters {
	const struct immure_filter *beneath, *unanswered, *filter;
};

/* NULL: not here, or not now. loopback: bring it up as well. */
struct immure_ahead *immure_ahead_start(bool loopback);
struct immure_ahead *immure_ahead_start_filtered(const struct immure_ahead_filters *f);
/* The same where the session is to be one of many that are made after the same mounts: the
 * maker enters the two namespaces, whose owner's rights the caller has, and makes the network
 * namespace itself. The child has it from its birth, and of all else that the arguments name
 * but the user namespace one of its own, which is a copy of those mounts. Descriptors borrowed
 * until immure_ahead_end(). */
struct immure_ahead *immure_ahead_start_in(int user_fd, int mount_fd, bool loopback);
/* Whether it is one of those. */
bool immure_ahead_is_within(const struct immure_ahead *a);
/* Whether what is born there is under exactly these. */
bool immure_ahead_has(const struct immure_ahead *a, const struct immure_ahead_filters *f);
/* It is the only child that the caller had when it was started. */
bool immure_ahead_is_alone(const struct immure_ahead *a);
/* Once there is a child: the listener of the first filter, the caller's from now on; -1: none. */
int immure_ahead_take_listener(struct immure_ahead *a);
/* The same as immure_ahead_clone(), which must follow, but only begins it. */
void immure_ahead_order(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx);
/* clone3 with these arguments, which must name at least the namespaces made ahead and
 * CLONE_PIDFD; the child is the caller's and calls entry(ctx), which must not return.
 * Gives the pid, or -errno, and then there is no child; but -EOWNERDEAD: there may be one,
 * and when *args->pidfd was set, there is. Once. */
long immure_ahead_clone(struct immure_ahead *a, const struct immure_clone_args *args,
			void (*entry)(void *ctx), void *ctx);
/* The socket by which the child gets the network namespace: one message of an int, 0 or
 * -errno, and with 0 its descriptor. The end of file: the maker died. */
int immure_ahead_socket(const struct immure_ahead *a);
/* Whether the process that gave birth has not been waited for. */
bool immure_ahead_lingers(const struct immure_ahead *a);
/* Waits for the process that gave birth, which ends by itself when the child has all of it: for who goes
 * on for long. a may be NULL. */
void immure_ahead_reap(struct immure_ahead *a);
/* Ends what is left of it, once it was used or is not wanted; a may be NULL. */
void immure_ahead_end(struct immure_ahead *a);
void immure_ahead_free(struct immure_ahead *a);

#endif
