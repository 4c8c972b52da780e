/* SPDX-License-Identifier: Apache-2.0 */
/* run --pool, where nobody is between us and the command: in a sandbox that was made for
 * it, or over the lane of a session that is used again. Our streams, our signals, its
 * exit status. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/session.h"

static int32_t follow(int fd, immure_process *process, int signal_fd, struct immure_exit *ret,
		      struct immure_error **err)
{
	int seen = 0;
	int32_t r;

	while ((r = immure_process_wait(process, 0, ret, err)) == 0) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
				       { .fd = signal_fd, .events = POLLIN } };

		if (poll(p, 2, -1) > 0 && p[1].revents)
			(void)immure_cli_pass_signal(signal_fd, process, &seen); /* no terminal is ours */
	}
	return r;
}

static int exit_status(const struct immure_exit *x, const char *command)
{
	if (x->failed == IMMURE_ERR_NOT_FOUND || x->failed == IMMURE_ERR_NOT_EXECUTABLE)
		immure_cli_say("%s: %s", command, strerror(x->errnum));
	else if (x->failed && x->errnum == EAGAIN)
		immure_cli_say("%s: as many sandboxes as this pool may have are alive; start it with a "
			       "larger --max", command);
	else if (x->failed)
		immure_cli_say("%s: cannot be started: %s", command, strerror(x->errnum));
	if (x->timed_out)
		return IMMURE_EXIT_TIMEOUT;
	if (x->over_memory)
		immure_cli_say("limits.memory: the limit was reached; processes were killed");
	return x->signo ? 128 + x->signo : x->code & 255;
}

static struct immure_exec_options options_of(const struct immure_runflags *f, const char *const *argv)
{
	return (struct immure_exec_options){
		.size = sizeof(struct immure_exec_options), .argv = argv, .env = f->session.env.v, .cwd = f->cwd,
		.stdin_fd = STDIN_FILENO, .stdout_fd = STDOUT_FILENO, .stderr_fd = STDERR_FILENO,
		.timeout_ms = f->session.timeout_ms, .key = f->session.key,
		.approval = f->session.approval,
		.flags = (f->session.tty ? IMMURE_EXEC_PTY : 0u) |
			 (f->session.detach ? IMMURE_EXEC_DETACH : 0u),
	};
}

int immure_cli_exec_after(immure_pool *pool, const struct immure_acquire_options *agree,
			  const struct immure_runflags *f, const char *const *argv)
{
	struct immure_exec_options o = options_of(f, argv);
	struct immure_exit x = { .size = sizeof(x), .code = IMMURE_EXIT_FAILED };
	struct immure_error *err = NULL;
	immure_process *process = NULL;
	sigset_t saved;
	/* First: the command may be there before we know of it. */
	IMMURE_CLEANUP_FD int signal_fd = immure_cli_watch_signals(&saved);
	int32_t r = immure_pool_exec(pool, &o, agree, &process, &err);

	if (r == 0)
		r = follow(immure_pool_fd(pool), process, signal_fd, &x, &err);
	(void)sigprocmask(SIG_SETMASK, &saved, NULL); /* what it was, so valid */
	if (r > 0) /* as a run does before it returns */
		r = immure_pool_settle(pool, &err);
	immure_process_free(process);
	return r < 0 ? immure_cli_fail(err) : exit_status(&x, argv[0]);
}

bool immure_cli_can_lane(const struct immure_runflags *f)
{
	return !f->session.tty && !f->session.detach && !f->session.key && !f->session.approval &&
	       !f->session.capture;
}

int immure_cli_exec_lane(immure_session *session, const struct immure_runflags *f, const char *const *argv)
{
	struct immure_exec_options o = options_of(f, argv);
	struct immure_exit x = { .size = sizeof(x), .code = IMMURE_EXIT_FAILED };
	struct immure_error *err = NULL;
	immure_process *process = NULL;
	sigset_t saved;
	IMMURE_CLEANUP_FD int signal_fd = immure_cli_watch_signals(&saved); /* as above */
	int32_t r = immure_session_exec(session, &o, &process, &err);

	if (r == 0)
		r = follow(immure_session_fd(session), process, signal_fd, &x, &err);
	(void)sigprocmask(SIG_SETMASK, &saved, NULL); /* what it was, so valid */
	immure_process_free(process);
	return r < 0 ? immure_cli_fail(err) : exit_status(&x, argv[0]);
}
