/* SPDX-License-Identifier: Apache-2.0 */
/* Writing where the plan does not permit it. What succeeds is undone at once. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

struct mount_attr_arg {
	uint64_t set, clear, propagation, userns_fd;
};
#define ATTR_RDONLY 1

static void make_directory(struct attack_result *r, const char *dir)
{
	char path[PATH_MAX];

	attack_name(path, sizeof(path), dir);
	if (mkdir(path, 0700) < 0) {
		attack_denied(r, errno, "mkdir in %s: %s", dir, strerror(errno));
		return;
	}
	attack_done(r, "directory made in %s", dir);
	(void)rmdir(path); /* undoing */
}

static void write_root(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	make_directory(r, "/");
}

static void write_outside(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir;
	size_t i = 0;

	while ((dir = attack_next(ctx, "write-outside", &i)))
		make_directory(r, dir);
}

static void write_existing(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = { "/etc/passwd", "/etc/group", "/etc/hosts",
					     "/etc/ld.so.cache", "/usr/lib/os-release" };

	(void)ctx;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int fd = open(paths[i], O_WRONLY | O_CLOEXEC);

		if (attack_try(r, fd, paths[i]))
			return;
	}
}

static void write_workspace_ro(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir = attack_first(ctx, "workspace-ro");

	if (!dir)
		attack_unsupported(r, "the workspace is not read-only");
	else
		make_directory(r, dir);
}

static void remount(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const paths[] = { "/", "/usr" };
	struct mount_attr_arg attr = { .clear = ATTR_RDONLY }, back = { .set = ATTR_RDONLY };
	struct statvfs st;

	(void)ctx;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		unsigned long flags = MS_REMOUNT | MS_BIND;

		/* The lowest four flags have the same values in both places. */
		if (statvfs(paths[i], &st) == 0)
			flags |= st.f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
		if (attack_try(r, mount(NULL, paths[i], NULL, flags & ~MS_RDONLY, NULL),
			       "remount writable"))
			(void)mount(NULL, paths[i], NULL, flags, NULL); /* undoing */
	}
	if (statvfs("/", &st) < 0)
		st.f_flag = 0;
	if (attack_try(r, syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr)),
		       "mount_setattr /") && (st.f_flag & MS_RDONLY))
		(void)syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &back, sizeof(back)); /* undoing */
}

/* The program that runs now was opened on the host: its own file is a way back. */
static void own_image(const struct attack_ctx *ctx, struct attack_result *r)
{
	char link[64];
	int fd;

	attack_try(r, open("/proc/self/exe", O_WRONLY | O_CLOEXEC), "open /proc/self/exe");
	attack_try(r, open(attack_init_file(ctx, "exe", link, sizeof(link)), O_WRONLY | O_CLOEXEC),
		   "open init's image");
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (fd < 0) {
		attack_denied(r, errno, "open /proc/self/exe: %s", strerror(errno));
		return;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* fits */
	attack_try(r, open(link, O_WRONLY | O_CLOEXEC), "reopen the own image");
}

/* "..", as often as one likes, must end at the root that the session has. */
static void climb(const struct attack_ctx *ctx, struct attack_result *r)
{
	struct stat root, at;
	int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)ctx;
	if (fd < 0 || stat("/", &root) < 0) {
		attack_error(r, "look at / and .: %s", strerror(errno));
		return;
	}
	for (int i = 0; i < 64; i++) {
		int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (up < 0) {
			attack_denied(r, errno, "openat ..: %s", strerror(errno));
			return;
		}
		(void)close(fd); /* a path descriptor */
		fd = up;
	}
	if (fstat(fd, &at) < 0)
		attack_error(r, "fstat: %s", strerror(errno));
	else if (at.st_dev != root.st_dev || at.st_ino != root.st_ino)
		attack_done(r, "sixty-four .. ended elsewhere than at /");
	else
		attack_denied(r, 0, "sixty-four .. end at /");
}

static void chroot_out(const struct attack_ctx *ctx, struct attack_result *r)
{
	(void)ctx;
	attack_try(r, chroot("/"), "chroot");
}

/* A program that makes whoever finds it on the host its owner. */
static void setuid_file(const struct attack_ctx *ctx, struct attack_result *r)
{
	static const char *const kinds[] = { "workspace-rw", "tmp" };
	struct {
		uint64_t flags, mode, resolve;
	} how = { .flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, .mode = 04755 };
	char path[PATH_MAX];
	const char *dir = NULL;
	int fd;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !dir; i++)
		dir = attack_first(ctx, kinds[i]);
	if (!dir) {
		attack_unsupported(r, "no place to make a file");
		return;
	}
	attack_name(path, sizeof(path), dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 04755);
	attack_try(r, fd, "open with a setuid mode");
	(void)unlink(path);
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	attack_try(r, fd, "openat2 with a setuid mode");
	(void)unlink(path);
	attack_try(r, mknod(path, S_IFREG | 04755, 0), "mknod with a setuid mode");
	(void)unlink(path);
	attack_try(r, open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 04755), "O_TMPFILE with a setuid mode");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd >= 0) {
		attack_try(r, fchmod(fd, 04755), "fchmod u+s");
		attack_try(r, chmod(path, 04755), "chmod u+s");
		attack_try(r, syscall(SYS_fchmodat, AT_FDCWD, path, 04755), "fchmodat u+s");
		attack_try(r, syscall(SYS_fchmodat2, AT_FDCWD, path, 04755, 0), "fchmodat2 u+s");
	}
	(void)unlink(path); /* ours */
}

static void protected_write(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "protect", &i))) {
		struct stat st;
		long got;

		if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
			make_directory(r, path);
			continue;
		}
		got = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		/* A program that is being executed refuses this before its mount is
		 * asked, which proves nothing; truncate(2) asks the mount first. The
		 * size stays what it is, should it be let through. */
		if (got < 0 && errno == ETXTBSY)
			got = truncate(path, st.st_size);
		attack_try(r, got, path);
	}
	if (i == 0 || r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no protected file");
}

static void protected_rename(const struct attack_ctx *ctx, struct attack_result *r)
{
	char other[PATH_MAX];
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "protect", &i))) {
		if (snprintf(other, sizeof(other), "%s.immure-proof", path) >= (int)sizeof(other))
			continue;
		if (attack_try(r, rename(path, other), path))
			(void)rename(other, path); /* undoing */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no protected file");
}

static void parent_of(char *buf, size_t size, const char *path)
{
	char *slash;

	(void)snprintf(buf, size, "%s", path); /* a cut path does not exist */
	slash = strrchr(buf, '/');
	if (slash && slash != buf)
		*slash = '\0';
}

/* Another object under the protected name, exchanged and exchanged back. */
static void protected_replace(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir = attack_first(ctx, "workspace-rw");
	char other[PATH_MAX];
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "protect", &i))) {
		int fd;

		if (!dir)
			break;
		attack_name(other, sizeof(other), dir);
		fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0) {
			attack_denied(r, errno, "create in %s: %s", dir, strerror(errno));
			continue;
		}
		(void)close(fd); /* empty */
		if (attack_try(r, syscall(SYS_renameat2, AT_FDCWD, other, AT_FDCWD, path,
					  RENAME_EXCHANGE), path))
			(void)syscall(SYS_renameat2, AT_FDCWD, other, AT_FDCWD, path,
				      RENAME_EXCHANGE); /* undoing */
		(void)unlink(other); /* ours */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no protected file in a writable workspace");
}

/* A second name for the same object, in a place that may be written. */
static void protected_link(const struct attack_ctx *ctx, struct attack_result *r)
{
	const char *dir = attack_first(ctx, "workspace-rw");
	char other[PATH_MAX];
	const char *path;
	size_t i = 0;

	while (dir && (path = attack_next(ctx, "protect", &i))) {
		attack_name(other, sizeof(other), dir);
		if (attack_try(r, link(path, other), path))
			(void)unlink(other); /* undoing */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no protected file in a writable workspace");
}

/* Moving the directory above it would leave the name free for something else. */
static void protected_parent(const struct attack_ctx *ctx, struct attack_result *r)
{
	char dir[PATH_MAX], other[PATH_MAX + 16];
	const char *path;
	size_t i = 0;

	while ((path = attack_next(ctx, "protect", &i))) {
		parent_of(dir, sizeof(dir), path);
		(void)snprintf(other, sizeof(other), "%s.immure-proof", dir); /* cut: absent */
		if (attack_try(r, rename(dir, other), dir))
			(void)rename(other, dir); /* undoing */
	}
	if (r->outcome == ATTACK_NONE)
		attack_unsupported(r, "no protected file");
}

static const struct attack table[] = {
	{ "file_write.root", write_root },
	{ "file_write.outside", write_outside },
	{ "file_write.existing", write_existing },
	{ "file_write.workspace-ro", write_workspace_ro },
	{ "file_write.remount", remount },
	{ "file_write.own-image", own_image },
	{ "file_write.climb", climb },
	{ "file_write.chroot", chroot_out },
	{ "file_write.setuid", setuid_file },
	{ "file_write.protected-write", protected_write },
	{ "file_write.protected-rename", protected_rename },
	{ "file_write.protected-replace", protected_replace },
	{ "file_write.protected-link", protected_link },
	{ "file_write.protected-parent", protected_parent },
};
const struct attack_list attack_files = { table, sizeof(table) / sizeof(table[0]) };
