/* SPDX-License-Identifier: Apache-2.0 */
/* A pool that keeps no sessions but a template, after which a sandbox is made for each
 * command (init/zygote.h). The holder is the template's supervisor; requests go past it,
 * over lanes. */
#ifndef IMMURE_SESSION_POOL_ZYGOTE_H
#define IMMURE_SESSION_POOL_ZYGOTE_H

#include "init/zygote.h"
#include "session/pool.h"
#include "session/pool_leaves.h"
#include "session/sealed.h"

struct immure_pool_zygote {
	struct immure_pool_watch line, end; /* first: the line to the template; its end */
	struct immure_holder *holder;
	struct immure_sealed sealed;
	struct immure_pool_leaves leaves;
	struct immure_init_shared *shared;
	uint64_t looked; /* how many had ended when the tree was last looked at */
	bool ready;
};

/* What a plan has that commands after a template cannot be given. */
int32_t immure_pool_zygote_can(const struct immure_plan *plan, struct immure_error **err);
/* Makes the template; p->zygote is set. It is ready later, or the pool ends. */
int32_t immure_pool_zygote_start(struct immure_holder *p, struct immure_error **err);
/* A lane to it: what the caller gets, or -errno. */
int immure_pool_zygote_lane(struct immure_holder *p);
/* Looks for what commands that have ended left in the tree and the host would obey. */
void immure_pool_zygote_settle(struct immure_holder *p);
void immure_pool_zygote_note(const struct immure_holder *p, struct immure_status *st);
void immure_pool_zygote_stats(const struct immure_holder *p, struct immure_jsonw *w);
/* Ends it and all that was made after it. From any state, p->zygote NULL included. 0 or
 * -errno when something of it is left. */
int immure_pool_zygote_end(struct immure_holder *p);

#endif
