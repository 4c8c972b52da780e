/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another program made, looked at by the process that will live in it, with the
 * identity and the rights (none) of the command: that each operation of the plan is
 * true. Nothing here repairs anything; what is not as planned is a refusal.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/init.h"
#include "kernel/mount.h"
#include "kernel/privs.h"
#include "kernel/sys.h"

enum { TMPFS = 0x01021994, PROC = 0x9fa0 };

struct at {
	int fd;
	struct stat st;
	struct statfs fs;
};

/* 0, -errno; -EACCES: the command cannot get there either. */
static int look(const char *path, struct at *a)
{
	a->fd = immure_mount_open_host(path);
	if (a->fd < 0)
		return a->fd;
	return fstat(a->fd, &a->st) < 0 || fstatfs(a->fd, &a->fs) < 0 ? -errno : 0;
}

static bool is_readonly(const struct at *a)
{
	return a->fs.f_flags & ST_RDONLY;
}

static int is_mode(const struct at *a, mode_t mode)
{
	/* A host program that replaces a file by rename takes away what covers it. */
	return (a->st.st_mode & 0777) == mode && is_readonly(a) ? 0 : -ESTALE;
}

static int check_same(const struct at *a, const struct immure_backend_seen *seen, bool ro)
{
	if (a->st.st_dev != seen->dev || a->st.st_ino != seen->ino)
		return -ESTALE; /* something else was bound than what was opened */
	if (!(a->fs.f_flags & ST_NOSUID) || (ro && !is_readonly(a)))
		return -EPERM;
	return 0;
}

static int check_dev(void)
{
	static const struct {
		const char *path;
		unsigned int maj, min;
	} nodes[] = { { "/dev/null", 1, 3 },   { "/dev/zero", 1, 5 },    { "/dev/full", 1, 7 },
		      { "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 } };
	struct stat st;

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (lstat(nodes[i].path, &st) < 0 || !S_ISCHR(st.st_mode) ||
		    st.st_rdev != makedev(nodes[i].maj, nodes[i].min))
			return -ENODEV;
	return 0;
}

/* Something of ours is mounted there. */
static int check_masked(const char *name)
{
	struct at a = { .fd = -1 };
	char path[300];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%s", name); /* fits */
	r = look(path, &a);
	if (r == 0)
		r = a.fs.f_type == PROC ? -EPERM : is_mode(&a, 0);
	immure_close(&a.fd);
	return r;
}

/* Everything but processes, and links, which lead into one. */
static int check_proc_masked(void)
{
	IMMURE_CLEANUP_FD int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[4096] __attribute__((aligned(8)));
	long len = 0;
	int r = dir < 0 ? -errno : 0;

	while (r == 0 && (len = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < len && r == 0;) {
			const char *name = buf + i + 19; /* struct linux_dirent64 */
			unsigned short reclen;

			memcpy(&reclen, buf + i + 16, sizeof(reclen));
			if (name[0] != '.' && (name[0] < '0' || name[0] > '9') && buf[i + 18] != DT_LNK)
				r = check_masked(name);
			i += reclen;
		}
	}
	return r == 0 && len < 0 ? -errno : r;
}

static int check_proc(const struct at *a, const struct immure_op *op)
{
	char self[8];
	ssize_t n = readlink("/proc/self", self, sizeof(self));

	if (a->fs.f_type != PROC || n != 1 || self[0] != '1') /* of this pid namespace */
		return -EPERM;
	if (op->flags & IMMURE_OPF_RO && !is_readonly(a))
		return -EPERM;
	return op->flags & IMMURE_OPF_PIDS ? check_proc_masked() : 0;
}

static int check_link(const struct immure_op *op)
{
	char text[4096];
	ssize_t n = readlink(op->dst, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return strcmp(text, op->src) == 0 ? 0 : -EPERM;
}

static int check_at(const struct at *a, const struct immure_op *op,
		    const struct immure_backend_seen *seen)
{
	switch (op->kind) {
	case IMMURE_OP_ROOT_HOST:
		return is_readonly(a) && (a->fs.f_flags & ST_NOSUID) ? 0 : -EPERM;
	case IMMURE_OP_ROOT_EMPTY:
		return is_readonly(a) && a->fs.f_type == TMPFS ? 0 : -EPERM;
	case IMMURE_OP_BIND:
		return check_same(a, seen, op->flags & IMMURE_OPF_RO);
	case IMMURE_OP_READONLY:
		return check_same(a, seen, true);
	case IMMURE_OP_PIN:
		return check_same(a, seen, false);
	case IMMURE_OP_TMPFS:
		return a->fs.f_type == TMPFS && (!(op->flags & IMMURE_OPF_RO) || is_readonly(a))
			       ? 0 : -EPERM;
	case IMMURE_OP_DEV:
		return a->fs.f_type == TMPFS && is_readonly(a) ? check_dev() : -EPERM;
	case IMMURE_OP_PROC:
		return check_proc(a, op);
	case IMMURE_OP_MASK:
		return is_mode(a, 0);
	case IMMURE_OP_MASK_KEEP:
		return a->fs.f_type == TMPFS ? is_mode(a, 0111) : -EPERM;
	case IMMURE_OP_FILE:
		if (!S_ISREG(a->st.st_mode) || (size_t)a->st.st_size != strlen(op->src))
			return -EPERM;
		return !(op->flags & IMMURE_OPF_COVER) || is_readonly(a) ? 0 : -EPERM;
	case IMMURE_OP_DIR:
		return S_ISDIR(a->st.st_mode) ? 0 : -EPERM;
	default:
		return -EINVAL;
	}
}

static int check_op(const struct immure_op *op, const struct immure_backend_seen *seen)
{
	struct at a = { .fd = -1 };
	int r;

	if (op->kind == IMMURE_OP_SYMLINK)
		return check_link(op);
	r = look(op->dst[0] ? op->dst : "/", &a);
	/* What cannot be reached from here cannot be reached by the command. */
	if (r == -EACCES)
		r = 0;
	else if (r == 0)
		r = check_at(&a, op, seen);
	immure_close(&a.fd);
	return r;
}

/* A later operation on the same path, or one that hides it, is what counts there. */
static bool is_hidden(const struct immure_plan *p, size_t at)
{
	const char *dst = p->ops[at].dst;

	for (size_t i = at + 1; dst[0] && i < p->ops_n; i++)
		if (p->ops[i].stage == IMMURE_STAGE_MOUNT && strcmp(p->ops[i].dst, dst) == 0)
			return true;
	return false;
}

static int check_identity(const struct immure_plan *p, struct immure_init_step *step)
{
	const struct immure_op *ids = immure_plan_find(p, IMMURE_OP_IDMAP);
	const struct immure_op *host = immure_plan_find(p, IMMURE_OP_HOSTNAME);
	struct utsname u;

	step->stage = IMMURE_STAGE_IDS;
	step->subject = "identity";
	if (!ids || immure_ids_check((uint32_t)ids->num[0], (uint32_t)ids->num[2]) < 0)
		return -EPERM;
	step->stage = IMMURE_STAGE_CAPS;
	step->subject = "capabilities";
	if (immure_caps_check_none() < 0)
		return -EPERM;
	step->stage = IMMURE_STAGE_PIVOT;
	step->subject = "host name";
	return host && (uname(&u) < 0 || strcmp(u.nodename, host->src) != 0) ? -EPERM : 0;
}

/* The namespaces that the plan has are not the supervisor's. */
static int check_namespaces(const struct immure_plan *p, const struct immure_backend_seen *seen,
			    struct immure_init_step *step)
{
	static const struct {
		uint64_t flag;
		const char *path;
	} kinds[IMMURE_SEEN_NAMESPACES] = {
		{ CLONE_NEWUSER, "/proc/self/ns/user" }, { CLONE_NEWNS, "/proc/self/ns/mnt" },
		{ CLONE_NEWPID, "/proc/self/ns/pid" },	 { CLONE_NEWNET, "/proc/self/ns/net" },
		{ CLONE_NEWIPC, "/proc/self/ns/ipc" },	 { CLONE_NEWUTS, "/proc/self/ns/uts" },
	};
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	struct stat st;

	step->stage = IMMURE_STAGE_NAMESPACE;
	if (!ns || p->ops_n < IMMURE_SEEN_NAMESPACES)
		return -EINVAL;
	for (size_t i = 0; i < IMMURE_SEEN_NAMESPACES; i++) {
		step->subject = kinds[i].path;
		if (!(ns->num[0] & kinds[i].flag))
			continue;
		if (stat(kinds[i].path, &st) < 0)
			return -errno;
		if (!seen[i].outside || seen[i].outside == st.st_ino)
			return -EPERM;
	}
	return 0;
}

int immure_init_check_view(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;
	int r = check_namespaces(p, in->seen, step);

	if (r == 0)
		r = check_identity(p, step);
	for (size_t i = 0; i < p->ops_n && r == 0; i++) {
		if (p->ops[i].stage != IMMURE_STAGE_MOUNT || in->seen[i].skipped || is_hidden(p, i))
			continue;
		step->stage = IMMURE_STAGE_MOUNT;
		step->op = (uint32_t)i;
		step->subject = p->ops[i].dst[0] ? p->ops[i].dst : "/";
		r = check_op(&p->ops[i], &in->seen[i]);
	}
	return r;
}
