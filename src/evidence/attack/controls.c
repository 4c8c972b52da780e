/* SPDX-License-Identifier: Apache-2.0 */
/* What must work. Where nothing works every attack fails too, and a proof of
 * that would prove nothing. */
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool write_file_in(struct attack_result *r, const char *dir)
{
	char path[4096];
	int fd, e = 0;

	attack_name(path, sizeof(path), dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		attack_denied(r, errno, "create in %s: %s", dir, strerror(errno));
		return false;
	}
	if (write(fd, "x", 1) != 1)
		e = errno;
	(void)close(fd); /* removed next */
	if (unlink(path) < 0)
		e = errno;
	if (e)
		attack_denied(r, e, "write and remove in %s: %s", dir, strerror(e));
	return e == 0;
}

/* Every one of them must be writable. */
static void write_in_all(const struct attack_ctx *ctx, struct attack_result *r, const char *kind)
{
	unsigned int n = 0;
	const char *dir;
	size_t i = 0;

	while ((dir = attack_next(ctx, kind, &i))) {
		if (!write_file_in(r, dir))
			return;
		n++;
	}
	if (n == 0)
		attack_unsupported(r, "no such place");
	else
		attack_done(r, "file created, written and removed in %u places", n);
	r->count = n;
}

static void control_workspace(const struct attack_ctx *ctx, struct attack_result *r)
{
	write_in_all(ctx, r, "workspace-rw");
}

static void control_tmp(const struct attack_ctx *ctx, struct attack_result *r)
{
	write_in_all(ctx, r, "tmp");
}

static void control_cwd(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *want = attack_first(ctx, "cwd");
	char is[4096];

	if (!want)
		attack_unsupported(r, "no working directory told");
	else if (!getcwd(is, sizeof(is)))
		attack_denied(r, errno, "getcwd: %s", strerror(errno));
	else if (strcmp(is, want) != 0)
		attack_denied(r, 0, "the working directory is %.120s", is);
	else
		attack_done(r, "the working directory is the plan's");
}

static void control_read_system(const struct attack_ctx *ctx, struct attack_result *r)
{
	int fd = open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)ctx;
	attack_try(r, fd, "read /usr");
}

static void control_dev_null(const struct attack_ctx *ctx, struct attack_result *r)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char byte = 0;

	(void)ctx;
	if (!attack_try(r, fd < 0 || write(fd, "x", 1) != 1 ? -1 : 0, "write /dev/null"))
		return;
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &byte, 1) != 1) {
		r->outcome = ATTACK_NONE;
		attack_denied(r, errno, "read /dev/urandom: %s", strerror(errno));
	}
}

static void control_exec(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = { "/bin/true", "/usr/bin/true", "/bin/busybox" };
	char arg[] = "true";
	char *argv[] = { arg, NULL };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
			(void)execve(paths[i], argv, ctx->envp); /* the last one's errno counts */
		_exit(errno == EACCES ? 126 : 127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		attack_denied(r, errno, "fork: %s", strerror(errno));
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		attack_done(r, "a program was executed");
	else
		attack_denied(r, WIFEXITED(status) && WEXITSTATUS(status) == 126 ? EACCES : ENOENT,
			      "execute true: status %#x", (unsigned int)status);
}

static void *thread_body(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static void control_thread(const struct attack_ctx *ctx, struct attack_result *r)
{
	int ran = 0;
	pthread_t t;
	int e = pthread_create(&t, NULL, thread_body, &ran);

	(void)ctx;
	if (e == 0)
		e = pthread_join(t, NULL);
	if (e != 0 || !ran)
		attack_denied(r, e, "thread: %s", strerror(e));
	else
		attack_done(r, "a thread ran");
}

static void control_unix(const struct attack_ctx *ctx, struct attack_result *r)
{
	int fd[2];

	(void)ctx;
	attack_try(r, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), "socketpair");
}

static void control_loopback(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)ctx;
	if (l < 0 || c < 0 || bind(l, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    listen(l, 1) < 0 || getsockname(l, (struct sockaddr *)&sin, &len) < 0 ||
	    connect(c, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		attack_denied(r, errno, "loopback inside: %s", strerror(errno));
	else
		attack_done(r, "a connection over the session's own loopback");
}

static const struct attack table[] = {
	{ "control.workspace-write", control_workspace },
	{ "control.tmp-write", control_tmp },
	{ "control.working-directory", control_cwd },
	{ "control.read-system", control_read_system },
	{ "control.devices", control_dev_null },
	{ "control.execute", control_exec },
	{ "control.thread", control_thread },
	{ "control.socketpair", control_unix },
	{ "control.loopback", control_loopback },
};
const struct attack_list attack_controls = { table, sizeof(table) / sizeof(table[0]) };
