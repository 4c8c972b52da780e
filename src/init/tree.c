/* SPDX-License-Identifier: Apache-2.0 */
/* What init learns about the processes inside from /proc, without allocating:
 * who descends from whom, and how much memory is theirs alone. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/kin.h"
#include "init/serving.h"

/* Calls each(ctx, proc_fd, name) for every process; false stops. 0 or -errno. */
static int each_process(bool (*each)(void *ctx, int proc, const char *name), void *ctx)
{
	char buf[4096] __attribute__((aligned(8)));
	IMMURE_CLEANUP_FD int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (proc < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, proc, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			unsigned short reclen;
			const char *name = buf + i + 19;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			i += reclen;
			if (name[0] >= '1' && name[0] <= '9' && !each(ctx, proc, name))
				return 0;
		}
	}
	return n < 0 ? -errno : 0;
}

/* The file `file` of a process; length, 0 when it has ended, or -errno. */
static ssize_t read_of(int proc, const char *name, const char *file, char *text, size_t size)
{
	char path[32];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%.16s/%.8s", name, file);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	n = read(fd, text, size - 1);
	immure_close(&fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? n : 0;
}

/* The same for what descends from init, where /proc shows the host's processes. */
static int each_of_kin(bool (*each)(void *ctx, int proc, const char *name), void *ctx)
{
	IMMURE_CLEANUP_FD int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t list[IMMURE_KIN_MAX];
	long n = proc < 0 ? -errno : immure_kin_list(list, IMMURE_KIN_MAX);
	char name[16];

	for (long i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "%d", (int)list[i]);
		if (!each(ctx, proc, name))
			return 0;
	}
	return n < 0 ? (int)n : 0;
}

/* ---- memory ---- */

struct sum {
	uint64_t pages;
	uint32_t n;
	bool failed;
};

static bool add_up(void *ctx, int proc, const char *name)
{
	struct sum *sum = ctx;
	char text[128], *p;
	ssize_t n = read_of(proc, name, "statm", text, sizeof(text));

	sum->failed = n < 0;
	sum->n += n > 0;
	p = n > 0 ? strchr(text, ' ') : NULL;
	if (p) {
		uint64_t rss = strtoull(p, &p, 10), shared = strtoull(p, NULL, 10);

		sum->pages += rss > shared ? rss - shared : 0;
	}
	return !sum->failed;
}

/* What cannot be measured counts as too much: a command may lower init's own
 * limits (prlimit asks for the same user, no more), so that it cannot open files. */
uint64_t immure_init_resident(const struct immure_init *in, uint32_t *ret_processes)
{
	struct sum sum = { 0 };
	int r = immure_plan_is_bare(in->plan) ? each_of_kin(add_up, &sum) :
						each_process(add_up, &sum);

	if (r < 0 || sum.failed)
		return UINT64_MAX;
	if (ret_processes) /* where it is not in the list, init itself as well */
		*ret_processes = sum.n + (immure_plan_is_bare(in->plan) ? 1 : 0);
	return sum.pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- descendants ---- */

enum { FAMILY = 1024 };

struct family {
	pid_t v[FAMILY];
	size_t n;
	bool grew;
};

static bool adopt(void *ctx, int proc, const char *name)
{
	struct family *f = ctx;
	pid_t pid = (pid_t)strtol(name, NULL, 10), parent;
	char text[512], *p;

	for (size_t i = 0; i < f->n; i++)
		if (f->v[i] == pid)
			return true;
	if (read_of(proc, name, "stat", text, sizeof(text)) <= 0)
		return true;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (!p || strlen(p) < 5)
		return true;
	parent = (pid_t)strtol(p + 4, NULL, 10);
	for (size_t i = 0; i < f->n; i++) {
		if (f->v[i] != parent)
			continue;
		f->v[f->n++] = pid;
		f->grew = true;
		return f->n < FAMILY;
	}
	return true;
}

/* Those that left the group (setsid) but not the family. */
static void kill_family(pid_t pid, int signo)
{
	struct family f = { .v = { pid }, .n = 1, .grew = true };

	for (int round = 0; round < 16 && f.grew; round++) {
		f.grew = false;
		if (each_process(adopt, &f) < 0)
			break;
	}
	for (size_t i = 1; i < f.n; i++)
		(void)kill(f.v[i], signo); /* ESRCH: it was quicker */
}

/* ---- marks ---- */

/*
 * What was orphaned on purpose (a daemon) is nobody's descendant any more, but it has
 * its limits from the command that it comes of. One of them means nothing to Linux
 * since 2.6: how many file locks there may be. It can be lowered by whoever has it and
 * raised by nobody, so it tells the commands apart: each is given a lower one than all
 * before it. One that was never given, or is none, is borne by who tampered with its
 * own: it is ended with any.
 */
int immure_init_bear_mark(uint64_t mark)
{
	struct rlimit bear = { mark, mark };

	return setrlimit(RLIMIT_LOCKS, &bear) < 0 ? -errno : 0;
}

/* What /proc says of the one limit that is looked for; false: it has ended. Where there
 * are no namespaces the filter keeps prlimit(2) to oneself. */
static bool mark_of(int proc, const char *name, uint64_t *ret)
{
	char text[2048], *p;

	if (read_of(proc, name, "limits", text, sizeof(text)) <= 0)
		return false;
	p = strstr(text, "\nMax file locks ");
	if (!p)
		return false;
	p += strlen("\nMax file locks ");
	p += strspn(p, " ");
	p += strcspn(p, " "); /* the soft one */
	p += strspn(p, " ");
	*ret = *p >= '0' && *p <= '9' ? strtoull(p, NULL, 10) : UINT64_MAX; /* "unlimited" */
	return true;
}

struct marked {
	const struct immure_execs *x;
	const struct immure_exec *e;
	int signo;
	bool found;
};

static bool kill_marked(void *ctx, int proc, const char *name)
{
	struct marked *m = ctx;
	pid_t pid = (pid_t)strtol(name, NULL, 10);
	char text[512], *p;
	uint64_t has;

	if (pid == getpid() || pid == m->e->pid || !mark_of(proc, name, &has) ||
	    (has != m->e->mark && has >= m->x->last_mark))
		return true;
	if (read_of(proc, name, "stat", text, sizeof(text)) <= 0)
		return true;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (!p || strchr("ZX", p[1] ? p[2] : 'Z'))
		return true;
	m->found = true;
	(void)kill(pid, m->signo); /* ESRCH: it was quicker */
	return true;
}

void immure_init_kill_marked(const struct immure_serving *s, const struct immure_exec *e, int signo)
{
	struct marked m = { .x = s->execs, .e = e, .signo = signo, .found = true };

	/* Who was forked meanwhile is found the next time; a signal that can be caught is
	 * sent once. */
	for (int round = 0; round < 64 && m.found; round++) {
		m.found = false;
		if ((immure_plan_is_bare(s->in->plan) ? each_of_kin(kill_marked, &m) :
							each_process(kill_marked, &m)) < 0 || signo != SIGKILL)
			break;
	}
}

void immure_init_kill_tree(const struct immure_serving *s, const struct immure_exec *e, int signo)
{
	kill_family(e->pid, signo);
	immure_init_kill_marked(s, e, signo);
}
