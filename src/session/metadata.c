/* SPDX-License-Identifier: Apache-2.0 */
#include "session/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/path.h"
#include "kernel/landlock.h"
#include "kernel/sys.h"

/* Of the other work of this process a storm of calls takes no more than so many. */
enum { TURN = 64 };

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* ---- what is asked ---- */

struct ask {
	bool times;        /* else mode */
	mode_t mode;
	bool now;          /* times: those of the clock */
	struct timespec at[2];
	int dirfd;         /* AT_FDCWD, or the caller's number */
	uint64_t path;     /* 0: the descriptor itself */
	int flags;         /* AT_* */
};

static bool understand(const struct immure_notice *n, struct ask *a)
{
	*a = (struct ask){ .dirfd = AT_FDCWD };
	switch (n->nr) {
#ifdef SYS_chmod
	case SYS_chmod:
		a->path = n->args[0];
		a->mode = (mode_t)n->args[1];
		return a->path;
#endif
	case SYS_fchmod:
		a->dirfd = (int)n->args[0];
		a->mode = (mode_t)n->args[1];
		return a->dirfd >= 0;
	case SYS_fchmodat2:
		a->flags = (int)n->args[3];
		/* fall through */
	case SYS_fchmodat:
		a->dirfd = (int)n->args[0];
		a->path = n->args[1];
		a->mode = (mode_t)n->args[2];
		return a->path;
	case SYS_utimensat:
		a->times = true;
		a->dirfd = (int)n->args[0];
		a->path = n->args[1];
		a->flags = (int)n->args[3];
		return a->path || a->dirfd >= 0;
	default: /* a filter of the command's own may send others here */
		return false;
	}
}

/* ---- where ---- */

/* Page by page: what lies behind the end of a string need not be there. */
static int read_path(const struct immure_notice *n, uint64_t at, char ret[PATH_MAX])
{
	size_t len = 0;

	while (len < PATH_MAX) {
		size_t chunk = 4096 - (size_t)((at + len) & 4095);
		int r;

		if (chunk > PATH_MAX - len)
			chunk = PATH_MAX - len;
		r = immure_notify_read(n, at + len, ret + len, chunk);
		if (r < 0)
			return r;
		if (memchr(ret + len, 0, chunk))
			return 0;
		len += chunk;
	}
	return -ENAMETOOLONG;
}

static int name_of(const char *link, char ret[PATH_MAX])
{
	ssize_t len = readlink(link, ret, PATH_MAX);

	if (len < 0 || len >= PATH_MAX)
		return len < 0 ? -errno : -ENAMETOOLONG;
	ret[len] = '\0';
	return ret[0] == '/' ? 0 : -EPERM;
}

static int name_of_fd(int fd, char ret[PATH_MAX])
{
	char link[32];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return name_of(link, ret);
}

/* What the path is relative to. */
static int start_of(const struct immure_notice *n, const struct ask *a, char ret[PATH_MAX])
{
	char link[32];

	if (a->dirfd == AT_FDCWD) {
		(void)snprintf(link, sizeof(link), "/proc/%d/cwd", n->tid);
		return name_of(link, ret);
	}
	IMMURE_CLEANUP_FD int fd = immure_notify_take_fd(n, a->dirfd);
	return fd < 0 ? fd : name_of_fd(fd, ret);
}

/* The i-th place that the command may write, and all below it; NULL: this operation is
 * none. Devices are no files of anybody's. */
static const char *writable(const struct immure_metadata *m, size_t i, char buf[PATH_MAX])
{
	const struct immure_op *op = &m->plan->ops[i], *own;
	size_t n;

	if (op->kind != IMMURE_OP_LANDLOCK_RULE || !(op->num[0] & IMMURE_LANDLOCK_FS_WRITE_FILE) ||
	    immure_path_is_under(op->dst, "/dev") || immure_path_is_under(op->dst, "/proc"))
		return NULL;
	own = immure_plan_find(m->plan, IMMURE_OP_SESSION_DIR);
	n = own ? strlen(own->dst) : 0;
	if (!own || strncmp(op->dst, own->dst, n) != 0 || (op->dst[n] != '/' && op->dst[n]))
		return op->dst;
	if (!m->session_dir || !m->session_dir[0] ||
	    snprintf(buf, PATH_MAX, "%s%s", m->session_dir, op->dst + n) >= PATH_MAX)
		return NULL;
	return buf;
}

static bool is_writable(const struct immure_metadata *m, const char *path)
{
	char buf[PATH_MAX];

	for (size_t i = 0; i < m->plan->ops_n; i++) {
		const char *place = writable(m, i, buf);

		if (place && immure_path_is_under(path, place))
			return true;
	}
	return false;
}

/* Of the place alone, then of the rest beneath it: neither a link nor ".." leads out, and
 * nothing outside is ever waited for. */
static int open_beneath(const char *place, const char *path, bool follow)
{
	const char *rest = path + strlen(place);
	/* One place may lie in another, where a command can put a link on the way. */
	IMMURE_CLEANUP_FD int top = immure_sys_openat2(AT_FDCWD, place, O_PATH | O_CLOEXEC,
						       IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS);

	if (top < 0)
		return top;
	rest += strspn(rest, "/");
	if (!rest[0])
		return immure_take_fd(&top);
	return immure_sys_openat2(top, rest, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
				  IMMURE_RESOLVE_BENEATH | IMMURE_RESOLVE_NO_MAGICLINKS);
}

static int open_path(const struct immure_metadata *m, const char *path, bool follow)
{
	char buf[PATH_MAX];
	int r = -EPERM;

	for (size_t i = 0; i < m->plan->ops_n; i++) {
		const char *place = writable(m, i, buf);
		size_t n = place ? strlen(place) : 0;

		/* By its words: what they lead to is looked at when it is opened. */
		if (!place || strncmp(path, place, n) != 0 || (path[n] != '/' && path[n]))
			continue;
		r = open_beneath(place, path, follow);
		if (r != -EXDEV)
			return r;
		r = -EPERM;
	}
	return r;
}

/* "." and "//" as programs write them; ".." is beneath's to judge. */
static void tidy(char *path)
{
	char *to = path;

	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");

		if (len > 0 && !(len == 1 && p[0] == '.')) {
			*to++ = '/';
			memmove(to, p, len);
			to += len;
		}
		p += len;
		p += *p == '/';
	}
	*to = '\0';
}

/* The C library's way to change what a descriptor is for that was opened for nothing:
 * "/proc/self/fd/N". Which that is depends on who asks. -1: something else. */
static int descriptor_in(const char *path)
{
	static const char *const ways[] = { "/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/" };
	uint64_t number;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strncmp(path, ways[i], strlen(ways[i])) == 0 &&
		    immure_parse_u64(path + strlen(ways[i]), &number) == 0 && number <= INT_MAX)
			return (int)number;
	return -1;
}

/* What it is about, held; only what lies where the command may write. */
static int find(const struct immure_metadata *m, int listener_fd, const struct immure_notice *n,
		const struct ask *a)
{
	char path[PATH_MAX] = "", start[PATH_MAX], whole[2 * PATH_MAX];
	IMMURE_CLEANUP_FD int fd = -1;
	int r = a->path ? read_path(n, a->path, path) : 0, number;

	if (r < 0)
		return r;
	number = a->flags & AT_SYMLINK_NOFOLLOW ? -1 : descriptor_in(path);
	if (!path[0] || number >= 0) {
		if (!path[0] && a->path && !(a->flags & AT_EMPTY_PATH))
			return -ENOENT;
		if (number < 0)
			number = a->dirfd;
		if (number < 0)
			return -EPERM;
		fd = immure_notify_take_fd(n, number);
		if (fd >= 0 && !immure_notify_valid(listener_fd, n->id))
			return -ENOENT; /* it may have been another's */
		return immure_take_fd(&fd);
	}
	if (path[0] != '/') {
		r = start_of(n, a, start);
		if (r < 0)
			return r;
	}
	if (!immure_notify_valid(listener_fd, n->id))
		return -ENOENT; /* as above */
	if (snprintf(whole, sizeof(whole), "%s/%s", path[0] == '/' ? "" : start, path) >= PATH_MAX)
		return -ENAMETOOLONG;
	tidy(whole);
	return open_path(m, whole, !(a->flags & AT_SYMLINK_NOFOLLOW));
}

/* ---- what is done ---- */

/* What the kernel asks of the caller, who may be less than we are; and files alone. */
static int permit(const struct immure_metadata *m, const struct ask *a, int fd)
{
	const struct immure_op *id = immure_plan_find(m->plan, IMMURE_OP_IDMAP);
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!id || st.st_uid != (uid_t)id->num[0])
		return -EPERM;
	if (S_ISLNK(st.st_mode))
		return a->times ? 0 : -EOPNOTSUPP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return -EPERM;
	return !a->times && a->mode & (S_ISUID | S_ISGID) ? -EPERM : 0;
}

/* By its magic link, which leads to that very file: calls that take an O_PATH descriptor
 * are newer than most kernels. */
static int change(const struct ask *a, int fd)
{
	char link[32];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (a->times)
		return utimensat(AT_FDCWD, link, a->now ? NULL : a->at, 0) < 0 ? -errno : 0;
	return chmod(link, a->mode & 01777) < 0 ? -errno : 0;
}

int immure_metadata_answer(const struct immure_metadata *m, int listener_fd, const struct immure_notice *n)
{
	char path[PATH_MAX];
	struct ask a;
	int r = 0;

	if (!m || !m->plan || !understand(n, &a))
		return -EPERM;
	if (a.flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (a.times) {
		uint64_t at = n->args[2];

		a.now = at == 0;
		r = a.now ? 0 : immure_notify_read(n, at, a.at, sizeof(a.at));
	}
	if (r < 0)
		return r;
	IMMURE_CLEANUP_FD int fd = find(m, listener_fd, n, &a);
	if (fd < 0)
		return fd;
	/* However it was found: as the kernel calls it now. */
	r = name_of_fd(fd, path);
	if (r == 0)
		r = is_writable(m, path) ? permit(m, &a, fd) : -EPERM;
	return r < 0 ? r : change(&a, fd);
}

void immure_metadata_step(struct immure_metadata *m)
{
	struct immure_notice n;

	for (int i = 0; i < TURN; i++) {
		int r = immure_notify_waits(m->listener_fd);

		if (r < 0) /* nobody is left inside */
			immure_close(&m->listener_fd);
		if (r <= 0)
			return;
		if (immure_notify_receive(m->listener_fd, &n) != 1)
			continue;
		r = immure_metadata_answer(m, m->listener_fd, &n);
		/* Gone meanwhile: then nobody is left to tell. */
		(void)immure_notify_answer(m->listener_fd, n.id, 0, -r);
	}
}
