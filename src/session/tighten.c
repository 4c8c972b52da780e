/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tightened file policy of a living session: paths that its commands may not reach, or
 * not change, from now on. There is no way back, and nothing here can widen anything: what
 * is put over a path is a mask, or a read-only clone of what is seen there, masks included.
 *
 * A child in the session's namespaces mounts it, over the path and over every other place
 * where the same object is seen (each mount of that file system is looked at). In a place
 * that can be written, the directories above become mounts of their own, so that none can
 * be moved away and its name be used for something else. They are cloned with what was
 * just put there, so a command that runs already meets it as well, from whatever directory
 * it has open.
 *
 * What was open before stays open to who has it; nothing takes a descriptor away. Later
 * commands are kept away from those: each gets a Landlock domain of its own that forbids
 * nothing but tracing others, and with it /proc/PID/fd, cwd and root of theirs.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "facts/facts.h"
#include "kernel/landlock.h"
#include "kernel/mount.h"
#include "kernel/sys.h"
#include "session/place.h"
#include "session/serve.h"

enum { AT_ONCE = 64, IN_ALL = 256, TMPFS = 0x01021994 };

struct immure_tight {
	struct immure_tight *next;
	char *path;
	bool deny;
	uint64_t revision, seq;
	/* Where it is in its file system, by whatever path it is reached. */
	uint32_t major, minor;
	char *place;
};

/* ---- in a child: what is put there ---- */

static bool is_mask(int fd)
{
	struct statfs fs;
	struct stat st;

	return fstat(fd, &st) == 0 && fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS &&
	       (st.st_mode & 07777) == 0 && fs.f_flags & ST_RDONLY;
}

/* A mask as init makes them: of mode 000, in the session's own /dev, by a name that goes
 * again; only then, because nothing is attached that has none. */
static int mask_over(const struct immure_view *v, int target, bool directory)
{
	static const char name[] = ".tighten";
	IMMURE_CLEANUP_FD int dev = immure_mount_open_in(v->root_fd, "/dev");
	IMMURE_CLEANUP_FD int writable = dev < 0 ? dev : immure_mount_clone(dev, 0);
	IMMURE_CLEANUP_FD int made = -1, object = -1, tree = -1;
	int r = writable < 0 ? writable : immure_mount_let_write(writable);

	if (r < 0)
		return r;
	if (!directory)
		made = openat(writable, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (directory ? mkdirat(writable, name, 0) < 0 : made < 0)
		return -errno;
	object = openat(dev, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	tree = object < 0 ? -errno : immure_mount_clone(object, IMMURE_ATTR_RDONLY | IMMURE_ATTR_NOSUID |
							IMMURE_ATTR_NODEV | IMMURE_ATTR_NOEXEC);
	r = tree < 0 ? tree : immure_mount_attach(tree, target);
	if (unlinkat(writable, name, directory ? AT_REMOVEDIR : 0) < 0 && r == 0)
		r = -errno;
	return r;
}

static int mount_over(int fd, uint64_t attr)
{
	IMMURE_CLEANUP_FD int tree = immure_mount_clone(fd, IMMURE_ATTR_NOSUID | IMMURE_ATTR_NODEV | attr);

	return tree < 0 ? tree : immure_mount_attach(tree, fd);
}

/* Every directory between the mount that path is in and path. */
static int pin_above(const struct immure_view *v, const struct immure_fact_mount *m, const char *path)
{
	char prefix[IMMURE_PLACE];
	int r = 0;

	for (const char *at = path + 1; r == 0 && (at = strchr(at, '/')); at++) {
		(void)snprintf(prefix, sizeof(prefix), "%.*s", (int)(at - path), path);
		if (!immure_path_is_under(prefix, m->target) || strcmp(prefix, m->target) == 0)
			continue;
		IMMURE_CLEANUP_FD int fd = immure_mount_open_in(v->root_fd, prefix);
		r = fd < 0 ? fd : mount_over(fd, 0);
	}
	return r;
}

/* Where the same object is seen through mount m, if it is. */
static int tighten_at(const struct immure_view *v, const struct immure_tight *t, const struct immure_fact_mount *m,
		      const char *path)
{
	IMMURE_CLEANUP_FD int fd = immure_mount_open_in(v->root_fd, path);
	struct statvfs fs;
	struct stat st;
	uint32_t id = 0;
	int r = 0;

	/* Hidden by something else: not to be seen there. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -EACCES)
		return 0;
	if (fd < 0)
		return fd;
	r = immure_view_mount_id(v, fd, &id);
	if (r < 0 || id != m->id || is_mask(fd))
		return r;
	if (fstat(fd, &st) < 0 || fstatvfs(fd, &fs) < 0)
		return -errno;
	if (t->deny)
		r = mask_over(v, fd, S_ISDIR(st.st_mode));
	else if (!(fs.f_flag & ST_RDONLY))
		r = mount_over(fd, IMMURE_ATTR_RDONLY);
	return r == 0 && !(fs.f_flag & ST_RDONLY) ? pin_above(v, m, path) : r;
}

/* The mounts as they are before; what is made here is no other way to the object. */
static int tighten_all(const struct immure_view *v, const struct immure_tight *t)
{
	char path[IMMURE_PLACE];
	int r = 0;

	for (size_t i = 0; i < v->n && r == 0; i++) {
		const struct immure_fact_mount *m = &v->mounts[i];

		if (m->major != t->major || m->minor != t->minor)
			continue;
		if (immure_path_is_under(t->place, m->root))
			r = immure_view_join(path, m->target, immure_view_rest(t->place, m->root));
		else if (immure_path_is_under(m->root, t->place)) /* something of it, elsewhere */
			r = immure_view_join(path, m->target, "");
		else
			continue;
		if (r == 0)
			r = tighten_at(v, t, m, path);
	}
	return r;
}

/* ---- in a child: looking ---- */

/* What the child found, for the server to see. */
struct found {
	int errnum;
	bool linked, already;
	uint32_t major, minor;
	char place[IMMURE_PLACE];
};

static void look(const struct immure_view *v, const struct immure_tight *t, struct found *f)
{
	IMMURE_CLEANUP_FD int fd = immure_mount_open_in(v->root_fd, t->path);
	struct immure_place at;
	struct stat st;
	int r = fd < 0 ? fd : fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0)
		r = immure_view_find(v, fd, t->path, &at);
	f->errnum = -r;
	if (r < 0)
		return;
	f->already = is_mask(fd);
	f->linked = !S_ISDIR(st.st_mode) && st.st_nlink > 1;
	f->major = at.major;
	f->minor = at.minor;
	memcpy(f->place, at.path, sizeof(f->place));
}

static int enter(const struct immure_server *s, struct immure_view *v)
{
	*v = (struct immure_view){ .proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), .root_fd = -1 };
	if (v->proc_fd < 0 || setns(s->handle[IMMURE_HANDLE_USERNS], 0) < 0 ||
	    setns(s->handle[IMMURE_HANDLE_MNTNS], 0) < 0)
		return -errno;
	(void)umask(0);
	v->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return v->root_fd < 0 ? -errno : immure_view_read(v);
}

/* found: looks only. NULL: does it. */
static int in_child(const struct immure_server *s, const struct immure_tight *list, struct found *found)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct immure_view v;
		int r = enter(s, &v);

		for (; list && r == 0; list = list->next) {
			if (found) {
				look(&v, list, found++);
				continue;
			}
			r = tighten_all(&v, list);
			if (r == 0)
				r = immure_view_read(&v);
		}
		_exit(r < 0 && r > -125 ? -r : r < 0 ? 125 : 0);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* ---- what is asked for ---- */

static void forget(struct immure_tight *list)
{
	while (list) {
		struct immure_tight *t = list;

		list = t->next;
		free(t->path);
		free(t->place);
		free(t);
	}
}

/* Denied is tighter than read-only, and what is above counts for what is below. */
static bool is_so_already(const struct immure_server *s, const struct immure_tight *list, const char *path,
			  bool deny)
{
	const struct immure_tight *all[] = { s->tight, list };

	for (int i = 0; i < 2; i++)
		for (const struct immure_tight *t = all[i]; t; t = t->next)
			if (immure_path_is_under(path, t->path) && (t->deny || !deny))
				return true;
	return false;
}

static int32_t take_list(struct immure_ask *a, const char *key, bool deny, struct immure_tight **list, size_t *n)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, key), *e;

	if (v && v->type != IMMURE_JSON_ARRAY && v->type != IMMURE_JSON_NULL)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is a list of paths", key);
	for (e = v ? immure_jsonr_first(&a->json, v) : NULL; e; e = immure_jsonr_after(&a->json, v, e)) {
		struct immure_tight *t;

		if (e->type != IMMURE_JSON_STRING || !immure_path_is_normal(e->text) || strlen(e->text) >= IMMURE_PLACE / 2 ||
		    immure_path_is_under("/dev", e->text))
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s has absolute paths inside, without "
					       "links, '.' and '..'; neither / nor /dev", key);
		if (is_so_already(a->s, *list, e->text, deny))
			continue;
		if (++*n > AT_ONCE || a->s->tight_n + *n > IN_ALL)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, E2BIG, key, "at most %d paths at once, %d in "
					       "all", AT_ONCE, IN_ALL);
		t = calloc(1, sizeof(*t));
		if (t)
			t->path = strdup(e->text);
		if (!t || !t->path) {
			free(t);
			return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
		}
		t->deny = deny;
		t->next = *list;
		*list = t;
	}
	return 0;
}

static int32_t judge(struct immure_ask *a, struct immure_tight *list, const struct found *f)
{
	for (struct immure_tight *t = list; t; t = t->next, f++) {
		if (f->errnum)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, f->errnum, t->deny ? "deny" : "read_only",
					       "%.150s: %s", t->path, f->errnum == ELOOP ? "a symbolic link is on "
					       "the way" : strerror(f->errnum));
		/* Its other names would still lead there. */
		if (f->linked)
			return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EMLINK, t->deny ? "deny" : "read_only",
					       "%.150s: this file has other names as well (hard links), which "
					       "would still lead to it; name a directory that has them all", t->path);
		t->major = f->major;
		t->minor = f->minor;
		t->place = strdup(f->place);
		if (!t->place)
			return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	}
	return 0;
}

/* All are there before any is done. */
static int32_t look_at_all(struct immure_ask *a, struct immure_tight *list, size_t n)
{
	struct found *found = mmap(NULL, n * sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				   -1, 0);
	int32_t r;
	int e;

	if (found == MAP_FAILED)
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	e = in_child(a->s, list, found);
	r = e < 0 ? immure_ask_fail(a, IMMURE_ERR_IO, -e, "", "the session's files cannot be looked at: %s",
				    strerror(-e))
		  : judge(a, list, found);
	(void)munmap(found, n * sizeof(*found)); /* its own mapping, so it is one */
	return r;
}

/* ---- doing it ---- */

static int32_t apply(struct immure_ask *a, struct immure_tight *list)
{
	struct immure_server *s = a->s;
	int r = 0;

	for (struct immure_tight *t = list; t && r == 0; t = t->next)
		r = immure_journal_intent(&s->journal, IMMURE_JK_MOUNT, t->path, t->deny ? "deny" : "read-only",
					  &t->seq);
	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "journal", "the journal cannot be written: %s",
				       strerror(-r));
	r = in_child(s, list, NULL);
	for (struct immure_tight *t = list; t; t = t->next) /* it ends with the namespace */
		(void)immure_journal_result(&s->journal, IMMURE_JK_MOUNT, t->seq, -r, NULL);
	if (r < 0) /* what is done of it is tighter, and stays */
		return immure_ask_fail(a, IMMURE_ERR_IO, -r, "", "not all of it could be done: %s", strerror(-r));
	return 0;
}

/* A domain that allows all it decides about; what counts is that it is another one. */
static int trivial_domain(const struct immure_server *s)
{
	int abi = immure_landlock_abi();
	uint64_t right = abi > 1 ? IMMURE_LANDLOCK_FS_REFER : IMMURE_LANDLOCK_FS_MAKE_BLOCK;
	int fd = abi < 1 || s->handle[IMMURE_HANDLE_ROOT] < 0 ? -EOPNOTSUPP : immure_landlock_create(right, 0, 0);
	int r = fd < 0 ? fd : immure_landlock_add_path(fd, s->handle[IMMURE_HANDLE_ROOT], right);

	if (r < 0)
		immure_close(&fd);
	return r < 0 ? r : fd;
}

static int tell_init(struct immure_server *s)
{
	struct immure_init_order o = { .type = IMMURE_INIT_TIGHTENED, .value = s->revision };
	int fd = s->apart ? -1 : trivial_domain(s), r;

	r = immure_life_order(s, &o, &fd, fd >= 0);
	if (r == 0 && fd >= 0)
		s->apart = true;
	immure_close(&fd);
	return r;
}

void immure_tighten_version(const struct immure_server *s, uint64_t revision,
			    char ret[IMMURE_SERVE_VERSION])
{
	const struct immure_tight *all[IN_ALL];
	struct immure_buf b = IMMURE_BUF_INIT;
	char hex[25];
	size_t n = 0;

	(void)snprintf(ret, IMMURE_SERVE_VERSION, "%s", s->plan->policy_version);
	for (const struct immure_tight *t = s->tight; t && n < IN_ALL; t = t->next)
		if (t->revision <= revision)
			all[n++] = t;
	if (n == 0)
		return;
	immure_buf_puts(&b, ret);
	while (n-- > 0) /* the oldest is the last of the list */
		immure_buf_printf(&b, "\n%s %s", all[n]->deny ? "deny" : "read-only", all[n]->path);
	if (immure_buf_ok(&b)) {
		immure_sha256_hex(b.data, b.len, 12, hex);
		(void)snprintf(ret, IMMURE_SERVE_VERSION, "policy-%s", hex);
	}
	immure_buf_done(&b);
}

static void answer(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, a->id);
	immure_tighten_json(&w, s);
	immure_jsonw_str(&w, "applies", "to every later command; what one that runs has open stays open to it");
	immure_jsonw_array(&w, "older");
	for (const struct immure_task *t = s->tasks; t && b.len < IMMURE_SERVE_PACKET - 8192; t = t->next)
		if (t->started && !t->ended && t->revision < s->revision)
			immure_jsonw_uint(&w, NULL, t->id);
	immure_jsonw_end(&w, ']');
	immure_jsonw_bool(&w, "apart", s->apart);
	immure_answer_send(s, a->c, &w, NULL, 0);
}

int32_t immure_tighten(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	struct immure_tight *list = NULL, *last;
	size_t n = 0;
	int32_t r = take_list(a, "deny", true, &list, &n);

	if (r == 0)
		r = take_list(a, "read_only", false, &list, &n);
	if (r == 0 && list &&
	    (s->handle[IMMURE_HANDLE_MNTNS] < 0 || s->handle[IMMURE_HANDLE_USERNS] < 0 ||
	     !immure_plan_find(s->plan, IMMURE_OP_PIVOT)))
		r = immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, EOPNOTSUPP, "", "this session has no view of files "
				    "of its own in which anything could be hidden");
	if (r == 0 && list)
		r = look_at_all(a, list, n);
	if (r == 0 && list)
		r = apply(a, list);
	if (r < 0) {
		forget(list);
		return r;
	}
	if (list) {
		s->revision++;
		s->tight_n += n;
		for (last = list; last; last = last->next)
			last->revision = s->revision;
		for (last = list; last->next;)
			last = last->next;
		last->next = s->tight;
		s->tight = list;
		if (tell_init(s) < 0) /* gone, or it does not listen: no later command either */
			immure_sealed_kill(&s->sealed);
	}
	answer(a);
	return 0;
}

/* ---- what others have to know ---- */

/* Whether what is at path on the host, or something in it, is what was tightened. */
static bool overlaps(const struct immure_server *s, int source, const char *path)
{
	struct immure_view v = { .proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) };
	struct immure_place at;
	bool yes = true; /* what cannot be told */

	if (v.proc_fd >= 0 && immure_view_read(&v) == 0 && immure_view_find(&v, source, path, &at) == 0) {
		yes = false;
		for (const struct immure_tight *t = s->tight; t && !yes; t = t->next)
			yes = t->major == at.major && t->minor == at.minor &&
			      (immure_path_is_under(at.path, t->place) || immure_path_is_under(t->place, at.path));
	}
	immure_arena_done(&v.arena);
	immure_close(&v.proc_fd);
	return yes;
}

int32_t immure_tighten_forbids_mount(struct immure_ask *a, int source, const char *path, const char *target)
{
	struct immure_server *s = a->s;
	bool yes = s->tight && overlaps(s, source, path);

	for (const struct immure_tight *t = s->tight; t && !yes; t = t->next)
		yes = immure_path_is_under(target, t->path) || immure_path_is_under(t->path, target);
	if (yes)
		return immure_ask_fail(a, IMMURE_ERR_POLICY, EACCES, "target", "%.100s on %.100s: this session's "
				       "policy was tightened there, and that is never taken back", path, target);
	return 0;
}

int32_t immure_tighten_forbids_unmount(struct immure_ask *a, const char *target)
{
	for (const struct immure_tight *t = a->s->tight; t; t = t->next)
		if (immure_path_is_under(target, t->path) || strcmp(target, t->path) == 0)
			return immure_ask_fail(a, IMMURE_ERR_POLICY, EACCES, "target", "%.200s: this session's policy "
					       "was tightened there, and that is never taken back", target);
	return 0;
}

int immure_tighten_again(struct immure_server *s)
{
	return s->tight ? in_child(s, s->tight, NULL) : 0;
}

void immure_tighten_json(struct immure_jsonw *w, const struct immure_server *s)
{
	char version[IMMURE_SERVE_VERSION];
	bool all = true;

	immure_tighten_version(s, s->revision, version);
	immure_jsonw_str(w, "policy_version", version);
	immure_jsonw_uint(w, "policy_revision", s->revision);
	immure_jsonw_array(w, "tightened");
	for (const struct immure_tight *t = s->tight; t && all; t = t->next) {
		all = w->out->len + 6 * strlen(t->path) < IMMURE_SERVE_PACKET / 2; /* the newest */
		if (!all)
			break;
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "path", t->path);
		immure_jsonw_str(w, "how", t->deny ? "deny" : "read-only");
		immure_jsonw_uint(w, "revision", t->revision);
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
	immure_jsonw_bool(w, "tightened_truncated", !all);
}

void immure_tighten_done(struct immure_server *s)
{
	if (s->journal.fd >= 0) /* they went with the namespace */
		for (const struct immure_tight *t = s->tight; t; t = t->next)
			(void)immure_journal_gone(&s->journal, IMMURE_JK_MOUNT, t->seq, NULL);
	forget(s->tight);
	s->tight = NULL;
}
