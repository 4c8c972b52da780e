/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image/store.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define HEAD "immure-image 1\n"
#define REST "digest " D1 "\nconfig " D2 "\nplatform linux/amd64\nbytes 5\nuser \nworkdir \nstop \n"

static void names(void **unused)
{
	static const char *const good[] = { "debian", "debian:12", "ghcr.io/a/b:1.2-x_y", "a@b+c", "1" };
	static const char *const bad[] = { "", "-a", ".a", "/a", "a/", "a//b", "a..b", "../a", "a b", "a\n", D1, "a;b", "\xc3\xa9" };
	char many[300];

	(void)unused;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(immure_image_is_name(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(immure_image_is_name(bad[i]));
	memset(many, 'a', sizeof(many));
	many[256] = '\0';
	assert_false(immure_image_is_name(many));
	many[255] = '\0';
	assert_true(immure_image_is_name(many));
	assert_true(immure_image_is_digest(D1));
	assert_false(immure_image_is_digest(D1 "1"));
	assert_false(immure_image_is_digest("sha256:1111"));
	assert_false(immure_image_is_digest("sha256:AAAA111111111111111111111111111111111111111111111111111111111111"));
	assert_false(immure_image_is_digest("sha512:1111111111111111111111111111111111111111111111111111111111111111"));
}

static void records(void **unused)
{
	static const char *const bad[] = {
		"", "immure-image 2\n" REST "layer " D1 "\nend\n", HEAD REST "end\n", HEAD REST "layer " D1 "\n",
		HEAD REST "layer " D1 "\nend\nmore\n", HEAD REST "layer x\nend\n", HEAD REST "layer " D1 "\nend",
		HEAD REST "digest " D1 "\nlayer " D1 "\nend\n", HEAD REST "layer " D1 "\nother x\nend\n",
		HEAD "digest " D1 "\nlayer " D1 "\nend\n", HEAD REST "layer " D1 "\nenv A=\\x\nend\n",
		HEAD REST "layer " D1 "\nenv A=\\\nend\n", HEAD REST "layer " D1 "\nbytes x\nend\n",
	};
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_image_record r = { 0 }, again;
	struct immure_buf b = IMMURE_BUF_INIT;
	const char *text = HEAD REST "layer " D1 "\nlayer " D2 "\nenv A=b\\nc\\\\d\ncmd x y\nend\n";

	(void)unused;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(immure_image_record_parse(&a, bad[i], strlen(bad[i]), &r), -EINVAL);
	assert_int_equal(immure_image_record_parse(&a, text, strlen(text), &r), 0);
	assert_int_equal(r.layers.n, 2);
	assert_string_equal(r.env.v[0], "A=b\nc\\d");
	assert_string_equal(r.cmd.v[0], "x y");
	assert_int_equal(r.bytes, 5);
	immure_image_record_put(&r, &b);
	assert_int_equal(immure_image_record_parse(&a, b.data, b.len, &again), 0);
	assert_string_equal(again.env.v[0], r.env.v[0]);
	immure_buf_done(&b);
	immure_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(names), cmocka_unit_test(records) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
