/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "lib/options.h"
#include "policy/describe.h"
#include "policy/file.h"
#include "policy/keys.h"
#include "policy/load.h"
#include "policy/policy.h"
#include "policy/trust.h"

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
	int32_t r;

	*ret = (struct immure_policy_options){ .size = sizeof(*ret) };
	if (!options)
		return 0;
	r = immure_options_copy(ret, sizeof(*ret), options, "policy", err);
	if (r < 0)
		return r;
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
	int32_t r = take_options(options, &o, err);

	return r < 0 ? r : immure_policy_load_all(&o, ret, err);
}

int32_t immure_policy_check(const char *path, immure_error **err)
{
	struct immure_policy_options o = { .size = sizeof(o), .file = path,
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *p = NULL;
	int32_t r;

	if (!path)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "", "no file is named");
	r = immure_policy_load_all(&o, &p, err);
	immure_policy_destroy(p);
	return r;
}

int32_t immure_policy_notices(const immure_policy *policy, char **ret, immure_error **err)
{
	char *text = policy ? immure_policy_notices_text(policy) : NULL;

	if (!policy || !ret) {
		free(text);
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "", "there is no policy");
	}
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	*ret = text;
	return 0;
}

int32_t immure_policy_parse(const char *text, uint64_t len, const char *name, immure_policy **ret,
			    immure_error **err)
{
	if (!text || len > SIZE_MAX / 2)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "", "there is no text");
	return immure_policy_from_text(text, (size_t)len, name ? name : "policy", ret, err);
}

int32_t immure_policy_trust(const char *path, const char *const *env, char **ret_digest,
			    immure_error **err)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_policy_chain c = { .n = 0 };
	struct immure_policy_places places;
	char real[PATH_MAX], *digest = NULL;
	int32_t r = 0;

	if (!path || !realpath(path, real))
		return immure_fail(err, IMMURE_ERR_IO, path ? errno : EINVAL, "trust", path ? path : "",
				   "%s: %s", path ? path : "(no file)", strerror(path ? errno : EINVAL));
	immure_policy_find_places(&a, env, &places);
	r = immure_policy_chain_open(real, places.home, &c, err);
	/* Files it extends are trusted with it: what they say counts as much. The
	 * file itself comes last, so that nothing is trusted by half. */
	for (size_t i = c.n; r == 0 && i-- > 0;)
		r = immure_trust_add(places.state_dir, c.links[i].opened.digest, c.links[i].path, err);
	if (r == 0 && ret_digest) {
		digest = strdup(c.links[0].opened.digest);
		if (!digest)
			r = immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "trust", "", "out of memory");
	}
	if (r == 0 && ret_digest)
		*ret_digest = digest;
	immure_policy_chain_done(&c);
	immure_arena_done(&a);
	return r;
}

/* Hands a text over, or says that there was no memory for it. */
static int32_t give(char *text, char **ret, immure_error **err)
{
	if (!text)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "policy", "", "out of memory");
	*ret = text;
	return 0;
}

int32_t immure_policy_show(const immure_policy *policy, int32_t json, char **ret,
			   immure_error **err)
{
	if (!policy)
		return immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "", "there is no policy");
	return give(immure_policy_describe(policy, json != 0), ret, err);
}

int32_t immure_policy_schema(char **ret, immure_error **err)
{
	return give(immure_policy_schema_text(), ret, err);
}

int32_t immure_policy_reference(const char *format, char **ret, immure_error **err)
{
	bool known;
	char *text = immure_policy_reference_text(format ? format : "", &known);

	if (!known) {
		int32_t r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "policy", "",
					"there is no reference in the format \"%s\"",
					format ? format : "");

		free(text);
		if (err)
			immure_error_set_hint(*err, "formats are markdown, man, keys and backends");
		return r;
	}
	return give(text, ret, err);
}

int32_t immure_policy_profiles(char **ret, immure_error **err)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	for (size_t i = 0; i < immure_profiles_n; i++)
		immure_buf_printf(&b, "%s\n", immure_profiles[i].name);
	return give(immure_buf_take(&b), ret, err);
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
