/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file or directory of the host, attached to a living session: a child enters
 * the session's namespaces by the descriptors that init left with us, and mounts.
 *
 * Root clones the tree outside and carries it in. Anybody else may not clone what
 * is outside, so the clone is made in the copy of the host's tree that init kept
 * before its pivot, from the same path, if it is the same object there.
 *
 * Landlock cannot be widened: where the session has a domain, what is attached is
 * readable or writable as far as the rules of the place are, and what they forbid
 * is refused here instead of appearing and not working.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "kernel/landlock.h"
#include "kernel/mount.h"
#include "kernel/sys.h"
#include "session/serve.h"

struct immure_attached {
	struct immure_attached *next;
	char *source, *target;
	bool writable;
	uint64_t seq;
};

/* ---- in a child ---- */

static int enter(const struct immure_server *s, int which)
{
	return setns(s->handle[which], 0) < 0 ? -errno : 0;
}

static int same_object(int a, int b)
{
	struct stat x, y;

	if (fstat(a, &x) < 0 || fstat(b, &y) < 0)
		return -errno;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino ? 0 : -ESTALE;
}

static int clone_for(const struct immure_server *s, const struct immure_attached *m, int source)
{
	uint64_t attr = IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV | (m->writable ? 0U : IMMURE_ATTR_RDONLY);
	int fd, r;

	if (geteuid() == 0) {
		fd = immure_mount_clone(source, attr);
		r = fd < 0 ? fd : enter(s, IMMURE_HANDLE_USERNS);
		return r < 0 ? r : fd;
	}
	r = enter(s, IMMURE_HANDLE_USERNS);
	if (r == 0)
		r = enter(s, IMMURE_HANDLE_HOSTNS);
	fd = r < 0 ? r : immure_mount_open_host(m->source);
	r = fd < 0 ? fd : same_object(fd, source);
	return r < 0 ? r : immure_mount_clone(fd, attr);
}

/* A mount point of its own only where a file system of ours is, and private. */
static int open_target(const struct immure_attached *m, bool directory, bool may_make)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	fd = root < 0 ? -errno : immure_mount_open_in(root, m->target);
	if (fd == -ENOENT && may_make) {
		int made = directory ? mkdir(m->target, 0755)
				     : open(m->target, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);

		if (made >= 0)
			fd = immure_mount_open_in(root, m->target);
	}
	return fd;
}

static int attach_inside(const struct immure_server *s, const struct immure_attached *m, int source,
			 bool may_make)
{
	int tree = clone_for(s, m, source), target, r;
	struct stat from, to;

	if (tree < 0)
		return tree;
	r = enter(s, IMMURE_HANDLE_MNTNS);
	if (r < 0)
		return r;
	if (fstat(source, &from) < 0)
		return -errno;
	target = open_target(m, S_ISDIR(from.st_mode), may_make);
	if (target < 0)
		return target;
	if (fstat(target, &to) < 0)
		return -errno;
	if (S_ISDIR(from.st_mode) != S_ISDIR(to.st_mode))
		return S_ISDIR(from.st_mode) ? -ENOTDIR : -EISDIR;
	return immure_mount_attach(tree, target);
}

/* By its last name, from the directory that it is in: a link that was planted on the
 * way since would take away another mount, one that hides something perhaps. */
static int detach_inside(const struct immure_server *s, const struct immure_attached *m)
{
	char *name = strrchr(m->target, '/');
	int r = enter(s, IMMURE_HANDLE_USERNS), root, dir;

	if (r == 0)
		r = enter(s, IMMURE_HANDLE_MNTNS);
	if (r < 0)
		return r;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	*name = '\0'; /* of this child's copy */
	dir = root < 0 ? -errno : immure_mount_open_in(root, m->target);
	if (dir < 0)
		return dir;
	return fchdir(dir) < 0 || umount2(name + 1, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

/* 0 or -errno of what the child came to. It holds nothing that is not CLOEXEC and
 * executes nothing, so the session's lock goes with it at once. */
static int in_child(const struct immure_server *s, const struct immure_attached *m, int source, bool may_make)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int r = source >= 0 ? attach_inside(s, m, source, may_make) : detach_inside(s, m);

		_exit(r < 0 && r > -125 ? -r : r < 0 ? 125 : 0);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* ---- what may be attached ---- */

/* Our own state must not become writable, or even seen, from inside. */
static bool is_ours(const struct immure_server *s, const char *path)
{
	const char *own[] = { s->registry.path, s->plan->state_dir };

	for (int i = 0; i < 2; i++)
		if (own[i][0] == '/' && (immure_path_is_under(own[i], path) || immure_path_is_under(path, own[i])))
			return true;
	return false;
}

/* What the policy denies has no other name inside, whoever asks for one. */
static const char *denied_in(const struct immure_server *s, const char *path)
{
	for (size_t i = 0; i < s->plan->ops_n; i++) {
		const struct immure_op *op = &s->plan->ops[i];

		if ((op->kind == IMMURE_OP_MASK || op->kind == IMMURE_OP_MASK_KEEP) && op->key &&
		    strcmp(op->key, "files.deny") == 0 &&
		    (immure_path_is_under(op->dst, path) || immure_path_is_under(path, op->dst)))
			return op->dst;
	}
	return NULL;
}

static bool landlock_allows(const struct immure_server *s, const struct immure_attached *m)
{
	const struct immure_op *domain = immure_plan_find(s->plan, IMMURE_OP_LANDLOCK);
	uint64_t have = 0, want = IMMURE_LANDLOCK_FS_READ_FILE | (m->writable ? IMMURE_LANDLOCK_FS_WRITE_FILE : 0);

	if (!domain)
		return true;
	for (size_t i = 0; i < s->plan->ops_n; i++)
		if (s->plan->ops[i].kind == IMMURE_OP_LANDLOCK_RULE &&
		    immure_path_is_under(m->target, s->plan->ops[i].dst))
			have |= s->plan->ops[i].num[0];
	return (want & domain->num[1] & ~have) == 0;
}

static bool in_private_area(const struct immure_server *s, const char *target)
{
	const struct immure_op *best = NULL;

	for (size_t i = 0; i < s->plan->ops_n; i++) {
		const struct immure_op *op = &s->plan->ops[i];

		if (op->stage == IMMURE_STAGE_MOUNT && op->dst[0] == '/' && immure_path_is_under(target, op->dst) &&
		    (!best || strlen(op->dst) >= strlen(best->dst)))
			best = op;
	}
	return best && best->kind == IMMURE_OP_TMPFS;
}

static int32_t check(struct immure_ask *a, const struct immure_attached *m)
{
	struct immure_server *s = a->s;

	if (s->handle[IMMURE_HANDLE_MNTNS] < 0 || s->handle[IMMURE_HANDLE_USERNS] < 0 ||
	    !immure_plan_find(s->plan, IMMURE_OP_PIVOT))
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "", "this session has no view of "
				       "files of its own to attach to");
	if (geteuid() != 0 && s->handle[IMMURE_HANDLE_HOSTNS] < 0)
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "", "this session kept nothing of the "
				       "host's tree that an ordinary user could attach from");
	if (!immure_path_is_normal(m->target) || strcmp(m->target, "/") == 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "target", "target is an absolute path inside, "
				       "without links, '.' and '..'");
	if (is_ours(s, m->source))
		return immure_ask_fail(a, IMMURE_ERR_POLICY, EACCES, "source", "%s: immure's own state is not "
				       "given to a session", m->source);
	if (denied_in(s, m->source))
		return immure_ask_fail(a, IMMURE_ERR_POLICY, EACCES, "source", "%.200s: the session's policy denies "
				       "%.200s", m->source, denied_in(s, m->source));
	if (!landlock_allows(s, m))
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EACCES, "target", "%s: the session's Landlock "
				       "domain cannot be widened, and it does not let this be %s there; attach it "
				       "below a place that is", m->target, m->writable ? "written" : "read");
	return 0;
}

/* ---- requests ---- */

static void forget(struct immure_attached *m)
{
	free(m->source);
	free(m->target);
	free(m);
}

static int32_t attach(struct immure_ask *a, struct immure_attached *m, int source)
{
	struct immure_server *s = a->s;
	int r = immure_journal_intent(&s->journal, IMMURE_JK_MOUNT, m->target, m->source, &m->seq);

	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "journal", "the journal cannot be written: %s",
				       strerror(-r));
	r = in_child(s, m, source, in_private_area(s, m->target));
	(void)immure_journal_result(&s->journal, IMMURE_JK_MOUNT, m->seq, -r, NULL); /* it ends with the namespace */
	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "mount", "%s on %s: %s", m->source, m->target,
				       strerror(-r));
	m->next = s->attached;
	s->attached = m;
	return 0;
}

int32_t immure_attach_mount(struct immure_ask *a)
{
	const char *source = NULL, *target = NULL, *mode = "ro";
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_attached *m;
	int32_t r = immure_arg_string(a, "source", &source);

	if (r == 0)
		r = immure_arg_string(a, "target", &target);
	if (r == 0)
		r = immure_arg_string(a, "mode", &mode);
	if (r < 0)
		return r;
	if (!source || !target || !immure_path_is_normal(source) ||
	    (strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0))
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "source", "source and target are absolute paths, "
				       "mode is ro or rw");
	fd = immure_mount_open_host(source);
	if (fd < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -fd, "source", "%s: %s", source,
				       fd == -ELOOP ? "a symbolic link is on the way" : strerror(-fd));
	m = calloc(1, sizeof(*m));
	if (m) {
		m->source = strdup(source);
		m->target = strdup(target);
		m->writable = strcmp(mode, "rw") == 0;
	}
	if (!m || !m->source || !m->target)
		r = immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	if (r == 0)
		r = check(a, m);
	if (r == 0)
		r = immure_tighten_forbids_mount(a, fd, source, target);
	if (r == 0)
		r = attach(a, m, fd);
	if (r < 0 && m)
		forget(m);
	if (r == 0)
		immure_answer_ok(a->s, a->c, a->id);
	return r;
}

int32_t immure_attach_unmount(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	struct immure_attached **at = &s->attached, *m;
	const char *target = "";
	int32_t r = immure_arg_string(a, "target", &target);
	int e;

	if (r < 0)
		return r;
	while (*at && strcmp((*at)->target, target) != 0)
		at = &(*at)->next;
	m = *at;
	if (!m)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, ENOENT, "target", "%.200s: nothing was attached there",
				       target);
	if (immure_tighten_forbids_unmount(a, m->target) < 0)
		return -IMMURE_ERR_POLICY;
	(void)immure_journal_removing(&s->journal, IMMURE_JK_MOUNT, m->seq); /* as above */
	e = in_child(s, m, -1, false);
	if (e < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -e, "target", "%s: %s", m->target, strerror(-e));
	(void)immure_journal_gone(&s->journal, IMMURE_JK_MOUNT, m->seq, NULL); /* as above */
	*at = m->next;
	forget(m);
	if (immure_tighten_again(s) < 0) { /* then nobody is to see it */
		immure_server_stop(s, 0, "what was tightened came to light");
		return immure_ask_fail(a, IMMURE_ERR_IO, EIO, "", "the session's policy could not be kept; it ends");
	}
	immure_answer_ok(s, a->c, a->id);
	return 0;
}

void immure_attach_json(struct immure_jsonw *w, const struct immure_server *s)
{
	bool all = true;

	immure_jsonw_array(w, "mounts");
	for (const struct immure_attached *m = s->attached; m; m = m->next) {
		/* The newest, as many as one packet has; a byte may become six. */
		all = w->out->len + 6 * (strlen(m->source) + strlen(m->target)) < IMMURE_SERVE_PACKET - 16384;
		if (!all)
			break;
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "source", m->source);
		immure_jsonw_str(w, "target", m->target);
		immure_jsonw_str(w, "mode", m->writable ? "rw" : "ro");
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
	immure_jsonw_bool(w, "mounts_truncated", !all);
}

void immure_attach_done(struct immure_server *s)
{
	while (s->attached) {
		struct immure_attached *m = s->attached;

		s->attached = m->next;
		if (s->journal.fd >= 0) /* they went with the namespace */
			(void)immure_journal_gone(&s->journal, IMMURE_JK_MOUNT, m->seq, NULL);
		forget(m);
	}
}
