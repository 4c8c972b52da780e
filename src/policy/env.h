/* SPDX-License-Identifier: Apache-2.0 */
/* The command's environment: empty, plus what the policy passes and sets. */
#ifndef IMMURE_POLICY_ENV_H
#define IMMURE_POLICY_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct immure_policy;

/* Whether the caller's variable of this name is handed through. */
bool immure_env_passes(const struct immure_policy *p, const char *name, size_t len);
/* Whether a variable of this name makes a loader or interpreter run or load
 * something else. Those are only ever set, never passed. */
bool immure_env_is_control(const char *name, size_t len);
/* For documentation and tests: the patterns, NULL-terminated. */
extern const char *const immure_env_controls[];

/* NAME=value strings sorted by name; set wins over pass; of a name that the
 * caller has twice, the first counts, as getenv(3) has it. env may be NULL.
 * Passed strings are borrowed from env. false when out of memory. */
bool immure_env_filter(const struct immure_policy *p, const char *const *env,
		       struct immure_arena *a, struct immure_strv *ret);

#endif
