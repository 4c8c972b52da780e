// SPDX-License-Identifier: Apache-2.0
/* What came along: descriptors, environment, directories, bytes of others. */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0 = a word planted in the launcher's environment */
static int act_environment(char **a)
{
	static const char *const files[] = {"environ", "cmdline", "comm", "auxv", "stack"};
	static char buf[1 << 20];
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char name[300];
	size_t len;

	while (dir && (entry = readdir(dir))) {
		if (atoi(entry->d_name) <= 0)
			continue;
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			len = 0;
			snprintf(name, sizeof(name), "/proc/%s/%s", entry->d_name, files[i]);
			if (slurp(name, buf, sizeof(buf), &len) < 0)
				continue;
			/* Our own command line names the word in two halves. */
			for (char *at = buf; (at = memmem(at, len - (size_t)(at - buf), a[0],
							   strlen(a[0]))); at++)
				if (strncmp(at + strlen(a[0]), a[1], strlen(a[1])) == 0)
					return done("%s", name);
		}
	}
	return denied(ENODATA);
}

static int act_descriptors(char **a)
{
	struct stat st;

	(void)a;
	for (int fd = 3; fd < 70000; fd++)
		if (fstat(fd, &st) == 0)
			return done("descriptor %d, mode %o", fd, st.st_mode);
	return denied(EBADF);
}

/* 0 = a name that exists only outside, seen from an inherited directory */
static int act_directory_fd(char **a)
{
	for (int fd = 0; fd < 70000; fd++)
		if (faccessat(fd, a[0], F_OK, 0) == 0)
			return done("through descriptor %d", fd);
	return denied(EBADF);
}

static int act_cwd(char **a)
{
	char buf[4200];

	/* The raw call: a directory outside the root reads "(unreachable)". */
	if (syscall(SYS_getcwd, buf, sizeof(buf)) < 0)
		return denied(errno);
	return buf[0] == '/' && access(a[0], F_OK) < 0 ? denied(ENOENT) : done("%s", buf);
}

/* Standard streams that are directories or give more than a stream. */
static int act_streams(char **a)
{
	char name[64];
	int fd;

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d/%s", i, a[0]);
		fd = open(name, O_RDONLY);
		if (fd >= 0)
			return done("%s", name);
	}
	return denied(ENOTDIR);
}

/* 0, 1 = device and inode of a masked file: is it anywhere among the mounts,
 * directly or one directory below? */
static int act_alias(char **a)
{
	static char buf[1 << 20];
	size_t len = 0;
	struct stat st;
	char *save, *line;

	if (slurp("/proc/self/mountinfo", buf, sizeof(buf) - 1, &len) < 0)
		return broken("mountinfo");
	buf[len] = '\0';
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char target[2048], name[4300];
		DIR *dir;
		struct dirent *entry;

		if (sscanf(line, "%*s %*s %*s %*s %2047s", target) != 1)
			continue;
		dir = opendir(target);
		while (dir && (entry = readdir(dir))) {
			snprintf(name, sizeof(name), "%s/%s", target, entry->d_name);
			if (stat(name, &st) == 0 && st.st_dev == strtoul(a[0], NULL, 10) &&
			    st.st_ino == strtoul(a[1], NULL, 10) && open(name, O_RDONLY) >= 0)
				return done("%s", name);
		}
		if (dir)
			closedir(dir);
	}
	return denied(EACCES);
}

static const struct attack attacks[] = {
	{"environment", "env", act_environment},
	{"descriptors", "fds", act_descriptors},
	{"directory_fd", "fds", act_directory_fd},
	{"cwd", "cwd", act_cwd},
	{"streams", "streams", act_streams},
	{"alias", "mask", act_alias},
};
FAMILY(leak, attacks);
