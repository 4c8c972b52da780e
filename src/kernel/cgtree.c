/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/cgtree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/names.h"
#include "kernel/procid.h"
#include "kernel/sys.h"

enum { DEPTH_MAX = 32, PATH_LEN = 4096, MAGIC_V1 = 0x27e0eb, MAGIC_V2 = 0x63677270 };

bool immure_cgtree_name(const char *name, int32_t *ret_pid, uint64_t *ret_ns)
{
	const char *p = name + 7;
	unsigned long pid;
	char *end;

	if (strncmp(name, "immure-", 7) != 0 || *p < '1' || *p > '9')
		return false;
	errno = 0;
	pid = strtoul(p, &end, 10);
	if (errno || pid > INT32_MAX || *end != '-')
		return false;
	p = end + 1;
	if (*p == '\0' || strspn(p, "0123456789abcdef") != strlen(p))
		return false;
	*ret_ns = strtoull(p, NULL, 16);
	*ret_pid = (int32_t)pid;
	return errno == 0;
}

int immure_cgtree_open(const char *path, bool *ret_v2)
{
	const char *name = strrchr(path, '/');
	struct statfs fs;
	struct stat st;
	uint64_t ns;
	int32_t pid;
	int fd, r = 0;

	if (path[0] != '/' || !name || !immure_cgtree_name(name + 1, &pid, &ns))
		return -EINVAL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		r = -errno;
	else if (fs.f_type != MAGIC_V1 && fs.f_type != MAGIC_V2)
		r = -EINVAL;
	else if (st.st_uid != geteuid())
		r = -EPERM;
	if (r < 0) {
		immure_close(&fd);
		return r;
	}
	*ret_v2 = fs.f_type == MAGIC_V2;
	return fd;
}

/* ---- going down ---- */

static int each_below(int dir_fd, int depth, int (*each)(void *ctx, int dir, int depth), void *ctx)
{
	struct stat st;
	struct dirent *d;
	DIR *dir;
	int fd, r = 0;

	/* cgroup directories count the ones below them: most have none. */
	if (fstat(dir_fd, &st) < 0)
		return -errno;
	if (st.st_nlink <= 2 || depth >= DEPTH_MAX)
		return 0;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = -errno;
		immure_close(&fd);
		return r;
	}
	while (r == 0 && (d = immure_readdir(dir, &r))) {
		int sub;

		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		sub = openat(dir_fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue; /* gone meanwhile */
		r = each(ctx, sub, depth + 1);
		immure_close(&sub);
	}
	(void)closedir(dir); /* read only: nothing is lost */
	return r;
}

/* ---- members ---- */

struct members {
	int (*each)(void *ctx, int32_t pid);
	void *ctx;
};

static int members_at(void *ctx, int dir_fd, int depth)
{
	struct members *m = ctx;
	char *text = NULL;
	int r = immure_read_file_at(dir_fd, "cgroup.procs", 4 << 20, &text, NULL);

	/* ENODEV: removed meanwhile. EOPNOTSUPP: threaded, its processes are above. */
	if (r == -ENODEV || r == -EOPNOTSUPP || r == -ENOENT)
		r = 0;
	for (char *p = text, *end; r == 0 && p && *p; p = end + (*end == '\n')) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		r = m->each(m->ctx, (int32_t)pid);
	}
	free(text);
	return r ? r : each_below(dir_fd, depth, members_at, m);
}

int immure_cgtree_members(int dir_fd, int (*each)(void *ctx, int32_t pid), void *ctx)
{
	struct members m = { .each = each, .ctx = ctx };

	return members_at(&m, dir_fd, 0);
}

struct member {
	int32_t pid;
	int fd;
};

enum { BATCH = 256 };

struct batch {
	struct member v[BATCH];
	size_t n;
	bool more;
};

static int open_member(void *ctx, int32_t pid)
{
	struct batch *b = ctx;
	int fd;

	if (b->n == BATCH) {
		b->more = true;
		return 1;
	}
	fd = pid > 0 ? (int)IMMURE_SYS(syscall(SYS_pidfd_open, pid, 0)) : -1;
	if (fd >= 0)
		b->v[b->n++] = (struct member){ .pid = pid, .fd = fd };
	return 0;
}

static int kill_member(void *ctx, int32_t pid)
{
	struct batch *b = ctx;

	/* Listed after the pidfd was opened: if that is of another process by now,
	 * it is of one that has ended, and the signal goes nowhere. */
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].pid == pid)
			(void)immure_pidfd_kill(b->v[i].fd, SIGKILL); /* it stays a member: seen */
	return 0;
}

int immure_cgtree_kill(int dir_fd, bool v2)
{
	struct batch b = { .n = 0 };
	int r;

	if (v2 && immure_write_file_at(dir_fd, "cgroup.kill", "1") == 0) /* 5.14; all below too */
		return 0;
	/* What is frozen in a v1 hierarchy does not even die. */
	(void)immure_write_file_at(dir_fd, "freezer.state", "THAWED");
	r = immure_cgtree_members(dir_fd, open_member, &b);
	if (r >= 0)
		r = immure_cgtree_members(dir_fd, kill_member, &b);
	for (size_t i = 0; i < b.n; i++)
		immure_close(&b.v[i].fd);
	return r < 0 ? r : b.more ? -EAGAIN : 0;
}

/* ---- removing ---- */

static int remove_at(int dir, const char *name, int depth)
{
	struct dirent *d;
	DIR *stream;
	int fd, r = 0;

	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	r = -errno;
	/* ENOTEMPTY here is EBUSY: kernfs tells members and children alike. */
	if (depth >= DEPTH_MAX || (r != -EBUSY && r != -ENOTEMPTY))
		return r;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	stream = fd < 0 ? NULL : fdopendir(fd);
	if (!stream) {
		r = errno == ENOENT ? 0 : -errno;
		immure_close(&fd);
		return r;
	}
	while ((d = readdir(stream)))
		if (d->d_type == DT_DIR && d->d_name[0] != '.')
			(void)remove_at(dirfd(stream), d->d_name, depth + 1); /* seen below */
	(void)closedir(stream); /* read only: nothing is lost */
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

int immure_cgtree_remove(const char *path)
{
	bool v2;
	int fd = immure_cgtree_open(path, &v2);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	immure_close(&fd);
	return remove_at(AT_FDCWD, path, 0);
}

/* ---- finding ---- */

struct search {
	int (*each)(void *ctx, const char *path);
	void *ctx;
	char path[PATH_LEN];
	dev_t seen[64];
	int seen_n;
};

static int search_dir(struct search *s, int dir_fd, size_t len, int depth)
{
	struct dirent *d;
	struct stat st;
	DIR *dir;
	int fd, r = 0;

	if (fstat(dir_fd, &st) < 0 || st.st_nlink <= 2 || depth >= DEPTH_MAX)
		return 0;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		immure_close(&fd);
		return 0; /* not for us to read, so not ours */
	}
	while (r == 0 && (d = immure_readdir(dir, &r))) {
		size_t n = strlen(d->d_name);
		uint64_t ns;
		int32_t pid;

		if (d->d_type != DT_DIR || d->d_name[0] == '.' || len + n + 2 > sizeof(s->path))
			continue;
		s->path[len] = '/';
		memcpy(s->path + len + 1, d->d_name, n + 1);
		if (immure_cgtree_name(d->d_name, &pid, &ns)) {
			r = s->each(s->ctx, s->path);
		} else {
			int sub = openat(dir_fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				r = search_dir(s, sub, len + 1 + n, depth + 1);
			immure_close(&sub);
		}
		s->path[len] = '\0';
	}
	(void)closedir(dir); /* read only: nothing is lost */
	return r;
}

/* One hierarchy may be mounted at more than one place. */
static bool first_time(struct search *s, dev_t dev)
{
	for (int i = 0; i < s->seen_n; i++)
		if (s->seen[i] == dev)
			return false;
	if (s->seen_n < 64)
		s->seen[s->seen_n++] = dev;
	return true;
}

static int search_mount(struct search *s, char *line)
{
	char *save = NULL, *word = strtok_r(line, " ", &save), *target = NULL;
	struct stat st;
	int fd, r = 0;

	for (int i = 1; word; i++, word = strtok_r(NULL, " ", &save)) {
		if (i == 5)
			target = word;
		if (i > 5 && strcmp(word, "-") == 0)
			break;
	}
	word = word ? strtok_r(NULL, " ", &save) : NULL;
	if (!word || !target || (strcmp(word, "cgroup") != 0 && strcmp(word, "cgroup2") != 0) ||
	    strchr(target, '\\') || strlen(target) >= sizeof(s->path))
		return 0;
	fd = open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && first_time(s, st.st_dev)) {
		size_t len = strlen(target);

		memcpy(s->path, target, len + 1);
		r = search_dir(s, fd, len, 0);
	}
	immure_close(&fd);
	return r;
}

int immure_cgtree_each(int (*each)(void *ctx, const char *path), void *ctx)
{
	struct search *s = calloc(1, sizeof(*s));
	char *text = NULL, *save = NULL;
	int r;

	if (!s)
		return -ENOMEM;
	s->each = each;
	s->ctx = ctx;
	r = immure_read_file_at(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &text, NULL);
	for (char *line = r < 0 ? NULL : strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		r = search_mount(s, line);
	free(text);
	free(s);
	return r;
}
