/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that run many commands: made, opened, ended, asked. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"
#include "lib/options.h"
#include "lib/session.h"
#include "lib/proving.h"
#include "plan/plan.h"
#include "session/control.h"
#include "session/registry.h"
#include "session/serve.h"

enum { FLAGS = IMMURE_SESSION_IDLE_STOPS | IMMURE_SESSION_REMOVE | IMMURE_SESSION_PROVE };
enum { REFUSED_MS = 2000 }; /* for the end of a server that refused its start */

static int32_t session_options(struct immure_session_options *to, const struct immure_session_options *from,
			       struct immure_error **err)
{
	int32_t r = immure_options_copy(to, sizeof(*to), from, "session", err);

	if (r == 0 && (to->flags & ~(uint32_t)FLAGS || to->lifetime > IMMURE_LIFE_LEASED))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "api", "flags", "unknown flags or lifetime");
	return r;
}

static int32_t usable(const immure_session *s, struct immure_error **err)
{
	if (!s || s->kind != IMMURE_SESSION_SERVED)
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "",
				   "this session runs one command only");
	if (s->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "session", "",
				   "this session belongs to the process that opened it");
	return 0;
}

/* ---- making ---- */

static int32_t spawn_server(const struct immure_session_options *o, int plan_fd, int theirs,
			    pid_t *ret_pid, struct immure_error **err)
{
	const char *argv[10] = { "immure", "supervise", "--session", "--plan-fd", "3", "--control-fd", "4" };
	int fds[5] = { -1, -1, -1, plan_fd, theirs }, up[5] = { -1, -1, -1, -1, -1 }, e = 0, n = 7;

	if (o->lifetime != IMMURE_LIFE_CALLER)
		argv[n++] = "--detach";
	if (o->flags & IMMURE_SESSION_PROVE)
		argv[n++] = "--prove";

	for (int i = 3; i < 5 && e == 0; i++) { /* above the targets, or they clash */
		up[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
		e = up[i] < 0 ? -errno : 0;
	}
	if (e == 0)
		e = immure_spawn_supervisor(o->supervisor, argv, up, ret_pid);
	immure_close(&up[3]);
	immure_close(&up[4]);
	if (e < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -e, "session",
				   o->supervisor ? o->supervisor : IMMURE_BINDIR "/immure",
				   "cannot start the supervisor: %s", strerror(-e));
	return 0;
}

static void reap(pid_t *pid)
{
	while (*pid > 0 && waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = -1;
}

int32_t immure_link_put_labels(struct immure_link_ask *ask, const char *const *labels,
			       struct immure_error **err)
{
	immure_jsonw_object(&ask->w, "labels");
	for (; labels && *labels; labels++) {
		const char *eq = strchr(*labels, '=');
		char key[IMMURE_LABEL_KEY_MAX + 2];

		if (!eq || (size_t)(eq - *labels) >= sizeof(key))
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "session", "labels",
					   "%s: a label is KEY=VALUE", *labels);
		(void)snprintf(key, sizeof(key), "%.*s", (int)(eq - *labels), *labels);
		immure_jsonw_str(&ask->w, key, eq + 1);
	}
	immure_jsonw_end(&ask->w, '}');
	return 0;
}

static int32_t ask_create(struct immure_link *l, const struct immure_session_options *o,
			  const char *runtime, struct immure_error **err)
{
	static const char *const lifetimes[] = { "caller", "detached", "leased" };
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r;

	immure_link_begin(l, &ask, "create");
	immure_jsonw_str(&ask.w, "runtime", runtime);
	if (o->name)
		immure_jsonw_str(&ask.w, "name", o->name);
	immure_jsonw_str(&ask.w, "lifetime", lifetimes[o->lifetime]);
	immure_jsonw_uint(&ask.w, "idle_ms", o->idle_ms);
	immure_jsonw_uint(&ask.w, "life_ms", o->life_ms);
	immure_jsonw_str(&ask.w, "on_idle", o->flags & IMMURE_SESSION_IDLE_STOPS ? "stop" : "suspend");
	immure_jsonw_bool(&ask.w, "remove", o->flags & IMMURE_SESSION_REMOVE);
	r = immure_link_put_labels(&ask, o->labels, err);
	if (r == 0)
		r = immure_link_request(l, &ask, &root, NULL, err);
	else
		immure_buf_done(&ask.text);
	if (r == 0) {
		(void)snprintf(l->session, sizeof(l->session), "%s", immure_link_string(l, root, "session"));
		(void)snprintf(l->state, sizeof(l->state), "%s", immure_link_string(l, root, "state"));
	}
	return r;
}

static int32_t connect_server(const struct immure_session_options *o, int plan_fd,
			      struct immure_session *s, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int ours = -1;
	int pair[2];
	int32_t r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "session", "", "socketpair: %s",
				   strerror(errno));
	ours = pair[0];
	r = spawn_server(o, plan_fd, pair[1], &s->pid, err);
	immure_close(&pair[1]);
	if (r == 0 && o->lifetime != IMMURE_LIFE_CALLER)
		reap(&s->pid); /* it went on in a child of its own at once */
	if (r == 0)
		r = immure_link_new(&ours, &s->link, err);
	return r;
}

/* What holds nothing but one command cannot be half a session, and what is enforced for
 * one command only is not half enforced for many. */
int32_t immure_may_hold_many(const immure_plan *plan, struct immure_error **err)
{
	int32_t r;

	if (immure_plan_find(plan, IMMURE_OP_OUTPUT_CAP)) {
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "limits", "limits.output",
				"limits.output: bounds what one run prints, and nothing in a session, whose "
				"commands write to their callers' own descriptors");
		if (err && *err)
			immure_error_set_hint(*err, "build on a profile without it (dev, strict), or use `immure run`");
		return r;
	}
	if (!immure_plan_is_bare(plan))
		return 0;
	r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "backend", plan->backend,
			"backend %s: runs one command each time, no session of many", plan->backend);
	if (err && *err)
		immure_error_set_hint(*err, "use `immure run`, or another backend");
	return r;
}

/* A server whose start was refused ends by itself. Its name is free again after that:
 * whoever tries another plan would find it taken before. */
static void await_end(struct immure_link *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	char rest[64];

	while (poll(&p, 1, REFUSED_MS) > 0 && recv(l->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
}

int32_t immure_session_create(const immure_plan *plan, const struct immure_session_options *options,
			      immure_session **ret, immure_error **err)
{
	struct immure_session_options o;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	IMMURE_CLEANUP_FD int plan_fd = -1;
	struct immure_session *s = calloc(1, sizeof(*s));
	const char *runtime = NULL;
	void *sealed = NULL;
	size_t len = 0;
	int32_t r = s ? session_options(&o, options, err)
		      : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");

	if (s) { /* a refusal frees it: nothing in it may be anybody's descriptor 0 */
		s->kind = IMMURE_SESSION_SERVED;
		s->owner = getpid();
		s->control_fd = s->pid = -1;
	}
	if (r == 0)
		r = immure_plan_startable(plan, err);
	if (r == 0)
		r = immure_may_hold_many(plan, err);
	if (r == 0)
		runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	if (r == 0 && !runtime)
		r = immure_fail(err, IMMURE_ERR_INVALID, ENOENT, "session", "runtime_dir",
				"no place to register the session: neither XDG_RUNTIME_DIR nor HOME is set");
	if (r == 0)
		r = immure_plan_seal_bytes(plan, &sealed, &len, err);
	if (r == 0) {
		plan_fd = immure_memfd_of("immure-plan", sealed, len);
		if (plan_fd < 0)
			r = immure_fail(err, IMMURE_ERR_LAUNCH, -plan_fd, "session", "", "memfd: %s",
					strerror(-plan_fd));
	}
	if (r == 0)
		r = connect_server(&o, plan_fd, s, err);
	if (r == 0)
		r = ask_create(s->link, &o, runtime, err);
	if (r == -IMMURE_ERR_LAUNCH && s->link)
		await_end(s->link);
	free(sealed);
	immure_arena_done(&arena);
	if (r < 0) {
		immure_session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* ---- opening ---- */

static int32_t connect_entry(const struct immure_entry *e, int *ret_fd, struct immure_error **err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)immure_entry_socket(e, at.sun_path, sizeof(at.sun_path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		int saved = errno;
		int32_t r = immure_fail(err, IMMURE_ERR_STATE, saved, "session", e->id,
					saved == ENOENT || saved == ECONNREFUSED
						? "%s: the session has ended" : "%s: cannot be reached", e->id);

		if (err && *err)
			immure_error_set_hint(*err, "immure rm %s removes what is recorded of it", e->id);
		return r;
	}
	*ret_fd = immure_take_fd(&fd);
	return 0;
}

int32_t immure_session_connect(const char *name, const struct immure_session_options *options,
			       int32_t *ret_fd, immure_error **err)
{
	struct immure_session_options o;
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_entry entry = IMMURE_ENTRY_INIT;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	const char *runtime = NULL;
	int32_t r = session_options(&o, options, err);

	if (r == 0)
		runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	if (r == 0 && !runtime)
		r = immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "session", name, "%s: no such session",
				name);
	if (r == 0)
		r = immure_registry_open(runtime, false, &registry, err);
	if (r == 0)
		r = immure_entry_find(&registry, name, &entry, err);
	if (r == 0)
		r = connect_entry(&entry, ret_fd, err);
	immure_entry_done(&entry);
	immure_registry_done(&registry);
	immure_arena_done(&arena);
	return r;
}

int32_t immure_session_open(const char *name, const struct immure_session_options *options,
			    immure_session **ret, immure_error **err)
{
	struct immure_session *s = calloc(1, sizeof(*s));
	int fd = -1;
	int32_t r = s ? immure_session_connect(name, options, &fd, err)
		      : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");

	if (r == 0) {
		s->kind = IMMURE_SESSION_SERVED;
		s->owner = getpid();
		s->control_fd = s->pid = -1;
		r = immure_link_new(&fd, &s->link, err);
	}
	immure_close(&fd);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

const char *immure_session_id(const immure_session *session)
{
	return session && session->link ? session->link->session : "";
}

/* ---- serving ---- */

static void release_proving(void *ctx)
{
	immure_proving_done(ctx);
}

static void prepare_proof(struct immure_proving *p, const immure_plan *plan, const char *attacker,
			  struct immure_serve_options *o, struct immure_error **err)
{
	struct immure_run_options how = { .size = sizeof(how), .attacker = attacker };

	if (immure_proving_prepare(p, plan, &how, err) < 0)
		o->unprovable = *err; /* told who asks for the session */
	p->before.release = release_proving;
	o->before = &p->before;
}

int32_t immure_session_serve_fds(int32_t plan_fd, int32_t control_fd, const char *egress, const char *attacker,
				 int32_t detach)
{
	struct immure_serve_options o = { .control_fd = control_fd, .egress = egress };
	struct immure_proving proving = IMMURE_PROVING_INIT;
	struct immure_error *unprovable = NULL;
	immure_plan *plan = NULL;
	struct stat st;
	void *data;
	int32_t r = 1;
	pid_t pid = detach ? fork() : 0;

	if (pid != 0) {
		immure_close(&plan_fd);
		immure_close(&control_fd);
		return pid < 0 ? 125 : 0;
	}
	data = fstat(plan_fd, &st) < 0 || st.st_size <= 0 || st.st_size > 64 << 20
		       ? MAP_FAILED
		       : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, plan_fd, 0);
	immure_close(&plan_fd);
	if (data != MAP_FAILED && immure_plan_unseal(data, (size_t)st.st_size, &plan, NULL) == 0) {
		o.plan = plan;
		o.plan_data = data;
		o.plan_len = (size_t)st.st_size;
		if (attacker)
			prepare_proof(&proving, plan, attacker, &o, &unprovable);
		r = immure_session_serve(&o);
		immure_proving_done(&proving);
		immure_error_free(unprovable);
		immure_plan_free(plan);
	}
	return r;
}

/* ---- listing ---- */

struct row {
	uint64_t created_ms;
	char *json;
};

struct listing {
	struct immure_registry *registry;
	struct immure_jsonw w; /* of one row */
	struct row *rows;
	size_t n, cap;
	bool failed;
};

static void add_row(struct listing *l, uint64_t created_ms, char *json)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct row *rows = reallocarray(l->rows, cap, sizeof(*rows));

		if (rows) {
			l->rows = rows;
			l->cap = cap;
		}
	}
	if (!json || l->n == l->cap) {
		l->failed = true;
		free(json);
		return;
	}
	l->rows[l->n++] = (struct row){ created_ms, json };
}

/* In the order in which they were made, whatever their ids. */
static int by_age(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->created_ms != b->created_ms)
		return a->created_ms < b->created_ms ? -1 : 1;
	return strcmp(a->json, b->json);
}

/* Everything in rows, which are freed; NULL when out of memory. */
static char *join(struct listing *l)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), by_age);
	immure_buf_putc(&b, '[');
	for (size_t i = 0; i < l->n; i++) {
		if (i)
			immure_buf_putc(&b, ',');
		immure_buf_puts(&b, l->rows[i].json);
		free(l->rows[i].json);
	}
	free(l->rows);
	immure_buf_putc(&b, ']');
	if (!l->failed)
		return immure_buf_take(&b);
	immure_buf_done(&b);
	return NULL;
}

static int list_one(void *ctx, const char *id, bool half_made)
{
	struct listing *l = ctx;
	struct immure_entry e = IMMURE_ENTRY_INIT;
	struct immure_status st = { 0 };
	struct immure_meta m;
	int alive;

	if (half_made || immure_entry_open(l->registry, id, &e) < 0)
		return 0;
	alive = immure_entry_alive(&e);
	if (immure_entry_meta(&e, &m) == 0) {
		bool known = immure_entry_status(&e, &st) == 0;
		struct immure_buf b = IMMURE_BUF_INIT;

		immure_jsonw_init(&l->w, &b, 0);
		immure_jsonw_object(&l->w, NULL);
		immure_jsonw_str(&l->w, "session", id);
		immure_jsonw_str(&l->w, "name", m.name);
		immure_jsonw_bool(&l->w, "alive", alive == 1);
		/* Whoever kept it is gone: whatever it said last is not so any more. */
		immure_jsonw_str(&l->w, "state", !known ? "NEW" : alive == 1 || strcmp(st.state, "SEALED") == 0
								  ? st.state : "LOST");
		immure_jsonw_str(&l->w, "note", st.note);
		immure_jsonw_str(&l->w, "backend", m.backend);
		immure_jsonw_str(&l->w, "profile", m.profile);
		immure_jsonw_str(&l->w, "policy_version", m.policy_version);
		immure_jsonw_str(&l->w, "lifetime", immure_lifetime_name(m.lifetime));
		immure_jsonw_uint(&l->w, "created_ms", m.created_ms);
		immure_jsonw_uint(&l->w, "since_ms", st.since_ms);
		immure_jsonw_uint(&l->w, "execs_running", st.running);
		immure_jsonw_object(&l->w, "labels");
		for (uint32_t i = 0; i < m.labels_n; i++)
			immure_jsonw_str(&l->w, m.labels[i].key, m.labels[i].value);
		immure_jsonw_end(&l->w, '}');
		immure_jsonw_end(&l->w, '}');
		add_row(l, m.created_ms, immure_buf_take(&b));
	}
	immure_entry_done(&e);
	return 0;
}

int32_t immure_session_list(const struct immure_session_options *options, char **ret_json,
			    immure_error **err)
{
	struct immure_session_options o;
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	struct listing l = { .registry = &registry };
	const char *runtime;
	char *text;
	int32_t r = session_options(&o, options, err);

	if (r < 0)
		return r;
	runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	if (runtime)
		r = immure_registry_open(runtime, false, &registry, err);
	if (r == 0 && runtime)
		(void)immure_registry_each(&registry, list_one, &l); /* what cannot be read is not listed */
	immure_registry_done(&registry);
	immure_arena_done(&arena);
	text = join(&l);
	if (r < 0) {
		free(text);
		return r;
	}
	*ret_json = text;
	if (r == 0 && !*ret_json)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");
	return r;
}

/* ---- removing ---- */

int32_t immure_session_remove(const char *name, const struct immure_session_options *options,
			      immure_error **err)
{
	struct immure_session_options o;
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_entry entry = IMMURE_ENTRY_INIT;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	const char *runtime;
	char left[4096] = "";
	int32_t r = session_options(&o, options, err);
	int e = 0;

	if (r < 0)
		return r;
	runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	r = runtime ? immure_registry_open(runtime, false, &registry, err)
		    : immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "session", name, "%s: no such session",
				  name);
	if (r == 0)
		r = immure_entry_find(&registry, name, &entry, err);
	if (r == 0) {
		e = immure_entry_lock(&entry);
		if (e == 0)
			e = immure_entry_remove(&registry, &entry, left, sizeof(left));
		if (e == -EAGAIN)
			r = immure_fail(err, IMMURE_ERR_STATE, EBUSY, "session", name, "%s: it lives; stop it "
					"first", name);
		else if (e < 0 && e != -ENOENT)
			r = immure_fail(err, IMMURE_ERR_IO, -e, "session", left, "%s: %s", left, strerror(-e));
	}
	immure_entry_done(&entry);
	immure_registry_done(&registry);
	immure_arena_done(&arena);
	return r;
}

/* ---- asking ---- */

static int32_t plain_request(immure_session *s, const char *op, struct immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = usable(s, err);

	if (r < 0)
		return r;
	immure_link_begin(s->link, &ask, op);
	return immure_link_request(s->link, &ask, NULL, NULL, err);
}

int32_t immure_session_freeze(immure_session *session, immure_error **err)
{
	return plain_request(session, "freeze", err);
}

int32_t immure_session_thaw(immure_session *session, immure_error **err)
{
	return plain_request(session, "thaw", err);
}

int32_t immure_session_detach(immure_session *session, immure_error **err)
{
	int32_t r = plain_request(session, "detach", err);

	if (r == 0)
		session->let_go = true;
	return r;
}

int32_t immure_session_ticket(immure_session *session, uint64_t valid_ms, char **ret, immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	const char *text;
	int32_t r = usable(session, err);

	if (r == 0 && !ret)
		r = immure_fail(err, IMMURE_ERR_INVALID, EINVAL, "api", "ret", "no place for the ticket");
	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "detach");
	immure_jsonw_bool(&ask.w, "ticket", true);
	if (valid_ms)
		immure_jsonw_uint(&ask.w, "valid_ms", valid_ms);
	r = immure_link_request(session->link, &ask, &root, NULL, err);
	if (r < 0)
		return r;
	session->let_go = true;
	text = immure_link_string(session->link, root, "ticket");
	*ret = text ? strdup(text) : NULL;
	return *ret ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "detach", "", "out of memory");
}

int32_t immure_session_kill(immure_session *session, int32_t signo, immure_error **err)
{
	int32_t r = usable(session, err);

	return r < 0 ? r : immure_link_signal_all(session->link, signo, err);
}

int32_t immure_session_stop(immure_session *session, uint64_t grace_ms, uint32_t flags, immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = usable(session, err);

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "stop");
	immure_jsonw_uint(&ask.w, "grace_ms", grace_ms);
	if (flags & IMMURE_SESSION_REMOVE)
		immure_jsonw_bool(&ask.w, "remove", true);
	r = immure_link_request(session->link, &ask, NULL, NULL, err);
	/* Its end of the line is the last thing it closes. */
	while (r == 0 && !session->link->ended)
		r = immure_link_read(session->link, true, err);
	return r;
}

int32_t immure_session_request(immure_session *session, const char *op, const char *arguments_json,
			       char **ret_json, immure_error **err)
{
	const char *a = arguments_json, *end;
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r = usable(session, err);

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, op);
	if (a) { /* its members follow ours; what is wrong with them the server says */
		a += strspn(a, " \t\r\n");
		end = a + strlen(a);
		while (end > a && strchr(" \t\r\n", end[-1]))
			end--;
		if (end - a < 2 || a[0] != '{' || end[-1] != '}') {
			immure_buf_done(&ask.text);
			return immure_fail(err, IMMURE_ERR_INVALID, 0, op, "", "arguments are a JSON object");
		}
		if (strspn(a + 1, " \t\r\n") < (size_t)(end - a - 2)) {
			immure_buf_putc(&ask.text, ',');
			immure_buf_put(&ask.text, a + 1, (size_t)(end - a - 2));
		}
	}
	r = immure_link_request(session->link, &ask, &root, NULL, err);
	if (r < 0 || !ret_json)
		return r;
	*ret_json = immure_link_text(session->link, root);
	return *ret_json ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, op, "", "out of memory");
}

int32_t immure_session_open_file(immure_session *session, const char *path, int32_t flags, uint32_t mode,
				 int32_t *ret_fd, immure_error **err)
{
	struct immure_open_how how = {
		.flags = (uint64_t)(uint32_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = IMMURE_RESOLVE_IN_ROOT | IMMURE_RESOLVE_NO_MAGICLINKS,
	};
	IMMURE_CLEANUP_FD int root = -1;
	struct immure_link_ask ask;
	int32_t r = usable(session, err);
	long fd;

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "root");
	r = immure_link_request(session->link, &ask, NULL, &root, err);
	if (r < 0)
		return r;
	fd = root < 0 ? -EBADF : IMMURE_SYS(syscall(SYS_openat2, root, path, &how, sizeof(how)));
	if (fd < 0)
		return immure_fail(err, IMMURE_ERR_IO, (int)-fd, "file", path, "%s: %s", path,
				   strerror((int)-fd));
	*ret_fd = (int32_t)fd;
	return 0;
}

int32_t immure_session_proof(immure_session *session, char **ret_json, immure_error **err)
{
	enum { PROOF_MAX = 4 << 20 };
	IMMURE_CLEANUP_FD int fd = -1;
	struct immure_link_ask ask;
	int32_t r = usable(session, err);
	size_t len = 0;
	int e;

	if (r < 0)
		return r;
	immure_link_begin(session->link, &ask, "proof");
	r = immure_link_request(session->link, &ask, NULL, &fd, err);
	if (r < 0)
		return r;
	e = fd < 0 ? -EBADF : immure_read_all(fd, PROOF_MAX, ret_json, &len);
	return e < 0 ? immure_fail(err, IMMURE_ERR_IO, -e, "proof", "", "the proof cannot be read: %s", strerror(-e))
		     : 0;
}
