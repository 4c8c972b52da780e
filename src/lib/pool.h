/* SPDX-License-Identifier: Apache-2.0 */
/* Pools on the side of their users. */
#ifndef IMMURE_LIB_POOL_H
#define IMMURE_LIB_POOL_H

#include "lib/session.h"
#include "policy/policy.h"
#include "session/snapstore.h"

/* The policy of a pool whose sessions have no workspace yet, as its holder keeps it
 * for those who take one: profile and settings. Strings are the arena's, or the
 * policy's that it was made of. */
struct immure_pool_policy {
	struct immure_arena arena;
	const char *profile;
	const struct immure_setting *settings;
	size_t settings_n;
};

struct immure_pool {
	struct immure_link *link;
	pid_t pid; /* of the holder when it is our child, else <= 0 */
	bool asked, open; /* whether its sessions wait for a workspace: known when asked */
	struct immure_pool_policy policy; /* then */
	bool template; /* it keeps no sessions: api_zygote.c */
};

/* ---- api_plan.c ---- */
/* A plan whose policy nobody will want to make again: immure_plan_create() takes longer. */
int32_t immure_plan_create_once(const immure_policy *policy, const struct immure_plan_options *options,
				immure_plan **ret, struct immure_error **err);

/* ---- pool_restore.c ---- */
struct immure_pool_restore {
	struct immure_snapshot_read snapshot;
	immure_plan *plan;
	struct immure_buf after[2]; /* arguments of "tighten" and "net"; empty: not asked */
};

#define IMMURE_POOL_RESTORE_INIT { .snapshot = IMMURE_SNAPSHOT_READ_INIT }

/* What a pool is started with whose sessions begin with a snapshot's files. */
int32_t immure_pool_restore_open(const struct immure_pool_options *o, struct immure_pool_restore *ret,
				 struct immure_error **err);
void immure_pool_restore_done(struct immure_pool_restore *r);

/* ---- pool_plan.c ---- */
int32_t immure_pool_policy_of(const immure_policy *p, struct immure_pool_policy *ret,
			      struct immure_error **err);
/* "policy": [profile, key, value, ...] */
void immure_pool_policy_put(const struct immure_pool_policy *p, struct immure_jsonw *w);
int32_t immure_pool_policy_take(struct immure_link *l, const struct immure_jsonr_value *list,
				struct immure_pool_policy *ret, struct immure_error **err);
/* Of a policy that was written so: [profile, key, value, ...]; source: what messages call it. */
int32_t immure_carried_read(const struct immure_jsonr *json, const struct immure_jsonr_value *list,
			    const char *source, struct immure_pool_policy *ret, struct immure_error **err);
/* Made again, for this workspace, with settings on top. */
int32_t immure_carried_make(const struct immure_pool_policy *p, const char *workspace,
			    const struct immure_setting *more, size_t more_n, struct immure_policy **ret,
			    struct immure_error **err);
/* What its sessions are made by: all but a workspace. */
int32_t immure_pool_plan_base(const struct immure_pool_policy *p, const char *const *env,
			      immure_plan **ret, struct immure_error **err);
/* What one of them becomes: the pool's policy with the caller's workspace, settings
 * and environment. Refused where that would give more than the pool's does. */
int32_t immure_pool_plan_for(const struct immure_pool_policy *p, const struct immure_acquire_options *o,
			     immure_plan **ret, struct immure_error **err);

#endif
