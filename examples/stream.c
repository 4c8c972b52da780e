/* SPDX-License-Identifier: Apache-2.0 */
/* stream: two commands at once in one event loop, their output as it comes, and
 * input for one of them. The loop has one descriptor to watch. */
#include <poll.h>
#include <string.h>

#include "common.h"

static immure_process *start(immure_session *session, const char *script)
{
	const char *argv[] = { "/bin/sh", "-c", script, NULL };
	struct immure_exec_options o = { .size = sizeof(o), .argv = argv, .stdin_fd = IMMURE_STREAM_EVENTS,
					 .stdout_fd = IMMURE_STREAM_EVENTS,
					 .stderr_fd = IMMURE_STREAM_EVENTS };
	immure_process *process = NULL;
	immure_error *err = NULL;

	if (immure_session_exec(session, &o, &process, &err) < 0)
		fail(err);
	return process;
}

static void show(const char *who, const struct immure_event *e)
{
	printf("%s %s %llu: %.*s", who, e->stream == 1 ? "stdout" : "stderr",
	       (unsigned long long)e->cursor, (int)e->bytes, (const char *)e->data);
}

int main(void)
{
	immure_session *session = make_session(IMMURE_LIFE_CALLER);
	immure_process *reader = start(session, "while read -r line; do echo \"got $line\"; done");
	immure_process *talker = start(session, "echo one; sleep 0.1; echo two >&2; exit 5");
	struct pollfd p = { .fd = immure_session_fd(session), .events = POLLIN };
	struct immure_exit ended = { .size = sizeof(ended) };
	struct immure_event e;
	immure_error *err = NULL;
	int running = 2;
	int32_t r;

	if (immure_process_write(reader, "a line\n", strlen("a line\n"), 1, &err) < 0)
		fail(err);
	while (running > 0) {
		memset(&e, 0, sizeof(e));
		e.size = sizeof(e);
		r = immure_session_next(session, &e, &err);
		if (r < 0)
			fail(err);
		if (r == 0) { /* nothing now */
			if (poll(&p, 1, 30000) != 1)
				return 1;
		} else if (e.type == IMMURE_EVENT_OUTPUT) {
			show(e.process == reader ? "reader" : "talker", &e);
		} else if (e.type == IMMURE_EVENT_EXITED) {
			const char *who = e.process == reader ? "reader" : "talker";

			if (immure_process_wait(e.process, 0, &ended, &err) < 0)
				fail(err);
			printf("%s ended with %d\n", who, ended.code);
			running--;
		}
	}
	immure_process_free(reader);
	immure_process_free(talker);
	immure_session_free(session);
	return 0;
}
