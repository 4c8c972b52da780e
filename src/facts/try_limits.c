/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf cgroups made, filled and removed again; sub-id ranges really mapped. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "facts/probe.h"

#define PROBE_LEAF "immure-probe-%d"

void immure_try_cgroup_sweep(const struct immure_facts *f, int pid)
{
	const char *const parents[] = { f->cgroup.v2, f->cgroup.v1_memory, f->cgroup.v1_pids,
					f->cgroup.v1_cpu };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++)
		if (parents[i] && snprintf(path, sizeof(path), "%s/" PROBE_LEAF, parents[i], pid) <
					  (int)sizeof(path))
			(void)rmdir(path); /* only one of them can be there */
}

/* Puts a child into the leaf. v2 starts it there, as a launch does. */
static bool join(struct immure_outcome *o, int leaf, bool v2)
{
	int pid, pidfd = -1, status = 0;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.cgroup = (uint64_t)leaf,
	};

	pid = v2 ? (int)syscall(SYS_clone3, &args, sizeof(args)) : -1;
	if (pid == 0)
		_exit(0);
	/* v1, or a kernel or filter without this clone3: move there oneself. */
	if (pid < 0 && (!v2 || errno == ENOSYS || errno == EINVAL || errno == E2BIG)) {
		pid = immure_child_start(&pidfd);
		if (pid == 0)
			_exit(immure_write_file_at(leaf, "cgroup.procs", "0") == 0 ? 0 : 1);
		errno = pid < 0 ? -pid : 0;
	}
	if (pid < 0) {
		immure_probe_no(o, "start a process in a leaf cgroup");
		return false;
	}
	errno = -immure_child_wait(pid, &pidfd, 1000, &status);
	if (!errno && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		errno = EACCES;
	if (errno)
		immure_probe_no(o, "move into a leaf cgroup");
	return errno == 0;
}

static void try_cgroup(const struct immure_facts *f, const char *v1, const char *file,
		       const char *text, const char *v1_file, const char *v1_text,
		       struct immure_outcome *o)
{
	const bool v2 = f->cgroup.kind == IMMURE_CGROUP_V2;
	const char *parent = v2 ? f->cgroup.v2 : v1;
	IMMURE_CLEANUP_FD int dir = -1, leaf = -1;
	char name[64];

	errno = 0;
	if (f->cgroup.kind == IMMURE_CGROUP_NONE || !parent)
		return immure_probe_no(o, "no cgroup with this controller may be written");
	/* The first launch passes the controllers on; a probe changes nothing. */
	if (v2 && f->cgroup.v2_enable) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/cgroup.subtree_control", parent);
		if (access(path, W_OK) < 0)
			return immure_probe_no(o, "write cgroup.subtree_control");
		o->ok = IMMURE_YES;
		return;
	}
	(void)snprintf(name, sizeof(name), PROBE_LEAF, (int)getpid());
	dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, name, 0755) < 0)
		return immure_probe_no(o, "make a leaf cgroup");
	leaf = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leaf < 0) {
		immure_probe_no(o, "open a leaf cgroup");
	} else {
		errno = -immure_write_file_at(leaf, v2 ? file : v1_file, v2 ? text : v1_text);
		if (errno)
			immure_probe_no(o, "write a limit");
		else if (join(o, leaf, v2))
			o->ok = IMMURE_YES;
	}
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0)
		immure_probe_no(o, "remove a leaf cgroup");
}

void immure_try_cgroup_memory(const struct immure_facts *f, struct immure_outcome *o)
{
	try_cgroup(f, f->cgroup.v1_memory, "memory.max", "1073741824", "memory.limit_in_bytes",
		   "1073741824", o);
}

void immure_try_cgroup_pids(const struct immure_facts *f, struct immure_outcome *o)
{
	try_cgroup(f, f->cgroup.v1_pids, "pids.max", "64", "pids.max", "64", o);
}

void immure_try_cgroup_cpu(const struct immure_facts *f, struct immure_outcome *o)
{
	try_cgroup(f, f->cgroup.v1_cpu, "cpu.max", "100000 100000", "cpu.cfs_quota_us", "100000",
		   o);
}

/* First range of ours in /etc/subuid or /etc/subgid: "name-or-uid:start:count". */
static bool find_range(const struct immure_facts *f, const char *file, unsigned long *ret_start,
		       unsigned long *ret_count)
{
	char text[16 * 1024], uid[16], *save = NULL;
	IMMURE_CLEANUP_FD int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	(void)snprintf(uid, sizeof(uid), "%u", f->uid);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *start = strchr(line, ':'), *count = start ? strchr(start + 1, ':') : NULL;

		if (!count)
			continue;
		*start++ = *count++ = '\0';
		if (strcmp(line, f->user) != 0 && strcmp(line, uid) != 0)
			continue;
		*ret_start = strtoul(start, NULL, 10);
		*ret_count = strtoul(count, NULL, 10);
		return *ret_start > 0 && *ret_count > 0;
	}
	return false;
}

static const char *program_path(const struct immure_facts *f, const char *name)
{
	for (size_t i = 0; i < f->programs_n; i++)
		if (strcmp(f->programs[i].name, name) == 0)
			return f->programs[i].path;
	return NULL;
}

static bool map_range(const char *program, int target, uint32_t own, unsigned long start,
		      unsigned long count)
{
	char pid[16], self[16], from[24], size[24], *const env[] = { NULL };
	int pidfd = -1, status = 0, child = immure_child_start(&pidfd);

	if (child == 0) {
		const char *const argv[] = { program, pid, "0", self, "1", "1", from, size, NULL };

		(void)snprintf(pid, sizeof(pid), "%d", target);
		(void)snprintf(self, sizeof(self), "%u", own);
		(void)snprintf(from, sizeof(from), "%lu", start);
		(void)snprintf(size, sizeof(size), "%lu", count);
		int null = immure_open_null();

		if (null < 0 || dup2(null, 2) < 0) /* its complaint is ours to report */
			_exit(127);
		(void)execve(program, (char *const *)(uintptr_t)argv, env);
		_exit(127);
	}
	return child > 0 && immure_child_wait(child, &pidfd, 1000, &status) == 0 &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* value: how many ids beyond our own can be mapped. */
void immure_try_subids(const struct immure_facts *f, struct immure_outcome *o)
{
	const char *uidmap = program_path(f, "newuidmap"), *gidmap = program_path(f, "newgidmap");
	unsigned long ustart, ucount, gstart, gcount;
	int pid, pidfd = -1, status = 0, ready[2], hold[2];
	char c;

	errno = 0;
	if (!uidmap || !gidmap)
		return immure_probe_no(o, "newuidmap or newgidmap is not installed");
	if (!find_range(f, "/etc/subuid", &ustart, &ucount) ||
	    !find_range(f, "/etc/subgid", &gstart, &gcount)) {
		errno = 0;
		return immure_probe_no(o, "no range of ours in /etc/subuid and /etc/subgid");
	}
	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(hold, O_CLOEXEC) < 0)
		return immure_probe_no(o, "pipe");
	pid = immure_child_start(&pidfd);
	if (pid == 0) {
		(void)close(hold[1]);
		if (unshare(CLONE_NEWUSER) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		_exit(read(hold[0], &c, 1) < 0);
	}
	(void)close(ready[1]);
	if (pid < 0 || read(ready[0], &c, 1) != 1) {
		errno = pid < 0 ? -pid : EPERM;
		immure_probe_no(o, "unshare user namespace");
	} else if (!map_range(uidmap, pid, f->uid, ustart, ucount) ||
		   !map_range(gidmap, pid, f->gid, gstart, gcount)) {
		errno = EPERM;
		immure_probe_no(o, "map the range");
	} else {
		o->ok = IMMURE_YES;
		o->value = ucount < gcount ? ucount : gcount;
	}
	(void)close(hold[1]); /* lets it go */
	if (pid > 0)
		(void)immure_child_wait(pid, &pidfd, 1000, &status);
}
