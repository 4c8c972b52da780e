/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes, times, paths, buffers, digests. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/parse.h"
#include "base/path.h"
#include "base/sha256.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct number {
	const char *text;
	int ret;
	uint64_t value;
};

static void run(const struct number *t, size_t n, int (*parse)(const char *, uint64_t *))
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0xdeadbeef;
		int r = parse(t[i].text, &v);

		if (r != t[i].ret || v != (r == 0 ? t[i].value : 0xdeadbeef))
			fail_msg("\"%s\": %d, %llu", t[i].text, r, (unsigned long long)v);
	}
}

static void u64(void **state)
{
	static const struct number t[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0x1", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
	};

	(void)state;
	run(t, COUNT(t), immure_parse_u64);
}

static void size(void **state)
{
	static const struct number t[] = {
		{ "512", 0, 512 },
		{ "0", 0, 0 },
		{ "64K", 0, 65536 },
		{ "64k", 0, 65536 },
		{ "1KB", 0, 1024 },
		{ "1KiB", 0, 1024 },
		{ "1kib", 0, 1024 },
		{ "7B", 0, 7 },
		{ "2G", 0, 2ULL << 30 },
		{ "1.5G", 0, 3ULL << 29 },
		{ "0.5K", 0, 512 },
		{ "3T", 0, 3ULL << 40 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ ".5K", -EINVAL, 0 },
		{ "1.K", -EINVAL, 0 },
		{ "1.2.3K", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "-1K", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1KK", -EINVAL, 0 },
		{ "0.5", -EINVAL, 0 },
	};

	(void)state;
	run(t, COUNT(t), immure_parse_size);
}

static void duration(void **state)
{
	static const struct number t[] = {
		{ "30", 0, 30000 },	 { "30s", 0, 30000 },	   { "500ms", 0, 500 },
		{ "10m", 0, 600000 },	 { "10min", 0, 600000 },   { "1.5h", 0, 5400000 },
		{ "1d", 0, 86400000 },	 { "0.001", 0, 1 },	   { "0.0001", -EINVAL, 0 },
		{ "1w", -EINVAL, 0 },	 { "1S", -EINVAL, 0 },	   { "", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },	 { "1 s", -EINVAL, 0 },	   { "0.5ms", -EINVAL, 0 },
		{ "213503982335d", -ERANGE, 0 }, { "18446744073709551615s", -ERANGE, 0 },
	};

	(void)state;
	run(t, COUNT(t), immure_parse_duration);
}

static void milli(void **state)
{
	static const struct number t[] = {
		{ "2", 0, 2000 },      { "0.5", 0, 500 },   { "1.25", 0, 1250 },
		{ "0.001", 0, 1 },     { "0.0001", -EINVAL, 0 }, { "1,5", -EINVAL, 0 },
		{ "", -EINVAL, 0 },    { ".", -EINVAL, 0 }, { "1.", -EINVAL, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
	};

	(void)state;
	run(t, COUNT(t), immure_parse_milli);
}

/* What is printed reads back as the same number. */
static void round_trip(void **state)
{
	static const uint64_t values[] = { 1, 999, 1000, 1023, 1024, 1025, 60000, 61000, 3600000,
					   86400000, 1ULL << 20, (1ULL << 30) + 1, 3ULL << 40,
					   INT64_MAX };
	char buf[32];

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		uint64_t v = 0;

		assert_int_equal(immure_parse_size(immure_format_size(values[i], buf, sizeof(buf)), &v),
				 0);
		assert_true(v == values[i]);
		assert_int_equal(immure_parse_duration(immure_format_duration(values[i], buf,
									      sizeof(buf)), &v), 0);
		assert_true(v == values[i]);
	}
}

static void paths(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "/", "/" },	       { "//", "/" },	      { "/.", "/" },
		{ "/a//b/", "/a/b" }, { "/a/./b", "/a/b" }, { "/a/..", NULL },
		{ "/../a", NULL },     { "/..a", "/..a" },    { "/a/...", "/a/..." },
		{ "a", NULL },	       { "", NULL },
	};
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		const char *r = immure_path_normalize(&a, t[i].in);

		if (!t[i].out) {
			assert_null(r);
			continue;
		}
		assert_string_equal(r, t[i].out);
		assert_true(immure_path_is_normal(r));
	}
	assert_false(a.failed);
	immure_arena_done(&a);
}

static void path_relations(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;

	(void)state;
	assert_false(immure_path_is_normal("/a/"));
	assert_false(immure_path_is_normal("/a//b"));
	assert_false(immure_path_is_normal("/a/."));
	assert_false(immure_path_is_normal("/a/.."));
	assert_false(immure_path_is_normal("a"));
	assert_true(immure_path_is_under("/a/b", "/a"));
	assert_true(immure_path_is_under("/a", "/a"));
	assert_true(immure_path_is_under("/a", "/"));
	assert_false(immure_path_is_under("/ab", "/a"));
	assert_false(immure_path_is_under("/a", "/a/b"));
	assert_int_equal(immure_path_depth("/"), 0);
	assert_int_equal(immure_path_depth("/a/b"), 2);
	assert_string_equal(immure_path_basename("/a/b"), "b");
	assert_string_equal(immure_path_basename("/"), "/");
	assert_string_equal(immure_path_dirname(&a, "/a/b"), "/a");
	assert_string_equal(immure_path_dirname(&a, "/a"), "/");
	assert_string_equal(immure_path_join(&a, "/", "x"), "/x");
	assert_string_equal(immure_path_join(&a, "/a", "x"), "/a/x");
	assert_string_equal(immure_path_join(&a, "/a", "/x"), "/x");
	immure_arena_done(&a);
}

static void printable(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} t[] = {
		{ "plain \xc3\xa9", 8, "plain \xc3\xa9" },
		{ "a\nb\tc", 5, "a\\x0ab\\x09c" },
		{ "\x1b[31m", 5, "\\x1b[31m" },
		{ "\x7f", 1, "\\x7f" },
		{ "\xff", 1, "\\xff" },
		{ "\xc3", 1, "\\xc3" },
		{ "\xc0\x80", 2, "\\xc0\\x80" },            /* overlong NUL */
		{ "\xed\xa0\x80", 3, "\\xed\\xa0\\x80" },   /* a surrogate */
		{ "\xc2\x9b", 2, "\\x9b" },                 /* C1: CSI */
		{ "\xe2\x80\xae", 3, "\\u{202e}" },         /* right-to-left override */
		{ "a\0b", 3, "a\\x00b" },
		{ "", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct immure_buf b = IMMURE_BUF_INIT;
		char *s;

		immure_buf_put_printable(&b, t[i].in, t[i].len);
		s = immure_buf_take(&b);
		assert_non_null(s);
		assert_string_equal(s, t[i].out);
		free(s);
	}
}

static void buffer(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *s;

	(void)state;
	for (int i = 0; i < 1000; i++)
		immure_buf_printf(&b, "%d,", i);
	immure_buf_put_u32(&b, 0x01020304);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4 + 4);
	assert_memory_equal(b.data + b.len - 4, "\4\3\2\1", 4);
	s = immure_buf_take(&b);
	assert_non_null(s);
	assert_memory_equal(s, "0,1,2,", 6);
	free(s);
	s = immure_buf_take(&b);
	assert_string_equal(s, "");
	free(s);
}

static void json_quoting(void **state)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char *s;

	(void)state;
	immure_json_quote(&b, "a\"\\\n\xff\xc3\xa9", 7);
	s = immure_buf_take(&b);
	assert_string_equal(s, "\"a\\\"\\\\\\u000a\\ufffdff\xc3\xa9\"");
	free(s);
}

/* FIPS 180-4 examples, and lengths around the padding's edges against one-byte
 * feeding. */
static void sha256(void **state)
{
	static const struct {
		const char *in, *hex;
	} t[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	static char million[1000000];
	char hex[65];

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		immure_sha256_hex(t[i].in, strlen(t[i].in), 32, hex);
		assert_string_equal(hex, t[i].hex);
	}
	memset(million, 'a', sizeof(million));
	immure_sha256_hex(million, sizeof(million), 32, hex);
	assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	for (size_t len = 50; len < 70; len++) {
		struct immure_sha256 s;
		unsigned char digest[32];
		char whole[65];

		immure_sha256_init(&s);
		for (size_t i = 0; i < len; i++)
			immure_sha256_add(&s, million + i, 1);
		immure_sha256_done(&s, digest);
		immure_sha256_hex(million, len, 32, whole);
		for (size_t i = 0; i < 32; i++)
			(void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
		assert_string_equal(hex, whole);
	}
	immure_sha256_hex("abc", 3, 12, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(u64),	       cmocka_unit_test(size),
		cmocka_unit_test(duration),    cmocka_unit_test(milli),
		cmocka_unit_test(round_trip),  cmocka_unit_test(paths),
		cmocka_unit_test(path_relations), cmocka_unit_test(printable),
		cmocka_unit_test(buffer),      cmocka_unit_test(json_quoting),
		cmocka_unit_test(sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
