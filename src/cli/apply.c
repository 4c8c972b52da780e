/* SPDX-License-Identifier: Apache-2.0 */
/* apply, discard: what was changed in a copy-on-write workspace lands, or goes. */
#include <string.h>

#include "base/json.h"
#include "cli/runflags.h"

static int tell(const struct immure_runflags *f, const char *json)
{
	struct immure_json_failure why;
	const struct immure_json *all, *beside;
	struct immure_json *doc = NULL;
	size_t lands = 0, stays = 0;

	if (f->json)
		return immure_cli_print(json);
	if (immure_json_parse(json, strlen(json), &doc, &why) < 0)
		return IMMURE_EXIT_FAILED;
	all = immure_json_get(doc, "changes");
	beside = immure_json_get(doc, "beside");
	for (size_t i = 0; beside && i < immure_json_size(beside); i++)
		immure_cli_say("%s is what stood there before", immure_json_string(immure_json_element(beside, i)));
	for (size_t i = 0; all && i < immure_json_size(all); i++) {
		if (immure_json_get(immure_json_element(all, i), "lands"))
			lands++;
		else
			stays++;
	}
	immure_json_free(doc);
	if (f->apply & IMMURE_WORKSPACE_UNDO)
		immure_cli_say("what was applied is undone");
	else if (f->apply & IMMURE_WORKSPACE_ABANDON)
		immure_cli_say("what could be undone is; immure diff tells what is left");
	else
		immure_cli_say("%zu change%s %s%s", lands, lands == 1 ? "" : "s",
			       f->dry_run ? "would land" : "applied", stays ? "; immure diff tells what is left" : "");
	return 0;
}

int immure_cli_apply(int argc, char **argv)
{
	struct immure_workspace_options o = { .size = sizeof(o) };
	struct immure_error *err = NULL;
	struct immure_runflags f;
	char *json = NULL;
	int status = immure_runflags_parse("apply", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	o.env = f.policy.env;
	o.flags = f.apply | (f.dry_run ? IMMURE_WORKSPACE_DRY_RUN : 0U);
	o.paths = f.first + 1 < argc ? (const char *const *)argv + f.first + 1 : NULL;
	if (immure_workspace_apply(f.first < argc ? argv[f.first] : NULL, &o, &json, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = tell(&f, json);
	immure_string_free(json);
	immure_runflags_done(&f);
	return status;
}

int immure_cli_discard(int argc, char **argv)
{
	struct immure_error *err = NULL;
	struct immure_runflags f;
	int status = immure_runflags_parse("discard", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first != argc - 1) {
		immure_cli_say("discard: which workspace? immure diff --list tells which there are");
		status = IMMURE_EXIT_FAILED;
	} else if (immure_workspace_discard(argv[f.first], f.policy.env, &err) < 0) {
		status = immure_cli_fail(err);
	} else {
		status = f.json ? immure_cli_print("{\"discarded\":true}\n") : 0;
	}
	immure_runflags_done(&f);
	return status;
}
