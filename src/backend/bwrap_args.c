/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as bubblewrap's arguments.
 *
 * Later arguments override earlier ones, and so do later operations of a plan: masks
 * come after what they cover, in the order that the planner gave them. What is bound is
 * opened here once, with symlinks refused, and handed over as a descriptor; what that
 * was is noted, and init compares it with what it finds (init/view.c). bubblewrap
 * makes a missing mount point wherever it can, in the user's tree as well, so nothing
 * is passed on that is not there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/bwrap.h"
#include "base/fd.h"
#include "base/names.h"
#include "base/path.h"
#include "kernel/mount.h"
#include "kernel/sys.h"

enum { NAMES_MAX = 4096, PATH_BYTES = 4096 };

struct render {
	struct immure_bwrap *w;
	const struct immure_plan *p;
	struct immure_buf last; /* --remount-ro of what must stay writable until the end */
	bool pins;
};

static void add(struct immure_buf *b, const char *s)
{
	immure_buf_put(b, s, strlen(s) + 1);
}

static void add2(struct immure_buf *b, const char *option, const char *value)
{
	add(b, option);
	add(b, value);
}

static void add_number(struct immure_buf *b, const char *option, uint64_t value, bool octal)
{
	char text[32];

	(void)snprintf(text, sizeof(text), octal ? "%04llo" : "%llu", (unsigned long long)value);
	add2(b, option, text);
}

int immure_bwrap_keep(struct immure_bwrap *w, int fd)
{
	if (w->fds_n == w->fds_cap) {
		size_t cap = w->fds_cap ? w->fds_cap * 2 : 64;
		int *fds = realloc(w->fds, cap * sizeof(*fds));

		if (!fds) {
			immure_close(&fd);
			return -ENOMEM;
		}
		w->fds = fds;
		w->fds_cap = cap;
	}
	w->fds[w->fds_n++] = fd;
	return fd;
}

/* ---- where an inside path comes from ---- */

/* The host path that dst shows before operation at; false: something of ours. */
static bool host_path(const struct immure_plan *p, size_t at, const char *dst, char ret[PATH_BYTES])
{
	const char *from = NULL, *rest = dst;
	size_t best = 0;

	for (size_t i = 0; i < at; i++) {
		const struct immure_op *op = &p->ops[i];
		const char *src;

		if (op->stage != IMMURE_STAGE_MOUNT)
			continue;
		if (op->kind == IMMURE_OP_ROOT_HOST) {
			from = "";
			rest = dst;
			continue;
		}
		if (!op->dst[0] || !immure_path_is_under(dst, op->dst) || strlen(op->dst) < best)
			continue;
		/* What a file system of the kernel has is the same in a new one. */
		src = op->kind == IMMURE_OP_BIND   ? op->src
		      : op->kind == IMMURE_OP_PROC ? "/proc"
		      : op->kind == IMMURE_OP_TMPFS || op->kind == IMMURE_OP_DEV ||
				      op->kind == IMMURE_OP_MASK || op->kind == IMMURE_OP_MASK_KEEP
			      ? NULL
			      : (const char *)-1;
		if (src == (const char *)-1)
			continue;
		best = strlen(op->dst);
		from = src;
		rest = dst + best;
	}
	return from && snprintf(ret, PATH_BYTES, "%s%s", from, rest) < PATH_BYTES;
}

/* Opens what is at dst so far; -ENOENT also for what is in a place of ours. */
static int open_shown(const struct render *r, size_t at, const char *dst, struct stat *st)
{
	char path[PATH_BYTES];
	int fd;

	if (!host_path(r->p, at, dst, path))
		return -ENOENT;
	fd = immure_mount_open_host(path[0] ? path : "/");
	if (fd >= 0 && fstat(fd, st) < 0) {
		int saved = -errno;

		immure_close(&fd);
		return saved;
	}
	return fd;
}

/* ---- single operations: 0, 1 = skipped, or -errno ---- */

enum { SKIPPED = 1 };

static bool is_absent(int r)
{
	return r == -ENOENT || r == -ENOTDIR;
}

static void note(struct render *r, size_t at, const struct stat *st)
{
	r->w->seen[at].dev = st->st_dev;
	r->w->seen[at].ino = st->st_ino;
}

/* fd is taken. */
static int put_bind(struct render *r, int fd, const struct stat *st, const char *src,
		    const char *dst, bool ro)
{
	struct immure_buf *b = &r->w->args;
	char number[16];

	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) || !r->pins) {
		immure_close(&fd); /* by its name then; init looks what it became */
		add2(b, S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? "--dev-bind"
			: ro					     ? "--ro-bind"
								     : "--bind", src);
		add(b, dst);
		return 0;
	}
	fd = immure_bwrap_keep(r->w, fd);
	if (fd < 0)
		return fd;
	(void)snprintf(number, sizeof(number), "%d", fd);
	add2(b, ro ? "--ro-bind-fd" : "--bind-fd", number);
	add(b, dst);
	return 0;
}

static int op_bind(struct render *r, size_t at, const struct immure_op *op)
{
	int fd = immure_mount_open_host(op->src), target;
	char path[PATH_BYTES];
	struct stat st, have;

	if (fd < 0)
		return is_absent(fd) && (op->flags & IMMURE_OPF_OPTIONAL) ? SKIPPED : fd;
	if (fstat(fd, &st) < 0) {
		immure_close(&fd);
		return -EIO;
	}
	if ((op->flags & IMMURE_OPF_SOCKET) && (op->flags & IMMURE_OPF_FILE) &&
	    !S_ISSOCK(st.st_mode)) {
		immure_close(&fd);
		return -ENOTSOCK;
	}
	if (host_path(r->p, at, op->dst, path)) {
		target = open_shown(r, at, op->dst, &have);
		if (target < 0) {
			immure_close(&fd);
			return target;
		}
		immure_close(&target);
	}
	note(r, at, &st);
	return put_bind(r, fd, &st, op->src, op->dst, op->flags & IMMURE_OPF_RO);
}

static int op_self(struct render *r, size_t at, const struct immure_op *op)
{
	bool ro = op->kind == IMMURE_OP_READONLY;
	char path[PATH_BYTES];
	struct stat st;
	int fd = open_shown(r, at, op->dst, &st);

	if (fd < 0)
		return is_absent(fd) && (op->flags & IMMURE_OPF_OPTIONAL) ? SKIPPED : fd;
	if (ro && S_ISREG(st.st_mode) && st.st_nlink > 1) {
		immure_close(&fd);
		return -EMLINK; /* writable under another name */
	}
	note(r, at, &st);
	(void)host_path(r->p, at, op->dst, path); /* it was just opened */
	return put_bind(r, fd, &st, path, op->dst, ro);
}

/* Contents for --file and --ro-bind-data: each argument reads its own descriptor. */
static int put_data(struct render *r, const char *option, uint32_t mode, const char *text,
		    const char *dst)
{
	int fd = memfd_create("immure", MFD_CLOEXEC), k;
	char number[16];

	if (fd < 0)
		return -errno;
	k = immure_write_all(fd, text, strlen(text));
	if (k == 0 && lseek(fd, 0, SEEK_SET) < 0)
		k = -errno;
	if (k < 0) {
		immure_close(&fd);
		return k;
	}
	fd = immure_bwrap_keep(r->w, fd);
	if (fd < 0)
		return fd;
	(void)snprintf(number, sizeof(number), "%d", fd);
	add_number(&r->w->args, "--perms", mode, true);
	add2(&r->w->args, option, number);
	add(&r->w->args, dst);
	return 0;
}

static void put_tmpfs(struct render *r, uint32_t mode, uint64_t size, const char *dst, bool ro)
{
	add_number(&r->w->args, "--perms", mode, true);
	if (size)
		add_number(&r->w->args, "--size", size, false);
	add2(&r->w->args, "--tmpfs", dst);
	if (ro)
		add2(&r->last, "--remount-ro", dst);
}

static int op_mask(struct render *r, size_t at, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int fd = open_shown(r, at, op->dst, &st);

	if (fd == -EACCES) /* for the command as well, which can do less than we can */
		return SKIPPED;
	if (fd < 0)
		return is_absent(fd) && (op->flags & IMMURE_OPF_OPTIONAL) ? SKIPPED : fd;
	if (!S_ISDIR(st.st_mode))
		return put_data(r, "--ro-bind-data", 0, "", op->dst);
	put_tmpfs(r, 0, 4096, op->dst, true);
	return 0;
}

/* In a place of ours a file is made, over what the host has it is mounted: nothing is
 * made there that is missing. */
static int op_file(struct render *r, size_t at, const struct immure_op *op)
{
	uint32_t mode = op->num[1] ? (uint32_t)op->num[1] : 0444;
	struct stat st;

	if (!(op->flags & IMMURE_OPF_COVER))
		return put_data(r, "--file", mode, op->src, op->dst);
	IMMURE_CLEANUP_FD int fd = open_shown(r, at, op->dst, &st);

	if (fd < 0)
		return is_absent(fd) && (op->flags & IMMURE_OPF_OPTIONAL) ? SKIPPED : fd;
	return S_ISREG(st.st_mode) ? put_data(r, "--ro-bind-data", mode, op->src, op->dst) : -EINVAL;
}

/* What later operations need of a name in a directory that is masked but for them. */
static enum { PLACEHOLDER, PASSAGE, TARGET } need_of(const struct immure_plan *p, size_t at,
						       const char *path)
{
	for (size_t i = at + 1; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->stage != IMMURE_STAGE_MOUNT || !op->dst[0])
			continue;
		if (strcmp(op->dst, path) == 0)
			return TARGET;
		if (immure_path_is_under(op->dst, path))
			return PASSAGE;
	}
	return PLACEHOLDER;
}

/* Every name is there and answers "permission denied"; as a directory, whatever it
 * is, since only descriptors can fill files. */
static int op_mask_keep(struct render *r, size_t at, const struct immure_op *op)
{
	struct stat st;
	IMMURE_CLEANUP_FD int fd = open_shown(r, at, op->dst, &st);
	char path[PATH_BYTES];
	size_t count = 0;
	struct dirent *d;
	DIR *dir;
	int names, unread = 0;

	if (fd < 0)
		return is_absent(fd) && (op->flags & IMMURE_OPF_OPTIONAL) ? SKIPPED : fd;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	names = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (names < 0)
		return -errno;
	dir = fdopendir(names);
	if (!dir) {
		immure_close(&names);
		return -ENOMEM;
	}
	put_tmpfs(r, 0111, 4 << 20, op->dst, true);
	while ((d = immure_readdir(dir, &unread))) {
		int need;

		if (++count > NAMES_MAX ||
		    snprintf(path, sizeof(path), "%s/%s", op->dst, d->d_name) >= (int)sizeof(path))
			break;
		need = need_of(r->p, at, path);
		if (need == TARGET)
			continue;
		add_number(&r->w->args, "--perms", need == PASSAGE ? 0111 : 0, true);
		add2(&r->w->args, "--dir", path);
	}
	(void)closedir(dir); /* was only read */
	return d ? -E2BIG : unread;
}

static void op_dev(struct render *r, const struct immure_op *op)
{
	add2(&r->w->args, "--dev", op->dst);
	put_tmpfs(r, 01777, op->num[0], "/dev/shm", false);
	add2(&r->last, "--remount-ro", op->dst);
}

/* What is there beside processes, as far as it is not a link into one of them. */
static int mask_proc(struct render *r)
{
	DIR *dir = opendir("/proc");
	char path[PATH_BYTES];
	struct dirent *d;
	int k = dir ? 0 : -errno;

	while (dir && k == 0 && (d = immure_readdir(dir, &k))) {
		if (d->d_name[0] == '.' || (d->d_name[0] >= '0' && d->d_name[0] <= '9') || d->d_type == DT_LNK)
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s", d->d_name); /* fits */
		if (d->d_type == DT_DIR)
			put_tmpfs(r, 0, 4096, path, true);
		else
			k = put_data(r, "--ro-bind-data", 0, "", path);
	}
	if (dir)
		(void)closedir(dir); /* was only read */
	return k;
}

static int render_op(struct render *r, size_t at, const struct immure_op *op)
{
	struct immure_buf *b = &r->w->args;

	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		add2(b, "--ro-bind", "/");
		add(b, "/");
		return 0;
	case IMMURE_OP_ROOT_EMPTY: /* what bubblewrap starts with */
		add2(&r->last, "--remount-ro", "/");
		return 0;
	case IMMURE_OP_BIND:
		return op_bind(r, at, op);
	case IMMURE_OP_TMPFS:
		put_tmpfs(r, op->num[1] ? (uint32_t)op->num[1] : 0755, op->num[0], op->dst,
			  op->flags & IMMURE_OPF_RO);
		return 0;
	case IMMURE_OP_DEV:
		op_dev(r, op);
		return 0;
	case IMMURE_OP_PROC:
		add2(b, "--proc", op->dst);
		add2(&r->last, "--remount-ro", op->dst);
		return op->flags & IMMURE_OPF_PIDS ? mask_proc(r) : 0;
	case IMMURE_OP_SYMLINK:
		add2(b, "--symlink", op->src);
		add(b, op->dst);
		return 0;
	case IMMURE_OP_DIR:
		add_number(b, "--perms", op->num[1] ? op->num[1] : 0755, true);
		add2(b, "--dir", op->dst);
		return 0;
	case IMMURE_OP_FILE:
		return op_file(r, at, op);
	case IMMURE_OP_MASK:
		return op_mask(r, at, op);
	case IMMURE_OP_MASK_KEEP:
		return op_mask_keep(r, at, op);
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
		return op_self(r, at, op);
	default:
		return -EINVAL;
	}
}

static void render_namespaces(struct immure_buf *b, const struct immure_plan *p)
{
	static const struct {
		uint64_t flag;
		const char *option;
	} kinds[] = { { CLONE_NEWUSER, "--unshare-user" }, { CLONE_NEWPID, "--unshare-pid" },
		      { CLONE_NEWIPC, "--unshare-ipc" },   { CLONE_NEWUTS, "--unshare-uts" },
		      { CLONE_NEWNET, "--unshare-net" },   { CLONE_NEWCGROUP, "--unshare-cgroup" } };
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	const struct immure_op *ids = immure_plan_find(p, IMMURE_OP_IDMAP);
	const struct immure_op *host = immure_plan_find(p, IMMURE_OP_HOSTNAME);

	add(b, "--die-with-parent");
	add(b, "--as-pid-1"); /* our init reaps */
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (ns->num[0] & kinds[i].flag)
			add(b, kinds[i].option);
	add_number(b, "--uid", ids->num[0], false);
	add_number(b, "--gid", ids->num[2], false);
	if (host)
		add2(b, "--hostname", host->src);
	add2(b, "--cap-drop", "ALL");
	add2(b, "--chdir", "/");
}

static int32_t failed(const struct immure_op *op, int r, struct immure_error **err)
{
	int32_t code = immure_fail(err, IMMURE_ERR_LAUNCH, -r, "mount", op->dst, "%s: %s",
				   op->dst[0] ? op->dst : immure_op_name(op->kind), strerror(-r));

	if (err && *err && r == -EMLINK)
		immure_error_set_hint(*err, "it has another hard link; list it in files.created or "
					    "break the link");
	else if (err && *err && r == -ELOOP)
		immure_error_set_hint(*err, "it became a symbolic link after the plan was made");
	return code;
}

int32_t immure_bwrap_render(struct immure_bwrap *w, const struct immure_plan *p,
			    struct immure_error **err)
{
	const struct immure_op *by = immure_plan_find(p, IMMURE_OP_BWRAP);
	struct render r = { .w = w, .p = p, .pins = by->num[0], .last = IMMURE_BUF_INIT };

	w->seen = calloc(p->ops_n, sizeof(*w->seen));
	if (!w->seen)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "start", "", "out of memory");
	render_namespaces(&w->args, p);
	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		int k;

		if (op->stage != IMMURE_STAGE_MOUNT)
			continue;
		k = render_op(&r, i, op);
		if (k < 0) {
			immure_buf_done(&r.last);
			return failed(op, k, err);
		}
		w->seen[i].skipped = k == SKIPPED;
	}
	if (r.last.len)
		immure_buf_put(&w->args, r.last.data, r.last.len);
	if (!immure_buf_ok(&w->args) || !immure_buf_ok(&r.last)) {
		immure_buf_done(&r.last);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "start", "", "out of memory");
	}
	immure_buf_done(&r.last);
	return 0;
}
