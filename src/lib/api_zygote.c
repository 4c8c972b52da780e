/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that make a sandbox for each command: requests go over a lane to the template. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/options.h"
#include "lib/pool.h"
#include "plan/plan.h"

static int32_t usable(const immure_pool *pool, struct immure_error **err)
{
	if (!pool || pool->link->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "pool", "",
				   "this pool belongs to the process that opened it");
	if (!pool->template)
		return immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "mode", "this pool keeps sessions");
	return 0;
}

static void put_agreement(struct immure_jsonw *w, const struct immure_acquire_options *o)
{
	const char *workspace = o->workspace ? o->workspace : o->plan ? o->plan->workspace : NULL;

	if (o->plan)
		immure_jsonw_str(w, "policy_version", o->plan->policy_version);
	if (workspace)
		immure_jsonw_str(w, "workspace", workspace);
}

static int32_t ask_agree(struct immure_link *l, const struct immure_acquire_options *agree,
			 struct immure_error **err)
{
	struct immure_acquire_options o;
	struct immure_link_ask ask;
	int32_t r = immure_options_copy(&o, sizeof(o), agree, "acquire", err);

	if (r < 0)
		return r;
	immure_link_begin(l, &ask, "agree");
	put_agreement(&ask.w, &o);
	return immure_link_request(l, &ask, NULL, NULL, err);
}

static int32_t get_lane(struct immure_link *l, struct immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r;

	if (l->lane_fd >= 0)
		return 0;
	if (l->lane_tried)
		return immure_fail(err, IMMURE_ERR_STATE, EPIPE, "pool", "", "the pool has ended");
	immure_link_begin(l, &ask, "lane");
	r = immure_link_request(l, &ask, NULL, &l->lane_fd, err);
	l->lane_tried = r == 0;
	if (r == 0 && l->lane_fd < 0)
		r = immure_fail(err, IMMURE_ERR_IO, EPROTO, "pool", "", "the holder's answer cannot be read");
	return r;
}

int32_t immure_pool_exec(immure_pool *pool, const struct immure_exec_options *options,
			 const struct immure_acquire_options *agree, immure_process **ret,
			 immure_error **err)
{
	int32_t r = usable(pool, err);

	if (r == 0 && agree)
		r = ask_agree(pool->link, agree, err);
	if (r == 0)
		r = get_lane(pool->link, err);
	return r < 0 ? r : immure_exec_over_lane(pool->link, options, ret, err);
}

int32_t immure_pool_fd(immure_pool *pool)
{
	return pool->link->lane_fd;
}

int32_t immure_pool_settle(immure_pool *pool, immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = usable(pool, err);

	if (r < 0)
		return r;
	immure_link_begin(pool->link, &ask, "settle");
	return immure_link_request(pool->link, &ask, NULL, NULL, err);
}
