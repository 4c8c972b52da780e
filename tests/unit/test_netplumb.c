/* SPDX-License-Identifier: Apache-2.0 */
/* What a session's network namespace lets through and what it refuses: see
 * netplumb_session.h for the processes that play it. */
#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "kernel/refusals.h"
#include "netplumb_session.h"

static void pairs_that_are_allowed_arrive(void **unused)
{
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	print_message("setup: %ld us\n", s.setup_us);
	for (size_t i = 0; i < 2; i++) {
		struct immure_inet pair = plumbed_at(plumbed_families[i].name, 443);
		int listener = s.p.fd[plumbed_families[i].listener], nft = s.p.fd[IMMURE_NETPLUMB_NFT];

		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 443), ECONNREFUSED);
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		plumbed_arrives(&s, listener, plumbed_families[i].name, 443);
		/* Adding again is no error and changes nothing. */
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		plumbed_arrives(&s, listener, plumbed_families[i].name, 443);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 80), ECONNREFUSED);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].other, 443), ECONNREFUSED);
		/* The listener's own port is not a way past the set. */
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 41000), ECONNREFUSED);
		/* By its own address it can be reached, and is told so. */
		plumbed_arrives(&s, listener, i ? "::1" : "127.0.0.1", 41000);
		assert_int_equal(immure_nft_remove(nft, &pair, 1), 0);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 443), ECONNREFUSED);
		assert_int_equal(immure_nft_remove(nft, &pair, 1), -ENOENT);
	}
	plumbed_stop(&s);
}

static void many_pairs_in_one_call(void **unused)
{
	struct immure_inet pairs[IMMURE_NFT_PAIRS + 1];
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	for (size_t i = 0; i <= IMMURE_NFT_PAIRS; i++)
		pairs[i] = plumbed_at(plumbed_families[i % 2].name, (uint16_t)(1000 + i));
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, 0), 0);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, IMMURE_NFT_PAIRS + 1),
			 -E2BIG);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], pairs, IMMURE_NFT_PAIRS), 0);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP4], plumbed_families[0].name, 1000);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], plumbed_families[1].name, 1063);
	/* One that is not there: nothing is removed. */
	assert_int_equal(immure_nft_remove(s.p.fd[IMMURE_NETPLUMB_NFT], pairs + 1,
					   IMMURE_NFT_PAIRS), -ENOENT);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], plumbed_families[1].name, 1063);
	plumbed_stop(&s);
}

static int room_of(int fd)
{
	socklen_t len = sizeof(int);
	int room = 0;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, &len), 0);
	return room;
}

/* More than one burst has room; and each that has none, because nobody reads, is counted. */
static void every_refusal_is_told_or_counted(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	struct immure_refusal l[32];
	int fd, plain, n, small = 1, told = 0;
	struct plumbed s;
	uint64_t untold;

	(void)unused;
	c.without_refusals = false;
	plumbed_need_namespaces(plumbed_start(&s));
	assert_int_equal(plumbed_build(&s, &c, false, NULL, 0), 0);
	fd = s.p.fd[IMMURE_NETPLUMB_REFUSALS];
	if (fd < 0)
		plumbed_stop(&s);
	plumbed_need(fd >= 0, "nfnetlink_queue and nfnetlink_log");
	plain = immure_netlink_open(NETLINK_NETFILTER);
	assert_true(room_of(fd) > room_of(plain));
	immure_close(&plain);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (int i = 0; i < 300; i++)
		assert_int_equal(plumbed_result(&s, ACT_UDP, plumbed_families[0].outside, 443), EACCES);
	while ((n = immure_refusals_read(fd, l, 32)) >= 0)
		told += n;
	assert_int_equal(immure_refusals_untold(s.p.fd[IMMURE_NETPLUMB_NFT], &untold), 0);
	assert_true(told > 0 && told < 100);
	assert_int_equal(told + (int)untold + (int)immure_refusals_dropped(fd), 300);
	assert_int_equal(immure_refusals_dropped(-1), 0);
	plumbed_stop(&s);
}

static void all_else_is_refused_at_once(void **unused)
{
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	/* The control: a refusal below is not for want of the socket itself. */
	assert_int_equal(plumbed_result(&s, ACT_ICMP, "127.0.0.1", 0), 0);
	assert_int_equal(plumbed_result(&s, ACT_ICMP, "::1", 0), 0);
	assert_int_equal(plumbed_result(&s, ACT_ICMP, "198.18.0.1", 0), 0);
	for (size_t i = 0; i < 2; i++) {
		struct immure_inet pair = plumbed_at(plumbed_families[i].name, 443);

		/* Allowed for TCP says nothing about other protocols. */
		assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
		assert_int_equal(plumbed_result(&s, ACT_UDP, plumbed_families[i].name, 443), EACCES);
		assert_int_equal(plumbed_result(&s, ACT_UDP_CONNECTED, plumbed_families[i].name, 443), EACCES);
		assert_int_equal(plumbed_result(&s, ACT_ICMP, plumbed_families[i].name, 0), EACCES);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].outside, 443), EACCES);
		assert_int_equal(plumbed_result(&s, ACT_UDP, plumbed_families[i].outside, 53), EACCES);
		assert_int_equal(plumbed_result(&s, ACT_ICMP, plumbed_families[i].outside, 0), EACCES);
	}
	assert_int_equal(plumbed_result(&s, ACT_TCP, "169.254.169.254", 80), EACCES);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "::ffff:192.0.2.1", 443), EACCES);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "127.0.0.1", 22), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "::1", 22), ECONNREFUSED);
	/* Servers of the sandbox's own: the port of a name stays free. */
	assert_int_equal(plumbed_result(&s, ACT_BIND, "0.0.0.0", 443), 0);
	assert_int_equal(plumbed_result(&s, ACT_BIND, "127.0.0.1", 41000), EADDRINUSE);
	assert_int_equal(plumbed_result(&s, ACT_BIND, "0.0.0.0", 41000), EADDRINUSE);
	plumbed_stop(&s);
}

static void the_proxy_has_a_listener(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	struct plumbed s;

	(void)unused;
	plumbed_need_namespaces(plumbed_start(&s));
	c.proxy = true;
	assert_int_equal(plumbed_build(&s, &c, false, NULL, 0), 0);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_PROXY], "198.18.0.1", IMMURE_NETPLUMB_PROXY_PORT);
	plumbed_stop(&s);
	plumbed_start_caught(&s);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_PROXY], -1);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "198.18.0.1", IMMURE_NETPLUMB_PROXY_PORT),
			 ECONNREFUSED);
	plumbed_stop(&s);
}

static void a_mapped_address_is_the_plain_one(void **unused)
{
	struct immure_inet pair = plumbed_at("198.19.0.7", 443), meant, from;
	struct plumbed s;
	int fd;

	(void)unused;
	plumbed_start_caught(&s);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
	plumbed_ask(&s, ACT_TCP, plumbed_at("::ffff:198.19.0.7", 443));
	plumbed_wait_readable(s.p.fd[IMMURE_NETPLUMB_TCP4]);
	fd = immure_netsock_accept(s.p.fd[IMMURE_NETPLUMB_TCP4], &meant, &from);
	assert_true(fd >= 0);
	assert_memory_equal(&meant, &pair, sizeof(pair));
	assert_int_equal(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(plumbed_answer(&s), 0);
	close(fd);
	plumbed_stop(&s);
}

static void the_name_service_is_reached(void **unused)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct plumbed s;
	char b;

	(void)unused;
	plumbed_start_caught(&s);
	plumbed_ask(&s, ACT_DNS, plumbed_at("198.18.0.1", 53));
	plumbed_wait_readable(s.p.fd[IMMURE_NETPLUMB_DNS_UDP]);
	assert_int_equal(recvfrom(s.p.fd[IMMURE_NETPLUMB_DNS_UDP], &b, 1, 0,
				  (struct sockaddr *)&from, &len), 1);
	assert_int_equal(sendto(s.p.fd[IMMURE_NETPLUMB_DNS_UDP], "!", 1, 0,
				(struct sockaddr *)&from, len), 1);
	assert_int_equal(plumbed_answer(&s), 0);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_DNS_TCP], "198.18.0.1", 53);
	plumbed_stop(&s);
}

static void when_all_is_closed_nothing_answers(void **unused)
{
	struct immure_inet pair = plumbed_at("198.19.0.7", 443);
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	assert_int_equal(immure_nft_add(s.p.fd[IMMURE_NETPLUMB_NFT], &pair, 1), 0);
	immure_netplumb_done(&s.p); /* what the gatekeeper's death does */
	assert_int_equal(plumbed_result(&s, ACT_TCP, "198.19.0.7", 443), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "198.18.0.1", 53), ECONNREFUSED);
	plumbed_stop(&s);
}

static void without_nf_tables_pairs_have_listeners(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	struct plumbed s;

	(void)unused;
	plumbed_need_namespaces(plumbed_start(&s));
	assert_int_equal(plumbed_build(&s, &c, true, NULL, 0), 0);
	assert_false(s.p.with_nft);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_NFT], -1);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_TCP4], -1);
	assert_int_equal(s.p.fd[IMMURE_NETPLUMB_TCP6], -1);
	{
		const struct immure_rtnl_net one = plumbed_net("192.0.2.1", 32, 80, 80);

		assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, &one, 1), -EOPNOTSUPP);
		assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, NULL, 0), 0);
		assert_true(immure_netplumb_listenable(&one));
	}
	for (size_t i = 0; i < (s.p.with_v6 ? 2U : 1U); i++) {
		int spare = i ? IMMURE_NETPLUMB_SPARE6 : IMMURE_NETPLUMB_SPARE4;
		struct immure_inet pair = plumbed_at(plumbed_families[i].name, 443);

		/* Bound from outside, below 1024, on a socket born inside. */
		assert_int_equal(immure_netsock_listen_on(s.p.fd[spare], &pair, 16), 0);
		plumbed_arrives(&s, s.p.fd[spare], plumbed_families[i].name, 443);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 80), ECONNREFUSED);
		immure_close(&s.p.fd[spare]);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 443), ECONNREFUSED);
		assert_int_equal(plumbed_result(&s, ACT_UDP, plumbed_families[i].name, 443), EACCES);
	}
	plumbed_stop(&s);
}

static void the_first_failure_is_named(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	char what[64] = "";
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	immure_netplumb_done(&s.p);
	/* A second time: the address is there already. (The table is, too, but comes first.) */
	c.without_nft = true;
	assert_int_equal(plumbed_build(&s, &c, false, what, sizeof(what)), -EEXIST);
	assert_string_equal(what, "gateway address");
	plumbed_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_that_are_allowed_arrive),
		cmocka_unit_test(many_pairs_in_one_call),
		cmocka_unit_test(every_refusal_is_told_or_counted),
		cmocka_unit_test(all_else_is_refused_at_once),
		cmocka_unit_test(the_proxy_has_a_listener),
		cmocka_unit_test(a_mapped_address_is_the_plain_one),
		cmocka_unit_test(the_name_service_is_reached),
		cmocka_unit_test(when_all_is_closed_nothing_answers),
		cmocka_unit_test(without_nf_tables_pairs_have_listeners),
		cmocka_unit_test(the_first_failure_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
