/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: read back, raised, exceeded; and the way out of the cgroup. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOMB_MAX 1025
#define STACK_BYTES 4096

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{ "as", RLIMIT_AS },           { "core", RLIMIT_CORE },     { "cpu", RLIMIT_CPU },
	{ "data", RLIMIT_DATA },       { "fsize", RLIMIT_FSIZE },   { "memlock", RLIMIT_MEMLOCK },
	{ "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },   { "nofile", RLIMIT_NOFILE },
	{ "nproc", RLIMIT_NPROC },     { "rss", RLIMIT_RSS },       { "rtprio", RLIMIT_RTPRIO },
	{ "rttime", 15 /* RLIMIT_RTTIME */ }, { "sigpending", 11 /* RLIMIT_SIGPENDING */ },
	{ "stack", RLIMIT_STACK },
};

static int resource_of(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strlen(limits[i].name) == len && strncmp(limits[i].name, name, len) == 0)
			return limits[i].resource;
	return -1;
}

/* "NAME VALUE". */
static bool next_limit(const struct attack_ctx *ctx, size_t *i, const char **ret_name,
		       int *ret_resource, uint64_t *ret_value)
{
	const char *value = attack_next(ctx, "rlimit", i), *rest;

	if (!value)
		return false;
	rest = strchr(value, ' ');
	*ret_name = value;
	*ret_resource = rest ? resource_of(value, (size_t)(rest - value)) : -1;
	rest = rest ? rest + 1 : "";
	*ret_value = attack_number(&rest);
	return true;
}

static void limits_read(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *name;
	uint64_t value;
	size_t i = 0;
	int resource;

	while (next_limit(ctx, &i, &name, &resource, &value)) {
		struct rlimit l;

		if (resource < 0 || getrlimit(resource, &l) < 0)
			attack_error(r, "limit %.30s: not known here", name);
		else if (l.rlim_cur > value ||
			 l.rlim_max > value + (resource == RLIMIT_CPU)) /* SIGXCPU, then SIGKILL */
			attack_done(r, "limit %.30s is higher: %llu, %llu", name,
				    (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
		else
			attack_denied(r, 0, "every limit of the plan is in force");
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such limit");
}

static void limits_raise(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *name;
	uint64_t value;
	size_t i = 0;
	int resource;

	while (next_limit(ctx, &i, &name, &resource, &value)) {
		struct rlimit l;

		if (resource < 0 || getrlimit(resource, &l) < 0 || l.rlim_max == RLIM_INFINITY) {
			attack_done(r, "limit %.30s has no bound", name);
			continue;
		}
		l.rlim_max++;
		attack_try(r, setrlimit(resource, &l), "raise a hard limit");
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no such limit");
}

static bool limit_of(const struct attack_ctx *ctx, const char *want, uint64_t *ret)
{
	const char *name;
	size_t i = 0;
	int resource;

	while (next_limit(ctx, &i, &name, &resource, ret))
		if (resource == resource_of(want, strlen(want)))
			return true;
	return false;
}

static void open_files(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t limit;

	if (!limit_of(ctx, "nofile", &limit)) {
		attack_unsupported(r, "no limit of open files");
		return;
	}
	/* The highest number is what the limit bounds. */
	attack_try(r, fcntl(2, F_DUPFD_CLOEXEC, (int)limit), "a descriptor above the limit");
	attack_try(r, dup3(2, (int)limit, O_CLOEXEC), "dup3 above the limit");
}

static void file_size(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir = attack_first(ctx, "tmp");
	char path[4096];
	uint64_t limit;
	int fd;

	if (!limit_of(ctx, "fsize", &limit) || !dir) {
		attack_unsupported(r, "no limit of a file's size, or no place to try it");
		return;
	}
	(void)signal(SIGXFSZ, SIG_IGN); /* then it is an error */
	attack_name(path, sizeof(path), dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		attack_error(r, "create in %s: %s", dir, strerror(errno));
		return;
	}
	(void)unlink(path);
	attack_try(r, pwrite(fd, "x", 1, (off_t)limit), "write beyond the limit");
	attack_try(r, ftruncate(fd, (off_t)limit + 1), "grow beyond the limit");
}

static void address_space(const struct attack_ctx *ctx, struct attack_result *r)
{
	uint64_t limit;
	void *p;

	if (!limit_of(ctx, "as", &limit)) {
		attack_unsupported(r, "no limit of the address space");
		return;
	}
	p = mmap(NULL, (size_t)limit, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	attack_try(r, p == MAP_FAILED ? -1 : 0, "map as much as the limit at once");
}

/* A crash must not start the host's handler, which would run outside and as
 * root. The kernel leaves it out for a limit of exactly one byte. */
static void core_dumps(const struct attack_ctx *ctx, struct attack_result *r)
{
	char pattern[256];
	struct rlimit l;

	(void)ctx;
	if (getrlimit(RLIMIT_CORE, &l) < 0)
		attack_error(r, "getrlimit: %s", strerror(errno));
	else if (l.rlim_cur > 1 || l.rlim_max > 1)
		attack_done(r, "core files are permitted");
	else if (l.rlim_cur == 1)
		attack_denied(r, 0, "no core file, and no handler is started");
	else if (attack_read_file("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern)) < 0)
		attack_denied(r, errno, "core_pattern: %s", strerror(errno));
	else if (pattern[0] == '|' || pattern[0] == '@')
		attack_done(r, "a crash here is handed to %.80s", pattern);
	else
		attack_denied(r, 0, "no core file, and no handler is started");
}

/* "BYTES PATH" */
static void disk(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value;
	size_t i = 0;

	while ((value = attack_next(ctx, "disk", &i))) {
		uint64_t limit = attack_number(&value), size;
		struct statvfs st;

		if (statvfs(value, &st) < 0) {
			attack_error(r, "%.120s: %s", value, strerror(errno));
			return;
		}
		size = (uint64_t)st.f_blocks * st.f_frsize;
		/* The kernel counts in whole pages. */
		if (size == 0 || size >= limit + (uint64_t)sysconf(_SC_PAGESIZE))
			attack_done(r, "%.100s holds %llu bytes", value, (unsigned long long)size);
		else
			attack_denied(r, 0, "no writable area is larger than the plan's");
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no limit of the disk");
}

static int wait_for_the_end(void *arg)
{
	(void)arg;
	while (pause() < 0)
		; /* until killed */
	return 0;
}

/* Children that only wait and share our memory, until the kernel refuses. */
static void processes(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value = attack_first(ctx, "processes");
	uint64_t limit = value ? attack_number(&value) : 0, n = 0;
	static pid_t pids[BOMB_MAX];
	char *stacks;
	int e = 0;

	if (limit == 0 || limit >= BOMB_MAX) {
		attack_unsupported(r, limit ? "the limit is too high to be tried here"
					    : "no limit of processes");
		return;
	}
	stacks = mmap(NULL, (limit + 1) * STACK_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stacks == MAP_FAILED) {
		attack_error(r, "stacks: %s", strerror(errno));
		return;
	}
	while (n <= limit) {
		int pid = clone(wait_for_the_end, stacks + (n + 1) * STACK_BYTES,
				CLONE_VM | SIGCHLD, NULL);

		if (pid < 0) {
			e = errno;
			break;
		}
		pids[n++] = pid;
	}
	for (uint64_t k = 0; k < n; k++) {
		(void)kill(pids[k], SIGKILL); /* ours */
		while (waitpid(pids[k], NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (e)
		attack_denied(r, e, "refused after %llu processes: %s", (unsigned long long)n,
			      strerror(e));
	else
		attack_done(r, "%llu processes were made", (unsigned long long)n);
}

/* Every cgroup file system that can be seen: no new group, no move, no limit. */
static void cgroup_at(struct attack_result *r, const char *dir)
{
	static const char *const files[] = { "cgroup.procs", "tasks", "memory.max", "pids.max",
					     "cpu.max", "memory.limit_in_bytes", "release_agent",
					     "cgroup.subtree_control", "notify_on_release" };
	char path[4096];
	int fd;

	attack_name(path, sizeof(path), dir);
	if (mkdir(path, 0700) == 0) {
		attack_done(r, "group made in %.120s", dir);
		(void)rmdir(path); /* undoing */
	} else {
		attack_try(r, -1, dir);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%.3900s/%s", dir, files[i]); /* fits */
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (attack_try(r, fd, path))
			(void)close(fd); /* nothing was written */
	}
}

static void cgroup(const struct attack_ctx *ctx, struct attack_result *r)
{
	static char text[1 << 20];
	char *line, *next;

	(void)ctx;
	if (attack_read_file("/proc/self/mountinfo", text, sizeof(text)) < 0) {
		attack_error(r, "/proc/self/mountinfo: %s", strerror(errno));
		return;
	}
	for (line = text; line; line = next) {
		char *type = strstr(line, " - cgroup"), dir[4096];

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (type && type < line + strlen(line) &&
		    sscanf(line, "%*s %*s %*s %*s %4095s", dir) == 1)
			cgroup_at(r, dir);
	}
	cgroup_at(r, "/sys/fs/cgroup");
}

/* Init measures memory where no cgroup does: its limits are not the command's. */
static void limits_of_init(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct rlimit l;

	if (prlimit((pid_t)ctx->init, RLIMIT_NOFILE, NULL, &l) < 0)
		attack_try(r, -1, "read init's limits");
	else /* to what they are: changes nothing */
		attack_try(r, prlimit((pid_t)ctx->init, RLIMIT_NOFILE, &l, NULL), "set init's limits");
}

static void scheduling(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct sched_param p = { .sched_priority = 1 };

	(void)ctx;
	attack_try(r, syscall(SYS_sched_setscheduler, 0, 1 /* SCHED_FIFO */, &p), "become real-time");
	attack_try(r, setpriority(PRIO_PROCESS, 0, -20), "raise the own priority");
	attack_try(r, syscall(SYS_ioprio_set, 1, 0, 1 << 13), "real-time input and output");
}

static const struct attack table[] = {
	{ "resources.limits", limits_read },
	{ "resources.raise-limits", limits_raise },
	{ "resources.open-files", open_files },
	{ "resources.file-size", file_size },
	{ "resources.address-space", address_space },
	{ "resources.core-dumps", core_dumps },
	{ "resources.disk", disk },
	{ "resources.processes", processes },
	{ "resources.cgroup", cgroup },
	{ "resources.limits-of-init", limits_of_init },
	{ "resources.scheduling", scheduling },
};
const struct attack_list attack_resources = { table, sizeof(table) / sizeof(table[0]) };
