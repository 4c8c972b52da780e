/* SPDX-License-Identifier: Apache-2.0 */
#include "session/remains.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/cgtree.h"
#include "kernel/sys.h"
#include "session/leftover.h"
#include "session/rmtree.h"
#include "session/runtime.h"

static const size_t the_supervisor = SIZE_MAX;

static void kill_standing(struct immure_remains *m);

static uint64_t monotonic_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (uint64_t)t.tv_sec * 1000U + (uint64_t)t.tv_nsec / 1000000U;
}

/* ---- open ---- */

/* The lock is held, but by whom? A child that the supervisor had just made has a
 * copy until it lets go of everything; killed in between, the one leaves the other
 * with it. 0 when that was so and the lock is ours now, else -EAGAIN. */
static int lock_of_the_dead(struct immure_entry *e)
{
	struct immure_remains m = { .journal = IMMURE_JOURNAL_INIT, .entry = IMMURE_ENTRY_INIT };
	struct timespec pause = { .tv_nsec = 1000000 };
	char boot[IMMURE_BOOT_ID_LEN + 1];
	int r = -EAGAIN;

	if (immure_entry_owner(e, &m.owner) < 0 || immure_boot_id(boot) < 0 ||
	    strcmp(boot, m.owner.boot_id) != 0 || immure_procid_runs(&m.owner.process))
		return -EAGAIN;
	(void)immure_journal_standing(e->dir_fd, &m.standing, &m.standing_n); /* what can be believed */
	kill_standing(&m);
	for (int i = 0; i < 1000 && (r = immure_entry_lock(e)) == -EAGAIN; i++)
		(void)nanosleep(&pause, NULL); /* cut short: asked once more */
	immure_remains_done(&m);
	return r;
}

int immure_remains_open(struct immure_entry *e, bool lock, struct immure_remains *ret)
{
	struct immure_remains m = { .journal = IMMURE_JOURNAL_INIT, .entry = IMMURE_ENTRY_INIT };
	char boot[IMMURE_BOOT_ID_LEN + 1] = "";
	int r = lock ? immure_entry_lock(e) : immure_entry_alive(e);

	if (r == -EAGAIN && lock)
		r = lock_of_the_dead(e);
	if (r != 0)
		return r > 0 ? -EAGAIN : r;
	/* One who died before he wrote down who he is did nothing else either, and in
	 * doubt nothing is of another boot: what is killed is looked at closely. */
	if (immure_entry_owner(e, &m.owner) < 0)
		memset(&m.owner, 0, sizeof(m.owner));
	m.this_boot = !m.owner.boot_id[0] || immure_boot_id(boot) < 0 ||
		      strcmp(boot, m.owner.boot_id) == 0;
	m.journal_error = immure_journal_standing(e->dir_fd, &m.standing, &m.standing_n);
	if (m.journal_error == 0 && lock)
		m.journal_error = immure_journal_open(e->dir_fd, &m.journal);
	m.entry = *e;
	*e = (struct immure_entry)IMMURE_ENTRY_INIT;
	*ret = m;
	return 0;
}

void immure_remains_done(struct immure_remains *m)
{
	for (size_t i = 0; i < m->killed_n; i++)
		immure_close(&m->killed[i].fd);
	m->killed_n = 0;
	immure_journal_done(&m->journal);
	immure_standing_free(m->standing, m->standing_n);
	m->standing = NULL;
	m->standing_n = 0;
	immure_entry_done(&m->entry);
}

bool immure_remains_sealed(const struct immure_remains *m)
{
	struct immure_status status;

	if (m->journal_error != 0 || immure_entry_status(&m->entry, &status) < 0 ||
	    strcmp(status.state, "SEALED") != 0)
		return false;
	for (size_t i = 0; i < m->standing_n; i++)
		if (m->standing[i].kind != IMMURE_JK_SESSION && m->standing[i].kind != IMMURE_JK_TICKET &&
		    m->standing[i].kind != IMMURE_JK_OWN_DIR)
			return false;
	return true;
}

/* ---- kill ---- */

static bool is_process(const struct immure_standing *s, struct immure_procid *ret)
{
	uint64_t pid, start;

	if ((s->kind != IMMURE_JK_INIT && s->kind != IMMURE_JK_PROCESS) ||
	    immure_detail_uint(s->detail, "pid", &pid) < 0 ||
	    immure_detail_uint(s->detail, "start", &start) < 0 || pid > INT32_MAX)
		return false;
	*ret = (struct immure_procid){ .pid = (int32_t)pid, .start = start };
	return true;
}

static void kill_one(struct immure_remains *m, const struct immure_procid *p, size_t of)
{
	int fd;

	if (p->pid == getpid() || m->killed_n == IMMURE_REMAINS_PIDFDS)
		return;
	fd = immure_procid_open(p);
	if (fd < 0) /* gone, or its number another's */
		return;
	(void)immure_pidfd_kill(fd, SIGKILL); /* that it lives on is seen in clear */
	m->killed[m->killed_n].fd = fd;
	m->killed[m->killed_n++].of = of;
}

static void kill_standing(struct immure_remains *m)
{
	struct immure_procid p;
	bool v2;

	/* Its lock is free, so it has ended, or is no supervisor any more. */
	if (m->owner.process.pid > 0)
		kill_one(m, &m->owner.process, the_supervisor);
	for (size_t i = 0; i < m->standing_n; i++) {
		const struct immure_standing *s = &m->standing[i];

		if (is_process(s, &p))
			kill_one(m, &p, i);
		if (s->kind == IMMURE_JK_CGROUP) {
			IMMURE_CLEANUP_FD int fd = immure_cgtree_open(s->subject, &v2);

			if (fd >= 0)
				(void)immure_cgtree_kill(fd, v2); /* and again in clear */
		}
	}
}

void immure_remains_kill(struct immure_remains *m, uint32_t grace_ms)
{
	m->deadline_ms = monotonic_ms() + (grace_ms ? grace_ms : 2000);
	if (m->this_boot)
		kill_standing(m);
}

/* ---- clear ---- */

struct clearing {
	struct immure_remains *m;
	struct immure_report *report;
	bool left;
};

static void tell(struct clearing *c, const char *kind, const char *what, int r, const char *why)
{
	immure_report_add(c->report, c->m->entry.id, kind, what,
			  r < 0 ? IMMURE_FATE_FAILED : IMMURE_FATE_REMOVED,
			  r < 0 ? strerror(-r) : why);
	if (r < 0) {
		c->left = true;
		/* The report says it anyway. */
		(void)immure_journal_note(&c->m->journal, IMMURE_JK_REPAIR, what, strerror(-r));
	}
}

static int left_ms(const struct immure_remains *m)
{
	uint64_t now = monotonic_ms();

	return now >= m->deadline_ms ? 0 : (int)(m->deadline_ms - now);
}

static void clear_processes(struct clearing *c)
{
	struct immure_remains *m = c->m;

	for (size_t i = 0; i < m->killed_n; i++) {
		const struct immure_standing *s =
			m->killed[i].of == the_supervisor ? NULL : &m->standing[m->killed[i].of];
		const char *what = !s ? "supervisor" : s->kind == IMMURE_JK_INIT ? "init" : s->subject;
		int r = immure_pidfd_gone(m->killed[i].fd, left_ms(m));

		tell(c, "process", what, r > 0 ? 0 : r < 0 ? r : -EBUSY, NULL);
		immure_close(&m->killed[i].fd);
	}
	m->killed_n = 0;
}

static int clear_cgroup(struct clearing *c, const struct immure_standing *s)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	bool v2;
	int fd = immure_cgtree_open(s->subject, &v2), r;

	if (fd < 0)
		return fd == -ENOENT || !c->m->this_boot ? 0 : fd;
	/* The last member leaves just after it was reaped, by whoever does that. */
	for (;;) {
		r = immure_cgtree_remove(s->subject);
		if (r == 0 || left_ms(c->m) == 0)
			break;
		(void)immure_cgtree_kill(fd, v2); /* what was born meanwhile */
		(void)nanosleep(&pause, NULL);    /* cut short: tried once more */
	}
	immure_close(&fd);
	tell(c, "cgroup", s->subject, r, NULL);
	return r;
}

/* Whether what has this name is what was made: by number when that was recorded,
 * else by a name that nobody else gives. */
static bool same_thing(const struct immure_standing *s, const char *name, const struct stat *st,
		       int32_t owner)
{
	uint64_t dev, ino;

	if (st->st_uid != geteuid())
		return false;
	if (immure_detail_uint(s->detail, "dev", &dev) == 0 &&
	    immure_detail_uint(s->detail, "ino", &ino) == 0)
		return st->st_dev == (dev_t)dev && st->st_ino == (ino_t)ino;
	/* A session without mounts names its directory after its supervisor. */
	if (strncmp(s->detail, "bare", 4) == 0)
		return owner > 0 && (int32_t)strtol(name, NULL, 10) == owner && strchr(name, '-');
	return strncmp(name, "immure-", 7) == 0 || strncmp(name, ".immure-", 8) == 0;
}

/* The directory that holds path, no link on the way; ret_name: the last part. */
static int open_parent(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[IMMURE_JOURNAL_SUBJECT_MAX];
	int fd;

	if (path[0] != '/' || !slash || !slash[1] || strcmp(slash, "/..") == 0 ||
	    strcmp(slash, "/.") == 0 || (size_t)(slash - path) >= sizeof(dir))
		return -EINVAL;
	(void)snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = immure_sys_openat2(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				IMMURE_RESOLVE_NO_SYMLINKS | IMMURE_RESOLVE_NO_MAGICLINKS);
	if (fd == -ENOSYS || fd == -EPERM) { /* before 5.6 */
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	*ret_name = slash + 1;
	return fd;
}

static int clear_file(struct clearing *c, const struct immure_standing *s)
{
	const char *name = "";
	IMMURE_CLEANUP_FD int dir = open_parent(s->subject, &name);
	bool is_dir = s->kind == IMMURE_JK_DIR;
	char left[256] = "";
	struct stat st;
	int r = 0;

	if (dir == -ENOENT || (dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
			       errno == ENOENT))
		return 0;
	if (dir < 0)
		r = dir;
	else if (S_ISDIR(st.st_mode) != is_dir || !same_thing(s, name, &st, c->m->owner.process.pid)) {
		immure_report_add(c->report, c->m->entry.id, is_dir ? "directory" : "file", s->subject,
				  IMMURE_FATE_KEPT, "something else has that name now");
		return 0;
	}
	if (r == 0 && is_dir && strncmp(s->detail, "bare", 4) == 0) {
		struct timespec pause = { .tv_nsec = 1000000 };
		bool foreign = false;

		/* What runs without a pid namespace is known by this directory. */
		while (c->m->this_boot && (r = immure_strays_kill(s->subject, &foreign)) > 0 && !foreign &&
		       left_ms(c->m) > 0)
			(void)nanosleep(&pause, NULL); /* cut short: looked at once more */
		r = r < 0 ? r : immure_rmtree(s->subject);
	} else if (r == 0 && is_dir) {
		IMMURE_CLEANUP_FD int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
							      O_CLOEXEC);

		r = sub < 0 ? -errno : immure_runtime_empty(sub, NULL, left, sizeof(left));
	}
	if (r == 0 && dir >= 0 && unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		r = -errno;
	tell(c, is_dir ? "directory" : "file", s->subject, r, NULL);
	return r;
}

/* A network namespace is kept by a mount of its file over one of ours. */
static int clear_netns(struct clearing *c, const struct immure_standing *s)
{
	int r = 0;

	if (s->subject[0] != '/' || !c->m->this_boot)
		return 0; /* kept by a descriptor, which has ended with its process */
	if (umount2(s->subject, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		r = -errno;
	if (r == 0)
		return clear_file(c, s);
	tell(c, "netns", s->subject, r, NULL);
	return r;
}

/* A finished one is the user's, a half-written one nobody's. */
static int clear_snapshot(struct clearing *c, const struct immure_standing *s)
{
	if (s->phase == IMMURE_JP_INTENT)
		return clear_file(c, s);
	immure_report_add(c->report, c->m->entry.id, "snapshot", s->subject, IMMURE_FATE_KEPT, "yours");
	return 0;
}

static int keep_own_dir(struct clearing *c, const struct immure_standing *s)
{
	immure_report_add(c->report, c->m->entry.id, "directory", s->subject, IMMURE_FATE_KEPT,
			  "immure's own, for all sessions");
	return 0;
}

/* What is not here was inside and ended with it, or is a file in the session's
 * directory, or a process (clear_processes). */
static const struct {
	int (*clear)(struct clearing *c, const struct immure_standing *s);
	bool removes;
} clearers[IMMURE_JK_MAX] = {
	[IMMURE_JK_CGROUP] = { clear_cgroup, true },
	[IMMURE_JK_FILE] = { clear_file, true },
	[IMMURE_JK_DIR] = { clear_file, true },
	[IMMURE_JK_NETNS] = { clear_netns, true },
	[IMMURE_JK_SNAPSHOT] = { clear_snapshot, false },
	[IMMURE_JK_OWN_DIR] = { keep_own_dir, false },
};

static void clear_standing(struct clearing *c, const struct immure_standing *s)
{
	struct immure_journal *j = &c->m->journal;
	bool removes = clearers[s->kind].removes;

	if (!clearers[s->kind].clear)
		return;
	/* What cannot be written down is removed all the same: each of these can be
	 * repeated, and is when the journal says that it is still to be done. */
	if (removes && s->phase != IMMURE_JP_REMOVING)
		(void)immure_journal_removing(j, s->kind, s->seq);
	if (clearers[s->kind].clear(c, s) == 0 && removes)
		(void)immure_journal_gone(j, s->kind, s->seq, NULL);
}

/* Something is left: the entry stays, and says so, until it could be removed. */
static void repair_needed(struct clearing *c)
{
	struct immure_status s = { .state = "REPAIR_NEEDED", .note = "something could not be removed; "
								      "gc tries again" };

	c->report->repair_needed++;
	if (c->m->journal_error == -EBADMSG)
		(void)snprintf(s.note, sizeof(s.note), "the journal was changed by somebody");
	(void)immure_entry_set_status(&c->m->entry, &s); /* the report says it anyway */
}

static bool believable(struct clearing *c, bool force)
{
	int e = c->m->journal_error;

	if (e == 0 || e == -ENOENT) /* none: nothing was begun */
		return true;
	immure_report_add(c->report, c->m->entry.id, "journal", "journal",
			  force ? IMMURE_FATE_REMOVED : IMMURE_FATE_FAILED,
			  e == -EBADMSG ? "was changed by somebody; what it says up to there was done"
					: strerror(-e));
	return force;
}

bool immure_remains_clear(struct immure_remains *m, const struct immure_gc *gc,
			  struct immure_registry *r, struct immure_report *report)
{
	struct clearing c = { .m = m, .report = report };
	char left[256] = "", what[IMMURE_NAME_MAX + IMMURE_ID_LEN + 4];
	struct immure_meta meta;
	int k;

	clear_processes(&c);
	/* Last made, first removed. */
	for (size_t i = m->standing_n; i > 0; i--)
		clear_standing(&c, &m->standing[i - 1]);
	if (!believable(&c, gc->force))
		c.left = true;
	if (c.left) {
		repair_needed(&c);
		return false;
	}
	(void)snprintf(what, sizeof(what), "%s", m->entry.id);
	if (immure_entry_meta(&m->entry, &meta) == 0 && meta.name[0])
		(void)snprintf(what, sizeof(what), "%s", meta.name);
	k = immure_entry_remove(r, &m->entry, left, sizeof(left));
	immure_report_add(report, c.m->entry.id, "session", what,
			  k < 0 ? IMMURE_FATE_FAILED : IMMURE_FATE_REMOVED,
			  k < 0 ? strerror(-k) : NULL);
	if (k < 0)
		repair_needed(&c);
	return k == 0;
}

void immure_remains_list(const struct immure_remains *m, struct immure_report *report)
{
	struct immure_procid p;
	bool v2;

	for (size_t i = 0; i < m->standing_n; i++) {
		const struct immure_standing *s = &m->standing[i];

		if (m->this_boot && is_process(s, &p) && immure_procid_runs(&p))
			immure_report_add(report, m->entry.id, "process",
					  s->kind == IMMURE_JK_INIT ? "init" : s->subject,
					  IMMURE_FATE_REMOVED, NULL);
		if (m->this_boot && s->kind == IMMURE_JK_CGROUP) {
			IMMURE_CLEANUP_FD int fd = immure_cgtree_open(s->subject, &v2);

			if (fd >= 0)
				immure_report_add(report, m->entry.id, "cgroup", s->subject,
						  IMMURE_FATE_REMOVED, NULL);
		}
		if ((s->kind == IMMURE_JK_FILE || s->kind == IMMURE_JK_DIR) &&
		    faccessat(AT_FDCWD, s->subject, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			immure_report_add(report, m->entry.id,
					  s->kind == IMMURE_JK_FILE ? "file" : "directory", s->subject,
					  IMMURE_FATE_REMOVED, NULL);
	}
	immure_report_add(report, m->entry.id, "session", m->entry.id, IMMURE_FATE_REMOVED, NULL);
}
