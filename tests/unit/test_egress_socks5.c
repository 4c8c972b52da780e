/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "egress/socks5.h"

#define GREETING "\5\1\0"
#define REQUEST "\5\1\0"

/* Both messages in pieces; checks the method reply on the way. */
static int talk(struct immure_socks5 *s, const char *bytes, size_t len, size_t piece,
		size_t *ret_used)
{
	int k = IMMURE_SOCKS5_MORE;

	immure_socks5_init(s);
	*ret_used = 0;
	while (*ret_used < len && k == IMMURE_SOCKS5_MORE) {
		size_t n = len - *ret_used < piece ? len - *ret_used : piece, used;

		k = immure_socks5_feed(s, (const unsigned char *)bytes + *ret_used, n, &used);
		*ret_used += used;
		if (k == IMMURE_SOCKS5_METHODS) {
			assert_int_equal(s->reply_len, 2);
			assert_memory_equal(s->reply, "\5\0", 2);
			k = IMMURE_SOCKS5_MORE;
		}
	}
	return k;
}

static void table(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
		const char *to; /* NULL: refused */
		int reply;      /* code of the refusal, -1 = none */
	} t[] = {
#define S(what, b, to, reply) { what, b, sizeof(b) - 1, to, reply }
		S("name", GREETING REQUEST "\3\x09h.Example\1\xbb", "h.example:443", 0),
		S("two methods", "\5\2\2\0" REQUEST "\3\x09h.example\0\1", "h.example:1", 0),
		S("IPv4", GREETING REQUEST "\1\xc0\0\2\1\0\x50", "192.0.2.1:80", 0),
		S("IPv6", GREETING REQUEST "\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\x50",
		  "[2001:db8::1]:80", 0),
		S("mapped", GREETING REQUEST "\4\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1\0\x50",
		  "127.0.0.1:80", 0),
		S("address as a name", GREETING REQUEST "\3\x9" "127.0.0.1\0\x50", "127.0.0.1:80", 0),
		S("NUL in the name", GREETING REQUEST "\3\x0a" "e\0.example\0\x50", NULL, 2),
		S("number as a name", GREETING REQUEST "\3\x0a" "2130706433\0\x50", NULL, 2),
		S("hex as a name", GREETING REQUEST "\3\6" "0x7f.0\0\x50", NULL, 2),
		S("final dot", GREETING REQUEST "\3\x0ah.example.\0\x50", NULL, 2),
		S("escape", GREETING REQUEST "\3\x0bh%2eexample\0\x50", NULL, 2),
		S("empty name", GREETING REQUEST "\3\0\0\x50", NULL, 2),
		S("port 0", GREETING REQUEST "\3\x09h.example\0\0", NULL, 2),
		S("BIND", GREETING "\5\2", NULL, 7),
		S("UDP", GREETING "\5\3", NULL, 7),
		S("reserved", GREETING "\5\1\1", NULL, 1),
		S("address type", GREETING "\5\1\0\2", NULL, 8),
		S("version in the request", GREETING "\4", NULL, -1),
		S("SOCKS4", "\4", NULL, -1),
		S("HTTP", "G", NULL, -1),
		S("no methods", "\5\0", NULL, -1),
	};
	struct immure_socks5 s;
	char text[IMMURE_ENDPOINT_TEXT];
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (size_t piece = 1; piece < 7; piece++) {
			int k = talk(&s, t[i].bytes, t[i].len, piece, &used);

			if (k != (t[i].to ? IMMURE_SOCKS5_REQUEST : -EPROTO))
				fail_msg("%s: %d", t[i].what, k);
			assert_int_equal(used, t[i].len);
			if (t[i].to)
				assert_string_equal(immure_endpoint_print(&s.to, text), t[i].to);
			else if (t[i].reply >= 0)
				assert_int_equal(s.reply[1], t[i].reply);
			if (!t[i].to)
				assert_non_null(s.why);
			assert_int_equal(immure_socks5_feed(&s, (const unsigned char *)"x", 1, &used), k);
			assert_int_equal(used, 0);
		}
		for (size_t n = 0; n < t[i].len; n++)
			assert_int_equal(talk(&s, t[i].bytes, n, 1, &used), IMMURE_SOCKS5_MORE);
	}
}

static void authentication(void **state)
{
	struct immure_socks5 s;
	size_t used;

	(void)state;
	assert_int_equal(talk(&s, "\5\1\2", 3, 1, &used), -EPROTO);
	assert_int_equal(s.reply_len, 2);
	assert_memory_equal(s.reply, "\5\xff", 2);
	/* What follows the request is the tunnel's. */
	assert_int_equal(talk(&s, GREETING REQUEST "\1\xc0\0\2\1\0\x50more", 17, 20, &used),
			 IMMURE_SOCKS5_REQUEST);
	assert_int_equal(used, 13);
	immure_socks5_finish(&s, IMMURE_SOCKS5_OK);
	assert_int_equal(s.reply_len, 10);
	assert_memory_equal(s.reply, "\5\0\0\1\0\0\0\0\0\0", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(authentication),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
