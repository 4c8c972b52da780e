/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands. A task is made when it is asked for, is *started* when init says so,
 * has *ended* when init reaped it, and is *complete* when everything it wrote
 * before its end has been read. What is remembered of a complete one depends on
 * its capture mode; a key makes the same request answer with the same task.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/run.h"
#include "kernel/pty.h"
#include "session/serve.h"
#include "session/taskargs.h"

enum { LABEL_MAX = 256 };

/* ---- the list ---- */

static void task_free(struct immure_server *s, struct immure_task *t)
{
	for (struct immure_task **at = &s->tasks; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	immure_stream_forget(s, t);
	for (int i = 0; i < 2; i++)
		immure_stream_done(s, &t->out[i]);
	immure_server_unwatch(s, &t->in);
	immure_close(&t->terminal_fd);
	immure_buf_done(&t->input);
	free(t->what);
	free(t->key);
	free(t);
}

void immure_task_done_all(struct immure_server *s)
{
	while (s->tasks)
		task_free(s, s->tasks);
}

/* The oldest of the complete ones goes when there are too many, or when they hold
 * too much; new ones come first in the list. */
static void prune(struct immure_server *s)
{
	for (;;) {
		struct immure_task *oldest = NULL;
		size_t n = 0, held = 0;

		for (struct immure_task *t = s->tasks; t; t = t->next) {
			if (!t->complete || immure_stream_followed(s, t))
				continue;
			oldest = t;
			n++;
			held += t->out[0].ring.cap + t->out[1].ring.cap;
		}
		if (n <= IMMURE_SERVE_KEPT && held <= IMMURE_SERVE_HELD)
			return;
		task_free(s, oldest);
	}
}

struct immure_task *immure_task_find(struct immure_ask *a)
{
	uint64_t id = 0;

	if (immure_arg_uint(a, "exec", INT64_MAX, &id) < 0)
		return NULL;
	for (struct immure_task *t = a->s->tasks; t; t = t->next)
		if (t->id == id)
			return t;
	(void)immure_ask_fail(a, IMMURE_ERR_INVALID, ESRCH, "exec", "%llu: no such exec here",
			      (unsigned long long)id);
	return NULL;
}

static void kill_task(struct immure_server *s, const struct immure_task *t, int signo, uint32_t target)
{
	struct immure_init_order o = { .type = IMMURE_INIT_KILL, .signo = signo, .id = t->id,
				       .target = target };

	if (t->started && !t->ended)
		(void)immure_life_order(s, &o, NULL, 0); /* gone: that is what was wanted */
}

void immure_task_kill(struct immure_server *s, struct immure_task *t)
{
	t->doomed = true; /* what it wrote may be here before init's word that it runs */
	kill_task(s, t, SIGKILL, IMMURE_TARGET_TREE);
}

/* ---- starting ---- */

/* Under which policy it runs. */
static void put_version(struct immure_jsonw *w, const struct immure_server *s, const struct immure_task *t)
{
	char version[IMMURE_SERVE_VERSION];

	immure_tighten_version(s, t->revision, version);
	immure_jsonw_str(w, "policy_version", version);
	immure_jsonw_uint(w, "policy_revision", t->revision);
}

static void ran(struct immure_server *s, struct immure_client *c, uint64_t id, const struct immure_task *t,
		bool replayed)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, id);
	immure_jsonw_uint(&w, "exec", t->id);
	immure_jsonw_int(&w, "pid", t->pid);
	put_version(&w, s, t);
	if (replayed)
		immure_jsonw_bool(&w, "replayed", true);
	immure_answer_send(s, c, &w, NULL, 0);
}

/* follow: all streams from where they are now, and the end. */
static int follow(struct immure_client *c, struct immure_task *t, bool blocking)
{
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++)
		if (t->out[i].used || (t->pty && i == 0))
			r = immure_stream_follow(c, t, i, t->out[i].ring.from, blocking);
	return r < 0 ? r : immure_stream_follow(c, t, -1, 0, false);
}

/* The same key: the same request gets the same task, another one an error. */
static int32_t replay(struct immure_ask *a, const struct immure_task_args *args, bool *ret_done)
{
	struct immure_task *t = a->s->tasks;

	*ret_done = false;
	while (t && !(args->key && t->key && strcmp(t->key, args->key) == 0))
		t = t->next;
	if (!t)
		return 0;
	if (memcmp(t->request, args->request, sizeof(t->request)) != 0)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EEXIST, "key",
				       "this key was used for another command");
	if (!t->started)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EALREADY, "key",
				       "the command of this key is being started");
	*ret_done = true;
	ran(a->s, a->c, a->id, t, true);
	if (args->follow && follow(a->c, t, false) < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, EMFILE, "", "this connection follows too much");
	immure_stream_pump(a->s, a->c);
	return 0;
}

static int add_pipe(struct immure_server *s, struct immure_task *t, int which, int *ret_theirs)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*ret_theirs = ends[which < 0 ? 0 : 1];
	if (fcntl(ends[which < 0 ? 1 : 0], F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	else if (which < 0)
		t->in.fd = immure_take_fd(&ends[1]), r = 0;
	else
		r = immure_stream_start(s, t, which, &ends[0]);
	return r;
}

/* Where there is no /dev/pts inside, init cannot make one: what it would be allowed to
 * open there every command would as well. */
static int make_terminal(struct immure_task *t, struct immure_run_spec *spec, int *ret_slave)
{
	struct winsize size = { .ws_row = spec->head.rows, .ws_col = spec->head.cols };
	int r = immure_pty_open(&t->terminal_fd, ret_slave);

	if (r < 0)
		return r;
	if (size.ws_row && size.ws_col && ioctl(t->terminal_fd, TIOCSWINSZ, &size) < 0)
		return -errno;
	spec->head.flags |= IMMURE_RUNF_TERMINAL;
	spec->stdio[0] = *ret_slave;
	return 0;
}

/* Sends the request, last of all: what is refused has not run. What of it was made
 * here for the command is closed after. */
static int launch(struct immure_server *s, struct immure_client *c, struct immure_task *t,
		  struct immure_task_args *args)
{
	struct immure_run_spec *spec = &args->spec;
	int made[3] = { -1, -1, -1 }, r = 0;

	for (int i = 0; i < 3 && r == 0 && !t->pty; i++) {
		if (args->streamed[i])
			r = add_pipe(s, t, i - 1, &made[i]);
		if (args->streamed[i])
			spec->stdio[i] = made[i];
	}
	if (r == 0 && t->pty && immure_plan_is_bare(s->plan))
		r = make_terminal(t, spec, &made[0]);
	if (args->merge)
		spec->stdio[2] = spec->stdio[1];
	spec->head.id = t->id;
	if (r == 0 && args->follow)
		r = follow(c, t, true);
	if (r == 0)
		r = immure_run_send(s->sealed.sock_fd, spec, MSG_DONTWAIT);
	for (int i = 0; i < 3; i++)
		immure_close(&made[i]);
	return r;
}

/* What it is called in lists, of which one packet must hold some: its beginning,
 * with no letter cut in two. */
static char *label_of(const char *text)
{
	size_t n = strnlen(text, LABEL_MAX + 1);

	if (n > LABEL_MAX)
		for (n = LABEL_MAX; n > 0 && (text[n] & 0xc0) == 0x80;)
			n--;
	return strndup(text, n);
}

static struct immure_task *task_new(struct immure_server *s, const struct immure_task_args *args)
{
	struct immure_task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->in.fd = t->out[0].watch.fd = t->out[1].watch.fd = t->terminal_fd = -1;
	t->what = label_of(args->spec.argv[0]);
	t->key = args->key ? strdup(args->key) : NULL;
	if (!t->what || (args->key && !t->key)) {
		free(t->what);
		free(t->key);
		free(t);
		return NULL;
	}
	memcpy(t->request, args->request, sizeof(t->request));
	t->id = s->next_task++;
	t->pty = args->spec.head.flags & IMMURE_RUNF_PTY;
	t->capture = args->capture;
	t->capture_max = args->capture_max;
	t->detached = args->detach;
	t->next = s->tasks;
	s->tasks = t;
	return t;
}

static int32_t start_task(struct immure_ask *a, struct immure_task_args *args)
{
	struct immure_server *s = a->s;
	struct immure_task *t;
	int e;

	if (s->alive == IMMURE_SERVE_TASKS)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "", "%d commands run already",
				       IMMURE_SERVE_TASKS);
	prune(s);
	t = task_new(s, args);
	if (!t)
		return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
	e = immure_book_exec_asked(s, t);
	if (e == 0)
		e = launch(s, a->c, t, args);
	if (e < 0) {
		immure_book_exec_started(s, t, -e);
		task_free(s, t);
		return immure_ask_fail(a, e == -E2BIG ? IMMURE_ERR_INVALID : IMMURE_ERR_LAUNCH, -e, "",
				       "%s: %s", args->spec.argv[0], strerror(-e));
	}
	t->owner = a->c;
	t->owner_request = a->id;
	s->alive++;
	immure_life_touch(s);
	return 0;
}

int32_t immure_task_exec(struct immure_ask *a)
{
	struct immure_task_args args;
	bool done = false;
	int32_t r = immure_task_args(a, &args);

	if (r == 0)
		r = replay(a, &args, &done);
	if (r == 0 && !done && !a->allowed && immure_plan_find(a->s->plan, IMMURE_OP_MEDIATOR))
		r = immure_mediated_ask(a, &args);
	else if (r == 0 && !done)
		r = start_task(a, &args);
	immure_close(&args.data_fd);
	return r;
}

static void denied(struct immure_server *s, struct immure_task *t, const struct immure_init_reply *r)
{
	struct immure_error *err = NULL;
	char subject[sizeof(r->subject)];
	int32_t code = IMMURE_ERR_LAUNCH;

	memcpy(subject, r->subject, sizeof(subject));
	subject[sizeof(subject) - 1] = '\0';
	if (r->stage == IMMURE_STAGE_EXEC)
		code = r->errnum == ENOENT || r->errnum == ENOTDIR ? IMMURE_ERR_NOT_FOUND
								   : IMMURE_ERR_NOT_EXECUTABLE;
	if (r->stage == IMMURE_STAGE_SUPERVISE && r->errnum == EACCES) {
		subject[strcspn(subject, "=")] = '\0'; /* its value is nobody's business */
		(void)immure_fail(&err, IMMURE_ERR_POLICY, EACCES, "exec", "env",
				  "%s: programs obey this variable, so only the policy sets it", subject);
		immure_error_set_hint(err, "environment.set in the policy");
	} else {
		(void)immure_fail(&err, code, r->errnum, "exec", subject, "%s: %s", subject,
				  strerror(r->errnum));
	}
	if (t->owner && t->owner_request)
		immure_answer_error(s, t->owner, t->owner_request, err);
	immure_error_free(err);
	s->alive--;
	immure_book_exec_started(s, t, r->errnum);
	task_free(s, t);
}

static void started(struct immure_server *s, struct immure_task *t, const struct immure_init_reply *r,
		    int *fd)
{
	t->started = true;
	t->pid = r->pid;
	t->revision = r->revision;
	t->started_ms = immure_now_ms();
	immure_book_exec_started(s, t, 0);
	if (t->terminal_fd >= 0)
		fd = &t->terminal_fd;
	if (t->pty && fd) {
		t->in.fd = fcntl(*fd, F_DUPFD_CLOEXEC, 10);
		(void)fcntl(*fd, F_SETFL, O_RDWR | O_NONBLOCK); /* a blocking one would only be slower */
		(void)immure_stream_start(s, t, 0, fd); /* no memory: the terminal hangs up */
	}
	t->in.ready = immure_task_on_input;
	if (t->owner && t->owner_request)
		ran(s, t->owner, t->owner_request, t, false);
	t->owner_request = 0;
	immure_stream_pump_all(s, t);
	/* Whoever asked for it went away meanwhile. */
	if (t->doomed || (!t->owner && !t->detached))
		kill_task(s, t, SIGKILL, IMMURE_TARGET_TREE);
}

void immure_task_reply(struct immure_server *s, const struct immure_init_reply *r, int *fd)
{
	struct immure_task *t = s->tasks;

	while (t && t->id != r->id)
		t = t->next;
	if (!t || t->ended)
		return;
	if (r->type == IMMURE_INIT_STARTED && !t->started) {
		started(s, t, r, fd);
	} else if (r->type == IMMURE_INIT_DENIED && !t->started) {
		denied(s, t, r);
	} else if (r->type == IMMURE_INIT_ENDED && t->started) {
		t->ended = true;
		t->end = *r;
		s->alive--;
		immure_server_unwatch(s, &t->in);
		immure_task_answer_input(s, t, EPIPE); /* whoever else has its stdin: nothing more comes there */
		immure_task_settle(s, t);
		immure_life_touch(s);
	}
}

void immure_task_settle(struct immure_server *s, struct immure_task *t)
{
	for (int i = 0; i < 2; i++) {
		if (t->out[i].used && !t->out[i].settled)
			immure_stream_settle(s, &t->out[i]);
		if (t->out[i].used && !t->out[i].settled)
			return;
	}
	if (t->complete)
		return;
	t->complete = true;
	for (int i = 0; i < 2; i++)
		t->out[i].last = t->out[i].ring.to;
	immure_book_exec_ended(s, t);
	immure_stream_pump_all(s, t);
	immure_stream_retire(s, t);
}

void immure_task_client_gone(struct immure_server *s, struct immure_client *c)
{
	immure_inside_client_gone(s, c);
	for (struct immure_task *t = s->tasks; t; t = t->next) {
		if (t->input_asker == c)
			t->input_asker = NULL;
		if (t->owner == c) {
			t->owner = NULL;
			t->owner_request = 0;
			if (!t->detached)
				kill_task(s, t, SIGKILL, IMMURE_TARGET_TREE);
		}
		immure_stream_resume(s, t);
		immure_stream_retire(s, t);
	}
}

/* ---- signals ---- */

int32_t immure_task_signal(struct immure_ask *a)
{
	static const char *const targets[] = { "process", "group", "tree", "all" };
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "signal");
	const char *target = immure_jsonr_get(&a->json, a->root, "exec") ? "group" : "all";
	struct immure_init_order o = { .type = IMMURE_INIT_KILL };
	struct immure_task *t = NULL;
	int e;

	if (immure_arg_string(a, "target", &target) < 0)
		return -IMMURE_ERR_INVALID;
	while (o.target < 4 && strcmp(targets[o.target], target) != 0)
		o.target++;
	o.signo = v && v->type == IMMURE_JSON_INTEGER && v->integer > 0 && v->integer <= 64
			  ? (int)v->integer : immure_signal_number(v ? v->text : NULL);
	if (o.target == 4 || o.signo <= 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, o.signo <= 0 ? "signal" : "target",
				       o.signo <= 0 ? "no such signal" : "target is process, group, tree or all");
	if (o.target != IMMURE_TARGET_ALL) {
		t = immure_task_find(a);
		if (!t)
			return -IMMURE_ERR_INVALID;
		if (!t->started || t->ended)
			return immure_ask_fail(a, IMMURE_ERR_STATE, ESRCH, "exec", "it has ended");
		o.id = t->id;
	}
	e = immure_life_order(a->s, &o, NULL, 0);
	if (e < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, -e, "", "init: %s", strerror(-e));
	immure_answer_ok(a->s, a->c, a->id);
	return 0;
}

/* ---- what is known of them ---- */

static void stream_json(struct immure_jsonw *w, const char *key, const struct immure_task *t, int which)
{
	const struct immure_stream *st = &t->out[which];
	struct immure_sha256 sha = st->sha;
	struct immure_buf hex = IMMURE_BUF_INIT;
	unsigned char digest[32];

	if (!st->used || t->capture == IMMURE_CAPTURE_OFF)
		return;
	immure_sha256_done(&sha, digest);
	for (int i = 0; i < 32; i++)
		immure_buf_printf(&hex, "%02x", digest[i]);
	immure_jsonw_object(w, key);
	immure_jsonw_uint(w, "bytes", t->complete ? st->last : st->ring.to);
	immure_jsonw_str(w, "sha256", hex.data);
	immure_jsonw_uint(w, "from", st->ring.from);
	immure_jsonw_bool(w, "truncated", st->ring.from > 0);
	if (t->capture == IMMURE_CAPTURE_SUMMARY && t->complete) {
		struct immure_buf tail = IMMURE_BUF_INIT;
		const char *data = NULL;
		uint64_t at = st->last - st->ring.from > IMMURE_SERVE_SUMMARY
				      ? st->last - IMMURE_SERVE_SUMMARY : st->ring.from;
		size_t n;

		while (at < st->last && (n = immure_ring_peek(&st->ring, at, (size_t)(st->last - at), &data)) > 0) {
			immure_buf_put_printable(&tail, data, n);
			at += n;
		}
		immure_jsonw_str(w, "tail", tail.data ? tail.data : "");
		immure_buf_done(&tail);
	}
	immure_jsonw_end(w, '}');
	immure_buf_done(&hex);
}

void immure_task_json(struct immure_jsonw *w, const struct immure_server *s, const struct immure_task *t)
{
	static const char *const captures[] = { "off", "metadata", "summary", "content" };

	immure_jsonw_uint(w, "exec", t->id);
	immure_jsonw_str(w, "command", t->what);
	immure_jsonw_int(w, "pid", t->pid);
	if (t->started)
		put_version(w, s, t);
	immure_jsonw_bool(w, "pty", t->pty);
	immure_jsonw_str(w, "state", !t->started ? "starting" : !t->ended ? "running" : "exited");
	immure_jsonw_str(w, "capture", captures[t->capture]);
	if (t->key)
		immure_jsonw_str(w, "key", t->key);
	immure_jsonw_uint(w, "started_ms", t->started_ms);
	if (t->ended) {
		int status = t->end.status;

		immure_jsonw_int(w, "code", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		immure_jsonw_int(w, "signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
		immure_jsonw_bool(w, "timed_out", t->end.flags & IMMURE_ENDED_TIMED_OUT);
		immure_jsonw_bool(w, "over_memory", t->end.flags & IMMURE_ENDED_OVER_MEMORY);
		immure_jsonw_bool(w, "output_cut", t->cut);
		immure_jsonw_uint(w, "wall_us", t->end.wall_ns / 1000);
		immure_jsonw_uint(w, "cpu_user_us", t->end.user_us);
		immure_jsonw_uint(w, "cpu_system_us", t->end.system_us);
		immure_jsonw_uint(w, "peak_memory", t->end.memory);
	}
	stream_json(w, "stdout", t, 0);
	stream_json(w, "stderr", t, 1);
}

int32_t immure_task_wait(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);

	if (!t)
		return -IMMURE_ERR_INVALID;
	if (immure_stream_follow(a->c, t, -1, 0, false) < 0)
		return immure_ask_fail(a, IMMURE_ERR_IO, EMFILE, "", "this connection follows too much");
	immure_answer_ok(a->s, a->c, a->id);
	immure_stream_pump(a->s, a->c);
	return 0;
}

int32_t immure_task_list(struct immure_ask *a)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	bool more = false;

	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_array(&w, "execs");
	for (const struct immure_task *t = a->s->tasks; t && !more; t = t->next) {
		more = b.len > IMMURE_SERVE_PACKET - 8192; /* the newest, as many as one packet has */
		if (more)
			break;
		immure_jsonw_object(&w, NULL);
		immure_task_json(&w, a->s, t);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	immure_jsonw_bool(&w, "truncated", more);
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	return 0;
}

int32_t immure_task_forget(struct immure_ask *a)
{
	struct immure_task *t = immure_task_find(a);

	if (!t)
		return -IMMURE_ERR_INVALID;
	if (!t->complete)
		return immure_ask_fail(a, IMMURE_ERR_STATE, EBUSY, "exec", "it runs");
	task_free(a->s, t);
	immure_answer_ok(a->s, a->c, a->id);
	return 0;
}
