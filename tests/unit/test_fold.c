/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/fold.h"

static void names_are_found_by_others(void **state)
{
	static const char *const same[][2] = {
		{ "", "" },
		{ ".git", ".git" },
		{ ".GIT", ".GIT" },
		{ ".g\u200cit", ".git" },
		{ "\ufeff.envrc\u00ad", ".envrc" },
		{ ".hu\u017f\u212ay", ".husky" },
		{ "\U000e0041config\ufe0f", "config" },
		{ "\u200b", "" },
		{ "na\u00efve", "na\u00efve" }, /* another letter, also to them */
		{ "\u20ac\U0001f600", "\u20ac\U0001f600" },
		{ "\xff\x80git\xe2\x80", "\xff\x80git\xe2\x80" }, /* no UTF-8: as it is */
		{ "\xc0\xafx", "\xc0\xafx" },
	};
	char to[IMMURE_FOLD_NAME];

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_string_equal(immure_fold_name(same[i][0], to), same[i][1]);
	assert_ptr_equal(immure_fold_name(same[1][0], to), same[1][0]);
}

static void as_long_as_names_are(void **state)
{
	char name[400], to[IMMURE_FOLD_NAME];

	(void)state;
	memset(name, 'x', sizeof(name));
	memcpy(name, "\u200b", 3);
	name[258] = '\0';
	assert_int_equal(strlen(immure_fold_name(name, to)), 255);
	name[300] = 'x';
	name[399] = '\0';
	memset(name + 3, 'x', 396);
	assert_int_equal(strlen(immure_fold_name(name, to)), 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_by_others),
		cmocka_unit_test(as_long_as_names_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
