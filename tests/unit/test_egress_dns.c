/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "egress/dns.h"

#define BYTES(s) (const unsigned char *)(s), sizeof(s) - 1
#define HEAD "\x12\x34\x01\x00\0\1\0\0\0\0\0\0"
#define HEAD_EDNS "\x12\x34\x01\x00\0\1\0\0\0\0\0\1"
#define EXAMPLE "\7eXample\3com\0"
#define A_IN "\0\1\0\1"
#define OPT "\0\0\x29\x10\0\0\0\0\0\0\0"
#define L63 "\x3f" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* From memory that ends where the message ends, so that ASan sees a read past it. */
static int parse(const unsigned char *msg, size_t len, struct immure_dns_query *q)
{
	unsigned char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, msg, len);
	r = immure_dns_parse(copy, len, q);
	free(copy);
	return r;
}

static void queries(void **state)
{
	static const struct {
		const char *what, *msg;
		size_t len;
		int result;
		const char *name;
	} t[] = {
#define Q(what, m, r, name) { what, m, sizeof(m) - 1, r, name }
		Q("plain", HEAD EXAMPLE A_IN, 0, "example.com"),
		Q("EDNS", HEAD_EDNS EXAMPLE A_IN OPT, 0, "example.com"),
		Q("EDNS with an option", HEAD_EDNS EXAMPLE A_IN
		  "\0\0\x29\x10\0\0\0\0\0\0\6\0\x0a\0\2ab", 0, "example.com"),
		Q("root", HEAD "\0" A_IN, 0, ""),
		Q("dot in a label", HEAD "\3a.b\3com\0" A_IN, 0, ""),
		Q("NUL in a label", HEAD "\3a\0b\3com\0" A_IN, 0, ""),
		Q("space in a label", HEAD "\3a b\3com\0" A_IN, 0, ""),
		Q("longest label", HEAD L63 "\0" A_IN, 0, &L63[1]),
		Q("long label", HEAD "\x40" L63 "\0" A_IN, IMMURE_DNS_FORMERR, ""),
		Q("name of 256 bytes", HEAD L63 L63 L63 L63 "\0" A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("pointer", HEAD "\xc0\x0c" A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("pointer after a label", HEAD "\1a\xc0\x0c" A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("trailing byte", HEAD EXAMPLE A_IN "x", IMMURE_DNS_FORMERR, NULL),
		Q("byte after OPT", HEAD_EDNS EXAMPLE A_IN OPT "x", IMMURE_DNS_FORMERR, NULL),
		Q("OPT with a name", HEAD_EDNS EXAMPLE A_IN "\1a" OPT, IMMURE_DNS_FORMERR, NULL),
		Q("torn option", HEAD_EDNS EXAMPLE A_IN "\0\0\x29\x10\0\0\0\0\0\0\5\0\x0a\0\2a",
		  IMMURE_DNS_FORMERR, NULL),
		Q("EDNS version 1", HEAD_EDNS EXAMPLE A_IN "\0\0\x29\x10\0\0\1\0\0\0\0",
		  IMMURE_DNS_BADVERS, NULL),
		Q("additional that is no OPT", HEAD_EDNS EXAMPLE A_IN "\0\0\1\0\1\0\0\0\0\0\0",
		  IMMURE_DNS_FORMERR, NULL),
		Q("no question", "\x12\x34\1\0\0\0\0\0\0\0\0\0", IMMURE_DNS_FORMERR, NULL),
		Q("two questions", "\x12\x34\1\0\0\2\0\0\0\0\0\0" EXAMPLE A_IN EXAMPLE A_IN,
		  IMMURE_DNS_FORMERR, NULL),
		Q("answers in a query", "\x12\x34\1\0\0\1\0\1\0\0\0\0" EXAMPLE A_IN,
		  IMMURE_DNS_FORMERR, NULL),
		Q("TC", "\x12\x34\3\0\0\1\0\0\0\0\0\0" EXAMPLE A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("Z", "\x12\x34\1\x40\0\1\0\0\0\0\0\0" EXAMPLE A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("rcode", "\x12\x34\1\3\0\1\0\0\0\0\0\0" EXAMPLE A_IN, IMMURE_DNS_FORMERR, NULL),
		Q("update", "\x12\x34\x28\0\0\1\0\0\0\0\0\0" EXAMPLE A_IN, IMMURE_DNS_NOTIMP, NULL),
		Q("class CHAOS", HEAD EXAMPLE "\0\x10\0\3", IMMURE_DNS_REFUSED, NULL),
		Q("class ANY", HEAD EXAMPLE "\0\1\0\xff", IMMURE_DNS_REFUSED, NULL),
		Q("AXFR", HEAD EXAMPLE "\0\xfc\0\1", IMMURE_DNS_REFUSED, NULL),
		Q("a response", "\x12\x34\x81\x80\0\1\0\0\0\0\0\0" EXAMPLE A_IN, -EBADMSG, NULL),
		Q("short", "\x12\x34\1\0\0\1\0\0\0\0\0", -EBADMSG, NULL),
		Q("nothing", "", -EBADMSG, NULL),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_dns_query q;
		int r = parse((const unsigned char *)t[i].msg, t[i].len, &q);

		if (r != t[i].result || (t[i].name && strcmp(q.name, t[i].name) != 0))
			fail_msg("%s: %d, \"%s\"", t[i].what, r, r < 0 ? "" : q.name);
		if (r >= 0)
			assert_int_equal(q.id, 0x1234);
		if (r == 0 && t[i].name && !t[i].name[0])
			assert_int_equal(q.strange, strcmp(t[i].what, "root") != 0);
	}
}

static void every_prefix(void **state)
{
	static const char msg[] = HEAD_EDNS EXAMPLE A_IN "\0\0\x29\x10\0\0\0\0\0\0\6\0\x0a\0\2ab";
	struct immure_dns_query q;

	(void)state;
	for (size_t n = 0; n < sizeof(msg) - 1; n++)
		assert_int_equal(parse((const unsigned char *)msg, n, &q),
				 n < 12 ? -EBADMSG : IMMURE_DNS_FORMERR);
}

static void answers(void **state)
{
	static const char soa[] = "\0\0\6\0\1\0\0\0\1\0\x24\6immure\0\6immure\0"
				  "\0\0\0\1\0\0\x0e\x10\0\0\2\x58\0\1\x51\x80\0\0\0\1";
	const struct immure_dns_answer four = { .type = IMMURE_DNS_A,
						.address = { 198, 19, 0, 1 } },
		six = { .type = IMMURE_DNS_AAAA, .address = { 0xfd, [15] = 9 } },
		none = { .rcode = IMMURE_DNS_NXDOMAIN }, empty = { 0 },
		ptr = { .type = IMMURE_DNS_PTR, .name = "a.example" },
		bad = { .type = IMMURE_DNS_PTR, .name = "a..example" },
		vers = { .rcode = IMMURE_DNS_BADVERS };
	unsigned char out[IMMURE_DNS_RESPONSE_MAX];
	struct immure_dns_query q;
	int n;

	(void)state;
	assert_int_equal(immure_dns_parse(BYTES(HEAD EXAMPLE A_IN), &q), 0);
#define GIVES(a, m)                                                                                \
	do {                                                                                       \
		n = immure_dns_respond(&q, a, out, sizeof(out));                                   \
		assert_int_equal(n, sizeof(m) - 1);                                                \
		assert_memory_equal(out, m, sizeof(m) - 1);                                        \
		for (int cap = 0; cap < n; cap++)                                                  \
			assert_int_equal(immure_dns_respond(&q, a, out, (size_t)cap), -ENOSPC);    \
	} while (0)
	/* The question's own case comes back. */
	GIVES(&four, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0" EXAMPLE A_IN
	      "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x13\0\1");
	GIVES(&six, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0" EXAMPLE A_IN
	      "\xc0\x0c\0\x1c\0\1\0\0\0\x3c\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x9");
	GIVES(&ptr, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0" EXAMPLE A_IN
	      "\xc0\x0c\0\x0c\0\1\0\0\0\x3c\0\xb\1a\7example\0");
	assert_int_equal(immure_dns_respond(&q, &bad, out, sizeof(out)), -EINVAL);
	n = immure_dns_respond(&q, &none, out, sizeof(out));
	assert_int_equal(n, 12 + 17 + sizeof(soa) - 1);
	assert_memory_equal(out, "\x12\x34\x81\x83\0\1\0\0\0\1\0\0", 12);
	assert_memory_equal(out + 29, soa, sizeof(soa) - 1);
	n = immure_dns_respond(&q, &empty, out, sizeof(out));
	assert_int_equal(n, 12 + 17 + sizeof(soa) - 1);
	assert_memory_equal(out, "\x12\x34\x81\x80\0\1\0\0\0\1\0\0", 12);
	/* EDNS is answered with EDNS; the upper bits of the code go there. */
	assert_int_equal(immure_dns_parse(BYTES(HEAD_EDNS EXAMPLE A_IN "\0\0\x29\x10\0\0\1\0\0\0\0"),
					  &q), IMMURE_DNS_BADVERS);
	GIVES(&vers, "\x12\x34\x81\x80\0\1\0\0\0\0\0\1" EXAMPLE A_IN "\0\0\x29\2\0\1\0\0\0\0\0");
	/* Without a question there is nothing to point at, but an error can be told. */
	assert_int_equal(immure_dns_parse(BYTES("\x12\x34\1\0\0\0\0\0\0\0\0\0"), &q),
			 IMMURE_DNS_FORMERR);
	assert_int_equal(immure_dns_respond(&q, &four, out, sizeof(out)), -EINVAL);
	assert_int_equal(immure_dns_respond(&q, &none, out, sizeof(out)), 12);
}

static void reverse(void **state)
{
	static const char six[] = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.6.e.6."
				  "3.5.d.f.ip6.arpa";
	static const char *const bad[] = { "", "1.2.3.in-addr.arpa", "1.2.3.256.in-addr.arpa",
					   "1.2.3.4.5.in-addr.arpa", "01.2.3.4.in-addr.arpa",
					   "1.2.3.4.in-addr.arpa.x", "1.2.3.4", "in-addr.arpa",
					   "1111.2.3.4.in-addr.arpa", "x.ip6.arpa" };
	enum immure_host_kind kind;
	unsigned char a[16];

	(void)state;
	assert_int_equal(immure_dns_reverse("1.0.19.198.in-addr.arpa", &kind, a), 0);
	assert_int_equal(kind, IMMURE_HOST_NET4);
	assert_memory_equal(a, "\xc6\x13\0\1", 4);
	assert_int_equal(immure_dns_reverse(six, &kind, a), 0);
	assert_int_equal(kind, IMMURE_HOST_NET6);
	assert_memory_equal(a, "\xfd\x53\x6e\x62\0\0\0\0\0\0\0\0\0\0\0\x9", 16);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(immure_dns_reverse(bad[i], &kind, a), -ENOENT);
}

static void stream(void **state)
{
	static const char two[] = "\0\x1d" HEAD EXAMPLE A_IN "\0\x0c" HEAD;
	struct immure_dns_stream s;
	size_t used, len, at, got;

	(void)state;
	for (size_t piece = 1; piece < sizeof(two); piece++) {
		memset(&s, 0, sizeof(s));
		got = 0;
		for (at = 0; at < sizeof(two) - 1; at += used) {
			size_t n = sizeof(two) - 1 - at < piece ? sizeof(two) - 1 - at : piece;

			if (immure_dns_stream_feed(&s, (const unsigned char *)two + at, n, &used,
						   &len) != 1)
				continue;
			assert_int_equal(len, got++ ? 12 : 29);
			assert_memory_equal(s.buf + 2, HEAD, 12);
		}
		assert_int_equal(got, 2);
	}
	memset(&s, 0, sizeof(s));
	assert_int_equal(immure_dns_stream_feed(&s, BYTES("\0\x0b"), &used, &len), -EMSGSIZE);
	memset(&s, 0, sizeof(s));
	assert_int_equal(immure_dns_stream_feed(&s, BYTES("\2\1"), &used, &len), -EMSGSIZE);
}

#define RHEAD(n) "\x12\x34\x81\x80\0\1\0" n "\0\0\0\0" EXAMPLE A_IN
#define RR_A(owner, d) owner "\0\1\0\1\0\0\0\1\0\4\1\2\3" d
#define RR_CNAME(owner, len, to) owner "\0\5\0\1\0\0\0\1\0" len to

static int reply(const char *msg, size_t len, struct immure_dns_reply *r)
{
	unsigned char *copy = malloc(len ? len : 1);
	int k;

	assert_non_null(copy);
	memcpy(copy, msg, len);
	k = immure_dns_reply_parse(copy, len, 0x1234, "example.com", IMMURE_DNS_A, r);
	free(copy);
	return k;
}

static void replies(void **state)
{
	static const struct {
		const char *what, *msg;
		size_t len;
		int result;
		size_t n;
	} t[] = {
#define R(what, m, r, n) { what, m, sizeof(m) - 1, r, n }
		R("two addresses", RHEAD("\2") RR_A("\xc0\x0c", "\4") RR_A("\xc0\x0c", "\5"), 0, 2),
		R("CNAME", RHEAD("\2") RR_CNAME("\xc0\x0c", "\3", "\1b\0") RR_A("\1b\0", "\4"), 0, 1),
		R("CNAME out of order", RHEAD("\2") RR_A("\1b\0", "\4")
		  RR_CNAME("\xc0\x0c", "\3", "\1B\0"), 0, 1),
		R("address of another name", RHEAD("\1") RR_A("\1b\0", "\4"), 0, 0),
		R("CNAME of another name", RHEAD("\2") RR_CNAME("\1c\0", "\3", "\1b\0")
		  RR_A("\1b\0", "\4"), 0, 0),
		R("two CNAMEs", RHEAD("\2") RR_CNAME("\xc0\x0c", "\3", "\1b\0")
		  RR_CNAME("\xc0\x0c", "\3", "\1c\0"), -EBADMSG, 0),
		R("CNAME to itself", RHEAD("\1") RR_CNAME("\xc0\x0c", "\2", "\xc0\x0c"), -ELOOP, 0),
		R("pointer to itself", RHEAD("\1") RR_A("\xc0\x1d", "\4"), -EBADMSG, 0),
		R("pointer forward", RHEAD("\1") RR_A("\xc0\x30", "\4"), -EBADMSG, 0),
		R("pointer into the header", RHEAD("\1") RR_A("\xc0\x02", "\4"), -EBADMSG, 0),
		R("wrong size", RHEAD("\1") "\xc0\x0c\0\1\0\1\0\0\0\1\0\3\1\2\3", -EBADMSG, 0),
		R("torn", RHEAD("\1") "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3", -EBADMSG, 0),
		R("no records", RHEAD("\0"), 0, 0),
		R("other id", "\x12\x35\x81\x80\0\1\0\0\0\0\0\0" EXAMPLE A_IN, -EBADMSG, 0),
		R("a query", HEAD EXAMPLE A_IN, -EBADMSG, 0),
		R("other name", "\x12\x34\x81\x80\0\1\0\0\0\0\0\0\7example\3net\0" A_IN, -EBADMSG, 0),
		R("other type", "\x12\x34\x81\x80\0\1\0\0\0\0\0\0" EXAMPLE "\0\x1c\0\1", -EBADMSG, 0),
		R("truncated", "\x12\x34\x83\x80\0\1\0\1\0\0\0\0" EXAMPLE A_IN, 0, 0),
		R("NXDOMAIN", "\x12\x34\x81\x83\0\1\0\0\0\0\0\0" EXAMPLE A_IN, 0, 0),
	};
	struct immure_dns_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int k = reply(t[i].msg, t[i].len, &r);

		if (k != t[i].result || (k == 0 && r.n != t[i].n))
			fail_msg("%s: %d, %zu", t[i].what, k, k == 0 ? r.n : 0);
	}
	assert_int_equal(reply(t[0].msg, t[0].len, &r), 0);
	assert_memory_equal(r.addresses[1], "\1\2\3\5", 4);
	for (size_t n = 0; n < t[0].len; n++)
		assert_int_equal(reply(t[0].msg, n, &r), -EBADMSG);
}

/* How long an answer holds: as long as the shortest of what led to it. */
static void lifetimes(void **state)
{
#define RR_FOR(ttl, d) "\xc0\x0c\0\1\0\1" ttl "\0\4\1\2\3" d
	static const struct {
		const char *msg;
		size_t len;
		uint32_t ttl_s;
	} t[] = {
#define T(m, ttl) { m, sizeof(m) - 1, ttl }
		T(RHEAD("\1") RR_FOR("\0\0\0\x3c", "\4"), 60),
		T(RHEAD("\2") RR_FOR("\0\0\0\x3c", "\4") RR_FOR("\0\0\0\x07", "\5"), 7),
		T(RHEAD("\2") RR_FOR("\0\0\0\x07", "\4") RR_FOR("\0\1\0\0", "\5"), 7),
		T(RHEAD("\1") RR_FOR("\0\0\0\0", "\4"), 0),
		T(RHEAD("\1") RR_FOR("\x80\0\0\0", "\4"), 0),
		T(RHEAD("\1") RR_FOR("\x7f\xff\xff\xff", "\4"), INT32_MAX),
		T(RHEAD("\2") "\xc0\x0c\0\5\0\1\0\0\0\2\0\3\1b\0"
		  "\1b\0\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4", 2),
		T(RHEAD("\2") "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\3\1b\0" RR_A("\1b\0", "\4"), 1),
	};
	struct immure_dns_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(reply(t[i].msg, t[i].len, &r), 0);
		if (r.ttl_s != t[i].ttl_s)
			fail_msg("%zu: %u", i, r.ttl_s);
	}
}

/* Nine links are too many, eight are not. */
static void chains(void **state)
{
	(void)state;
	for (int links = 8; links <= 9; links++) {
		char msg[512] = RHEAD("\0");
		size_t len = sizeof(RHEAD("\0")) - 1;
		struct immure_dns_reply r;

		msg[7] = (char)(links + 1);
		for (int i = 0; i <= links; i++) {
			char owner[3] = { 1, (char)('a' + i - 1), 0 };
			char to[3] = { 1, (char)('a' + i), 0 };

			memcpy(msg + len, i ? owner : "\xc0\x0c", i ? 3 : 2);
			len += i ? 3 : 2;
			if (i < links) {
				memcpy(msg + len, "\0\5\0\1\0\0\0\1\0\3", 10);
				memcpy(msg + len + 10, to, 3);
				len += 13;
			} else {
				memcpy(msg + len, "\0\1\0\1\0\0\0\1\0\4\1\2\3\4", 14);
				len += 14;
			}
		}
		assert_int_equal(reply(msg, len, &r), links == 8 ? 0 : -ELOOP);
		if (links == 8)
			assert_int_equal(r.n, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queries),  cmocka_unit_test(every_prefix),
		cmocka_unit_test(answers),  cmocka_unit_test(reverse),
		cmocka_unit_test(stream),   cmocka_unit_test(replies),
		cmocka_unit_test(lifetimes), cmocka_unit_test(chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
