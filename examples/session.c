/* SPDX-License-Identifier: Apache-2.0 */
/* session: one place, many commands; each has its own streams, time and result,
 * and finds what the ones before it left. */
#include "common.h"

static int32_t sh(immure_session *session, const char *script, uint64_t timeout_ms)
{
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = IMMURE_STREAM_NULL,
					 .stdout_fd = 1, .stderr_fd = 2, .timeout_ms = timeout_ms };
	struct immure_exit ended = { .size = sizeof(ended) };
	immure_process *process = NULL;
	immure_error *err = NULL;

	fflush(stdout);
	if (immure_session_exec(session, &o, &process, &err) < 0 ||
	    immure_process_wait(process, -1, &ended, &err) < 0)
		fail(err);
	immure_process_free(process);
	if (ended.timed_out)
		return 124;
	return ended.signo ? 128 + ended.signo : ended.code;
}

int main(void)
{
	immure_session *session = make_session(IMMURE_LIFE_CALLER);

	printf("status %d\n", sh(session, "echo written by one command > /tmp/note", 0));
	printf("status %d\n", sh(session, "cat /tmp/note; exit 3", 0));
	printf("status %d\n", sh(session, "kill -TERM $$", 0));
	printf("status %d\n", sh(session, "sleep 60", 100));
	printf("status %d\n", sh(session, "no-such-command", 0));
	immure_session_free(session); /* IMMURE_LIFE_CALLER: it ends here */
	return 0;
}
