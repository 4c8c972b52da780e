/* SPDX-License-Identifier: Apache-2.0 */
/* ~/.srt-settings.json of sandbox-runtime. */
#include <errno.h>
#include <string.h>

#include "policy/import/import.h"

static void env_var(struct immure_import *im, const struct immure_tree *v)
{
	const char *name = immure_tree_string(immure_tree_get(v, "name"));
	const char *mode = immure_tree_string(immure_tree_get(v, "mode"));

	if (!name) {
		immure_import_note(im, IMMURE_IMPORT_LOST, v->line, "credentials.envVars",
				   "expected a name");
		return;
	}
	if (immure_import_passes(im, name))
		immure_import_note(im, IMMURE_IMPORT_LOST, v->line, "credentials.envVars",
				   "%.100s is handed through by the profile; set environment.pass "
				   "without it", name);
	else
		immure_import_note(im, mode && strcmp(mode, "mask") == 0 ? IMMURE_IMPORT_TIGHTENED :
									  IMMURE_IMPORT_MOOT,
				   v->line, "credentials.envVars", "%.100s is not handed through", name);
}

static void credentials(struct immure_import *im, const struct immure_tree *c)
{
	static const struct immure_import_known known[] = {
		{ "files", 0, NULL }, { "envVars", 0, NULL },
		{ "allowPlaintextInject", IMMURE_IMPORT_DROPPED, "nothing is injected" },
		{ "awsPairs", IMMURE_IMPORT_DROPPED, "nothing is injected" },
		{ "sigv4", IMMURE_IMPORT_DROPPED, "nothing is injected" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *files = immure_tree_get(c, "files"), *vars;

	for (const struct immure_tree *f = files ? files->first : NULL; f; f = f->next) {
		const char *path = immure_tree_string(immure_tree_get(f, "path"));
		const char *mode = immure_tree_string(immure_tree_get(f, "mode"));
		const char *plain = path ? immure_import_unglob(im->a, path) : NULL;

		if (!plain) {
			immure_import_note(im, IMMURE_IMPORT_LOST, f->line, "credentials.files",
					   "expected a path without patterns");
			continue;
		}
		immure_import_put(im, "files.deny", plain, true, f->line, "credentials.files");
		if (mode && strcmp(mode, "mask") == 0)
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, f->line, "credentials.files",
					   "%.100s cannot be read at all, no placeholder is shown", plain);
	}
	vars = immure_tree_get(c, "envVars");
	for (const struct immure_tree *v = vars ? vars->first : NULL; v; v = v->next)
		env_var(im, v);
	immure_import_rest(im, c, "credentials.", known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}

int32_t immure_import_srt(struct immure_import *im, const char *text, size_t len,
			  struct immure_error **err)
{
	static const struct immure_import_known known[] = {
		{ "network", 0, NULL }, { "filesystem", 0, NULL }, { "credentials", 0, NULL },
		{ "enableWeakerNestedSandbox", IMMURE_IMPORT_TIGHTENED, "never weaker than the plan says" },
		{ "enableWeakerNetworkIsolation", IMMURE_IMPORT_TIGHTENED, "macOS only, and not weaker here" },
		{ "allowAppleEvents", IMMURE_IMPORT_DROPPED, "macOS only" },
		{ "allowPty", IMMURE_IMPORT_MOOT, "a terminal of its own is always there" },
		{ "ignoreViolations", IMMURE_IMPORT_DROPPED, "about reports, not about rules" },
		{ "mandatoryDenySearchDepth", IMMURE_IMPORT_MOOT, "protected files are found at any depth" },
		{ "ripgrep", IMMURE_IMPORT_DROPPED, "no program is needed to search" },
		{ "seccomp", IMMURE_IMPORT_DROPPED, "filters are part of immure" },
		{ "bwrapPath", IMMURE_IMPORT_DROPPED, "programs are found at their own places" },
		{ "socatPath", IMMURE_IMPORT_DROPPED, "not needed" },
		{ "javaAgentJarPath", IMMURE_IMPORT_DROPPED, "not needed" },
		{ "windows", IMMURE_IMPORT_DROPPED, "Windows only" },
		{ "git", IMMURE_IMPORT_DROPPED, "git sees the same owner inside" },
		{ NULL, 0, NULL },
	};
	struct immure_tree_failure f = { 0 };
	struct immure_tree *top = NULL;
	int r = immure_tree_from_json(im->a, text, len, &top, &f);

	if (r == 0 && top->type != IMMURE_TREE_TABLE)
		r = immure_tree_fail(&f, 1, "expected an object");
	if (r == -EINVAL)
		return immure_fail(err, IMMURE_ERR_POLICY, 0, "import", im->file, "%s:%zu: %s", im->file,
				   f.line, f.text);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	/* Nothing is writable there unless it is named. */
	immure_import_put(im, "workspace.mode", "ro", true, 0, "the default of sandbox-runtime");
	immure_import_network(im, immure_tree_get(top, "network"), "network.");
	immure_import_files(im, immure_tree_get(top, "filesystem"), "filesystem.");
	credentials(im, immure_tree_get(top, "credentials"));
	immure_import_settle(im, true);
	immure_import_put(im, "network.mode",
			  immure_import_has(im, "network.allow", NULL) ? "limited" : "none", true, 0,
			  "hosts that are not named are denied");
	immure_import_rest(im, top, "", known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
	return 0;
}
