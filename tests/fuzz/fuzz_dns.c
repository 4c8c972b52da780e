/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS of the gatekeeper. The first byte chooses: a query, a stream of them, or a
 * reply from upstream. What is answered must parse as a reply, and a stream must
 * give the same messages in whatever pieces it comes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "egress/dns.h"
#include "fuzz.h"

static void query(const uint8_t *data, size_t len)
{
	struct immure_dns_answer a = { .type = IMMURE_DNS_A, .address = { 198, 19, 0, 1 } };
	unsigned char out[IMMURE_DNS_RESPONSE_MAX], reverse[16];
	struct immure_dns_query q;
	struct immure_dns_reply reply;
	enum immure_host_kind kind;
	int r = immure_dns_parse(data, len, &q), n;

	if (r < 0) {
		if (r != -EBADMSG)
			abort();
		return;
	}
	if (strlen(q.name) > IMMURE_HOST_NAME_MAX || q.question_len > sizeof(q.question) ||
	    (q.strange && q.name[0]))
		abort();
	(void)immure_dns_reverse(q.name, &kind, reverse);
	a.rcode = r;
	n = immure_dns_respond(&q, &a, out, sizeof(out));
	if (n < 12 || n > IMMURE_DNS_RESPONSE_MAX)
		abort();
	if (r == 0 && q.name[0] && q.type == IMMURE_DNS_A &&
	    (immure_dns_reply_parse(out, (size_t)n, q.id, q.name, q.type, &reply) != 0 ||
	     reply.n != 1 || memcmp(reply.addresses[0], a.address, 4) != 0))
		abort();
}

/* How many messages, and a sum over them. */
static uint32_t stream(const uint8_t *data, size_t len, size_t piece)
{
	struct immure_dns_stream s = { .have = 0 };
	uint32_t sum = 0;
	size_t at = 0;

	while (at < len) {
		size_t n = len - at < piece ? len - at : piece, used, got;
		int r = immure_dns_stream_feed(&s, data + at, n, &used, &got);

		if (r < 0)
			return sum ^ 1;
		if (used == 0 || used > n)
			abort();
		at += used;
		for (size_t i = 0; r == 1 && i < got; i++)
			sum = sum * 31 + s.buf[2 + i];
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_dns_reply reply;

	if (len < 1)
		return 0;
	switch (data[0] % 3) {
	case 0:
		query(data + 1, len - 1);
		break;
	case 1:
		if (stream(data + 1, len - 1, len) != stream(data + 1, len - 1, 1))
			abort();
		break;
	default:
		if (immure_dns_reply_parse(data + 1, len - 1, 0x1234, "example.com",
					   data[0] & 0x80 ? IMMURE_DNS_AAAA : IMMURE_DNS_A,
					   &reply) == 0 && reply.n > IMMURE_DNS_ADDRESSES)
			abort();
		break;
	}
	return 0;
}
