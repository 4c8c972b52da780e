/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that cannot be read to its end: readdir(3) is this program's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"

/* What stands for a directory, and what its end is. */
static const char *const *listed;
static int end;

struct dirent *readdir(DIR *dir)
{
	static struct dirent d;

	(void)dir;
	if (!*listed) {
		if (end)
			errno = end;
		return NULL;
	}
	(void)snprintf(d.d_name, sizeof(d.d_name), "%s", *listed++);
	return &d;
}

static int read_as(const char *const *names, int error, size_t most, struct immure_names *ret)
{
	IMMURE_CLEANUP_FD int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	listed = names;
	end = error;
	errno = ENOTTY; /* of something before */
	return immure_names_read(fd, most, ret);
}

static void test_sorted_without_dots(void **state)
{
	static const char *const names[] = { "b", "..", "a\xff", "a", ".", ".c", NULL };
	struct immure_names n;

	(void)state;
	assert_int_equal(read_as(names, 0, 4, &n), 0);
	assert_int_equal(n.n, 4);
	assert_string_equal(n.v[0], ".c");
	assert_string_equal(n.v[1], "a");
	assert_string_equal(n.v[2], "a\xff");
	assert_string_equal(n.v[3], "b");
	assert_true(immure_names_has(&n, "a\xff"));
	assert_false(immure_names_has(&n, "c"));
	immure_names_done(&n);
	assert_false(immure_names_has(&n, "a"));
}

static void test_a_part_is_not_all(void **state)
{
	static const char *const names[] = { "a", "b", NULL }, *const none[] = { NULL };
	struct immure_names n;

	(void)state;
	assert_int_equal(read_as(names, EIO, 100, &n), -EIO);
	immure_names_done(&n);
	assert_int_equal(read_as(none, EIO, 100, &n), -EIO);
	immure_names_done(&n);
	assert_int_equal(read_as(names, 0, 1, &n), -E2BIG);
	immure_names_done(&n);
	assert_int_equal(read_as(none, 0, 0, &n), 0);
	assert_int_equal(n.n, 0);
	assert_int_equal(immure_names_read(-1, 1, &n), -EBADF);
}

static void test_an_error_of_before_stays(void **state)
{
	static const char *const names[] = { "a", NULL };
	int r = -ENOSPC;

	(void)state;
	listed = names;
	end = 0;
	assert_non_null(immure_readdir(NULL, &r));
	assert_null(immure_readdir(NULL, &r));
	assert_int_equal(r, -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sorted_without_dots),
		cmocka_unit_test(test_a_part_is_not_all),
		cmocka_unit_test(test_an_error_of_before_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
