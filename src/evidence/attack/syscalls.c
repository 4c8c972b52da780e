/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that no command needs and that have led out elsewhere. One
 * function, one table. The arguments are such that where nothing refuses, the
 * call either does nothing or fails in another way than by being refused. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
/* The same numbers on every architecture (asm-generic and x86 agree from 424 on). */
#define NR_IO_URING_SETUP 425
#define NR_IO_URING_ENTER 426
#define NR_IO_URING_REGISTER 427
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_FSPICK 433
#define NR_CLONE3 435
#define NR_MOUNT_SETATTR 442

struct call {
	const char *what;
	long nr;
	long a[6];
};

static void call_all(struct attack_result *r, const struct call *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		attack_try(r, syscall(v[i].nr, v[i].a[0], v[i].a[1], v[i].a[2], v[i].a[3],
				      v[i].a[4], v[i].a[5]), v[i].what);
}

#define P(x) ((long)(uintptr_t)(x))
#define CALLS(...)                                                                   \
	do {                                                                         \
		const struct call calls[] = { __VA_ARGS__ };                         \
		(void)ctx;                                                           \
		call_all(r, calls, sizeof(calls) / sizeof(calls[0]));                \
	} while (0)

static void mount_new(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const struct {
		const char *what, *source, *type;
		unsigned long flags;
	} v[] = {
		{ "mount tmpfs on /tmp", "none", "tmpfs", 0 },
		{ "mount proc on /tmp", "none", "proc", 0 },
		{ "bind / on /tmp", "/", NULL, MS_BIND | MS_REC },
	};

	(void)ctx;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (attack_try(r, mount(v[i].source, "/tmp", v[i].type, v[i].flags, NULL), v[i].what))
			(void)umount2("/tmp", MNT_DETACH); /* undoing */
}

static void mount_api(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "open_tree clone of /", NR_OPEN_TREE, { AT_FDCWD, P("/"), 1 } },
	      { "fsopen tmpfs", NR_FSOPEN, { P("tmpfs"), 0 } },
	      { "fspick /", NR_FSPICK, { AT_FDCWD, P("/"), 0 } },
	      /* The right is asked for before the descriptors are looked at. */
	      { "move_mount of nothing", NR_MOVE_MOUNT, { -1, P(""), -1, P(""), 4 | 0x40 } });
}

/* MNT_EXPIRE only marks at the first call. */
static void unmount(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "umount2 /proc", SYS_umount2, { P("/proc"), MNT_EXPIRE } },
	      { "umount2 /dev", SYS_umount2, { P("/dev"), MNT_EXPIRE } });
}

static void pivot(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "pivot_root", SYS_pivot_root, { P("/"), P("/") } });
}

static void unshare_user(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "unshare user", SYS_unshare, { CLONE_NEWUSER } },
	      { "unshare user, mount and network", SYS_unshare,
		{ CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET } });
}

static void unshare_others(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "unshare mount", SYS_unshare, { CLONE_NEWNS } },
	      { "unshare network", SYS_unshare, { CLONE_NEWNET } },
	      { "unshare pid", SYS_unshare, { CLONE_NEWPID } },
	      { "unshare ipc", SYS_unshare, { CLONE_NEWIPC } },
	      { "unshare uts", SYS_unshare, { CLONE_NEWUTS } },
	      { "unshare cgroup", SYS_unshare, { CLONE_NEWCGROUP } },
	      { "unshare time", SYS_unshare, { CLONE_NEWTIME } });
}

static void clone_user(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int flags[] = { CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWNS,
				     CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWCGROUP };

	(void)ctx;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		long pid = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);

		if (pid == 0)
			_exit(0);
		if (pid > 0)
			(void)waitpid((pid_t)pid, NULL, 0); /* only gone */
		attack_try(r, pid, "clone with a new namespace");
	}
}

/* The kernel reads the lower half of the flags only: a filter that compares all
 * of the argument would see another number. */
static void clone_bits(const struct attack_ctx *ctx, struct attack_result *r)
{
	long pid = syscall(SYS_clone, 0x100000000L | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	(void)ctx;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, 0); /* only gone */
	attack_try(r, pid, "clone with upper bits");
}

static void clone3(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t args[8] = { [0] = CLONE_NEWUSER, [4] = SIGCHLD };
	long pid = syscall(NR_CLONE3, args, sizeof(args));

	(void)ctx;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, 0); /* only gone */
	attack_try(r, pid, "clone3 with a new user namespace");
}

static void enter(const struct attack_ctx *ctx, struct attack_result *r)
{
	char uts[64], mnt[64];
	const char *const names[] = { attack_init_file(ctx, "ns/uts", uts, sizeof(uts)),
				      attack_init_file(ctx, "ns/mnt", mnt, sizeof(mnt)),
				      "/proc/self/ns/uts", "/proc/self/ns/net" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = open(names[i], O_RDONLY | O_CLOEXEC);

		attack_try(r, fd < 0 ? -1 : syscall(SYS_setns, fd, 0), "setns");
		if (fd >= 0)
			(void)close(fd); /* only read */
	}
}

static void keyrings(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "keyctl: user keyring", SYS_keyctl, { 0, -4, 0 } },
	      { "keyctl: session keyring", SYS_keyctl, { 0, -3, 0 } },
	      { "add_key", SYS_add_key, { P("user"), P("immure-proof"), P("x"), 1, -2 } },
	      { "request_key", SYS_request_key, { P("user"), P("immure-proof"), 0, -2 } });
}

static void bpf(const struct attack_ctx *ctx, struct attack_result *r)
{
	static uint32_t map[32] = { 2 /* array */, 4, 4, 1 };

	CALLS({ "bpf: make a map", SYS_bpf, { 0, P(map), sizeof(map) } },
	      { "bpf: load a program", SYS_bpf, { 5, P(map), sizeof(map) } });
}

static void perf(const struct attack_ctx *ctx, struct attack_result *r)
{
	static uint64_t attr[16] = { [0] = 1 | (128UL << 32), [5] = 0x61 };

	CALLS({ "perf_event_open", SYS_perf_event_open, { P(attr), 0, -1, -1, 0 } });
}

static void userfault(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "userfaultfd", SYS_userfaultfd, { O_CLOEXEC } },
	      { "userfaultfd, user mode only", SYS_userfaultfd, { O_CLOEXEC | 1 } });
}

static void uring(const struct attack_ctx *ctx, struct attack_result *r)
{
	static uint32_t params[30];

	CALLS({ "io_uring_setup", NR_IO_URING_SETUP, { 1, P(params) } },
	      { "io_uring_enter", NR_IO_URING_ENTER, { -1, 1, 1, 0, 0, 0 } },
	      { "io_uring_register", NR_IO_URING_REGISTER, { -1, 0, 0, 0 } });
}

/* A terminal of our own: what is pushed into it would be read by a shell. */
static int own_terminal(void)
{
	char name[32];
	int number, zero = 0, master, fd;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &zero) < 0 ||
	    ioctl(master, TIOCGPTN, &number) < 0)
		return -1;
	(void)snprintf(name, sizeof(name), "/dev/pts/%d", number); /* fits */
	(void)setsid(); /* fails only when this already leads a session */
	fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		(void)ioctl(fd, TIOCSCTTY, 0); /* what follows is refused one way or another */
	return fd;
}

static void terminal(struct attack_result *r, unsigned long request)
{
	static const unsigned long upper[] = { 0, 0x100000000UL, 0xffffffff00000000UL };
	char c = 'x';
	int fd = own_terminal();

	/* Where none can be made: a filter refuses the request on anything, and whatever
	 * else would says ENOTTY. */
	if (fd < 0 && errno == EACCES)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		attack_error(r, "a terminal of its own: %s", strerror(errno));
		return;
	}
	for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++)
		attack_try(r, syscall(SYS_ioctl, fd, upper[i] | request, &c),
			   upper[i] ? "ioctl with upper bits" : "ioctl");
}

static void tiocsti(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	terminal(r, 0x5412);
}

static void tioclinux(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	terminal(r, 0x541c);
}

/* Each of these attaches a protocol's code to a plain connection. */
static void tcp_ulp(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const names[] = { "tls", "espintcp", "smc", "mptcp" };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)ctx;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		attack_try(r, fd < 0 ? -1 : setsockopt(fd, IPPROTO_TCP, 31, names[i],
						       (socklen_t)strlen(names[i])),
			   "setsockopt TCP_ULP");
}

/* All of these ask for the right first and look at the arguments then. */
static void clocks(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct timex tx = { .modes = ADJ_TICK, .tick = 1 };
	int zone[2] = { 0, 0 };

	/* The zone that it has already. */
	(void)syscall(SYS_gettimeofday, 0, zone); /* zero else */
	CALLS({ "settimeofday", SYS_settimeofday, { 0, P(zone) } },
	      { "adjtimex", SYS_adjtimex, { P(&tx) } },
	      { "clock_adjtime", SYS_clock_adjtime, { 0, P(&tx) } });
}

static void restart(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "reboot", SYS_reboot, { 0, 0, 0, 0 } },
	      { "kexec_load", SYS_kexec_load, { 0, 4096, 0, 0 } });
#ifdef SYS_kexec_file_load
	CALLS({ "kexec_file_load", SYS_kexec_file_load, { -1, -1, 0, 0, 0 } });
#endif
}

static void modules(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "init_module", SYS_init_module, { 0, 0, P("") } },
	      { "finit_module", SYS_finit_module, { -1, P(""), 0 } },
	      { "delete_module", SYS_delete_module, { P("immure_no_such"), O_NONBLOCK } });
}

static void swap(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "swapon", SYS_swapon, { P("/immure-no-such"), 0 } },
	      { "swapoff", SYS_swapoff, { P("/immure-no-such") } });
}

static void accounting(const struct attack_ctx *ctx, struct attack_result *r)
{
	static char buf[256];

	CALLS({ "acct", SYS_acct, { P("/immure-no-such") } },
	      { "quotactl", SYS_quotactl, { (long)0x80000700, P("/dev/null"), 0, P(buf) } });
}

static void kernel_log(const struct attack_ctx *ctx, struct attack_result *r)
{
	static char buf[64];

	CALLS({ "syslog: read all", SYS_syslog, { 3, P(buf), sizeof(buf) } },
	      { "syslog: size", SYS_syslog, { 10, 0, 0 } });
}

static void fanotify(const struct attack_ctx *ctx, struct attack_result *r)
{
	CALLS({ "fanotify_init", SYS_fanotify_init, { 0, O_RDONLY } },
	      { "fanotify_init, unprivileged", SYS_fanotify_init, { 0x200, O_RDONLY } });
}

static void ports(const struct attack_ctx *ctx, struct attack_result *r)
{
#ifdef SYS_iopl
	CALLS({ "iopl", SYS_iopl, { 3 } }, { "ioperm", SYS_ioperm, { 0x80, 1, 1 } });
#else
	(void)ctx;
	attack_unsupported(r, "no such call on this architecture");
#endif
}

static void names(const struct attack_ctx *ctx, struct attack_result *r)
{
	static char name[65];

	if (gethostname(name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	CALLS({ "sethostname", SYS_sethostname, { P(name), (long)strlen(name) } },
	      { "setdomainname", SYS_setdomainname, { P("(none)"), 6 } });
}

/* getppid and unshare by the x32 number. */
static void x32(const struct attack_ctx *ctx, struct attack_result *r)
{
#ifdef __x86_64__
	CALLS({ "getppid by the x32 table", 0x40000000 | SYS_getppid, { 0 } },
	      { "unshare by the x32 table", 0x40000000 | SYS_unshare, { CLONE_NEWUSER } },
	      { "ptrace by the x32 table", 0x40000000 | 521, { 0 } });
#else
	(void)ctx;
	attack_unsupported(r, "no second table of calls on this architecture");
#endif
}

/* getpid (20) by the gate of 32-bit programs: other numbers, same kernel. */
static void i386(const struct attack_ctx *ctx, struct attack_result *r)
{
#ifdef __x86_64__
	long ret = 20;

	(void)ctx;
	__asm__ volatile("int $0x80"
			 : "+a"(ret)
			 :
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
	if ((int)ret < 0)
		errno = -(int)ret;
	attack_try(r, (int)ret < 0 ? -1 : 0, "getpid by int 0x80");
#else
	(void)ctx;
	attack_unsupported(r, "no 32-bit gate on this architecture");
#endif
}

/* Landlock lets what no path leads to be executed. */
static void memory_program(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	attack_try(r, (int)syscall(SYS_memfd_create, "program", 1 /* MFD_CLOEXEC */), "memfd_create");
}

static const struct attack table[] = {
	{ "syscalls.mount", mount_new },
	{ "syscalls.mount-api", mount_api },
	{ "syscalls.unmount", unmount },
	{ "syscalls.pivot-root", pivot },
	{ "syscalls.unshare-user", unshare_user },
	{ "syscalls.unshare", unshare_others },
	{ "syscalls.clone", clone_user },
	{ "syscalls.clone-upper-bits", clone_bits },
	{ "syscalls.clone3", clone3 },
	{ "syscalls.setns", enter },
	{ "syscalls.keyrings", keyrings },
	{ "syscalls.bpf", bpf },
	{ "syscalls.perf", perf },
	{ "syscalls.userfaultfd", userfault },
	{ "syscalls.io-uring", uring },
	{ "syscalls.tiocsti", tiocsti },
	{ "syscalls.tioclinux", tioclinux },
	{ "syscalls.tcp-ulp", tcp_ulp },
	{ "syscalls.clocks", clocks },
	{ "syscalls.reboot", restart },
	{ "syscalls.modules", modules },
	{ "syscalls.swap", swap },
	{ "syscalls.accounting", accounting },
	{ "syscalls.kernel-log", kernel_log },
	{ "syscalls.fanotify", fanotify },
	{ "syscalls.io-ports", ports },
	{ "syscalls.names", names },
	{ "syscalls.x32", x32 },
	{ "syscalls.i386", i386 },
	{ "syscalls.memory-program", memory_program },
};
const struct attack_list attack_syscalls = { table, sizeof(table) / sizeof(table[0]) };
