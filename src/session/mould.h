/* SPDX-License-Identifier: Apache-2.0 */
/* The mould (init/mould.h) of many sessions, as their maker holds it. */
#ifndef IMMURE_SESSION_MOULD_H
#define IMMURE_SESSION_MOULD_H

#include <stdbool.h>

#include "init/mould.h"
#include "plan/plan.h"

struct immure_mould_held {
	const struct immure_plan *plan;
	struct immure_mould mould;
	bool *needed; /* of each operation: whether it was made in it */
	int root_fd;
};

/* NULL: sessions of this plan, on this host or just now, are made one by one, which says what
 * is wrong where something is. Looked through already. */
struct immure_mould_held *immure_mould_make(const struct immure_plan *plan);
/* Whether the host still has what it was made from, everything that is hidden or protected at
 * its place: what was made after it until now is as if made now. */
bool immure_mould_stands(const struct immure_mould_held *h);
void immure_mould_free(struct immure_mould_held *h);

#endif
