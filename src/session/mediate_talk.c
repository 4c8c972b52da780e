/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with a mediator. Everything here that is not a well-formed allow in
 * time comes out as a denial: the verdict starts as one and is changed in one place. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsonr.h"
#include "session/mediate.h"

enum { ANSWER_BYTES = 16 << 10, VALUES = 64, RETRY_LEAST_MS = 50, RETRY_MS = 1000 };

static void failed(struct immure_verdict *v, const char *why)
{
	*v = (struct immure_verdict){ .decision = IMMURE_DECISION_DENY, .failed = 1 };
	(void)snprintf(v->reason, sizeof(v->reason), "%s", why); /* cut is enough */
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the answer ---- */

static bool take_text(const struct immure_jsonr *r, const char *key, char *to, size_t size)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(r, &r->v[0], key);

	if (!v || v->type == IMMURE_JSON_NULL)
		return true;
	if (v->type != IMMURE_JSON_STRING || v->len >= size)
		return false;
	memcpy(to, v->text, v->len + 1);
	return true;
}

void immure_mediate_parse(char *text, size_t len, struct immure_verdict *ret)
{
	static const char *const words[] = { "deny", "allow", "pending_hitl" };
	struct immure_jsonr_value values[VALUES];
	struct immure_jsonr r = { 0 };
	const struct immure_jsonr_value *v;
	struct immure_verdict got = { 0 };

	failed(ret, "its answer is not understood");
	if (immure_jsonr_parse(&r, text, len, values, VALUES) < 0 || values[0].type != IMMURE_JSON_OBJECT)
		return;
	v = immure_jsonr_get(&r, &values[0], "retry_after_ms");
	if (v && v->type != IMMURE_JSON_NULL) {
		if (v->type != IMMURE_JSON_INTEGER || v->integer < 0)
			return;
		got.retry_ms = (uint64_t)v->integer;
	}
	if (!take_text(&r, "reason", got.reason, sizeof(got.reason)) ||
	    !take_text(&r, "approval_token", got.token, sizeof(got.token)))
		return;
	v = immure_jsonr_get(&r, &values[0], "decision");
	if (!v || v->type != IMMURE_JSON_STRING)
		return;
	for (uint32_t i = 0; i < 3; i++) {
		if (strcmp(v->text, words[i]) != 0)
			continue;
		got.decision = i;
		*ret = got;
	}
}

/* ---- one question ---- */

static int ready(int fd, short events, uint64_t until)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = now_ms();
		int n = now >= until ? 0 : poll(&p, 1, (int)(until - now));

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_line(int fd, const char *line, uint64_t until)
{
	size_t len = strlen(line), sent = 0;

	while (sent < len) {
		ssize_t n = write(fd, line + sent, len - sent);
		int r;

		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = ready(fd, POLLOUT, until);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One line, and nothing after it but the end. */
static int read_line(int fd, char *buf, size_t size, size_t *ret_len, uint64_t until)
{
	size_t len = 0;

	for (;;) {
		ssize_t n;
		char *end;
		int r = ready(fd, POLLIN, until);

		if (r < 0)
			return r;
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		end = memchr(buf, '\n', len);
		if (end && end != buf + len - 1)
			return -EBADMSG;
		if (end || n == 0) {
			*ret_len = end ? len - 1 : len;
			return *ret_len ? 0 : -ENODATA;
		}
		if (len == size - 1)
			return -EMSGSIZE;
	}
}

/* Whoever listens there: the caller, or root. */
static int check_peer(int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	return peer.uid == 0 || peer.uid == geteuid() ? 0 : -EPERM;
}

static int dial(const char *path, uint64_t until)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	IMMURE_CLEANUP_FD int fd = -1;
	int r = 0;

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: its queue is full; it has the time of an answer to empty it. */
	while (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		struct timespec pause = { .tv_nsec = 5000000 };

		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (now_ms() >= until)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL); /* woken early is as good */
	}
	r = check_peer(fd);
	return r < 0 ? r : immure_take_fd(&fd);
}

/* Its own file, or root's, that nobody else writes: it runs as the caller. */
static int check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 0022) ? 0 : -EPERM;
}

static int spawn(const char *path, pid_t *ret_pid)
{
	int pair[2], r = check_program(path);
	pid_t pid;

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		char *const argv[] = { (char *)(uintptr_t)path, NULL };
		sigset_t none;

		sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* if not, it lives on without a reader */
		if (setpgid(0, 0) == 0 && dup2(pair[1], 0) >= 0 && dup2(pair[1], 1) >= 0)
			(void)execv(path, argv);
		_exit(127);
	}
	immure_close(&pair[1]);
	if (pid < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
		r = -errno;
		immure_close(&pair[0]);
		return r;
	}
	*ret_pid = pid;
	return pair[0];
}

static void ask(const struct immure_op *op, const char *line, uint64_t until, struct immure_verdict *ret)
{
	uint64_t late = now_ms() + op->num[2];
	char answer[ANSWER_BYTES];
	size_t len = 0;
	pid_t pid = -1;
	int r;

	if (late > until)
		late = until;
	IMMURE_CLEANUP_FD int fd = op->num[0] ? spawn(op->src, &pid) : dial(op->src, late);
	r = fd < 0 ? fd : send_line(fd, line, late);
	if (r == 0 && shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		r = -errno;
	if (r == 0 || r == -EPIPE || r == -ECONNRESET) /* it may know its answer without reading on */
		r = read_line(fd, answer, sizeof(answer), &len, late);
	if (pid > 0) {
		(void)kill(-pid, SIGKILL); /* what it had to say, it has said */
		(void)kill(pid, SIGKILL);  /* before it had a group of its own */
		(void)waitpid(pid, NULL, 0); /* ours, and dead */
	}
	if (r == 0)
		immure_mediate_parse(answer, len, ret);
	else
		failed(ret, r == -ETIMEDOUT ? "no answer in time" :
			    r == -EPERM ? "it belongs to somebody else" :
			    r == -ENODATA ? "no answer" :
			    r == -EBADMSG || r == -EMSGSIZE ? "its answer is not understood" :
			    strerror(-r));
}

void immure_mediate_talk(const struct immure_mediate_talk *t, struct immure_verdict *ret)
{
	uint64_t until = now_ms() + t->op->num[3];
	char *line = NULL;

	(void)signal(SIGPIPE, SIG_IGN); /* a number that there is */
	for (;;) {
		uint64_t pause, now;
		struct timespec ts;

		ask(t->op, line ? line : t->line, until, ret);
		if (ret->decision != IMMURE_DECISION_PENDING || t->op->num[1])
			break;
		pause = !ret->retry_ms ? RETRY_MS : ret->retry_ms < RETRY_LEAST_MS ? RETRY_LEAST_MS :
								     ret->retry_ms;
		now = now_ms();
		if (now >= until || pause >= until - now) {
			failed(ret, "nobody decided in time");
			break;
		}
		ts = (struct timespec){ (time_t)(pause / 1000), (long)(pause % 1000) * 1000000 };
		(void)nanosleep(&ts, NULL); /* woken early asks early */
		free(line);
		line = t->again(t->ctx, ret->token);
		if (!line) {
			failed(ret, "out of memory");
			break;
		}
	}
	free(line);
}
