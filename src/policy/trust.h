/* SPDX-License-Identifier: Apache-2.0 */
/* Which workspaces' policy files may loosen: a list of SHA-256 and path, in
 * the caller's state directory. A changed file, or the same one elsewhere, is
 * not trusted. Lines are "HEX PATH\n", the path with \xNN for odd bytes. */
#ifndef IMMURE_POLICY_TRUST_H
#define IMMURE_POLICY_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* state_dir: ours ("/home/u/.local/state/immure"); NULL: nothing is trusted.
 * A list that others could have written is an error. path is real. */
int32_t immure_trust_has(const char *state_dir, const char *digest, const char *path,
			 bool *ret, struct immure_error **err);
/* Records; replaces what was recorded of that path. */
int32_t immure_trust_add(const char *state_dir, const char *digest, const char *path,
			 struct immure_error **err);

#endif
