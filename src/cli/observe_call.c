/* SPDX-License-Identifier: Apache-2.0 */
/* What a system call that failed was about, read from the stopped process. All of it is
 * what that process says of itself, read after the fact: it is told, never acted upon. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/observe.h"

enum { NONE = -1 };

/* Where a call has its directory and its path, and what it does there. */
static const struct {
	long nr;
	int dir, path;
	enum immure_refused what;
} calls[] = {
#ifdef SYS_open
	{ SYS_open, NONE, 0, IMMURE_REFUSED_READ },
	{ SYS_creat, NONE, 0, IMMURE_REFUSED_CHANGE },
	{ SYS_mkdir, NONE, 0, IMMURE_REFUSED_CHANGE },
	{ SYS_rmdir, NONE, 0, IMMURE_REFUSED_CHANGE },
	{ SYS_unlink, NONE, 0, IMMURE_REFUSED_CHANGE },
	{ SYS_rename, NONE, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_link, NONE, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_symlink, NONE, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_mknod, NONE, 0, IMMURE_REFUSED_CHANGE },
	{ SYS_chmod, NONE, 0, IMMURE_REFUSED_WRITE },
	{ SYS_chown, NONE, 0, IMMURE_REFUSED_WRITE },
	{ SYS_lchown, NONE, 0, IMMURE_REFUSED_WRITE },
	{ SYS_utimes, NONE, 0, IMMURE_REFUSED_WRITE },
	{ SYS_access, NONE, 0, IMMURE_REFUSED_READ },
	{ SYS_stat, NONE, 0, IMMURE_REFUSED_READ },
	{ SYS_lstat, NONE, 0, IMMURE_REFUSED_READ },
	{ SYS_readlink, NONE, 0, IMMURE_REFUSED_READ },
#endif
#ifdef SYS_renameat
	{ SYS_renameat, 2, 3, IMMURE_REFUSED_CHANGE },
#endif
#ifdef SYS_newfstatat
	{ SYS_newfstatat, 0, 1, IMMURE_REFUSED_READ },
#endif
	{ SYS_openat, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_openat2, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_mkdirat, 0, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_unlinkat, 0, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_renameat2, 2, 3, IMMURE_REFUSED_CHANGE },
	{ SYS_linkat, 2, 3, IMMURE_REFUSED_CHANGE },
	{ SYS_symlinkat, 1, 2, IMMURE_REFUSED_CHANGE },
	{ SYS_mknodat, 0, 1, IMMURE_REFUSED_CHANGE },
	{ SYS_fchmodat, 0, 1, IMMURE_REFUSED_WRITE },
	{ SYS_fchownat, 0, 1, IMMURE_REFUSED_WRITE },
	{ SYS_utimensat, 0, 1, IMMURE_REFUSED_WRITE },
	{ SYS_truncate, NONE, 0, IMMURE_REFUSED_WRITE },
	{ SYS_statx, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_faccessat, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_faccessat2, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_readlinkat, 0, 1, IMMURE_REFUSED_READ },
	{ SYS_chdir, NONE, 0, IMMURE_REFUSED_READ },
	{ SYS_execve, NONE, 0, IMMURE_REFUSED_EXECUTE },
	{ SYS_execveat, 0, 1, IMMURE_REFUSED_EXECUTE },
};

/* Those that are about the system itself. */
static const struct {
	long nr;
	const char *name;
} named[] = {
	{ SYS_mount, "mount" }, { SYS_umount2, "umount2" }, { SYS_unshare, "unshare" }, { SYS_setns, "setns" },
	{ SYS_ptrace, "ptrace" }, { SYS_bpf, "bpf" }, { SYS_perf_event_open, "perf_event_open" },
	{ SYS_userfaultfd, "userfaultfd" }, { SYS_keyctl, "keyctl" }, { SYS_add_key, "add_key" },
	{ SYS_request_key, "request_key" }, { SYS_io_uring_setup, "io_uring_setup" }, { SYS_socket, "socket" },
	{ SYS_chroot, "chroot" }, { SYS_pivot_root, "pivot_root" }, { SYS_sethostname, "sethostname" },
	{ SYS_setuid, "setuid" }, { SYS_setgid, "setgid" }, { SYS_setresuid, "setresuid" },
	{ SYS_setresgid, "setresgid" }, { SYS_setgroups, "setgroups" }, { SYS_clock_settime, "clock_settime" },
	{ SYS_process_vm_readv, "process_vm_readv" }, { SYS_process_vm_writev, "process_vm_writev" },
	{ SYS_fanotify_init, "fanotify_init" }, { SYS_memfd_create, "memfd_create" }, { SYS_kill, "kill" },
	{ SYS_sched_setscheduler, "sched_setscheduler" }, { SYS_swapon, "swapon" }, { SYS_reboot, "reboot" },
	{ SYS_open_by_handle_at, "open_by_handle_at" }, { SYS_fsopen, "fsopen" }, { SYS_move_mount, "move_mount" },
	{ SYS_open_tree, "open_tree" },
};

/* By words, as the tracer may: whatever the process says of its dumpability. */
static size_t peek(pid_t pid, uint64_t at, void *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t n = size - done < sizeof(long) ? size - done : sizeof(long);
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, at + done, 0);
		if (errno)
			return done;
		memcpy((char *)to + done, &word, n);
		done += n;
	}
	return done;
}

static bool peek_text(pid_t pid, uint64_t at, char *to, size_t size)
{
	for (size_t done = 0; done < size; done += 64) {
		size_t want = size - done < 64 ? size - done : 64;
		/* Up to a page's end at first: the next one need not be there. */
		size_t n = peek(pid, at + done, to + done, want);

		if (memchr(to + done, '\0', n))
			return true;
		if (n < want)
			return false;
	}
	return false;
}

static bool link_of(pid_t pid, const char *what, uint64_t fd, bool is_fd, char *to)
{
	char name[64];
	ssize_t n;

	if (is_fd)
		(void)snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)pid, (int)fd);
	else
		(void)snprintf(name, sizeof(name), "/proc/%d/%s", (int)pid, what);
	n = readlink(name, to, PATH_MAX - 1);
	if (n <= 0 || to[0] != '/')
		return false;
	to[n] = '\0';
	return true;
}

/* Takes "." and ".." out, by the words alone. */
static void tidy(char *path)
{
	char out[PATH_MAX] = "";
	size_t len = 0;

	for (char *p = path; *p;) {
		size_t n;

		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && p[0] == '.')) {
			out[len++] = '/';
			memcpy(out + len, p, n);
			len += n;
		}
		p += n;
	}
	out[len] = '\0';
	memcpy(path, len ? out : "/", len ? len + 1 : 2);
}

static bool whole_path(pid_t pid, bool has_dir, uint64_t dir, uint64_t at, char *path)
{
	char text[PATH_MAX], base[PATH_MAX];
	bool known;

	if (!peek_text(pid, at, text, sizeof(text)))
		return false;
	if (text[0] == '/') {
		memcpy(path, text, strlen(text) + 1);
		tidy(path);
		return true;
	}
	known = has_dir && (int)dir != AT_FDCWD ? link_of(pid, NULL, dir, true, base)
						: link_of(pid, "cwd", 0, false, base);
	if (!known || snprintf(path, PATH_MAX, "%s/%s", base, text) >= PATH_MAX)
		return false;
	tidy(path);
	return true;
}

static enum immure_refused opening(uint64_t flags)
{
	if (flags & O_CREAT)
		return IMMURE_REFUSED_CHANGE;
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC ? IMMURE_REFUSED_WRITE : IMMURE_REFUSED_READ;
}

static uint64_t open_flags(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	uint64_t how = 0;

#ifdef SYS_open
	if (nr == SYS_open)
		return args[1];
#endif
	if (nr == SYS_openat)
		return args[2];
	if (nr == SYS_openat2)
		(void)peek(pid, args[2], &how, sizeof(how)); /* short: for reading */
	return how;
}

/* Refused, not absent: what is absent both inside and outside is the command's matter. */
static bool is_refusal(int errnum, const char *path)
{
	struct stat st;

	if (errnum == EACCES || errnum == EPERM || errnum == EROFS)
		return true;
	return (errnum == ENOENT || errnum == ENOTDIR) && lstat(path, &st) == 0;
}

static bool connecting(pid_t pid, const uint64_t args[6], int errnum, enum immure_refused *ret, char *path)
{
	struct sockaddr_storage to;
	char address[INET6_ADDRSTRLEN];
	size_t len = args[2] < sizeof(to) ? (size_t)args[2] : sizeof(to);

	memset(&to, 0, sizeof(to));
	if (peek(pid, args[1], &to, len) < len)
		return false;
	if (to.ss_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)&to;

		if (un->sun_path[0] != '/' || (errnum != EACCES && errnum != EPERM && errnum != ENOENT))
			return false;
		(void)snprintf(path, PATH_MAX, "%.*s", (int)sizeof(un->sun_path), un->sun_path);
		*ret = IMMURE_REFUSED_CONNECT;
		return is_refusal(errnum, path);
	}
	if (errnum != ENETUNREACH && errnum != EACCES && errnum != EPERM && errnum != ECONNREFUSED &&
	    errnum != EHOSTUNREACH)
		return false;
	if (to.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&to;

		if (!inet_ntop(AF_INET, &in->sin_addr, address, sizeof(address)))
			return false;
		(void)snprintf(path, PATH_MAX, "%s:%u", address, ntohs(in->sin_port));
	} else if (to.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&to;

		if (!inet_ntop(AF_INET6, &in->sin6_addr, address, sizeof(address)))
			return false;
		(void)snprintf(path, PATH_MAX, "[%s]:%u", address, ntohs(in->sin6_port));
	} else {
		return false;
	}
	*ret = IMMURE_REFUSED_DIAL;
	return true;
}

bool immure_observe_call(pid_t pid, uint64_t nr, const uint64_t args[6], int errnum,
			 enum immure_refused *ret, char *path)
{
	struct stat st;

	if (nr == SYS_connect)
		return connecting(pid, args, errnum, ret, path);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if ((uint64_t)calls[i].nr != nr)
			continue;
		*ret = calls[i].what;
		if (calls[i].what == IMMURE_REFUSED_READ)
			*ret = opening(open_flags(pid, nr, args));
		if (!whole_path(pid, calls[i].dir >= 0, calls[i].dir >= 0 ? args[calls[i].dir] : 0,
				args[calls[i].path], path) || !is_refusal(errnum, path))
			return false;
		/* What is there is not made. */
		if (calls[i].what == IMMURE_REFUSED_READ && *ret == IMMURE_REFUSED_CHANGE && lstat(path, &st) == 0)
			*ret = IMMURE_REFUSED_WRITE;
		return true;
	}
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if ((uint64_t)named[i].nr != nr || (errnum != EPERM && errnum != EACCES &&
						    errnum != ENOSYS && errnum != EAFNOSUPPORT))
			continue;
		*ret = IMMURE_REFUSED_CALL;
		(void)snprintf(path, PATH_MAX, "%s", named[i].name);
		return true;
	}
	return false;
}
