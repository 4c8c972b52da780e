// SPDX-License-Identifier: Apache-2.0
/*
 * without WHAT[,WHAT...] -- COMMAND...
 *
 * Runs a command on a poorer host: "cgroup" makes every cgroup hierarchy
 * read-only in a mount namespace of its own, "userns" refuses new user
 * namespaces, and the name of a newer system call makes it answer
 * ENOSYS, as an older kernel would. The command and what it starts inherit it.
 *
 * "mounts": no mount call, old or new, works (EPERM), as in a container.
 * "caps": user namespaces can be made, and what their capabilities should permit
 *   cannot be done, as under Ubuntu's AppArmor.
 * "slave": propagation cannot be changed by mount(2) (EACCES).
 * "pidfd": no pidfd of any kind. "wait_killable": notifications without that flag;
 * "notify": none at all.
 * "landlock=N": Landlock says that its ABI is N. The program stays then, to answer.
 * "nftables": no netlink socket of netfilter, as where the module is not loaded.
 * "proc_sys": /proc/sys is read-only, as in a container.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *name;
	int nr;
} calls[] = {
	{"clone3", SYS_clone3},
	{"setns", SYS_setns},
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
	{"cachestat", 451},
	{"fchmodat2", 452},
	{"mseal", 462},
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

static void own_mounts(void)
{
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
}

static void without_cgroup(void)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	own_mounts();
	if (syscall(442, AT_FDCWD, "/sys/fs/cgroup", 0x8000 /* AT_RECURSIVE */, &ro, sizeof(ro)) < 0)
		die("/sys/fs/cgroup");
}

static void without_proc_sys(void)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	own_mounts();
	/* Another one that is whole, or the kernel lets nobody have a fresh one. */
	if (mount("proc", "/mnt", "proc", 0, NULL) < 0 ||
	    mount("/proc/sys", "/proc/sys", NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    syscall(442, AT_FDCWD, "/proc/sys", 0x8000 /* AT_RECURSIVE */, &ro, sizeof(ro)) < 0)
		die("/proc/sys");
}

static void without_nftables(void)
{
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, SYS_socket);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args));
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AF_NETLINK);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 16);
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 12 /* NETLINK_NETFILTER */);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPROTONOSUPPORT);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
}

static void without_mounts(void)
{
	static const int nrs[] = { SYS_mount, SYS_umount2, SYS_pivot_root, SYS_open_tree, SYS_fsopen,
				   SYS_fsmount, SYS_fsconfig, SYS_move_mount, 442 };

	for (size_t i = 0; i < sizeof(nrs) / sizeof(nrs[0]); i++)
		emit_errno(nrs[i], EPERM);
}

/* errno when any of bits is in the low half of an argument */
static void emit_bits(int nr, unsigned int arg, uint32_t bits, int errnum)
{
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)nr);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 8 * arg);
	emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | (uint32_t)errnum);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
}

static void without_caps(void)
{
	without_mounts();
	emit_errno(SYS_sethostname, EPERM);
	/* Namespaces that are owned by the new one cannot be made either. */
	emit_bits(SYS_unshare, 0, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC |
		  CLONE_NEWUTS | 0x02000000, EPERM);
}

static void without_pidfd(void)
{
	emit_errno(SYS_pidfd_open, ENOSYS);
	emit_errno(SYS_pidfd_send_signal, ENOSYS);
	emit_errno(438, ENOSYS);
	emit_errno(SYS_clone3, ENOSYS);
	emit_bits(SYS_clone, 0, 0x1000 /* CLONE_PIDFD */, EINVAL);
}

static int landlock_abi; /* to be pretended, 0 = none */

/* landlock_create_ruleset(..., LANDLOCK_CREATE_RULESET_VERSION) is answered by us. */
static void pretend_landlock(int abi)
{
	landlock_abi = abi;
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, 444);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 16);
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 1);
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF);
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
}

/* The child goes on to the command; the parent answers until it has ended. */
static void stay_and_answer(struct sock_fprog *prog)
{
	int pair[2], back[2], status, listener;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			die("prctl");
		listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
					SECCOMP_FILTER_FLAG_NEW_LISTENER, prog);
		if (listener < 0 || write(pair[1], &listener, sizeof(listener)) < 0)
			die("listener");
		close(back[1]);
		(void)!read(back[0], &status, 1); /* until the parent has its copy */
		return;
	}
	close(pair[1]);
	close(back[0]);
	if (read(pair[0], &listener, sizeof(listener)) != sizeof(listener))
		exit(99);
	status = (int)syscall(SYS_pidfd_open, pid, 0);
	listener = (int)syscall(438, status, listener, 0); /* pidfd_getfd */
	if (listener < 0)
		die("pidfd_getfd");
	close(back[1]);
	for (;;) {
		struct pollfd p[2] = { { listener, POLLIN, 0 }, { status, POLLIN, 0 } };
		struct seccomp_notif n = { 0 };
		struct seccomp_notif_resp r = { 0 };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			break;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
			continue;
		r.id = n.id;
		r.val = landlock_abi;
		(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
	}
	if (waitpid(pid, &status, 0) < 0)
		die("wait");
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
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
		} else if (strcmp(word, "mounts") == 0) {
			without_mounts();
		} else if (strcmp(word, "caps") == 0) {
			without_caps();
		} else if (strcmp(word, "slave") == 0) {
			emit_bits(SYS_mount, 3, MS_SLAVE | MS_PRIVATE | MS_SHARED | MS_UNBINDABLE, EACCES);
		} else if (strcmp(word, "nftables") == 0) {
			without_nftables();
		} else if (strcmp(word, "proc_sys") == 0) {
			without_proc_sys();
		} else if (strcmp(word, "pidfd") == 0) {
			without_pidfd();
		} else if (strcmp(word, "wait_killable") == 0) {
			emit_bits(SYS_seccomp, 1, 1U << 5, EINVAL);
		} else if (strcmp(word, "notify") == 0) {
			emit_bits(SYS_seccomp, 1, 1U << 3, ENOSYS);
		} else if (strncmp(word, "landlock=", 9) == 0) {
			pretend_landlock(atoi(word + 9));
		} else {
			without_call(word);
		}
	}
	emit(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	prog.len = program_n;
	if (landlock_abi)
		stay_and_answer(&prog);
	else if (program_n > 5 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
			die("seccomp");
	}
	execvp(argv[3], argv + 3);
	die(argv[3]);
}
