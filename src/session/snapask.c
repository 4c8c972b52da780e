/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's files, saved. It is frozen first, unless it is already; what nobody can run in
 * does not change, and that is looked at too: a file that changed while it was copied ends it,
 * as does whatever wakes the session. The copying is a child's, so the server goes on
 * serving; it has the rights of the session's owner in the session's user namespace, so that
 * no mode that a command set keeps it out.
 *
 * What goes beside the files is said here, because only the server knows it: the policy that the
 * session was made by, and what was tightened since.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"
#include "session/control.h"
#include "session/snapshot.h"

enum { FREEZE_MS = 5000 };

struct immure_snapping {
	struct immure_client *client; /* NULL: it is gone */
	uint64_t request, seq;        /* seq 0: not in the journal */
	int file_fd;
	pid_t pid;
	struct immure_watch result;   /* a pipe from the child */
	bool froze, waits;            /* froze: by us; waits: for init to say that it is so */
	const char *spoilt;
	struct immure_snap_areas areas;
};

struct outcome {
	int32_t errnum;
	struct immure_snap_count count;
};

/* ---- in a child ---- */

static int is_frozen_v2(const struct immure_server *s)
{
	char *text = NULL;
	int r = immure_read_file_at(s->sealed.cgroup.dir_fd[0], "cgroup.events", 4096, &text, NULL);

	r = r < 0 ? r : strstr(text, "frozen 1") != NULL;
	free(text);
	return r;
}

static int is_frozen_v1(const struct immure_server *s)
{
	const struct immure_cgroup *c = &s->sealed.cgroup;
	char *text = NULL;
	int r = immure_read_file_at(c->dir_fd[c->ctl_dir[IMMURE_CTL_FREEZER]], "freezer.state", 64, &text, NULL);

	r = r < 0 ? r : strncmp(text, "FROZEN", 6) == 0;
	free(text);
	return r;
}

/* The freezer is told at once and done when each process has come by. */
static int await_frozen(const struct immure_server *s)
{
	int version = s->by_signals ? 0 : immure_cgroup_freezer(&s->sealed.cgroup), r = 0;

	for (int i = 0; version && i < FREEZE_MS; i++) {
		r = version == 2 ? is_frozen_v2(s) : is_frozen_v1(s);
		if (r != 0)
			return r < 0 ? r : 0;
		(void)poll(NULL, 0, 1); /* a signal: one round more */
	}
	return version ? -EBUSY : 0;
}

__attribute__((noreturn)) static void copy(const struct immure_server *s, int to)
{
	const struct immure_snapping *p = s->snapping;
	struct outcome o = { 0 };
	int r = await_frozen(s);

	if (r == 0)
		r = immure_snap_enter(s, false);
	if (r == 0)
		r = immure_snap_write(p->areas.v, p->areas.n, p->file_fd, &o.count);
	o.errnum = -r;
	_exit(immure_write_all(to, &o, sizeof(o)) < 0);
}

/* ---- what it says of itself ---- */

static void put_excludes(struct immure_jsonw *w, const struct immure_server *s)
{
	immure_jsonw_array(w, "excludes");
	immure_jsonw_str(w, NULL, "processes");
	immure_jsonw_str(w, NULL, "memory");
	immure_jsonw_str(w, NULL, "/dev/shm");
	immure_jsonw_str(w, NULL, "sockets and devices");
	immure_jsonw_str(w, NULL, "secrets");
	immure_jsonw_str(w, NULL, "the caller's environment");
	if (!immure_upper_op(s->plan) && s->plan->workspace[0])
		immure_jsonw_str(w, NULL, "the workspace, which is the host's own");
	for (size_t i = 0; i < s->plan->ops_n; i++)
		if (s->plan->ops[i].kind == IMMURE_OP_BIND && !(s->plan->ops[i].flags & IMMURE_OPF_RO) &&
		    strcmp(s->plan->ops[i].dst, s->plan->workspace) != 0)
			immure_jsonw_str(w, NULL, s->plan->ops[i].dst);
	immure_jsonw_end(w, ']');
}

static void put_areas(struct immure_jsonw *w, const struct immure_snapping *p)
{
	immure_jsonw_array(w, "areas");
	for (size_t i = 0; i < p->areas.n; i++) {
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "path", p->areas.v[i].label);
		immure_jsonw_str(w, "kind", p->areas.v[i].kind == IMMURE_AREA_COW ? "workspace" : "private");
		immure_jsonw_end(w, '}');
	}
	immure_jsonw_end(w, ']');
}

static void put_files(struct immure_jsonw *w, const struct immure_snap_count *c)
{
	char hex[65];

	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", c->hash[i]);
	immure_jsonw_object(w, "files");
	immure_jsonw_uint(w, "entries", c->entries);
	immure_jsonw_uint(w, "bytes", c->bytes);
	immure_jsonw_uint(w, "left_out", c->left_out);
	immure_jsonw_uint(w, "length", c->length);
	immure_jsonw_str(w, "sha256", hex);
	immure_jsonw_end(w, '}');
}

/* Too large for a packet perhaps, so in a file of its own. */
static int about(const struct immure_server *s, const struct immure_snap_count *count)
{
	static const char *const freezers[] = { "signals", "cgroup v1", "cgroup v2" };
	const struct immure_snapping *p = s->snapping;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	/* Not what was denied: what a command asked for may be a secret's value. */
	char *network = immure_gatekeeper_rules(s->sealed.gate);
	int fd;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "session", s->entry.id);
	immure_jsonw_str(&w, "session_name", s->meta.name);
	immure_jsonw_array(&w, "contains");
	immure_jsonw_str(&w, NULL, "files");
	immure_jsonw_end(&w, ']');
	put_excludes(&w, s);
	put_areas(&w, p);
	put_files(&w, count);
	immure_jsonw_str(&w, "backend", s->plan->backend);
	immure_jsonw_str(&w, "profile", s->plan->profile);
	immure_jsonw_str(&w, "workspace", s->plan->workspace);
	immure_jsonw_str(&w, "workspace_mode", immure_upper_op(s->plan) ? "cow" : "direct");
	immure_jsonw_str(&w, "cwd", s->plan->cwd);
	immure_jsonw_str(&w, "plan_hash", immure_plan_hash_of(s->plan));
	immure_tighten_json(&w, s);
	if (network)
		immure_jsonw_raw(&w, "network", network);
	immure_jsonw_str(&w, "frozen_by", s->by_signals ? freezers[0]
						       : freezers[immure_cgroup_freezer(&s->sealed.cgroup)]);
	immure_jsonw_object(&w, "labels");
	for (uint32_t i = 0; i < s->meta.labels_n; i++)
		immure_jsonw_str(&w, s->meta.labels[i].key, s->meta.labels[i].value);
	immure_jsonw_end(&w, '}');
	immure_jsonw_raw(&w, "policy", s->policy);
	immure_jsonw_end(&w, '}');
	fd = immure_buf_ok(&b) && (network || !s->sealed.gate) ? immure_memfd_of("immure-snapshot", b.data, b.len) : -ENOMEM;
	free(network);
	immure_buf_done(&b);
	return fd;
}

/* ---- the end of it ---- */

static const char *why_not(int errnum)
{
	switch (errnum) {
	case EAGAIN:
		return "changed while it was copied";
	case EBUSY:
		return "the session could not be frozen";
	case ELOOP:
		return "directories are nested too deep";
	case ENAMETOOLONG:
		return "too many long paths of files with several names, or of closed directories";
	case EXDEV:
		return "something is mounted there";
	case ENOSPC: /* not there, where it is read: that would be the session's own limit */
	case EDQUOT:
		return "no space is left where the snapshot is written";
	default:
		return strerror(errnum);
	}
}

static void drop(struct immure_server *s)
{
	struct immure_snapping *p = s->snapping;

	s->snapping = NULL;
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL); /* it is not waited for yet, so the number is its own */
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	immure_server_unwatch(s, &p->result);
	immure_close(&p->file_fd);
	immure_snap_areas_done(&p->areas);
	free(p);
}

/* Its client has it now, and keeps it or not. What cannot be written down gc finds, by the
 * intent, and removes when it is still what it was. */
static void record(struct immure_server *s, const struct immure_snapping *p, int errnum)
{
	if (p->seq && immure_journal_result(&s->journal, IMMURE_JK_SNAPSHOT, p->seq, errnum, NULL) == 0 && !errnum)
		(void)immure_journal_gone(&s->journal, IMMURE_JK_SNAPSHOT, p->seq, "handed over");
}

static void answer(struct immure_server *s, const struct immure_snapping *p, const struct outcome *o)
{
	struct immure_error *err = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	IMMURE_CLEANUP_FD int fd = o->errnum || p->spoilt ? -1 : about(s, &o->count);

	record(s, p, fd >= 0 ? 0 : o->errnum ? o->errnum : EIO);
	if (!p->client)
		return;
	if (fd >= 0) {
		immure_answer_begin(&w, &b, p->request);
		immure_answer_send(s, p->client, &w, &fd, 1);
		return;
	}
	if (p->spoilt)
		(void)immure_fail(&err, IMMURE_ERR_STATE, EAGAIN, "snapshot", "", "%s", p->spoilt);
	else if (!o->errnum)
		(void)immure_fail(&err, IMMURE_ERR_IO, -fd, "snapshot", "", "snapshot: %s", strerror(-fd));
	else
		(void)immure_fail(&err, o->errnum == EAGAIN || o->errnum == EBUSY ? IMMURE_ERR_STATE : IMMURE_ERR_IO,
				  o->errnum, "snapshot", o->count.where, "%s%s%s", o->count.where,
				  o->count.where[0] ? ": " : "", why_not(o->errnum));
	immure_answer_error(s, p->client, p->request, err);
	immure_error_free(err);
}

static void end(struct immure_server *s, const struct outcome *o)
{
	struct immure_snapping *p = s->snapping;
	bool froze = p->froze;

	answer(s, p, o);
	drop(s);
	if (froze)
		(void)immure_life_go_on(s); /* not now: whoever asks next thaws it, and it says FROZEN */
}

static void on_result(struct immure_server *s, struct immure_watch *w, uint32_t events)
{
	struct outcome o;
	ssize_t n = read(w->fd, &o, sizeof(o));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(o))
		o = (struct outcome){ .errnum = ECHILD }; /* killed */
	end(s, &o);
}

static int start(struct immure_server *s)
{
	struct immure_snapping *p = s->snapping;
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	p->waits = false;
	p->pid = fork();
	if (p->pid == 0) {
		immure_close(&pair[0]);
		copy(s, pair[1]);
	}
	immure_close(&pair[1]);
	p->result = (struct immure_watch){ .fd = pair[0], .ready = on_result };
	if (p->pid < 0)
		return -EAGAIN;
	return immure_server_watch(s, &p->result, EPOLLIN);
}

/* ---- the request ---- */

/* Empty, and nobody else's end of something. */
static int check_file(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_size == 0 && (flags & O_ACCMODE) == O_RDWR && !(flags & (O_APPEND | O_PATH))
		       ? 0 : -EINVAL;
}

static int intend(struct immure_server *s, const char *path)
{
	char detail[64];
	struct stat st;

	if (fstat(s->snapping->file_fd, &st) < 0)
		return -errno;
	(void)snprintf(detail, sizeof(detail), "dev=%llu ino=%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	return immure_journal_intent(&s->journal, IMMURE_JK_SNAPSHOT, path, detail, &s->snapping->seq);
}

static int32_t prepare(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	const char *path = NULL;
	int fd = -1, e;
	int32_t r = immure_arg_fd(a, immure_jsonr_get(&a->json, a->root, "file"), &fd);

	if (r == 0)
		r = immure_arg_string(a, "path", &path);
	if (r < 0)
		return r;
	if (check_file(fd) < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, EINVAL, "file", "file is an empty file, open for reading "
				       "and writing");
	if (path && path[0] != '/')
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "path", "path is absolute");
	if (!s->policy)
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "policy", "this session was made of a plan whose "
				       "policy is not known: nothing could be made of its files");
	s->snapping = calloc(1, sizeof(*s->snapping));
	if (!s->snapping)
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	s->snapping->client = a->c;
	s->snapping->request = a->id;
	s->snapping->result.fd = -1;
	s->snapping->file_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->snapping->file_fd < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, errno, "file", "%s", strerror(errno));
	r = immure_snap_areas(s, "pc", &s->snapping->areas, &a->err);
	e = r == 0 && path ? intend(s, path) : 0;
	return r == 0 && e < 0 ? immure_ask_fail(a, IMMURE_ERR_IO, -e, "journal", "the journal cannot be written: %s",
						 strerror(-e)) : r;
}

/* By signals init stops the others one by one and is asked something after it: its answer says
 * that it has. */
static int quieten(struct immure_server *s)
{
	struct immure_init_order o = { .type = IMMURE_INIT_MEASURE };
	struct immure_snapping *p = s->snapping;
	int r = 0;

	if (s->state == IMMURE_STATE_RUNNING) {
		r = immure_life_pause(s);
		p->froze = r == 0;
	}
	if (r == 0 && !s->by_signals)
		return start(s);
	if (s->measurer) /* whose answer would be taken for ours */
		return -EBUSY;
	if (r == 0)
		r = immure_life_order(s, &o, NULL, 0);
	p->waits = r == 0;
	return r;
}

int32_t immure_snapshot_ask(struct immure_ask *a)
{
	struct immure_server *s = a->s;
	int32_t r = prepare(a);
	bool froze;
	int e;

	if (r < 0) {
		if (s->snapping)
			drop(s);
		return r;
	}
	e = quieten(s);
	if (e == 0)
		return 0;
	froze = s->snapping->froze;
	record(s, s->snapping, -e);
	drop(s);
	if (froze)
		(void)immure_life_go_on(s); /* as above */
	return immure_ask_fail(a, IMMURE_ERR_IO, -e, "", "the session cannot be frozen, or read: %s", strerror(-e));
}

bool immure_snapshot_quiet(struct immure_server *s)
{
	struct outcome o = { .errnum = EAGAIN };
	int r;

	if (!s->snapping || !s->snapping->waits)
		return false;
	r = start(s);
	if (r < 0) {
		o.errnum = -r;
		end(s, &o);
	}
	return true;
}

int32_t immure_snapshot_busy(struct immure_ask *a)
{
	static const enum immure_request later[] = {
		IMMURE_REQ_EXEC, IMMURE_REQ_FILE, IMMURE_REQ_FREEZE, IMMURE_REQ_THAW, IMMURE_REQ_MOUNT,
		IMMURE_REQ_UNMOUNT, IMMURE_REQ_TIGHTEN, IMMURE_REQ_NET, IMMURE_REQ_SNAPSHOT,
	};

	for (size_t i = 0; a->s->snapping && i < sizeof(later) / sizeof(later[0]); i++)
		if (a->what == later[i])
			return immure_ask_fail(a, IMMURE_ERR_STATE, EBUSY, "snapshot", "a snapshot is being taken "
					       "of this session; ask again in a moment");
	return 0;
}

bool immure_snapshot_is_for(const struct immure_server *s, const struct immure_client *c)
{
	return s->snapping && s->snapping->client == c;
}

void immure_snapshot_spoil(struct immure_server *s, const char *why)
{
	struct outcome o = { .errnum = EAGAIN };

	if (!s->snapping)
		return;
	s->snapping->spoilt = why;
	s->snapping->froze = false; /* whoever woke it sees to that */
	end(s, &o);
}

void immure_snapshot_client_gone(struct immure_server *s, const struct immure_client *c)
{
	struct outcome o = { .errnum = ECANCELED };

	if (!s->snapping || s->snapping->client != c)
		return;
	s->snapping->client = NULL;
	end(s, &o);
}

void immure_snapshot_done(struct immure_server *s)
{
	immure_snapshot_spoil(s, "the session ended meanwhile");
	free(s->policy);
	s->policy = NULL;
	immure_close(&s->restore_fd);
}
