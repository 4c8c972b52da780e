/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's terminal while a session has one of its own: raw, and its size
 * handed on. */
#ifndef IMMURE_SESSION_TERMINAL_H
#define IMMURE_SESSION_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct immure_terminal {
	int tty_fd;    /* the caller's, borrowed; -1 = none */
	int master_fd; /* the session's, owned */
	bool raw;
	struct termios saved;
};

/* Raw mode only when the caller is in the foreground: a background job that
 * touches the terminal would be stopped. */
void immure_terminal_enter(struct immure_terminal *t);
void immure_terminal_leave(struct immure_terminal *t);
void immure_terminal_resize(const struct immure_terminal *t);

#endif
