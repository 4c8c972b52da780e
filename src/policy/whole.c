/* SPDX-License-Identifier: Apache-2.0 */
/* What no single value shows: only the whole policy contradicts itself. */
#include <string.h>

#include "policy/build.h"

static unsigned int layer_of(const struct immure_policy_build *b, const char *key)
{
	return b->set_in[immure_key_find(key)];
}

/* Rules beside a mode that does not enforce them would be stored and ignored.
 * When a higher layer chose the mode, that is its right: the rules fall away. */
static int32_t check_network(struct immure_policy_build *b, struct immure_error **err)
{
	static const char *const modes[] = { "none", "limited", "host" };
	static const char *const keys[] = { "network.allow", "network.deny" };
	struct immure_policy *p = b->p;

	if (p->network == IMMURE_NETWORK_LIMITED)
		return 0;
	for (size_t i = 0; i < 2; i++) {
		const struct immure_key *k = &immure_keys[immure_key_find(keys[i])];
		struct immure_strv *l = (struct immure_strv *)(void *)((char *)p + k->offset);
		const char *source = p->sources[k - immure_keys];
		int32_t r;

		if (l->n == 0)
			continue;
		/* A denial beside mode none is true anyway; beside host it is not. */
		if (layer_of(b, keys[i]) < layer_of(b, "network.mode") &&
		    !(i == 1 && p->network == IMMURE_NETWORK_HOST)) {
			*l = (struct immure_strv){ 0 };
			continue;
		}
		if (i == 1 && p->network == IMMURE_NETWORK_NONE)
			continue;
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", keys[i],
				"%s: %s has rules, but network.mode is %s and would not enforce them",
				source, keys[i], modes[p->network]);
		if (err)
			immure_error_set_hint(*err, "set network.mode to limited (--net limited)");
		return r;
	}
	return 0;
}

static int32_t check_publish(const struct immure_policy *p, struct immure_error **err)
{
	for (size_t i = 0; i < p->publish.n; i++) {
		const char *x = strrchr(p->publish.v[i], ':');

		for (size_t j = 0; j < i; j++) {
			const char *y = strrchr(p->publish.v[j], ':');

			if (x - p->publish.v[i] == y - p->publish.v[j] &&
			    strncmp(p->publish.v[i], p->publish.v[j],
				    (size_t)(x - p->publish.v[i])) == 0)
				return immure_fail(err, IMMURE_ERR_POLICY, 0, "policy",
						   "network.publish",
						   "network.publish: %s and %s publish the same host port",
						   p->publish.v[j], p->publish.v[i]);
		}
	}
	return 0;
}

static int32_t say_twice(const char *target, struct immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "files.mounts",
			   "files.mounts: %s is the target of two", target);
}

/* One thing stands at one path. */
static int32_t check_mounts(const struct immure_policy *p, struct immure_error **err)
{
	for (size_t i = 0; i < p->mounts.n; i++) {
		const char *x = strchr(p->mounts.v[i], ':') + 1;
		size_t n = (size_t)(strchr(x, ':') - x);

		if (p->workspace_target && strlen(p->workspace_target) == n &&
		    strncmp(p->workspace_target, x, n) == 0)
			return say_twice(p->workspace_target, err);
		for (size_t j = 0; j < i; j++) {
			const char *y = strchr(p->mounts.v[j], ':') + 1;

			if (strncmp(x, y, n + 1) == 0)
				return say_twice(p->mounts.v[i], err);
		}
	}
	return 0;
}

int32_t immure_build_whole(struct immure_policy_build *b, struct immure_error **err)
{
	struct immure_policy *p = b->p;
	int32_t r = check_network(b, err);

	if (r == 0)
		r = check_publish(p, err);
	if (r == 0)
		r = check_mounts(p, err);
	if (r < 0)
		return r;
	if (p->identity == IMMURE_IDENTITY_IMAGE && p->view != IMMURE_VIEW_IMAGE)
		return immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "identity",
				   "identity: image names nobody, since files.view is not image");
	if (p->image && p->view != IMMURE_VIEW_IMAGE) {
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "image",
				"image: \"%s\" would not be used, since files.view is not image",
				p->image);
		if (err)
			immure_error_set_hint(*err, "set files.view to image (--view image), or extend "
					      "the profile image");
		return r;
	}
	return 0;
}
