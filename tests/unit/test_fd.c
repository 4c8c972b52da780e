/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static char top[] = "/tmp/immure-test-fd-XXXXXX";

static mode_t mode_of(int dir, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

/* Never what a link leads to: neither opened nor given another mode. */
static void open_anyway(void **state)
{
	int dir, fd;
	unsigned int before = 0;

	(void)state;
	assert_non_null(mkdtemp(top));
	if (geteuid() == 0) { /* root is denied nothing */
		assert_int_equal(chown(top, 65534, 65534), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	fd = openat(dir, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0111);
	assert_true(fd >= 0);
	immure_close(&fd);
	assert_int_equal(mkdirat(dir, "dir", 0311), 0);
	assert_int_equal(symlinkat("file", dir, "to-file"), 0);
	assert_int_equal(symlinkat("dir", dir, "to-dir"), 0);

	assert_true(immure_open_anyway(dir, "to-file", 0, 0700, &before) < 0);
	assert_true(immure_open_anyway(dir, "to-dir", O_DIRECTORY, 0700, &before) < 0);
	assert_true(immure_open_anyway(dir, "nothing", 0, 0700, &before) < 0);
	assert_int_equal(mode_of(dir, "file"), 0111);
	assert_int_equal(mode_of(dir, "dir"), 0311);

	fd = immure_open_anyway(dir, "file", 0, 0600, &before);
	assert_true(fd >= 0);
	assert_int_equal(before, 0111);
	assert_int_equal(mode_of(dir, "file"), 0711);
	immure_close(&fd);
	fd = immure_open_anyway(dir, "dir", O_DIRECTORY, 0700, &before);
	assert_true(fd >= 0);
	assert_int_equal(before, 0311);
	immure_close(&fd);

	assert_int_equal(unlinkat(dir, "to-file", 0) | unlinkat(dir, "to-dir", 0) |
			 unlinkat(dir, "file", 0) | unlinkat(dir, "dir", AT_REMOVEDIR), 0);
	immure_close(&dir);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(rmdir(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(open_anyway) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
