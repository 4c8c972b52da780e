/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/file.h"

int32_t immure_policy_from_text(const char *text, size_t len, const char *name,
				struct immure_policy **ret, struct immure_error **err)
{
	struct immure_policy_build b = { 0 };
	struct immure_policy_file f = { 0 };
	const char *profile = "dev";
	int32_t r;

	r = immure_policy_file_parse(text, len, name, &f, err);
	if (r < 0)
		return r;
	if (f.extends)
		profile = f.extends;
	if (f.extends && immure_policy_extends_file(f.extends))
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "extends",
				"%s:%zu: extends: only a file can extend a file", f.name,
				f.extends_line);
	else if (f.extends && !immure_profile_find(f.extends))
		r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "extends",
				"%s:%zu: extends: \"%s\" is no built-in profile", f.name,
				f.extends_line, f.extends);
	if (r == 0)
		r = immure_build_begin(&b, err);
	if (r == 0)
		r = immure_build_profile(&b, profile, err);
	if (r == 0)
		r = immure_policy_file_apply(&f, &b, err);
	if (r == 0)
		r = immure_build_finish(&b, ret, err);
	else
		immure_build_abort(&b);
	immure_policy_file_done(&f);
	return r;
}
