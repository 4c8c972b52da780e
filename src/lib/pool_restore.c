/* SPDX-License-Identifier: Apache-2.0 */
/* Pools whose sessions begin with the files of a snapshot: each is what immure_session_resume()
 * would make of it, and nothing was taken from the first one that these have. */
#include <errno.h>

#include "facts/facts.h"
#include "lib/options.h"
#include "lib/pool.h"
#include "lib/snapshot.h"

static int32_t take_options(const struct immure_pool_options *o, struct immure_resume_options *ret,
			    struct immure_session_options *session, struct immure_error **err)
{
	int32_t r = o->resume ? immure_options_copy(ret, sizeof(*ret), o->resume, "pool", err) : 0;

	if (r < 0)
		return r;
	*session = (struct immure_session_options){ .size = sizeof(*session), .env = o->env, .supervisor = o->supervisor,
						    .runtime_dir = o->runtime_dir, .lifetime = IMMURE_LIFE_CALLER };
	if (ret->session || (ret->policy && ret->settings_n))
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "pool", "resume", "what is said of a session is the pool's; "
				   "settings are on top of the snapshot's own policy: name them, or another policy");
	ret->session = session;
	return 0;
}

int32_t immure_pool_restore_open(const struct immure_pool_options *o, struct immure_pool_restore *ret,
				 struct immure_error **err)
{
	struct immure_resume_options how = { .size = sizeof(how) };
	struct immure_session_options session;
	const struct immure_jsonr_value *about;
	struct immure_facts *places = NULL;
	int32_t r = take_options(o, &how, &session, err);

	if (r == 0)
		r = immure_snapshot_places(o->env, &places, err);
	if (r < 0)
		return r;
	r = immure_snapstore_read(places->state_dir, o->snapshot, &ret->snapshot, err);
	if (r == 0)
		r = immure_snapstore_verify(&ret->snapshot, err);
	about = r == 0 ? immure_jsonr_get(&ret->snapshot.json, ret->snapshot.v, "about") : NULL;
	if (r == 0)
		r = immure_resume_plan(&ret->snapshot.json, about, &how, &ret->plan, err);
	if (r == 0)
		r = immure_resume_orders(ret->plan, &session, ret->snapshot.files_fd, &ret->snapshot.json, about,
					 !how.policy, ret->after, err);
	immure_facts_destroy(places);
	return r;
}

void immure_pool_restore_done(struct immure_pool_restore *r)
{
	immure_plan_free(r->plan);
	immure_buf_done(&r->after[0]);
	immure_buf_done(&r->after[1]);
	immure_snapshot_read_done(&r->snapshot);
}
