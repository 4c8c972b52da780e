/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file of text became, by diff(1). It reads what a stranger wrote, so it gets two
 * descriptors and no name of a file, little time and memory, and no environment; its
 * output is shown as text.
 */
#include "cli/unified.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

enum { FILE_MAX = 4 << 20, SHOWN_MAX = 8 << 20, SECONDS = 10, LEFT = 8, RIGHT = 9 };

static bool is_large(int fd)
{
	struct stat st;

	return fd >= 0 && (fstat(fd, &st) < 0 || st.st_size > FILE_MAX);
}

/* In the child. */
static void become_diff(int a, int b, int out, const char *from, const char *to)
{
	static const char *const paths[] = { "/usr/bin/diff", "/bin/diff" };
	char *const env[] = { (char[]){ "LC_ALL=C" }, NULL };
	const struct rlimit cpu = { SECONDS, SECONDS }, memory = { 1U << 29, 1U << 29 }, none = { 0, 0 };
	char old[256 + 8], fresh[256 + 8];

	(void)snprintf(old, sizeof(old), "--label=%s", from);
	(void)snprintf(fresh, sizeof(fresh), "--label=%s", to);
	/* Out of the way first: one may have the number that the other gets. */
	a = fcntl(a, F_DUPFD_CLOEXEC, RIGHT + 1);
	b = fcntl(b, F_DUPFD_CLOEXEC, RIGHT + 1);
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(a, LEFT) < 0 || dup2(b, RIGHT) < 0 ||
	    setrlimit(RLIMIT_CPU, &cpu) < 0 || setrlimit(RLIMIT_AS, &memory) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(3);
	for (size_t i = 0; i < 2; i++) {
		char *const argv[] = { (char[]){ "diff" }, (char[]){ "-u" }, old, fresh, (char[]){ "--" },
				       (char[]){ "/dev/fd/8" }, (char[]){ "/dev/fd/9" }, NULL };

		(void)execve(paths[i], argv, env);
	}
	_exit(4);
}

static void put(struct immure_buf *out, const char *text, size_t len, bool safe)
{
	while (len) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;

		if (safe)
			immure_buf_put_printable(out, text, n);
		else
			immure_buf_put(out, text, n);
		if (nl)
			immure_buf_putc(out, '\n');
		n += nl ? 1 : 0;
		text += n;
		len -= n;
	}
}

static void run(const char *from, const char *to, int a, int b, bool safe, struct immure_buf *out)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	int p[2], status = 0, r;
	size_t len = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0)
		become_diff(a, b, p[1], from, to);
	immure_close(&p[1]);
	r = pid < 0 ? -errno : immure_read_all(p[0], SHOWN_MAX, &text, &len);
	if (r < 0 && pid > 0)
		(void)kill(pid, SIGKILL); /* our own child, not waited for yet */
	immure_close(&p[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 4)
		immure_buf_puts(out, "(there is no diff program here to show it)\n");
	else if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 2)
		immure_buf_puts(out, "(too much to show)\n");
	else if (WEXITSTATUS(status) == 2 && len == 0)
		immure_buf_puts(out, "(cannot be shown)\n");
	else
		put(out, text, len, safe);
}

void immure_cli_unified(const char *name, int a, int b, bool safe, struct immure_buf *out)
{
	IMMURE_CLEANUP_FD int nothing = -1;
	struct immure_buf shown = IMMURE_BUF_INIT;
	char from[256], to[256];

	immure_buf_put_printable(&shown, name, strlen(name));
	(void)snprintf(from, sizeof(from), a < 0 ? "/dev/null" : "a/%.240s", immure_buf_ok(&shown) ? shown.data : "?");
	(void)snprintf(to, sizeof(to), b < 0 ? "/dev/null" : "b/%.240s", immure_buf_ok(&shown) ? shown.data : "?");
	immure_buf_done(&shown);
	if (is_large(a) || is_large(b)) {
		immure_buf_printf(out, "--- %s\n+++ %s\n(too large to show)\n", from, to);
		return;
	}
	nothing = immure_open_null();
	if (nothing >= 0)
		run(from, to, a < 0 ? nothing : a, b < 0 ? nothing : b, safe, out);
}
