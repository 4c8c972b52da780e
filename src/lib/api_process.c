/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in a session: started over a lane where nothing stands between, by
 * the server where something does; followed by events. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fdmsg.h"
#include "init/run.h"
#include "lib/options.h"
#include "lib/session.h"

enum { FLAGS = IMMURE_EXEC_PTY | IMMURE_EXEC_DETACH | IMMURE_EXEC_CLEAR_ENV | IMMURE_EXEC_NO_LANE,
       GRACE_MS = 2000, INPUT_PIECE = 32 << 10 };

static int32_t exec_options(struct immure_exec_options *to, const struct immure_exec_options *from,
			    struct immure_error **err)
{
	int32_t r = immure_options_copy(to, sizeof(*to), from, "exec", err);

	if (r < 0)
		return r;
	if (to->flags & ~(uint32_t)FLAGS || to->capture > IMMURE_CAPTURE_CONTENT_MODE)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "exec", "flags", "unknown flags");
	if (!to->argv || !to->argv[0] || !to->argv[0][0])
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "exec", "argv", "there is no command");
	return 0;
}

static struct immure_process *process_new(struct immure_link *l, bool lane, uint64_t id)
{
	struct immure_process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->link = l;
	p->lane = lane;
	p->id = id;
	p->exit.size = sizeof(p->exit);
	p->next = l->processes;
	l->processes = p;
	return p;
}

/* ---- over the lane ---- */

static bool direct(const struct immure_exec_options *o)
{
	return !(o->flags & (IMMURE_EXEC_PTY | IMMURE_EXEC_NO_LANE | IMMURE_EXEC_DETACH)) && !o->key &&
	       !o->approval && !o->input_len && o->stdin_fd >= -1 && o->stdout_fd >= -1 &&
	       (o->stderr_fd >= -1 || o->stderr_fd == IMMURE_STREAM_STDOUT);
}

static void add_limit(struct immure_init_run *h, uint32_t resource, uint64_t value)
{
	if (!value)
		return;
	h->rlimit[h->rlimits_n].resource = resource;
	h->rlimit[h->rlimits_n++].value = value;
}

static int32_t exec_direct(struct immure_link *l, const struct immure_exec_options *o,
			   struct immure_process **ret, struct immure_error **err)
{
	struct immure_run_spec spec = {
		.argv = o->argv, .env = o->env, .cwd = o->cwd,
		.stdio = { o->stdin_fd, o->stdout_fd,
			   o->stderr_fd == IMMURE_STREAM_STDOUT ? o->stdout_fd : o->stderr_fd },
	};
	struct immure_process *p;
	int r;

	spec.head.id = l->next_lane_id++;
	spec.head.flags = IMMURE_RUNF_QUIET | (o->flags & IMMURE_EXEC_CLEAR_ENV ? IMMURE_RUNF_CLEAR_ENV : 0);
	spec.head.grace_ms = o->grace_ms ? o->grace_ms : GRACE_MS;
	spec.head.timeout_ms = o->timeout_ms && (!l->wall_ms || o->timeout_ms < l->wall_ms) ? o->timeout_ms
											   : l->wall_ms;
	add_limit(&spec.head, RLIMIT_CPU, (o->limit_cpu_ms + 999) / 1000);
	add_limit(&spec.head, RLIMIT_NOFILE, o->limit_open_files);
	add_limit(&spec.head, RLIMIT_FSIZE, o->limit_file_size);
	add_limit(&spec.head, RLIMIT_AS, o->limit_address_space);
	p = process_new(l, true, spec.head.id);
	if (!p)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "exec", "", "out of memory");
	r = immure_run_send(l->lane_fd, &spec, 0);
	if (r < 0) {
		immure_process_free(p);
		return immure_fail(err, r == -E2BIG || r == -EINVAL ? IMMURE_ERR_INVALID : IMMURE_ERR_IO, -r,
				   "exec", o->argv[0], "%s: %s", o->argv[0], strerror(-r));
	}
	*ret = p;
	return 0;
}

/* ---- by way of the server ---- */

static void put_list(struct immure_jsonw *w, const char *key, const char *const *v)
{
	immure_jsonw_array(w, key);
	for (; v && *v; v++)
		immure_jsonw_str(w, NULL, *v);
	immure_jsonw_end(w, ']');
}

static void put_stream(struct immure_jsonw *w, const char *key, int32_t fd, int *fds, size_t *n)
{
	if (fd >= 0) {
		immure_jsonw_object(w, key);
		immure_jsonw_uint(w, "fd", *n);
		immure_jsonw_end(w, '}');
		fds[(*n)++] = fd;
	} else {
		immure_jsonw_str(w, key, fd == IMMURE_STREAM_EVENTS   ? "stream"
					 : fd == IMMURE_STREAM_STDOUT ? "stdout"
								      : "null");
	}
}

static void put_input(struct immure_jsonw *w, const struct immure_exec_options *o)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	immure_base64_put(&b, o->input, o->input_len);
	immure_jsonw_object(w, "stdin");
	immure_jsonw_str(w, "data", b.data ? b.data : "");
	immure_jsonw_end(w, '}');
	w->out->failed |= b.failed;
	immure_buf_done(&b);
}

static void put_limits(struct immure_jsonw *w, const struct immure_exec_options *o)
{
	immure_jsonw_object(w, "limits");
	if (o->limit_cpu_ms)
		immure_jsonw_uint(w, "cpu_time_ms", o->limit_cpu_ms);
	if (o->limit_open_files)
		immure_jsonw_uint(w, "open_files", o->limit_open_files);
	if (o->limit_file_size)
		immure_jsonw_uint(w, "file_size", o->limit_file_size);
	if (o->limit_address_space)
		immure_jsonw_uint(w, "address_space", o->limit_address_space);
	immure_jsonw_end(w, '}');
}

static void put_exec(struct immure_jsonw *w, const struct immure_exec_options *o, int *fds, size_t *n)
{
	static const char *const captures[] = { "summary", "off", "metadata", "content" };

	put_list(w, "argv", o->argv);
	if (o->env)
		put_list(w, "env", o->env);
	if (o->flags & IMMURE_EXEC_CLEAR_ENV)
		immure_jsonw_bool(w, "clear_env", true);
	if (o->cwd)
		immure_jsonw_str(w, "cwd", o->cwd);
	if (o->flags & IMMURE_EXEC_PTY) {
		immure_jsonw_object(w, "pty");
		if (o->rows)
			immure_jsonw_uint(w, "rows", o->rows);
		if (o->cols)
			immure_jsonw_uint(w, "cols", o->cols);
		immure_jsonw_end(w, '}');
	} else {
		if (o->input_len)
			put_input(w, o);
		else
			put_stream(w, "stdin", o->stdin_fd, fds, n);
		put_stream(w, "stdout", o->stdout_fd, fds, n);
		put_stream(w, "stderr", o->stderr_fd, fds, n);
	}
	if (o->timeout_ms)
		immure_jsonw_uint(w, "timeout_ms", o->timeout_ms);
	if (o->grace_ms)
		immure_jsonw_uint(w, "grace_ms", o->grace_ms);
	if (o->limit_cpu_ms || o->limit_open_files || o->limit_file_size || o->limit_address_space)
		put_limits(w, o);
	immure_jsonw_str(w, "capture", captures[o->capture]);
	if (o->capture_max)
		immure_jsonw_uint(w, "capture_max", o->capture_max);
	if (o->key)
		immure_jsonw_str(w, "key", o->key);
	if (o->approval)
		immure_jsonw_str(w, "approval", o->approval);
	if (o->flags & IMMURE_EXEC_DETACH) {
		immure_jsonw_bool(w, "detach", true);
		immure_jsonw_bool(w, "follow", true);
	}
}

static int32_t exec_served(struct immure_link *l, const struct immure_exec_options *o,
			   struct immure_process **ret, struct immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	struct immure_process *p;
	int fds[3];
	size_t n = 0;
	int32_t r;

	immure_link_begin(l, &ask, "exec");
	put_exec(&ask.w, o, fds, &n);
	/* Made first: its first frame may come with the next packet. */
	p = process_new(l, false, UINT64_MAX);
	if (!p) {
		immure_buf_done(&ask.text);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "exec", "", "out of memory");
	}
	r = immure_link_send(l, &ask, fds, n, err);
	if (r == 0)
		r = immure_link_answer(l, &ask, &root, NULL, err);
	if (r < 0) {
		immure_process_free(p);
		return r;
	}
	p->id = immure_link_uint(l, root, "exec");
	p->pid = (int32_t)immure_link_uint(l, root, "pid");
	p->pty = o->flags & IMMURE_EXEC_PTY;
	*ret = p;
	return 0;
}

int32_t immure_session_exec(immure_session *session, const struct immure_exec_options *options,
			    immure_process **ret, immure_error **err)
{
	struct immure_exec_options o;
	int32_t r = exec_options(&o, options, err);

	if (r < 0)
		return r;
	if (!session || session->kind != IMMURE_SESSION_SERVED || session->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "exec", "", "no session that runs commands here");
	if (direct(&o) && immure_link_lane(session->link))
		return exec_direct(session->link, &o, ret, err);
	return exec_served(session->link, &o, ret, err);
}

int32_t immure_exec_over_lane(struct immure_link *l, const struct immure_exec_options *options,
			      struct immure_process **ret, struct immure_error **err)
{
	struct immure_exec_options o;
	int32_t r = exec_options(&o, options, err);

	if (r == 0 && !direct(&o))
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "exec", "", "a command after a template has "
				"descriptors for streams: no terminal, no events, no key, and nothing detached");
	return r < 0 ? r : exec_direct(l, &o, ret, err);
}

int32_t immure_session_attach(immure_session *session, uint64_t exec, immure_process **ret,
			      immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	struct immure_process *p;
	int32_t r;

	if (!session || session->kind != IMMURE_SESSION_SERVED || session->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "attach", "", "no session that runs commands here");
	p = process_new(session->link, false, exec);
	if (!p)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "attach", "", "out of memory");
	immure_link_begin(session->link, &ask, "attach");
	immure_jsonw_uint(&ask.w, "exec", exec);
	r = immure_link_request(session->link, &ask, &root, NULL, err);
	if (r < 0) {
		immure_process_free(p);
		return r;
	}
	p->pty = immure_link_uint(session->link, root, "pty");
	*ret = p;
	return 0;
}

/* ---- events ---- */

int32_t immure_session_next(immure_session *session, struct immure_event *ret, immure_error **err)
{
	struct immure_link *l = session->link;
	struct immure_link_event *e;
	int32_t r = 0;

	if (session->kind != IMMURE_SESSION_SERVED || session->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "", "no session that runs commands here");
	if (session->taken_event) {
		free(session->taken_event);
		session->taken_event = NULL;
	}
	if (!l->first)
		r = immure_link_lane_read(l, false, err);
	if (r == 0 && !l->first)
		r = immure_link_read_event(l, err);
	if (r < 0 || !l->first)
		return r;
	e = l->first;
	l->first = e->next;
	if (!l->first)
		l->last = &l->first;
	l->queued -= e->event.bytes;
	session->taken_event = e;
	*ret = e->event;
	return 1;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Its end was taken here: the event of it would tell it twice. */
static void drop_exited(struct immure_link *l, const struct immure_process *p)
{
	struct immure_link_event **at = &l->first;

	while (*at) {
		struct immure_link_event *e = *at;

		if (e->event.process != p || e->event.type != IMMURE_EVENT_EXITED) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		if (l->last == &e->next)
			l->last = at;
		free(e);
	}
}

static int32_t wait_once(struct immure_link *l, int timeout_ms, struct immure_error **err)
{
	struct pollfd p[2] = { { .fd = l->fd, .events = POLLIN }, { .fd = l->lane_fd, .events = POLLIN } };
	int32_t r = 0;

	if (poll(p, 2, timeout_ms) < 0 && errno != EINTR)
		return immure_fail(err, IMMURE_ERR_IO, errno, "wait", "", "poll: %s", strerror(errno));
	if (p[1].revents)
		r = immure_link_lane_read(l, false, err);
	if (r == 0 && p[0].revents)
		r = immure_link_read(l, false, err);
	return r;
}

int32_t immure_process_wait(immure_process *process, int32_t timeout_ms, struct immure_exit *ret,
			    immure_error **err)
{
	struct immure_link *l = process->link;
	uint64_t end = timeout_ms >= 0 ? now_ms() + (uint64_t)timeout_ms : 0;
	int32_t r = 0;

	if (!l || l->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "wait", "", "its session's handle is freed");
	/* Nothing but the lane has news of it: one call, without a look around. The
	 * end of the session is the end of the lane as well. */
	if (process->lane && timeout_ms < 0)
		while (r == 0 && !process->over)
			r = immure_link_lane_read(l, true, err);
	while (r == 0 && !process->over) {
		uint64_t now = end ? now_ms() : 0;

		if (end && now >= end) {
			r = wait_once(l, 0, err); /* the last look */
			if (r == 0 && !process->over)
				return 0;
			break;
		}
		if (l->ended)
			return immure_fail(err, IMMURE_ERR_STATE, EPIPE, "wait", "", "the session has ended");
		r = wait_once(l, end ? (int)(end - now) : -1, err);
	}
	if (r < 0)
		return r;
	drop_exited(l, process);
	if (ret) {
		uint64_t size = ret->size && ret->size < sizeof(*ret) ? ret->size : sizeof(*ret);

		memcpy(ret, &process->exit, size);
		ret->size = size;
	}
	return 1;
}

/* ---- the rest ---- */

uint64_t immure_process_id(const immure_process *process)
{
	return process->lane ? 0 : process->id;
}

int32_t immure_process_pid(const immure_process *process)
{
	return process->pid;
}

int32_t immure_process_has_terminal(const immure_process *process)
{
	return process->pty;
}

static int32_t alive(const immure_process *p, const char *what, struct immure_error **err)
{
	if (!p->link || p->link->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, what, "", "its session's handle is freed");
	if (p->over)
		return immure_fail(err, IMMURE_ERR_STATE, ESRCH, what, "", "it has ended");
	return 0;
}

int32_t immure_process_signal(immure_process *process, int32_t signo, uint32_t target, immure_error **err)
{
	static const char *const targets[] = { "process", "group", "tree" };
	struct immure_init_order o = { .type = IMMURE_INIT_KILL, .signo = signo, .id = process->id,
				       .target = target };
	struct iovec iov = { &o, sizeof(o) };
	struct immure_link_ask ask;
	int32_t r = alive(process, "signal", err);
	ssize_t n;

	if (r < 0)
		return r;
	if (signo <= 0 || signo > 64 || target > IMMURE_SIGNAL_TREE)
		return immure_fail(err, IMMURE_ERR_INVALID, 0, "signal", "", "no such signal or target");
	if (!process->lane) {
		immure_link_begin(process->link, &ask, "signal");
		immure_jsonw_uint(&ask.w, "exec", process->id);
		immure_jsonw_int(&ask.w, "signal", signo);
		immure_jsonw_str(&ask.w, "target", targets[target]);
		return immure_link_request(process->link, &ask, NULL, NULL, err);
	}
	n = immure_fdmsg_send(process->link->lane_fd, &iov, 1, NULL, 0, 0);
	return n < 0 ? immure_fail(err, IMMURE_ERR_IO, (int)-n, "signal", "", "the lane: %s", strerror((int)-n))
		     : 0;
}

int32_t immure_process_write(immure_process *process, const void *data, uint64_t len, int32_t eof,
			     immure_error **err)
{
	const char *p = data;
	int32_t r = alive(process, "input", err);

	if (r == 0 && process->lane)
		r = immure_fail(err, IMMURE_ERR_STATE, 0, "input", "", "its stdin is a descriptor of yours");
	do {
		size_t n = len < INPUT_PIECE ? (size_t)len : INPUT_PIECE;
		struct immure_buf b = IMMURE_BUF_INIT;
		struct immure_link_ask ask;

		if (r < 0)
			break;
		immure_link_begin(process->link, &ask, "input");
		immure_jsonw_uint(&ask.w, "exec", process->id);
		immure_base64_put(&b, p, n);
		immure_jsonw_str(&ask.w, "data", b.data ? b.data : "");
		if (eof && n == len)
			immure_jsonw_bool(&ask.w, "eof", true);
		immure_buf_done(&b);
		r = immure_link_request(process->link, &ask, NULL, NULL, err);
		p += n;
		len -= n;
	} while (len > 0);
	return r;
}

int32_t immure_process_resize(immure_process *process, uint16_t rows, uint16_t cols, immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = alive(process, "resize", err);

	if (r < 0)
		return r;
	immure_link_begin(process->link, &ask, "resize");
	immure_jsonw_uint(&ask.w, "exec", process->id);
	immure_jsonw_uint(&ask.w, "rows", rows);
	immure_jsonw_uint(&ask.w, "cols", cols);
	return immure_link_request(process->link, &ask, NULL, NULL, err);
}

void immure_process_free(immure_process *process)
{
	struct immure_process **at;
	struct immure_link *l;

	if (!process)
		return;
	l = process->link;
	for (at = l ? &l->processes : NULL; at && *at; at = &(*at)->next)
		if (*at == process) {
			*at = process->next;
			break;
		}
	for (struct immure_link_event **e = l ? &l->first : NULL; e && *e;) {
		struct immure_link_event *event = *e;

		if (event->event.process != process) {
			e = &event->next;
			continue;
		}
		*e = event->next;
		if (l->last == &event->next)
			l->last = e;
		l->queued -= event->event.bytes;
		free(event);
	}
	free(process);
}
