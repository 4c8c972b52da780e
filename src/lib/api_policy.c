/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "policy/build.h"
#include "policy/keys.h"
#include "policy/policy.h"

void immure_policy_free(immure_policy *policy)
{
	immure_policy_destroy(policy);
}

const char *immure_policy_version(const immure_policy *policy)
{
	return policy ? policy->version : "";
}

/* Copies what the caller's struct has of ours, and refuses what we do not know. */
static int32_t take_options(const struct immure_policy_options *options,
			    struct immure_policy_options *ret, struct immure_error **err)
{
	const char *bytes = (const char *)options;
	size_t n;

	*ret = (struct immure_policy_options){ .size = sizeof(*ret) };
	if (!options)
		return 0;
	n = options->size < sizeof(*ret) ? options->size : sizeof(*ret);
	for (size_t i = n; i < options->size; i++)
		if (bytes[i])
			return immure_fail(err, IMMURE_ERR_INVALID, E2BIG, "policy", "options",
					   "options: a field this version does not know is set");
	memcpy(ret, options, n);
	if ((ret->flags & ~(uint32_t)IMMURE_POLICY_NO_DISCOVERY) || ret->reserved ||
	    (ret->settings_n && !ret->settings))
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "options",
				   "options: flags, reserved or settings are wrong");
	return 0;
}

int32_t immure_policy_load(const struct immure_policy_options *options, immure_policy **ret,
			   immure_error **err)
{
	struct immure_policy_options o;
	struct immure_policy_build b;
	int32_t r = take_options(options, &o, err);

	if (r < 0)
		return r;
	r = immure_build_begin(&b, err);
	if (r < 0)
		return r;
	r = immure_build_profile(&b, o.profile ? o.profile : "dev", err);
	if (r == 0 && o.workspace) {
		const struct immure_setting s = { "workspace.path", o.workspace, "--workspace" };

		r = immure_build_settings(&b, &s, 1, err);
	}
	if (r == 0)
		r = immure_build_settings(&b, o.settings, o.settings_n, err);
	if (r < 0) {
		immure_build_abort(&b);
		return r;
	}
	return immure_build_finish(&b, ret, err);
}

/* Flags that are not keys of a file: they choose the layers. */
static const struct immure_flag layer_flags[] = {
	{ .flag = "profile", .key = "extends", .argument = "NAME",
	  .help = "build on this profile (default: dev)" },
	{ .flag = "policy", .key = "policy", .argument = "FILE",
	  .help = "read this policy file instead of looking for one" },
};
enum { LAYER_FLAGS = sizeof(layer_flags) / sizeof(layer_flags[0]) };

static bool key_flag(uint32_t index, struct immure_flag *ret)
{
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];

		if (!k->flag || index-- > 0)
			continue;
		*ret = (struct immure_flag){
			.flag = k->flag,
			/* On the command line a list is added to: --deny must not undo
			 * what the profile denies. */
			.key = immure_key_appends(k) ? k->plus : k->path,
			.argument = k->argument,
			.help = k->help,
			.choices = k->choices,
		};
		return true;
	}
	return false;
}

int32_t immure_policy_flag(uint32_t index, struct immure_flag *ret)
{
	struct immure_flag f = { 0 };
	size_t n;

	if (!ret || ret->size < sizeof(ret->size))
		return -IMMURE_ERR_INVALID;
	if (index < LAYER_FLAGS)
		f = layer_flags[index];
	else if (!key_flag(index - LAYER_FLAGS, &f))
		return -IMMURE_ERR_INVALID;
	n = ret->size < sizeof(f) ? ret->size : sizeof(f);
	f.size = ret->size;
	memcpy(ret, &f, n);
	return 0;
}
