/* SPDX-License-Identifier: Apache-2.0 */
/* Lists sessions. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/jsonr.h"
#include "base/parse.h"
#include "cli/session.h"

/* The largest unit that fits: a column, not a measurement. */
static const char *age(long long ms, char *buf, size_t len)
{
	unsigned long long s = ms > 0 ? (unsigned long long)ms / 1000 : 0;
	uint64_t rounded = s < 120 ? s * 1000 : s < 7200 ? s / 60 * 60000 : s / 3600 * 3600000;

	return immure_format_duration(rounded, buf, len);
}

static void row(struct immure_buf *b, const struct immure_jsonr *r, const struct immure_jsonr_value *v)
{
	long long now = (long long)time(NULL) * 1000;
	char buf[32];
	const char *name = immure_jsonr_text(r, v, "name");

	immure_buf_printf(b, "%-17s %-20s %-9s %5lld  %-6s %-10s %s\n", immure_jsonr_text(r, v, "session"),
			  name[0] ? name : "-", immure_jsonr_text(r, v, "state"), immure_jsonr_number(r, v, "execs_running"),
			  age(now - immure_jsonr_number(r, v, "created_ms"), buf, sizeof(buf)),
			  immure_jsonr_text(r, v, "profile"), immure_jsonr_text(r, v, "note"));
}

static int print_table(char *json, bool all)
{
	size_t len = strlen(json), cap = 64;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonr_value *v;
	struct immure_jsonr r;
	char *text;
	int status;

	for (size_t i = 0; i < len; i++)
		cap += json[i] == ',' || json[i] == '{';
	v = calloc(cap, sizeof(*v));
	immure_buf_printf(&b, "%-17s %-20s %-9s %5s  %-6s %-10s %s\n", "SESSION", "NAME", "STATE", "EXECS",
			  "AGE", "PROFILE", "NOTE");
	if (v && immure_jsonr_parse(&r, json, len, v, cap) == 0)
		for (const struct immure_jsonr_value *e = immure_jsonr_first(&r, v); e;
		     e = immure_jsonr_after(&r, v, e))
			if (all || immure_jsonr_number(&r, e, "alive"))
				row(&b, &r, e);
	text = immure_buf_take(&b);
	status = immure_cli_print(text);
	free(text);
	free(v);
	return status;
}

int immure_cli_ps(int argc, char **argv)
{
	char path[IMMURE_CLI_PATH_MAX], *json = NULL;
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_runflags f;
	struct immure_error *err = NULL;
	int status = immure_runflags_parse("ps", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first < argc) {
		immure_cli_say("ps: %s: takes options only; 'immure inspect' prints one session",
			       argv[f.first]);
		status = IMMURE_EXIT_FAILED;
	} else if (immure_session_list(&o, &json, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = f.json ? immure_cli_print_json(json) : print_table(json, f.session.all);
	immure_string_free(json);
	immure_runflags_done(&f);
	return status;
}
