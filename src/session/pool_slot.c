/* SPDX-License-Identifier: Apache-2.0 */
/* One session of a pool. Its server is a fork of the holder, which is small and
 * shares with it what neither of them writes: the plan above all. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "init/stands.h"
#include "kernel/sys.h"
#include "session/gc.h"
#include "session/pool.h"
#include "session/remains.h"
#include "session/serve.h"

enum { ASK_HELLO = 1, ASK_CREATE, ASK_LANE, ASK_STATS, ASK_LEND, ASK_AFTER };

static void begin(struct immure_jsonw *w, struct immure_buf *b, uint64_t id, const char *op)
{
	immure_jsonw_init(w, b, 0);
	immure_jsonw_object(w, NULL);
	immure_jsonw_uint(w, "id", id);
	immure_jsonw_str(w, "op", op);
}

static int send_text(struct immure_pool_slot *s, struct immure_buf *b, int fd)
{
	struct iovec iov;
	ssize_t r = -ENOMEM;

	if (immure_buf_ok(b)) {
		iov = (struct iovec){ b->data, b->len };
		r = immure_fdmsg_send(s->boss.fd, &iov, 1, &fd, fd >= 0, MSG_DONTWAIT);
	}
	immure_buf_done(b);
	return r < 0 ? (int)r : 0;
}

static int ask(struct immure_pool_slot *s, struct immure_jsonw *w)
{
	immure_jsonw_end(w, '}');
	return send_text(s, w->out, -1);
}

static int ask_plain(struct immure_pool_slot *s, uint64_t id, const char *op)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	begin(&w, &b, id, op);
	return ask(s, &w);
}

static int ask_create(struct immure_holder *p, struct immure_pool_slot *s)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	begin(&w, &b, ASK_CREATE, "create");
	immure_jsonw_str(&w, "runtime", p->runtime);
	immure_jsonw_str(&w, "lifetime", "caller");
	immure_jsonw_bool(&w, "remove", true);
	if (p->reuse)
		immure_jsonw_bool(&w, "reuse", true);
	immure_jsonw_bool(&w, "root", !p->open); /* one that waits looks for itself (init/await.c) */
	immure_jsonw_object(&w, "labels");
	immure_jsonw_str(&w, "pool", p->meta.name[0] ? p->meta.name : p->entry.id);
	immure_jsonw_end(&w, '}');
	if (p->restore_fd >= 0) {
		immure_jsonw_object(&w, "restore");
		immure_jsonw_uint(&w, "fd", 0);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, '}');
	return send_text(s, &b, p->restore_fd);
}

/* What was taken from the session of the snapshot is taken from this one, before anybody may
 * get it; then a lane. */
static int ask_next(struct immure_holder *p, struct immure_pool_slot *s)
{
	static const char *const ops[] = { "tighten", "net" };
	struct immure_buf b = IMMURE_BUF_INIT;

	while (s->after < 2 && !p->after[s->after])
		s->after++;
	if (s->after == 2)
		return p->reuse ? immure_pool_ask_lend(s) : ask_plain(s, ASK_LANE, "lane");
	immure_buf_printf(&b, "{\"id\":%d,\"op\":\"%s\",%s", ASK_AFTER, ops[s->after], p->after[s->after] + 1);
	s->after++;
	return send_text(s, &b, -1);
}

/* ---- ends ---- */

void immure_pool_slot_end(struct immure_holder *p, struct immure_pool_slot *s, bool force)
{
	immure_pool_unwatch(p, &s->boss); /* its maker has ended: so does the session */
	immure_close(&s->lent_fd);
	immure_close(&s->lane_fd);
	immure_close(&s->root_fd);
	if (force && s->pid > 0)
		(void)kill(s->pid, SIGKILL); /* our child, not waited for: this very one */
	(void)immure_pool_move(&p->book, &s->state, IMMURE_SLOT_ENDING);
	s->deadline_ms = immure_pool_us() / 1000 + IMMURE_POOL_MAKE_MS;
}

static void evict(struct immure_holder *p, struct immure_pool_slot *s)
{
	p->book.evictions++;
	immure_pool_slot_end(p, s, true);
}

static void back_off(struct immure_holder *p)
{
	p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : IMMURE_POOL_BACKOFF_MS;
	if (p->backoff_ms > IMMURE_POOL_BACKOFF_MAX_MS)
		p->backoff_ms = IMMURE_POOL_BACKOFF_MAX_MS;
	p->retry_ms = immure_pool_us() / 1000 + p->backoff_ms;
}

/* err: why, taken; NULL: it just ended. */
static void failed(struct immure_holder *p, struct immure_pool_slot *s, struct immure_error *err)
{
	if (!err)
		(void)immure_fail(&err, IMMURE_ERR_LAUNCH, ECHILD, "pool", s->id,
				  "a session ended before it was ready");
	immure_error_free(p->failure);
	p->failure = err;
	p->book.failed++;
	back_off(p);
	if (s->state == IMMURE_SLOT_MAKING)
		immure_pool_slot_end(p, s, false);
}

/* A killed server leaves its directory and what is on record there; what is left of that
 * after all stays for gc. Rare, so the holder waits for it. */
static void remove_entry(struct immure_holder *p, const struct immure_pool_slot *s)
{
	const struct immure_gc gc = { .runtime_dir = p->runtime, .grace_ms = 1000 };
	struct immure_entry e = IMMURE_ENTRY_INIT;
	struct immure_report report = { 0 };
	struct immure_remains m;

	if (!s->id[0] || immure_entry_open(&p->registry, s->id, &e) < 0)
		return;
	if (immure_remains_open(&e, true, &m) == 0) {
		immure_remains_kill(&m, gc.grace_ms);
		(void)immure_remains_clear(&m, &gc, &p->registry, &report); /* else gc does */
		immure_remains_done(&m);
	}
	immure_entry_done(&e);
	immure_report_done(&report);
}

void immure_pool_slot_gone(struct immure_holder *p, struct immure_pool_slot *s)
{
	s->pid = 0;
	if (s->state == IMMURE_SLOT_MAKING)
		failed(p, s, NULL);
	else if (s->state == IMMURE_SLOT_IDLE || s->state == IMMURE_SLOT_CHECKING)
		evict(p, s);
	else if (s->state == IMMURE_SLOT_USED)
		immure_pool_slot_end(p, s, false);
	remove_entry(p, s);
	(void)immure_pool_move(&p->book, &s->state, IMMURE_SLOT_FREE);
	s->deadline_ms = 0;
	s->id[0] = '\0';
	immure_wipe(s->owner, sizeof(s->owner));
	s->caller = 0;
	s->uses = 0;
}

/* ---- what its server says ---- */

static struct immure_error *carried(const struct immure_jsonr *j, const struct immure_jsonr_value *root)
{
	const struct immure_jsonr_value *e = immure_jsonr_get(j, root, "error"),
					*code = immure_jsonr_get(j, e, "code"),
					*text = immure_jsonr_get(j, e, "text"),
					*no = immure_jsonr_get(j, e, "errno");
	struct immure_error *err = NULL;

	(void)immure_fail(&err, code && code->integer < 0 ? (int32_t)-code->integer
			  : code && code->integer ? (int32_t)code->integer : IMMURE_ERR_LAUNCH,
			  no ? (int)no->integer : 0, "pool", "", "%s",
			  text && text->type == IMMURE_JSON_STRING ? text->text : "it cannot be made");
	return err;
}

void immure_pool_slot_ready(struct immure_holder *p, struct immure_pool_slot *s)
{
	if (!immure_pool_move(&p->book, &s->state, IMMURE_SLOT_IDLE))
		return;
	s->deadline_ms = 0;
	s->since_ms = s->checked_ms = immure_pool_us() / 1000;
}

void immure_pool_slot_made(struct immure_holder *p, struct immure_pool_slot *s)
{
	p->book.created++;
	p->book.warm += !s->on_demand;
	p->backoff_ms = p->retry_ms = 0;
	immure_pool_slot_ready(p, s);
}

void immure_pool_slot_failed(struct immure_holder *p, struct immure_pool_slot *s)
{
	failed(p, s, NULL);
}

int immure_pool_ask_lend(struct immure_pool_slot *s)
{
	return ask_plain(s, ASK_LEND, "lend");
}

static uint64_t number(const struct immure_jsonr *j, const struct immure_jsonr_value *root, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(j, root, key);

	return v && v->type == IMMURE_JSON_INTEGER ? (uint64_t)v->integer : UINT64_MAX;
}

/* Well: it runs, and nobody has run anything in it; or it waits, and its server lives,
 * which ends with its init. */
static bool is_well(const struct immure_holder *p, const struct immure_jsonr *j,
		    const struct immure_jsonr_value *root)
{
	const struct immure_jsonr_value *state = immure_jsonr_get(j, root, "state");

	if (p->open)
		return state && state->type == IMMURE_JSON_STRING && !strcmp(state->text, "PREPARED");
	return state && state->type == IMMURE_JSON_STRING && !strcmp(state->text, "RUNNING") &&
	       number(j, root, "execs_started") == 0 && number(j, root, "processes") == 0;
}

static void took_answer(struct immure_holder *p, struct immure_pool_slot *s, const struct immure_jsonr *j,
			int *fds)
{
	const struct immure_jsonr_value *root = &j->v[0], *ok = immure_jsonr_get(j, root, "ok"), *v;
	uint64_t id = number(j, root, "id");
	bool good = ok && ok->integer;

	if (s->state == IMMURE_SLOT_MAKING && !good && id != ASK_LANE) {
		failed(p, s, carried(j, root));
	} else if (s->state == IMMURE_SLOT_MAKING && id == ASK_CREATE) {
		v = immure_jsonr_get(j, root, "session");
		if (v && v->type == IMMURE_JSON_STRING)
			(void)snprintf(s->id, sizeof(s->id), "%s", v->text);
		s->root_fd = immure_take_fd(&fds[0]);
		if (p->open) /* nothing runs in it before it is taken, and then it has none */
			immure_pool_slot_made(p, s);
		else if (ask_next(p, s) < 0)
			failed(p, s, NULL);
	} else if (s->state == IMMURE_SLOT_MAKING && id == ASK_AFTER) {
		if (ask_next(p, s) < 0)
			failed(p, s, NULL);
	} else if (s->state == IMMURE_SLOT_MAKING && id == ASK_LANE) {
		/* Without a lane, commands go by way of the server. */
		s->lane_fd = immure_take_fd(&fds[0]);
		s->wall_ms = number(j, root, "timeout_ms") == UINT64_MAX ? 0 : number(j, root, "timeout_ms");
		immure_pool_slot_made(p, s);
	} else if (id == ASK_LEND || id == UINT64_MAX) {
		if (!immure_pool_reuse_answer(p, s, j, fds))
			failed(p, s, NULL);
	} else if (s->state == IMMURE_SLOT_CHECKING && id == ASK_STATS) {
		if (good && is_well(p, j, root)) {
			uint64_t since = s->since_ms;

			immure_pool_slot_ready(p, s);
			s->since_ms = since;
		} else {
			evict(p, s);
		}
	}
}

static void on_boss(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	struct immure_pool_slot *s = (struct immure_pool_slot *)w;
	int fds[4] = { -1, -1, -1, -1 };
	struct immure_jsonr j;
	size_t n = 0;
	ssize_t len = immure_fdmsg_receive(w->fd, p->packet, IMMURE_POOL_PACKET, fds, 4, &n, MSG_DONTWAIT);

	(void)events;
	if (len == -EAGAIN || len == -EINTR)
		return;
	if (len > 0 && immure_jsonr_parse(&j, p->packet, (size_t)len, p->values, IMMURE_POOL_VALUES) == 0)
		took_answer(p, s, &j, fds);
	else if (s->state == IMMURE_SLOT_MAKING)
		failed(p, s, NULL);
	else if (s->state == IMMURE_SLOT_USED) /* it was not clean, and has said so */
		immure_pool_slot_end(p, s, false);
	else
		evict(p, s);
	immure_close_all(fds, n);
	immure_pool_step(p);
}

/* ---- making ---- */

/* Nothing of the holder's may stay open here: its lock says that it lives. */
static _Noreturn void become_server(struct immure_holder *p, int control)
{
	struct immure_serve_options o = { .plan = p->plan, .plan_data = p->plan_data,
					  .plan_len = p->plan_len, .egress = p->egress, .control_fd = 3,
					  .waits = p->open };

	if (control != 3 && dup3(control, 3, O_CLOEXEC) < 0)
		_exit(125);
	if (syscall(SYS_close_range, 4U, ~0U, 0U) < 0)
		for (int fd = 4, top = (int)sysconf(_SC_OPEN_MAX); fd < top; fd++)
			(void)close(fd); /* most are not open */
	(void)setrlimit(RLIMIT_NOFILE, &p->files); /* lowering: cannot fail */
	_exit(immure_session_serve(&o));
}

static int start_server(struct immure_holder *p, struct immure_pool_slot *s)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	s->pid = fork();
	if (s->pid == 0)
		become_server(p, pair[1]);
	r = s->pid < 0 ? -errno : 0;
	immure_close(&pair[1]);
	s->boss = (struct immure_pool_watch){ .fd = pair[0], .ready = on_boss };
	if (r == 0)
		r = immure_pool_watch(p, &s->boss);
	if (r == 0)
		r = ask_plain(s, ASK_HELLO, "hello");
	return r == 0 ? ask_create(p, s) : r;
}

void immure_pool_make(struct immure_holder *p, bool on_demand)
{
	struct immure_pool_slot *s = p->slots;
	int r;

	for (uint32_t i = 0; i < p->book.max && s->state != IMMURE_SLOT_FREE; i++)
		s++;
	if (s == p->slots + p->book.max || !immure_pool_move(&p->book, &s->state, IMMURE_SLOT_MAKING))
		return;
	s->on_demand = on_demand;
	s->after = 0;
	s->lent_fd = s->lane_fd = s->root_fd = -1;
	s->deadline_ms = immure_pool_us() / 1000 + IMMURE_POOL_MAKE_MS;
	r = start_server(p, s);
	if (r < 0) {
		struct immure_error *err = NULL;

		(void)immure_fail(&err, IMMURE_ERR_LAUNCH, -r, "pool", "", "a session: %s", strerror(-r));
		failed(p, s, err);
		if (s->pid <= 0)
			immure_pool_slot_gone(p, s);
	}
}

/* Whether all is still hidden and protected that was when it was made. */
static bool stands(const struct immure_holder *p, const struct immure_pool_slot *s)
{
	return p->open || !immure_plan_find(p->plan, IMMURE_OP_PIVOT) ||
	       (s->root_fd >= 0 && immure_plan_stands(s->root_fd, p->plan));
}

void immure_pool_check(struct immure_holder *p, struct immure_pool_slot *s)
{
	if (!immure_pool_move(&p->book, &s->state, IMMURE_SLOT_CHECKING))
		return;
	if (!stands(p, s)) {
		evict(p, s);
		return;
	}
	s->deadline_ms = immure_pool_us() / 1000 + IMMURE_POOL_ANSWER_MS;
	if (ask_plain(s, ASK_STATS, p->open ? "inspect" : "stats") < 0)
		evict(p, s);
}

/* ---- giving ---- */

/* The last one used is the one whose memory is still about. */
static struct immure_pool_slot *youngest(struct immure_holder *p, const struct immure_pool_client *c)
{
	struct immure_pool_slot *best = NULL;

	for (uint32_t i = 0; i < p->book.max; i++)
		if (p->slots[i].state == IMMURE_SLOT_IDLE && immure_pool_reuse_may(&p->slots[i], c) && (!best || p->slots[i].since_ms > best->since_ms))
			best = &p->slots[i];
	return best;
}

static bool still_there(const struct immure_pool_slot *s)
{
	char c;

	return recv(s->boss.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static bool hand_over(struct immure_holder *p, struct immure_pool_slot *s, struct immure_pool_client *c)
{
	int fds[2] = { s->lent_fd >= 0 ? s->lent_fd : s->boss.fd, s->lane_fd };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, c->request);
	immure_jsonw_str(&w, "session", s->id);
	immure_jsonw_bool(&w, "hit", c->hit);
	immure_jsonw_uint(&w, "timeout_ms", s->wall_ms);
	immure_jsonw_bool(&w, "lane", s->lane_fd >= 0);
	immure_jsonw_bool(&w, "open", p->open);
	return immure_pool_answer_send(p, c, &w, fds, s->lane_fd >= 0 ? 2 : 1);
}

/* Those that wait are all of another's who had them: one of them goes, so that another
 * can be made. */
static bool make_room(struct immure_holder *p)
{
	for (uint32_t i = 0; p->reuse && i < p->book.max; i++)
		if (p->slots[i].state == IMMURE_SLOT_IDLE) {
			p->reuse->other_owner++;
			evict(p, &p->slots[i]);
			break;
		}
	return false;
}

bool immure_pool_give(struct immure_holder *p, struct immure_pool_client *c)
{
	struct immure_pool_slot *s = youngest(p, c);

	while (s && (!still_there(s) || !stands(p, s))) {
		evict(p, s);
		s = youngest(p, c);
	}
	if (!s)
		return make_room(p);
	c->waits = false;
	p->waiting--;
	if (!hand_over(p, s, c))
		return true; /* the client is gone, the session stays */
	(void)immure_pool_move(&p->book, &s->state, IMMURE_SLOT_USED);
	s->caller = c->pid;
	s->uid = c->uid;
	memcpy(s->owner, c->owner, sizeof(s->owner));
	s->since_ms = immure_pool_us() / 1000;
	s->let_go_ms = 0;
	if (s->lent_fd < 0) {
		immure_pool_unwatch(p, &s->boss); /* the caller's alone from now on */
		immure_close(&s->root_fd);
	}
	immure_close(&s->lent_fd);
	immure_close(&s->lane_fd);
	immure_pool_latency(&p->book, immure_pool_us() - c->asked_us);
	return true;
}
