/* SPDX-License-Identifier: Apache-2.0 */
/* diff: what was changed in a copy-on-write workspace, or which there are. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/json.h"
#include "cli/runflags.h"
#include "cli/unified.h"

static const char *text_of(const struct immure_json *v, const char *key)
{
	const struct immure_json *s = immure_json_get(v, key);

	return s && immure_json_type(s) == IMMURE_JSON_STRING ? immure_json_string(s) : "";
}

static bool is_true(const struct immure_json *v, const char *key)
{
	const struct immure_json *b = immure_json_get(v, key);

	return b && immure_json_type(b) == IMMURE_JSON_BOOL && immure_json_bool(b);
}

/* ---- the list ---- */

static void put_row(struct immure_buf *out, const struct immure_json *row)
{
	const struct immure_json *ms = immure_json_get(row, "created_ms");
	time_t when = ms ? (time_t)(immure_json_integer(ms) / 1000) : 0;
	const char *ws = text_of(row, "workspace");
	char day[32] = "";
	struct tm tm;

	if (localtime_r(&when, &tm))
		(void)strftime(day, sizeof(day), "%Y-%m-%d %H:%M", &tm);
	immure_buf_printf(out, "%s  %s  %-10s  ", text_of(row, "id"), day,
			  is_true(row, "in_use")  ? "in use" :
			  is_true(row, "torn")	  ? "torn" :
			  is_true(row, "changed") ? "kept" : "unchanged");
	immure_buf_put_printable(out, ws, strlen(ws));
	immure_buf_putc(out, '\n');
}

static int list(const struct immure_runflags *f)
{
	struct immure_json_failure why;
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	struct immure_json *doc = NULL;
	char *json = NULL;
	int status;

	if (immure_workspace_list(f->policy.env, &json, &err) < 0)
		return immure_cli_fail(err);
	if (!f->json && immure_json_parse(json, strlen(json), &doc, &why) == 0)
		for (size_t i = 0; i < immure_json_size(doc); i++)
			put_row(&out, immure_json_element(doc, i));
	status = immure_cli_print(f->json ? json : out.data ? out.data : "");
	immure_json_free(doc);
	immure_buf_done(&out);
	immure_string_free(json);
	return status;
}

/* ---- one ---- */

static void put_file(const struct immure_runflags *f, const char *id, const struct immure_json *ch,
		     struct immure_buf *out)
{
	const char *change = text_of(ch, "change"), *packed = text_of(ch, "path_base64");
	IMMURE_CLEANUP_FREE char *path = strdup(*packed ? packed : text_of(ch, "path"));
	bool was = strcmp(text_of(ch, "was"), "file") == 0, is = strcmp(text_of(ch, "type"), "file") == 0;
	IMMURE_CLEANUP_FD int a = -1, b = -1;
	long n;

	if (!path || strcmp(change, "mode") == 0 || (!was && !is))
		return;
	if (*packed) {
		n = immure_base64_decode(path, strlen(path));
		if (n < 0)
			return;
		path[n] = '\0';
	}
	if (was && immure_workspace_open_file(id, f->policy.env, path, 0, &a, NULL) < 0)
		return;
	if (is && immure_workspace_open_file(id, f->policy.env, path, 1, &b, NULL) < 0)
		return;
	immure_cli_unified(path, a, b, isatty(STDOUT_FILENO) == 1, out);
}

static int32_t contents(const struct immure_runflags *f, const char *id, struct immure_buf *out, struct immure_error **err)
{
	struct immure_json_failure why;
	const struct immure_json *all;
	struct immure_json *doc = NULL;
	char *json = NULL;
	int32_t r = immure_workspace_diff(id, f->policy.env, 1, &json, err);

	if (r < 0)
		return r;
	if (immure_json_parse(json, strlen(json), &doc, &why) == 0) {
		all = immure_json_get(doc, "changes");
		for (size_t i = 0; all && i < immure_json_size(all); i++)
			put_file(f, text_of(doc, "id"), immure_json_element(all, i), out);
	}
	immure_json_free(doc);
	immure_string_free(json);
	return 0;
}

static int show(const struct immure_runflags *f, const char *id)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	char *text = NULL;
	int status;

	if (immure_workspace_diff(id, f->policy.env, f->json, &text, &err) < 0)
		return immure_cli_fail(err);
	immure_buf_puts(&out, text);
	immure_string_free(text);
	if (!f->json && !f->stat && contents(f, id, &out, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = immure_buf_ok(&out) ? immure_cli_print(out.data) : IMMURE_EXIT_FAILED;
	immure_buf_done(&out);
	return status;
}

int immure_cli_diff(int argc, char **argv)
{
	struct immure_runflags f;
	int status = immure_runflags_parse("diff", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first < argc - 1 || (f.list && f.first < argc)) {
		immure_cli_say("diff: one workspace at a time: immure diff --list tells which there are");
		status = IMMURE_EXIT_FAILED;
	} else {
		status = f.list ? list(&f) : show(&f, argv[f.first]);
	}
	immure_runflags_done(&f);
	return status;
}
