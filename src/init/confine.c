/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock stage: a second gate under the mounts, and where there are none the
 * only one. It comes after every mount, because a domain forbids later ones, and
 * after the pivot, because its rules name objects by descriptors opened in the
 * final view. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/init.h"
#include "kernel/landlock.h"
#include "kernel/mount.h"

/* The plan names the session's own directory by a word; init knows it. */
const char *immure_init_place(const struct immure_init *in, const char *path, char *buf, size_t size)
{
	const struct immure_op *op = immure_plan_find(in->plan, IMMURE_OP_SESSION_DIR);
	size_t n = op ? strlen(op->dst) : 0;

	if (!op || !in->session_dir || strncmp(path, op->dst, n) != 0 ||
	    (path[n] != '/' && path[n] != '\0'))
		return path;
	if (snprintf(buf, size, "%s%s", in->session_dir, path + n) >= (int)size)
		return ""; /* opens as nothing */
	return buf;
}

/* Where openat2 is closed (inside another sandbox), one step after the other. */
static int open_by_steps(const char *path)
{
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];

	while (dir >= 0) {
		size_t len;
		int next;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (len == 0)
			return dir;
		if (len > NAME_MAX)
			break;
		memcpy(name, path, len);
		name[len] = '\0';
		path += len;
		next = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0) {
			int saved = -errno;

			immure_close(&dir);
			return saved;
		}
		immure_close(&dir);
		dir = next;
	}
	immure_close(&dir);
	return -ENAMETOOLONG;
}

/* Rules come in the order of directories, many from one: it is kept open. */
struct nearby {
	int fd;
	size_t len;
	char path[PATH_MAX];
};

static int open_whole(const char *path)
{
	int fd = immure_mount_open_host(path);

	return fd == -ENOSYS || fd == -EPERM ? open_by_steps(path) : fd;
}

/* No links: the tree may be another session's as well, which could put one where the
 * plan saw a directory. A link at the end is opened as what it is, of no use. */
static int open_object(struct nearby *n, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	int fd;

	if (!slash || !slash[1] || len == 0 || len >= sizeof(n->path))
		return open_whole(path);
	if (n->fd < 0 || n->len != len || memcmp(n->path, path, len) != 0) {
		immure_close(&n->fd);
		memcpy(n->path, path, len);
		n->path[len] = '\0';
		n->len = len;
		n->fd = open_whole(n->path);
		if (n->fd < 0)
			return n->fd;
	}
	fd = openat(n->fd, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int add_rule(int ruleset, const struct immure_op *op, const char *path, struct nearby *n)
{
	IMMURE_CLEANUP_FD int fd = open_object(n, path);
	uint64_t rights = op->num[0];
	struct stat st;
	int r;

	/* One that is skipped is one right less. */
	if (fd < 0)
		return op->flags & IMMURE_OPF_OPTIONAL ? 0 : fd;
	r = immure_landlock_add_path(ruleset, fd, rights);
	if (r != -EINVAL)
		return r;
	/* A directory's rights on something else. */
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return op->flags & IMMURE_OPF_OPTIONAL ? 0 : -ELOOP;
	rights &= IMMURE_LANDLOCK_FS_ON_FILE;
	return rights && !S_ISDIR(st.st_mode) ? immure_landlock_add_path(ruleset, fd, rights) : 0;
}

/* Which rules: of the operations from one on and before another, those below the session's
 * own directory, or all others. */
struct share {
	size_t from, to;
	bool own;
};

static const struct share others = { 0, SIZE_MAX, false }, own = { 0, SIZE_MAX, true };

static int add_rules(const struct immure_init *in, struct immure_init_step *step, int *ret_ruleset,
		     const struct share *share)
{
	const struct immure_plan *p = in->plan;
	struct nearby near = { .fd = -1 };
	char buf[PATH_MAX];
	int r = 0;

	for (size_t i = share->from; i < p->ops_n && i < share->to && r == 0; i++) {
		const struct immure_op *op = &p->ops[i];
		const char *path;

		if (op->stage != IMMURE_STAGE_LANDLOCK)
			continue;
		path = immure_init_place(in, op->dst, buf, sizeof(buf));
		if ((path != op->dst) != share->own)
			continue;
		step->op = (uint32_t)i;
		step->subject = op->dst;
		if (op->kind == IMMURE_OP_LANDLOCK && *ret_ruleset < 0) {
			*ret_ruleset = immure_landlock_create(op->num[1], op->num[3], op->num[2]);
			r = *ret_ruleset < 0 ? *ret_ruleset : 0;
		} else if (op->kind == IMMURE_OP_LANDLOCK_RULE) {
			r = *ret_ruleset < 0 ? -EINVAL : add_rule(*ret_ruleset, op, path, &near);
		}
	}
	immure_close(&near.fd);
	return r;
}

static int add_all(const struct immure_init *in, struct immure_init_step *step, int *ret_ruleset)
{
	int r = add_rules(in, step, ret_ruleset, &others);

	return r < 0 ? r : add_rules(in, step, ret_ruleset, &own);
}

/* ---- with the supervisor's help ---- */

/* What it has added by the time that init is there. */
enum { HEAD_START = 90 };

size_t immure_init_share(const struct immure_plan *p)
{
	size_t n = 0, mine;

	for (size_t i = 0; i < p->ops_n; i++)
		n += p->ops[i].kind == IMMURE_OP_LANDLOCK_RULE;
	mine = n <= HEAD_START ? n : (n + HEAD_START) / 2;
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_LANDLOCK_RULE && mine-- == 0)
			return i;
	return p->ops_n;
}

int immure_init_help(const struct immure_init *in, int ruleset_fd, size_t before)
{
	const struct share mine = { 0, before, false };
	struct immure_init_step step = { 0 };
	int r = ruleset_fd < 0 ? -EBADF : add_rules(in, &step, &ruleset_fd, &mine);

	return r < 0 ? r : add_rules(in, &step, &ruleset_fd, &own);
}

/* A word of the supervisor's; *ret_fd: what came with it, or -1. */
static int hear(const struct immure_init *in, struct immure_init_msg *m, int *ret_fd)
{
	size_t n_fds = 0;
	ssize_t n;

	*ret_fd = -1;
	do
		n = immure_fdmsg_receive(in->report_fd, m, sizeof(*m), ret_fd, 1, &n_fds, 0);
	while (n == -EINTR);
	if (n == 0)
		_exit(1);
	if (n == sizeof(*m) && m->type == (*ret_fd < 0 ? IMMURE_INIT_PLACE : IMMURE_INIT_RULES))
		return 0;
	immure_close(ret_fd);
	return -EPROTO;
}

/* The supervisor makes the directory for temporary files meanwhile, and helps with the rules
 * where it waits for init's birth. */
static int fill(const struct immure_init *in, struct immure_init_step *step, int *ret_ruleset)
{
	bool helped = in->filtered && in->session_dir;
	int r = helped ? 0 : add_rules(in, step, ret_ruleset, &others), fd = -1;
	struct share mine = others;
	struct immure_init_msg m;

	if (r < 0 || !in->session_dir)
		return r;
	step->subject = "directory for temporary files";
	r = hear(in, &m, &fd);
	if (r == 0 && fd >= 0) {
		immure_close(ret_ruleset); /* begun where no help was expected */
		*ret_ruleset = immure_take_fd(&fd);
		mine.from = (size_t)m.status;
		r = add_rules(in, step, ret_ruleset, &mine);
		if (r == 0) {
			step->subject = "directory for temporary files";
			r = hear(in, &m, &fd);
		}
		if (r == 0 && fd < 0 && m.status == 0)
			return 0;
		immure_close(ret_ruleset);
		helped = true;
	}
	immure_close(&fd);
	if (r < 0)
		return r;
	return helped ? add_all(in, step, ret_ruleset) : add_rules(in, step, ret_ruleset, &own);
}

/* Whether what the plan withholds is. What cannot be opened for another reason, or
 * is not there, is withheld as well. */
static int look(const struct immure_init *in, struct immure_init_step *step)
{
	const struct immure_plan *p = in->plan;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];
		struct stat st;
		int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, fd;

		if (op->kind != IMMURE_OP_WITHHELD)
			continue;
		step->stage = IMMURE_STAGE_CHECK;
		step->op = (uint32_t)i;
		step->subject = op->dst;
		/* A directory cannot be opened for writing in any case. */
		if ((op->flags & IMMURE_OPF_RO) && (lstat(op->dst, &st) < 0 || !S_ISREG(st.st_mode)))
			continue;
		fd = open(op->dst, flags | (op->flags & IMMURE_OPF_RO ? O_WRONLY : O_RDONLY));
		if (fd >= 0) {
			immure_close(&fd);
			return -EPERM;
		}
	}
	return 0;
}

/* What a command enters for a domain of its own. Where there are scopes it is those
 * alone: what files it may reach is settled above it, and a second layer of all the
 * rules would be copied at every start and asked at every open. */
static int keep(const struct immure_init *in, int *ruleset, int *ret_ruleset)
{
	const struct immure_op *op = immure_plan_find(in->plan, IMMURE_OP_LANDLOCK);
	int r;

	if (op->num[2]) {
		immure_close(ruleset);
		*ruleset = immure_landlock_create(0, 0, op->num[2]);
		if (*ruleset < 0)
			return *ruleset;
	}
	r = immure_fd_raise(ruleset, 10);
	*ret_ruleset = immure_take_fd(ruleset);
	return r;
}

int immure_init_landlock(const struct immure_init *in, struct immure_init_step *step,
			 int *ret_ruleset)
{
	IMMURE_CLEANUP_FD int ruleset = -1;
	int r;

	step->stage = IMMURE_STAGE_LANDLOCK;
	r = fill(in, step, &ruleset);
	if (r < 0 || ruleset < 0)
		return r;
	step->subject = "Landlock"; /* no rule of it any more */
	r = immure_landlock_restrict(ruleset, 0);
	if (r == 0)
		r = look(in, step);
	if (r == 0 && ret_ruleset)
		r = keep(in, &ruleset, ret_ruleset);
	return r;
}
