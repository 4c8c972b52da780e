/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "image/refname.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_parts(void **state)
{
	static const struct {
		const char *text, *host, *repository, *tag, *digest;
	} good[] = {
		{ "debian", "docker.io", "library/debian", "latest", "" },
		{ "debian:12-slim", "docker.io", "library/debian", "12-slim", "" },
		{ "docker://a/b", "docker.io", "a/b", "latest", "" },
		{ "ghcr.io/a/b_c/d--e__f.g:V_1.x", "ghcr.io", "a/b_c/d--e__f.g", "V_1.x", "" },
		{ "localhost/x", "localhost", "x", "latest", "" },
		{ "localhost:5000/x:y", "localhost:5000", "x", "y", "" },
		{ "[::1]:5000/x", "[::1]:5000", "x", "latest", "" },
		{ "x@sha256:" HEX, "docker.io", "library/x", "", "sha256:" HEX },
		{ "r.example:1/x:t@sha256:" HEX, "r.example:1", "x", "t", "sha256:" HEX },
		{ "localhost", "docker.io", "library/localhost", "latest", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct immure_refname r;
		const char *why;

		if (immure_refname_parse(good[i].text, &r, &why) != 0)
			fail_msg("%s: %s", good[i].text, why);
		assert_string_equal(r.host, good[i].host);
		assert_string_equal(r.repository, good[i].repository);
		assert_string_equal(r.tag, good[i].tag);
		assert_string_equal(r.digest, good[i].digest);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"", "/", "/x", "x/", "a//b", "X", "a/B", "-x", "x-", ".x", "x.", "a..b", "a___b", "a._b", "a/-b",
		"x:", "x:-t", "x:.t", "x:a b", "x:a/b:", "x@", "x@sha256:12", "x@sha512:" HEX, "x@sha256:" HEX "0",
		"a.b:port/x", "a.b:123456/x", ".a/x", "a./x", "-a.b/x", "a-.b/x", "[::1/x", "[x]/x", "a.b:/x", "a b", "a\nb",
		"--flag", "../x", "x/../y", "a.b/x\" y", "http://a.b/x", "docker:///x", "\xc3\xa9",
	};
	static char long_one[600], long_tag[200] = "x:";
	struct immure_refname r;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (immure_refname_parse(bad[i], &r, &why) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	memset(long_one, 'a', sizeof(long_one) - 1);
	assert_int_equal(immure_refname_parse(long_one, &r, &why), -EINVAL);
	long_one[250] = '\0';
	assert_int_equal(immure_refname_parse(long_one, &r, &why), -EINVAL);
	long_one[200] = '\0';
	assert_int_equal(immure_refname_parse(long_one, &r, &why), 0);
	memset(long_tag + 2, 'a', 129);
	assert_int_equal(immure_refname_parse(long_tag, &r, &why), -EINVAL);
	long_tag[130] = '\0';
	assert_int_equal(immure_refname_parse(long_tag, &r, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parts), cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
