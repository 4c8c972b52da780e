/* SPDX-License-Identifier: Apache-2.0 */
/* Where the full program is looked for: beside our own executable, in the
 * libexec directory of the same prefix, in the one this build was made for.
 * Never in PATH or the environment: whoever sets those must not choose what
 * reads the policy. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FULL "immure-full"

static bool same_file(const char *path, const char *other)
{
	struct stat a, b;

	return !stat(path, &a) && !stat(other, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool immure_cli_own_directory(char *ret)
{
	ssize_t len = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (len <= 0)
		return false;
	ret[len] = '\0';
	slash = strrchr(ret, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

static const char *const beside[] = { "", "../libexec/immure/" };
enum { BESIDE_N = sizeof(beside) / sizeof(beside[0]) };

bool immure_cli_own_program(const char *name, char *ret_path)
{
	char self[PATH_MAX];

	if (!immure_cli_own_directory(self))
		return false;
	for (size_t i = 0; i < BESIDE_N; i++) {
		int n = snprintf(ret_path, IMMURE_CLI_PATH_MAX, "%s/%s%s", self, beside[i], name);

		if (n > 0 && n < IMMURE_CLI_PATH_MAX && access(ret_path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Executes path unless it is this very program; returns 0 when it is not there. */
static int try_path(const char *path, char **argv)
{
	if (same_file(path, "/proc/self/exe"))
		return -ELOOP;
	(void)execv(path, argv); /* returns only to say why not */
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int try_all(char **argv)
{
	char path[IMMURE_CLI_PATH_MAX];
	int r = 0;

	if (immure_cli_own_program(FULL, path))
		r = try_path(path, argv);
	return r ? r : try_path(IMMURE_LIBEXECDIR "/" FULL, argv);
}

int32_t immure_cli_hand_over(int argc, char **argv, struct immure_error **err)
{
	static char name[] = FULL;
	char **full = calloc((size_t)argc + 2, sizeof(*full));
	int r;

	if (!full)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "start", FULL, "out of memory");
	full[0] = name;
	memcpy(full + 1, argv, (size_t)argc * sizeof(*argv));
	r = try_all(full);
	free(full);
	if (r)
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, -r, "start", FULL,
				FULL ": cannot be executed: %s", strerror(-r));
	else
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, ENOENT, "start", FULL,
				FULL ": not found beside this program");
	if (err)
		immure_error_set_hint(*err, "'%s' needs it: install immure completely", argv[0]);
	return r;
}
