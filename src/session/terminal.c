/* SPDX-License-Identifier: Apache-2.0 */
#include "session/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

void immure_terminal_resize(const struct immure_terminal *t)
{
	struct winsize size;

	/* A terminal without a size leaves the session's at 0x0, as it is. */
	if (t->tty_fd >= 0 && t->master_fd >= 0 && ioctl(t->tty_fd, TIOCGWINSZ, &size) == 0)
		(void)ioctl(t->master_fd, TIOCSWINSZ, &size);
}

void immure_terminal_enter(struct immure_terminal *t)
{
	struct termios raw;

	if (t->raw || t->tty_fd < 0 || tcgetattr(t->tty_fd, &t->saved) < 0)
		return;
	/* The session's terminal starts with the caller's settings. */
	(void)tcsetattr(t->master_fd, TCSANOW, &t->saved);
	if (tcgetpgrp(t->tty_fd) != getpgrp())
		return;
	raw = t->saved;
	raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_oflag &= ~(tcflag_t)OPOST;
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	t->raw = tcsetattr(t->tty_fd, TCSANOW, &raw) == 0;
}

void immure_terminal_leave(struct immure_terminal *t)
{
	if (t->raw)
		(void)tcsetattr(t->tty_fd, TCSADRAIN, &t->saved); /* gone: nothing to restore */
	t->raw = false;
}
