/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define SUB "gatekeeper"

static const char *const ctl_names[] = {
	[IMMURE_CTL_MEMORY] = "memory",
	[IMMURE_CTL_PIDS] = "pids",
	[IMMURE_CTL_CPU] = "cpu",
	[IMMURE_CTL_CPUACCT] = "cpuacct",
	[IMMURE_CTL_FREEZER] = "freezer",
};

void immure_cgroup_init(struct immure_cgroup *c)
{
	memset(c, 0, sizeof(*c));
	for (int i = 0; i < IMMURE_CGROUP_DIRS; i++)
		c->dir_fd[i] = c->tasks_fd[i] = -1;
	for (int k = 0; k < IMMURE_CTL_MAX; k++)
		c->ctl_dir[k] = -1;
}

/* The index of the leaf's directory below parent, a new one or one that is there:
 * cpu and cpuacct often share a hierarchy. */
static int name_leaf(struct immure_cgroup *c, const char *parent, size_t len, const char *name)
{
	int i = c->n, n;

	if (i == IMMURE_CGROUP_DIRS)
		return -E2BIG;
	n = snprintf(c->path[i], sizeof(c->path[i]), "%.*s/%s", (int)len, parent, name);
	if (n < 0 || (size_t)n >= sizeof(c->path[i]))
		return -ENAMETOOLONG;
	for (int j = 0; j < i; j++)
		if (strcmp(c->path[j], c->path[i]) == 0)
			return j;
	c->n++;
	return i;
}

int immure_cgroup_name(struct immure_cgroup *c, bool v2, const char *parents, const char *name)
{
	int r = 0;

	c->v2 = v2;
	if (v2) {
		r = name_leaf(c, parents, strlen(parents), name);
		for (int k = 0; r >= 0 && k < IMMURE_CTL_MAX; k++)
			c->ctl_dir[k] = r;
	}
	while (!v2 && *parents && r >= 0) {
		size_t len = strcspn(parents, ":");
		int found = -1;

		for (int k = 0; k < IMMURE_CTL_MAX; k++) {
			size_t n = strlen(ctl_names[k]);

			if (len > n && strncmp(parents, ctl_names[k], n) == 0 && parents[n] == '=') {
				r = name_leaf(c, parents + n + 1, len - n - 1, name);
				c->ctl_dir[k] = r;
				found = k;
			}
		}
		if (found < 0)
			r = -EINVAL;
		parents += len + (parents[len] == ':');
	}
	if (r < 0)
		c->n = 0;
	return r < 0 ? r : 0;
}

static int make_leaf(struct immure_cgroup *c, int i)
{
	if (mkdir(c->path[i], 0755) < 0)
		return -errno;
	c->dir_fd[i] = open(c->path[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (c->dir_fd[i] < 0)
		return -errno;
	if (!c->v2) {
		c->tasks_fd[i] = openat(c->dir_fd[i], "tasks", O_WRONLY | O_CLOEXEC);
		if (c->tasks_fd[i] < 0)
			return -errno;
	}
	return 0;
}

int immure_cgroup_make(struct immure_cgroup *c)
{
	int r = 0;

	for (int i = 0; i < c->n && r == 0; i++)
		r = make_leaf(c, i);
	if (r < 0)
		(void)immure_cgroup_remove(c); /* the first error is the one to tell */
	return r;
}

int immure_cgroup_enable(const char *parent, const char *controllers)
{
	IMMURE_CLEANUP_FD int dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dir < 0)
		return -errno;
	return immure_write_file_at(dir, "cgroup.subtree_control", controllers);
}

static int ctl_write(const struct immure_cgroup *c, enum immure_cgroup_ctl ctl, const char *file,
		     uint64_t value)
{
	char text[32];

	if (c->ctl_dir[ctl] < 0)
		return -ENOENT;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return immure_write_file_at(c->dir_fd[c->ctl_dir[ctl]], file, text);
}

int immure_cgroup_set_memory(struct immure_cgroup *c, uint64_t bytes)
{
	int r;

	if (c->v2) {
		r = ctl_write(c, IMMURE_CTL_MEMORY, "memory.max", bytes);
		if (r < 0)
			return r;
		/* One kill takes the whole session, never a random half of it. */
		r = ctl_write(c, IMMURE_CTL_MEMORY, "memory.oom.group", 1);
		if (r < 0)
			return r;
		r = ctl_write(c, IMMURE_CTL_MEMORY, "memory.swap.max", 0);
	} else {
		r = ctl_write(c, IMMURE_CTL_MEMORY, "memory.limit_in_bytes", bytes);
		if (r < 0)
			return r;
		r = ctl_write(c, IMMURE_CTL_MEMORY, "memory.memsw.limit_in_bytes", bytes);
	}
	return r == -ENOENT ? 0 : r; /* no swap accounting: there is no swap to limit */
}

int immure_cgroup_set_pids(struct immure_cgroup *c, uint64_t count)
{
	/* One more than asked: our init is in the leaf as well. */
	int r = ctl_write(c, IMMURE_CTL_PIDS, "pids.max", count + 1 + c->subs);

	if (r == 0)
		c->pids_max = count;
	return r;
}

int immure_cgroup_set_cpu(struct immure_cgroup *c, uint64_t milli_cpus)
{
	char text[64];
	uint64_t quota = milli_cpus * 100; /* of a period of 100,000 us */

	if (quota < 1000)
		quota = 1000;
	if (!c->v2)
		return ctl_write(c, IMMURE_CTL_CPU, "cpu.cfs_quota_us", quota);
	if (c->ctl_dir[IMMURE_CTL_CPU] < 0)
		return -ENOENT;
	(void)snprintf(text, sizeof(text), "%llu 100000", (unsigned long long)quota);
	return immure_write_file_at(c->dir_fd[c->ctl_dir[IMMURE_CTL_CPU]], "cpu.max", text);
}

int immure_cgroup_join_self(const struct immure_cgroup *c)
{
	if (c->v2)
		return 0;
	for (int i = 0; i < c->n; i++)
		if (write(c->tasks_fd[i], "0", 1) != 1)
			return errno ? -errno : -EIO;
	return 0;
}

/* The number after `key ` in a flat keyed file; key NULL: the whole file. */
static uint64_t ctl_read(const struct immure_cgroup *c, enum immure_cgroup_ctl ctl,
			 const char *file, const char *key)
{
	char buf[4096], *p = buf;
	ssize_t n;

	if (c->ctl_dir[ctl] < 0)
		return 0;
	IMMURE_CLEANUP_FD int fd = openat(c->dir_fd[c->ctl_dir[ctl]], file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	while (key && p) {
		size_t len = strlen(key);

		if (strncmp(p, key, len) == 0 && p[len] == ' ') {
			p += len + 1;
			break;
		}
		p = strchr(p, '\n');
		p = p && p[1] ? p + 1 : NULL;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

void immure_cgroup_stats(const struct immure_cgroup *c, struct immure_cgroup_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->pids_denied = ctl_read(c, IMMURE_CTL_PIDS, "pids.events", "max");
	ret->pids_peak = ctl_read(c, IMMURE_CTL_PIDS, "pids.peak", NULL);
	ret->pids_now = ctl_read(c, IMMURE_CTL_PIDS, "pids.current", NULL);
	ret->memory_now = ctl_read(c, IMMURE_CTL_MEMORY,
				   c->v2 ? "memory.current" : "memory.usage_in_bytes", NULL);
	if (c->v2) {
		ret->memory_peak = ctl_read(c, IMMURE_CTL_MEMORY, "memory.peak", NULL);
		ret->oom_kills = ctl_read(c, IMMURE_CTL_MEMORY, "memory.events", "oom_kill");
		ret->cpu_usec = ctl_read(c, IMMURE_CTL_CPU, "cpu.stat", "usage_usec");
	} else {
		ret->memory_peak = ctl_read(c, IMMURE_CTL_MEMORY, "memory.max_usage_in_bytes", NULL);
		ret->oom_kills = ctl_read(c, IMMURE_CTL_MEMORY, "memory.oom_control", "oom_kill");
		ret->cpu_usec = ctl_read(c, IMMURE_CTL_CPUACCT, "cpuacct.usage", NULL) / 1000;
	}
}

int immure_cgroup_enter_v2(const struct immure_cgroup *c)
{
	return c->v2 && c->n > 0 ? immure_write_file_at(c->dir_fd[0], "cgroup.procs", "0") : 0;
}

int immure_cgroup_freezer(const struct immure_cgroup *c)
{
	if (c->n == 0 || c->ctl_dir[IMMURE_CTL_FREEZER] < 0)
		return 0;
	return c->v2 ? 2 : 1;
}

int immure_cgroup_freeze(const struct immure_cgroup *c, bool frozen)
{
	int version = immure_cgroup_freezer(c);

	if (version == 0)
		return -EOPNOTSUPP;
	if (version == 2)
		return immure_write_file_at(c->dir_fd[0], "cgroup.freeze", frozen ? "1" : "0");
	return immure_write_file_at(c->dir_fd[c->ctl_dir[IMMURE_CTL_FREEZER]], "freezer.state",
				    frozen ? "FROZEN" : "THAWED");
}

void immure_cgroup_kill(const struct immure_cgroup *c)
{
	char *text = NULL;

	if (c->n == 0)
		return;
	if (c->v2 && immure_write_file_at(c->dir_fd[0], "cgroup.kill", "1") == 0) /* 5.14 */
		return;
	if (!c->v2)
		(void)immure_cgroup_freeze(c, false); /* it has none, or nothing is frozen */
	/* The pid namespace's end has killed them all already; this is for what
	 * entered the leaf and never reached the namespace. */
	if (immure_read_file_at(c->dir_fd[0], "cgroup.procs", 1 << 20, &text, NULL) < 0)
		return;
	for (char *p = text, *end; *p; p = end + (*end == '\n')) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid > 0)
			(void)kill((pid_t)pid, SIGKILL); /* ESRCH: gone, which is the aim */
	}
	free(text);
}

int immure_cgroup_remove(struct immure_cgroup *c)
{
	int r = 0;

	for (int i = c->n - 1; i >= 0; i--) {
		char sub[sizeof(c->path[i]) + sizeof(SUB)];

		if (!c->path[i][0])
			continue;
		(void)snprintf(sub, sizeof(sub), "%s/" SUB, c->path[i]);
		(void)rmdir(sub); /* mostly not there; else the leaf is not removed either */
		if (rmdir(c->path[i]) < 0 && errno != ENOENT)
			r = -errno;
		else
			c->path[i][0] = '\0';
	}
	return r;
}

/* ---- the sub-group ---- */

static int open_sub(const struct immure_cgroup *c, int i, int *ret)
{
	IMMURE_CLEANUP_FD int dir = -1;

	/* Before 5.11 children may stand beside their parent; ENOENT: no memory here. */
	if (i == c->ctl_dir[IMMURE_CTL_MEMORY] && !c->v2)
		(void)immure_write_file_at(c->dir_fd[i], "memory.use_hierarchy", "1");
	if (mkdirat(c->dir_fd[i], SUB, 0755) < 0 && errno != EEXIST)
		return -errno;
	dir = openat(c->dir_fd[i], SUB, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return -errno;
	*ret = c->v2 ? immure_take_fd(&dir) : openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

int immure_cgroup_sub_open(const struct immure_cgroup *c, struct immure_cgroup_sub *ret)
{
	struct immure_cgroup_sub sub = IMMURE_CGROUP_SUB_INIT;
	int r = 0;

	sub.v2 = c->v2;
	sub.memory = c->ctl_dir[IMMURE_CTL_MEMORY] >= 0;
	for (int i = 0; i < c->n && r == 0; i++) {
		if (!c->v2 && i == c->ctl_dir[IMMURE_CTL_FREEZER])
			continue;
		r = open_sub(c, i, &sub.fd[sub.n]);
		sub.n += r == 0;
	}
	if (r < 0)
		immure_cgroup_sub_close(&sub);
	else
		*ret = sub;
	return r;
}

void immure_cgroup_sub_close(struct immure_cgroup_sub *sub)
{
	for (int i = 0; i < IMMURE_CGROUP_DIRS; i++)
		immure_close(&sub->fd[i]);
	sub->n = 0;
}

int immure_cgroup_sub_put(const struct immure_cgroup_sub *sub, int pid)
{
	char text[16];
	int r = 0, len = snprintf(text, sizeof(text), "%d", pid);

	for (int i = 0; i < sub->n && r == 0; i++)
		r = sub->v2 ? immure_write_file_at(sub->fd[i], "cgroup.procs", text) :
		    write(sub->fd[i], text, (size_t)len) == len ? 0 : -errno;
	return r;
}

int immure_cgroup_sub_counts(struct immure_cgroup *c, bool more)
{
	if (!more && !c->subs)
		return 0;
	c->subs = more ? c->subs + 1 : c->subs - 1;
	return c->pids_max ? immure_cgroup_set_pids(c, c->pids_max) : 0;
}

void immure_cgroup_done(struct immure_cgroup *c)
{
	for (int i = 0; i < IMMURE_CGROUP_DIRS; i++) {
		immure_close(&c->dir_fd[i]);
		immure_close(&c->tasks_fd[i]);
	}
}
