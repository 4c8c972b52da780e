/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of a refusal, read: packets of both families, whole and cut short. */
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/netlink.h"
#include "kernel/refusals.h"

static const uint8_t packet4[] = {
	0x46, 0, 0, 44, 0, 0, 0, 0, 64, IPPROTO_TCP, 0, 0, 198, 18, 0, 1, 192, 0, 2, 7,
	1, 1, 1, 1, /* one word of options */
	0x30, 0x39, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
};
static const uint8_t packet6[] = {
	0x60, 0, 0, 0, 0, 16, IPPROTO_HOPOPTS, 64,
	0xfd, 0x53, 0x6e, 0x62, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
	IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0,
	0x30, 0x39, 0x00, 0x35, 0, 8, 0, 0,
};

/* One message more in the batch. number 0: a copy, nothing is held. */
static void add(struct immure_netlink *b, uint32_t number, const uint8_t *packet, size_t len)
{
	const struct nfgenmsg m = { .nfgen_family = AF_UNSPEC };
	const struct nfqnl_msg_packet_hdr h = { .packet_id = htonl(number) };

	if (number) {
		immure_netlink_begin(b, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, 0, &m, sizeof(m));
		immure_netlink_put(b, NFQA_PACKET_HDR, &h, sizeof(h));
	} else {
		immure_netlink_begin(b, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, 0, &m, sizeof(m));
	}
	if (packet)
		immure_netlink_put(b, number ? (uint16_t)NFQA_PAYLOAD : (uint16_t)NFULA_PAYLOAD, packet, len);
}

static void both_families(void **unused)
{
	struct immure_refusal l[4];
	struct immure_netlink b;

	(void)unused;
	immure_netlink_init(&b, 1);
	add(&b, 7, packet4, sizeof(packet4));
	add(&b, 0, packet6, sizeof(packet6));
	assert_int_equal(immure_refusals_decode(b.data, b.len, l, 4), 2);
	assert_true(l[0].held);
	assert_int_equal(l[0].number, 7);
	assert_int_equal(l[0].protocol, IPPROTO_TCP);
	assert_false(l[0].meant.v6);
	assert_memory_equal(l[0].meant.addr, packet4 + 16, 4);
	assert_int_equal(l[0].source.port, 12345);
	assert_int_equal(l[0].meant.port, 443);
	assert_false(l[1].held);
	assert_int_equal(l[1].protocol, IPPROTO_UDP);
	assert_true(l[1].meant.v6);
	assert_memory_equal(l[1].meant.addr, packet6 + 24, 16);
	assert_memory_equal(l[1].source.addr, packet6 + 8, 16);
	assert_int_equal(l[1].meant.port, 53);
	/* As many as there is room for. */
	assert_int_equal(immure_refusals_decode(b.data, b.len, l, 1), 1);
}

/* What is held must be let go, whatever it is; what is only copied may be dropped. */
static void what_cannot_be_read(void **unused)
{
	for (size_t len = 0; len <= sizeof(packet6); len++) {
		struct immure_refusal l[2];
		struct immure_netlink b;

		immure_netlink_init(&b, 1);
		add(&b, 9, len ? packet6 : NULL, len);
		assert_int_equal(immure_refusals_decode(b.data, b.len, l, 2), 1);
		assert_int_equal(l[0].number, 9);
		immure_netlink_init(&b, 1);
		add(&b, 0, len ? packet6 : NULL, len);
		assert_int_equal(immure_refusals_decode(b.data, b.len, l, 2), len >= 40);
	}
	(void)unused;
}

static void what_is_no_refusal(void **unused)
{
	const struct nfgenmsg m = { .nfgen_family = AF_UNSPEC };
	struct immure_refusal l[2];
	struct immure_netlink b;

	(void)unused;
	immure_netlink_init(&b, 1);
	immure_netlink_begin(&b, NLMSG_ERROR, 0, &m, sizeof(m));
	immure_netlink_begin(&b, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, 0, &m, sizeof(m)); /* no number */
	assert_int_equal(immure_refusals_decode(b.data, b.len, l, 2), 0);
	/* Cut anywhere: never more than there is. */
	immure_netlink_init(&b, 1);
	add(&b, 7, packet4, sizeof(packet4));
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(immure_refusals_decode(b.data, len, l, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families),
		cmocka_unit_test(what_cannot_be_read),
		cmocka_unit_test(what_is_no_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
