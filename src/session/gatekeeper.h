/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's side of the session's network: it holds what init handed
 * over, starts the worker (immure-egress) when the first connection or lookup
 * comes, tells it the policy, hears what was denied, and starts it again when it
 * ended, a bounded number of times, always with the policy of that moment.
 *
 *   IDLE     the listeners are watched; nothing runs
 *   RUNNING  the worker has copies of them; they are not watched
 *   CLOSED   for good: nothing holds a listener any more, the kernel refuses
 *
 * In IDLE and RUNNING connections wait in the listeners' queues. A worker's end
 * closes all its connections and allows none.
 */
#ifndef IMMURE_SESSION_GATEKEEPER_H
#define IMMURE_SESSION_GATEKEEPER_H

#include "init/message.h"
#include "plan/plan.h"
#include "session/result.h"

struct immure_cgroup;
struct immure_gatekeeper;
struct immure_wire_stats; /* egress/wire.h */

/* *ret NULL: the plan needs none. program: path of immure-egress; NULL: the installed
 * one. Binds the published ports of the host: a port that another program has is
 * a refusal. Nothing of the session exists yet. */
int32_t immure_gatekeeper_new(const struct immure_plan *plan, const char *program,
			      struct immure_gatekeeper **ret, struct immure_error **err);
/* All of these but new accept NULL and do nothing then. */
/* Starts whoever ends TLS, where the plan has one; program as for new. leaf: the session's, in which it
 * and the worker will be; borrowed; NULL: there is none. *plan becomes the plan as it is carried
 * out, with what was made for this session; for as long as g is there. session: its id, NULL: none. */
int32_t immure_gatekeeper_look_inside(struct immure_gatekeeper *g, struct immure_cgroup *leaf,
				      const char *program, const char *session, const struct immure_plan **plan,
				      struct immure_error **err);
/* Who answers the calls about files that come by the same listener; borrowed. g may be NULL. */
struct immure_metadata;
void immure_gatekeeper_metadata(struct immure_gatekeeper *g, const struct immure_metadata *m);
/* Takes over the descriptors of an IMMURE_INIT_NETWORK message, all of them, also
 * when it fails. init_pid: for finding out who was denied what. */
int32_t immure_gatekeeper_adopt(struct immure_gatekeeper *g, const struct immure_init_msg *m,
				int *fds, size_t n, int init_pid, struct immure_error **err);
/* How many processes of ours it has in there now. */
uint32_t immure_gatekeeper_members(const struct immure_gatekeeper *g);
/* Nothing in the leaf runs, the worker neither, or all of it again. */
void immure_gatekeeper_pause(struct immure_gatekeeper *g, bool paused);
/* Readable when step() has something to do; -1: nothing to watch. */
int immure_gatekeeper_fd(const struct immure_gatekeeper *g);
/* Never blocks longer than it takes to start a process. */
void immure_gatekeeper_step(struct immure_gatekeeper *g);
/* Other rules from now on, in the form of the policy keys. When it returns 0 they are
 * in force: connections that they do not allow are cut. When it fails with
 * IMMURE_ERR_POLICY nothing was changed; else the network is closed. */
int32_t immure_gatekeeper_set_rules(struct immure_gatekeeper *g, const struct immure_strv *allow,
				    const struct immure_strv *deny, struct immure_error **err);
/* Nobody has used it since the start: nothing was looked up, dialled or denied. */
bool immure_gatekeeper_untouched(const struct immure_gatekeeper *g);
/* By what the values of secrets are known in what is kept of the session; NULL: there are none. */
struct immure_needle;
const struct immure_needle *immure_gatekeeper_needles(const struct immure_gatekeeper *g, size_t *ret_n);
/* Before it looks inside, for a caller that is not who we have our environment from: the
 * value of secret `number` as a file in memory, taken. -1: none comes, from anywhere. */
int immure_gatekeeper_bring(struct immure_gatekeeper *g, uint64_t number, int *fd);
/* Which way of catching names this kernel had, "" for none. */
const char *immure_gatekeeper_way(const struct immure_gatekeeper *g);
/* Called for each denial and each failure when it is first heard of, with its number (1 …)
 * and what people are told of it. true: they were, and finish() does not tell them again. */
enum { IMMURE_GATE_LINES = 10 }; /* so many are told to people; the record has the rest */
typedef bool immure_gate_tell(void *ctx, size_t number, const struct immure_denial *d,
			      const char *line);
void immure_gatekeeper_tell(struct immure_gatekeeper *g, immure_gate_tell *tell, void *ctx);
/* What was denied so far is nobody's business: it was tried on purpose. */
void immure_gatekeeper_forget(struct immure_gatekeeper *g);
/* The rules in force, and what was denied: the newest, or from number `from` (1 …) on and
 * then also as lines for people; as many as fit an answer, as JSON; the caller frees. NULL: out of memory, or no gatekeeper. */
char *immure_gatekeeper_show(struct immure_gatekeeper *g, size_t from);
/* The rules alone. */
char *immure_gatekeeper_rules(const struct immure_gatekeeper *g);
/* Asks the worker for its numbers; *ret: of all workers so far, lost ones up to when they
 * were last heard. False: there is no limited network. A silent worker costs a second. */
bool immure_gatekeeper_stats(struct immure_gatekeeper *g, struct immure_wire_stats *ret);
/* Asks the worker for its numbers, ends it, and writes what happened into the
 * result: denials, numbers, a line for each distinct denial. Closes all. */
void immure_gatekeeper_finish(struct immure_gatekeeper *g, struct immure_result *result);
void immure_gatekeeper_free(struct immure_gatekeeper *g);

#endif
