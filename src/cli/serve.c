/* SPDX-License-Identifier: Apache-2.0 */
/* serve --stdio: the protocol of a session over our standard streams, one JSON
 * object a line, for programs that start us and can do no more than that. Without
 * a session's name one is made, which ends with our input. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "cli/session.h"

enum { PACKET = 64 << 10, LINE_MAX_BYTES = 4 << 20 };

struct relay {
	int sock;
	struct immure_buf in;
	bool discard; /* until the end of a line that is too long */
};

/* What is longer than a packet goes in a file in memory: the session reads all of
 * the request there, so the small one needs no more than the same id and op. */
static int send_long(int sock, const char *line, size_t len)
{
	static const char head[] = "{\"id\":0,\"op\":\"inspect\",\"params\":{\"fd\":0}}";
	struct iovec iov = { (void *)(uintptr_t)head, sizeof(head) - 1 };
	IMMURE_CLEANUP_FD int fd = memfd_create("immure-request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 ? -errno : immure_write_all(fd, line, len);
	ssize_t n = r < 0 ? r : immure_fdmsg_send(sock, &iov, 1, &fd, 1, 0);

	return n < 0 ? (int)n : 0;
}

static int send_line(int sock, const char *line, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)line, len };
	ssize_t n;

	if (len == 0)
		return 0;
	if (len > PACKET)
		return send_long(sock, line, len);
	n = immure_fdmsg_send(sock, &iov, 1, NULL, 0, 0);
	return n < 0 ? (int)n : 0;
}

/* 1 at the end of input. */
static int from_input(struct relay *r)
{
	char piece[16384], *nl;
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	size_t at = 0;
	int e = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return 1;
	immure_buf_put(&r->in, piece, (size_t)n);
	if (!immure_buf_ok(&r->in))
		return -ENOMEM;
	while (e == 0 && (nl = memchr(r->in.data + at, '\n', r->in.len - at))) {
		size_t len = (size_t)(nl - (r->in.data + at));

		if (!r->discard)
			e = send_line(r->sock, r->in.data + at, len);
		r->discard = false;
		at += len + 1;
	}
	memmove(r->in.data, r->in.data + at, r->in.len - at);
	r->in.len -= at;
	if (r->in.len > LINE_MAX_BYTES) {
		immure_cli_say("serve: a line of more than %d bytes is left out", LINE_MAX_BYTES);
		r->in.len = 0;
		r->discard = true;
	}
	return e;
}

/* 1 at the end of the session. */
static int to_output(struct relay *r, char *packet)
{
	int fds[8];
	size_t n;
	ssize_t len = immure_fdmsg_receive(r->sock, packet, PACKET, fds, 8, &n, 0);

	immure_close_all(fds, n); /* a line cannot carry them */
	if (len == -EINTR)
		return 0;
	if (len <= 0)
		return 1;
	packet[len] = '\n';
	return immure_write_all(STDOUT_FILENO, packet, (size_t)len + 1);
}

static int relay(int sock)
{
	struct relay r = { .sock = sock, .in = IMMURE_BUF_INIT };
	char *packet = malloc(PACKET + 1);
	int e = packet ? 0 : -ENOMEM;

	while (e == 0) {
		struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
				       { .fd = sock, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			e = to_output(&r, packet);
		if (e == 0 && p[0].revents)
			e = from_input(&r);
	}
	free(packet);
	immure_buf_done(&r.in);
	if (e < 0)
		immure_cli_say("serve: %s", strerror(-e));
	return e < 0 ? IMMURE_EXIT_FAILED : 0;
}

int immure_cli_serve(int argc, char **argv)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_runflags f;
	struct immure_error *err = NULL;
	immure_session *own = NULL;
	const char *name;
	int fd = -1, status = immure_runflags_parse("serve", argc, argv, &f);
	int32_t r = 0;

	if (status != IMMURE_CLI_GO_ON)
		return status;
	name = f.first < argc ? argv[f.first] : NULL;
	if (!f.session.stdio) {
		immure_cli_say("serve: --stdio is the one way there is");
		immure_runflags_done(&f);
		return IMMURE_EXIT_FAILED;
	}
	if (!name) {
		r = immure_cli_create_session(&f, true, &own, &err);
		name = own ? immure_session_id(own) : NULL;
	}
	if (r == 0)
		r = immure_session_connect(name, &o, &fd, &err);
	status = r < 0 ? immure_cli_fail(err) : relay(fd);
	immure_close(&fd);
	immure_session_free(own);
	immure_runflags_done(&f);
	return status;
}
