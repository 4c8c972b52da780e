/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the plan hides: masked paths, other environments, host state. */
#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A masked path answers "permission denied"; an empty or absent one would be
 * taken for permission to make a new one. */
static void masked_read(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "mask", &i)))
		attack_try(r, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "nothing is masked");
}

static void masked_exists(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "mask", &i))) {
		struct stat st;

		/* Below another mask even this is refused. */
		if (lstat(path, &st) == 0 || errno == EACCES)
			attack_denied(r, 0, "masked paths exist");
		else
			attack_denied(r, errno, "%.120s: %s", path, strerror(errno));
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "nothing is masked");
}

static void masked_write(const struct attack_ctx *ctx, struct attack_result *r)
{
	char below[PATH_MAX];
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "mask", &i))) {
		if (snprintf(below, sizeof(below), "%s/.immure-proof", path) >= (int)sizeof(below))
			continue;
		if (attack_try(r, open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK), path))
			return;
		if (mkdir(below, 0700) == 0) {
			attack_done(r, "directory made in %.120s", path);
			(void)rmdir(below); /* undoing */
		} else if (errno != ENOTDIR) {
			attack_try(r, -1, path);
		}
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "nothing is masked");
}

/* Taking the mask away: its mode, its name, the mount itself. */
static void masked_change(const struct attack_ctx *ctx, struct attack_result *r)
{
	char other[PATH_MAX];
	const char *path;
	struct stat st;
	size_t i = 0;

	while ((path = attack_next(ctx, "mask", &i))) {
		if (snprintf(other, sizeof(other), "%s.immure-proof", path) >= (int)sizeof(other))
			continue;
		if (lstat(path, &st) == 0) /* the mode that it has: changes nothing */
			attack_try(r, chmod(path, st.st_mode & 07777), path);
		/* In procfs a name that is not there is what is refused. */
		if (strncmp(path, "/proc/", 6) != 0 && attack_try(r, rename(path, other), path))
			(void)rename(other, path); /* undoing */
		/* Marks it as expired at most: takes two calls to unmount. */
		if (umount2(path, MNT_EXPIRE) == 0 || errno == EAGAIN)
			attack_done(r, "umount2 of %.120s was accepted", path);
		else
			attack_try(r, -1, path);
		if (attack_try(r, mount("none", path, "tmpfs", MS_RDONLY, NULL), path))
			(void)umount2(path, MNT_DETACH); /* undoing */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "nothing is masked");
}

/* The same object by other names. */
static void masked_alias(const struct attack_ctx *ctx, struct attack_result *r)
{
	char other[PATH_MAX];
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "mask", &i))) {
		int fd;

		(void)snprintf(other, sizeof(other), "/proc/self/root%s", path); /* cut: absent */
		attack_try(r, open(other, O_RDONLY | O_CLOEXEC | O_NONBLOCK), other);
		(void)snprintf(other, sizeof(other), "/proc/%ld/root%s", ctx->init, path); /* as above */
		attack_try(r, open(other, O_RDONLY | O_CLOEXEC | O_NONBLOCK), other);
		fd = open(path, O_PATH | O_CLOEXEC);
		if (fd < 0) {
			attack_try(r, -1, path);
			continue;
		}
		(void)snprintf(other, sizeof(other), "/proc/self/fd/%d", fd); /* fits */
		attack_try(r, open(other, O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
		(void)close(fd); /* a path descriptor */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "nothing is masked");
}

/* Only names that the plan gave. */
static void environment(const struct attack_ctx *ctx, struct attack_result *r)
{
	if (!attack_first(ctx, "env-known")) {
		attack_unsupported(r, "no environment told");
		return;
	}
	for (char **e = ctx->envp; *e; e++) {
		size_t len = strcspn(*e, "=");
		const char *name;
		size_t i = 0;

		while ((name = attack_next(ctx, "env", &i)))
			if (strlen(name) == len && strncmp(name, *e, len) == 0)
				break;
		if (!name) {
			attack_done(r, "the variable %.*s is here and not in the plan",
				    (int)(len < 60 ? len : 60), *e);
			return;
		}
	}
	attack_denied(r, 0, "every variable here is one of the plan's");
}

static bool holds_hidden(const struct attack_ctx *ctx, const char *text, size_t len,
			 const char **ret_name)
{
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		const char *name;
		size_t i = 0;

		while ((name = attack_next(ctx, "hidden-env", &i))) {
			size_t n = strlen(name);

			if (strncmp(text + at, name, n) == 0 && text[at + n] == '=') {
				*ret_name = name;
				return true;
			}
		}
	}
	return false;
}

/* The caller's variables that the plan does not pass, in every process there is. */
static void proc_environment(const struct attack_ctx *ctx, struct attack_result *r)
{
	static char text[1 << 18];
	DIR *d = opendir("/proc");
	struct dirent *e;

	if (!d) {
		attack_denied(r, errno, "opendir /proc: %s", strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		const char *name = NULL;
		char path[300];
		long len;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s/environ", e->d_name); /* fits */
		len = attack_read_file(path, text, sizeof(text));
		if (len >= 0 && holds_hidden(ctx, text, (size_t)len, &name))
			attack_done(r, "%s holds the caller's %.60s", path, name);
		else if (len < 0 && atol(e->d_name) == ctx->init)
			attack_denied(r, errno, "%s: %s", path, strerror(errno));
	}
	(void)closedir(d); /* only read */
	if (r->outcome == ATTACK_NONE)
		attack_denied(r, 0, "no process here holds a variable that the plan hides");
}

/* Root inside owns these names, so listing is not what is tried: using them is. */
static void init_files(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const links[] = { "root", "cwd", "exe" };
	static const char *const files[] = { "mem", "environ", "maps", "auxv", "syscall", "stack",
					     "pagemap", "io" };
	char path[64], text[64];

	for (size_t i = 0; i < 2 * sizeof(links) / sizeof(links[0]); i++) {
		if (i % 2)
			(void)snprintf(path, sizeof(path), "/proc/%ld/task/%ld/%s", ctx->init,
				       ctx->init, links[i / 2]); /* fits */
		else
			(void)attack_init_file(ctx, links[i / 2], path, sizeof(path));
		attack_try(r, open(path, O_RDONLY | O_CLOEXEC), path);
		attack_try(r, readlink(path, text, sizeof(text)), path);
	}
	for (int fd = 0; fd < 24; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/%ld/fd/%d", ctx->init, fd); /* fits */
		attack_try(r, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
		attack_try(r, readlink(path, text, sizeof(text)), path);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		attack_try(r, attack_read_file(attack_init_file(ctx, files[i], path, sizeof(path)),
					       text, sizeof(text)), files[i]);
}

/* Directories that are the session's own: the host's content must not be there. */
static void private_areas(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *value;
	size_t i = 0;

	while ((value = attack_next(ctx, "private", &i))) {
		/* "DEV INODE PATH": the host's directory of that name. */
		uint64_t dev = attack_number(&value), ino = attack_number(&value);
		struct stat st;

		if (stat(value, &st) < 0)
			attack_denied(r, errno, "%.120s: %s", value, strerror(errno));
		else if ((uint64_t)st.st_dev == dev && (uint64_t)st.st_ino == ino)
			attack_done(r, "%.120s is the host's", value);
		else
			attack_denied(r, 0, "%.120s is another directory than the host's", value);
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no private directory");
}

static void by_handle(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct {
		unsigned int bytes;
		int type;
		unsigned char data[128];
	} h = { .bytes = 128 };
	int mount_id, fd;

	(void)ctx;
	if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/usr", &h, &mount_id, 0) < 0) {
		/* Any handle will do to be refused. */
		h.bytes = 8;
		h.type = 1;
	}
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = AT_FDCWD;
	attack_try(r, syscall(SYS_open_by_handle_at, fd, &h, O_RDONLY), "open_by_handle_at");
}

/* Nothing but the three standard streams and the report. */
static void descriptors(const struct attack_ctx *ctx, struct attack_result *r)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	if (!d) {
		attack_error(r, "opendir /proc/self/fd: %s", strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd <= 2 || fd == dirfd(d) || fd == ctx->report_fd)
			continue;
		attack_done(r, "descriptor %d was inherited", fd);
	}
	(void)closedir(d); /* only read */
	for (int fd = 3; fd < 4096; fd++) /* /proc might be lying */
		if (fd != ctx->report_fd && fcntl(fd, F_GETFD) >= 0)
			attack_done(r, "descriptor %d was inherited", fd);
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			attack_done(r, "descriptor %d is a directory", fd);
	}
	if (r->outcome == ATTACK_NONE)
		attack_denied(r, 0, "no descriptor but the standard streams and the report");
}

static const struct attack table[] = {
	{ "secret_read.masked-read", masked_read },
	{ "secret_read.masked-exists", masked_exists },
	{ "secret_read.masked-write", masked_write },
	{ "secret_read.masked-change", masked_change },
	{ "secret_read.masked-alias", masked_alias },
	{ "secret_read.environment", environment },
	{ "secret_read.proc-environ", proc_environment },
	{ "file_read.init-files", init_files },
	{ "file_read.private-areas", private_areas },
	{ "file_read.by-handle", by_handle },
	{ "file_read.descriptors", descriptors },
};
const struct attack_list attack_secrets = { table, sizeof(table) / sizeof(table[0]) };
