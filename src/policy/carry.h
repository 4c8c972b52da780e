/* SPDX-License-Identifier: Apache-2.0 */
/* A policy as the settings that make it again from its profile alone, so that
 * another process can be given exactly this policy in its arguments, without a
 * file, discovery or environment of its own deciding anything. */
#ifndef IMMURE_POLICY_CARRY_H
#define IMMURE_POLICY_CARRY_H

#include "policy/policy.h"

struct immure_carried {
	const char *profile;
	const char *workspace;           /* absolute */
	const struct immure_setting *settings;
	size_t settings_n;
	char version[32];                /* of the policy that they make */
};

/* workspace: an absolute path, or NULL for the policy's own, which then must
 * be absolute. env: NAME=value strings that are set on top, may be NULL. Strings
 * live in the arena or in p. Touches no file. It is checked that the settings
 * make the same policy: what cannot be carried is refused, UNSUPPORTED. */
int32_t immure_policy_carry(const struct immure_policy *p, const char *workspace,
			    const char *const *env, struct immure_arena *a,
			    struct immure_carried *ret, struct immure_error **err);
/* The same with secrets, of which it says where they are from: for programs of ours, not for
 * arguments that anybody sees. */
int32_t immure_policy_carry_all(const struct immure_policy *p, const char *workspace,
				const char *const *env, struct immure_arena *a,
				struct immure_carried *ret, struct immure_error **err);

#endif
