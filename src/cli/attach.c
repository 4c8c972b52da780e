/* SPDX-License-Identifier: Apache-2.0 */
/* attach: follows an exec that was started before, from what is kept of its output
 * on; logs: prints what is kept. */
#include <stdlib.h>
#include <string.h>

#include "base/jsonr.h"
#include "cli/session.h"

enum { VALUES = 4096 };

/* The number of the newest exec, 0 when there is none, and whether it has a terminal. */
static int32_t newest(immure_session *session, uint64_t *ret, struct immure_error **err)
{
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	const struct immure_jsonr_value *first, *number;
	struct immure_jsonr r;
	char *text = NULL;
	int32_t e = immure_session_request(session, "execs", NULL, &text, err);

	*ret = 0;
	if (e == 0 && v && immure_jsonr_parse(&r, text, strlen(text), v, VALUES) == 0) {
		first = immure_jsonr_first(&r, immure_jsonr_get(&r, &v[0], "execs"));
		number = immure_jsonr_get(&r, first, "exec");
		*ret = number ? (uint64_t)number->integer : 0;
	}
	if (e == 0 && *ret == 0)
		e = immure_fail(err, IMMURE_ERR_STATE, 0, "attach", "", "no command was started here that "
				"anything is kept of");
	immure_string_free(text);
	free(v);
	return e;
}

/* From here on denials come as they happen; those before, now. */
static bool tell_denials(immure_session *session, const struct immure_runflags *f, uint64_t *told)
{
	char *text = NULL;

	if (f->quiet || f->json ||
	    immure_session_request(session, "net", "{\"follow\":true}", &text, NULL) < 0)
		return false;
	immure_string_free(text);
	(void)immure_cli_print_denials(session, false, told); /* the output counts */
	return true;
}

static int follow(immure_session *session, const struct immure_runflags *f, uint64_t *told)
{
	struct immure_error *err = NULL;
	immure_process *process = NULL;
	struct immure_cli_denials denials = { .print = immure_cli_print_denial }, *with = NULL;
	uint64_t exec = f->session.exec;
	int status;

	if (!f->session.has_exec && newest(session, &exec, &err) < 0)
		return immure_cli_fail(err);
	if (immure_session_attach(session, exec, &process, &err) < 0)
		return immure_cli_fail(err);
	if (told && tell_denials(session, f, told)) {
		denials.told = *told;
		with = &denials;
	}
	status = immure_cli_follow(session, process, immure_process_has_terminal(process), with);
	if (with)
		*told = denials.told;
	immure_process_free(process);
	return status;
}

int immure_cli_attach(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("attach", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = follow(session, &f, NULL);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}

int immure_cli_logs(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	struct immure_error *err = NULL;
	uint64_t exec, told = 0;
	int next, status = immure_cli_session_open("logs", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	exec = f.session.exec;
	if (f.session.follow)
		status = follow(session, &f, &told);
	else if (f.json && !f.session.has_exec)
		status = immure_cli_session_ask(session, "execs", NULL, true);
	else if (!f.session.has_exec && newest(session, &exec, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = immure_cli_print_output(session, exec, f.json);
	/* Of the whole session, whichever command it was; the status is the command's. */
	if (!f.quiet && (!f.json || f.session.has_exec))
		(void)immure_cli_print_denials(session, f.json, &told);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
