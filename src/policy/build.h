/* SPDX-License-Identifier: Apache-2.0 */
/* Building a policy layer by layer. A layer is a profile, a file or the
 * caller's settings; later layers win. Single values replace; a list replaces
 * what the layers below said and is then added to within its layer, unless the
 * layer asked to append. */
#ifndef IMMURE_POLICY_BUILD_H
#define IMMURE_POLICY_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "policy/keys.h"
#include "policy/policy.h"

struct immure_policy_build {
	struct immure_policy *p;
	unsigned int layer;    /* of what is being assigned now */
	const char *source;    /* of what is being assigned now; outlives the policy */
	unsigned int *set_in;  /* per key: the last layer that set it, 0 = default */
};

/* Everything at its default. -IMMURE_ERR_NOMEM only. */
int32_t immure_build_begin(struct immure_policy_build *b, struct immure_error **err);
void immure_build_abort(struct immure_policy_build *b);
/* A new layer; source is copied. */
void immure_build_layer(struct immure_policy_build *b, const char *source);

/* One value, or one element of a list or map. append: keep what the layers
 * below said. -EINVAL with the complaint, -ENOMEM. */
int immure_build_assign(struct immure_policy_build *b, const struct immure_key *k,
			const char *value, bool append, struct immure_complaint *c);
/* The same for a value as a flag has it: where a key takes several words, they are
 * separated by commas. */
int immure_build_flag(struct immure_policy_build *b, const struct immure_key *k, const char *value,
		      bool append, struct immure_complaint *c);
/* Starts a list or map of this layer: drops what the layers below said, so that
 * an empty list counts. Done by immure_build_assign() where needed. */
void immure_build_clear(struct immure_policy_build *b, const struct immure_key *k);
/* Adds or replaces one secret, whose strings live in the policy's arena. */
int immure_build_secret(struct immure_policy_build *b, const struct immure_key *k,
			struct immure_secret *s, bool append, struct immure_complaint *c);
/* Names a gap that the policy can live with, without accepting it. */
int immure_build_downgrade(struct immure_policy_build *b, const struct immure_key *k,
			   const char *name, struct immure_complaint *c);

/* Applies a built-in profile and what it extends, lowest first. */
int32_t immure_build_profile(struct immure_policy_build *b, const char *name,
			     struct immure_error **err);
/* Applies the caller's settings as one layer. */
int32_t immure_build_settings(struct immure_policy_build *b, const struct immure_setting *s,
			      size_t n, struct immure_error **err);
/* Checks what only the whole can contradict; rules that a layer above made void fall away. */
int32_t immure_build_whole(struct immure_policy_build *b, struct immure_error **err);
/* Checks the whole, computes the version and hands
 * the policy over. On failure the build is aborted. */
int32_t immure_build_finish(struct immure_policy_build *b, struct immure_policy **ret,
			    struct immure_error **err);
void immure_policy_destroy(struct immure_policy *p);

struct immure_profile_value {
	const char *key;
	const char *value;        /* NULL when list is used */
	const char *const *list;  /* NULL-terminated; replaces, or appends with... */
	bool append;              /* ...this */
};
struct immure_profile {
	const char *name;
	const char *extends; /* NULL: the defaults of the key table */
	const char *help;
	const struct immure_profile_value *values;
	size_t values_n;
};
extern const struct immure_profile immure_profiles[];
extern const size_t immure_profiles_n;
const struct immure_profile *immure_profile_find(const char *name);

#endif
