/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of sessions: taken, listed, looked at, removed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/jsonr.h"
#include "base/parse.h"
#include "cli/session.h"

static struct immure_jsonr_value *parse(struct immure_jsonr *r, char *json)
{
	size_t len = strlen(json), cap = 64;
	struct immure_jsonr_value *v;

	for (size_t i = 0; i < len; i++)
		cap += json[i] == ',' || json[i] == '{' || json[i] == '[';
	v = calloc(cap, sizeof(*v));
	if (v && immure_jsonr_parse(r, json, len, v, cap) == 0)
		return v;
	free(v);
	return NULL;
}

static void put_columns(struct immure_buf *b, const char *id, const char *name, const char *session, const char *size,
			const char *age, const char *rest)
{
	immure_buf_printf(b, "%-17s %-20s %-17s %9s  %-6s %s\n", id, name[0] ? name : "-", session, size, age, rest);
}

static void put_row(struct immure_buf *b, const struct immure_jsonr *r, const struct immure_jsonr_value *v)
{
	long long s = (long long)time(NULL) - immure_jsonr_number(r, v, "created_ms") / 1000;
	char size[32], age[32];
	uint64_t rounded = s < 0 ? 0 : s < 120 ? (uint64_t)s * 1000 : s < 7200 ? (uint64_t)s / 60 * 60000
									      : (uint64_t)s / 3600 * 3600000;

	if (immure_jsonr_number(r, v, "damaged")) {
		put_columns(b, immure_jsonr_text(r, v, "id"), "", "-", "-", "-", "damaged");
		return;
	}
	(void)snprintf(size, sizeof(size), "%lld", immure_jsonr_number(r, v, "size"));
	put_columns(b, immure_jsonr_text(r, v, "id"), immure_jsonr_text(r, v, "name"), immure_jsonr_text(r, v, "session"), size,
		    immure_format_duration(rounded, age, sizeof(age)), immure_jsonr_text(r, v, "profile"));
}

static int list(const struct immure_runflags *f)
{
	struct immure_error *err = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonr_value *v;
	struct immure_jsonr r;
	char *json = NULL, *text;
	int status;

	if (immure_snapshot_list(f->policy.env, &json, &err) < 0)
		return immure_cli_fail(err);
	if (f->json) {
		status = immure_cli_print_json(json);
		immure_string_free(json);
		return status;
	}
	put_columns(&b, "SNAPSHOT", "NAME", "SESSION", "SIZE", "AGE", "PROFILE");
	v = parse(&r, json);
	for (const struct immure_jsonr_value *e = v ? immure_jsonr_first(&r, v) : NULL; e; e = immure_jsonr_after(&r, v, e))
		put_row(&b, &r, e);
	text = immure_buf_take(&b);
	status = immure_cli_print(text);
	free(text);
	free(v);
	immure_string_free(json);
	return status;
}

/* What somebody may believe to be in it, and is not. */
static void say_what_is_not(const struct immure_jsonr *r, const struct immure_jsonr_value *about)
{
	const struct immure_jsonr_value *files = immure_jsonr_get(r, about, "files");
	long long left_out = immure_jsonr_number(r, files, "left_out");

	if (strcmp(immure_jsonr_text(r, about, "workspace_mode"), "cow") != 0 && immure_jsonr_text(r, about, "workspace")[0])
		immure_cli_say("snapshot: the workspace %s is the host's own and not part of it", immure_jsonr_text(r, about,
												       "workspace"));
	if (left_out)
		immure_cli_say("snapshot: %lld %s left out", left_out, left_out == 1 ? "socket or device was" :
										       "sockets or devices were");
}

static int create(const char *name, const struct immure_runflags *f)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options so = immure_cli_session_options(path);
	struct immure_snapshot_options o = { .size = sizeof(o), .name = f->session.name, .labels = f->session.labels.v,
					     .env = f->policy.env };
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	struct immure_jsonr_value *v;
	struct immure_jsonr r;
	char *json = NULL;
	int status;

	if (immure_session_open(name, &so, &session, &err) < 0)
		return immure_cli_fail(err);
	if (immure_snapshot_create(session, &o, &json, &err) < 0) {
		immure_session_free(session);
		return immure_cli_fail(err);
	}
	immure_session_free(session);
	if (f->json) {
		status = immure_cli_print(json);
	} else {
		char id[32] = "";

		v = parse(&r, json);
		if (v) {
			(void)snprintf(id, sizeof(id), "%s\n", immure_jsonr_text(&r, v, "id"));
			say_what_is_not(&r, immure_jsonr_get(&r, v, "about"));
		}
		status = immure_cli_print(id);
		free(v);
	}
	immure_string_free(json);
	return status;
}

static int inspect(const char *name, const struct immure_runflags *f)
{
	struct immure_error *err = NULL;
	char *json = NULL;
	int status;

	if (immure_snapshot_inspect(name, f->policy.env, &json, &err) < 0)
		return immure_cli_fail(err);
	status = f->json ? immure_cli_print(json) : immure_cli_print_lines(json);
	immure_string_free(json);
	return status;
}

static int drop(const char *name, const struct immure_runflags *f)
{
	struct immure_error *err = NULL;

	return immure_snapshot_remove(name, f->policy.env, &err) < 0 ? immure_cli_fail(err) : 0;
}

static const struct {
	const char *name;
	int (*fn)(const char *operand, const struct immure_runflags *f);
	const char *operand;
} acts[] = {
	{ "create", create, "SESSION" },
	{ "inspect", inspect, "SNAPSHOT" },
	{ "rm", drop, "SNAPSHOT" },
};
#define ACTS_N (sizeof(acts) / sizeof(acts[0]))

static int dispatch(const char *what, const struct immure_runflags *f)
{
	size_t i = 0;
	int n = f->argc - f->first, status = 0;

	if (strcmp(what, "ls") == 0 && n == 0)
		return list(f);
	if (strcmp(what, "ls") == 0) {
		immure_cli_say("snapshot: ls takes no operand");
		return IMMURE_EXIT_FAILED;
	}
	while (i < ACTS_N && strcmp(acts[i].name, what) != 0)
		i++;
	if (i == ACTS_N)
		return immure_cli_no_verb("snapshot", what, "create, ls, inspect or rm");
	if (n < 1 || (n > 1 && acts[i].fn != drop)) {
		immure_cli_say("snapshot: %s takes %s %s", what, acts[i].fn == drop ? "at least one" : "one", acts[i].operand);
		return IMMURE_EXIT_FAILED;
	}
	for (int k = f->first; k < f->argc; k++) {
		int one = acts[i].fn(f->argv[k], f);

		status = one ? one : status;
	}
	if (acts[i].fn == drop && f->json && !status)
		status = immure_cli_print("{\"removed\":true}\n");
	return status;
}

int immure_cli_snapshot(int argc, char **argv)
{
	const char *what;
	struct immure_runflags f;
	int status;

	status = immure_runflags_parse_verb("snapshot", argc, argv, &what, &f);
	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = dispatch(what, &f);
	immure_runflags_done(&f);
	return status;
}
