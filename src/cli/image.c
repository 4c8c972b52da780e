/* SPDX-License-Identifier: Apache-2.0 */
/* Images: imported, listed, looked at, removed. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/runflags.h"

typedef int32_t act(const char *ref, const struct immure_image_options *o, char **ret, immure_error **err);

static int32_t list(const char *ref, const struct immure_image_options *o, char **ret, immure_error **err)
{
	(void)ref;
	return immure_image_list(o, ret, err);
}

static int32_t gc(const char *ref, const struct immure_image_options *o, char **ret, immure_error **err)
{
	(void)ref;
	return immure_image_gc(o, ret, err);
}

static const struct {
	const char *name;
	act *fn;
	const char *operand; /* NULL: takes none */
} acts[] = {
	{ "import", immure_image_import, "PATH" },
	{ "pull", immure_image_pull, "REF" },
	{ "ls", list, NULL },
	{ "inspect", immure_image_inspect, "IMAGE" },
	{ "verify", immure_image_verify, "IMAGE" },
	{ "rm", immure_image_remove, "IMAGE" },
	{ "gc", gc, NULL },
};
#define ACTS_N (sizeof(acts) / sizeof(acts[0]))

/* Paths that the options point to. */
struct places {
	char worker[IMMURE_CLI_PATH_MAX], supervisor[IMMURE_CLI_PATH_MAX], egress[IMMURE_CLI_PATH_MAX];
	char auth_file[PATH_MAX];
};

/* 0, or the exit status after saying why not. */
static int add_pull(struct immure_image_options *o, const struct immure_runflags *f, struct places *at)
{
	o->hosts = f->image.hosts.n ? (const char *const *)f->image.hosts.v : NULL;
	o->flags |= f->image.plain_http ? IMMURE_IMAGE_PLAIN_HTTP : 0U;
	if (immure_cli_own_program("immure", at->supervisor))
		o->supervisor = at->supervisor;
	if (immure_cli_own_program("immure-egress", at->egress))
		o->egress = at->egress;
	if (!f->image.auth_file)
		return 0;
	/* who reads it has another working directory */
	if (!realpath(f->image.auth_file, at->auth_file)) {
		immure_cli_say("image: --authfile: %s: %s", f->image.auth_file, strerror(errno));
		return IMMURE_EXIT_FAILED;
	}
	o->auth_file = at->auth_file;
	return 0;
}

static int dispatch(size_t i, const struct immure_runflags *f)
{
	bool pulls = strcmp(acts[i].name, "pull") == 0;
	struct immure_image_options o = {
		.size = sizeof(o), .env = f->policy.env, .name = f->session.name, .platform = f->image.platform,
		.which = f->image.which, .max_bytes = f->image.max_bytes, .flags = f->json ? IMMURE_IMAGE_JSON : 0,
	};
	int operands = f->argc - f->first, status;
	struct immure_error *err = NULL;
	struct places at;
	char *text = NULL;

	if (operands != (acts[i].operand ? 1 : 0)) {
		immure_cli_say("image: %s: takes %s%s", acts[i].name, acts[i].operand ? "one " : "no operand",
			       acts[i].operand ? acts[i].operand : "");
		return IMMURE_EXIT_FAILED;
	}
	if (!pulls && strcmp(acts[i].name, "import") != 0 && (o.name || o.platform || o.which || o.max_bytes)) {
		immure_cli_say("image: %s: --name, --platform, --ref and --max-size are for import", acts[i].name);
		return IMMURE_EXIT_FAILED;
	}
	if (!pulls && (f->image.hosts.n || f->image.auth_file || f->image.plain_http)) {
		immure_cli_say("image: %s: --allow, --authfile and --plain-http are for pull", acts[i].name);
		return IMMURE_EXIT_FAILED;
	}
	status = pulls ? add_pull(&o, f, &at) : 0;
	if (status)
		return status;
	if (immure_cli_own_program("immure-image", at.worker))
		o.worker = at.worker;
	if (acts[i].fn(operands ? f->argv[f->first] : NULL, &o, &text, &err) < 0)
		return immure_cli_fail(err);
	status = immure_cli_print(text);
	immure_string_free(text);
	return status;
}

int immure_cli_image(int argc, char **argv)
{
	const char *what;
	struct immure_runflags f;
	size_t i = 0;
	int status;

	status = immure_runflags_parse_verb("image", argc, argv, &what, &f);
	if (status != IMMURE_CLI_GO_ON)
		return status;
	while (i < ACTS_N && strcmp(acts[i].name, what) != 0)
		i++;
	status = i < ACTS_N ? dispatch(i, &f) :
			      immure_cli_no_verb("image", what, "import, pull, ls, inspect, verify, rm or gc");
	immure_runflags_done(&f);
	return status;
}
