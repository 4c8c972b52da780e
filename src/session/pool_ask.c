/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool is asked for: the packets are those of a session (docs/PROTOCOL.md),
 * the requests its own. A client that does not read its answers is dropped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "session/pool_zygote.h"

struct request {
	struct immure_holder *p;
	struct immure_pool_client *c;
	uint64_t id;
	struct immure_jsonr j;
	const struct immure_jsonr_value *root;
	struct immure_error *err;
	const int *fds; /* that came with it */
	size_t fds_n;
};

/* ---- answers ---- */

bool immure_pool_answer_send(struct immure_holder *p, struct immure_pool_client *c, struct immure_jsonw *w,
			     const int *fds, size_t n)
{
	struct iovec iov;
	ssize_t r = -ENOMEM;

	immure_jsonw_end(w, '}');
	if (immure_buf_ok(w->out) && w->out->len <= IMMURE_POOL_PACKET && !c->dead) {
		iov = (struct iovec){ w->out->data, w->out->len };
		r = immure_fdmsg_send(c->watch.fd, &iov, 1, fds, n, MSG_DONTWAIT);
	}
	immure_buf_done(w->out);
	if (r < 0)
		immure_pool_client_drop(p, c);
	return r >= 0;
}

static void answer_ok(struct request *q)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, q->id);
	(void)immure_pool_answer_send(q->p, q->c, &w, NULL, 0); /* gone: dropped by it */
}

void immure_pool_refuse(struct immure_holder *p, struct immure_pool_client *c, uint64_t id,
			struct immure_error *err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_refusal(&w, &b, id, err);
	(void)immure_pool_answer_send(p, c, &w, NULL, 0); /* gone: dropped by it */
	immure_error_free(err);
}

/* ---- arguments ---- */

static const char *text(struct request *q, const char *key)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&q->j, q->root, key);

	return v && v->type == IMMURE_JSON_STRING ? v->text : NULL;
}

static uint64_t number(struct request *q, const char *key, uint64_t absent)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&q->j, q->root, key);

	return v && v->type == IMMURE_JSON_INTEGER && v->integer >= 0 ? (uint64_t)v->integer : absent;
}

static int32_t no(struct request *q, int32_t code, const char *subject, const char *why)
{
	return immure_fail(&q->err, code, 0, "pool", subject, "%s", why);
}

/* ---- requests ---- */

static int32_t hello(struct request *q)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (number(q, "protocol", 1) != 1)
		return no(q, IMMURE_ERR_UNSUPPORTED, "protocol", "this pool speaks protocol 1");
	immure_answer_begin(&w, &b, q->id);
	immure_jsonw_uint(&w, "protocol", 1);
	immure_jsonw_str(&w, "immure", IMMURE_VERSION);
	immure_jsonw_str(&w, "session", q->p->entry.id);
	immure_jsonw_str(&w, "state", "POOL");
	immure_jsonw_str(&w, "mode", q->p->template ? "zygote" : "sessions");
	(void)immure_pool_answer_send(q->p, q->c, &w, NULL, 0); /* gone: dropped by it */
	return 0;
}

static int32_t take_sizes(struct request *q, uint32_t *ret_size, uint32_t *ret_max)
{
	uint64_t size = number(q, "pool_size", 1), max = number(q, "pool_max", 0);

	if (max == 0)
		max = size > 16 ? size : 16;
	if (size > max || max > IMMURE_POOL_MOST)
		return no(q, IMMURE_ERR_INVALID, "max", "a pool keeps at most as many as it may have, "
			  "and may have at most 4096");
	*ret_size = (uint32_t)size;
	*ret_max = (uint32_t)max;
	return 0;
}

/* What callers make their plans with, for sessions that have no workspace yet: words
 * that are theirs to understand. */
static int32_t keep_policy(struct request *q)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&q->j, q->root, "policy"), *e;
	struct immure_jsonw w;

	q->p->open = v && v->type == IMMURE_JSON_ARRAY;
	if (!q->p->open)
		return 0;
	immure_jsonw_init(&w, &q->p->policy, 0);
	immure_jsonw_array(&w, NULL);
	for (e = immure_jsonr_first(&q->j, v); e; e = immure_jsonr_after(&q->j, v, e)) {
		if (e->type != IMMURE_JSON_STRING)
			return no(q, IMMURE_ERR_INVALID, "policy", "policy is a list of words");
		immure_jsonw_str(&w, NULL, e->text);
	}
	immure_jsonw_end(&w, ']');
	return immure_buf_ok(&q->p->policy) && q->p->policy.len < IMMURE_POOL_PACKET - 256
		       ? 0 : no(q, IMMURE_ERR_INVALID, "policy", "the policy is too long for a pool to hand out");
}

/* The files of a snapshot, and what it says was taken from its session since. */
static int32_t keep_restore(struct request *q)
{
	static const char *const asked[] = { "tighten", "net" };
	const struct immure_jsonr_value *v = immure_jsonr_get(&q->j, q->root, "restore");
	struct immure_holder *p = q->p;
	const char *id = text(q, "snapshot");

	if (!v)
		return 0;
	if (p->open || p->template || p->reuse)
		return no(q, IMMURE_ERR_UNSUPPORTED, "snapshot", "a pool whose sessions begin with a snapshot's files "
			  "has their workspace, keeps sessions, and uses each once");
	if (q->fds_n != 1 || !id)
		return no(q, IMMURE_ERR_INVALID, "restore", "restore is the one file that comes with this");
	p->snapshot = strdup(id);
	p->restore_fd = fcntl(q->fds[0], F_DUPFD_CLOEXEC, 10);
	if (!p->snapshot || p->restore_fd < 0)
		return no(q, IMMURE_ERR_NOMEM, "restore", "no memory, or no descriptor");
	for (size_t i = 0; i < 2; i++) {
		const char *arguments = text(q, asked[i]);

		if (arguments && (arguments[0] != '{' || arguments[1] != '"'))
			return no(q, IMMURE_ERR_INVALID, asked[i], "the arguments of a request are an object");
		p->after[i] = arguments ? strdup(arguments) : NULL;
		if (arguments && !p->after[i])
			return no(q, IMMURE_ERR_NOMEM, asked[i], "out of memory");
	}
	return 0;
}

static int32_t policy(struct request *q)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, q->id);
	immure_jsonw_bool(&w, "open", q->p->open);
	if (q->p->open)
		immure_jsonw_raw(&w, "policy", q->p->policy.data);
	(void)immure_pool_answer_send(q->p, q->c, &w, NULL, 0); /* gone: dropped by it */
	return 0;
}

static const char open_once[] =
	"sessions that take their caller's workspace are sealed in for it, and cannot be opened for another: "
	"with --reuse all have one workspace, that nobody can write to (--workspace DIR)";
static const char template_once[] = "a sandbox after a template is made for one command, and never used again";

static int32_t start(struct request *q)
{
	const char *name = text(q, "name"), *runtime = text(q, "runtime"), *life = text(q, "lifetime");
	const struct immure_jsonr_value *again;
	const char *mode = text(q, "mode");
	struct immure_holder *p = q->p;
	uint32_t size = 0, max = 0;
	int32_t r;

	if (!q->c->boss || p->started)
		return no(q, IMMURE_ERR_STATE, "", "only who started this may, and once");
	if (!runtime || runtime[0] != '/' || strlen(runtime) >= sizeof(p->runtime))
		return no(q, IMMURE_ERR_INVALID, "runtime", "no absolute runtime directory");
	if (name && name[0] && !immure_name_valid(name))
		return no(q, IMMURE_ERR_INVALID, "name", "a name is a letter, then letters, digits, '_', '-' "
			  "or '.', at most 63");
	if (mode && strcmp(mode, "sessions") != 0 && strcmp(mode, "zygote") != 0)
		return no(q, IMMURE_ERR_INVALID, "mode", "a mode is sessions or zygote");
	p->template = mode && strcmp(mode, "zygote") == 0;
	again = immure_jsonr_get(&q->j, q->root, "reuse");
	r = take_sizes(q, &size, &max);
	if (r == 0 && again && again->type != IMMURE_JSON_BOOL)
		r = no(q, IMMURE_ERR_INVALID, "reuse", "reuse is true or false");
	if (r == 0 && again && again->integer && !p->reuse)
		r = immure_pool_reuse_new(p, &q->err);
	if (r == 0 && p->template && max > IMMURE_ZYGOTE_MOST)
		r = no(q, IMMURE_ERR_INVALID, "max", "at most 512 sandboxes live at a time after one template");
	if (r < 0)
		return r;
	(void)snprintf(p->runtime, sizeof(p->runtime), "%s", runtime);
	(void)snprintf(p->meta.name, sizeof(p->meta.name), "%s", name ? name : "");
	p->idle_ms = number(q, "idle_ms", 30000);
	p->check_ms = number(q, "check_ms", IMMURE_POOL_CHECK_MS);
	p->with_caller = !life || strcmp(life, "detached") != 0;
	r = keep_policy(q);
	if (r == 0)
		r = keep_restore(q);
	if (r < 0)
		return r;
	immure_pool_book_init(&p->book, size, max);
	r = p->reuse && (p->template || p->open)
		    ? no(q, IMMURE_ERR_UNSUPPORTED, "reuse", p->open ? open_once : template_once)
		    : immure_pool_begin(p, &q->err);
	p->starter = r == 0 ? q->c : NULL;
	p->starter_request = q->id;
	if (r < 0)
		p->ending = true;
	return r;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return !strncmp(path, top, len) && (!path[len] || path[len] == '/' || len == 1);
}

/* What a living session has cannot be given to it anew, so it must be the same. */
static int32_t same(struct request *q)
{
	const char *version = text(q, "policy_version"), *workspace = text(q, "workspace");
	const struct immure_plan *plan = q->p->plan;
	int32_t r = 0;

	if (q->p->open) /* its server looks at the plan that the caller brings */
		return 0;
	if (version && strcmp(version, plan->policy_version) != 0) {
		r = immure_fail(&q->err, IMMURE_ERR_POLICY, 0, "pool", "policy",
				"the sessions of this pool are sealed in under policy %s, not %s",
				plan->policy_version, version);
		if (q->err)
			immure_error_set_hint(q->err, "start a pool of that policy, or leave the policy to "
					      "the pool");
	} else if (workspace && !is_below(workspace, plan->workspace)) {
		r = immure_fail(&q->err, IMMURE_ERR_POLICY, 0, "pool", "workspace",
				"the sessions of this pool have the workspace %s, not %s", plan->workspace,
				workspace);
		if (q->err)
			immure_error_set_hint(q->err, "start a pool there: a workspace cannot be given to a "
					      "living session");
	}
	return r;
}

static int32_t acquire(struct request *q)
{
	uint64_t wait_ms = number(q, "wait_ms", 0);
	struct immure_pool_client *c = q->c;
	const char *owner = text(q, "owner");
	int32_t r = same(q);

	if (r < 0)
		return r;
	if (q->p->template)
		return no(q, IMMURE_ERR_UNSUPPORTED, "mode", "this pool makes a sandbox for each command: "
			  "there is no session to be had");
	if (c->waits)
		return no(q, IMMURE_ERR_STATE, "", "one at a time");
	(void)snprintf(c->owner, sizeof(c->owner), "%s", owner ? owner : "");
	c->waits = true;
	c->request = q->id;
	c->asked_us = immure_pool_us();
	c->until_ms = wait_ms ? c->asked_us / 1000 + wait_ms : 0;
	q->p->waiting++;
	c->hit = q->p->book.count[IMMURE_SLOT_IDLE] > 0;
	q->p->book.hits += c->hit;
	q->p->book.misses += !c->hit;
	return 0; /* the next step answers */
}

/* ---- after a template ---- */

static int32_t with_template(struct request *q)
{
	return q->p->zygote ? 0 : no(q, IMMURE_ERR_UNSUPPORTED, "mode", "this pool keeps sessions");
}

static int32_t lane(struct request *q)
{
	int32_t r = with_template(q);
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int fd;

	if (r == 0)
		r = same(q);
	if (r < 0)
		return r;
	fd = immure_pool_zygote_lane(q->p);
	if (fd < 0)
		return immure_fail(&q->err, IMMURE_ERR_IO, -fd, "pool", "", "no line to the template: %s",
				   strerror(-fd));
	immure_answer_begin(&w, &b, q->id);
	immure_jsonw_uint(&w, "timeout_ms", 0); /* the template sees to it */
	(void)immure_pool_answer_send(q->p, q->c, &w, &fd, 1); /* gone: dropped by it */
	immure_close(&fd);
	return 0;
}

/* Whether a caller's policy is the pool's; and what its command left is looked at. */
static int32_t agree(struct request *q)
{
	int32_t r = with_template(q);

	if (r == 0)
		r = same(q);
	if (r == 0)
		answer_ok(q);
	return r;
}

static int32_t settle(struct request *q)
{
	int32_t r = with_template(q);

	if (r < 0)
		return r;
	immure_pool_zygote_settle(q->p);
	answer_ok(q);
	return 0;
}

static int32_t warm(struct request *q)
{
	uint64_t target = number(q, "target", 0);
	struct immure_holder *p = q->p;

	if (p->template)
		return no(q, IMMURE_ERR_UNSUPPORTED, "mode", "this pool keeps no sessions");
	if (p->warmer)
		return no(q, IMMURE_ERR_STATE, "", "somebody is warming it");
	p->warmer = q->c;
	p->warmer_request = q->id;
	p->warm_before = p->book.created;
	p->book.target = target > p->book.max ? p->book.max : (uint32_t)target;
	if (p->book.target < p->book.size)
		p->book.target = p->book.size;
	return 0;
}

static int32_t stats(struct request *q)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, q->id);
	immure_jsonw_str(&w, "pool", q->p->meta.name);
	immure_jsonw_str(&w, "profile", q->p->plan->profile);
	immure_jsonw_str(&w, "policy_version", q->p->plan->policy_version);
	immure_jsonw_bool(&w, "open", q->p->open);
	if (!q->p->open)
		immure_jsonw_str(&w, "workspace", q->p->plan->workspace);
	immure_jsonw_uint(&w, "idle_ms", q->p->idle_ms);
	immure_jsonw_uint(&w, "holder_pid", (uint64_t)getpid());
	immure_jsonw_str(&w, "mode", q->p->template ? "zygote" : "sessions");
	immure_pool_book_json(&q->p->book, &w);
	if (q->p->snapshot)
		immure_jsonw_str(&w, "snapshot", q->p->snapshot);
	immure_pool_reuse_json(q->p, &w);
	if (q->p->zygote)
		immure_pool_zygote_stats(q->p, &w);
	if (q->p->failure)
		immure_jsonw_str(&w, "last_failure", immure_error_text(q->p->failure));
	(void)immure_pool_answer_send(q->p, q->c, &w, NULL, 0); /* gone: dropped by it */
	return 0;
}

/* Its end comes over other descriptors and a moment later: who asks for the next one
 * meanwhile is not told that all are in use. */
static int32_t release(struct request *q)
{
	const char *id = text(q, "session");

	for (uint32_t i = 0; id && i < q->p->book.max; i++)
		if (q->p->slots[i].state == IMMURE_SLOT_USED && strcmp(q->p->slots[i].id, id) == 0 &&
		    q->p->slots[i].uid == q->c->uid)
			q->p->slots[i].let_go_ms = immure_pool_us() / 1000;
	answer_ok(q);
	return 0;
}

static int32_t list(struct request *q)
{
	uint64_t now = immure_pool_us() / 1000;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, q->id);
	immure_jsonw_array(&w, "sessions");
	for (uint32_t i = 0; i < q->p->book.max && b.len < IMMURE_POOL_PACKET - 1024; i++) {
		const struct immure_pool_slot *s = &q->p->slots[i];

		if (s->state == IMMURE_SLOT_FREE || !s->id[0])
			continue;
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "session", s->id);
		immure_jsonw_str(&w, "state", immure_slot_state_name(s->state));
		immure_jsonw_uint(&w, "for_ms", now - s->since_ms);
		if (s->state == IMMURE_SLOT_USED) {
			immure_jsonw_int(&w, "caller_pid", s->caller);
			immure_jsonw_str(&w, "owner", s->owner);
		}
		if (q->p->reuse)
			immure_jsonw_uint(&w, "uses", s->uses);
		immure_jsonw_end(&w, '}');
	}
	immure_jsonw_end(&w, ']');
	(void)immure_pool_answer_send(q->p, q->c, &w, NULL, 0); /* gone: dropped by it */
	return 0;
}

static int32_t stop(struct request *q)
{
	const struct immure_jsonr_value *force = immure_jsonr_get(&q->j, q->root, "force");

	q->p->kill_used |= force && force->type == IMMURE_JSON_BOOL && force->integer;
	q->p->ending = true;
	answer_ok(q); /* the end of the connection says the rest */
	return 0;
}

static int32_t answer(struct request *q)
{
	static const struct {
		const char *op;
		int32_t (*fn)(struct request *q);
		bool before_start;
	} ops[] = {
		{ "hello", hello, true }, { "start", start, true }, { "acquire", acquire, false },
		{ "warm", warm, false },  { "release", release, false },  { "policy", policy, false }, { "stats", stats, false }, { "list", list, false },
		{ "stop", stop, false },  { "lane", lane, false }, { "agree", agree, false },
		{ "settle", settle, false },
	};
	const char *op = text(q, "op");

	q->id = number(q, "id", 0);
	for (size_t i = 0; op && i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(ops[i].op, op) != 0)
			continue;
		if (!ops[i].before_start && (!q->p->started || q->p->ending))
			return no(q, IMMURE_ERR_STATE, op, "the pool has not begun, or is ending");
		return ops[i].fn(q);
	}
	(void)immure_fail(&q->err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "op",
			  "%.40s: no such request: this is a pool, not a session", op ? op : "");
	if (q->err)
		immure_error_set_hint(q->err, "immure run --pool NAME -- COMMAND");
	return -IMMURE_ERR_UNSUPPORTED;
}

static void on_client(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	struct request q = { .p = p, .c = (struct immure_pool_client *)w };
	int fds[4];
	size_t n = 0;
	ssize_t len = immure_fdmsg_receive(w->fd, p->packet, IMMURE_POOL_PACKET, fds, 4, &n, MSG_DONTWAIT);

	(void)events;
	q.fds = fds;
	q.fds_n = n;
	if (len == -EAGAIN || len == -EINTR)
		return;
	if (len <= 0 ||
	    immure_jsonr_parse(&q.j, p->packet, (size_t)len, p->values, IMMURE_POOL_VALUES) < 0 ||
	    q.j.v[0].type != IMMURE_JSON_OBJECT) {
		immure_close_all(fds, n);
		immure_pool_client_drop(p, q.c);
		immure_pool_step(p);
		return;
	}
	q.root = &q.j.v[0];
	if (answer(&q) < 0)
		immure_pool_refuse(p, q.c, q.id, q.err);
	immure_close_all(fds, n);
	immure_pool_step(p);
}

/* ---- connections ---- */

int immure_pool_client_add(struct immure_holder *p, int *fd, bool boss)
{
	struct immure_pool_client *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;
	int r;

	if (!c)
		return -ENOMEM;
	c->watch = (struct immure_pool_watch){ .fd = immure_take_fd(fd), .ready = on_client };
	c->boss = boss;
	/* The same user or root, as with a session. */
	r = getsockopt(c->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? -errno : 0;
	if (r == 0 && cred.uid != geteuid() && cred.uid != 0)
		r = -EPERM;
	if (r == 0)
		r = immure_pool_watch(p, &c->watch);
	if (r < 0) {
		immure_close(&c->watch.fd);
		free(c);
		return r;
	}
	c->pid = cred.pid;
	c->uid = cred.uid;
	c->next = p->clients;
	p->clients = c;
	p->clients_n++;
	return 0;
}

void immure_pool_accept(struct immure_holder *p, struct immure_pool_watch *w, uint32_t events)
{
	IMMURE_CLEANUP_FD int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && p->clients_n < IMMURE_POOL_CLIENTS)
		(void)immure_pool_client_add(p, &fd, false); /* refused: it sees the end */
}

void immure_pool_client_drop(struct immure_holder *p, struct immure_pool_client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	p->clients_n--;
	if (c->waits)
		p->waiting--;
	c->waits = false;
	if (p->starter == c)
		p->starter = NULL;
	if (p->warmer == c) {
		p->warmer = NULL;
		p->book.target = p->book.size;
	}
	immure_pool_unwatch(p, &c->watch);
	if (c->boss && (p->with_caller || !p->started))
		p->ending = true;
}

void immure_pool_client_bury(struct immure_holder *p)
{
	for (struct immure_pool_client **at = &p->clients; *at;) {
		struct immure_pool_client *c = *at;

		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}
