/* SPDX-License-Identifier: Apache-2.0 */
/* Repositories, of any name: git takes for one what has the parts of one. */
#include "session/watching.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/fold.h"
#include "base/names.h"
#include "session/gitconfig.h"

enum { GIT_CONFIG_MAX = 256 << 10 };

bool immure_watch_config_harmless(int dir, const char *name, size_t depth)
{
	IMMURE_CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	IMMURE_CLEANUP_FREE char *text = NULL;
	struct stat st;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    immure_read_all(fd, GIT_CONFIG_MAX, &text, &len) < 0)
		return false;
	return immure_gitconfig_harmless(text, len, depth);
}

void immure_watch_note_repo(struct immure_watch_repo *r, const char *name)
{
	char folded[IMMURE_FOLD_NAME];

	name = immure_fold_name(name, folded);
	r->head = r->head || strcasecmp(name, "HEAD") == 0;
	r->objects = r->objects || strcasecmp(name, "objects") == 0;
	r->refs = r->refs || strcasecmp(name, "refs") == 0;
	r->commondir = r->commondir || strcasecmp(name, "commondir") == 0;
}

static void check_hooks(struct immure_walk *w, int repo, size_t depth)
{
	int fd = openat(repo, "hooks", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		immure_close(&fd);
		if (immure_watch_touched(repo, "hooks", w->since)) /* a link, perhaps */
			immure_watch_found(w, repo, "hooks", depth, w->git, IMMURE_AGE_CREATED, false);
		return;
	}
	w->names[depth] = "hooks";
	while ((d = immure_readdir(dir, &r))) {
		size_t len = strlen(d->d_name);

		if (d->d_name[0] == '.' || (len > 7 && strcmp(d->d_name + len - 7, ".sample") == 0))
			continue;
		if (immure_watch_touched(dirfd(dir), d->d_name, w->since))
			immure_watch_found(w, dirfd(dir), d->d_name, depth + 1, w->git, IMMURE_AGE_CREATED, false);
	}
	w->incomplete |= r < 0;
	(void)closedir(dir); /* read only: nothing is lost */
}

void immure_watch_check_repo(struct immure_walk *w, int dir, size_t depth, const struct immure_watch_repo *r)
{
	static const char *const configs[] = { "config", "config.worktree" };

	if (!w->git || !r->head || !((r->objects && r->refs) || r->commondir))
		return;
	if (depth > 0 && strcmp(w->names[depth - 1], ".git") == 0)
		return;
	for (size_t i = 0; i < 2; i++)
		if (immure_watch_touched(dir, configs[i], w->since))
			immure_watch_found(w, dir, configs[i], depth, w->git, IMMURE_AGE_CREATED,
				      (w->git->flags & IMMURE_OPF_ALLOWED) &&
					      immure_watch_config_harmless(dir, configs[i], depth));
	/* There it may have no HEAD, and would not be known for one. */
	if (r->commondir && immure_watch_touched(dir, "commondir", w->since) && !immure_gitcommon_harmless(dir))
		immure_watch_found(w, dir, "commondir", depth, w->git, IMMURE_AGE_CREATED, false);
	if (depth + 1 < IMMURE_WATCH_DEPTH)
		check_hooks(w, dir, depth);
}
