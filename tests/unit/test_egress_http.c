/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "egress/connect.h"
#include "egress/http1.h"

#define H "Host: h.example\r\n"
#define END "\r\n"

static char buf[IMMURE_HTTP_HEAD_MAX];

static int read_head(struct immure_http_reader *r, const char *data, size_t len, size_t piece,
		     size_t *ret_used)
{
	int k = 0;

	immure_http_reader_init(r, buf, sizeof(buf));
	*ret_used = 0;
	while (k == 0 && *ret_used < len) {
		size_t n = len - *ret_used < piece ? len - *ret_used : piece, used;

		k = immure_http_reader_feed(r, data + *ret_used, n, &used);
		*ret_used += used;
	}
	return k;
}

static int parse(struct immure_http_reader *r, const char *data, size_t len, size_t piece,
		 struct immure_http_head *h)
{
	size_t used;
	int k = read_head(r, data, len, piece, &used);

	return k == 1 ? immure_http_head_parse(r, h) : k;
}

struct input {
	const char *what, *bytes;
	size_t len;
};
#define I(what, b) { what, b, sizeof(b) - 1 }

static const struct input good[] = {
	I("plain", "GET / HTTP/1.1\r\n" H END),
	I("1.0", "GET / HTTP/1.0\r\n" H END),
	I("absolute", "GET http://h.example/x HTTP/1.1\r\n" H END),
	I("absolute in capitals", "GET HTTP://H.Example HTTP/1.1\r\n" H END),
	I("asterisk", "OPTIONS * HTTP/1.1\r\n" H END),
	I("length", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n" END "12345"),
	I("chunked", "POST / HTTP/1.1\r\n" H "transfer-encoding: Chunked \r\n" END "0\r\n"),
	I("websocket", "GET / HTTP/1.1\r\n" H "Connection: keep-alive, Upgrade\r\n"
	  "Upgrade: websocket\r\n" END),
	I("other method", "PROPFIND / HTTP/1.1\r\n" H END),
	I("UTF-8 value", "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\t\r\n" END),
	I("empty value", "GET / HTTP/1.1\r\n" H "X:\r\n" END),
	I("dots in the path", "GET /../x HTTP/1.1\r\n" H END), /* only path rules mind */
};

/* Every piece size gives the same; what follows is left alone. */
static void accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t piece = 1; piece < 9; piece++) {
			const char *end = strstr(good[i].bytes, "\r\n\r\n");
			struct immure_http_reader r;
			struct immure_http_head h;
			size_t used;

			if (read_head(&r, good[i].bytes, good[i].len, piece, &used) != 1 ||
			    immure_http_head_parse(&r, &h) != 0)
				fail_msg("%s: %s", good[i].what, r.why ? r.why : "more");
			assert_int_equal(used, end + 4 - good[i].bytes);
			assert_string_equal(h.host.name, "h.example");
		}
		for (size_t n = 0; n < good[i].len; n++) {
			const char *end = strstr(good[i].bytes, "\r\n\r\n");
			struct immure_http_reader r;
			struct immure_http_head h;

			assert_int_equal(parse(&r, good[i].bytes, n, 3, &h), 0);
			if (good[i].bytes + n + 1 == end + 4)
				break;
		}
	}
}

static void refused(void **state)
{
	static const struct input bad[] = {
		I("no Host", "GET / HTTP/1.1\r\n" END),
		I("two Hosts", "GET / HTTP/1.1\r\n" H H END),
		I("two Hosts, cases", "GET / HTTP/1.1\r\n" H "hOST: evil.example\r\n" END),
		I("empty Host", "GET / HTTP/1.1\r\nHost:\r\n" END),
		I("Host with user", "GET / HTTP/1.1\r\nHost: h.example@evil.example\r\n" END),
		I("Host with path", "GET / HTTP/1.1\r\nHost: h.example/x\r\n" END),
		I("Host with space", "GET / HTTP/1.1\r\nHost: h.example evil\r\n" END),
		I("Host list", "GET / HTTP/1.1\r\nHost: h.example, evil.example\r\n" END),
		I("Host final dot", "GET / HTTP/1.1\r\nHost: h.example.\r\n" END),
		I("Host empty port", "GET / HTTP/1.1\r\nHost: h.example:\r\n" END),
		I("Host port plus", "GET / HTTP/1.1\r\nHost: h.example:+80\r\n" END),
		I("Host port zero", "GET / HTTP/1.1\r\nHost: h.example:080\r\n" END),
		I("Host port big", "GET / HTTP/1.1\r\nHost: h.example:65536\r\n" END),
		I("Host number", "GET / HTTP/1.1\r\nHost: 2130706433\r\n" END),
		I("Host hex", "GET / HTTP/1.1\r\nHost: 0x7f.1\r\n" END),
		I("Host escape", "GET / HTTP/1.1\r\nHost: h%2eexample\r\n" END),
		I("Host bracket", "GET / HTTP/1.1\r\nHost: [h.example]\r\n" END),
		I("CL and TE", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n"
		  "Transfer-Encoding: chunked\r\n" END),
		I("CL twice", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n" END),
		I("CL list", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n" END),
		I("CL plus", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n" END),
		I("CL minus", "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n" END),
		I("CL hex", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n" END),
		I("CL empty", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n" END),
		I("CL huge", "POST / HTTP/1.1\r\n" H "Content-Length: 9999999999999999999\r\n" END),
		I("CL inner space", "POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n" END),
		I("CL underscore", "POST / HTTP/1.1\r\n" H "Content_Length: 5\r\n" END),
		I("TE twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n"
		  "Transfer-Encoding: chunked\r\n" END),
		I("TE list", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n" END),
		I("TE identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n" END),
		I("TE vertical tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n" END),
		I("TE quoted", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n" END),
		I("TE in 1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" END),
		I("space before colon", "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n" END),
		I("folded field", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n" END),
		I("folded by tab", "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n" END),
		I("fold first", "GET / HTTP/1.1\r\n X: a\r\n" H END),
		I("bare LF", "GET / HTTP/1.1\n" H END),
		I("bare LF in the end", "GET / HTTP/1.1\r\n" H "\n"),
		I("bare CR", "GET / HTTP/1.1\r\n" H "X: a\rb\r\n" END),
		I("CR CR LF", "GET / HTTP/1.1\r\n" H "X: a\r\r\n" END),
		I("NUL in a value", "GET / HTTP/1.1\r\n" H "X: a\0b\r\n" END),
		I("NUL in the target", "GET /\0 HTTP/1.1\r\n" H END),
		I("DEL", "GET / HTTP/1.1\r\n" H "X: \x7f\r\n" END),
		I("no colon", "GET / HTTP/1.1\r\n" H "X\r\n" END),
		I("no name", "GET / HTTP/1.1\r\n" H ": x\r\n" END),
		I("parenthesis in a name", "GET / HTTP/1.1\r\n" H "X(: x\r\n" END),
		I("empty line first", "\r\nGET / HTTP/1.1\r\n" H END),
		I("0.9", "GET /\r\n" H END),
		I("two spaces", "GET  / HTTP/1.1\r\n" H END),
		I("space in the target", "GET /a b HTTP/1.1\r\n" H END),
		I("trailing space", "GET / HTTP/1.1 \r\n" H END),
		I("tab", "GET\t/\tHTTP/1.1\r\n" H END),
		I("lower case version", "GET / http/1.1\r\n" H END),
		I("version 1.2", "GET / HTTP/1.2\r\n" H END),
		I("version 2.0", "GET / HTTP/2.0\r\n" H END),
		I("PRI", "PRI * HTTP/2.0\r\n\r\n"),
		I("lower case method", "get / HTTP/1.1\r\n" H END),
		I("long method", "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n" H END),
		I("CONNECT", "CONNECT h.example:443 HTTP/1.1\r\n" H END),
		I("TRACE", "TRACE / HTTP/1.1\r\n" H END),
		I("asterisk for GET", "GET * HTTP/1.1\r\n" H END),
		I("target without slash", "GET x HTTP/1.1\r\n" H END),
		I("target https", "GET https://h.example/ HTTP/1.1\r\n" H END),
		I("target other host", "GET http://evil.example/ HTTP/1.1\r\n" H END),
		I("target other port", "GET http://h.example:81/ HTTP/1.1\r\n" H END),
		I("target user", "GET http://h.example@evil.example/ HTTP/1.1\r\n" H END),
		I("target query only", "GET http://h.example?x HTTP/1.1\r\n" H END),
		I("target fragment", "GET /# HTTP/1.1\r\n" H END),
		I("target backslash", "GET /\\ HTTP/1.1\r\n" H END),
		I("target 8 bit", "GET /\xc3\xa9 HTTP/1.1\r\n" H END),
		I("upgrade h2c", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n" END),
		I("upgrade list", "GET / HTTP/1.1\r\n" H "Upgrade: websocket, h2c\r\n" END),
		I("HTTP2-Settings", "GET / HTTP/1.1\r\n" H "HTTP2-Settings: x\r\n" END),
		I("upgrade by POST", "POST / HTTP/1.1\r\n" H "Upgrade: websocket\r\n" END),
		I("upgrade with a body", "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n"
		  "Content-Length: 5\r\n" END),
		I("Connection: Host", "GET / HTTP/1.1\r\n" H "Connection: close, Host\r\n" END),
		I("Connection: Content-Length", "GET / HTTP/1.1\r\n" H "Connection: content-length\r\n" END),
		I("Expect", "GET / HTTP/1.1\r\n" H "Expect: 200-maybe\r\n" END),
		I("Authorization twice", "GET / HTTP/1.1\r\n" H "Authorization: a\r\n"
		  "Authorization: b\r\n" END),
	};
	struct immure_http_reader r;
	struct immure_http_head h;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (size_t piece = 1; piece <= bad[i].len; piece += bad[i].len - 1)
			if (parse(&r, bad[i].bytes, bad[i].len, piece, &h) != -EPROTO || !r.why)
				fail_msg("%s", bad[i].what);
	/* Other protocols are told apart by their first bytes. */
	assert_int_equal(parse(&r, "\x16", 1, 1, &h), -EPROTO);
	assert_int_equal(parse(&r, "SSH-", 4, 1, &h), -EPROTO);
}

static void meaning(void **state)
{
	static const char post[] = "POST /a/b?c HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n"
				   "Content-Length: 17\r\nConnection: Close\r\n"
				   "Expect: 100-continue\r\nX-HTTP-Method-Override: DELETE\r\n\r\n";
	struct immure_http_reader r;
	struct immure_http_head h;

	(void)state;
	assert_int_equal(parse(&r, post, sizeof(post) - 1, 5, &h), 0);
	assert_string_equal(h.method, "POST");
	assert_int_equal(h.method_bit, IMMURE_METHOD_POST);
	assert_int_equal(h.target_len, 6);
	assert_int_equal(h.path_len, 4);
	assert_int_equal(h.host.kind, IMMURE_HOST_NET6);
	assert_int_equal(h.host.port, 8080);
	assert_int_equal(h.body, IMMURE_HTTP_LENGTH);
	assert_int_equal(h.length, 17);
	assert_true(h.close && h.expect_continue && h.overrides && !h.websocket);
	assert_int_equal(parse(&r, good[3].bytes, good[3].len, 5, &h), 0);
	assert_int_equal(h.form, IMMURE_HTTP_ABSOLUTE);
	assert_int_equal(h.path_len, 0);
}

static void limits(void **state)
{
	static char big[IMMURE_HTTP_HEAD_MAX * 2];
	struct immure_http_reader r;
	struct immure_http_head h;
	size_t n, used;

	(void)state;
	memset(big, 'a', sizeof(big));
	memcpy(big, "GET /", 5);
	assert_int_equal(read_head(&r, big, sizeof(big), 100, &used), -EPROTO);
	assert_int_equal(used, IMMURE_HTTP_LINE_MAX);
	n = (size_t)snprintf(big, sizeof(big), "GET / HTTP/1.1\r\n" H "X: ");
	big[n] = 'a';
	assert_int_equal(read_head(&r, big, sizeof(big), 100, &used), -EPROTO);
	assert_int_equal(used, IMMURE_HTTP_HEAD_MAX);
	for (int more = 0; more < 2; more++) {
		n = (size_t)snprintf(big, sizeof(big), "GET / HTTP/1.1\r\n" H);
		for (int i = 1; i < IMMURE_HTTP_FIELDS_MAX + more; i++)
			n += (size_t)snprintf(big + n, sizeof(big) - n, "X: %d\r\n", i);
		n += (size_t)snprintf(big + n, sizeof(big) - n, "\r\n");
		assert_int_equal(parse(&r, big, n, 100, &h), more ? -EPROTO : 0);
	}
	/* The caller's buffer is a limit as well. */
	immure_http_reader_init(&r, buf, 16);
	assert_int_equal(immure_http_reader_feed(&r, good[0].bytes, good[0].len, &used), -EPROTO);
	assert_int_equal(used, 16);
}

static void paths(void **state)
{
	static const char *const same[][2] = {
		{ "/", "/" }, { "", "/" }, { "/a/b", "/a/b" }, { "/a/", "/a/" },
		{ "/%61%2d", "/a-" }, { "/%c3%a9", "/%C3%A9" }, { "/a%20b", "/a%20b" },
		{ "/.a", "/.a" }, { "/a..", "/a.." }, { "/...", "/..." }, { "/a%2eb", "/a.b" },
	};
	static const char *const bad[] = {
		"x", "//", "//a", "/a//b", "/.", "/..", "/a/.", "/a/..", "/a/../b", "/./a",
		"/%2e", "/%2E%2e", "/.%2e/a", "/a/%2e%2e/b", "/%2f", "/a%2Fb", "/%5c", "/a\\b",
		"/%00", "/%0a", "/%7f", "/%25", "/%252e", "/%", "/%4", "/%4g", "/a;b", "/..;/a",
		"/%3b", "/a b", "/a?b", "/a#b", "/\xc3\xa9",
	};
	char out[64];
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (immure_http_path(same[i][0], strlen(same[i][0]), out, &why) != 0)
			fail_msg("%s", same[i][0]);
		assert_string_equal(out, same[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (immure_http_path(bad[i], strlen(bad[i]), out, &why) != -EPROTO)
			fail_msg("%s", bad[i]);
	assert_int_equal(immure_http_path("/a\0b", 4, out, &why), -EPROTO);
}

static void connects(void **state)
{
	static const struct {
		struct input in;
		const char *to;
	} t[] = {
		{ I("plain", "CONNECT H.example:443 HTTP/1.1\r\nHost: h.example:443\r\n" END),
		  "h.example:443" },
		{ I("Host without port", "CONNECT h.example:443 HTTP/1.0\r\n" H END), "h.example:443" },
		{ I("1.0 without Host", "CONNECT h.example:443 HTTP/1.0\r\n" END), "h.example:443" },
		{ I("address", "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n" END), "[::1]:443" },
		{ I("mapped", "CONNECT [::ffff:192.0.2.1]:1 HTTP/1.1\r\nHost: 192.0.2.1\r\n" END),
		  "192.0.2.1:1" },
		{ I("1.1 without Host", "CONNECT h.example:443 HTTP/1.1\r\n" END), NULL },
		{ I("no port", "CONNECT h.example HTTP/1.1\r\n" H END), NULL },
		{ I("port 0", "CONNECT h.example:0 HTTP/1.1\r\n" H END), NULL },
		{ I("other Host", "CONNECT h.example:443 HTTP/1.1\r\nHost: e.example\r\n" END), NULL },
		{ I("other port", "CONNECT h.example:443 HTTP/1.1\r\nHost: h.example:80\r\n" END), NULL },
		{ I("path", "CONNECT h.example:443/x HTTP/1.1\r\n" H END), NULL },
		{ I("user", "CONNECT u@h.example:443 HTTP/1.1\r\n" H END), NULL },
		{ I("GET", "GET / HTTP/1.1\r\n" H END), NULL },
		{ I("body", "CONNECT h.example:443 HTTP/1.1\r\n" H "Content-Length: 0\r\n" END), NULL },
		{ I("chunked", "CONNECT h.example:443 HTTP/1.1\r\n" H
		    "Transfer-Encoding: chunked\r\n" END), NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_http_reader r;
		struct immure_endpoint to;
		char text[IMMURE_ENDPOINT_TEXT];
		size_t used;
		int k;

		assert_int_equal(read_head(&r, t[i].in.bytes, t[i].in.len, 1, &used), 1);
		k = immure_connect_parse(&r, &to);
		if ((k == 0) != !!t[i].to ||
		    (k == 0 && strcmp(immure_endpoint_print(&to, text), t[i].to) != 0))
			fail_msg("%s: %d", t[i].in.what, k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted), cmocka_unit_test(refused),	cmocka_unit_test(meaning),
		cmocka_unit_test(limits),   cmocka_unit_test(paths),	cmocka_unit_test(connects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
