/* SPDX-License-Identifier: Apache-2.0 */
/* Whether one policy only takes away from another, key by key. */
#ifndef IMMURE_POLICY_TIGHTEN_H
#define IMMURE_POLICY_TIGHTEN_H

#include "policy/keys.h"

/* NULL when `after` leaves the command with no more than `before` does;
 * otherwise the first key that gives more. */
const struct immure_key *immure_policy_loosened(const struct immure_policy *before,
						const struct immure_policy *after);
bool immure_key_tightens(const struct immure_key *k, const struct immure_policy *before,
			 const struct immure_policy *after);

#endif
