/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that a supervisor makes and connects for a command (session/broker.h), on
 * this machine's loopback. Where that is down there is nothing to try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/broker.h"

static void to_loopback(int port, bool v6, struct sockaddr_storage *sa, socklen_t *len)
{
	struct immure_inet at = { .v6 = v6, .port = (uint16_t)port };

	memcpy(at.addr, ((uint8_t[]){ 127, 0, 0, 1 }), v6 ? 0 : 4);
	at.addr[15] = v6;
	*len = immure_inet_sockaddr(&at, sa);
}

/* Whichever call is used, with an address or without, before and after an attempt to
 * connect. */
static void datagrams_neither_leave_nor_arrive(void **unused)
{
	struct immure_inet theirs = { 0 };
	struct sockaddr_storage sa;
	struct iovec iov = { "x", 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &sa } };
	int other = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), fd, zero = 0;
	socklen_t len;
	char c;

	(void)unused;
	fd = immure_brokersock_make(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	to_loopback(0, false, &sa, &len);
	assert_int_equal(bind(other, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(immure_netsock_local(other, &theirs), 0);
	to_loopback(theirs.port, false, &sa, &len);
	m.msg_hdr.msg_namelen = len;
	for (int connected = 0; connected < 2; connected++) {
		assert_int_equal(sendto(fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&sa, len), -1);
		assert_int_equal(errno, EPIPE);
		assert_int_equal(sendmsg(fd, &m.msg_hdr, MSG_NOSIGNAL), -1);
		assert_int_equal(errno, EPIPE);
		assert_int_equal(sendmmsg(fd, &m, 1, MSG_NOSIGNAL), -1);
		assert_int_equal(errno, EPIPE);
		assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	}
	assert_int_equal(recv(other, &c, 1, 0), -1);
	/* It has a port now; what is sent there is dropped, and that cannot be changed. */
	assert_int_equal(immure_netsock_local(fd, &theirs), 0);
	to_loopback(theirs.port, false, &sa, &len);
	assert_int_equal(sendto(other, "x", 1, 0, (struct sockaddr *)&sa, len), 1);
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero)), -1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &zero, sizeof(zero)), -1);
	(void)close(fd);
	(void)close(other);
}

/* Everybody on the machine may connect to the port, and before us. */
static void strangers_are_not_taken_for_the_end(void **unused)
{
	int port_fd[2] = { -1, -1 }, fd, far, strangers[8];
	struct immure_inet at = { 0 };
	struct sockaddr_storage sa;
	socklen_t len;
	char c = 0;

	(void)unused;
	for (int v6 = 0; v6 < 2; v6++) {
		fd = immure_brokersock_make(v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
		if (v6 && fd == -EAFNOSUPPORT)
			break;
		assert_true(fd >= 0);
		assert_int_equal(immure_brokersock_connect(port_fd, fd, &far), 0);
		(void)close(fd);
		(void)close(far);
		v6 = v6 && port_fd[1] >= 0;
		assert_int_equal(immure_netsock_local(port_fd[v6], &at), 0);
		to_loopback(at.port, v6, &sa, &len);
		for (int i = 0; i < 8; i++) {
			strangers[i] = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
			assert_int_equal(connect(strangers[i], (struct sockaddr *)&sa, len), 0);
		}
		fd = immure_brokersock_make(v6 ? AF_INET6 : AF_INET, SOCK_STREAM);
		assert_int_equal(immure_brokersock_connect(port_fd, fd, &far), 0);
		assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
		assert_int_equal(send(fd, "x", 1, 0), 1);
		assert_int_equal(poll(&(struct pollfd){ .fd = far, .events = POLLIN }, 1, 5000), 1);
		assert_int_equal(recv(far, &c, 1, 0), 1);
		assert_int_equal(c, 'x');
		for (int i = 0; i < 8; i++) { /* and are not kept */
			assert_int_equal(recv(strangers[i], &c, 1, 0), 0);
			(void)close(strangers[i]);
		}
		assert_int_equal(immure_brokersock_connect(port_fd, fd, &far), -EISCONN);
		(void)close(fd);
	}
	(void)close(port_fd[0]);
	(void)close(port_fd[1]);
}

/* A socket of IPv6 where there is no ::1 to listen on. */
static void mapped_where_there_is_no_other(void **unused)
{
	int port_fd[2] = { -1, IMMURE_BROKER_NO_PORT }, fd, far;
	struct sockaddr_in6 peer;
	socklen_t len = sizeof(peer);

	(void)unused;
	fd = immure_brokersock_make(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK);
	if (fd == -EAFNOSUPPORT)
		skip();
	assert_int_equal(immure_brokersock_connect(port_fd, fd, &far), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
	assert_true(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
	(void)close(far);
	(void)close(fd);
	(void)close(port_fd[0]);
}

static void only_what_it_is(void **unused)
{
	int tcp = immure_brokersock_make(AF_INET, SOCK_STREAM), family = 0, pair[2], theirs, far;
	int udp = immure_brokersock_make(AF_INET, SOCK_DGRAM), port_fd[2] = { -1, -1 };

	(void)unused;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_true(immure_brokersock_is(tcp, SOCK_STREAM, &family));
	assert_int_equal(family, AF_INET);
	assert_false(immure_brokersock_is(tcp, SOCK_DGRAM, &family));
	assert_true(immure_brokersock_is(udp, SOCK_DGRAM, &family));
	assert_false(immure_brokersock_is(pair[0], SOCK_STREAM, &family));
	assert_false(immure_brokersock_is_pair(pair[0]));
	assert_int_equal(immure_brokersock_connect(port_fd, udp, &far), -ENOTSOCK);
	assert_int_equal(immure_brokersock_pair(true, &theirs, &far), 0);
	assert_true(immure_brokersock_is_pair(theirs));
	assert_int_equal(fcntl(theirs, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(far, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	for (int i = 0; i < 2; i++)
		(void)close(pair[i]);
	(void)close(tcp);
	(void)close(udp);
	(void)close(theirs);
	(void)close(far);
}

static void found_by_what_was_meant(void **unused)
{
	static struct immure_broker b;
	struct immure_inet a = { .addr = { 192, 0, 2, 1 }, .port = 80 }, other = a;

	(void)unused;
	immure_broker_init(&b);
	other.port = 81;
	b.pending[3] = (struct immure_broker_pending){ .used = true, .fd = -1, .meant = a,
						       .notice = { .tid = 77 } };
	assert_int_equal(immure_broker_asker(&b, &a), 77);
	assert_int_equal(immure_broker_asker(&b, &other), 0);
	b.pending[9] = b.pending[3];
	assert_int_equal(immure_broker_asker(&b, &a), 0); /* either may be it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_neither_leave_nor_arrive),
		cmocka_unit_test(strangers_are_not_taken_for_the_end),
		cmocka_unit_test(mapped_where_there_is_no_other),
		cmocka_unit_test(only_what_it_is),
		cmocka_unit_test(found_by_what_was_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
