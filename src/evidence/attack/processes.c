/* SPDX-License-Identifier: Apache-2.0 */
/* Processes outside, and the one inside that is less confined: init. */
#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* A numeric field of /proc/PID/stat; 0 when there is no such process to be seen. */
static uint64_t stat_field(long pid, int field)
{
	char path[64], text[1024];
	const char *p;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid); /* fits */
	if (attack_read_file(path, text, sizeof(text)) <= 0)
		return 0;
	p = strrchr(text, ')'); /* the end of field 2, which may hold anything */
	for (int i = 2; p && i < field; i++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

static uint64_t start_time(long pid)
{
	return stat_field(pid, 22);
}

/* "PID START" of the supervisor, as the host numbers it. A process of our own
 * may have that number; then its start tells them apart. */
static bool host_process(const struct attack_ctx *ctx, long *ret_pid, uint64_t *ret_start)
{
	const char *value = attack_first(ctx, "host-pid");

	if (!value)
		return false;
	*ret_pid = (long)attack_number(&value);
	*ret_start = attack_number(&value);
	return *ret_pid > 0;
}

/* Such a process of our own. Starts are told in hundredths of a second, and a session
 * may begin in the one in which its supervisor did; but neither we nor who waits for us,
 * nor init, which executed that one, is the supervisor. In a container that is process 1,
 * as init is in here. */
static bool is_ours(const struct attack_ctx *ctx, long pid, uint64_t start)
{
	uint64_t seen = start_time(pid);

	return seen != 0 && (seen != start || pid == getpid() || pid == getppid() || pid == ctx->init);
}

static void host_visible(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t start;
	char path[64];
	struct stat st;
	long pid;

	if (!host_process(ctx, &pid, &start)) {
		attack_unsupported(r, "no process of the host told");
		return;
	}
	(void)snprintf(path, sizeof(path), "/proc/%ld", pid); /* fits */
	if (stat(path, &st) < 0)
		attack_denied(r, errno, "the supervisor's %s: %s", path, strerror(errno));
	else if (is_ours(ctx, pid, start))
		attack_denied(r, ESRCH, "%s is a process of the session", path);
	else
		attack_done(r, "the supervisor is visible as %s", path);
}

static void host_signal(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t start;
	long pid, pidfd;

	if (!host_process(ctx, &pid, &start)) {
		attack_unsupported(r, "no process of the host told");
		return;
	}
	if (is_ours(ctx, pid, start)) {
		attack_denied(r, ESRCH, "that number is a process of the session");
		return;
	}
	attack_try(r, kill((pid_t)pid, 0), "kill the supervisor with signal 0");
	attack_try(r, syscall(SYS_tgkill, pid, pid, 0), "tgkill the supervisor with signal 0");
	if (pid > 1) /* else that means everybody */
		attack_try(r, kill((pid_t)-pid, 0), "kill the supervisor's group with signal 0");
	/* A descriptor of a process that can be seen is not yet a signal to it. */
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	attack_try(r, pidfd < 0 ? -1 : syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0),
		   "signal 0 to the supervisor by descriptor");
}

/* Everything in /proc must have been born in this namespace: pid 1 is the first
 * and the only one whose parent cannot be seen. */
static void listing(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t first = start_time(ctx->init);
	DIR *d = opendir("/proc");
	struct dirent *e;
	unsigned int n = 0;

	if (!d || !first) {
		attack_denied(r, errno, "list /proc: %s", strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		long pid = atol(e->d_name);
		uint64_t t = pid > 0 ? start_time(pid) : 0;

		n += pid > 0;
		if (pid > 0 && t && t < first)
			attack_done(r, "process %ld is older than the session's init", pid);
		else if (pid != ctx->init && t && stat_field(pid, 4) == 0)
			attack_done(r, "process %ld has a parent outside", pid);
	}
	(void)closedir(d); /* only read */
	attack_denied(r, 0, "%u processes listed, none older than init", n);
}

/* "NAME INODE": each namespace that the plan gives must be another than the host's. */
static void namespaces(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value;
	size_t i = 0;

	while ((value = attack_next(ctx, "ns", &i))) {
		char path[64], name[16];
		const char *rest = strchr(value, ' ');
		uint64_t host;
		struct stat st;

		if (!rest || (size_t)(rest - value) >= sizeof(name))
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)(rest - value), value);
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", name); /* fits */
		rest++;
		host = attack_number(&rest);
		if (stat(path, &st) < 0)
			attack_error(r, "%s: %s", path, strerror(errno));
		else if (st.st_ino == host)
			attack_done(r, "the %s namespace is the host's", name);
		else
			attack_denied(r, 0, "every namespace of the plan differs from the host's");
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no namespace told");
}

static void parent(const struct attack_ctx *ctx, struct attack_result *r)
{
	char path[64], text[4096];
	const char *tracer, *ns;

	if (attack_read_file(attack_init_file(ctx, "status", path, sizeof(path)), text, sizeof(text)) < 0) {
		attack_denied(r, errno, "init's status: %s", strerror(errno));
		return;
	}
	ns = attack_field(text, "PPid");
	tracer = attack_field(text, "TracerPid");
	if (!ns || atol(ns) != 0)
		attack_done(r, "init has a visible parent");
	else if (tracer && atol(tracer) != 0)
		attack_done(r, "init is traced by a visible process");
	else
		attack_denied(r, 0, "init's parent is outside and not visible");
}

/* Not even the kill that nobody can ignore. That this is reported at all shows
 * that init survived: its end would have been ours. */
static void kill_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const int signals[] = { SIGKILL, SIGSTOP };
	char path[64], text[4096];
	const char *state;

	if (attack_first(ctx, "signals-reach")) {
		attack_try(r, kill((pid_t)ctx->init, 0), "kill init with signal 0");
		return;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (kill((pid_t)ctx->init, signals[i]) < 0)
			attack_try(r, -1, "kill init");
	if (attack_read_file(attack_init_file(ctx, "status", path, sizeof(path)), text, sizeof(text)) < 0) {
		attack_error(r, "init's status: %s", strerror(errno));
		return;
	}
	state = attack_field(text, "State");
	if (!state || *state == 'T' || *state == 'Z' || *state == 'X')
		attack_done(r, "init is in state %.10s", state ? state : "?");
	else
		attack_denied(r, 0, "init is alive after SIGKILL and SIGSTOP");
}

static void everyone(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	/* Signal 0 to all that we may signal: nobody but what we made is there. */
	if (kill(-1, 0) < 0)
		attack_try(r, -1, "kill(-1, 0)");
	else
		attack_denied(r, 0, "kill(-1, 0) reaches processes of the session only");
}

static void ptrace_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	attack_try(r, ptrace(PTRACE_SEIZE, (pid_t)ctx->init, NULL, NULL), "ptrace init (seize)");
	attack_try(r, ptrace(PTRACE_ATTACH, (pid_t)ctx->init, NULL, NULL), "ptrace init (attach)");
}

static void memory_of_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	char byte, path[64];
	struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x10000, 1 };

	attack_try(r, process_vm_readv((pid_t)ctx->init, &here, 1, &there, 1, 0), "process_vm_readv init");
	attack_try(r, process_vm_writev((pid_t)ctx->init, &here, 1, &there, 1, 0), "process_vm_writev init");
	attack_try(r, open(attack_init_file(ctx, "mem", path, sizeof(path)), O_RDWR | O_CLOEXEC),
		   "open init's memory");
}

static void descriptors_of_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	long pidfd = syscall(SYS_pidfd_open, ctx->init, 0);

	if (pidfd < 0) {
		attack_try(r, -1, "pidfd_open init");
		return;
	}
	for (long fd = 0; fd < 8; fd++)
		attack_try(r, syscall(SYS_pidfd_getfd, pidfd, fd, 0), "pidfd_getfd from init");
}

static void advise_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	long pidfd = syscall(SYS_pidfd_open, ctx->init, 0);
	struct iovec iov = { (void *)(uintptr_t)0x10000, 4096 };

	attack_try(r, pidfd < 0 ? -1 : syscall(SYS_process_madvise, pidfd, &iov, 1, 20, 0),
		   "process_madvise init");
#ifdef SYS_kcmp
	attack_try(r, syscall(SYS_kcmp, getpid(), ctx->init, 1, 0, 0), "kcmp init");
#endif
}

static const struct attack table[] = {
	{ "process_visibility.host", host_visible },
	{ "process_visibility.listing", listing },
	{ "process_visibility.namespaces", namespaces },
	{ "process_visibility.parent", parent },
	{ "process_visibility.ptrace-init", ptrace_init },
	{ "process_visibility.memory-of-init", memory_of_init },
	{ "process_visibility.descriptors-of-init", descriptors_of_init },
	{ "process_visibility.compare-init", advise_init },
	{ "signals.host", host_signal },
	{ "signals.init", kill_init },
	{ "signals.everyone", everyone },
};
const struct attack_list attack_processes = { table, sizeof(table) / sizeof(table[0]) };
