/* SPDX-License-Identifier: Apache-2.0 */
#include "session/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

/* Our path in the hierarchy of that line of /proc/self/cgroup, "" when there is none. */
static void own_path(const char *text, const char *hierarchy, char *ret, size_t size)
{
	size_t n = strlen(hierarchy);

	ret[0] = '\0';
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *after = strchr(line, ':');

		if (!after || strncmp(after, hierarchy, n) != 0 || after[n] != '/')
			continue;
		after += n;
		if (strcspn(after, "\n") < size)
			(void)snprintf(ret, size, "%.*s", (int)strcspn(after, "\n"), after);
		return;
	}
}

/* What cannot be written would only be tried in vain; a ':' would end the name early. */
static bool usable(const char *mount, const char *path, const char *file, char *ret, size_t size)
{
	char procs[PATH_MAX];
	int n = snprintf(ret, size, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path);

	if (!path[0] || n < 0 || (size_t)n >= size || strchr(ret, ':') || !immure_path_is_normal(ret) ||
	    access(ret, W_OK | X_OK) < 0)
		return false;
	n = snprintf(procs, sizeof(procs), "%s/%s", ret, file);
	return n > 0 && (size_t)n < sizeof(procs) && access(procs, W_OK) == 0;
}

int immure_freezer_find(bool v2_too, char *ret, size_t size)
{
	char *text = NULL, path[PATH_MAX];
	int r = 0;

	if (immure_read_file_at(AT_FDCWD, "/proc/self/cgroup", 64 << 10, &text, NULL) < 0)
		return 0;
	own_path(text, ":freezer:", path, sizeof(path));
	if (usable("/sys/fs/cgroup/freezer", path, "tasks", ret, size))
		r = 1;
	own_path(text, "::", path, sizeof(path));
	for (int i = 0; i < 2 && r == 0 && v2_too; i++)
		if (usable(i == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified", path, "cgroup.procs", ret, size))
			r = 2;
	free(text);
	return r;
}
