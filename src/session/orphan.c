/* SPDX-License-Identifier: Apache-2.0 */
#include "session/orphan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "session/fields.h"
#include "session/quarantine.h"
#include "session/registry.h"
#include "session/runtime.h"
#include "session/watch.h"

static const char notes[] = "notes";

static void write_note(const char *state_dir, const struct immure_result *found)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char path[PATH_MAX], name[64];
	int n = snprintf(path, sizeof(path), "%s/%s", state_dir, notes);

	immure_fields_begin(&b, "note");
	for (size_t i = 0; i < found->found_n; i++) {
		const struct immure_found *f = &found->found[i];

		immure_fields_str(&b, "path", f->path);
		immure_fields_str(&b, f->action, f->to);
	}
	if (n > 0 && (size_t)n < sizeof(path) && immure_make_dirs(path) == 0 && immure_buf_ok(&b)) {
		IMMURE_CLEANUP_FD int dir = immure_runtime_dir(AT_FDCWD, path);

		(void)snprintf(name, sizeof(name), "%llu-%d", (unsigned long long)immure_now_ms(),
			       (int)getpid());
		if (dir >= 0) /* a note that cannot be left changes nothing about the files */
			(void)immure_file_replace(dir, name, b.data, b.len, false);
	}
	immure_buf_done(&b);
}

void immure_orphan_collect(void *ctx)
{
	const struct immure_orphan *o = ctx;
	struct immure_result *found = immure_result_new();

	if (!found)
		return;
	immure_watch_collect(o->plan, &o->since, o->state_dir, found);
	if (o->state_dir && found->found_n > 0)
		write_note(o->state_dir, found);
	immure_result_free(found);
}

/* ---- for gc ---- */

struct reading {
	struct immure_report *report;
	char path[PATH_MAX];
};

static int take(void *ctx, const char *key, const char *word, size_t len)
{
	struct reading *rd = ctx;
	char to[PATH_MAX], why[PATH_MAX + 64];
	int r;

	if (strcmp(key, "path") == 0)
		return immure_field_get(word, len, rd->path, sizeof(rd->path));
	r = immure_field_get(word, len, to, sizeof(to));
	if (r < 0)
		return r;
	(void)snprintf(why, sizeof(why), "%s after its run was killed%s%s", key, to[0] ? ": " : "", to);
	immure_report_add(rd->report, NULL, "file", rd->path,
			  strcmp(key, "reported") == 0 ? IMMURE_FATE_KEPT
			  : strcmp(key, "failed") == 0 ? IMMURE_FATE_FAILED
						       : IMMURE_FATE_REMOVED,
			  why);
	return 0;
}

static void one_note(int dir, const char *name, bool dry_run, struct immure_report *report)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct reading rd = { .report = report };
	size_t len = 0;
	int r = immure_runtime_read(dir, name, 16 << 20, &text, &len);

	if (r == 0)
		r = immure_fields_each(text, len, "note", take, &rd);
	if (r < 0)
		immure_report_add(report, NULL, "note", name, IMMURE_FATE_FAILED, strerror(-r));
	else if (!dry_run)
		(void)unlinkat(dir, name, 0); /* else it is told twice */
}

void immure_orphan_report(const char *state_dir, bool dry_run, struct immure_report *report)
{
	char path[PATH_MAX];
	int n = state_dir ? snprintf(path, sizeof(path), "%s/%s", state_dir, notes) : -1, fd;
	struct dirent *d;
	DIR *dir;

	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	fd = immure_runtime_dir(AT_FDCWD, path);
	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOTDIR)
			immure_report_add(report, NULL, "note", path, IMMURE_FATE_FAILED, strerror(-fd));
		return;
	}
	dir = fdopendir(fd);
	if (!dir) {
		immure_close(&fd);
		return;
	}
	n = 0;
	while ((d = immure_readdir(dir, &n)))
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && !strstr(d->d_name, ".new"))
			one_note(dirfd(dir), d->d_name, dry_run, report);
	if (n < 0)
		immure_report_add(report, NULL, "note", path, IMMURE_FATE_FAILED, strerror(-n));
	(void)closedir(dir); /* read only: nothing is lost */
}
