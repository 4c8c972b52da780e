/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock's wrappers: the rights of each ABI, and the kernel's answer to them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/landlock.h"

static void rights_of_each_abi(void **unused)
{
	static const struct {
		int abi;
		uint64_t fs, net, scopes;
	} want[] = { { -1, 0, 0, 0 },      { 0, 0, 0, 0 },      { 1, 0x1fff, 0, 0 },
		     { 2, 0x3fff, 0, 0 },  { 3, 0x7fff, 0, 0 }, { 4, 0x7fff, 3, 0 },
		     { 5, 0xffff, 3, 0 },  { 6, 0xffff, 3, 3 }, { 7, 0xffff, 3, 3 },
		     { 99, 0xffff, 3, 3 } };

	(void)unused;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(immure_landlock_fs_rights(want[i].abi), want[i].fs);
		assert_int_equal(immure_landlock_net_rights(want[i].abi), want[i].net);
		assert_int_equal(immure_landlock_scopes(want[i].abi), want[i].scopes);
	}
}

/* -1: this kernel has none, and says so in one of two ways. */
static int abi_or_skip(void)
{
	int abi = immure_landlock_abi();

	if (abi >= 1)
		return abi;
	assert_true(abi == -ENOSYS || abi == -EOPNOTSUPP);
	print_message("# skipped: no Landlock here\n");
	skip();
	return -1;
}

static void kernel_takes_what_its_abi_has(void **unused)
{
	int abi = abi_or_skip(), fd;

	(void)unused;
	for (int a = 1; a <= abi && a <= IMMURE_LANDLOCK_ABI_MAX; a++) {
		fd = immure_landlock_create(immure_landlock_fs_rights(a),
					    immure_landlock_net_rights(a),
					    immure_landlock_scopes(a));
		assert_true(fd >= 0);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		(void)close(fd);
	}
	assert_int_equal(immure_landlock_create(UINT64_C(1) << 63, 0, 0), -EINVAL);
	assert_int_equal(immure_landlock_create(0, 0, 0), -ENOMSG);
}

static void rules_are_judged(void **unused)
{
	int abi = abi_or_skip(), dir, file, set;

	(void)unused;
	dir = open("/usr", O_PATH | O_CLOEXEC);
	file = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	assert_true(dir >= 0 && file >= 0);
	set = immure_landlock_create(immure_landlock_fs_rights(abi),
				     immure_landlock_net_rights(abi), 0);
	assert_true(set >= 0);
	assert_int_equal(immure_landlock_add_path(set, dir, IMMURE_LANDLOCK_FS_READ_DIR), 0);
	assert_int_equal(immure_landlock_add_path(set, dir, 0), -ENOMSG);
	assert_int_equal(immure_landlock_add_path(set, dir, UINT64_C(1) << 62), -EINVAL);
	assert_int_equal(immure_landlock_add_path(set, -1, 1), -EBADF);
	/* a file takes those of its kind alone */
	assert_int_equal(immure_landlock_add_path(set, file, immure_landlock_fs_rights(abi) &
						  IMMURE_LANDLOCK_FS_ON_FILE), 0);
	assert_int_equal(immure_landlock_add_path(set, file, IMMURE_LANDLOCK_FS_READ_DIR),
			 -EINVAL);
	if (abi >= 4)
		assert_int_equal(immure_landlock_add_port(set, 443,
							  IMMURE_LANDLOCK_NET_CONNECT_TCP), 0);
	/* without it an ordinary user is refused before the descriptor is looked at */
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(immure_landlock_restrict(-1, 0), -EBADF);
	(void)close(set);
	(void)close(file);
	(void)close(dir);
}

static void restriction_holds(void **unused)
{
	int status;
	pid_t pid;

	(void)unused;
	(void)abi_or_skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int set = immure_landlock_create(immure_landlock_fs_rights(1), 0, 0);
		int usr = open("/usr", O_PATH | O_CLOEXEC);

		if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
			_exit(1); /* the control */
		if (set < 0 || usr < 0 ||
		    immure_landlock_add_path(set, usr, IMMURE_LANDLOCK_FS_READ_DIR |
					     IMMURE_LANDLOCK_FS_READ_FILE) < 0 ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    immure_landlock_restrict(set, 0) < 0)
			_exit(2);
		if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
			_exit(3);
		_exit(open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? 4 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights_of_each_abi),
		cmocka_unit_test(kernel_takes_what_its_abi_has),
		cmocka_unit_test(rules_are_judged),
		cmocka_unit_test(restriction_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
