/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters in the kernel: what the interpreter says must be what happens. Each
 * case runs in a forked child that installs the filter on itself and then makes
 * one call, with arguments that would do no harm if it got through. As a
 * control, the same child without the filter must not get the filter's answer.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/seccomp.h"

#define X32_BIT 0x40000000L
#define HIGH    0x700000000L

enum { SETUP_FAILED = 250 };

/* errno of the call, 0 = it succeeded; negative: the child died by that signal. */
static int attempt(const char *profile, uint64_t families, long nr, long a, long b, long c)
{
	const struct immure_filter *f = NULL;
	int status;
	pid_t pid;

	if (profile) {
		f = immure_filter_builtin(profile, families);
		assert_non_null(f);
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    (f && immure_filter_install(f, 0) < 0))
			_exit(SETUP_FAILED);
		_exit(syscall(nr, a, b, c, 0L, 0L, 0L) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -WTERMSIG(status);
	assert_int_not_equal(WEXITSTATUS(status), SETUP_FAILED);
	return WEXITSTATUS(status);
}

static const struct {
	const char *what;
	long nr, a, b, c;
	int filtered;
	int control; /* without the filter; -1: depends on the host */
} cases[] = {
	/* a request that no descriptor -1 can take: EBADF from the kernel itself */
	{ "TIOCSTI", SYS_ioctl, -1, 0x5412, 0, EPERM, EBADF },
	{ "TIOCSTI with upper bits", SYS_ioctl, -1, HIGH | 0x5412, 0, EPERM, EBADF },
	{ "TIOCLINUX", SYS_ioctl, -1, 0x541c, 0, EPERM, EBADF },
	{ "TCGETS", SYS_ioctl, -1, 0x5401, 0, EBADF, EBADF },
	{ "clone with NEWUSER and a signal that no fork has", SYS_clone,
	  0x10000000 | 0x00000800 | 17, 0, 0, EPERM, EINVAL },
	{ "unshare with NEWNS|FS|NEWUSER and an unknown bit", SYS_unshare,
	  HIGH | 0x10000000, 0, 0, EPERM, EINVAL },
	{ "clone3", SYS_clone3, 0, 0, 0, ENOSYS, EINVAL },
	{ "setns", SYS_setns, -1, 0, 0, EPERM, EBADF },
	{ "io_uring_setup", SYS_io_uring_setup, 0, 0, 0, ENOSYS, -1 },
	{ "bpf", SYS_bpf, 0x7fff, 0, 0, EPERM, -1 },
	{ "keyctl", SYS_keyctl, 0x7fff, 0, 0, EPERM, -1 },
	{ "fsopen", SYS_fsopen, 0, -1, 0, EPERM, -1 },
	{ "open_tree", SYS_open_tree, -1, 0, -1, EPERM, EINVAL },
	{ "socket AF_ALG", SYS_socket, 38, 5, 0, EPERM, -1 },
	{ "socket AF_VSOCK", SYS_socket, 40, 1, 0, EPERM, -1 },
	{ "socket INET raw", SYS_socket, 2, 3, 255, EPERM, -1 },
	{ "socket INET MPTCP", SYS_socket, 2, 1, 262, EPROTONOSUPPORT, -1 },
	{ "socket INET SCTP by type", SYS_socket, 2, 5, 0, EPERM, -1 },
	{ "socket INET", SYS_socket, 2, 1, 0, 0, 0 },
	{ "socket UNIX", SYS_socket, 1, 5, 0, 0, 0 },
	{ "setsockopt TCP_ULP", SYS_setsockopt, -1, 6, 31, EPERM, EBADF },
	{ "setsockopt SO_ATTACH_BPF", SYS_setsockopt, -1, 1, 50, EPERM, EBADF },
	{ "setsockopt SO_REUSEADDR", SYS_setsockopt, -1, 1, 2, EBADF, EBADF },
	{ "personality READ_IMPLIES_EXEC", SYS_personality, 0x400000, 0, 0, EPERM, 0 },
	{ "prctl PR_SET_MM", SYS_prctl, 35, 0, 0, EPERM, -1 },
	{ "a number from the future", 600, 0, 0, 0, ENOSYS, ENOSYS },
	{ "getppid", SYS_getppid, 0, 0, 0, 0, 0 },
	{ "close", SYS_close, -1, 0, 0, EBADF, EBADF },
};

static void answers(void **unused)
{
	static const char *const profiles[] = { "default", "strict" };

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int got;

		for (size_t k = 0; k < 2; k++) {
			got = attempt(profiles[k], IMMURE_FAMILIES_NET, cases[i].nr, cases[i].a,
				      cases[i].b, cases[i].c);
			if (got != cases[i].filtered)
				fail_msg("%s under %s: %d", cases[i].what, profiles[k], got);
		}
		if (cases[i].control < 0)
			continue;
		got = attempt(NULL, 0, cases[i].nr, cases[i].a, cases[i].b, cases[i].c);
		if (got != cases[i].control)
			fail_msg("%s without a filter: %d", cases[i].what, got);
	}
}

static void netlink_is_routing_at_most(void **unused)
{
	(void)unused;
	assert_int_equal(attempt("default", IMMURE_FAMILIES_NET, SYS_socket, 16, 3, 0), 0);
	assert_int_equal(attempt("default", IMMURE_FAMILIES_NET, SYS_socket, 16, 3, 12),
			 EPROTONOSUPPORT);
	assert_int_equal(attempt("strict", IMMURE_FAMILIES_NET, SYS_socket, 16, 3, 0), EPERM);
	assert_int_equal(attempt("strict", IMMURE_FAMILIES_NET, SYS_socket, 16, 3, 12), EPERM);
}

static void local_has_no_addresses(void **unused)
{
	static const char *const profiles[] = { "default", "strict", "guard" };

	(void)unused;
	for (size_t k = 0; k < 3; k++) {
		assert_int_equal(attempt(profiles[k], IMMURE_FAMILIES_LOCAL, SYS_socket, AF_INET,
					 SOCK_DGRAM, 0), EPERM);
		assert_int_equal(attempt(profiles[k], IMMURE_FAMILIES_LOCAL, SYS_socket, AF_INET6,
					 SOCK_STREAM, 0), EPERM);
		assert_int_equal(attempt(profiles[k], IMMURE_FAMILIES_LOCAL, SYS_socket, AF_UNIX,
					 SOCK_STREAM, 0), 0);
	}
}

#ifdef __x86_64__
static void x32_is_closed(void **unused)
{
	(void)unused;
	assert_int_equal(attempt("default", IMMURE_FAMILIES_NET, SYS_getppid | X32_BIT, 0, 0, 0),
			 ENOSYS);
	assert_int_equal(attempt("guard", IMMURE_FAMILIES_NET, SYS_getppid | X32_BIT, 0, 0, 0),
			 ENOSYS);
}

/* int 0x80, getppid of i386: the kernel's own answer is a number or, without
 * that ABI, SIGSEGV; never SIGSYS. */
static void i386_kills(void **unused)
{
	static const char *const profiles[] = { "default", "strict", "guard", NULL };

	(void)unused;
	for (size_t k = 0; k < 4; k++) {
		const struct immure_filter *f = NULL;
		int status;
		pid_t pid;

		if (profiles[k])
			f = immure_filter_builtin(profiles[k], IMMURE_FAMILIES_NET);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			long r = 64;

			if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			    (f && immure_filter_install(f, 0) < 0))
				_exit(SETUP_FAILED);
			__asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10",
					 "r11");
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!profiles[k]) {
			assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGSEGV);
			if (WIFSIGNALED(status))
				print_message("# this kernel has no i386 ABI\n");
			continue;
		}
		assert_true(WIFSIGNALED(status));
		assert_true(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
	}
}
#endif

/* A user's filter cannot open what the guard beneath it closes. */
static void guard_holds_beneath(void **unused)
{
	static const struct sock_filter all[] = { { BPF_RET | BPF_K, 0, 0, 0x7fff0000 } };
	const struct immure_filter user = { all, 1 };
	const struct immure_filter *guard = immure_filter_builtin("guard", IMMURE_FAMILIES_LOCAL);
	int status;
	pid_t pid = fork();

	(void)unused;
	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    immure_filter_install(guard, 0) < 0 || immure_filter_install(&user, 0) < 0)
			_exit(SETUP_FAILED);
		if (syscall(SYS_ioctl, -1, 0x5412L, 0L) != -1 || errno != EPERM)
			_exit(1);
		if (syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) != -1 || errno != EPERM)
			_exit(2);
		if (syscall(SYS_io_uring_setup, 1L, 0L) != -1 || errno != ENOSYS)
			_exit(3);
		if (syscall(SYS_setns, -1L, 0L) != -1 || errno != EBADF)
			_exit(4); /* the guard leaves this to the user's filter */
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void install_reports(void **unused)
{
	static const struct sock_filter bad[] = { { BPF_LD | BPF_IMM, 0, 0, 0 } };
	const struct immure_filter f = { bad, 1 }, none = { NULL, 0 };

	(void)unused;
	/* refused before anything changes: safe in this very process */
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(immure_filter_install(&f, 0), -EINVAL);
	assert_int_equal(immure_filter_install(&none, 0), -EINVAL);
	assert_int_equal(immure_filter_install(&f, 0x80000000), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(netlink_is_routing_at_most),
		cmocka_unit_test(local_has_no_addresses),
#ifdef __x86_64__
		cmocka_unit_test(x32_is_closed),
		cmocka_unit_test(i386_kills),
#endif
		cmocka_unit_test(guard_holds_beneath),
		cmocka_unit_test(install_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
