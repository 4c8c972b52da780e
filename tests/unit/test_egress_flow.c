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

/* Feeds it byte by byte, as far as it goes. */
static int say(struct immure_http_flow *f, const char *text)
{
	const unsigned char *out;
	size_t n;
	int r = 0;

	for (; *text && r == 0; text++) {
		r = immure_http_flow_feed(f, (const unsigned char *)text, 1, &out, &n);
		assert_true(n <= 4096);
	}
	return r;
}

static int answered(struct immure_http_flow *f, const char *text)
{
	int r = 0;

	for (; *text && r == 0; text++)
		r = immure_http_flow_answer(f, (const unsigned char *)text, 1);
	return r;
}

static void requests_have_bounds(void **unused)
{
	static const struct {
		const char *text;
		int result;
		uint64_t requests;
	} cases[] = {
		{ POST("Content-Length: 5\r\n", "abcde") GET("/"), 0, 2 },
		{ POST("Content-Length: 6\r\n", "abcdef"), -EFBIG, 0 },
		{ POST("Content-Length: 999999999999999999\r\n", ""), -EFBIG, 0 },
		{ POST("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n") GET("/"), 0, 2 },
		{ POST("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n"), -EFBIG, 1 },
		{ POST("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFF\r\n"), -EFBIG, 1 },
		{ POST("Content-Length: 5\r\n", "abcde") POST("Content-Length: 5\r\n", "abcde"), 0, 2 },
	};
	const struct immure_http_bounds bounds = { .request_body = 5 };
	static struct seen s;

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct immure_http_flow *f;

		assert_int_equal(immure_http_flow_new(judge, &s, &f), 0);
		immure_http_flow_bound(f, &bounds);
		assert_int_equal(say(f, cases[i].text), cases[i].result);
		assert_int_equal(immure_http_flow_requests(f), cases[i].requests);
		assert_false(immure_http_flow_follows(f));
		assert_int_equal(immure_http_flow_code(cases[i].result),
				 cases[i].result ? IMMURE_CODE_HTTP_BODY_TOO_LARGE : IMMURE_CODE_NONE);
		immure_http_flow_free(f);
	}
}

static void answers_have_bounds(void **unused)
{
	static const struct {
		const char *asked, *answer;
		int result;
	} cases[] = {
#define OK(fields, body) "HTTP/1.1 200 OK\r\n" fields "\r\n" body
		{ GET("/"), OK("Content-Length: 5\r\n", "abcde"), 0 },
		{ GET("/"), OK("Content-Length: 6\r\n", ""), -EFBIG },
		{ GET("/"), OK("content-length:\t6 \r\n", ""), -EFBIG },
		{ "HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n", OK("Content-Length: 600\r\n", ""), 0 },
		{ GET("/"), "HTTP/1.1 304 x\r\nContent-Length: 600\r\n\r\n", 0 },
		{ GET("/") GET("/"), OK("Content-Length: 5\r\n", "abcde") OK("Content-Length: 6\r\n", ""), -EFBIG },
		{ GET("/") GET("/"), OK("Content-Length: 5\r\n", "abcde") OK("Content-Length: 5\r\n", "abcde"), 0 },
		{ GET("/"), "HTTP/1.1 100 Continue\r\n\r\n" OK("Content-Length: 5\r\n", "abcde"), 0 },
		{ GET("/"), "HTTP/1.1 103 x\nLink: y\n\n" OK("Content-Length: 6\r\n", ""), -EFBIG },
		{ GET("/"), OK("", "abcde"), 0 },
		{ GET("/"), OK("", "abcdef"), -EFBIG },
		{ GET("/"), OK("Transfer-Encoding: chunked\r\n", "5;x=y\r\nabcde\r\n0\r\nA: b\r\n\r\n"), 0 },
		{ GET("/") GET("/"), OK("Transfer-Encoding: chunked\r\n", "0\r\n\r\n") OK("", "abcdef"), -EFBIG },
		{ GET("/"), OK("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n4\r\n"), -EFBIG },
		{ GET("/"), OK("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "6\r\n"), -EFBIG },
		{ GET("/"), OK("Transfer-Encoding: gzip, chunked\r\n", "6\r\nabc"), -EFBIG },
		{ GET("/"), OK("Content-Length: 5\r\nContent-Length: 6\r\n", ""), -EPROTO },
		{ GET("/"), OK("Content-Length: 5, 5\r\n", ""), -EPROTO },
		{ GET("/"), OK("X: y\r\n Content-Length: 5\r\n", ""), -EPROTO },
		{ GET("/"), OK("Content-Length: 5\r\n", "abcde") OK("", ""), -EPROTO },
		{ GET("/"), OK("Transfer-Encoding: chunked\r\n", "\r\n"), -EPROTO },
		{ GET("/"), OK("Transfer-Encoding: chunked\r\n", "1234567890123456\r\n"), -EPROTO },
		{ GET("/"), "HTTP/1.1 101 x\r\n\r\n", -EPROTO },
		{ GET("/"), "HTTP/2 200 x\r\n\r\n", -EPROTO },
		{ GET("/"), "SSH-2.0-x\r\n", -EPROTO },
	};
	const struct immure_http_bounds bounds = { .response_body = 5 };
	static struct seen s;

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct immure_http_flow *f;
		int r;

		assert_int_equal(immure_http_flow_new(judge, &s, &f), 0);
		immure_http_flow_bound(f, &bounds);
		assert_int_equal(say(f, cases[i].asked), 0);
		assert_true(immure_http_flow_follows(f));
		r = answered(f, cases[i].answer);
		if (r != cases[i].result)
			fail_msg("%zu: %d: %s", i, r, immure_http_flow_why(f));
		immure_http_flow_free(f);
	}
}

#define SOCKET "GET /s HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHES "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

static void upgrades(void **unused)
{
	static const struct {
		const char *first, *answer, *then;
		int said, answered, after;
	} cases[] = {
		{ SOCKET, SWITCHES "bytes", GET("/no") "\001\377", 0, 0, 0 },
		{ SOCKET "early", "", "", -EPROTO, 0, 0 },
		{ SOCKET, "HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\nno", GET("/no"), 0, 0, -EACCES },
		{ SOCKET, "HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\nno", GET("/2"), 0, 0, 0 },
		{ SOCKET, "HTTP/1.1 100 x\r\n\r\n", "x", 0, 0, -EPROTO },
		{ SOCKET, "HTTP/1.0 200 x\r\n\r\n" SWITCHES, GET("/no"), 0, 0, -EACCES },
		/* Nobody knows what was answered before. */
		{ GET("/1") SOCKET, "", "", -EPROTO, 0, 0 },
	};
	static struct seen s;

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct immure_http_flow *f;

		assert_int_equal(immure_http_flow_new(judge, &s, &f), 0);
		assert_int_equal(say(f, cases[i].first), cases[i].said);
		if (!cases[i].said) {
			assert_int_equal(answered(f, cases[i].answer), cases[i].answered);
			assert_int_equal(say(f, cases[i].then), cases[i].after);
		}
		immure_http_flow_free(f);
	}
}

static void heads_of_every_length(void **unused)
{
	static char text[IMMURE_HTTP_HEAD_MAX + 64];
	static const char begin[] = "GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
	static struct seen s;

	(void)unused;
	for (size_t len = 8190; len < IMMURE_HTTP_HEAD_MAX + 2; len = len < 9000 ? len + 1 : len * 5 / 4 > IMMURE_HTTP_HEAD_MAX ?
	     len < IMMURE_HTTP_HEAD_MAX ? IMMURE_HTTP_HEAD_MAX : len + 1 : len * 5 / 4) {
		struct immure_http_flow *f;
		const unsigned char *out;
		size_t n = 0;
		int r;

		memset(text, 'x', sizeof(text));
		memcpy(text, begin, sizeof(begin) - 1);
		memcpy(text + len - 4, "\r\n\r\n", 4);
		assert_int_equal(immure_http_flow_new(judge, &s, &f), 0);
		r = immure_http_flow_feed(f, (unsigned char *)text, 5000, &out, &n);
		assert_int_equal(r, 0);
		r = immure_http_flow_feed(f, (unsigned char *)text + 5000, len - 5000, &out, &n);
		assert_int_equal(r, len <= IMMURE_HTTP_HEAD_MAX ? 0 : -EPROTO);
		assert_int_equal(n, r ? 0 : len);
		if (r == 0)
			assert_memory_equal(out, text, len);
		immure_http_flow_free(f);
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
		cmocka_unit_test(requests_have_bounds),
		cmocka_unit_test(answers_have_bounds),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(heads_of_every_length),
		cmocka_unit_test(hosts_and_resolvers),
		cmocka_unit_test(ports_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
