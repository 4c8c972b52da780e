/* SPDX-License-Identifier: Apache-2.0 */
/* detach: a ticket for whoever takes a session over. */
#include "cli/session.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/jsonw.h"

static int print(const char *ticket, bool json)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;
	int status;

	if (json) {
		immure_jsonw_init(&w, &b, 0);
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "ticket", ticket);
		immure_jsonw_end(&w, '}');
	} else {
		immure_buf_puts(&b, ticket);
	}
	immure_buf_putc(&b, '\n');
	text = immure_buf_take(&b);
	status = immure_cli_print(text);
	free(text);
	return status;
}

int immure_cli_detach(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	struct immure_error *err = NULL;
	char *ticket = NULL;
	int next, status = immure_cli_session_open("detach", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (immure_session_ticket(session, f.valid_ms, &ticket, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = print(ticket, f.json);
	immure_string_free(ticket);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
