// SPDX-License-Identifier: Apache-2.0
/* Against another process: argument 0 is its pid. Tags: "signal" where the
 * kernel answers "sent" for pid 1 of a namespace although nothing arrives,
 * "cred" where equal user ids alone decide. */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t victim(char **a)
{
	return (pid_t)atoi(a[0]);
}

static int proc_open(char **a, const char *file, int flags)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%s/%s", a[0], file);
	return open(name, flags);
}

static int act_kill(char **a)
{
	return verdict(kill(victim(a), SIGTERM));
}

static int act_tgkill(char **a)
{
	return verdict(syscall(SYS_tgkill, victim(a), victim(a), SIGTERM));
}

static int act_tkill(char **a)
{
	return verdict(syscall(SYS_tkill, victim(a), SIGTERM));
}

static int act_sigqueue(char **a)
{
	return verdict(sigqueue(victim(a), SIGTERM, (union sigval){0}));
}

static int act_kill_group(char **a)
{
	return verdict(kill(-victim(a), SIGTERM));
}

static int act_pidfd_signal(char **a)
{
	int fd = (int)syscall(SYS_pidfd_open, victim(a), 0);

	if (fd < 0)
		return denied(errno);
	return verdict(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
}

static int act_setown(char **a)
{
	int ends[2];

	if (pipe(ends) < 0)
		return broken("pipe");
	return verdict(fcntl(ends[0], F_SETOWN, victim(a)));
}

static int act_attach(char **a)
{
	return verdict(ptrace(PTRACE_ATTACH, victim(a), 0, 0));
}

static int act_seize(char **a)
{
	return verdict(ptrace(PTRACE_SEIZE, victim(a), 0, 0));
}

/* The victim's stack is unknown; its answer about a bad address tells. */
static int vm_reached(long rc)
{
	if (rc < 0 && (errno == EPERM || errno == ESRCH || errno == ENOSYS || errno == EACCES))
		return denied(errno);
	return done("reached");
}

static int act_vm_readv(char **a)
{
	char byte;
	struct iovec local = {&byte, 1}, remote = {(void *)16, 1};

	return vm_reached(process_vm_readv(victim(a), &local, 1, &remote, 1, 0));
}

static int act_vm_writev(char **a)
{
	char byte = 0;
	struct iovec local = {&byte, 1}, remote = {(void *)16, 1};

	return vm_reached(process_vm_writev(victim(a), &local, 1, &remote, 1, 0));
}

static int act_madvise(char **a)
{
	int fd = (int)syscall(SYS_pidfd_open, victim(a), 0);
	struct iovec range = {(void *)4096, 4096};

	if (fd < 0)
		return denied(errno);
	return vm_reached(syscall(SYS_process_madvise, fd, &range, 1, 21, 0));
}

static int act_mem(char **a)
{
	return verdict(proc_open(a, "mem", O_RDWR));
}

static int read_proc(char **a, const char *file)
{
	char name[64], buf[4096];
	size_t len = 0;
	int rc;

	snprintf(name, sizeof(name), "/proc/%s/%s", a[0], file);
	rc = slurp(name, buf, sizeof(buf), &len);
	if (rc < 0)
		return denied(-rc);
	return len ? done("%zu bytes", len) : denied(ENODATA);
}

static int act_environ(char **a)
{
	return read_proc(a, "environ");
}

static int act_maps(char **a)
{
	return read_proc(a, "maps");
}

static int act_auxv(char **a)
{
	return read_proc(a, "auxv");
}

static int act_io(char **a)
{
	return read_proc(a, "io");
}

/* The numbers are no secret; what they lead to is. */
static int act_fds(char **a)
{
	char name[64], text[256];
	int found = 0;

	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "/proc/%s/fd/%d", a[0], i);
		if (readlink(name, text, sizeof(text)) >= 0)
			return done("descriptor %d", i);
		found = errno;
	}
	return denied(found);
}

static int act_root(char **a)
{
	return verdict(proc_open(a, "root/", O_RDONLY | O_DIRECTORY));
}

static int act_cwd(char **a)
{
	return verdict(proc_open(a, "cwd/", O_RDONLY | O_DIRECTORY));
}

/* The way into a runtime's binary: its own link to it. */
static int act_exe(char **a)
{
	return verdict(proc_open(a, "exe", O_RDONLY));
}

static int act_getfd(char **a)
{
	int fd = (int)syscall(SYS_pidfd_open, victim(a), 0);

	if (fd < 0)
		return denied(errno);
	return verdict(syscall(SYS_pidfd_getfd, fd, 0, 0));
}

static int act_kcmp(char **a)
{
	return verdict(syscall(SYS_kcmp, getpid(), victim(a), 1, 0, 0));
}

static int act_ns(char **a)
{
	int fd = proc_open(a, "ns/mnt", O_RDONLY);

	if (fd < 0)
		return denied(errno);
	return verdict(fd);
}

static int act_setns(char **a)
{
	int fd = (int)syscall(SYS_pidfd_open, victim(a), 0);

	if (fd < 0)
		return denied(errno);
	return verdict(setns(fd, CLONE_NEWUTS));
}

static int act_affinity(char **a)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return verdict(sched_setaffinity(victim(a), sizeof(set), &set));
}

static int act_priority(char **a)
{
	return verdict(setpriority(PRIO_PROCESS, (id_t)victim(a), 19));
}

static int act_prlimit(char **a)
{
	struct rlimit limit = {4, 4};

	return verdict(prlimit(victim(a), RLIMIT_NOFILE, &limit, NULL));
}

static int act_ioprio(char **a)
{
	return verdict(syscall(SYS_ioprio_set, 1, victim(a), (3 << 13)));
}

static int act_move_pages(char **a)
{
	return verdict(syscall(SYS_move_pages, victim(a), 0, NULL, NULL, NULL, 0));
}

/* Argument 0 is a word in the victim's command line. */
static int act_find(char **a)
{
	DIR *dir = opendir("/proc");
	char name[300], buf[4096];
	struct dirent *entry;
	size_t len;

	while (dir && (entry = readdir(dir))) {
		snprintf(name, sizeof(name), "/proc/%s/cmdline", entry->d_name);
		if (atoi(entry->d_name) <= 0 || atoi(entry->d_name) == getpid() ||
		    atoi(entry->d_name) == getppid() || slurp(name, buf, sizeof(buf), &len) < 0)
			continue;
		/* The word is also in our own ancestors' command lines. */
		if (memmem(buf, len, a[0], strlen(a[0])) && !memmem(buf, len, "process.find", 12))
			return done("pid %s", entry->d_name);
	}
	return denied(ESRCH);
}

static const struct attack attacks[] = {
	{"kill", "signal", act_kill},
	{"tgkill", "signal", act_tgkill},
	{"tkill", "signal", act_tkill},
	{"sigqueue", "signal", act_sigqueue},
	{"kill_group", "signal", act_kill_group},
	{"pidfd_signal", "signal", act_pidfd_signal},
	{"setown", "signal", act_setown},
	{"attach", "any", act_attach},
	{"seize", "any", act_seize},
	{"vm_readv", "any", act_vm_readv},
	{"vm_writev", "any", act_vm_writev},
	{"madvise", "any", act_madvise},
	{"mem", "any", act_mem},
	{"environ", "any", act_environ},
	{"maps", "any", act_maps},
	{"auxv", "any", act_auxv},
	{"io", "any", act_io},
	{"fds", "any", act_fds},
	{"root", "any", act_root},
	{"cwd", "any", act_cwd},
	{"exe", "any", act_exe},
	{"getfd", "any", act_getfd},
	{"kcmp", "any", act_kcmp},
	{"ns", "any", act_ns},
	{"setns", "caps", act_setns},
	{"affinity", "cred", act_affinity},
	{"priority", "cred", act_priority},
	{"prlimit", "cred", act_prlimit},
	{"ioprio", "cred", act_ioprio},
	{"move_pages", "cred", act_move_pages},
	{"find", "visible", act_find},
};
FAMILY(process, attacks);
