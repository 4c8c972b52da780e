/* SPDX-License-Identifier: Apache-2.0 */
#include "session/gc.h"

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
#include "session/leftover.h"
#include "session/orphan.h"
#include "session/remains.h"
#include "session/snapstore.h"
#include "session/uppergc.h"

/* So many are killed before the first is waited for; each holds descriptors. */
enum { BATCH = 64 };

struct run {
	const struct immure_gc *gc;
	struct immure_registry *r;
	struct immure_report *report;
	char (*half)[IMMURE_ID_LEN + 1];
	char (*whole)[IMMURE_ID_LEN + 1];
	size_t half_n, half_cap, whole_n, whole_cap;
};

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

/* ---- entries ---- */

static int add_id(char (**v)[IMMURE_ID_LEN + 1], size_t *n, size_t *cap, const char *id)
{
	if (*n == *cap) {
		size_t more = *cap ? *cap * 2 : 64;
		void *p = realloc(*v, more * sizeof(**v));

		if (!p)
			return -ENOMEM;
		*v = p;
		*cap = more;
	}
	memcpy((*v)[(*n)++], id, IMMURE_ID_LEN + 1);
	return 0;
}

/* Listed first: removing while a directory is read may pass entries over. */
static int collect(void *ctx, const char *id, bool half_made)
{
	struct run *run = ctx;

	return half_made ? add_id(&run->half, &run->half_n, &run->half_cap, id)
			 : add_id(&run->whole, &run->whole_n, &run->whole_cap, id);
}

static void half_made(struct run *run, const char *id)
{
	int r = run->gc->dry_run ? 0 : immure_registry_remove_half(run->r, id);

	if (r < 0)
		immure_report_add(run->report, id, "session", "half-made", IMMURE_FATE_FAILED,
				  strerror(-r));
	else if (r > 0 || run->gc->dry_run)
		immure_report_add(run->report, id, "session", "half-made", IMMURE_FATE_REMOVED, NULL);
}

/* True when *ret is a dead one's. */
static bool open_dead(struct run *run, const char *id, struct immure_remains *ret)
{
	struct immure_entry e = IMMURE_ENTRY_INIT;
	int r = immure_entry_open(run->r, id, &e);

	if (r == -ENOENT) /* removed meanwhile */
		return false;
	if (r == 0)
		r = immure_remains_open(&e, !run->gc->dry_run, ret);
	if (r == 0 && !run->gc->ended && immure_remains_sealed(ret)) {
		run->report->ended++;
		immure_remains_done(ret);
		return false;
	}
	if (r == 0)
		return true;
	immure_entry_done(&e);
	if (r == -EAGAIN)
		run->report->alive++;
	else if (r == -ENOENT)
		half_made(run, id);
	else
		immure_report_add(run->report, id, "session", id, IMMURE_FATE_FAILED,
				  r == -EPERM ? "its directory is not ours alone" : strerror(-r));
	return false;
}

static void one_batch(struct run *run, size_t from, size_t to)
{
	struct immure_remains *v = calloc(to - from, sizeof(*v));
	size_t n = 0;

	if (!v) {
		run->report->failed = true;
		return;
	}
	for (size_t i = from; i < to; i++) {
		if (!open_dead(run, run->whole[i], &v[n]))
			continue;
		if (!run->gc->dry_run)
			immure_remains_kill(&v[n], run->gc->grace_ms);
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		run->report->sessions++;
		if (run->gc->dry_run)
			immure_remains_list(&v[i], run->report);
		else
			(void)immure_remains_clear(&v[i], run->gc, run->r, run->report); /* in the report */
		immure_remains_done(&v[i]);
	}
	free(v);
}

static void all_entries(struct run *run)
{
	int r = immure_registry_each(run->r, collect, run);

	if (r < 0)
		immure_report_add(run->report, NULL, "directory", run->r->path, IMMURE_FATE_FAILED,
				  strerror(-r));
	for (size_t i = 0; i < run->half_n; i++)
		half_made(run, run->half[i]);
	for (size_t i = 0; i < run->whole_n; i += BATCH)
		one_batch(run, i, i + BATCH < run->whole_n ? i + BATCH : run->whole_n);
	r = immure_registry_prune_names(run->r, run->gc->dry_run);
	if (r < 0)
		immure_report_add(run->report, NULL, "name", run->r->path, IMMURE_FATE_FAILED,
				  strerror(-r));
	for (int i = 0; i < r; i++)
		immure_report_add(run->report, NULL, "name", "of no session", IMMURE_FATE_REMOVED, NULL);
}

int32_t immure_gc_run(const struct immure_gc *gc, struct immure_report *report,
		      struct immure_error **err)
{
	struct immure_registry reg = IMMURE_REGISTRY_INIT;
	struct run run = { .gc = gc, .r = &reg, .report = report };
	uint64_t begun = now_us();
	int32_t r = immure_registry_open(gc->runtime_dir, false, &reg, err);

	report->dry_run = gc->dry_run;
	if (r < 0)
		return r;
	all_entries(&run);
	immure_leftover_cgroups(gc, report);
	immure_leftover_dirs(gc, reg.root_fd, report);
	immure_upper_collect(gc->state_dir, gc->dry_run, report);
	immure_snapstore_collect(gc->state_dir, gc->dry_run, report);
	immure_orphan_report(gc->state_dir, gc->dry_run, report);
	free(run.half);
	free(run.whole);
	immure_registry_done(&reg);
	report->wall_us = now_us() - begun;
	return 0;
}

/* ---- one session ---- */

/* Asks the supervisor to end, then makes it. 0 when the lock is free. */
static int stop_supervisor(struct immure_entry *e, uint32_t stop_ms)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	struct immure_owner owner;
	IMMURE_CLEANUP_FD int fd = -1;
	int r = immure_entry_owner(e, &owner), alive = 1;

	if (r == 0)
		fd = r = immure_procid_open(&owner.process);
	/* Not there, yet the lock is held: it is ending, or a newborn child has it. */
	if (fd >= 0) {
		r = immure_pidfd_kill(fd, SIGTERM);
		if (r == 0 && immure_pidfd_gone(fd, (int)stop_ms) != 1)
			r = immure_pidfd_kill(fd, SIGKILL);
		if (r == 0)
			(void)immure_pidfd_gone(fd, 2000); /* seen by the lock */
	}
	for (int i = 0; i < 2000 && (alive = immure_entry_alive(e)) == 1; i++)
		(void)nanosleep(&pause, NULL); /* cut short: asked once more */
	return alive == 1 ? (r < 0 ? r : -EBUSY) : 0;
}

/* What was standing and is not any more: its supervisor has seen to that. */
static void tell_removed(const char *id, const struct immure_standing *before, size_t n,
			 const struct immure_remains *after, struct immure_report *report)
{
	static const char *const kinds[IMMURE_JK_MAX] = {
		[IMMURE_JK_INIT] = "process", [IMMURE_JK_PROCESS] = "process",
		[IMMURE_JK_CGROUP] = "cgroup", [IMMURE_JK_FILE] = "file",
		[IMMURE_JK_DIR] = "directory", [IMMURE_JK_NETNS] = "netns",
	};

	for (size_t i = 0; i < n; i++) {
		bool still = false;

		for (size_t k = 0; after && k < after->standing_n; k++)
			still |= after->standing[k].seq == before[i].seq;
		if (!still && kinds[before[i].kind])
			immure_report_add(report, id, kinds[before[i].kind],
					  before[i].kind == IMMURE_JK_INIT ? "init" : before[i].subject,
					  IMMURE_FATE_REMOVED, "by its supervisor");
	}
}

int32_t immure_gc_session(const struct immure_gc *gc, struct immure_registry *r,
			  struct immure_entry *e, uint32_t stop_ms, struct immure_report *report,
			  struct immure_error **err)
{
	struct immure_standing *before = NULL;
	struct immure_remains m;
	char id[IMMURE_ID_LEN + 1];
	uint64_t begun = now_us();
	size_t before_n = 0;
	int k;

	memcpy(id, e->id, sizeof(id));
	(void)immure_journal_standing(e->dir_fd, &before, &before_n); /* only to tell */
	report->dry_run = gc->dry_run;
	k = immure_entry_alive(e) == 1 && e->lock_fd < 0 ? stop_supervisor(e, stop_ms) : 0;
	if (k < 0) {
		immure_standing_free(before, before_n);
		return immure_fail(err, IMMURE_ERR_STATE, k, "gc", id,
				   "%s: its supervisor does not end: %s", id, strerror(-k));
	}
	k = immure_remains_open(e, true, &m);
	if (k == 0 || k == -ENOENT)
		tell_removed(id, before, before_n, k == 0 ? &m : NULL, report);
	immure_standing_free(before, before_n);
	if (k == -ENOENT) { /* its supervisor has cleaned up, or somebody else just did */
		immure_report_add(report, id, "session", id, IMMURE_FATE_REMOVED, "by its supervisor");
	} else if (k < 0) {
		return immure_fail(err, IMMURE_ERR_STATE, k, "gc", id, "%s: %s", id,
				   k == -EAGAIN ? "somebody else is cleaning it up" : strerror(-k));
	} else {
		immure_remains_kill(&m, gc->grace_ms);
		(void)immure_remains_clear(&m, gc, r, report); /* in the report */
		immure_remains_done(&m);
	}
	report->sessions++;
	report->wall_us = now_us() - begun;
	return 0;
}
