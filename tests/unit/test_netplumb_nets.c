/* SPDX-License-Identifier: Apache-2.0 */
/* Networks that are reached by address, and the ranges that names get theirs from. */
#include "egress/synth.h"
#include "netplumb_session.h"

static void networks_are_reached_by_address(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	const struct immure_rtnl_net nets[] = {
		plumbed_net("192.0.2.0", 27, 80, 90), plumbed_net("203.0.113.9", 32, 443, 443),
		plumbed_net("2001:db8::", 61, 443, 443), plumbed_net("127.0.0.1", 32, 5432, 5432),
	};
	const struct immure_rtnl_net all = plumbed_net("0.0.0.0", 0, 1, 65535);
	struct plumbed s;
	int tcp4, tcp6;

	(void)unused;
	plumbed_need_namespaces(plumbed_start(&s));
	c.nets = nets;
	c.nets_n = sizeof(nets) / sizeof(nets[0]);
	assert_int_equal(plumbed_build(&s, &c, false, NULL, 0), 0);
	plumbed_need(s.p.with_nft && s.p.with_v6, "nf_tables with tproxy, or IPv6");
	tcp4 = s.p.fd[IMMURE_NETPLUMB_TCP4];
	tcp6 = s.p.fd[IMMURE_NETPLUMB_TCP6];
	plumbed_arrives(&s, tcp4, "192.0.2.1", 80);
	plumbed_arrives(&s, tcp4, "192.0.2.31", 90);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "192.0.2.1", 79), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "192.0.2.1", 91), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "192.0.2.32", 80), EACCES);
	plumbed_arrives(&s, tcp4, "203.0.113.9", 443);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "203.0.113.8", 443), EACCES);
	plumbed_arrives(&s, tcp6, "2001:db8:0:7::1", 443);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "2001:db8:0:8::1", 443), EACCES);
	/* A service of the host's own loopback, by its own rule only. */
	plumbed_arrives(&s, tcp4, "127.0.0.1", 5432);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "127.0.0.1", 5433), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_UDP, "192.0.2.1", 80), EACCES);
	assert_int_equal(plumbed_result(&s, ACT_ICMP, "192.0.2.1", 0), EACCES);
	assert_int_equal(plumbed_result(&s, ACT_UDP, "2001:db8::1", 443), EACCES);

	/* Everything, from outside; what is the sandbox's own stays so. */
	assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, &all, 1), 0);
	plumbed_arrives(&s, tcp4, "192.0.2.32", 7);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "127.0.0.1", 5432), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "198.19.0.7", 443), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "198.18.0.1", 443), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "2001:db8:0:7::1", 443), ECONNREFUSED);
	assert_int_equal(plumbed_result(&s, ACT_UDP, "192.0.2.1", 80), EACCES);
	/* And nothing. */
	assert_int_equal(immure_netplumb_set_nets(&s.p, &c.routes, NULL, 0), 0);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "192.0.2.32", 7), ECONNREFUSED);
	plumbed_stop(&s);
}

/* More rules than fit into one message to the kernel. */
static void many_networks(void **unused)
{
	struct immure_netplumb_config c = plumbed_config();
	struct immure_rtnl_net nets[100];
	struct plumbed s;

	(void)unused;
	for (size_t i = 0; i < 100; i++) {
		nets[i] = plumbed_net(i % 2 ? "2001:db8::" : "192.0.2.0", i % 2 ? 128 : 32, 1, 9);
		nets[i].addr[i % 2 ? 15 : 3] = (uint8_t)i;
	}
	plumbed_need_namespaces(plumbed_start(&s));
	c.nets = nets;
	c.nets_n = 100;
	assert_int_equal(plumbed_build(&s, &c, false, NULL, 0), 0);
	plumbed_need(s.p.with_nft && s.p.with_v6, "nf_tables with tproxy, or IPv6");
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP4], "192.0.2.98", 9);
	plumbed_arrives(&s, s.p.fd[IMMURE_NETPLUMB_TCP6], "2001:db8::63", 9);
	assert_int_equal(plumbed_result(&s, ACT_TCP, "192.0.2.99", 9), EACCES);
	plumbed_stop(&s);
}

static void ranges_stand_beside_pairs(void **unused)
{
	struct plumbed s;

	(void)unused;
	plumbed_start_caught(&s);
	for (size_t i = 0; i < 2; i++) {
		struct immure_nft_range r = { .at = plumbed_at(plumbed_families[i].name, 0), .lo = 8000,
					      .hi = 8100 };
		int nft = s.p.fd[IMMURE_NETPLUMB_NFT], listener = s.p.fd[plumbed_families[i].listener];
		struct immure_inet pair = plumbed_at(plumbed_families[i].name, 443);

		assert_int_equal(immure_nft_range_add(nft, 41000, 41000, &r, 1), 0);
		plumbed_arrives(&s, listener, plumbed_families[i].name, 8000);
		plumbed_arrives(&s, listener, plumbed_families[i].name, 8100);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 7999), ECONNREFUSED);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 8101), ECONNREFUSED);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].other, 8000), ECONNREFUSED);
		assert_int_equal(immure_nft_add(nft, &pair, 1), 0);
		assert_int_equal(immure_nft_clear(nft, false, true), 0);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 8000), ECONNREFUSED);
		plumbed_arrives(&s, listener, plumbed_families[i].name, 443);
		assert_int_equal(immure_nft_clear(nft, true, true), 0);
		assert_int_equal(plumbed_result(&s, ACT_TCP, plumbed_families[i].name, 443), ECONNREFUSED);
	}
	plumbed_stop(&s);
}

static void ranges(void **unused)
{
	static const uint8_t v4[4] = { 10, 64, 0, 0 }, stray[4] = { 10, 64, 0, 1 };
	static const uint8_t v6[16] = { 0xfd, 1 };
	static const uint8_t names6[16] = { 0xfd, 1, [12] = 0x80 };
	struct immure_rtnl_range r;

	(void)unused;
	assert_int_equal(immure_rtnl_range_from(false, v4, 15, &r), 0);
	assert_memory_equal(r.gateway, ((uint8_t[]){ 10, 64, 0, 1 }), 4);
	assert_memory_equal(r.names, ((uint8_t[]){ 10, 65, 0, 0 }), 4);
	assert_int_equal(r.names_bits, 16);
	assert_int_equal(immure_rtnl_range_from(false, v4, 24, &r), 0);
	assert_memory_equal(r.names, ((uint8_t[]){ 10, 64, 0, 128 }), 4);
	assert_int_equal(immure_rtnl_range_from(true, v6, 48, &r), 0);
	assert_memory_equal(r.names, names6, 16);
	assert_int_equal(r.names_bits, 97);
	assert_int_equal(immure_rtnl_range_from(false, stray, 15, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(false, v4, 7, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(false, v4, 25, &r), -EINVAL);
	assert_int_equal(immure_rtnl_range_from(true, v6, 97, &r), -EINVAL);
}

/* What the names are given addresses from is what the routes make local. */
static void routes_and_addresses_agree(void **unused)
{
	static const enum immure_host_kind kinds[2] = { IMMURE_HOST_NET4, IMMURE_HOST_NET6 };
	struct immure_synth_config c;
	struct immure_rtnl_setup routes;
	struct immure_synth *synth = NULL;
	unsigned char a[16];
	uint32_t number = 0;

	(void)unused;
	immure_synth_defaults(&c);
	immure_rtnl_setup_default(&routes, true);
	assert_int_equal(immure_synth_new(&c, &synth), 0);
	for (int i = 0; i < 300; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%d.example", i);
		assert_int_equal(immure_synth_add(synth, name, 0, 0, &number), IMMURE_SYNTH_OK);
	}
	for (int i = 0; i < 2; i++) {
		const struct immure_rtnl_range *r = i ? &routes.v6 : &routes.v4;
		struct immure_rtnl_range again;
		size_t size = i ? 16 : 4, whole;

		assert_int_equal(immure_rtnl_range_from(i, i ? c.prefix6 : c.prefix4,
							i ? c.bits6 : c.bits4, &again), 0);
		assert_memory_equal(&again, r, sizeof(again));
		immure_synth_own(synth, kinds[i], a);
		assert_memory_equal(a, r->gateway, size);
		immure_synth_address(synth, kinds[i], number, a);
		whole = r->names_bits / 8;
		assert_memory_equal(a, r->names, whole);
		assert_int_equal((a[whole] ^ r->names[whole]) >> (8 - r->names_bits % 8), 0);
	}
	immure_synth_free(synth);
}

static void a_batch_that_does_not_fit_is_not_sent(void **unused)
{
	static const char block[1000];
	struct immure_netlink b;

	(void)unused;
	immure_netlink_init(&b, 1);
	immure_netlink_begin(&b, 1, 0, block, 16);
	for (int i = 0; i < 9; i++)
		immure_netlink_put(&b, 1, block, sizeof(block));
	assert_true(b.len <= sizeof(b.data));
	assert_int_equal(immure_netlink_send(-1, &b, NULL), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_are_reached_by_address),
		cmocka_unit_test(many_networks),
		cmocka_unit_test(ranges_stand_beside_pairs),
		cmocka_unit_test(ranges),
		cmocka_unit_test(routes_and_addresses_agree),
		cmocka_unit_test(a_batch_that_does_not_fit_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
