// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel surface: is a system call answered by the code behind it, or by the
 * filter in front of it? Every call has arguments that cannot work, so being
 * answered does nothing, and the answer (EFAULT, EINVAL, EBADF ...) says who
 * gave it. Where the kernel itself asks for a capability first, the control
 * needs that capability in its own user namespace (tag "caps"); where it asks
 * for one that only the real root has, no control is possible (tag "host").
 */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAD ((void *)8)

#define CALL(id, ...) \
	static int act_##id(char **a) \
	{ \
		(void)a; \
		return reached(syscall(__VA_ARGS__)); \
	}

CALL(io_uring_setup, SYS_io_uring_setup, 1, BAD)
CALL(io_uring_enter, SYS_io_uring_enter, -1, 0, 0, 0, 0, 0)
CALL(io_uring_register, SYS_io_uring_register, -1, 0, 0, 0)
CALL(bpf, SYS_bpf, 0, BAD, 64)
CALL(perf_event_open, SYS_perf_event_open, BAD, 0, -1, -1, 0)
CALL(userfaultfd, SYS_userfaultfd, -1)
CALL(keyctl, SYS_keyctl, 9999, 0, 0, 0, 0)
CALL(keyctl_join, SYS_keyctl, 1, BAD, 0, 0, 0)
CALL(add_key, SYS_add_key, BAD, BAD, 0, 0, 0)
CALL(request_key, SYS_request_key, BAD, BAD, 0, 0)
CALL(mount, SYS_mount, BAD, BAD, BAD, 0, 0)
CALL(umount2, SYS_umount2, BAD, -1)
CALL(open_tree, SYS_open_tree, -1, BAD, -1)
CALL(move_mount, SYS_move_mount, -1, BAD, -1, BAD, -1)
CALL(fsopen, SYS_fsopen, BAD, -1)
CALL(fsconfig, SYS_fsconfig, -1, 0, 0, 0, 0)
CALL(fsmount, SYS_fsmount, -1, -1, 0)
CALL(fspick, SYS_fspick, -1, BAD, -1)
CALL(mount_setattr, SYS_mount_setattr, -1, BAD, -1, BAD, 0)
CALL(pivot_root, SYS_pivot_root, BAD, BAD)
CALL(chroot, SYS_chroot, BAD)
CALL(setns, SYS_setns, -1, 0)
CALL(unshare, SYS_unshare, CLONE_NEWUSER | CLONE_PIDFD)
CALL(clone3, SYS_clone3, BAD, 88)
CALL(ptrace, SYS_ptrace, 16, -1, 0, 0)
CALL(kcmp, SYS_kcmp, -1, -1, 0, 0, 0)
CALL(pidfd_getfd, SYS_pidfd_getfd, -1, -1, 0)
CALL(open_by_handle_at, SYS_open_by_handle_at, -1, BAD, 0)
CALL(name_to_handle_at, SYS_name_to_handle_at, -1, BAD, BAD, BAD, -1)
CALL(fanotify_init, SYS_fanotify_init, -1, 0)
CALL(fanotify_mark, SYS_fanotify_mark, -1, 0, 0, 0, 0)
CALL(quotactl, SYS_quotactl, -1, BAD, 0, 0)
CALL(quotactl_fd, 443, -1, 0, 0, 0)
CALL(syslog, SYS_syslog, 3, BAD, -1)
CALL(reboot, SYS_reboot, 1, 2, 3, 0)
CALL(kexec_load, SYS_kexec_load, 0, 99, BAD, -1)
CALL(kexec_file_load, SYS_kexec_file_load, -1, -1, 0, 0, -1)
CALL(init_module, SYS_init_module, BAD, 0, BAD)
CALL(finit_module, SYS_finit_module, -1, BAD, 0)
CALL(delete_module, SYS_delete_module, BAD, 0)
CALL(swapon, SYS_swapon, BAD, 0)
CALL(swapoff, SYS_swapoff, BAD)
CALL(acct, SYS_acct, BAD)
CALL(clock_settime, SYS_clock_settime, 0, BAD)
CALL(clock_settime_bad_clock, SYS_clock_settime, 77, BAD)
CALL(settimeofday, SYS_settimeofday, BAD, 0)
CALL(adjtimex, SYS_adjtimex, BAD)
CALL(iopl, SYS_iopl, 99)
CALL(ioperm, SYS_ioperm, -1, 0, 0)
CALL(vhangup, SYS_vhangup)
CALL(nfsservctl, 180, 0, 0, 0)
CALL(process_madvise, 440, -1, BAD, 0, 0, 0)
CALL(lookup_dcookie, 212, 0, BAD, 0)
CALL(sethostname, SYS_sethostname, BAD, 4)
CALL(setdomainname, SYS_setdomainname, BAD, 4)

/* ---- namespaces, in earnest ---- */
static int in_child_clone(int flags)
{
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return denied(errno);
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return done("cloned");
}

static int act_clone_newuser(char **a)
{
	(void)a;
	return in_child_clone(CLONE_NEWUSER);
}

static int act_clone3_newuser(char **a)
{
	uint64_t args[11] = {CLONE_NEWUSER, [4] = SIGCHLD};
	long pid = syscall(SYS_clone3, args, sizeof(args));

	(void)a;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return verdict(pid);
}

/* Bits above the 32nd are ignored by the kernel and must be by a filter. */
static int act_clone_high_bits(char **a)
{
	pid_t pid = (pid_t)syscall(SYS_clone, (1UL << 40) | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	(void)a;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return verdict(pid);
}

#define UNSHARE(id, flag) \
	static int act_unshare_##id(char **a) \
	{ \
		(void)a; \
		return verdict(unshare(flag)); \
	}
UNSHARE(user, CLONE_NEWUSER)
UNSHARE(mnt, CLONE_NEWNS)
UNSHARE(net, CLONE_NEWNET)
UNSHARE(pid, CLONE_NEWPID)
UNSHARE(ipc, CLONE_NEWIPC)
UNSHARE(uts, CLONE_NEWUTS)
UNSHARE(cgroup, CLONE_NEWCGROUP)
UNSHARE(time, 0x80)

/* ---- other doors into the same kernel ---- */
#if defined(__x86_64__)
/* One byte below 4 GiB would be needed for pointers; these take none. The
 * stack is left alone: int $0x80 keeps the 64-bit one. */
static int int80(long nr, long one)
{
	long rc;

	__asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr), "b"(one) : "memory", "r8", "r9", "r10", "r11");
	if (rc < 0 && rc > -4096) {
		errno = (int)-rc;
		return reached(-1);
	}
	return done("%ld", rc);
}

static int act_int80_getpid(char **a)
{
	(void)a;
	return int80(20, 0);
}

static int act_int80_unshare(char **a)
{
	(void)a;
	return int80(310, CLONE_NEWUSER);
}

static int act_int80_socketcall(char **a)
{
	(void)a;
	return int80(102, 99);
}

static int act_int80_keyctl(char **a)
{
	(void)a;
	return int80(288, 9999);
}

static int act_x32_getpid(char **a)
{
	(void)a;
	return reached(syscall(0x40000000 | SYS_getpid));
}

static int act_x32_unshare(char **a)
{
	(void)a;
	return reached(syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER));
}

static int act_x32_ptrace(char **a)
{
	(void)a;
	return reached(syscall(0x40000000 | 521, 16, -1, 0, 0));
}
#endif

/* A negative or huge number is in no list. */
static int act_number_high(char **a)
{
	long rc = syscall(0x7fffffff);

	(void)a;
	return rc < 0 ? denied(errno) : done("%ld", rc);
}

/* ---- terminals ---- */
static int terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return -1;
	setsid();
	slave = open(ptsname(master), O_RDWR);
	if (slave >= 0)
		(void)ioctl(slave, TIOCSCTTY, 0); /* opening it may have done so */
	return slave;
}

static int tty_ioctl(unsigned long request)
{
	char byte[2] = "x";
	int fd = terminal();

	if (fd < 0)
		return broken("pty");
	return reached(syscall(SYS_ioctl, fd, request, byte));
}

static int act_tiocsti(char **a)
{
	(void)a;
	return tty_ioctl(TIOCSTI);
}

static int act_tiocsti_high_bits(char **a)
{
	(void)a;
	return tty_ioctl((1UL << 32) | TIOCSTI);
}

static int act_tioclinux(char **a)
{
	(void)a;
	return tty_ioctl(TIOCLINUX);
}

static int act_tioclinux_high_bits(char **a)
{
	(void)a;
	return tty_ioctl((0xffUL << 32) | TIOCLINUX);
}

#define C(id) {#id, "open", act_##id}
#define CC(id) {#id, "caps", act_##id}
#define CH(id) {#id, "host", act_##id}
#define CV(id) {#id, "earnest", act_##id}

static const struct attack attacks[] = {
	C(io_uring_setup), C(io_uring_enter), C(io_uring_register), CH(bpf), C(perf_event_open),
	C(userfaultfd), C(keyctl), C(keyctl_join), C(add_key), C(request_key), C(mount), C(umount2),
	C(open_tree), CC(move_mount), CC(fsopen), C(fsconfig), CC(fsmount), CC(fspick),
	C(mount_setattr), CC(pivot_root), CC(chroot), C(setns), C(unshare), C(clone3),
	C(kcmp), C(pidfd_getfd), CH(open_by_handle_at), C(fanotify_init),
	C(fanotify_mark), C(quotactl), C(quotactl_fd), C(syslog), CC(reboot), CH(kexec_load),
	CH(kexec_file_load), CH(init_module), CH(finit_module), CH(delete_module), CH(swapon),
	CH(swapoff), CH(acct), C(clock_settime), C(clock_settime_bad_clock), C(settimeofday),
	C(adjtimex), C(iopl), C(ioperm), CH(vhangup), CH(nfsservctl),
	CH(lookup_dcookie), CC(sethostname), CC(setdomainname),
	{"name_to_handle_at", "strict", act_name_to_handle_at},
	{"ptrace", "strict", act_ptrace},
	{"process_madvise", "strict", act_process_madvise},
	CV(clone_newuser), CV(clone3_newuser), CV(clone_high_bits), CV(unshare_user),
	{"unshare_mnt", "earnest caps", act_unshare_mnt},
	{"unshare_net", "earnest caps", act_unshare_net},
	{"unshare_pid", "earnest caps", act_unshare_pid},
	{"unshare_ipc", "earnest caps", act_unshare_ipc},
	{"unshare_uts", "earnest caps", act_unshare_uts},
	{"unshare_cgroup", "earnest caps", act_unshare_cgroup},
	{"unshare_time", "earnest caps", act_unshare_time},
#if defined(__x86_64__)
	{"int80_getpid", "abi", act_int80_getpid},
	{"int80_unshare", "abi", act_int80_unshare},
	{"int80_socketcall", "abi", act_int80_socketcall},
	{"int80_keyctl", "abi", act_int80_keyctl},
	{"x32_getpid", "abi", act_x32_getpid},
	{"x32_unshare", "abi", act_x32_unshare},
	{"x32_ptrace", "abi", act_x32_ptrace},
#endif
	{"number_high", "host", act_number_high},
	C(tiocsti), C(tiocsti_high_bits), C(tioclinux), C(tioclinux_high_bits),
};
FAMILY(kernel, attacks);
