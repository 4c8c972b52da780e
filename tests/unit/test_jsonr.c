/* SPDX-License-Identifier: Apache-2.0 */
/* The small reader takes exactly what the JSON library takes, and reads the same
 * out of it: checked on written cases and on millions of mutations of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/jsonr.h"

enum { VALUES = 256 };

static bool same(const struct immure_jsonr *r, const struct immure_jsonr_value *v,
		 const struct immure_json *j)
{
	if (v->type != immure_json_type(j))
		return false;
	switch (v->type) {
	case IMMURE_JSON_STRING:
		return strcmp(v->text, immure_json_string(j)) == 0;
	case IMMURE_JSON_INTEGER:
		return v->integer == immure_json_integer(j);
	case IMMURE_JSON_BOOL:
		return v->integer == immure_json_bool(j);
	case IMMURE_JSON_ARRAY: {
		size_t i = 0;

		if (v->size != immure_json_size(j))
			return false;
		for (const struct immure_jsonr_value *e = immure_jsonr_first(r, v); e;
		     e = immure_jsonr_after(r, v, e))
			if (!same(r, e, immure_json_element(j, i++)))
				return false;
		return i == v->size;
	}
	case IMMURE_JSON_OBJECT: {
		struct immure_json_member m = { 0 };

		if (v->size != immure_json_size(j))
			return false;
		while (immure_json_next(j, &m)) {
			const struct immure_jsonr_value *e = immure_jsonr_get(r, v, m.key);

			if (!e || !same(r, e, m.value))
				return false;
		}
		return true;
	}
	case IMMURE_JSON_NULL:
	case IMMURE_JSON_REAL:
		break;
	}
	return true;
}

static void compare(const char *text, size_t len)
{
	struct immure_jsonr_value v[VALUES];
	struct immure_json_failure f;
	struct immure_json *doc = NULL;
	struct immure_jsonr r;
	char copy[512];
	int theirs, ours;

	assert_true(len < sizeof(copy));
	memcpy(copy, text, len);
	copy[len] = 'x';
	theirs = immure_json_parse(text, len, &doc, &f);
	ours = immure_jsonr_parse(&r, copy, len, v, VALUES);
	if ((theirs == 0) != (ours == 0) || (ours == 0 && !same(&r, v, doc)))
		fail_msg("'%.*s': library %d, reader %d %s", (int)len, text, theirs, ours, r.why);
	if (theirs == 0)
		immure_json_free(doc);
}

static const char *const cases[] = {
	"null", "true", "false", "tru", "nulll", "0", "-0", "-1", "01", "1.", ".5", "1.5", "1e5", "1E+5",
	"1e", "1e999", "-1e999", "1e-999", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "-9223372036854775809", "\"\"", "\"a\"", "\"", "\"\\\"", "\"\\\"\"",
	"\"\\u0041\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\ude00\"",
	"\"\\ud83dx\"", "\"\\ud83d\\u0041\"", "\"\\x\"", "\"\\u12g4\"", "\"\\b\\f\\n\\r\\t\\/\"",
	"\"\xc3\xa4\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\t\"", "[]", "[1]", "[1,]", "[,1]",
	"[1 2]", "[", "]", "[[]]", "[[],[]]", "[1,[2,[3]],4]", "{}", "{\"a\":1}", "{\"a\":1,}", "{a:1}",
	"{\"a\" 1}", "{\"a\":}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":{\"a\":2}}", "{\"a\":{\"b\":1,\"b\":2}}",
	"{\"\\u0061\":1,\"a\":2}", " {\n\t\"a\" : [ 1 , 2 ] }\r\n ", "{} x", "{}{}", "", " ", "{\"a\":[}", "[{]",
	"{\"op\":\"exec\",\"argv\":[\"/bin/true\",\"\\u00e9\"],\"env\":{\"A\":\"b\"},\"timeout_ms\":5,\"pty\":null}",
	"// c\n1", "1//", "'a'", "NaN", "Infinity", "+1", "\v1", "\xef\xbb\xbf{}",
};

static void written_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		compare(cases[i], strlen(cases[i]));
	compare("\"a\0b\"", 5);
	compare("{\"a\":1}\0", 8);
}

static void members(void **state)
{
	char text[] = "{\"t\":\"x\",\"n\":-5,\"yes\":true,\"no\":false,\"none\":null,\"list\":[1]}";
	struct immure_jsonr_value v[VALUES];
	struct immure_jsonr r;

	(void)state;
	assert_int_equal(immure_jsonr_parse(&r, text, strlen(text), v, VALUES), 0);
	assert_string_equal(immure_jsonr_text(&r, v, "t"), "x");
	for (const char *const *k = (const char *const[]){ "n", "yes", "none", "list", "absent", NULL }; *k; k++)
		assert_string_equal(immure_jsonr_text(&r, v, *k), "");
	assert_int_equal(immure_jsonr_number(&r, v, "n"), -5);
	assert_int_equal(immure_jsonr_number(&r, v, "yes"), 1);
	for (const char *const *k = (const char *const[]){ "t", "no", "none", "list", "absent", NULL }; *k; k++)
		assert_int_equal(immure_jsonr_number(&r, v, *k), 0);
}

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void mutations(void **state)
{
	static const char alphabet[] = "{}[]\",:\\u0123456789abcdefntrl.eE+- \n\xc3\xa4\xff";
	uint64_t s = 88172645463325252ULL;
	size_t n = sizeof(cases) / sizeof(cases[0]);

	(void)state;
	for (int i = 0; i < 300000; i++) {
		char text[512];
		const char *from = cases[next(&s) % n];
		size_t len = strlen(from);

		memcpy(text, from, len);
		for (uint64_t k = next(&s) % 4; k > 0 && len > 0; k--) {
			size_t at = next(&s) % len;

			switch (next(&s) % 3) {
			case 0:
				text[at] = alphabet[next(&s) % (sizeof(alphabet) - 1)];
				break;
			case 1:
				memmove(text + at, text + at + 1, --len - at);
				break;
			default:
				memmove(text + at + 1, text + at, len++ - at);
				break;
			}
		}
		compare(text, len);
	}
}

static void bounds(void **state)
{
	struct immure_jsonr_value v[4];
	struct immure_jsonr r;
	char deep[128], four[] = "[1,2,3]", five[] = "[1,2,3,4]";

	(void)state;
	assert_int_equal(immure_jsonr_parse(&r, four, strlen(four), v, 4), 0);
	assert_true(immure_jsonr_parse(&r, five, strlen(five), v, 4) < 0);
	memset(deep, '[', sizeof(deep));
	assert_true(immure_jsonr_parse(&r, deep, 40, v, 4) < 0);
	assert_null(immure_jsonr_get(&r, NULL, "a"));
}

static void base64(void **state)
{
	static const char *const wrong[] = { "A", "AA", "AAA", "AA=A", "A===", "AB==", "AAB=", "AA==AA==", "A\nAA" };

	(void)state;
	for (size_t len = 0; len < 900; len++) {
		struct immure_buf b = IMMURE_BUF_INIT;
		unsigned char data[900];

		for (size_t i = 0; i < len; i++)
			data[i] = (unsigned char)(i * 7 + len);
		immure_base64_put(&b, data, len);
		assert_int_equal(b.len, (len + 2) / 3 * 4);
		assert_int_equal(immure_base64_decode(b.data, b.len), (long)len);
		if (len)
			assert_memory_equal(b.data, data, len);
		immure_buf_done(&b);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char text[16];

		strcpy(text, wrong[i]);
		assert_true(immure_base64_decode(text, strlen(text)) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_cases),
		cmocka_unit_test(members), cmocka_unit_test(mutations), cmocka_unit_test(bounds),
		cmocka_unit_test(base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
