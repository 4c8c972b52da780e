/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a living session, as if it ran here: our streams, our signals,
 * its exit status. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsonw.h"
#include "cli/session.h"

struct follow {
	immure_session *session;
	immure_process *process;
	bool tty, raw, input_over, over;
	int signal_fd, signals;
	struct immure_cli_denials *denials;
	struct termios saved;
	struct immure_exit exit;
	struct immure_error *err;
};

static int exit_status(const struct immure_exit *x)
{
	if (x->output_cut)
		immure_cli_say("limits.output: the limit was reached; the rest was discarded");
	if (x->timed_out)
		return IMMURE_EXIT_TIMEOUT;
	if (x->over_memory)
		immure_cli_say("limits.memory: the limit was reached; processes were killed");
	return x->signo ? 128 + x->signo : x->code & 255;
}

/* ---- our terminal ---- */

static void enter_raw(struct follow *f)
{
	struct termios raw;

	if (!f->tty || !isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &f->saved) < 0 ||
	    tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	raw = f->saved;
	cfmakeraw(&raw);
	f->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void leave_raw(struct follow *f)
{
	if (f->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &f->saved); /* gone: nothing to restore */
	f->raw = false;
}

static void resize(struct follow *f)
{
	struct winsize size;

	if (f->tty && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row)
		(void)immure_process_resize(f->process, size.ws_row, size.ws_col, NULL); /* it ended */
}

/* ---- what happens meanwhile ---- */

static void on_input(struct follow *f)
{
	char buf[4096];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		f->input_over = true;
	if (immure_process_write(f->process, buf, n > 0 ? (uint64_t)n : 0, n <= 0, NULL) < 0)
		f->input_over = true; /* it ended, or reads no more */
}

static void on_event(struct follow *f, const struct immure_event *e)
{
	if (e->type == IMMURE_EVENT_OUTPUT) {
		if (e->lost)
			immure_cli_say("%llu bytes of output were dropped", (unsigned long long)e->lost);
		if (immure_write_all(e->stream == 2 ? STDERR_FILENO : STDOUT_FILENO, e->data, e->bytes) < 0)
			(void)immure_process_signal(f->process, SIGHUP, IMMURE_SIGNAL_GROUP, NULL);
	} else if (e->type == IMMURE_EVENT_EXITED && e->process == f->process) {
		f->over = immure_process_wait(f->process, 0, &f->exit, &f->err) != 0;
	} else if (e->type == IMMURE_EVENT_SESSION_ENDED) {
		f->over = true;
	} else if (e->type == IMMURE_EVENT_DENIAL && f->denials && e->cursor == f->denials->told + 1) {
		/* After a gap they are told at the end, with those that were not sent. */
		if (f->denials->print(e->data, f->raw) == 0)
			f->denials->told = e->cursor;
	}
}

static void loop(struct follow *f)
{
	while (!f->over && !f->err) {
		struct pollfd p[3] = {
			{ .fd = immure_session_fd(f->session), .events = POLLIN },
			{ .fd = f->signal_fd, .events = POLLIN },
			{ .fd = f->tty && !f->input_over ? STDIN_FILENO : -1, .events = POLLIN },
		};
		struct immure_event e = { .size = sizeof(e) };
		int32_t r;

		while ((r = immure_session_next(f->session, &e, &f->err)) == 1 && !f->over)
			on_event(f, &e);
		if (r < 0 || f->over)
			break;
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents && immure_cli_pass_signal(f->signal_fd, f->process, &f->signals) == SIGWINCH)
			resize(f);
		if (p[2].revents)
			on_input(f);
	}
}

int immure_cli_follow(immure_session *session, immure_process *process, bool tty,
		      struct immure_cli_denials *denials)
{
	struct follow f = { .session = session, .process = process, .tty = tty, .denials = denials,
			    .exit = { .size = sizeof(f.exit), .code = IMMURE_EXIT_FAILED } };
	sigset_t saved;

	f.signal_fd = immure_cli_watch_signals(&saved);
	enter_raw(&f);
	resize(&f);
	loop(&f);
	leave_raw(&f);
	immure_close(&f.signal_fd);
	(void)sigprocmask(SIG_SETMASK, &saved, NULL); /* what it was, so valid */
	if (f.err)
		return immure_cli_fail(f.err);
	return exit_status(&f.exit);
}

/* ---- starting ---- */

static uint32_t capture_mode(const char *name)
{
	static const char *const names[] = { "summary", "off", "metadata", "content" };

	for (uint32_t i = 0; i < 4; i++)
		if (name && strcmp(names[i], name) == 0)
			return i;
	return IMMURE_CAPTURE_CONTENT_MODE;
}

static int print_number(const immure_process *p, bool json)
{
	char text[64];

	(void)snprintf(text, sizeof(text), json ? "{\"exec\":%llu}\n" : "%llu\n",
		       (unsigned long long)immure_process_id(p));
	return immure_cli_print(text);
}

int immure_cli_exec_in(immure_session *session, const struct immure_runflags *flags,
		       const char *const *argv)
{
	const struct immure_sessionflags *s = &flags->session;
	struct immure_exec_options o = {
		.size = sizeof(o), .argv = argv, .env = s->env.v, .cwd = flags->cwd,
		.stdin_fd = STDIN_FILENO, .stdout_fd = STDOUT_FILENO, .stderr_fd = STDERR_FILENO,
		.flags = IMMURE_EXEC_NO_LANE, .timeout_ms = s->timeout_ms, .key = s->key,
		.approval = s->approval, .capture = capture_mode(s->capture), .capture_max = 1 << 20,
	};
	struct immure_error *err = NULL;
	immure_process *process = NULL;
	struct winsize size;
	int32_t r;
	int status;

	if (s->tty) {
		o.flags |= IMMURE_EXEC_PTY;
		if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) {
			o.rows = size.ws_row;
			o.cols = size.ws_col;
		}
	}
	if (s->detach) {
		o.flags |= IMMURE_EXEC_DETACH;
		o.stdin_fd = IMMURE_STREAM_NULL;
		o.stdout_fd = o.stderr_fd = IMMURE_STREAM_EVENTS;
	}
	r = immure_session_exec(session, &o, &process, &err);
	if (r == -IMMURE_ERR_UNSUPPORTED && strcmp(immure_error_subject(err), "limits.output") == 0) {
		/* Then it comes by way of the server, which counts. */
		immure_error_free(err);
		err = NULL;
		o.stdout_fd = o.stderr_fd = IMMURE_STREAM_EVENTS;
		r = immure_session_exec(session, &o, &process, &err);
	}
	if (r < 0)
		return immure_cli_fail(err);
	status = s->detach ? print_number(process, flags->json)
			   : immure_cli_follow(session, process, s->tty, NULL);
	immure_process_free(process);
	return status;
}

int immure_cli_exec(int argc, char **argv)
{
	struct immure_runflags flags;
	immure_session *session = NULL;
	int next, status = immure_cli_session_open("exec", argc, argv, &flags, &session, &next);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (next >= argc) {
		immure_cli_say("exec: no command given; try 'immure exec SESSION -- COMMAND'");
		status = IMMURE_EXIT_FAILED;
	} else {
		status = immure_cli_exec_in(session, &flags, (const char *const *)argv + next);
	}
	immure_session_free(session);
	immure_runflags_done(&flags);
	return status;
}
