// SPDX-License-Identifier: Apache-2.0
/*
 * without WHAT[,WHAT...] -- COMMAND...
 *
 * Runs a command on a poorer host: "cgroup" makes every cgroup hierarchy
 * read-only in a mount namespace of its own, "userns" refuses new user
 * namespaces, and the name of a newer system call makes it answer
 * ENOSYS, as an older kernel would. The command and what it starts inherit it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *name;
	int nr;
} calls[] = {
	{"clone3", SYS_clone3},
	{"openat2", SYS_openat2},
	{"pidfd_open", SYS_pidfd_open},
	{"pidfd_send_signal", SYS_pidfd_send_signal},
	{"pidfd_getfd", 438},
	{"close_range", 436},
	{"open_tree", SYS_open_tree},
	{"open_tree_attr", 467},
	{"move_mount", SYS_move_mount},
	{"fsopen", SYS_fsopen},
	{"fsconfig", SYS_fsconfig},
	{"fsmount", SYS_fsmount},
	{"mount_setattr", 442},
	{"faccessat2", 439},
	{"epoll_pwait2", 441},
	{"fchmodat2", 452},
	{"statx", SYS_statx},
	{"statmount", 457},
	{"listmount", 458},
	{"memfd_create", SYS_memfd_create},
	{"execveat", SYS_execveat},
	{"landlock_create_ruleset", 444},
	{"landlock_add_rule", 445},
	{"landlock_restrict_self", 446},
	{"seccomp", SYS_seccomp},
};

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

enum { PROGRAM_MAX = 128 };

static struct sock_filter program[PROGRAM_MAX];
static unsigned short program_n;

static void die(const char *what)
{
	fprintf(stderr, "without: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void emit(uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (program_n == PROGRAM_MAX)
		exit(99);
	program[program_n++] = (struct sock_filter){code, jt, jf, k};
}

static void emit_errno(int nr, int errnum)
{
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)nr);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | (uint32_t)errnum);
}

static void emit_no_userns(int nr)
{
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)nr);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args[0]));
	emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_NEWUSER);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
}

static void without_cgroup(void)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char text[64];
	int fd;

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0)
		die("unshare");
	if (uid != 0) {
		snprintf(text, sizeof(text), "%d %d 1\n", (int)uid, (int)uid);
		fd = open("/proc/self/uid_map", O_WRONLY);
		if (fd < 0 || write(fd, text, strlen(text)) < 0)
			die("uid_map");
		close(fd);
		fd = open("/proc/self/setgroups", O_WRONLY);
		if (fd < 0 || write(fd, "deny", 4) < 0)
			die("setgroups");
		close(fd);
		snprintf(text, sizeof(text), "%d %d 1\n", (int)gid, (int)gid);
		fd = open("/proc/self/gid_map", O_WRONLY);
		if (fd < 0 || write(fd, text, strlen(text)) < 0)
			die("gid_map");
		close(fd);
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("private mounts");
	if (syscall(442, AT_FDCWD, "/sys/fs/cgroup", 0x8000 /* AT_RECURSIVE */, &ro, sizeof(ro)) < 0)
		die("/sys/fs/cgroup");
}

static void without_call(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(name, calls[i].name) == 0) {
			emit_errno(calls[i].nr, ENOSYS);
			return;
		}
	fprintf(stderr, "without: %s?\n", name);
	exit(99);
}

int main(int argc, char **argv)
{
	struct sock_fprog prog = {.filter = program};
	char *word, *save;

	if (argc < 4 || strcmp(argv[2], "--") != 0) {
		fputs("usage: without WHAT[,WHAT...] -- COMMAND...\n", stderr);
		return 99;
	}
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	for (word = strtok_r(argv[1], ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (strcmp(word, "cgroup") == 0) {
			without_cgroup();
		} else if (strcmp(word, "userns") == 0) {
			emit_errno(SYS_clone3, ENOSYS);
			emit_no_userns(SYS_unshare);
			emit_no_userns(SYS_clone);
		} else {
			without_call(word);
		}
	}
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	prog.len = program_n;
	if (program_n > 5 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
			die("seccomp");
	}
	execvp(argv[3], argv + 3);
	die(argv[3]);
}
