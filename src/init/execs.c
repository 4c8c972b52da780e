/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a session that runs many. Each has a slot from its start
 * until init reaped it; only then is its pid somebody else's, so a signal goes
 * to a live slot or nowhere. Slots are kept dense: most sessions have few.
 *
 * Who asks is the supervisor or a lane (a program of the session's owner that
 * was given a line of its own). Nothing a lane sends is believed, and none of
 * it reaches the commands of another lane.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/serving.h"
#include "kernel/pty.h"

void immure_execs_reset(struct immure_execs *x)
{
	x->alone = true;
	x->last_mark = IMMURE_INIT_MARKS;
	x->apart_fd = -1;
	for (int i = 0; i < IMMURE_INIT_LANES; i++)
		x->lane_fd[i] = -1;
}

int immure_execs_make(struct immure_serving *s)
{
	void *p = mmap(NULL, sizeof(*s->execs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	s->execs = p;
	immure_execs_reset(s->execs);
	return 0;
}

/* ---- answers ---- */

static void counted(struct immure_serving *s, bool started)
{
	struct immure_init_shared *shared = s->in->shared;
	struct immure_init_reply note = { .type = IMMURE_INIT_NOTE, .pid = (int32_t)s->execs->n };

	if (!shared) {
		if (immure_init_send(s->in->report_fd, &note, sizeof(note), NULL, 0, 0) < 0)
			immure_init_leave(s->in, 1);
		return;
	}
	if (started)
		shared->started++;
	else
		shared->ended++;
	shared->running = s->execs->n;
	__atomic_store_n(&shared->active_ns, immure_init_now(), __ATOMIC_RELEASE);
}

static void answer(struct immure_serving *s, int lane, const struct immure_init_reply *r, int fd)
{
	int sock = lane < 0 ? s->in->report_fd : s->execs->lane_fd[lane];

	if (sock < 0)
		return;
	/* The supervisor always reads; a lane that does not loses its line. */
	if (immure_init_send(sock, r, sizeof(*r), &fd, fd >= 0, lane < 0 ? 0 : MSG_DONTWAIT) == 0)
		return;
	if (lane < 0)
		immure_init_leave(s->in, 1);
	immure_execs_orphan(s, lane);
}

static void deny(struct immure_serving *s, int lane, uint64_t id, uint32_t stage, int errnum,
		 const char *subject)
{
	struct immure_init_reply r = {
		.type = IMMURE_INIT_DENIED, .id = id, .stage = stage, .errnum = errnum,
	};
	size_t n = strnlen(subject, sizeof(r.subject) - 1);

	memcpy(r.subject, subject, n);
	answer(s, lane, &r, -1);
}

/* ---- starting ---- */

struct request {
	const struct immure_init_run *head;
	const char *blob;
	const char **pointers;
	size_t pointers_n;
	void *mapped_blob, *mapped_pointers;
};

static void request_done(struct request *q)
{
	if (q->mapped_blob)
		(void)munmap(q->mapped_blob, q->head->blob_len); /* its own mapping, so it is one */
	if (q->mapped_pointers)
		(void)munmap(q->mapped_pointers, q->pointers_n * sizeof(char *)); /* as above */
}

/* A memfd is mapped privately, but its sender may still write to it or cut it
 * short, which would be our end: it must be sealed against that, or it is read
 * into memory of our own. Reading is what happens: one copy, no conditions. */
static int take_memfd(struct request *q, int fd)
{
	size_t got = 0;
	void *p;

	if (fd < 0)
		return -EINVAL;
	p = mmap(NULL, q->head->blob_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	q->mapped_blob = p;
	q->blob = p;
	/* Seals are what only files in memory have: reading one cannot block. */
	if (fcntl(fd, 1034 /* F_GET_SEALS */) < 0)
		return -EINVAL;
	while (got < q->head->blob_len) {
		ssize_t n = pread(fd, (char *)p + got, q->head->blob_len - got, (off_t)got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EINVAL;
		got += (size_t)n;
	}
	return 0;
}

static int open_request(struct immure_serving *s, struct request *q, size_t len, int memfd)
{
	const struct immure_init_run *h = q->head;
	int r = 0;

	if (h->argc == 0 || h->argc > IMMURE_RUN_STRINGS_MAX || h->envc > IMMURE_RUN_ENV_MAX ||
	    h->blob_len == 0 || h->blob_len > IMMURE_RUN_BLOB_MAX)
		return -EINVAL;
	q->blob = s->execs->message + sizeof(*h);
	if (h->flags & IMMURE_RUNF_MEMFD)
		r = take_memfd(q, memfd);
	else if (h->blob_len != len - sizeof(*h))
		r = -EINVAL;
	if (r < 0)
		return r;
	q->pointers = s->execs->pointers;
	q->pointers_n = immure_run_pointers(h, s->in->plan->env.n);
	if (q->pointers_n > IMMURE_INIT_POINTERS) {
		void *p = mmap(NULL, q->pointers_n * sizeof(char *), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -errno;
		q->mapped_pointers = p;
		q->pointers = p;
	}
	return 0;
}

/* A directory or a bare path as a stream would be a way back to the host. */
static int check_stream(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return -EISDIR;
	return fcntl(fd, F_GETFL) & O_PATH ? -EBADF : 0;
}

static int place_streams(const struct immure_init_run *h, const int *fds, size_t n,
			 struct immure_init_start *ret, int *ret_memfd)
{
	size_t at = 0;

	for (int i = 0; i < 3; i++) {
		ret->stdio[i] = -1;
		if (h->flags & (IMMURE_RUNF_PTY | (IMMURE_RUNF_NULL_IN << i)))
			continue;
		if (at == n)
			return -EINVAL;
		ret->stdio[i] = fds[at++];
		int r = check_stream(ret->stdio[i]);
		if (r < 0)
			return r;
	}
	/* Where there is no /dev/pts of one's own the terminal was made outside. */
	if (h->flags & IMMURE_RUNF_TERMINAL) {
		if (!(h->flags & IMMURE_RUNF_PTY) || at == n || !isatty(fds[at]))
			return -ENOTTY;
		ret->slave_fd = fds[at++];
	}
	*ret_memfd = h->flags & IMMURE_RUNF_MEMFD && at < n ? fds[at++] : -1;
	return at == n ? 0 : -EINVAL;
}

static int open_terminal(const struct immure_init_run *h, int *ret_master, int *ret_slave)
{
	struct winsize size = { .ws_row = h->rows, .ws_col = h->cols };
	int r = immure_pty_open(ret_master, ret_slave);

	if (r == 0 && h->rows && h->cols && ioctl(*ret_master, TIOCSWINSZ, &size) < 0)
		r = -errno;
	return r;
}

static void enter(struct immure_serving *s, int lane, const struct immure_init_run *h, pid_t pid)
{
	struct immure_exec *e = &s->execs->v[s->execs->n++];
	uint64_t now = immure_init_now();

	*e = (struct immure_exec){
		.pid = pid, .flags = h->flags, .id = h->id, .lane = lane, .started_ns = now,
		.grace_ms = h->grace_ms, .mark = s->execs->last_mark,
	}; /* the mark that start() gave it */
	if (h->timeout_ms)
		e->deadline_ns = now + h->timeout_ms * 1000000U;
	s->execs->alone = false;
}

static void pause_all(struct immure_serving *s, bool pause)
{
	if (s->execs->paused == pause)
		return;
	s->execs->paused = pause;
	immure_init_signal_all(s->in, pause ? SIGSTOP : SIGCONT);
}

/* Whatever is asked for next ends a pause; the supervisor made it, so it is told. */
static void resume(struct immure_serving *s)
{
	struct immure_init_reply note = { .type = IMMURE_INIT_NOTE, .status = 1 };

	pause_all(s, false);
	answer(s, -1, &note, -1);
}

/* *ret_what: what the refusal is about. */
static int start(struct immure_serving *s, int lane, struct request *q, size_t len, const int *fds,
		 size_t fds_n, const char **ret_what, uint32_t *ret_stage)
{
	const char *const *env = s->in->env ? s->in->env : (const char *const *)s->in->plan->env.v;
	size_t env_n = s->in->plan->env.n;
	struct immure_run_strings strings;
	struct immure_init_start st = { .strings = &strings, .head = q->head, .slave_fd = -1 };
	IMMURE_CLEANUP_FD int master = -1, slave = -1;
	int memfd = -1, errnum = 0, r;
	long pid;

	*ret_stage = IMMURE_STAGE_SUPERVISE;
	*ret_what = "request";
	if (q->head->flags & ~(uint32_t)IMMURE_RUNF_ALL || q->head->rlimits_n > IMMURE_RUN_RLIMITS ||
	    q->head->timeout_ms > UINT32_MAX * 1000ULL || q->head->grace_ms > UINT32_MAX)
		return -EINVAL;
	if (s->execs->n == IMMURE_INIT_EXECS) {
		*ret_what = "commands at once";
		return -EAGAIN;
	}
	r = place_streams(q->head, fds, fds_n, &st, &memfd);
	if (r < 0) {
		*ret_what = "streams";
		return r;
	}
	r = open_request(s, q, len, memfd);
	if (r == 0)
		r = immure_run_parse(q->head, q->blob, env, env_n, q->pointers, &strings,
				     ret_what);
	if (r < 0)
		return r;
	if (q->head->flags & IMMURE_RUNF_PTY && st.slave_fd < 0) {
		*ret_what = "/dev/pts";
		r = open_terminal(q->head, &master, &slave);
		if (r < 0)
			return r;
		st.slave_fd = slave;
	}
	if (s->execs->paused)
		resume(s);
	st.mark = --s->execs->last_mark;
	st.apart_fd = s->execs->apart_fd;
	*ret_stage = IMMURE_STAGE_EXEC;
	pid = immure_init_launch_run(s, &st, &errnum, ret_what);
	immure_close(&slave); /* the terminal hangs up when the last user is gone */
	if (pid <= 0) /* no word about the program: nobody was there to try it */
		*ret_stage = IMMURE_STAGE_SUPERVISE;
	else if (errnum && *ret_what != strings.argv[0])
		*ret_stage = IMMURE_STAGE_FDS; /* what it needs is not there, it may be */
	if (pid <= 0 || errnum)
		return -errnum; /* a child that failed to exec is reaped as a stranger */
	enter(s, lane, q->head, (pid_t)pid);
	counted(s, true);
	if (!(q->head->flags & IMMURE_RUNF_QUIET) || master >= 0) {
		struct immure_init_reply reply = { .type = IMMURE_INIT_STARTED, .id = q->head->id,
						   .pid = (int32_t)pid, .revision = s->execs->revision };

		answer(s, lane, &reply, master);
	}
	return 0;
}

static void run(struct immure_serving *s, int lane, size_t len, const int *fds, size_t fds_n)
{
	struct request q = { .head = (const void *)s->execs->message };
	const char *what = "";
	uint32_t stage;
	int r = start(s, lane, &q, len, fds, fds_n, &what, &stage);

	if (r < 0)
		deny(s, lane, q.head->id, stage, -r, what);
	request_done(&q);
}

/* ---- signals ---- */

static void send_signal(const struct immure_serving *s, const struct immure_exec *e, uint32_t target,
			int signo)
{
	/* Each leads a session and group of its own; ESRCH: it has just ended. */
	if (target == IMMURE_TARGET_PROCESS) {
		(void)kill(e->pid, signo);
		return;
	}
	if (target == IMMURE_TARGET_TREE)
		immure_init_kill_tree(s, e, signo);
	(void)kill(-e->pid, signo);
}

static void order(struct immure_serving *s, int lane, const struct immure_init_order *o)
{
	struct immure_execs *x = s->execs;

	if (o->type == IMMURE_INIT_KILL && o->signo >= 0 && o->signo <= 64) {
		if (lane < 0 && o->target == IMMURE_TARGET_ALL)
			immure_init_signal_all(s->in, o->signo);
		for (uint32_t i = 0; i < x->n && o->target != IMMURE_TARGET_ALL; i++)
			if (x->v[i].lane == lane && x->v[i].id == o->id)
				send_signal(s, &x->v[i], o->target, o->signo);
		return;
	}
	if (lane >= 0)
		return; /* the rest is the supervisor's */
	if (o->type == IMMURE_INIT_PAUSE || o->type == IMMURE_INIT_RESUME) {
		pause_all(s, o->type == IMMURE_INIT_PAUSE);
	} else if (o->type == IMMURE_INIT_TIGHTENED) {
		x->revision = o->value;
	} else if (o->type == IMMURE_INIT_SLEPT) {
		for (uint32_t i = 0; i < x->n; i++)
			if (x->v[i].deadline_ns)
				x->v[i].deadline_ns += o->value;
	} else if (o->type == IMMURE_INIT_WIPE) {
		immure_init_wipe(s, o->id);
	} else if (o->type == IMMURE_INIT_MEASURE) {
		struct immure_init_reply r = { .type = IMMURE_INIT_STATS, .id = o->id };
		struct rusage u;
		uint32_t n = 0;

		r.memory = immure_init_resident(s->in, &n);
		r.pid = (int32_t)n;
		(void)getrusage(RUSAGE_CHILDREN, &u); /* cannot fail */
		r.user_us = (uint64_t)u.ru_utime.tv_sec * 1000000U + (uint64_t)u.ru_utime.tv_usec;
		r.system_us = (uint64_t)u.ru_stime.tv_sec * 1000000U + (uint64_t)u.ru_stime.tv_usec;
		answer(s, -1, &r, -1);
	}
}

/* ---- lanes ---- */

static void add_lane(struct immure_serving *s, const struct immure_init_order *o, int *fd)
{
	if (o->id >= IMMURE_INIT_LANES || s->execs->lane_fd[o->id] >= 0)
		return; /* the supervisor counts them: a bug there, and the lane just ends */
	s->execs->lane_fd[o->id] = immure_take_fd(fd);
	(void)immure_fd_raise(&s->execs->lane_fd[o->id], 10); /* or it stays where it is */
	if (s->in->shared)
		s->in->shared->lanes++;
}

void immure_execs_orphan(struct immure_serving *s, int lane)
{
	struct immure_execs *x = s->execs;

	immure_close(&x->lane_fd[lane]);
	if (s->in->shared)
		s->in->shared->lanes--;
	for (uint32_t i = 0; i < x->n; i++) {
		if (x->v[i].lane != lane)
			continue;
		x->v[i].lane = IMMURE_INIT_LANES; /* nobody's: never anybody else's */
		if (!(x->v[i].flags & IMMURE_RUNF_KEEP))
			send_signal(s, &x->v[i], IMMURE_TARGET_TREE, SIGKILL);
	}
}

void immure_execs_request(struct immure_serving *s, int lane, size_t len, int *fds, size_t fds_n)
{
	uint32_t type;

	memcpy(&type, s->execs->message, sizeof(type));
	if (type == IMMURE_INIT_RUN && len >= sizeof(struct immure_init_run)) {
		run(s, lane, len, fds, fds_n);
	} else if (type >= IMMURE_INIT_KILL && len == sizeof(struct immure_init_order)) {
		struct immure_init_order o;

		memcpy(&o, s->execs->message, sizeof(o));
		if (type == IMMURE_INIT_LANE && lane < 0 && fds_n == 1)
			add_lane(s, &o, &fds[0]);
		else
			order(s, lane, &o);
		if (type == IMMURE_INIT_TIGHTENED && lane < 0 && fds_n == 1) {
			s->execs->apart_fd = immure_take_fd(&fds[0]);
			(void)immure_fd_raise(&s->execs->apart_fd, 10); /* or it stays where it is */
		}
	} else if (type == IMMURE_INIT_FILE && lane < 0 && len == sizeof(struct immure_init_file)) {
		immure_init_file(s, (const void *)s->execs->message);
	} else if (lane >= 0) {
		immure_execs_orphan(s, lane); /* speaks something else: no line for it */
	}
}

/* ---- ends ---- */

static uint64_t us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_usec;
}

bool immure_execs_reaped(struct immure_serving *s, pid_t pid, int status, const struct rusage *usage)
{
	struct immure_execs *x = s->execs;

	for (uint32_t i = 0; i < x->n; i++) {
		struct immure_exec e = x->v[i];
		struct immure_init_reply r = {
			.type = IMMURE_INIT_ENDED, .id = e.id, .status = status, .pid = pid,
			.flags = e.ended, .user_us = us(usage->ru_utime), .system_us = us(usage->ru_stime),
			.memory = (uint64_t)usage->ru_maxrss * 1024,
		};

		if (e.pid != pid)
			continue;
		r.wall_ns = immure_init_now() - e.started_ns;
		x->v[i] = x->v[--x->n];
		/* Its time was up for all of it: what slept through SIGTERM ends with it. */
		if (e.ended & IMMURE_ENDED_TIMED_OUT)
			immure_init_kill_marked(s, &e, SIGKILL);
		counted(s, false);
		if (e.lane < IMMURE_INIT_LANES)
			answer(s, e.lane, &r, -1);
		return true;
	}
	return false;
}

int64_t immure_execs_expire(struct immure_serving *s)
{
	struct immure_execs *x = s->execs;
	uint64_t now = 0, next = 0;

	for (uint32_t i = 0; i < x->n; i++) {
		struct immure_exec *e = &x->v[i];

		if (!e->deadline_ns)
			continue;
		now = now ? now : immure_init_now();
		if (e->deadline_ns <= now) {
			bool last = e->ended & IMMURE_ENDED_TIMED_OUT || !e->grace_ms;

			e->ended |= IMMURE_ENDED_TIMED_OUT;
			e->deadline_ns = last ? 0 : now + e->grace_ms * 1000000U;
			send_signal(s, e, IMMURE_TARGET_TREE, last ? SIGKILL : SIGTERM);
		}
		if (e->deadline_ns && (!next || e->deadline_ns < next))
			next = e->deadline_ns;
	}
	return next ? (int64_t)((next - now + 999999) / 1000000) : -1;
}

void immure_execs_mark(struct immure_serving *s, uint32_t ended)
{
	for (uint32_t i = 0; i < s->execs->n; i++)
		s->execs->v[i].ended |= ended;
}
