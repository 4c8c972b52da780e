/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a socket: by both its ends, whatever else holds the same port. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "session/whose.h"

static struct immure_inet inet_of(const struct sockaddr_in6 *sa)
{
	struct immure_inet a = { .v6 = !IN6_IS_ADDR_V4MAPPED(&sa->sin6_addr),
				 .port = ntohs(sa->sin6_port) };

	memcpy(a.addr, sa->sin6_addr.s6_addr + (a.v6 ? 0 : 12), a.v6 ? 16 : 4);
	return a;
}

static struct sockaddr_in6 mapped(const char *text, uint16_t port)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET6, text, &sa.sin6_addr), 1);
	return sa;
}

/* Any socket is one of IPv6 here: it shows in the kernel's table of that family, and
 * with IPv4 in mapped form. */
static int bound(int kind, const char *text, uint16_t port, struct immure_inet *ret)
{
	int fd = socket(AF_INET6, kind | SOCK_CLOEXEC, 0), on = 1, off = 0;
	struct sockaddr_in6 sa = mapped(text, port);
	socklen_t len = sizeof(sa);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*ret = inet_of(&sa);
	return fd;
}

/* A process with a socket at that port of another address. */
static pid_t decoy(int kind, const char *text, uint16_t port)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct immure_inet at;
		int fd = bound(kind, text, port, &at);

		if (kind == SOCK_STREAM && listen(fd, 1) < 0)
			_exit(1);
		(void)!write(ready[1], "r", 1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static int whose(const struct immure_whose_ends *e, bool udp, uint32_t limit_ms)
{
	int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct immure_whose who;

	immure_whose_socket(getpid(), ns, e, udp, limit_ms, &who);
	(void)close(ns);
	return who.pid;
}

static void a_connection(void **state)
{
	static const struct { const char *here, *other; } kinds[] = {
		{ "::ffff:127.0.0.1", "::ffff:127.0.0.9" }, { "::1", "::ffff:127.0.0.9" },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct immure_whose_ends e;
		int server = bound(SOCK_STREAM, kinds[i].here, 0, &e.meant);
		int client = bound(SOCK_STREAM, kinds[i].here, 0, &e.source);
		struct sockaddr_in6 to = mapped(kinds[i].here, e.meant.port);
		pid_t other = decoy(SOCK_STREAM, kinds[i].other, e.source.port);

		assert_int_equal(listen(server, 1), 0);
		assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(whose(&e, false, 5000), getpid());
		/* The command decides how long looking takes; we, how long we look. */
		assert_int_equal(whose(&e, false, 0), 0);
		end(other);
		(void)close(client);
		(void)close(server);
	}
}

static void a_question(void **state)
{
	struct immure_whose_ends e = { .meant = { .addr = { 127, 0, 0, 1 }, .port = 53 } };
	int fd = bound(SOCK_DGRAM, "::ffff:127.0.0.1", 0, &e.source);
	pid_t other = decoy(SOCK_DGRAM, "::ffff:127.0.0.9", e.source.port);

	(void)state;
	assert_int_equal(whose(&e, true, 5000), getpid());
	end(other);
	/* One that sends from any address could have been it as well. */
	other = decoy(SOCK_DGRAM, "::", e.source.port);
	assert_int_equal(whose(&e, true, 5000), 0);
	end(other);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection),
		cmocka_unit_test(a_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
