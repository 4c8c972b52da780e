/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "egress/tls.h"

#define SNI(len5, len3, len, name) "\0\0" len5 len3 "\0" len name
#define SNI_EXAMPLE SNI("\0\x10", "\0\x0e", "\0\x0b", "eXample.com")
#define ALPN "\0\x10\0\x0e\0\x0c\2h2\x08http/1.1"
#define GREASE "\x0a\x0a\0\0"

struct bytes {
	unsigned char b[40000];
	size_t len;
};

static void put(struct bytes *v, const void *p, size_t n)
{
	assert_true(v->len + n <= sizeof(v->b));
	memcpy(v->b + v->len, p, n);
	v->len += n;
}

static void put_number(struct bytes *v, size_t n, unsigned int size)
{
	while (size--) {
		unsigned char b = (unsigned char)(n >> (8 * size));

		put(v, &b, 1);
	}
}

/* The message of a hello with these extensions. */
static void hello(struct bytes *m, const char *exts, size_t len)
{
	struct bytes body = { .len = 0 };

	put(&body, "\3\3", 2);
	for (int i = 0; i < 32; i++)
		put(&body, "r", 1);
	put(&body, "\4sess", 5);
	put(&body, "\0\4\x13\1\x13\2", 6);
	put(&body, "\1\0", 2);
	put_number(&body, len, 2);
	put(&body, exts, len);
	m->len = 0;
	put(m, "\1", 1);
	put_number(m, body.len, 3);
	put(m, body.b, body.len);
}

/* In records of at most `piece` bytes. */
static void wrap(struct bytes *out, const struct bytes *m, size_t piece)
{
	out->len = 0;
	for (size_t at = 0; at < m->len; at += piece) {
		size_t n = m->len - at < piece ? m->len - at : piece;

		put(out, "\x16\3\1", 3);
		put_number(out, n, 2);
		put(out, m->b + at, n);
	}
}

static int feed(struct immure_tls_reader *r, const unsigned char *data, size_t len, size_t piece,
		size_t *ret_used)
{
	int k = 0;

	immure_tls_reader_init(r);
	*ret_used = 0;
	while (k == 0 && *ret_used < len) {
		size_t n = len - *ret_used < piece ? len - *ret_used : piece, used;

		k = immure_tls_reader_feed(r, data + *ret_used, n, &used);
		*ret_used += used;
	}
	return k;
}

static void in_pieces(void **state)
{
	static const char exts[] = GREASE SNI_EXAMPLE ALPN;
	static struct immure_tls_reader r;
	static struct bytes m, raw;
	struct immure_tls_hello h;
	size_t used;

	(void)state;
	hello(&m, exts, sizeof(exts) - 1);
	for (size_t record = 2; record < m.len + 3; record++) {
		wrap(&raw, &m, record);
		put(&raw, "next", 4); /* not ours */
		for (size_t piece = 1; piece < 9; piece += 3) {
			if ((m.len + record - 1) / record > IMMURE_TLS_RECORDS_MAX) {
				assert_int_equal(feed(&r, raw.b, raw.len, piece, &used), -EPROTO);
				continue;
			}
			assert_int_equal(feed(&r, raw.b, raw.len, piece, &used), 1);
			assert_int_equal(used, raw.len - 4);
			assert_int_equal(immure_tls_hello_parse(&r, &h), 0);
			assert_string_equal(h.sni, "example.com");
			assert_true(immure_tls_hello_offers(&h, "h2"));
			assert_true(immure_tls_hello_offers(&h, "http/1.1"));
			assert_false(immure_tls_hello_offers(&h, "http/1"));
			assert_false(h.ech || h.early_data);
		}
	}
	/* No prefix is a hello, and none is refused. */
	wrap(&raw, &m, 20);
	for (size_t n = 0; n < raw.len; n++)
		assert_int_equal(feed(&r, raw.b, n, 7, &used), 0);
	assert_int_equal(immure_tls_hello_parse(&r, &h), -EPROTO);
}

static void extensions(void **state)
{
	static const struct {
		const char *what, *exts;
		size_t len;
		int result;
		const char *sni;
	} t[] = {
#define E(what, e, r, sni) { what, e, sizeof(e) - 1, r, sni }
		E("none", "", 0, ""),
		E("SNI", SNI_EXAMPLE, 0, "example.com"),
		E("SNI twice", SNI_EXAMPLE SNI_EXAMPLE, -EPROTO, NULL),
		E("two names", SNI("\0\x0a", "\0\x08", "\0\1", "a\0\0\1b"), -EPROTO, NULL),
		E("other name type", "\0\0\0\6\0\4\1\0\1a", -EPROTO, NULL),
		E("empty name", SNI("\0\5", "\0\3", "\0\0", ""), -EPROTO, NULL),
		E("empty list", "\0\0\0\2\0\0", -EPROTO, NULL),
		E("list too short", SNI("\0\6", "\0\3", "\0\1", "a"), -EPROTO, NULL),
		E("name too long", SNI("\0\6", "\0\4", "\0\2", "a"), -EPROTO, NULL),
		E("NUL", SNI("\0\x08", "\0\6", "\0\3", "a\0b"), -EPROTO, NULL),
		E("final dot", SNI("\0\x08", "\0\6", "\0\3", "ab."), -EPROTO, NULL),
		E("address", SNI("\0\x0c", "\0\x0a", "\0\7", "1.2.3.4"), -EPROTO, NULL),
		E("number", SNI("\0\x0a", "\0\x08", "\0\5", "0x7f1"), -EPROTO, NULL),
		E("percent", SNI("\0\x08", "\0\6", "\0\3", "a%b"), -EPROTO, NULL),
		E("ALPN empty", "\0\x10\0\2\0\0", -EPROTO, NULL),
		E("ALPN empty name", "\0\x10\0\3\0\1\0", -EPROTO, NULL),
		E("ALPN torn", "\0\x10\0\4\0\2\2h", -EPROTO, NULL),
		E("unknown twice", GREASE GREASE, -EPROTO, NULL),
		E("torn header", "\0", -EPROTO, NULL),
		E("torn body", "\0\x10\0\5\0\3\2h", -EPROTO, NULL),
		E("psk last", GREASE "\0\x29\0\1x", 0, ""),
		E("psk not last", "\0\x29\0\1x" GREASE, -EPROTO, NULL),
	};
	static struct immure_tls_reader r;
	static struct bytes m, raw;
	struct immure_tls_hello h;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int k;

		hello(&m, t[i].exts, t[i].len);
		wrap(&raw, &m, 16384);
		assert_int_equal(feed(&r, raw.b, raw.len, raw.len, &used), 1);
		k = immure_tls_hello_parse(&r, &h);
		if (k != t[i].result || (k == 0 && strcmp(h.sni, t[i].sni) != 0) || (k < 0 && !r.why))
			fail_msg("%s: %d", t[i].what, k);
	}
	hello(&m, "\xfe\x0d\0\1\0\0\x2a\0\0", 9);
	wrap(&raw, &m, 16384);
	assert_int_equal(feed(&r, raw.b, raw.len, raw.len, &used), 1);
	assert_int_equal(immure_tls_hello_parse(&r, &h), 0);
	assert_true(h.ech && h.early_data);
	assert_false(immure_tls_hello_offers(&h, "h2"));
}

/* Each is refused at the byte that is wrong, not later. */
static void not_tls(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
	} t[] = {
#define N(what, b) { what, b, sizeof(b) - 1 }
		N("HTTP", "G"), N("SSH", "S"), N("NUL", "\0"), N("SSLv2", "\x80"),
		N("alert", "\x15"), N("application data", "\x17"), N("version 2", "\x16\2"),
		N("SSLv3", "\x16\3\0"), N("version 3.4", "\x16\3\4"),
		N("empty record", "\x16\3\1\0\0"), N("long record", "\x16\3\1\x40\1"),
		N("ServerHello", "\x16\3\1\0\5\2"),
		N("long hello", "\x16\3\1\0\5\1\0\x3f\xfd"),
		N("huge hello", "\x16\3\1\0\5\1\xff\xff\xff"),
		N("alert between", "\x16\3\1\0\1\1\x15"),
	};
	static struct immure_tls_reader r;
	struct immure_tls_hello h;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const unsigned char *b = (const unsigned char *)t[i].bytes;

		if (feed(&r, b, t[i].len - 1, 1, &used) != 0 ||
		    feed(&r, b, t[i].len, 1, &used) != -EPROTO || !r.why)
			fail_msg("%s", t[i].what);
		/* It stays so. */
		assert_int_equal(immure_tls_reader_feed(&r, b, t[i].len, &used), -EPROTO);
		assert_int_equal(used, 0);
	}
	/* A second message in the same record. */
	assert_int_equal(feed(&r, (const unsigned char *)"\x16\3\1\0\6\1\0\0\1xy", 11, 1, &used),
			 -EPROTO);
	/* A message too short for any field, and a largest one. */
	assert_int_equal(feed(&r, (const unsigned char *)"\x16\3\1\0\4\1\0\0\0", 9, 9, &used), 1);
	assert_int_equal(immure_tls_hello_parse(&r, &h), -EPROTO);
}

static void largest(void **state)
{
	static char exts[IMMURE_TLS_HELLO_MAX];
	static struct immure_tls_reader r;
	static struct bytes m, raw;
	struct immure_tls_hello h;
	size_t used, room = IMMURE_TLS_HELLO_MAX - 4 - 2 - 32 - 5 - 6 - 2 - 2;

	(void)state;
	exts[1] = 21; /* padding */
	exts[2] = (char)((room - 4) >> 8);
	exts[3] = (char)((room - 4) & 0xff);
	hello(&m, exts, room);
	assert_int_equal(m.len, IMMURE_TLS_HELLO_MAX);
	wrap(&raw, &m, IMMURE_TLS_HELLO_MAX / IMMURE_TLS_RECORDS_MAX);
	assert_int_equal(raw.len, IMMURE_TLS_RAW_MAX);
	assert_int_equal(feed(&r, raw.b, raw.len, 1, &used), 1);
	assert_int_equal(immure_tls_hello_parse(&r, &h), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(extensions),
		cmocka_unit_test(not_tls),
		cmocka_unit_test(largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
