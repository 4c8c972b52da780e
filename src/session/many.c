/* SPDX-License-Identifier: Apache-2.0 */
#include "session/many.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "kernel/sys.h"
#include "session/answer.h"
#include "session/control.h"
#include "session/mould.h"
#include "session/registry.h"

enum {
	AFTER_MOULD = 8,  /* fewer of them are not worth one */
	AT_ONCE = 8,      /* more of them wait for each other, not for the processors */
	END_MS = 10000,   /* what was begun in vain ends by itself, or is killed */
	VALUES = 256,
};

struct one {
	pid_t pid;
	int line; /* -1 = none */
	bool ready;
	char id[IMMURE_ID_LEN + 1];
};

struct maker {
	const struct immure_many_options *o;
	struct one *v;
	uint32_t count, started, ready;
	uint64_t request;
	char name[IMMURE_NAME_MAX + 1]; /* "" = none */
	char runtime[4096];             /* "" = none said, which each will refuse */
	struct immure_buf each;         /* what all of them are asked alike: ,"key":value... */
	uint32_t *settled;              /* shared with all of them */
	struct immure_many shared;      /* what each gets of us: all have the same */
	int life_fd;                    /* the other end, which nobody else has */
	struct immure_mould_held *mould; /* NULL: each makes its own view */
	struct immure_error *err;
	bool unasked;                   /* who asked has gone */
	char *packet;
	struct immure_jsonr_value *values;
};

static int32_t fail(struct maker *m, int32_t code, int errnum, const char *what)
{
	return immure_fail(&m->err, code, errnum, "session", "", "%s%s%s", what, errnum ? ": " : "",
			   errnum ? strerror(errnum) : "");
}

/* ---- what is asked ---- */

static void copy_value(struct immure_jsonw *w, const struct immure_jsonr *j, const struct immure_jsonr_value *v)
{
	if (v->type == IMMURE_JSON_STRING)
		immure_jsonw_str(w, v->key, v->text);
	else if (v->type == IMMURE_JSON_BOOL)
		immure_jsonw_bool(w, v->key, v->integer);
	else if (v->type == IMMURE_JSON_INTEGER)
		immure_jsonw_int(w, v->key, v->integer);
	else if (v->type == IMMURE_JSON_OBJECT) { /* labels; what is not one their server says */
		immure_jsonw_object(w, v->key);
		for (const struct immure_jsonr_value *e = immure_jsonr_first(j, v); e;
		     e = immure_jsonr_after(j, v, e))
			if (e->type != IMMURE_JSON_OBJECT)
				copy_value(w, j, e);
		immure_jsonw_end(w, '}');
	}
}

static int32_t take_name(struct maker *m, const struct immure_jsonr_value *v)
{
	char longest[IMMURE_NAME_MAX + 16] = "";

	if (v->type == IMMURE_JSON_STRING && strlen(v->text) <= IMMURE_NAME_MAX) {
		memcpy(m->name, v->text, strlen(v->text) + 1);
		(void)snprintf(longest, sizeof(longest), "%s-%u", m->name, m->count);
	}
	return immure_name_valid(longest) ? 0 : fail(m, IMMURE_ERR_INVALID, 0, "name: each gets NAME-1, NAME-2 ...: "
						     "a letter, then letters, digits, '_', '-' or '.', at most 63");
}

static int32_t take_request(struct maker *m, size_t len)
{
	const struct immure_jsonr_value *root, *v, *count;
	struct immure_jsonw w;
	struct immure_jsonr j;

	if (immure_jsonr_parse(&j, m->packet, len, m->values, VALUES) < 0)
		return fail(m, IMMURE_ERR_INVALID, 0, "not a request");
	root = &j.v[0];
	v = immure_jsonr_get(&j, root, "id");
	m->request = v && v->type == IMMURE_JSON_INTEGER ? (uint64_t)v->integer : 0;
	count = immure_jsonr_get(&j, root, "count");
	if (!count || count->type != IMMURE_JSON_INTEGER || count->integer < 1 || count->integer > IMMURE_MANY_MAX)
		return fail(m, IMMURE_ERR_INVALID, 0, "count: from 1 to 4096");
	m->count = (uint32_t)count->integer;
	v = immure_jsonr_get(&j, root, "runtime");
	if (v && v->type == IMMURE_JSON_STRING && strlen(v->text) < sizeof(m->runtime))
		memcpy(m->runtime, v->text, strlen(v->text) + 1);
	v = immure_jsonr_get(&j, root, "name");
	if (v && take_name(m, v) < 0)
		return -IMMURE_ERR_INVALID;
	v = immure_jsonr_get(&j, root, "lifetime");
	if (!v || v->type != IMMURE_JSON_STRING || strcmp(v->text, immure_lifetime_name(IMMURE_LIFETIME_CALLER)) == 0)
		return fail(m, IMMURE_ERR_INVALID, 0, "lifetime: many at once outlive who asks for them: detached or leased");
	immure_jsonw_init(&w, &m->each, 0);
	immure_jsonw_object(&w, NULL);
	for (v = immure_jsonr_first(&j, root); v; v = immure_jsonr_after(&j, root, v))
		if (strcmp(v->key, "id") && strcmp(v->key, "op") && strcmp(v->key, "count") && strcmp(v->key, "name"))
			copy_value(&w, &j, v);
	immure_jsonw_end(&w, '}');
	if (!immure_buf_ok(&m->each))
		return fail(m, IMMURE_ERR_NOMEM, ENOMEM, "session");
	m->each.data[0] = ',';
	return 0;
}

/* The plan under one name only so far, which goes away; where that cannot be, each writes
 * its own. */
static int plan_file(const struct maker *m)
{
	struct immure_registry reg;
	int fd;

	if (immure_registry_open(m->runtime, true, &reg, NULL) < 0)
		return -1; /* as each will find out */
	fd = openat(reg.sessions_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	immure_registry_done(&reg);
	if (fd >= 0 && (immure_write_all(fd, m->o->plan_data, m->o->plan_len) < 0 || immure_fd_raise(&fd, 10) < 0))
		immure_close(&fd);
	return fd;
}

/* Above all numbers that a server's own get. */
static int32_t share(struct maker *m)
{
	int life[2];

	immure_close(&m->shared.life_fd); /* of those that were taken back */
	immure_close(&m->shared.plan_fd);
	if (pipe2(life, O_CLOEXEC) < 0)
		return fail(m, IMMURE_ERR_LAUNCH, errno, "session");
	m->shared = (struct immure_many){ m->settled, life[0], plan_file(m) };
	m->life_fd = life[1];
	if (immure_fd_raise(&m->shared.life_fd, 10) < 0)
		return fail(m, IMMURE_ERR_LAUNCH, errno, "session");
	return 0;
}

static int32_t prepare(struct maker *m)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	void *page = mmap(NULL, sizeof(*m->settled), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return fail(m, IMMURE_ERR_NOMEM, errno, "session");
	m->settled = page;
	m->v = calloc(m->count, sizeof(*m->v));
	if (!m->v)
		return fail(m, IMMURE_ERR_NOMEM, ENOMEM, "session");
	for (uint32_t i = 0; i < m->count; i++)
		m->v[i].line = -1;
	if (sigaction(SIGCHLD, &plain, NULL) < 0)
		return fail(m, IMMURE_ERR_LAUNCH, errno, "session");
	return share(m);
}

/* ---- making one ---- */

/* Nothing of the maker's may stay open here: its ends of lines above all. What is kept
 * beside our own is above all numbers that it gets. */
static int keep_descriptors(struct immure_mould *mould, struct immure_many *many, int line)
{
	int *kept[] = { &line, &many->life_fd, &many->plan_fd, mould ? &mould->user_fd : NULL,
			mould ? &mould->mount_fd : NULL, mould ? &mould->host_fd : NULL };
	int next = 3;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (!kept[i] || *kept[i] < 0)
			continue;
		if (*kept[i] != next && dup3(*kept[i], next, O_CLOEXEC) < 0)
			return -errno;
		*kept[i] = next++;
	}
	return immure_sys_close_range((unsigned int)next, ~0U, 0);
}

static _Noreturn void become_server(struct maker *m, int line, const char *first, size_t len)
{
	struct immure_serve_options o = { .plan = m->o->plan, .plan_data = m->o->plan_data,
					  .plan_len = m->o->plan_len, .egress = m->o->egress, .control_fd = 3,
					  .first = first, .first_len = len, .many = &m->shared,
					  .mould = m->mould ? &m->mould->mould : NULL };

	if (keep_descriptors(o.mould, o.many, line) < 0)
		_exit(125);
	if (m->o->before)
		m->o->before(m->o->ctx, &o);
	_exit(immure_session_serve(&o));
}

static int32_t start_one(struct maker *m)
{
	struct one *s = &m->v[m->started];
	struct immure_buf b = IMMURE_BUF_INIT;
	int pair[2];

	immure_buf_puts(&b, "{\"id\":1,\"op\":\"create\"");
	if (m->name[0])
		immure_buf_printf(&b, ",\"name\":\"%s-%u\"", m->name, m->started + 1);
	immure_buf_put(&b, m->each.data, m->each.len);
	if (!immure_buf_ok(&b) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		immure_buf_done(&b);
		return fail(m, IMMURE_ERR_LAUNCH, errno, "session");
	}
	s->line = pair[0];
	s->pid = fork();
	if (s->pid == 0)
		become_server(m, pair[1], b.data, b.len);
	immure_close(&pair[1]);
	immure_buf_done(&b);
	if (s->pid < 0)
		return fail(m, IMMURE_ERR_LAUNCH, errno, "a session's supervisor");
	m->started++;
	return 0;
}

static void carry(struct maker *m, const struct immure_jsonr *j, const struct immure_jsonr_value *root)
{
	const struct immure_jsonr_value *e = immure_jsonr_get(j, root, "error"), *v;
	const char *text[4] = { "session", "", "it cannot be made", "" };
	static const char *const keys[] = { "stage", "subject", "text", "hint" };
	int64_t number[2] = { IMMURE_ERR_LAUNCH, 0 };

	for (int i = 0; i < 4; i++) {
		v = immure_jsonr_get(j, e, keys[i]);
		text[i] = v && v->type == IMMURE_JSON_STRING ? v->text : text[i];
	}
	for (int i = 0; i < 2; i++) {
		v = immure_jsonr_get(j, e, i ? "errno" : "code");
		number[i] = v && v->type == IMMURE_JSON_INTEGER ? v->integer : number[i];
	}
	(void)immure_fail(&m->err, (int32_t)number[0], (int)number[1], text[0], text[1], "%s", text[2]);
	if (m->err && text[3][0])
		immure_error_set_hint(m->err, "%s", text[3]);
}

static int32_t hear(struct maker *m, struct one *s)
{
	const struct immure_jsonr_value *ok, *id;
	struct immure_jsonr j;
	int fds[4];
	size_t n = 0;
	ssize_t len = immure_fdmsg_receive(s->line, m->packet, IMMURE_SERVE_PACKET, fds, 4, &n, MSG_DONTWAIT);

	immure_close_all(fds, n);
	if (len == -EAGAIN || len == -EINTR)
		return 0;
	if (len <= 0 || immure_jsonr_parse(&j, m->packet, (size_t)len, m->values, VALUES) < 0)
		return fail(m, IMMURE_ERR_LAUNCH, ECHILD, "a session ended before all were made");
	ok = immure_jsonr_get(&j, &j.v[0], "ok");
	id = immure_jsonr_get(&j, &j.v[0], "session");
	if (!ok || !ok->integer || !id || id->type != IMMURE_JSON_STRING || strlen(id->text) != IMMURE_ID_LEN) {
		carry(m, &j, &j.v[0]);
		return -IMMURE_ERR_LAUNCH;
	}
	memcpy(s->id, id->text, sizeof(s->id));
	immure_close(&s->line); /* or each fork would copy all of them: life_fd is enough */
	s->ready = true;
	m->ready++;
	return 0;
}

/* ---- making all ---- */

/* Those that are being made, and who asked. */
static int32_t wait_for_some(struct maker *m)
{
	struct pollfd p[AT_ONCE + 1] = { { .fd = m->o->control_fd, .events = POLLIN } };
	struct one *of[AT_ONCE + 1];
	int32_t r = 0;
	nfds_t n = 1;

	for (uint32_t i = 0; i < m->started && n <= AT_ONCE; i++) {
		if (m->v[i].ready)
			continue;
		of[n] = &m->v[i];
		p[n++] = (struct pollfd){ .fd = m->v[i].line, .events = POLLIN };
	}
	while (poll(p, n, -1) < 0)
		if (errno != EINTR)
			return fail(m, IMMURE_ERR_LAUNCH, errno, "session");
	if (p[0].revents) { /* nothing more is asked: it has gone */
		m->unasked = true;
		return fail(m, IMMURE_ERR_STATE, EPIPE, "session");
	}
	for (nfds_t i = 1; i < n && r == 0; i++)
		if (p[i].revents)
			r = hear(m, of[i]);
	return r;
}

/* One that was there may have ended since. */
static int32_t all_live(struct maker *m)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (waitpid(m->v[i].pid, NULL, WNOHANG) != 0) {
			m->v[i].pid = 0;
			return fail(m, IMMURE_ERR_LAUNCH, ECHILD, "a session ended before all were made");
		}
	return 0;
}

static int32_t make_each(struct maker *m)
{
	int32_t r = 0;

	while (r == 0 && m->ready < m->count) {
		while (r == 0 && m->started < m->count && m->started - m->ready < AT_ONCE)
			r = start_one(m);
		if (r == 0)
			r = wait_for_some(m);
	}
	return r == 0 ? all_live(m) : r;
}

/* What was begun ends when its line does; it is waited for, so that nothing is left
 * when that is said. */
static void take_back(struct maker *m)
{
	struct timespec moment = { .tv_nsec = 2000000 };
	uint64_t until = immure_server_ms() + END_MS;
	uint32_t left = m->v ? m->count : 0;

	for (uint32_t i = 0; m->v && i < m->count; i++)
		immure_close(&m->v[i].line);
	immure_close(&m->life_fd);
	while (left > 0) {
		left = 0;
		for (uint32_t i = 0; i < m->count; i++) {
			struct one *s = &m->v[i];

			if (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == s->pid)
				s->pid = 0;
			if (s->pid > 0 && immure_server_ms() > until)
				(void)kill(s->pid, SIGKILL); /* our child, not waited for: this very one */
			left += s->pid > 0;
		}
		if (left)
			(void)nanosleep(&moment, NULL); /* cut short: looks again sooner */
	}
}

/* What was made after a mould that does not stand any more is taken back: some of it may
 * lack what a session that is made now would hide. Then each makes its own view. */
static int32_t make_all(struct maker *m)
{
	int32_t r;

	if (m->count >= AFTER_MOULD)
		m->mould = immure_mould_make(m->o->plan);
	r = make_each(m);
	if (!m->mould || m->unasked || immure_mould_stands(m->mould))
		return r;
	immure_mould_free(m->mould);
	m->mould = NULL;
	take_back(m);
	memset(m->v, 0, m->count * sizeof(*m->v));
	for (uint32_t i = 0; i < m->count; i++)
		m->v[i].line = -1;
	m->started = m->ready = 0;
	immure_error_free(m->err);
	m->err = NULL;
	r = share(m);
	return r == 0 ? make_each(m) : r;
}

/* ---- the answer ---- */

static int names_of(const struct maker *m)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int fd;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_array(&w, NULL);
	for (uint32_t i = 0; i < m->count; i++) {
		char name[IMMURE_NAME_MAX + 16] = "";

		if (m->name[0])
			(void)snprintf(name, sizeof(name), "%s-%u", m->name, i + 1);
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "session", m->v[i].id);
		immure_jsonw_str(&w, "name", name);
		immure_jsonw_str(&w, "state", immure_state_name(IMMURE_STATE_RUNNING));
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	fd = immure_buf_ok(&b) ? immure_memfd_of("immure-sessions", b.data, b.len) : -ENOMEM;
	immure_buf_done(&b);
	return fd;
}

static void answer(struct maker *m, int fd)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	struct iovec iov;

	if (m->unasked)
		return;
	if (m->err)
		immure_answer_refusal(&w, &b, m->request, m->err);
	else
		immure_answer_begin(&w, &b, m->request);
	immure_jsonw_end(&w, '}');
	iov = (struct iovec){ b.data, b.len };
	if (immure_buf_ok(&b)) /* gone: as when it goes just after */
		(void)immure_fdmsg_send(m->o->control_fd, &iov, 1, &fd, fd >= 0, 0);
	immure_buf_done(&b);
}

int immure_sessions_make(const struct immure_many_options *o)
{
	struct maker m = { .o = o, .each = IMMURE_BUF_INIT, .shared = { NULL, -1, -1 }, .life_fd = -1 };
	int fds[4], names = -1;
	size_t n = 0;
	ssize_t len;
	int32_t r;

	m.packet = malloc(IMMURE_SERVE_PACKET + 1);
	m.values = malloc(VALUES * sizeof(*m.values));
	len = m.packet && m.values ? immure_fdmsg_receive(o->control_fd, m.packet, IMMURE_SERVE_PACKET, fds, 4, &n, 0)
				   : -ENOMEM;
	immure_close_all(fds, n);
	r = len > 0 ? take_request(&m, (size_t)len) : fail(&m, IMMURE_ERR_INVALID, EPROTO, "not a request");
	if (r == 0)
		r = prepare(&m);
	if (r == 0)
		r = make_all(&m);
	if (r == 0) {
		names = names_of(&m);
		r = names < 0 ? fail(&m, IMMURE_ERR_NOMEM, -names, "session") : 0;
	}
	if (r == 0)
		__atomic_store_n(m.settled, 1, __ATOMIC_RELEASE);
	else
		take_back(&m);
	answer(&m, names);
	immure_mould_free(m.mould);
	immure_close(&names);
	immure_close(&m.life_fd);
	immure_close(&m.shared.life_fd);
	immure_close(&m.shared.plan_fd);
	immure_buf_done(&m.each);
	immure_error_free(m.err);
	free(m.packet);
	free(m.values);
	free(m.v);
	return r < 0 ? 1 : 0;
}
