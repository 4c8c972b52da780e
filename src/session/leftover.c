/* SPDX-License-Identifier: Apache-2.0 */
#include "session/leftover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "kernel/cgtree.h"
#include "kernel/procid.h"
#include "kernel/sys.h"
#include "session/rmtree.h"
#include "session/runtime.h"

/* Younger ones may be of another pid namespace, where their maker has a number. */
enum { YOUNG_MS = 2000 };

/* Whether the process that a leaf is named after may be alive. Its number may be
 * another's by now: one that began later than the leaf did not make it. */
static bool maker_lives(int32_t pid, uint64_t made_ns)
{
	long hz = sysconf(_SC_CLK_TCK);
	struct timespec mono, boot;
	struct immure_procid p;
	uint64_t slept_ns, start_ns;
	char state = 0;

	if (immure_procid_of(pid, &p, &state) < 0 || state == 'Z' || state == 'X')
		return false;
	(void)clock_gettime(CLOCK_MONOTONIC, &mono); /* cannot fail */
	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	slept_ns = ((uint64_t)boot.tv_sec - (uint64_t)mono.tv_sec) * 1000000000U + 1000000000U;
	start_ns = p.start * (1000000000U / (uint64_t)(hz > 0 ? hz : 100));
	return start_ns <= made_ns + slept_ns;
}

struct members {
	bool any, unseen, foreign;
};

/* How many pid namespaces below ours a process is: 1 = in ours. */
static int namespace_depth(int32_t pid)
{
	char path[40], *text = NULL, *p;
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (immure_read_file_at(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	p = strstr(text, "\nNSpid:");
	for (p = p ? p + 7 : NULL; p && *p && *p != '\n'; p++)
		n += *p == '\t';
	free(text);
	return n;
}

static int look_at_member(void *ctx, int32_t pid)
{
	struct members *m = ctx;
	int depth = pid > 0 ? namespace_depth(pid) : 0;

	m->any = true;
	if (pid <= 0)
		m->unseen = true;
	if (depth > 2) /* a session within some container: its maker has another number here */
		m->foreign = true;
	return 0;
}

struct leaves {
	const struct immure_gc *gc;
	struct immure_report *report;
};

static int one_leaf(void *ctx, const char *path)
{
	const struct leaves *run = ctx;
	struct members m = { .any = false };
	struct timespec mono, pause = { .tv_nsec = 1000000 };
	uint64_t made_ns = 0;
	int32_t pid = 0;
	bool v2 = false;
	IMMURE_CLEANUP_FD int fd = immure_cgtree_open(path, &v2);
	int r = -EBUSY;

	if (fd < 0 || !immure_cgtree_name(strrchr(path, '/') + 1, &pid, &made_ns) ||
	    maker_lives(pid, made_ns))
		return 0; /* not ours, or in use */
	(void)clock_gettime(CLOCK_MONOTONIC, &mono); /* cannot fail */
	if (immure_cgtree_members(fd, look_at_member, &m) < 0 || m.unseen || m.foreign) {
		immure_report_add(run->report, NULL, "cgroup", path, IMMURE_FATE_KEPT,
				  "processes of another pid namespace are in it");
		return 0;
	}
	/* Of another pid namespace as well, and nobody in it yet? */
	if (!m.any && (uint64_t)mono.tv_sec * 1000U + (uint64_t)mono.tv_nsec / 1000000U <
			      made_ns / 1000000U + YOUNG_MS) {
		immure_report_add(run->report, NULL, "cgroup", path, IMMURE_FATE_KEPT,
				  "made a moment ago");
		return 0;
	}
	for (int i = 0; i < 1000 && r < 0 && !run->gc->dry_run; i++) {
		if (m.any || i > 0)
			(void)immure_cgtree_kill(fd, v2); /* seen by the removal */
		r = immure_cgtree_remove(path);
		if (r < 0)
			(void)nanosleep(&pause, NULL); /* cut short: tried once more */
	}
	immure_report_add(run->report, NULL, "cgroup", path,
			  run->gc->dry_run || r == 0 ? IMMURE_FATE_REMOVED : IMMURE_FATE_FAILED,
			  run->gc->dry_run || r == 0 ? "of no session" : strerror(-r));
	return 0;
}

void immure_leftover_cgroups(const struct immure_gc *gc, struct immure_report *report)
{
	struct leaves l = { .gc = gc, .report = report };
	int r = immure_cgtree_each(one_leaf, &l);

	if (r < 0)
		immure_report_add(report, NULL, "cgroup", "/sys/fs/cgroup", IMMURE_FATE_FAILED,
				  strerror(-r));
}

/* ---- processes by their environment ---- */

static bool has_in_environment(int proc, const char *pid, const char *needle)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	char path[64];
	size_t len = 0, n = strlen(needle);

	(void)snprintf(path, sizeof(path), "%.20s/environ", pid);
	if (immure_read_file_at(proc, path, 4 << 20, &text, &len) < 0)
		return false;
	return memmem(text, len, needle, n) != NULL;
}

/* Under a filter, never to gain privileges, and ours: nobody else's process is, even
 * one that has that path in its environment. */
static bool is_confined(int proc, const char *pid)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	char path[64], uid[32];

	(void)snprintf(path, sizeof(path), "%.20s/status", pid);
	(void)snprintf(uid, sizeof(uid), "\nUid:\t%u\t", (unsigned int)geteuid());
	return immure_read_file_at(proc, path, 1 << 16, &text, NULL) == 0 && strstr(text, uid) &&
	       strstr(text, "\nNoNewPrivs:\t1\n") && strstr(text, "\nSeccomp:\t2\n");
}

int immure_strays_kill(const char *dir, bool *ret_foreign)
{
	IMMURE_CLEANUP_FD int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int again = proc < 0 ? -1 : openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0, r = 0;
	DIR *d = again < 0 ? NULL : fdopendir(again);
	char needle[4096];
	struct dirent *e;

	*ret_foreign = false;
	if (!d) {
		r = -errno;
		immure_close(&again);
		return r;
	}
	(void)snprintf(needle, sizeof(needle), "%s/", dir);
	while ((e = immure_readdir(d, &r))) {
		int fd;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' || !has_in_environment(proc, e->d_name, needle))
			continue;
		fd = (int)IMMURE_SYS(syscall(SYS_pidfd_open, atoi(e->d_name), 0));
		/* Looked at again now that the number cannot change hands unseen. */
		if (fd >= 0 && is_confined(proc, e->d_name) &&
		    has_in_environment(proc, e->d_name, needle)) {
			n++;
			if (namespace_depth(atoi(e->d_name)) > 1)
				*ret_foreign = true;
			else
				(void)immure_pidfd_kill(fd, SIGKILL); /* seen the next time */
		}
		immure_close(&fd);
	}
	(void)closedir(d); /* read only: nothing is lost */
	return r < 0 ? r : n;
}

/* ---- directories ---- */

static bool one_dir(const struct immure_gc *gc, const char *name, struct immure_report *report)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	char as_leaf[128], path[4352];
	bool foreign = false;
	uint64_t ns = 0;
	int32_t pid = 0;
	int strays = 1, r = 0;

	(void)snprintf(as_leaf, sizeof(as_leaf), "immure-%.100s", name);
	if (!immure_cgtree_name(as_leaf, &pid, &ns) || maker_lives(pid, ns))
		return false;
	(void)snprintf(path, sizeof(path), "%s/tmp/%s", gc->runtime_dir, name);
	for (int i = 0; !gc->dry_run && i < 1000; i++) {
		strays = immure_strays_kill(path, &foreign);
		if (strays <= 0 || foreign)
			break;
		(void)nanosleep(&pause, NULL); /* cut short: looked at once more */
	}
	if (foreign) {
		immure_report_add(report, NULL, "directory", path, IMMURE_FATE_KEPT,
				  "processes of another pid namespace use it");
		return false;
	}
	if (!gc->dry_run)
		r = strays < 0 ? strays : immure_rmtree(path);
	immure_report_add(report, NULL, "directory", path, r < 0 ? IMMURE_FATE_FAILED : IMMURE_FATE_REMOVED,
			  r < 0 ? strerror(-r) : "of no session");
	return r == 0 && !gc->dry_run;
}

void immure_leftover_dirs(const struct immure_gc *gc, int runtime_fd, struct immure_report *report)
{
	int fd = runtime_fd < 0 ? -1 : openat(runtime_fd, "tmp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
								O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool removed = false;
	struct dirent *e;
	int r = 0;

	while (d && (e = immure_readdir(d, &r)))
		removed |= one_dir(gc, e->d_name, report);
	if (r < 0)
		immure_report_add(report, NULL, "directory", "tmp", IMMURE_FATE_FAILED, strerror(-r));
	if (removed)
		(void)unlinkat(runtime_fd, "tmp", AT_REMOVEDIR); /* others may be in it */
	if (d)
		(void)closedir(d); /* read only: nothing is lost */
	else
		immure_close(&fd);
}
