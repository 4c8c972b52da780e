/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of an image that a session's root is made of, kept from being removed while it
 * lives: by shared locks, so that many sessions have the same, and a supervisor that is killed
 * lets go. */
#ifndef IMMURE_SESSION_LAYERS_H
#define IMMURE_SESSION_LAYERS_H

#include "base/error.h"
#include "plan/plan.h"

struct immure_layers {
	int fd[IMMURE_LAYERS_MAX];
	size_t n;
};

/* Refused when one is gone, or going. */
int32_t immure_layers_hold(struct immure_layers *l, const struct immure_plan *plan, struct immure_error **err);
void immure_layers_done(struct immure_layers *l);

#endif
