/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a supervisor: posix_spawn, so that the cost does not depend on the
 * size of the host program. PATH and HOME are not its business: its environment
 * is empty. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "lib/session.h"

static int place(posix_spawn_file_actions_t *acts, const int fds[5], int null)
{
	int r = 0;

	for (int i = 0; i < 5 && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(acts, fds[i] < 0 ? null : fds[i], i);
	return r;
}

static int clean_signals(posix_spawnattr_t *attr)
{
	sigset_t none, plain;
	int r;

	sigemptyset(&none);
	sigemptyset(&plain);
	sigaddset(&plain, SIGPIPE);
	sigaddset(&plain, SIGINT);
	sigaddset(&plain, SIGTERM);
	r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &plain);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (r == 0)
		r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							   POSIX_SPAWN_SETPGROUP);
	return r;
}

int immure_spawn_supervisor(const char *path, const char *const *argv, const int fds[5], pid_t *ret_pid)
{
	posix_spawn_file_actions_t acts;
	posix_spawnattr_t attr;
	char *env[] = { NULL };
	IMMURE_CLEANUP_FD int null = immure_open_null();
	int r = null < 0 ? -null : immure_fd_raise(&null, 10) < 0 ? EMFILE : 0;

	if (r == 0)
		r = posix_spawn_file_actions_init(&acts);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&acts);
		return -r;
	}
	r = place(&acts, fds, null);
	if (r == 0)
		r = clean_signals(&attr);
	if (r == 0)
		r = posix_spawn(ret_pid, path ? path : IMMURE_BINDIR "/immure", &acts, &attr,
				(char *const *)(uintptr_t)argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&acts);
	return -r;
}

void immure_reap(pid_t *pid)
{
	while (*pid > 0 && waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = -1;
}
