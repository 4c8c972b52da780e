/* SPDX-License-Identifier: Apache-2.0 */
/* mount, umount: a file or directory of the host in a living session. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/session.h"

static int ask(immure_session *session, const char *op, const char *source, const char *target,
	       const struct immure_runflags *f)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;
	int status;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "target", target);
	if (source) {
		immure_jsonw_str(&w, "source", source);
		immure_jsonw_str(&w, "mode", f->session.writable ? "rw" : "ro");
	}
	immure_jsonw_end(&w, '}');
	text = immure_buf_take(&b);
	status = immure_cli_session_ask(session, op, text, f->json);
	free(text);
	return status;
}

int immure_cli_mount(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	char real[PATH_MAX];
	int next, status = immure_cli_session_open("mount", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (next >= argc || next + 2 < argc) {
		immure_cli_say("mount: expected SESSION SOURCE [TARGET]");
		status = IMMURE_EXIT_FAILED;
	} else if (!realpath(argv[next], real)) {
		immure_cli_say("%s: there is no such file or directory here", argv[next]);
		status = IMMURE_EXIT_FAILED;
	} else {
		status = ask(session, "mount", real, next + 1 < argc ? argv[next + 1] : real, &f);
	}
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}

int immure_cli_umount(int argc, char **argv)
{
	struct immure_runflags f;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("umount", argc, argv, &f, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (next + 1 != argc) {
		immure_cli_say("umount: expected SESSION TARGET");
		status = IMMURE_EXIT_FAILED;
	} else {
		status = ask(session, "unmount", NULL, argv[next], &f);
	}
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
