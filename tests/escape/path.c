// SPDX-License-Identifier: Apache-2.0
/*
 * Every system call that takes a path, as one act each, so that the driver can
 * make the product of calls and of masked or read-only places. Arguments:
 *   0 the victim path   1 an existing file of ours   2 a name of ours that is free
 * Both of ours are in the workspace. Tags: "read" learns something about the
 * victim, "write" changes it or its directory; "dir" wants a directory,
 * "link" a symlink, "exec" a program, "sock" a socket as the victim.
 */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif
#ifndef __NR_setxattrat
#define __NR_setxattrat 463
#endif

#define ACT(id, expr) \
	static int act_##id(char **a) \
	{ \
		return verdict(expr); \
	}

/* An existing file's or directory's descriptor, then an act on it. */
#define FD_ACT(id, flags, expr) \
	static int act_##id(char **a) \
	{ \
		int fd = open(a[0], flags); \
		if (fd < 0) \
			return denied(errno); \
		return verdict(expr); \
	}

/* A new name next to the victim. */
static const char *beside(const char *victim)
{
	static char name[4200];
	char dir[4096];

	snprintf(name, sizeof(name), "%s/immure-new", parent_of(victim, dir, sizeof(dir)));
	return name;
}

static const struct timeval past[2] = {{1000, 0}, {1000, 0}};
static const struct timespec past_ns[2] = {{1000, 0}, {1000, 0}};

/* ---- reading ---- */
ACT(open, syscall(SYS_open, a[0], O_RDONLY))
ACT(openat, openat(AT_FDCWD, a[0], O_RDONLY))

static int act_openat2(char **a)
{
	struct open_how how = {.flags = O_RDONLY};

	return verdict(syscall(SYS_openat2, AT_FDCWD, a[0], &how, sizeof(how)));
}

static int act_o_path_reopen(char **a)
{
	char name[64];
	int fd = open(a[0], O_PATH);

	if (fd < 0)
		return denied(errno);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return verdict(open(name, O_RDONLY));
}

static int act_parent_fd(char **a)
{
	char dir[4096];
	int fd = open(parent_of(a[0], dir, sizeof(dir)), O_PATH | O_DIRECTORY);

	if (fd < 0)
		return denied(errno);
	return verdict(openat(fd, strrchr(a[0], '/') + 1, O_RDONLY));
}

static int act_through(const char *prefix, const char *path)
{
	char name[4200];

	snprintf(name, sizeof(name), "%s%s", prefix, path);
	return verdict(open(name, O_RDONLY));
}

static int act_proc_self_root(char **a)
{
	return act_through("/proc/self/root", a[0]);
}

static int act_proc_thread_root(char **a)
{
	return act_through("/proc/thread-self/root", a[0]);
}

static int act_proc_cwd(char **a)
{
	return chdir("/") < 0 ? broken("chdir") : act_through("/proc/self/cwd", a[0]);
}

static int act_dotdot(char **a)
{
	return act_through("/usr/..//./", a[0]);
}

static int act_symlink_read(char **a)
{
	if (symlink(a[0], a[2]) < 0)
		return broken("symlink");
	return verdict(open(a[2], O_RDONLY));
}

static int act_symlink_chain(char **a)
{
	char dir[4096], name[8300];

	/* The link names the directory; the last component is ours to add. */
	if (symlink(parent_of(a[0], dir, sizeof(dir)), a[2]) < 0)
		return broken("symlink");
	snprintf(name, sizeof(name), "%s/%s", a[2], strrchr(a[0], '/') + 1);
	return verdict(open(name, O_RDONLY));
}

static int act_chmod_then_open(char **a)
{
	(void)chmod(a[0], 0777); /* the open below tells whether it helped */
	return verdict(open(a[0], O_RDONLY));
}

static int act_mmap_exec(char **a)
{
	int fd = open(a[0], O_RDONLY);

	if (fd < 0)
		return denied(errno);
	return verdict(mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
}

static int act_getdents(char **a)
{
	DIR *dir = opendir(a[0]);
	struct dirent *entry;

	if (!dir)
		return denied(errno);
	errno = 0;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return done("%s", entry->d_name);
	return denied(errno ? errno : ENOENT);
}

static int act_chdir(char **a)
{
	return chdir(a[0]) < 0 ? denied(errno) : verdict(open(".", O_RDONLY));
}

static int act_readlink(char **a)
{
	char text[256];

	return verdict(readlink(a[0], text, sizeof(text)));
}

static int act_stat(char **a)
{
	struct stat st;

	return verdict(stat(a[0], &st));
}

static int act_lstat(char **a)
{
	struct stat st;

	return verdict(lstat(a[0], &st));
}

static int act_fstatat(char **a)
{
	struct stat st;

	return verdict(fstatat(AT_FDCWD, a[0], &st, AT_SYMLINK_NOFOLLOW));
}

static int act_statx(char **a)
{
	struct statx st;

	return verdict(statx(AT_FDCWD, a[0], 0, STATX_BASIC_STATS, &st));
}

static int act_statfs(char **a)
{
	struct statfs st;

	return verdict(statfs(a[0], &st));
}

ACT(access, access(a[0], F_OK))
ACT(faccessat2, syscall(439, AT_FDCWD, a[0], R_OK, AT_EACCESS))
ACT(inotify, inotify_add_watch(inotify_init(), a[0], IN_ALL_EVENTS))
ACT(listxattr, listxattr(a[0], NULL, 0))

static int act_handle(char **a)
{
	struct {
		struct file_handle head;
		unsigned char data[128];
	} handle = {.head.handle_bytes = 128};
	int mount;

	return verdict(name_to_handle_at(AT_FDCWD, a[0], &handle.head, &mount, 0));
}

static int exec_verdict(char **a, int with_execveat)
{
	char *argv[] = {a[0], NULL}, *envp[] = {NULL};
	int ends[2], saved = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return broken("pipe");
	pid = fork();
	if (pid == 0) {
		if (with_execveat)
			syscall(SYS_execveat, AT_FDCWD, a[0], argv, envp, 0);
		else
			execve(a[0], argv, envp);
		saved = errno;
		(void)!write(ends[1], &saved, sizeof(saved));
		_exit(1);
	}
	close(ends[1]);
	if (read(ends[0], &saved, sizeof(saved)) != sizeof(saved))
		saved = 0;
	waitpid(pid, NULL, 0);
	return saved ? denied(saved) : done("ran");
}

static int act_execve(char **a)
{
	return exec_verdict(a, 0);
}

static int act_execveat(char **a)
{
	return exec_verdict(a, 1);
}

static int act_connect(char **a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", a[0]);
	return verdict(connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
}

static int act_sendto_dgram(char **a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", a[0]);
	return verdict(sendto(fd, "x", 1, 0, (struct sockaddr *)&addr, sizeof(addr)));
}

/* ---- writing ---- */
ACT(open_write, open(a[0], O_WRONLY))
ACT(open_append, open(a[0], O_WRONLY | O_APPEND))
ACT(open_trunc, open(a[0], O_RDONLY | O_TRUNC))
ACT(creat, syscall(SYS_creat, a[0], 0644))
ACT(open_creat, open(beside(a[0]), O_CREAT | O_EXCL | O_WRONLY, 0644))
ACT(truncate, truncate(a[0], 0))
ACT(link_from, link(a[0], a[2]))
ACT(link_over, link(a[1], beside(a[0])))
ACT(rename_from, rename(a[0], a[2]))
ACT(rename_over, rename(a[1], a[0]))
ACT(renameat, renameat(AT_FDCWD, a[1], AT_FDCWD, a[0]))
ACT(rename_exchange, syscall(SYS_renameat2, AT_FDCWD, a[1], AT_FDCWD, a[0], RENAME_EXCHANGE))
ACT(rename_beside, syscall(SYS_renameat2, AT_FDCWD, a[0], AT_FDCWD, beside(a[0]), 0))
ACT(unlink, syscall(SYS_unlink, a[0]))
ACT(unlinkat, unlinkat(AT_FDCWD, a[0], 0))
ACT(rmdir, rmdir(a[0]))
ACT(mkdir, syscall(SYS_mkdir, beside(a[0]), 0755))
ACT(mkdirat, mkdirat(AT_FDCWD, beside(a[0]), 0755))
ACT(mknod_fifo, syscall(SYS_mknod, beside(a[0]), S_IFIFO | 0644, 0))
ACT(mknodat_file, mknodat(AT_FDCWD, beside(a[0]), S_IFREG | 0644, 0))
ACT(symlink, syscall(SYS_symlink, "/", beside(a[0])))
ACT(symlinkat, symlinkat("/", AT_FDCWD, beside(a[0])))
ACT(chmod, syscall(SYS_chmod, a[0], 0777))
ACT(fchmodat, fchmodat(AT_FDCWD, a[0], 0777, 0))
ACT(fchmodat2, syscall(__NR_fchmodat2, AT_FDCWD, a[0], 0777, AT_SYMLINK_NOFOLLOW))
ACT(chown, syscall(SYS_chown, a[0], getuid(), getgid()))
ACT(lchown, lchown(a[0], getuid(), getgid()))
ACT(fchownat, fchownat(AT_FDCWD, a[0], getuid(), getgid(), 0))
ACT(utime, syscall(SYS_utime, a[0], NULL))
ACT(utimes, syscall(SYS_utimes, a[0], past))
ACT(futimesat, syscall(SYS_futimesat, AT_FDCWD, a[0], past))
ACT(utimensat, utimensat(AT_FDCWD, a[0], past_ns, 0))
ACT(setxattr, setxattr(a[0], "user.immure", "x", 1, 0))
ACT(lsetxattr, lsetxattr(a[0], "user.immure", "x", 1, 0))
FD_ACT(fchmod, O_RDONLY, fchmod(fd, 0777))
FD_ACT(fchown, O_RDONLY, fchown(fd, getuid(), getgid()))
FD_ACT(futimens, O_RDONLY, futimens(fd, past_ns))
FD_ACT(fsetxattr, O_RDONLY, fsetxattr(fd, "user.immure", "x", 1, 0))

static int act_removexattr(char **a)
{
	/* The driver put it there. */
	return verdict(removexattr(a[0], "user.planted"));
}

static int act_setflags(char **a)
{
	int flags = 0, fd = open(a[0], O_RDONLY);

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return denied(errno);
	flags ^= FS_NODUMP_FL;
	return verdict(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int act_fd_reopen_write(char **a)
{
	char name[64];
	int fd = open(a[0], O_RDONLY);

	if (fd < 0)
		return denied(errno);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return verdict(open(name, O_RDWR));
}

static int act_symlink_write(char **a)
{
	if (symlink(a[0], a[2]) < 0)
		return broken("symlink");
	return verdict(open(a[2], O_WRONLY));
}

static int act_tmpfile(char **a)
{
	char dir[4096];

	return verdict(open(parent_of(a[0], dir, sizeof(dir)), O_TMPFILE | O_WRONLY, 0644));
}

static int act_bind_socket(char **a)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", beside(a[0]));
	return verdict(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
}

#define R(id) {#id, "read", act_##id}
#define RK(id, kind) {#id, "read " kind, act_##id}
#define W(id) {#id, "write", act_##id}
/* Makes a new name beside the victim, whatever the victim itself is. */
#define WB(id) {#id, "write beside", act_##id}

static const struct attack attacks[] = {
	R(open), R(openat), R(openat2), R(o_path_reopen), R(parent_fd), R(proc_self_root),
	R(proc_thread_root), R(proc_cwd), R(dotdot), R(symlink_read), R(symlink_chain),
	R(chmod_then_open), R(mmap_exec),
	RK(getdents, "dir"), RK(chdir, "dir"),
	RK(readlink, "link"),
	/* A masked object may be seen to exist; what is below it may not. */
	RK(stat, "child"), RK(lstat, "child"), RK(fstatat, "child"), RK(statx, "child"),
	RK(statfs, "child"), RK(access, "child"), RK(faccessat2, "child"), RK(inotify, "child"),
	RK(listxattr, "child"), RK(handle, "child"),
	RK(execve, "exec"), RK(execveat, "exec"),
	RK(connect, "sock"), RK(sendto_dgram, "dgram"),
	W(open_write), W(open_append), W(open_trunc), W(creat), WB(open_creat), W(truncate),
	W(link_from), WB(link_over), W(rename_from), W(rename_over), W(renameat),
	W(rename_exchange), W(rename_beside), W(unlink), W(unlinkat), WB(mkdir), WB(mkdirat),
	WB(mknod_fifo), WB(mknodat_file), WB(symlink), WB(symlinkat), W(chmod), W(fchmodat),
	W(fchmodat2), W(chown), W(lchown), W(fchownat), W(utime), W(utimes), W(futimesat),
	W(utimensat), W(setxattr), W(lsetxattr), W(fchmod), W(fchown), W(futimens), W(fsetxattr),
	W(removexattr), W(setflags), W(fd_reopen_write), W(symlink_write), WB(tmpfile),
	WB(bind_socket),
	{"rmdir", "write emptydir", act_rmdir},
};
FAMILY(path, attacks);
