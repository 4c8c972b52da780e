/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void comments(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "{} // x", "{}     " },
		{ "// x\n{}", "    \n{}" },
		{ "/* a\nb */{}", "    \n    {}" },
		{ "[1/*,*/,2]", "[1     ,2]" },
		{ "\"// not\"", "\"// not\"" },
		{ "\"\\\"// not\"", "\"\\\"// not\"" },
		{ "\"\\\\\"// yes", "\"\\\\\"      " },
		{ "\"/* not */\"", "\"/* not */\"" },
		{ "/**/1", "    1" },
		{ "/***/1", "     1" },
		{ "// a /* b\n1", "         \n1" },
		{ "1 / 2", "1 / 2" },
		{ "/", "/" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct immure_json_failure f = { 0 };
		char *s = strdup(t[i].in);

		assert_non_null(s);
		assert_int_equal(immure_json_strip(s, strlen(s), &f), 0);
		assert_string_equal(s, t[i].out);
		free(s);
	}
}

static void bad_text(void **state)
{
	static const struct {
		const char *in;
		size_t len, line;
		const char *why;
	} t[] = {
		{ "{\n/* x", 6, 2, "a comment that does not end" },
		{ "/*/", 3, 1, "a comment that does not end" },
		{ "\n\n\0", 3, 3, "a NUL byte" },
		{ "\n\"a\0\"", 5, 2, "a NUL byte" },
	};
	struct immure_json_failure f;
	char deep[IMMURE_JSON_DEPTH + 2];

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		char copy[16];

		memcpy(copy, t[i].in, t[i].len);
		memset(&f, 0, sizeof(f));
		assert_int_equal(immure_json_strip(copy, t[i].len, &f), -EINVAL);
		assert_int_equal(f.line, t[i].line);
		assert_string_equal(f.text, t[i].why);
	}
	memset(deep, '[', sizeof(deep));
	assert_int_equal(immure_json_strip(deep, IMMURE_JSON_DEPTH, &f), 0);
	assert_int_equal(immure_json_strip(deep, IMMURE_JSON_DEPTH + 1, &f), -EINVAL);
	assert_string_equal(f.text, "nested too deeply");
}

static void strict(void **state)
{
	static const struct {
		const char *in;
		size_t line;
		const char *why; /* must be part of the message */
	} t[] = {
		{ "", 1, "not JSON" },
		{ "{\n\"a\": 1,\n\"a\": 2}", 3, "duplicate key '\"a\"'" },
		{ "{\n\"a\": 1,\n\"\\u0061\": 2}", 3, "duplicate key" },
		{ "{}\n\nx", 3, "expected the end of the file near 'x'" },
		{ "{} {}", 1, "expected the end of the file" },
		{ "{\"a\": 1,}", 1, "not JSON" },
		{ "[1 2]", 1, "not JSON" },
		{ "{a: 1}", 1, "not JSON" },
		{ "{'a': 1}", 1, "not JSON" },
		{ "[01]", 1, "not JSON" },
		{ "[NaN]", 1, "not JSON" },
		{ "[1e999]", 1, "not JSON" },
		{ "[\"\xff\"]", 1, "not JSON" },
		{ "[\"\xc0\x80\"]", 1, "not JSON" },
		{ "[\"\\ud800\"]", 1, "not JSON" },
		{ "[\"\\u0000\"]", 1, "not JSON" },
		{ "[\"a\nb\"]", 1, "not JSON" },
		{ "\n[99999999999999999999]", 2, "too big integer" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(t); i++) {
		struct immure_json_failure f = { 0 };
		struct immure_json *doc = NULL;

		assert_int_equal(immure_json_parse(t[i].in, strlen(t[i].in), &doc, &f), -EINVAL);
		assert_null(doc);
		if (f.line != t[i].line || !strstr(f.text, t[i].why))
			fail_msg("%zu: line %zu, %s", i, f.line, f.text);
	}
}

static void values(void **state)
{
	static const char text[] = "{\"s\":\"x\",\"i\":-5,\"r\":1.5,\"t\":true,\"n\":null,\"a\":[1,2],"
				   "\"o\":{}}";
	static const enum immure_json_type types[] = {
		IMMURE_JSON_STRING, IMMURE_JSON_INTEGER, IMMURE_JSON_REAL, IMMURE_JSON_BOOL,
		IMMURE_JSON_NULL, IMMURE_JSON_ARRAY, IMMURE_JSON_OBJECT,
	};
	struct immure_json_failure f;
	struct immure_json_member m = { 0 };
	struct immure_json *doc = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(immure_json_parse(text, strlen(text), &doc, &f), 0);
	while (immure_json_next(doc, &m)) {
		assert_int_equal(m.key[0], "sirtnao"[n]);
		assert_int_equal(immure_json_type(m.value), types[n++]);
	}
	assert_int_equal(n, 7);
	assert_int_equal(immure_json_size(doc), 7);
	assert_string_equal(immure_json_string(immure_json_get(doc, "s")), "x");
	assert_int_equal(immure_json_integer(immure_json_get(doc, "i")), -5);
	assert_true(immure_json_bool(immure_json_get(doc, "t")));
	assert_int_equal(immure_json_integer(immure_json_element(immure_json_get(doc, "a"), 1)), 2);
	assert_null(immure_json_element(immure_json_get(doc, "a"), 2));
	assert_null(immure_json_get(doc, "x"));
	immure_json_free(doc);
	immure_json_free(NULL);
}

/* Every child is found where it stands, in the order that the reader gives. */
static void places(void **state)
{
	static const char text[] = "\n { \"a\" : [ 1 , \"},]\" , {\"k\":[]} ] ,\n"
				   "\"b\\\"\":{\"c\":true}, \"d\":-1.5e3}";
	size_t len = strlen(text), at = immure_json_start(text, len), key, value, array;

	(void)state;
	assert_int_equal(text[at], '{');
	assert_true(immure_json_child(text, len, at, 0, &key, &array));
	assert_memory_equal(text + key, "\"a\"", 3);
	assert_int_equal(text[array], '[');
	assert_true(immure_json_child(text, len, array, 0, &key, &value));
	assert_int_equal(text[value], '1');
	assert_true(immure_json_child(text, len, array, 1, &key, &value));
	assert_int_equal(immure_json_token(text, len, value), 5);
	assert_true(immure_json_child(text, len, array, 2, &key, &value));
	assert_int_equal(text[value], '{');
	assert_false(immure_json_child(text, len, array, 3, &key, &value));
	assert_true(immure_json_child(text, len, at, 1, &key, &value));
	assert_int_equal(immure_json_line(text, key), 3);
	assert_int_equal(text[value], '{');
	assert_true(immure_json_child(text, len, at, 2, &key, &value));
	assert_int_equal(immure_json_token(text, len, value), 6);
	assert_false(immure_json_child(text, len, at, 3, &key, &value));
	assert_false(immure_json_child("[]", 2, 0, 0, &key, &value));
	assert_false(immure_json_child("5", 1, 0, 0, &key, &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments), cmocka_unit_test(bad_text), cmocka_unit_test(strict),
		cmocka_unit_test(values),   cmocka_unit_test(places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
