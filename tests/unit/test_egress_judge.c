/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "egress/judge.h"

#define D IMMURE_VERDICT_DENY
#define A IMMURE_VERDICT_ALLOW
#define L IMMURE_VERDICT_LOOK

static const unsigned char loopback[16] = { 127, 0, 0, 1 }, ten[16] = { 10, 0, 0, 1 };

struct setup {
	struct immure_arena a;
	struct immure_judge j;
};

/* Rules separated by '|'. */
static void add(struct immure_arena *a, struct immure_strv *l, const char *rules)
{
	while (*rules) {
		size_t n = strcspn(rules, "|");

		assert_true(immure_strv_add(a, l, immure_arena_strndup(a, rules, n)));
		rules += n + (rules[n] == '|');
	}
}

static void set_up(struct setup *s, const char *allow, const char *deny)
{
	struct immure_strv al = { 0 }, dl = { 0 };
	struct immure_complaint c;

	memset(s, 0, sizeof(*s));
	add(&s->a, &al, allow);
	add(&s->a, &dl, deny);
	if (immure_judge_init(&s->a, &al, &dl, &s->j, &c) != 0)
		fail_msg("%s", c.text);
}

static struct immure_endpoint at(const char *text)
{
	struct immure_endpoint e;

	assert_int_equal(immure_endpoint_authority(&e, text, strlen(text)), 0);
	return e;
}

static void connections(void **state)
{
	static const struct {
		const char *allow, *deny, *to;
		enum immure_verdict_kind verdict;
		unsigned int look;
	} t[] = {
		{ "example.com", "", "example.com:443", A, 0 },
		{ "example.com", "", "example.com:80", A, 0 },
		{ "example.com", "", "example.com:22", D, 0 },
		{ "example.com", "", "www.example.com:443", D, 0 },
		{ "", "", "example.com:443", D, 0 },
		{ "*.example.com", "", "a.example.com:443", A, 0 },
		{ "*.example.com", "", "a.b.example.com:443", A, 0 },
		{ "*.example.com", "", "example.com:443", D, 0 },
		{ "*.example.com", "", "evil-example.com:443", D, 0 },
		{ "*.example.com", "", "a.example.com.evil.net:443", D, 0 },
		{ "example.com:8000-8010", "", "example.com:8010", A, 0 },
		{ "example.com:8000-8010", "", "example.com:8011", D, 0 },
		{ "example.com:8000-8010", "", "example.com:7999", D, 0 },
		{ "*.example.com", "a.example.com", "a.example.com:443", D, 0 },
		{ "*.example.com", "a.example.com", "b.example.com:443", A, 0 },
		{ "*.example.com:1-99", "*.example.com:50-60", "b.example.com:55", D, 0 },
		{ "*.example.com:1-99", "*.example.com:50-60", "b.example.com:61", A, 0 },
		{ "example.com", "tls://example.com", "example.com:443", D, 0 },
		{ "ssh://example.com", "", "example.com:22", A, 0 },
		{ "tcp://example.com:5432", "", "example.com:5432", A, 0 },
		{ "tls://example.com", "", "example.com:443", L, IMMURE_LOOK_TLS },
		{ "https://example.com", "", "example.com:443", L, IMMURE_LOOK_TLS },
		{ "http://example.com", "", "example.com:80", L, IMMURE_LOOK_HTTP },
		{ "tls://example.com:80|http://example.com", "", "example.com:80", L,
		  IMMURE_LOOK_TLS | IMMURE_LOOK_HTTP },
		{ "tls://example.com|example.com", "", "example.com:443", A, 0 },
		{ "https://example.com/x", "", "example.com:443", D, 0 },
		{ "GET https://example.com", "", "example.com:443", D, 0 },
		{ "example.com", "http://example.com/admin/*", "example.com:80", L, IMMURE_LOOK_HTTP },
		{ "example.com", "http://example.com/admin/*", "example.com:443", A, 0 },
		{ "example.com", "http://example.com", "example.com:80", D, 0 },
		{ "example.com", "https://example.com/admin/*", "example.com:443", D, 0 },
		{ "tls://example.com:80", "http://example.com/x", "example.com:80", D, 0 },
		{ "93.184.216.34", "", "93.184.216.34:443", A, 0 },
		{ "93.184.216.34", "", "[::ffff:93.184.216.34]:443", A, 0 },
		{ "93.184.216.34", "", "93.184.216.35:443", D, 0 },
		{ "93.184.216.0/24", "93.184.216.34", "93.184.216.34:443", D, 0 },
		{ "0.0.0.0/0", "", "93.184.216.34:443", A, 0 },
		{ "0.0.0.0/0", "", "127.0.0.1:443", D, 0 },
		{ "0.0.0.0/0", "", "169.254.169.254:80", D, 0 },
		{ "169.254.0.0/16", "", "169.254.169.254:80", D, 0 },
		{ "169.254.169.254", "", "169.254.169.254:80", A, 0 },
		{ "127.0.0.1:5432", "", "127.0.0.1:5432", A, 0 },
		{ "127.0.0.0/8:5432", "", "127.0.0.1:5432", A, 0 },
		{ "10.1.0.0/16", "", "10.1.2.3:443", A, 0 },
		{ "2606:4700::1111", "", "[2606:4700::1111]:443", A, 0 },
		{ "2606:4700::1111", "", "[2606:4700::1112]:443", D, 0 },
		{ "::/0", "", "[::1]:443", D, 0 },
		{ "*.example.com", "", "93.184.216.34:443", D, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_endpoint to = at(t[i].to);
		struct immure_verdict v;
		struct setup s;
		enum immure_verdict_kind k;

		set_up(&s, t[i].allow, t[i].deny);
		k = immure_judge_connect(&s.j, &to, &v);
		if (k != t[i].verdict || (k == L && v.look != t[i].look) ||
		    (v.kind == IMMURE_VERDICT_DENY && !v.why[0]))
			fail_msg("allow %s deny %s: %s: %d, look %u, %s", t[i].allow, t[i].deny, t[i].to,
				 k, v.look, v.why);
		immure_arena_done(&s.a);
	}
}

static void words(void **state)
{
	struct immure_endpoint to = at("example.com:8080");
	struct immure_verdict v;
	struct setup s;

	(void)state;
	set_up(&s, "example.com", "");
	assert_int_equal(immure_judge_connect(&s.j, &to, &v), D);
	assert_string_equal(v.why, "example.com:8080 is not in network.allow");
	assert_string_equal(v.add, "\"example.com:8080\" in network.allow");
	assert_null(v.rule);
	immure_arena_done(&s.a);
	set_up(&s, "example.com:8080", "Example.com:8080");
	assert_int_equal(immure_judge_connect(&s.j, &to, &v), D);
	assert_string_equal(v.why, "network.deny has \"example.com:8080\"");
	assert_string_equal(v.rule, "example.com:8080");
	immure_arena_done(&s.a);
	set_up(&s, "example.com:8080", "");
	assert_int_equal(immure_vet_address(&s.j, &to, IMMURE_HOST_NET4,
					    loopback, &v), D);
	assert_string_equal(v.why, "example.com:8080 leads to 127.0.0.1:8080: loopback");
	assert_string_equal(v.add, "\"127.0.0.1:8080\" in network.allow");
	immure_arena_done(&s.a);
}

static void names(void **state)
{
	static const struct {
		const char *allow, *deny, *name;
		enum immure_verdict_kind verdict;
		size_t wild;
	} t[] = {
		{ "example.com", "", "example.com", A, 0 },
		{ "example.com", "", "a.example.com", D, 0 },
		{ "*.example.com", "", "abc.d.example.com", A, 5 },
		{ "*.example.com|*.d.example.com", "", "abc.d.example.com", A, 3 },
		{ "*.example.com|abc.d.example.com", "", "abc.d.example.com", A, 0 },
		{ "*.example.com", "", "example.com", D, 0 },
		{ "example.com", "example.com", "example.com", D, 0 },
		{ "example.com", "example.com:443", "example.com", A, 0 },
		{ "example.com", "example.com:443|example.com:1-100", "example.com", D, 0 },
		{ "example.com:1-65535", "example.com:1-65534", "example.com", A, 0 },
		{ "example.com:1-65535", "example.com:1-65535", "example.com", D, 0 },
		{ "example.com", "http://example.com/x|example.com:443", "example.com", A, 0 },
		{ "https://example.com/x", "", "example.com", D, 0 },
		{ "93.184.216.34", "", "example.com", D, 0 },
		{ "example.com", "", "", D, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_verdict v;
		struct setup s;
		size_t wild = 99;
		enum immure_verdict_kind k;

		set_up(&s, t[i].allow, t[i].deny);
		k = immure_judge_name(&s.j, t[i].name, &wild, &v);
		if (k != t[i].verdict || (k == A && wild != t[i].wild))
			fail_msg("allow %s deny %s: %s: %d, %zu", t[i].allow, t[i].deny, t[i].name, k,
				 wild);
		immure_arena_done(&s.a);
	}
}

static void hellos(void **state)
{
	static const struct {
		const char *allow, *to, *sni;
		bool ech, refuse_ech;
		enum immure_verdict_kind verdict;
	} t[] = {
		{ "tls://example.com", "example.com:443", "example.com", false, true, A },
		{ "tls://example.com", "example.com:443", "evil.net", false, false, D },
		{ "tls://example.com", "example.com:443", "", false, false, D },
		{ "tls://example.com", "example.com:443", "example.com", true, false, A },
		{ "tls://example.com", "example.com:443", "example.com", true, true, D },
		{ "tls://*.example.com", "a.example.com:443", "a.example.com", false, false, A },
		{ "tls://*.example.com", "a.example.com:443", "b.example.com", false, false, D },
		{ "tls://93.184.216.34", "93.184.216.34:443", "", false, false, A },
		{ "tls://93.184.216.34", "93.184.216.34:443", "example.com", false, false, D },
		{ "http://example.com:443", "example.com:443", "example.com", false, false, D },
		{ "http://example.com:443|https://example.com", "example.com:443", "example.com",
		  false, false, A },
		{ "https://example.com/x", "example.com:443", "example.com", false, false, D },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_tls_hello h = { .ech = t[i].ech };
		struct immure_endpoint to = at(t[i].to);
		struct immure_verdict v;
		struct setup s;

		(void)snprintf(h.sni, sizeof(h.sni), "%s", t[i].sni);
		set_up(&s, t[i].allow, "");
		s.j.refuse_ech = t[i].refuse_ech;
		if (immure_judge_tls(&s.j, &to, &h, &v) != t[i].verdict)
			fail_msg("%zu: %s: %s", i, t[i].allow, v.why);
		immure_arena_done(&s.a);
	}
}

static void requests(void **state)
{
	static const struct {
		const char *allow, *deny, *to, *request;
		enum immure_verdict_kind verdict;
	} t[] = {
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h.example\r\n\r\n"
		{ "http://h.example", "", "h.example:80", GET("/x"), A },
		{ "http://h.example", "", "h.example:80", GET("/../x"), A },
		{ "http://h.example", "", "h.example:80", "GET / HTTP/1.1\r\nHost: e.example\r\n\r\n", D },
		{ "http://h.example", "", "h.example:80", "GET / HTTP/1.1\r\nHost: h.example:81\r\n\r\n",
		  D },
		{ "http://h.example:81", "", "h.example:81",
		  "GET / HTTP/1.1\r\nHost: h.example:81\r\n\r\n", A },
		{ "http://h.example", "", "h.example:80",
		  "GET / HTTP/1.1\r\nHost: h.example\r\nUpgrade: websocket\r\n\r\n", D },
#define SOCKET(path) "GET " path " HTTP/1.1\r\nHost: h.example\r\nUpgrade: websocket\r\n\r\n"
		{ "GET http://h.example", "", "h.example:80", SOCKET("/"), D },
		{ "WEBSOCKET http://h.example/s", "", "h.example:80", SOCKET("/s"), A },
		{ "WEBSOCKET http://h.example/s", "", "h.example:80", SOCKET("/t"), D },
		{ "WEBSOCKET http://h.example/s", "", "h.example:80", GET("/s"), D },
		{ "GET,WEBSOCKET http://h.example/s", "", "h.example:80", GET("/s"), A },
		{ "h.example", "WEBSOCKET http://h.example", "h.example:80", SOCKET("/"), D },
		{ "h.example", "WEBSOCKET http://h.example", "h.example:80", GET("/"), A },
		{ "h.example", "GET http://h.example/x", "h.example:80", SOCKET("/x"), D },
		{ "h.example", "http://h.example/x", "h.example:80", SOCKET("/%78"), D },
		{ "http://h.example/v1/*", "", "h.example:80", GET("/v1/a?b"), A },
		{ "http://h.example/v1/*", "", "h.example:80", GET("/v1"), D },
		{ "http://h.example/v1/*", "", "h.example:80", GET("/v1/../v2"), D },
		{ "http://h.example/v1/*", "", "h.example:80", GET("/v1/%2e%2e/v2"), D },
		{ "http://h.example/v1", "", "h.example:80", GET("/v%31"), A },
		{ "POST http://h.example", "", "h.example:80", GET("/"), D },
		{ "GET http://h.example", "", "h.example:80", GET("/"), A },
		{ "GET http://h.example", "", "h.example:80",
		  "GET / HTTP/1.1\r\nHost: h.example\r\nX-HTTP-Method-Override: PUT\r\n\r\n", D },
		{ "GET http://h.example|http://h.example/up", "", "h.example:80",
		  "BREW /up HTTP/1.1\r\nHost: h.example\r\n\r\n", A },
		{ "tls://h.example:80", "", "h.example:80", GET("/"), D },
		{ "h.example", "http://h.example/admin/*", "h.example:80", GET("/"), A },
		{ "h.example", "http://h.example/admin/*", "h.example:80", GET("/admin/x"), D },
		{ "h.example", "http://h.example/admin/*", "h.example:80", GET("/%61dmin/x"), D },
		{ "h.example", "http://h.example/admin/*", "h.example:80", GET("//admin/x"), D },
		{ "h.example", "http://h.example/admin/*", "h.example:80",
		  "GET / HTTP/1.1\r\nHost: h.example\r\nX-Original-URL: /admin/x\r\n\r\n", D },
		{ "h.example", "http://h.example/admin/*", "h.example:80",
		  "GET / HTTP/1.1\r\nHost: e.example\r\n\r\n", D },
		{ "h.example", "DELETE http://h.example", "h.example:80", GET("/"), A },
		{ "h.example", "GET http://h.example", "h.example:80", GET("/"), D },
		{ "h.example", "GET http://h.example/x", "h.example:80",
		  "OPTIONS * HTTP/1.1\r\nHost: h.example\r\n\r\n", D },
	};
	static char buf[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_endpoint to = at(t[i].to);
		struct immure_http_reader r;
		struct immure_http_head h;
		struct immure_verdict v;
		struct setup s;
		size_t used;

		immure_http_reader_init(&r, buf, sizeof(buf));
		assert_int_equal(immure_http_reader_feed(&r, t[i].request, strlen(t[i].request), &used),
				 1);
		assert_int_equal(immure_http_head_parse(&r, &h), 0);
		set_up(&s, t[i].allow, t[i].deny);
		if (immure_judge_http(&s.j, &to, &h, &v) != t[i].verdict)
			fail_msg("%zu: allow %s deny %s: %s%s", i, t[i].allow, t[i].deny, t[i].request,
				 v.why);
		immure_arena_done(&s.a);
	}
}

/* Requests that came by TLS which ended at us, and whether it does. */
static void inside_tls(void **state)
{
	static const struct {
		const char *allow, *deny, *secret;
		enum immure_verdict_kind before;
		const char *request;
		enum immure_verdict_kind after;
	} t[] = {
		{ "https://h.example/v1/*", "", "", L, GET("/v1/x"), A },
		{ "https://h.example/v1/*", "", "", L, GET("/v2"), D },
		{ "https://h.example/v1/*", "", "", L, GET("/v1/%2e%2e/v2"), D },
		{ "https://h.example/v1/*", "", "", L, "GET /v1/ HTTP/1.1\r\nHost: e.example\r\n\r\n", D },
		{ "https://h.example/v1/*", "", "", L,
		  "GET http://h.example/v1/ HTTP/1.1\r\nHost: h.example\r\n\r\n", D },
		{ "https://h.example/v1/*", "", "", L,
		  "GET /v1/ HTTP/1.1\r\nHost: h.example\r\nUpgrade: websocket\r\n\r\n", D },
		{ "WEBSOCKET h.example/v1/*", "", "", L, SOCKET("/v1/x"), A },
		{ "WEBSOCKET h.example/v1/*", "", "", L, SOCKET("/v2/x"), D },
		{ "h.example", "", "https://h.example", L, SOCKET("/v2/x"), D },
		{ "GET h.example", "", "", L, GET("/x"), A },
		{ "PUT h.example", "", "", L, GET("/x"), D },
		{ "h.example|PUT h.example", "", "", A, NULL, D },
		{ "h.example", "https://h.example/x", "", L, GET("/y"), A },
		{ "h.example", "https://h.example/x", "", L, GET("/x"), D },
		{ "h.example", "https://h.example/x", "", L, GET("/%78"), D },
		{ "h.example", "https://h.example", "", D, NULL, D },
		{ "h.example", "", "https://h.example:443", L, GET("/x"), A },
		{ "tls://h.example", "", "https://h.example", L, GET("/x"), A },
		{ "tls://h.example", "", "https://e.example", L, NULL, D },
		{ "http://h.example:443/v1/*", "", "https://h.example", L, GET("/v1/x"), D },
		{ "", "", "https://h.example", D, NULL, D },
	};
	static char buf[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_endpoint to = at("h.example:443");
		struct immure_strv secret = { 0 };
		struct immure_complaint c;
		struct immure_http_reader r;
		struct immure_http_head h;
		struct immure_verdict v;
		struct setup s;
		size_t used;

		set_up(&s, t[i].allow, t[i].deny);
		add(&s.a, &secret, t[i].secret);
		assert_int_equal(immure_judge_secrets(&s.a, &secret, &s.j, &c), 0);
		s.j.intercepts = true;
		if (immure_judge_connect(&s.j, &to, &v) != t[i].before ||
		    (t[i].request && t[i].before == L && v.look != IMMURE_LOOK_INTERCEPT))
			fail_msg("%zu: before: %d, look %u, %s", i, v.kind, v.look, v.why);
		if (t[i].request) {
			immure_http_reader_init(&r, buf, sizeof(buf));
			assert_int_equal(immure_http_reader_feed(&r, t[i].request, strlen(t[i].request),
								 &used), 1);
			assert_int_equal(immure_http_head_parse(&r, &h), 0);
			if (immure_judge_https(&s.j, &to, &h, &v) != t[i].after)
				fail_msg("%zu: after: %d, %s", i, v.kind, v.why);
		}
		/* With nobody to do it nothing that asks for it is let through. */
		s.j.intercepts = false;
		if (t[i].request && t[i].before == L)
			assert_int_equal(immure_judge_connect(&s.j, &to, &v), D);
		immure_arena_done(&s.a);
	}
}

/* Where names must not lead. What may be said for it: a rule that names it, the
 * policy's word on private networks. */
static void vetting(void **state)
{
	static const struct {
		const char *address;
		bool open, when_private;
	} t[] = {
		{ "93.184.216.34", true, true },   { "2606:4700::1111", true, true },
		{ "0.0.0.0", false, false },	   { "0.1.2.3", false, false },
		{ "10.0.0.1", false, true },	   { "9.255.255.255", true, true },
		{ "11.0.0.0", true, true },	   { "100.64.0.1", false, false },
		{ "100.127.255.255", false, false }, { "100.128.0.0", true, true },
		{ "100.100.100.200", false, false }, { "127.0.0.1", false, false },
		{ "127.255.255.255", false, false }, { "169.254.169.254", false, false },
		{ "169.254.1.1", false, false },   { "172.15.255.255", true, true },
		{ "172.16.0.1", false, true },	   { "172.31.255.255", false, true },
		{ "172.32.0.0", true, true },	   { "192.0.0.192", false, false },
		{ "192.0.2.1", false, false },	   { "192.88.99.1", false, false },
		{ "192.168.1.1", false, true },	   { "198.18.0.1", false, false },
		{ "198.19.255.255", false, false }, { "198.20.0.0", true, true },
		{ "198.51.100.1", false, false },  { "203.0.113.1", false, false },
		{ "224.0.0.1", false, false },	   { "239.255.255.255", false, false },
		{ "240.0.0.1", false, false },	   { "255.255.255.255", false, false },
		{ "168.63.129.16", false, false },
		{ "::", false, false },		   { "::1", false, false },
		{ "::127.0.0.1", false, false },   { "::ffff:127.0.0.1", false, false },
		{ "::ffff:10.0.0.1", false, true }, { "::ffff:93.184.216.34", true, true },
		{ "::ffff:169.254.169.254", false, false }, { "::ffff:0:7f00:1", false, false },
		{ "64:ff9b::a00:1", false, false }, { "64:ff9b::5db8:d822", false, false },
		{ "64:ff9b:1::1", false, false },  { "100::1", false, false },
		{ "2001::1", false, false },	   { "2001:db8::1", false, false },
		{ "2001:4860::8888", true, true }, { "2002:a00:1::", false, false },
		{ "2002:5db8:d822::1", false, false }, { "3fff::1", false, false },
		{ "3fff:1000::1", true, true },	   { "4000::1", false, false },
		{ "5f00::1", false, false },	   { "fc00::1", false, true },
		{ "fd00:ec2::254", false, false }, { "fd20:ce::254", false, false },
		{ "fd12::1", false, true },	   { "fe80::1", false, false },
		{ "fec0::1", false, false },	   { "ff02::1", false, false },
	};
	struct immure_endpoint to = at("example.com:443");

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bool wide[2];
		unsigned char address[16];
		int kind = immure_address_parse(t[i].address, address);
		struct immure_verdict v;
		struct immure_endpoint literal;
		char rules[512], text[IMMURE_ENDPOINT_TEXT];
		struct setup s;

		assert_true(kind >= 0);
		set_up(&s, "example.com|0.0.0.0/0|::/0", "");
		wide[0] = immure_vet_address(&s.j, &to, (enum immure_host_kind)kind, address, &v) == A;
		s.j.private_ok = true;
		wide[1] = immure_vet_address(&s.j, &to, (enum immure_host_kind)kind, address, &v) == A;
		immure_arena_done(&s.a);
		if (wide[0] != t[i].open || wide[1] != t[i].when_private)
			fail_msg("%s: %d, %d", t[i].address, wide[0], wide[1]);
		/* Named, it is allowed; denied, never. */
		memset(&literal, 0, sizeof(literal));
		immure_endpoint_address(&literal, (enum immure_host_kind)kind, address);
		(void)snprintf(rules, sizeof(rules), "example.com|%s",
			       immure_endpoint_print(&literal, text));
		set_up(&s, rules, "");
		if (immure_vet_address(&s.j, &to, (enum immure_host_kind)kind, address, &v) != A)
			fail_msg("%s: named", t[i].address);
		immure_arena_done(&s.a);
		set_up(&s, rules, text);
		s.j.private_ok = true;
		if (immure_vet_address(&s.j, &to, (enum immure_host_kind)kind, address, &v) != D)
			fail_msg("%s: denied", t[i].address);
		immure_arena_done(&s.a);
	}
}

static void own_addresses(void **state)
{
	static const struct immure_judge_net own[] = {
		{ IMMURE_HOST_NET4, { 93, 184, 216, 34 }, 32 },
		{ IMMURE_HOST_NET4, { 192, 168, 7, 7 }, 32 },
		{ IMMURE_HOST_NET6, { 0xfd, 0x53 }, 64 },
	};
	static const struct {
		const char *allow, *address;
		enum immure_verdict_kind verdict;
	} t[] = {
		{ "example.com", "93.184.216.34", D },
		{ "example.com|93.184.216.0/24", "93.184.216.34", D },
		{ "example.com|93.184.216.34", "93.184.216.34", A },
		{ "example.com|93.184.216.34:80", "93.184.216.34", A },
		{ "example.com|93.184.216.34:81", "93.184.216.34", D },
		{ "example.com", "93.184.216.35", A },
		{ "example.com", "192.168.7.7", D },
		{ "example.com", "192.168.7.8", A },
		{ "example.com", "::ffff:93.184.216.34", D },
		{ "example.com", "fd53::1", D },
		{ "localhost:80", "127.0.0.1", D },
	};
	struct immure_endpoint to = at("example.com:80");
	struct immure_verdict v;
	struct setup s;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		unsigned char address[16];
		int kind = immure_address_parse(t[i].address, address);

		set_up(&s, t[i].allow, "");
		s.j.private_ok = true;
		s.j.own = own;
		s.j.own_n = 3;
		if (immure_vet_address(&s.j, &to, (enum immure_host_kind)kind, address, &v) !=
		    t[i].verdict)
			fail_msg("%zu: %s: %s", i, t[i].address, v.why);
		immure_arena_done(&s.a);
	}
	/* localhost can only mean loopback; nothing else may. */
	set_up(&s, "localhost:80", "");
	to = at("localhost:80");
	assert_int_equal(immure_vet_address(&s.j, &to, IMMURE_HOST_NET4,
					    loopback, &v), A);
	assert_int_equal(immure_vet_address(&s.j, &to, IMMURE_HOST_NET4,
					    ten, &v), D);
	to = at("localhost:81");
	assert_int_equal(immure_vet_address(&s.j, &to, IMMURE_HOST_NET4,
					    loopback, &v), D);
	immure_arena_done(&s.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections), cmocka_unit_test(words),
		cmocka_unit_test(inside_tls),
		cmocka_unit_test(names),
		cmocka_unit_test(hellos),      cmocka_unit_test(requests),
		cmocka_unit_test(vetting),     cmocka_unit_test(own_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
