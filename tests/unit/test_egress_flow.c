/* SPDX-License-Identifier: Apache-2.0 */
/* The gatekeeper's parts that need no network: requests one after another, this
 * host's files, ports of names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "egress/hostconf.h"
#include "egress/httpflow.h"
#include "egress/judge.h"

struct seen {
	char out[8192];
	size_t len;
	unsigned int asked;
};

static int judge(void *ctx, const struct immure_http_head *h)
{
	struct seen *s = ctx;

	s->asked++;
	return h->target_len >= 3 && memcmp(h->target, "/no", 3) == 0 ? -EACCES : 0;
}

/* The result of feeding all of it, in pieces of so many bytes. */
static int feed(struct seen *s, const char *text, size_t piece, uint64_t *ret_requests)
{
	struct immure_http_flow *f;
	size_t len = strlen(text);
	int r = 0;

	memset(s, 0, sizeof(*s));
	assert_int_equal(immure_http_flow_new(judge, s, &f), 0);
	for (size_t at = 0; at < len && r == 0; at += piece) {
		const unsigned char *out;
		size_t n;

		r = immure_http_flow_feed(f, (const unsigned char *)text + at,
					  len - at < piece ? len - at : piece, &out, &n);
		assert_true(s->len + n < sizeof(s->out));
		memcpy(s->out + s->len, out, n);
		s->len += n;
	}
	*ret_requests = immure_http_flow_requests(f);
	immure_http_flow_free(f);
	return r;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n\r\n"
#define POST(fields, body) "POST /p HTTP/1.1\r\nHost: a.example\r\n" fields "\r\n" body

static void requests_are_told_apart(void **unused)
{
	static const struct {
		const char *text;
		int result;
		uint64_t requests;
	} cases[] = {
		{ GET("/1") GET("/2"), 0, 2 },
		{ GET("/1") GET("/no") GET("/2"), -EACCES, 1 },
		{ POST("Content-Length: 3\r\n", "abc") GET("/2"), 0, 2 },
		/* A body that looks like a request is none. */
		{ POST("Content-Length: 40\r\n", GET("/no")) , 0, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
		  GET("/2"), 0, 2 },
		{ POST("Transfer-Encoding: chunked\r\n", "0\r\n\r\n") GET("/no"), -EACCES, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "3\r\nabcX"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "3\nabc"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "3 \r\nabc"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "0x3\r\nabc"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "\r\n"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "3;a=b\r\nabc\r\n"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "0\r\nA: b\r\n\r\n"), -EPROTO, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "1234567890123456\r\n"), -EPROTO, 1 },
		{ POST("Connection: close\r\n", "") GET("/2"), -EPROTO, 1 },
		{ "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n" GET("/2"), -EPROTO, 1 },
		{ GET("/1") "\r\n" GET("/2"), -EPROTO, 1 },
	};
	static struct seen s;

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t piece = 1; piece < 300; piece = piece * 3 + 1) {
			uint64_t n = 0;

			assert_int_equal(feed(&s, cases[i].text, piece, &n), cases[i].result);
			assert_int_equal(n, cases[i].requests);
			assert_memory_equal(s.out, cases[i].text, s.len);
			if (cases[i].result == 0)
				assert_int_equal(s.len, strlen(cases[i].text));
			if (cases[i].result == -EACCES)
				assert_null(memmem(s.out, s.len, "GET /no", 7));
		}
}

static void hosts_and_resolvers(void **unused)
{
	static const char resolv[] = "# comment\nsearch example.com\n  nameserver\t192.0.2.1 # one\n"
				     "nameserver 2001:db8::1\nnameserver nonsense\n"
				     "nameserver ::ffff:192.0.2.3\nnameserver 192.0.2.4\n";
	static const char hosts[] = "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n"
				    "192.0.2.7 Web.Example.COM web # c\n192.0.2.8 web\nx y\n";
	struct immure_hostconf h = { 0 };
	struct immure_inet l[4];

	(void)unused;
	immure_hostconf_resolvers(&h, "", 0);
	assert_int_equal(h.servers_n, 1);
	assert_int_equal(h.server[0].at.addr[0], 127);
	immure_hostconf_resolvers(&h, resolv, sizeof(resolv) - 1);
	assert_int_equal(h.servers_n, 3);
	assert_true(h.server[1].at.v6);
	assert_false(h.server[2].at.v6);
	assert_int_equal(h.server[2].at.port, 53);
	assert_int_equal(immure_hostconf_hosts(&h, hosts, sizeof(hosts) - 1), 0);
	assert_int_equal(immure_hostconf_find(&h, "localhost", l, 4), 2);
	assert_false(l[0].v6);
	assert_int_equal(immure_hostconf_find(&h, "web", l, 1), 1);
	assert_int_equal(l[0].addr[3], 7);
	assert_int_equal(immure_hostconf_find(&h, "web.example.com", l, 4), 1);
	assert_int_equal(immure_hostconf_find(&h, "y", l, 4), 0);
	immure_hostconf_done(&h);
}

static void ports_of_a_name(void **unused)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv allow = { 0 }, deny = { 0 };
	struct immure_port_range l[IMMURE_JUDGE_PORTS];
	struct immure_endpoint e = { .kind = IMMURE_HOST_NAME, .name = "a.example.com" };
	struct immure_complaint c;
	struct immure_judge j;

	(void)unused;
	assert_true(immure_strv_add(&a, &allow, "a.example.com:8000-8100"));
	assert_true(immure_strv_add(&a, &allow, "*.example.com"));
	assert_true(immure_strv_add(&a, &allow, "a.example.com:443"));
	assert_true(immure_strv_add(&a, &allow, "https://a.example.com:9999/path"));
	assert_true(immure_strv_add(&a, &deny, "a.example.com:8050"));
	assert_int_equal(immure_judge_init(&a, &allow, &deny, &j, &c), 0);
	assert_int_equal(immure_judge_ports(&j, &e, l), 4);
	assert_int_equal(l[0].lo, 80);
	assert_int_equal(l[0].hi, 80);
	assert_int_equal(l[1].lo, 443);
	assert_int_equal(l[2].lo, 8000);
	assert_int_equal(l[2].hi, 8049);
	assert_int_equal(l[3].lo, 8051);
	assert_int_equal(l[3].hi, 8100);
	memcpy(e.name, "b.example.net", 14);
	assert_int_equal(immure_judge_ports(&j, &e, l), 0);
	immure_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_told_apart),
		cmocka_unit_test(hosts_and_resolvers),
		cmocka_unit_test(ports_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
