/* SPDX-License-Identifier: Apache-2.0 */
/* For gc: what copy-on-write workspaces left. What a command changed there is somebody's work
 * until he has applied or discarded it, so it is named and kept. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/gc.h"
#include "session/runtime.h"
#include "session/uppergc.h"

enum { MAKING_S = 60 }; /* nobody takes so long to make one */

struct run {
	const char *state_dir;
	bool dry_run;
	struct immure_report *report;
};

static void drop(const struct run *run, const char *name, const char *why)
{
	int r = run->dry_run ? 0 : immure_upper_remove(run->state_dir, name);

	immure_report_add(run->report, NULL, "workspace", name, r < 0 ? IMMURE_FATE_FAILED : IMMURE_FATE_REMOVED,
			  r < 0 ? strerror(-r) : why);
}

/* Its maker holds a lock in it, except for a moment in the beginning. */
static void half_made(const struct run *run, int all, const char *name)
{
	IMMURE_CLEANUP_FD int dir = immure_runtime_dir(all, name);
	IMMURE_CLEANUP_FD int lock = dir < 0 ? -1 : immure_upper_lock(dir);
	struct stat st;

	if (dir < 0 || lock == -EAGAIN || fstat(dir, &st) < 0 ||
	    (lock < 0 && st.st_ctim.tv_sec + MAKING_S > time(NULL)))
		return;
	drop(run, name, "half-made");
}

static void whole(const struct run *run, int all, const char *name)
{
	IMMURE_CLEANUP_FD int dir = immure_runtime_dir(all, name);
	IMMURE_CLEANUP_FD int lock = dir < 0 ? -1 : immure_upper_lock(dir);
	char why[128];

	if (dir < 0 || lock == -EAGAIN)
		return; /* gone meanwhile, or in use */
	if (immure_upper_is_empty(dir)) {
		drop(run, name, "nothing was changed in it");
		return;
	}
	(void)snprintf(why, sizeof(why), "%s; immure diff %s, apply, or discard",
		       faccessat(dir, "apply", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? "an apply was interrupted" :
									       "not applied", name);
	immure_report_add(run->report, NULL, "workspace", name, IMMURE_FATE_KEPT, why);
}

static int each(void *ctx, const char *name)
{
	const struct run *run = ctx;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/workspaces", run->state_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	IMMURE_CLEANUP_FD int all = immure_runtime_dir(AT_FDCWD, path);
	if (all < 0)
		return all;
	if (immure_id_valid(name))
		whole(run, all, name);
	else
		half_made(run, all, name);
	return 0;
}

void immure_upper_collect(const char *state_dir, bool dry_run, struct immure_report *report)
{
	struct run run = { state_dir, dry_run, report };
	int r = state_dir ? immure_upper_each(state_dir, each, &run) : 0;

	if (r < 0)
		immure_report_add(report, NULL, "directory", state_dir, IMMURE_FATE_FAILED, strerror(-r));
}
