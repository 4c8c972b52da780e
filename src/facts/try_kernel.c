/* SPDX-License-Identifier: Apache-2.0 */
/* System calls and gates that need no namespace. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"
#include "kernel/landlock.h"
#include "kernel/notify.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define KVM_GET_API_VERSION _IO(0xAE, 0x00)
#define KVM_CREATE_VM       _IO(0xAE, 0x01)

void immure_try_clone3(const struct immure_facts *f, struct immure_outcome *o)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	siginfo_t info = { 0 };
	long pid;

	(void)f;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return immure_probe_no(o, "clone3");
	if (pid == 0)
		_exit(7);
	if (waitid(3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED) < 0 || info.si_status != 7)
		return immure_probe_no(o, "waitid on a pidfd");
	o->ok = IMMURE_YES;
}

void immure_try_pidfd(const struct immure_facts *f, struct immure_outcome *o)
{
	IMMURE_CLEANUP_FD int self = -1;

	(void)f;
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		return immure_probe_no(o, "pidfd_open");
	if (syscall(SYS_pidfd_send_signal, self, 0, NULL, 0) < 0)
		return immure_probe_no(o, "pidfd_send_signal");
	o->ok = IMMURE_YES;
}

/* A child that comes with its pidfd, by the newer call or the older one: what every
 * launch starts with. */
void immure_try_child_pidfd(const struct immure_facts *f, struct immure_outcome *o)
{
	int pidfd = -1, status = 0, pid = immure_child_start(&pidfd);

	(void)f;
	if (pid == 0)
		_exit(0);
	if (pid < 0) {
		errno = -pid;
		return immure_probe_no(o, "clone");
	}
	o->ok = pidfd >= 0 ? IMMURE_YES : IMMURE_NO;
	o->errnum = pidfd >= 0 ? 0 : EINVAL;
	o->step = "clone with CLONE_PIDFD";
	(void)immure_child_wait(pid, &pidfd, 1000, &status); /* it ends by itself */
}

void immure_try_close_range(const struct immure_facts *f, struct immure_outcome *o)
{
	(void)f;
	if (syscall(SYS_close_range, 1U << 20, ~0U, 4U /* CLOEXEC */) < 0)
		return immure_probe_no(o, "close_range");
	o->ok = IMMURE_YES;
}

void immure_try_openat2(const struct immure_facts *f, struct immure_outcome *o)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	IMMURE_CLEANUP_FD int fd = -1;

	(void)f;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	if (fd < 0)
		return immure_probe_no(o, "openat2");
	o->ok = IMMURE_YES;
}

/* A filter that treats one call (any ABI's number of it will do: this process
 * makes no foreign calls) and lets everything else pass. */
static int load_filter(unsigned int nr, uint32_t action, unsigned long flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	long r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	return r < 0 ? -errno : (int)r;
}

void immure_try_seccomp(const struct immure_facts *f, struct immure_outcome *o)
{
	const char *missing = "action";

	(void)f;
	if (immure_probe_seccomp(&missing) != IMMURE_YES) {
		errno = EOPNOTSUPP;
		return immure_probe_no(o, missing);
	}
	errno = -load_filter(SYS_getpriority, SECCOMP_RET_ERRNO | 91, 0);
	if (errno)
		return immure_probe_no(o, "load a filter");
	errno = 0;
	if (syscall(SYS_getpriority, PRIO_PROCESS, 0) != -1 || errno != 91)
		return immure_probe_no(o, "obey the filter");
	o->ok = IMMURE_YES;
}

/* The caller: a number in its memory, a descriptor of it, and a new one in return. */
__attribute__((noreturn)) static void ask_for_one(const int pipe_fd[2])
{
	static const int word = 42;
	long fd = syscall(SYS_getpriority, pipe_fd[0], &word);
	char c = 0;

	_exit(fd >= 0 && read((int)fd, &c, 1) == 1 && c == 'x' ? word : 1);
}

/* All that names without a namespace rest on: a call of a child received, its memory
 * read, its descriptor taken, another one given to it. */
static const char *answer_call(int listener)
{
	struct immure_notice n;
	IMMURE_CLEANUP_FD int fd = -1;
	int word = 0;

	errno = immure_notify_receive(listener, &n) == 1 ? 0 : EPROTO;
	if (errno)
		return "receive a notification";
	errno = -immure_notify_read(&n, n.args[1], &word, sizeof(word));
	if (errno || word != 42)
		return "read the caller's memory";
	fd = immure_notify_take_fd(&n, (int)n.args[0]);
	errno = fd < 0 ? -fd : 0;
	if (errno)
		return "take the caller's descriptor (pidfd_getfd)";
	errno = -immure_notify_answer_fd(listener, n.id, fd, true);
	return errno ? "answer with a descriptor (Linux 5.14)" : NULL;
}

static void answer_one(int listener, struct immure_outcome *o)
{
	int pid, pidfd = -1, status = 0, pipe_fd[2];
	const char *what;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0 || write(pipe_fd[1], "x", 1) != 1)
		return immure_probe_no(o, "pipe");
	pid = immure_child_start(&pidfd);
	if (pid == 0)
		ask_for_one(pipe_fd);
	errno = pid < 0 ? -pid : 0;
	if (errno)
		return immure_probe_no(o, "fork");
	what = answer_call(listener); /* else the child waits until we end */
	if (what)
		return immure_probe_no(o, what);
	errno = -immure_child_wait(pid, &pidfd, 1000, &status);
	if (errno || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
		return immure_probe_no(o, "answered call");
	o->ok = IMMURE_YES;
}

void immure_try_notify(const struct immure_facts *f, struct immure_outcome *o)
{
	IMMURE_CLEANUP_FD int listener = -1;

	(void)f;
	o->value = 1; /* killable wait */
	listener = load_filter(SYS_getpriority, SECCOMP_RET_USER_NOTIF,
			       SECCOMP_FILTER_FLAG_NEW_LISTENER |
				       SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	if (listener == -EINVAL) { /* before Linux 5.19 */
		o->value = 0;
		listener = load_filter(SYS_getpriority, SECCOMP_RET_USER_NOTIF,
				       SECCOMP_FILTER_FLAG_NEW_LISTENER);
	}
	if (listener < 0) {
		errno = -listener;
		return immure_probe_no(o, "load a notifying filter");
	}
	answer_one(listener, o);
}

/* value: ABI in the low half, errata in the high one. */
void immure_try_landlock(const struct immure_facts *f, struct immure_outcome *o)
{
	IMMURE_CLEANUP_FD int rules = -1, fd = -1;
	int abi = immure_landlock_abi();

	(void)f;
	errno = abi < 0 ? -abi : 0;
	if (errno)
		return immure_probe_no(o, "ask for the ABI");
	o->value = (uint64_t)abi | (uint64_t)immure_landlock_errata() << 32;
	rules = immure_landlock_create(immure_landlock_fs_rights(abi),
				       immure_landlock_net_rights(abi),
				       immure_landlock_scopes(abi));
	errno = rules < 0 ? -rules : 0;
	if (errno)
		return immure_probe_no(o, "create a ruleset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return immure_probe_no(o, "no_new_privs");
	errno = -immure_landlock_restrict(rules, 0);
	if (errno)
		return immure_probe_no(o, "restrict");
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES)
		return immure_probe_no(o, "deny");
	o->ok = IMMURE_YES;
}

void immure_try_kvm(const struct immure_facts *f, struct immure_outcome *o)
{
	IMMURE_CLEANUP_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	IMMURE_CLEANUP_FD int vm = -1;
	int version;

	(void)f;
	if (fd < 0)
		return immure_probe_no(o, "open /dev/kvm");
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != 12) {
		errno = version < 0 ? errno : EPROTO;
		return immure_probe_no(o, "KVM API version");
	}
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	if (vm < 0)
		return immure_probe_no(o, "create a VM");
	o->ok = IMMURE_YES;
}
