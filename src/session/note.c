/* SPDX-License-Identifier: Apache-2.0 */
#include "session/note.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

/* What fits into a pipe that is writable at all (PIPE_BUF), so nothing can wait half-way. */
enum { LINE_MAX_BYTES = 4096 };

/* Nobody reads any more: the signal that says so is ours, not the caller's. */
static void take_back(void)
{
	const struct timespec now = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
		;
}

static bool put(int fd, const char *data, size_t len)
{
	sigset_t set, was;
	ssize_t n;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &set, &was) < 0)
		return false;
	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EPIPE)
		take_back();
	(void)sigprocmask(SIG_SETMASK, &was, NULL); /* what it was, so valid */
	return n == (ssize_t)len;
}

bool immure_note(int fd, bool raw, const char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct immure_buf line = IMMURE_BUF_INIT;
	bool told = false;

	immure_buf_puts(&line, "immure: ");
	immure_buf_put_printable(&line, text, strlen(text));
	immure_buf_puts(&line, raw ? "\r\n" : "\n");
	if (immure_buf_ok(&line) && line.len <= LINE_MAX_BYTES && fd >= 0 && poll(&p, 1, 0) == 1 &&
	    p.revents == POLLOUT)
		told = put(fd, line.data, line.len);
	immure_buf_done(&line);
	return told;
}
