/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two-way relay, between sockets that this process holds both ends of. The
 * programs at the ends are plain loops here; the relay is driven by epoll as in
 * the gatekeeper. What arrives is compared byte by byte with what was sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "egress/relay.h"
#include "kernel/netsock.h"

struct rig {
	int end[2];   /* what the programs at both sides hold; not blocking */
	int epoll_fd;
	uint64_t now_ms;
	size_t allowance;
	enum immure_twoway_state state;
	struct immure_twoway t;
	struct immure_pipes p;
};

static void tcp_pair(int ret[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(ret[0], (struct sockaddr *)&a, sizeof(a)), 0);
	ret[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(ret[1] >= 0);
	close(l);
	assert_int_equal(fcntl(ret[0], F_SETFL, O_NONBLOCK), 0);
}

static void rig_start(struct rig *g, bool tcp, unsigned int pipes)
{
	int one[2], two[2];

	memset(g, 0, sizeof(*g));
	if (tcp) {
		tcp_pair(one);
		tcp_pair(two);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
					    one), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
					    two), 0);
	}
	g->end[0] = one[0];
	g->end[1] = two[0];
	g->allowance = 1 << 20;
	g->now_ms = 1000;
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(g->epoll_fd >= 0);
	assert_int_equal(immure_pipes_init(&g->p, pipes), 0);
	immure_twoway_init(&g->t, &one[1], &two[1], 30000, g->now_ms);
	assert_int_equal(one[1], -1);
	assert_int_equal(immure_twoway_watch(&g->t, g->epoll_fd, 0, 1), 0);
	if (tcp) { /* no event is lost here */
		immure_twoway_fresh(&g->t, 0, false);
		immure_twoway_fresh(&g->t, 1, true);
	}
	g->state = IMMURE_TWOWAY_WAIT;
}

static void rig_stop(struct rig *g)
{
	immure_twoway_close(&g->t, &g->p, false);
	/* Every pipe came back or was closed. */
	assert_int_equal(g->p.n_free, g->p.open);
	immure_pipes_done(&g->p);
	immure_close(&g->end[0]);
	immure_close(&g->end[1]);
	close(g->epoll_fd);
}

/* One turn of the loop. false: it is over. */
static bool turn(struct rig *g, int timeout_ms)
{
	struct epoll_event e[4];
	uint32_t events[2] = { 0 };
	int n = epoll_wait(g->epoll_fd, e, 4, g->state == IMMURE_TWOWAY_AGAIN ? 0 : timeout_ms);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		events[e[i].data.u64] |= e[i].events;
	g->state = immure_twoway_pump(&g->t, &g->p, events[0], events[1], g->allowance, g->now_ms);
	return g->state == IMMURE_TWOWAY_WAIT || g->state == IMMURE_TWOWAY_AGAIN;
}

/* Drives the relay until this holds; what it waits for always comes, and only a
 * failing test waits long. */
#define UNTIL(g, condition)                                                                     \
	do {                                                                                    \
		for (int turns_ = 0; !(condition); turns_++) {                                  \
			assert_true(turns_ < 10000);                                            \
			(void)turn(g, 2000);                                                    \
		}                                                                               \
	} while (0)

/* recv() once something is there. */
static ssize_t take(int fd, void *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 10000), 1);
	return recv(fd, buf, len, 0);
}

/* Writes into one side until the relay can take no more: the other does not read. */
static size_t fill_up(struct rig *g, int side)
{
	static const char block[65536];
	size_t sent = 0;

	for (;;) {
		const struct immure_stream *s = &g->t.from[side];
		ssize_t n = send(g->end[side], block, sizeof(block), MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		if (!s->writable && (s->in_pipe || s->held))
			return sent;
		assert_true(turn(g, 2000));
	}
}

static unsigned char byte_at(int side, size_t i)
{
	return (unsigned char)((i * 2654435761U >> 13) ^ (size_t)(side * 85));
}

struct flow {
	size_t len, sent, got;
	bool end_seen;
};

/* What the program at `side` does in one turn: writes what fits, reads all. */
static void program(struct rig *g, int side, struct flow *out, struct flow *in, size_t chunk)
{
	unsigned char b[65536];
	ssize_t n;

	while (out->sent < out->len) {
		size_t want = out->len - out->sent < chunk ? out->len - out->sent : chunk;

		for (size_t i = 0; i < want; i++)
			b[i] = byte_at(side, out->sent + i);
		n = send(g->end[side], b, want, MSG_NOSIGNAL);
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			break;
		}
		out->sent += (size_t)n;
		if (out->sent == out->len)
			assert_int_equal(shutdown(g->end[side], SHUT_WR), 0);
	}
	while ((n = recv(g->end[side], b, sizeof(b), 0)) > 0)
		for (ssize_t i = 0; i < n; i++, in->got++)
			if (b[i] != byte_at(!side, in->got))
				fail_msg("byte %zu is wrong", in->got);
	if (n == 0)
		in->end_seen = true;
	else
		assert_int_equal(errno, EAGAIN);
}

static void all_arrives(bool tcp, unsigned int pipes, size_t up, size_t down, size_t chunk,
			size_t allowance)
{
	struct flow a = { .len = up }, b = { .len = down };
	struct rig g;

	rig_start(&g, tcp, pipes);
	g.allowance = allowance;
	for (;;) {
		bool going;

		program(&g, 0, &a, &b, chunk);
		program(&g, 1, &b, &a, chunk);
		going = turn(&g, 0);
		assert_true(g.p.open <= pipes);
		if (!going)
			break;
	}
	assert_int_equal(g.state, IMMURE_TWOWAY_DONE);
	immure_twoway_close(&g.t, &g.p, false); /* the last end is passed on by this */
	while (!a.end_seen || !b.end_seen) { /* what is still on its way over TCP */
		struct pollfd last = { .fd = g.end[a.end_seen ? 0 : 1], .events = POLLIN };

		assert_int_equal(poll(&last, 1, 10000), 1);
		program(&g, 0, &a, &b, chunk);
		program(&g, 1, &b, &a, chunk);
	}
	assert_int_equal(g.t.error, 0);
	assert_int_equal(a.got, up);
	assert_int_equal(b.got, down);
	assert_int_equal(g.t.from[0].bytes, up);
	assert_int_equal(g.t.from[1].bytes, down);
	if (up > 1 << 20)
		assert_int_equal(g.p.open > 0, pipes > 0);
	rig_stop(&g);
}

static void bytes_arrive_both_ways(void **unused)
{
	(void)unused;
	for (int tcp = 0; tcp < 2; tcp++) {
		all_arrives(tcp, 4, 1, 1, 1, 1 << 20);
		all_arrives(tcp, 4, 3000, 5000, 7, 1 << 20);
		all_arrives(tcp, 4, 8 << 20, 3 << 20, 65536, 1 << 20);
		all_arrives(tcp, 1, 4 << 20, 4 << 20, 65536, 1 << 20);
		all_arrives(tcp, 0, 4 << 20, 1 << 20, 65536, 1 << 20);
		all_arrives(tcp, 2, 300000, 200000, 65536, 1000);
	}
}

static void one_side_may_end_first(void **unused)
{
	char b[8];

	(void)unused;
	for (int tcp = 0; tcp < 2; tcp++) {
		struct rig g;

		rig_start(&g, tcp, 2);
		assert_int_equal(send(g.end[0], "ask", 3, 0), 3);
		assert_int_equal(shutdown(g.end[0], SHUT_WR), 0);
		UNTIL(&g, g.t.from[0].shut);
		assert_int_equal(g.state, IMMURE_TWOWAY_WAIT);
		assert_int_equal(take(g.end[1], b, sizeof(b)), 3);
		assert_int_equal(take(g.end[1], b, sizeof(b)), 0);
		/* The answer comes after the end of the question. */
		assert_int_equal(send(g.end[1], "answer", 6, 0), 6);
		UNTIL(&g, g.t.from[1].bytes == 6);
		assert_int_equal(g.state, IMMURE_TWOWAY_WAIT);
		assert_int_equal(take(g.end[0], b, sizeof(b)), 6);
		immure_close(&g.end[1]);
		UNTIL(&g, g.state == IMMURE_TWOWAY_DONE);
		immure_twoway_close(&g.t, &g.p, false);
		assert_int_equal(take(g.end[0], b, sizeof(b)), 0);
		rig_stop(&g);
	}
}

static void reset(int *fd)
{
	struct linger now = { .l_onoff = 1 };

	assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	immure_close(fd);
}

static void a_reset_stays_a_reset(void **unused)
{
	char b[8];

	(void)unused;
	for (int side = 0; side < 2; side++) {
		struct rig g;

		rig_start(&g, true, 2);
		assert_int_equal(send(g.end[side], "x", 1, 0), 1);
		UNTIL(&g, g.t.from[side].bytes == 1);
		assert_int_equal(take(g.end[!side], b, sizeof(b)), 1);
		reset(&g.end[side]);
		UNTIL(&g, g.state == IMMURE_TWOWAY_BROKEN);
		assert_int_equal(g.t.error, ECONNRESET);
		immure_twoway_close(&g.t, &g.p, true);
		assert_int_equal(take(g.end[!side], b, sizeof(b)), -1);
		assert_int_equal(errno, ECONNRESET);
		rig_stop(&g);
	}
}

/* A server that refuses a long upload: it answers and closes with bytes unread,
 * which resets. The client still gets the answer. */
static void an_early_answer_arrives(void **unused)
{
	struct rig g;
	char b[8];

	(void)unused;
	rig_start(&g, true, 2);
	(void)fill_up(&g, 0);
	assert_int_equal(send(g.end[1], "413", 3, 0), 3);
	immure_close(&g.end[1]);
	UNTIL(&g, g.state == IMMURE_TWOWAY_BROKEN);
	assert_int_equal(take(g.end[0], b, sizeof(b)), 3);
	rig_stop(&g);
}

static void a_slow_reader_slows_the_writer(void **unused)
{
	(void)unused;
	for (unsigned int pipes = 0; pipes < 2; pipes++) {
		size_t sent, got = 0;
		struct rig g;
		char b[65536];

		rig_start(&g, true, pipes);
		sent = fill_up(&g, 0);
		/* One pipe or one buffer is all that waits here. */
		assert_true(g.t.from[0].held_len <= 32768);
		assert_true(g.t.from[0].in_pipe <= 1 << 20);
		assert_true(pipes > 0 || g.t.from[0].in_pipe == 0);
		while (got < sent) {
			ssize_t n = recv(g.end[1], b, sizeof(b), 0);

			if (n > 0)
				got += (size_t)n;
			else
				(void)turn(&g, 2000);
		}
		assert_int_equal(got, sent);
		assert_int_equal(g.t.from[0].bytes, sent);
		assert_null(g.t.from[0].held);
		assert_int_equal(g.t.from[0].pipe[0], -1);
		rig_stop(&g);
	}
}

static void a_pipe_with_bytes_is_not_reused(void **unused)
{
	struct rig g;

	(void)unused;
	rig_start(&g, true, 1);
	(void)fill_up(&g, 0);
	/* Where the last bytes were few they are not in a pipe: put them there. */
	g.t.from[0].bulk = true;
	while (g.t.from[0].in_pipe == 0) {
		char b[65536];

		if (recv(g.end[1], b, sizeof(b), 0) < 0)
			(void)turn(&g, 2000);
		(void)fill_up(&g, 0);
		g.t.from[0].bulk = true;
	}
	assert_int_equal(g.p.open, 1);
	immure_twoway_close(&g.t, &g.p, true);
	assert_int_equal(g.p.open, 0);
	assert_int_equal(g.p.n_free, 0);
	rig_stop(&g);
}

static void only_bytes_put_off_the_end(void **unused)
{
	struct rig g;

	(void)unused;
	rig_start(&g, false, 1);
	assert_int_equal(immure_twoway_due(&g.t), 31000);
	g.now_ms = 5000;
	assert_true(turn(&g, 0));
	assert_int_equal(immure_twoway_due(&g.t), 31000);
	assert_int_equal(send(g.end[1], "x", 1, 0), 1);
	UNTIL(&g, g.t.from[1].bytes == 1);
	assert_int_equal(immure_twoway_due(&g.t), 35000);
	g.t.idle_ms = 0;
	assert_true(immure_twoway_due(&g.t) == UINT64_MAX);
	rig_stop(&g);
}

static void the_allowance_is_kept(void **unused)
{
	static const char block[50000];
	struct rig g;

	(void)unused;
	rig_start(&g, false, 1);
	assert_int_equal(send(g.end[0], block, sizeof(block), 0), sizeof(block));
	for (int i = 1; i <= 5; i++) {
		assert_int_equal(immure_twoway_pump(&g.t, &g.p, i == 1 ? EPOLLIN : 0, 0, 10000,
						    g.now_ms), IMMURE_TWOWAY_AGAIN);
		assert_int_equal(g.t.from[0].bytes, (size_t)i * 10000);
	}
	assert_int_equal(immure_twoway_pump(&g.t, &g.p, 0, 0, 10000, g.now_ms), IMMURE_TWOWAY_WAIT);
	rig_stop(&g);
}

/* A read that leaves room shows that nothing more is there: but not before an end
 * that was told together with the bytes, nor before an urgent byte. */
static void short_reads_hide_nothing(void **state)
{
	struct rig g;
	char b[8];

	(void)state;
	rig_start(&g, true, 4);
	assert_int_equal(send(g.end[0], "ab", 2, 0), 2);
	assert_int_equal(shutdown(g.end[0], SHUT_WR), 0);
	UNTIL(&g, g.t.from[0].shut);
	assert_int_equal(take(g.end[1], b, sizeof(b)), 2);
	assert_int_equal(take(g.end[1], b, sizeof(b)), 0);
	rig_stop(&g);

	rig_start(&g, true, 4);
	assert_int_equal(send(g.end[0], "a", 1, 0), 1);
	assert_int_equal(send(g.end[0], "!", 1, MSG_OOB), 1);
	assert_int_equal(send(g.end[0], "bcd", 3, 0), 3);
	UNTIL(&g, g.t.from[0].bytes == 4);
	rig_stop(&g);
}

static bool algorithm_is(int fd, const char *name)
{
	char got[16] = "";
	socklen_t len = sizeof(got);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, got, &len), 0);
	return strcmp(got, name) == 0;
}

/* What sends by a timer does so where a round trip was not yet seen, and for what is
 * no bulk; then no longer, as these ends are near. */
static void bulk_to_a_near_place_is_not_paced(void **state)
{
	static const char much[100000];
	size_t sent = 0;
	struct rig g;
	char b[8];
	int fd;

	(void)state;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) < 0) {
		close(fd);
		print_message("# skipped: no BBR for everybody here\n");
		skip();
	}
	immure_netsock_hurry(fd);
	assert_true(algorithm_is(fd, "bbr"));
	close(fd);
	rig_start(&g, true, 4);
	for (int i = 0; i < 2; i++)
		assert_int_equal(setsockopt(g.t.fd[i], IPPROTO_TCP, TCP_CONGESTION, "bbr", 3), 0);
	assert_int_equal(send(g.end[0], "ab", 2, 0), 2);
	UNTIL(&g, g.t.from[0].bytes == 2);
	assert_int_equal(take(g.end[1], b, sizeof(b)), 2);
	assert_true(algorithm_is(g.t.fd[1], "bbr"));
	while (sent < sizeof(much)) {
		ssize_t n = send(g.end[0], much + sent, sizeof(much) - sent, MSG_NOSIGNAL);

		assert_true(n > 0);
		sent += (size_t)n;
	}
	UNTIL(&g, g.t.from[0].bytes == 2 + sizeof(much));
	assert_true(algorithm_is(g.t.fd[1], "reno"));
	assert_true(algorithm_is(g.t.fd[0], "bbr"));
	rig_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_both_ways),
		cmocka_unit_test(one_side_may_end_first),
		cmocka_unit_test(a_reset_stays_a_reset),
		cmocka_unit_test(an_early_answer_arrives),
		cmocka_unit_test(a_slow_reader_slows_the_writer),
		cmocka_unit_test(a_pipe_with_bytes_is_not_reused),
		cmocka_unit_test(only_bytes_put_off_the_end),
		cmocka_unit_test(the_allowance_is_kept),
		cmocka_unit_test(short_reads_hide_nothing),
		cmocka_unit_test(bulk_to_a_near_place_is_not_paced),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
