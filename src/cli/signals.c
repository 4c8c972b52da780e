/* SPDX-License-Identifier: Apache-2.0 */
/* Our signals, while we stand for a process that runs elsewhere. */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/session.h"

int immure_cli_watch_signals(sigset_t *saved)
{
	sigset_t watched;

	sigemptyset(&watched);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGHUP);
	sigaddset(&watched, SIGQUIT);
	sigaddset(&watched, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &watched, saved) < 0)
		return -1;
	return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The first goes to the command, the second is the end of it and what descends from it. */
int immure_cli_pass_signal(int fd, immure_process *process, int *seen)
{
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof(si)) != sizeof(si))
		return 0;
	if (si.ssi_signo == SIGWINCH)
		return SIGWINCH;
	if (++*seen == 1)
		(void)immure_process_signal(process, (int32_t)si.ssi_signo, IMMURE_SIGNAL_GROUP, NULL);
	else
		(void)immure_process_signal(process, SIGKILL, IMMURE_SIGNAL_TREE, NULL);
	return (int)si.ssi_signo;
}
