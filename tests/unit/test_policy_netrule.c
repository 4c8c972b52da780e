/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/checks.h"
#include "policy/netrule.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Each with its normal form, which reads back as itself. */
static void good(void **state)
{
	static const char *const t[][2] = {
		{ "example.com", "example.com" },
		{ "Example.COM.", "example.com" },
		{ "example.com:443", "example.com:443" },
		{ "example.com:8000-8100", "example.com:8000-8100" },
		{ "example.com:5-5", "example.com:5" },
		{ "*.example.com", "*.example.com" },
		{ "*.Example.com:443", "*.example.com:443" },
		{ "localhost:80", "localhost:80" },
		{ "_srv.example.com", "_srv.example.com" },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:22", "192.0.2.1:22" },
		{ "192.0.2.0/24", "192.0.2.0/24" },
		{ "192.0.2.0/24:443", "192.0.2.0/24:443" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "2001:db8::1", "[2001:db8::1]" },
		{ "[2001:DB8::1]", "[2001:db8::1]" },
		{ "[::1]:80", "[::1]:80" },
		{ "2001:db8::/32", "[2001:db8::/32]" },
		{ "[2001:db8::/32]:443", "[2001:db8::/32]:443" },
		{ "tcp://example.com:5432", "tcp://example.com:5432" },
		{ "tls://example.com", "tls://example.com:443" },
		{ "http://example.com", "http://example.com:80" },
		{ "https://example.com", "https://example.com:443" },
		{ "https://example.com:8443", "https://example.com:8443" },
		{ "ssh://git.example.com", "ssh://git.example.com:22" },
		{ "ssh://git.example.com:2222", "ssh://git.example.com:2222" },
		{ "https://api.example.com/v1/*", "https://api.example.com:443/v1/*" },
		{ "https://api.example.com/", "https://api.example.com:443/" },
		{ "https://api.example.com/*", "https://api.example.com:443/*" },
		{ "GET https://api.example.com/x", "GET https://api.example.com:443/x" },
		{ "POST,GET https://a.example.com", "GET,POST https://a.example.com:443" },
		{ "GET a.example.com", "GET https://a.example.com:443" },
		{ "ANY a.example.com:8443/x*", "https://a.example.com:8443/x*" },
		{ "ANY http://a.example.com", "http://a.example.com:80" },
		{ "http://a.example.com/%7eb/%c3%a9", "http://a.example.com:80/~b/%C3%A9" },
		{ "https://*.example.com/x", "https://*.example.com:443/x" },
		{ "http://[::1]:8080/x", "http://[::1]:8080/x" },
		{ L63 ".com", L63 ".com" },
	};
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct immure_complaint c = { 0 };
		const char *once = NULL, *twice = NULL;

		if (immure_check_host_rule(&a, t[i][0], &once, &c) < 0)
			fail_msg("%s", c.text);
		assert_string_equal(once, t[i][1]);
		assert_int_equal(immure_check_host_rule(&a, once, &twice, &c), 0);
		assert_string_equal(twice, once);
	}
	immure_arena_done(&a);
}

static void bad(void **state)
{
	static const char *const t[] = {
		"", ".", "..", "a..b", ".a", "*", "*.", "*.com", "a.*", "a*.com", "*.*.com", "**.a.com",
		"exa mple.com", " example.com", "example.com ", "example.com\n", "a\tb", "a%00.com",
		"a%2eb", "b\xc3\xbc" "cher.de", "a\x7f.com", "a,b.com", "a/b", "a@b.com", "user:pw@a.com:1",
		"example.com:", "example.com:0", "example.com:65536", "example.com:80x",
		"example.com:-1", "example.com:80-", "example.com:90-80", "example.com: 80",
		"example.com:80:90", "[::1", "::1]", "[example.com]:80", "[192.0.2.1]", "[::1]80", "[]",
		"[::1]:", "192.0.2.1/33", "192.0.2.1/24", "192.0.2.0/", "192.0.2.0/x", "2001:db8::/129",
		"2001:db8::1/32", "192.0.2", "192.0.2.256", "0x7f.1", "2130706433", "010.0.0.1",
		"1.2.3.4.5", "a.0x7f", "a.1", "fe80::1%eth0", "ftp://a.com", "HTTPS://a.com",
		"://a.com", "tcp://a.com", "https://", "https:///x", "tls://a.com/x", "ssh://a.com/x",
		"a.com/x", "GET tls://a.com", "ANY ssh://a.com", "get https://a.com", "GET,https://a.com",
		"GET, https://a.com", "FOO https://a.com", "GET  https://a.com", "https://a.com/a b",
		"https://a.com/%2e", "https://a.com/%2F", "https://a.com/%5c", "https://a.com/%3b",
		"https://a.com/%25", "https://a.com/%", "https://a.com/%4", "https://a.com/%g0", "https://a.com/%00",
		"https://a.com/%2a",  "https://a.com/?q", "https://a.com/#f", "https://a.com/a;b",
		"https://a.com//", "https://a.com/./x", "https://a.com/../x", "https://a.com/x/..",
		"https://a.com/a*b", "https://a.com/**", "https://a.com/\\x", "https://a.com/\x80",
		L63 "a.com", L63 "." L63 "." L63 "." L63, "http://a.com:80/x:", "https://a.com:x/",
	};
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct immure_complaint c = { 0 };
		struct immure_netrule r;
		int k = immure_netrule_parse(&a, t[i], &r, &c);

		if (strcmp(t[i], "http://a.com:80/x:") == 0) {
			assert_int_equal(k, 0); /* a colon in a path is a colon */
			continue;
		}
		if (k != -EINVAL || !c.text[0])
			fail_msg("\"%s\": %d", t[i], k);
	}
	immure_arena_done(&a);
}

/* A NUL cannot end a name early: the length is given. */
static void names_with_nul(void **state)
{
	static const char evil[] = "attacker.test\0.google.com";
	struct immure_complaint c = { 0 };
	char name[IMMURE_HOST_NAME_MAX + 1];

	(void)state;
	assert_int_equal(immure_host_name_normalize(evil, sizeof(evil) - 1, name, &c), -EINVAL);
	assert_int_equal(immure_host_name_normalize("A.b.", 4, name, &c), 0);
	assert_string_equal(name, "a.b");
	assert_int_equal(immure_host_name_normalize("a..", 3, name, &c), -EINVAL);
}

static struct immure_netrule parse(struct immure_arena *a, const char *text)
{
	struct immure_complaint c = { 0 };
	struct immure_netrule r = { 0 };

	if (immure_netrule_parse(a, text, &r, &c) < 0)
		fail_msg("%s: %s", text, c.text);
	return r;
}

static void matching(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_netrule name = parse(&a, "example.com"), wild = parse(&a, "*.example.com:8-9");
	struct immure_netrule net = parse(&a, "10.0.0.0/8"), six = parse(&a, "[2001:db8::/33]");
	unsigned char addr[16];

	(void)state;
	assert_true(immure_netrule_has_name(&name, "example.com"));
	assert_false(immure_netrule_has_name(&name, "www.example.com"));
	assert_false(immure_netrule_has_name(&name, "example.com.evil.test"));
	assert_true(immure_netrule_has_name(&wild, "www.example.com"));
	assert_true(immure_netrule_has_name(&wild, "a.b.example.com"));
	assert_false(immure_netrule_has_name(&wild, "example.com"));
	assert_false(immure_netrule_has_name(&wild, "evilexample.com"));
	assert_false(immure_netrule_has_name(&wild, ".example.com"));
	assert_false(immure_netrule_has_name(&net, "10.0.0.1"));
	/* without a port: 443 and 80 only */
	assert_true(immure_netrule_has_port(&name, 443));
	assert_true(immure_netrule_has_port(&name, 80));
	assert_false(immure_netrule_has_port(&name, 22));
	assert_false(immure_netrule_has_port(&name, 8080));
	assert_true(immure_netrule_has_port(&wild, 9));
	assert_false(immure_netrule_has_port(&wild, 443));
	assert_int_equal(immure_address_parse("10.255.0.1", addr), IMMURE_HOST_NET4);
	assert_true(immure_netrule_has_address(&net, IMMURE_HOST_NET4, addr));
	assert_false(immure_netrule_has_address(&six, IMMURE_HOST_NET4, addr));
	assert_false(immure_netrule_has_address(&name, IMMURE_HOST_NET4, addr));
	assert_int_equal(immure_address_parse("11.0.0.1", addr), IMMURE_HOST_NET4);
	assert_false(immure_netrule_has_address(&net, IMMURE_HOST_NET4, addr));
	assert_int_equal(immure_address_parse("2001:db8:7fff::1", addr), IMMURE_HOST_NET6);
	assert_true(immure_netrule_has_address(&six, IMMURE_HOST_NET6, addr));
	assert_int_equal(immure_address_parse("2001:db8:8000::1", addr), IMMURE_HOST_NET6);
	assert_false(immure_netrule_has_address(&six, IMMURE_HOST_NET6, addr));
	/* a mapped address is not the IPv4 network's */
	assert_int_equal(immure_address_parse("::ffff:10.0.0.1", addr), IMMURE_HOST_NET6);
	assert_false(immure_netrule_has_address(&net, IMMURE_HOST_NET6, addr));
	immure_arena_done(&a);
}

static void http_parts(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_netrule r = parse(&a, "GET,HEAD https://a.example.com:8443/v1/*");

	(void)state;
	assert_int_equal(r.protocol, IMMURE_PROTO_HTTPS);
	assert_int_equal(r.methods, IMMURE_METHOD_GET | IMMURE_METHOD_HEAD);
	assert_string_equal(r.path, "/v1/");
	assert_true(r.path_prefix);
	assert_int_equal(r.ports_n, 1);
	assert_int_equal(r.ports[0].lo, 8443);
	r = parse(&a, "https://a.example.com/v1");
	assert_false(r.path_prefix);
	assert_int_equal(r.methods, 0);
	r = parse(&a, "a.example.com");
	assert_null(r.path);
	assert_int_equal(r.protocol, IMMURE_PROTO_ANY);
	immure_arena_done(&a);
}

static void publish(void **state)
{
	static const char *const ok[][2] = {
		{ "8080", "127.0.0.1:8080:8080" },
		{ "8080:80", "127.0.0.1:8080:80" },
		{ "0.0.0.0:8080:80", "0.0.0.0:8080:80" },
		{ "127.0.0.1:8080:80", "127.0.0.1:8080:80" },
		{ "[::1]:8080:80", "[::1]:8080:80" },
	};
	static const char *const wrong[] = { "", "0", "65536", "a", "8080:", ":80", "::80", "1:2:3",
					     "[::1]:80", "::1:80:80", "[127.0.0.1]:80:80",
					     "localhost:80:80", "8080:80:90:1", "8080/udp", "80-90",
					     " 80", "[]:80:80" };
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	for (size_t i = 0; i < COUNT(ok); i++) {
		struct immure_complaint c = { 0 };
		const char *v = NULL;

		if (immure_check_publish(&a, ok[i][0], &v, &c) < 0)
			fail_msg("%s", c.text);
		assert_string_equal(v, ok[i][1]);
	}
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct immure_complaint c = { 0 };
		const char *v = NULL;

		if (immure_check_publish(&a, wrong[i], &v, &c) != -EINVAL)
			fail_msg("%s", wrong[i]);
	}
	immure_arena_done(&a);
}

static void prefix(void **state)
{
	static const char *const wrong[] = { "", "198.18.0.0", "198.18.0.0/7", "198.18.0.0/25",
					     "198.18.0.1/15", "fd00::/8", "x/15", "198.18.0.0/15 " };
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_complaint c = { 0 };
	const char *v = NULL;

	(void)state;
	assert_int_equal(immure_check_prefix(&a, "198.18.0.0/15", &v, &c), 0);
	for (size_t i = 0; i < COUNT(wrong); i++)
		if (immure_check_prefix(&a, wrong[i], &v, &c) != -EINVAL)
			fail_msg("%s", wrong[i]);
	immure_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),		  cmocka_unit_test(bad),
		cmocka_unit_test(names_with_nul), cmocka_unit_test(matching),
		cmocka_unit_test(http_parts),	  cmocka_unit_test(publish),
		cmocka_unit_test(prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
