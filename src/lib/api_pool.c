/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: started, reached, asked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdmsg.h"
#include "kernel/sys.h"
#include "lib/options.h"
#include "lib/pool.h"
#include "lib/session.h"
#include "plan/plan.h"
#include "session/control.h"
#include "session/pool.h"
#include "session/registry.h"

/* ---- starting ---- */

static int32_t spawn_holder(const char *path, bool detach, int plan_fd, int theirs, pid_t *ret_pid,
			    struct immure_error **err)
{
	const char *argv[] = { "immure", "supervise", "--pool", "--plan-fd", "3", "--control-fd", "4",
			       detach ? "--detach" : NULL, NULL };
	int up[5] = { -1, -1, -1, -1, -1 }, e = 0;

	up[3] = fcntl(plan_fd, F_DUPFD_CLOEXEC, 10); /* above the targets, or they clash */
	up[4] = fcntl(theirs, F_DUPFD_CLOEXEC, 10);
	if (up[3] < 0 || up[4] < 0)
		e = -errno;
	if (e == 0)
		e = immure_spawn_supervisor(path, argv, up, ret_pid);
	immure_close(&up[3]);
	immure_close(&up[4]);
	if (e < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, -e, "pool", path ? path : IMMURE_BINDIR "/immure",
				   "cannot start the holder: %s", strerror(-e));
	if (detach)
		immure_reap(ret_pid); /* it went on in a child of its own at once */
	return 0;
}

static void put_restore(struct immure_link_ask *ask, const struct immure_pool_restore *from)
{
	immure_jsonw_object(&ask->w, "restore");
	immure_jsonw_uint(&ask->w, "fd", 0);
	immure_jsonw_end(&ask->w, '}');
	immure_jsonw_str(&ask->w, "snapshot", from->snapshot.id);
	if (from->after[0].len)
		immure_jsonw_str(&ask->w, "tighten", from->after[0].data);
	if (from->after[1].len)
		immure_jsonw_str(&ask->w, "net", from->after[1].data);
}

static int32_t ask_start(struct immure_pool *pool, const struct immure_pool_options *o, const char *runtime,
			 const struct immure_pool_restore *from, struct immure_error **err)
{
	struct immure_link *l = pool->link;
	struct immure_link_ask ask;
	int32_t r;

	immure_link_begin(l, &ask, "start");
	immure_jsonw_str(&ask.w, "runtime", runtime);
	if (o->name)
		immure_jsonw_str(&ask.w, "name", o->name);
	immure_jsonw_str(&ask.w, "lifetime", o->lifetime == IMMURE_LIFE_DETACHED ? "detached" : "caller");
	immure_jsonw_uint(&ask.w, "pool_size", o->pool_size ? o->pool_size : 1);
	immure_jsonw_uint(&ask.w, "pool_max", o->pool_max);
	immure_jsonw_uint(&ask.w, "idle_ms", o->idle_ms ? o->idle_ms : 30000);
	immure_jsonw_uint(&ask.w, "check_ms", o->check_ms ? o->check_ms : IMMURE_POOL_CHECK_MS);
	if (pool->open)
		immure_pool_policy_put(&pool->policy, &ask.w);
	if (o->reuse)
		immure_jsonw_bool(&ask.w, "reuse", true);
	if (o->mode == IMMURE_POOL_ZYGOTE)
		immure_jsonw_str(&ask.w, "mode", "zygote");
	if (from)
		put_restore(&ask, from);
	r = immure_link_send(l, &ask, from ? &from->snapshot.files_fd : NULL, from ? 1 : 0, err);
	return r < 0 ? r : immure_link_answer(l, &ask, NULL, NULL, err);
}

/* from: what each begins with, or NULL. */
static int32_t start(const struct immure_plan *plan, const struct immure_pool_options *o, const char *runtime,
		     const struct immure_pool_restore *from, immure_pool *pool, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int plan_fd = -1, ours = -1;
	void *sealed = NULL;
	size_t len = 0;
	int pair[2];
	int32_t r = immure_plan_startable(plan, err);

	/* Who is trusted inside, and for whom secrets are, would be the same for all callers. */
	if (r == 0 && immure_plan_find(plan, IMMURE_OP_INTERCEPT))
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "network.allow",
				"sessions in whose TLS rules look, or with secrets, cannot wait in a pool");
	if (r == 0)
		r = immure_plan_seal_bytes(plan, &sealed, &len, err);
	if (r < 0)
		return r;
	plan_fd = immure_memfd_of("immure-plan", sealed, len);
	free(sealed);
	if (plan_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, plan_fd < 0 ? -plan_fd : errno, "pool", "",
				   "no descriptor for the holder");
	ours = pair[0];
	r = spawn_holder(o->supervisor, o->lifetime == IMMURE_LIFE_DETACHED, plan_fd, pair[1], &pool->pid, err);
	immure_close(&pair[1]);
	if (r == 0)
		r = immure_link_new(&ours, &pool->link, err);
	return r == 0 ? ask_start(pool, o, runtime, from, err) : r;
}

/* Of the policy alone: whoever takes a session brings the workspace. */
static int32_t start_open(const struct immure_pool_options *o, const char *runtime, immure_pool *pool,
			  struct immure_error **err)
{
	immure_plan *plan = NULL;
	int32_t r = immure_pool_policy_of(o->policy, &pool->policy, err);

	pool->open = pool->asked = true;
	if (r == 0)
		r = immure_pool_plan_base(&pool->policy, o->env, &plan, err);
	if (r == 0)
		r = start(plan, o, runtime, NULL, pool, err);
	immure_plan_free(plan);
	return r;
}

static int32_t start_restored(const struct immure_pool_options *o, const char *runtime, immure_pool *pool,
			      struct immure_error **err)
{
	struct immure_pool_restore from = IMMURE_POOL_RESTORE_INIT;
	int32_t r = immure_pool_restore_open(o, &from, err);

	if (r == 0)
		r = start(from.plan, o, runtime, &from, pool, err);
	immure_pool_restore_done(&from);
	return r;
}

static int32_t connect_to(const char *name, const char *runtime, int *ret_fd, struct immure_error **err)
{
	struct immure_registry registry = IMMURE_REGISTRY_INIT;
	struct immure_entry entry = IMMURE_ENTRY_INIT;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	IMMURE_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct immure_status st;
	struct immure_error *why = NULL;
	int32_t r = immure_registry_open(runtime, false, &registry, &why);

	if (r == 0)
		r = immure_entry_find(&registry, name, &entry, &why);
	if (r == -IMMURE_ERR_NO_SESSION) /* in the words of pools */
		(void)immure_fail(err, IMMURE_ERR_NO_SESSION, ENOENT, "pool", name, "%s: no such pool", name);
	else if (r < 0 && err)
		*err = why, why = NULL;
	immure_error_free(why);
	if (r == 0 && (immure_entry_status(&entry, &st) < 0 || strcmp(st.state, "POOL") != 0))
		r = immure_fail(err, IMMURE_ERR_NO_SESSION, 0, "pool", name, "%s: is a session, not a pool",
				name);
	if (r == 0) {
		(void)immure_entry_socket(&entry, at.sun_path, sizeof(at.sun_path));
		if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
			r = immure_fail(err, IMMURE_ERR_STATE, errno, "pool", name, "%s: the pool has ended",
					name);
			if (err && *err)
				immure_error_set_hint(*err, "immure gc removes what is recorded of it");
		}
	}
	if (r == 0)
		*ret_fd = immure_take_fd(&fd);
	immure_entry_done(&entry);
	immure_registry_done(&registry);
	return r;
}

int32_t immure_pool_open(const immure_plan *plan, const struct immure_pool_options *options,
			 immure_pool **ret, immure_error **err)
{
	struct immure_arena arena = IMMURE_ARENA_INIT;
	immure_pool *pool = calloc(1, sizeof(*pool));
	struct immure_pool_options o;
	const char *runtime = NULL;
	int fd = -1;
	int32_t r = pool ? immure_options_copy(&o, sizeof(o), options, "pool", err)
			 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");

	if (r == 0 && (o.lifetime > IMMURE_LIFE_DETACHED || o.mode > IMMURE_POOL_ZYGOTE || o.reuse > 1 || o.reserved ||
		       (plan && o.policy) || (!plan && !o.policy && !o.snapshot && !o.name)))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "pool", "", "no such lifetime, mode or reuse, both a plan "
				"and a policy, or neither these nor a name");
	if (r == 0 && o.mode == IMMURE_POOL_ZYGOTE && o.policy)
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "pool", "policy", "a template has a workspace: it "
				"is made of a plan");
	if (r == 0 && (o.snapshot || o.resume) && (plan || o.policy || !o.snapshot))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "pool", "snapshot", "a snapshot comes with its policy: neither a "
				"plan nor a policy beside it, and what to resume it with beside it only");
	if (r == 0 && o.snapshot && (o.mode == IMMURE_POOL_ZYGOTE || o.reuse))
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "snapshot", "a pool whose sessions begin with a "
				"snapshot's files keeps sessions, and uses each once");
	if (r == 0)
		runtime = o.runtime_dir ? o.runtime_dir : immure_runtime_dir_of(&arena, o.env);
	if (r == 0 && !runtime)
		r = immure_fail(err, IMMURE_ERR_INVALID, ENOENT, "pool", "runtime_dir",
				"no place to register the pool: neither XDG_RUNTIME_DIR nor HOME is set");
	if (r == 0 && plan) {
		r = start(plan, &o, runtime, NULL, pool, err);
		pool->template = o.mode == IMMURE_POOL_ZYGOTE;
	} else if (r == 0 && o.snapshot) {
		r = start_restored(&o, runtime, pool, err);
	} else if (r == 0 && o.policy) {
		r = start_open(&o, runtime, pool, err);
	} else if (r == 0) {
		r = connect_to(o.name, runtime, &fd, err);
		if (r == 0)
			r = immure_link_new(&fd, &pool->link, err);
		pool->template = r == 0 && strcmp(pool->link->mode, "zygote") == 0;
		immure_close(&fd);
	}
	immure_arena_done(&arena);
	if (r < 0) {
		immure_pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

static int32_t usable(const immure_pool *pool, struct immure_error **err)
{
	if (!pool || pool->link->owner != getpid())
		return immure_fail(err, IMMURE_ERR_STATE, 0, "pool", "",
				   "this pool belongs to the process that opened it");
	return 0;
}

/* ---- acquiring ---- */

/* The answer brings the connection to the session, and a lane if it has one. */
static int32_t take(immure_pool *pool, const struct immure_link_ask *ask, int fds[2], immure_session *s,
		    struct immure_error **err)
{
	struct immure_link *l = pool->link;
	const struct immure_jsonr_value *root;
	const char *session;
	uint64_t wall;
	int32_t r = immure_link_answer_fds(l, ask, &root, fds, 2, err);

	if (r < 0)
		return r;
	session = immure_link_string(l, root, "session");
	wall = immure_link_uint(l, root, "timeout_ms");
	if (fds[0] < 0 || !session[0])
		return immure_fail(err, IMMURE_ERR_IO, EPROTO, "pool", "", "the holder's answer cannot be read");
	r = immure_link_adopt(&fds[0], &fds[1], session, &s->link, err);
	if (r == 0)
		s->link->wall_ms = wall;
	return r;
}

/* Once: what it is does not change. */
static int32_t ask_policy(immure_pool *pool, struct immure_error **err)
{
	const struct immure_jsonr_value *root, *open;
	struct immure_link_ask ask;
	int32_t r;

	if (pool->asked)
		return 0;
	immure_link_begin(pool->link, &ask, "policy");
	r = immure_link_request(pool->link, &ask, &root, NULL, err);
	if (r < 0)
		return r;
	open = immure_jsonr_get(&pool->link->json, root, "open");
	pool->open = open && open->integer;
	pool->asked = true;
	return !pool->open ? 0
			   : immure_pool_policy_take(pool->link, immure_jsonr_get(&pool->link->json, root, "policy"),
						     &pool->policy, err);
}

/* What is sent to the session; while the holder looks for one. */
static int32_t seal(const struct immure_plan *plan, int *ret_fd, struct immure_error **err)
{
	IMMURE_CLEANUP_FREE void *data = NULL;
	size_t len = 0;
	int32_t r = immure_plan_seal_bytes(plan, &data, &len, err);

	if (r < 0)
		return r;
	*ret_fd = immure_memfd_of("immure-plan", data, len);
	return *ret_fd >= 0 ? 0 : immure_fail(err, IMMURE_ERR_IO, -*ret_fd, "pool", "", "no descriptor for the plan");
}

/* ---- secrets ---- */

enum { SECRETS = 7 }; /* a request brings eight descriptors */

struct brought {
	uint64_t number[SECRETS];
	int fd[1 + SECRETS]; /* the first is the plan's */
	size_t n;
	bool any; /* something of the plan has to be made for this caller */
};

static const char *value_of(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* What only we have. It goes to the session's supervisor and no further than to who ends TLS. */
static int32_t bring(const struct immure_plan *plan, const char *const *env, struct brought *b,
		     struct immure_error **err)
{
	b->any = immure_plan_find(plan, IMMURE_OP_INTERCEPT) != NULL;
	for (size_t i = 0; i < plan->ops_n; i++) {
		const struct immure_op *op = &plan->ops[i];
		const char *value;

		if (op->kind != IMMURE_OP_SECRET || strncmp(op->dst, "env:", 4) != 0)
			continue;
		value = value_of(env, op->dst + 4);
		if (!value || b->n == SECRETS)
			return immure_fail(err, IMMURE_ERR_POLICY, value ? E2BIG : ENOENT, "pool", "secrets",
					   "%s: %s", op->dst, value ? "at most 7 secrets from variables come to a "
					   "session of a pool" : "there is no such variable in the caller's environment");
		b->fd[1 + b->n] = immure_memfd_of("immure-secret", value, strlen(value));
		if (b->fd[1 + b->n] < 0)
			return immure_fail(err, IMMURE_ERR_IO, -b->fd[1 + b->n], "pool", "secrets", "no descriptor");
		b->number[b->n++] = op->num[0];
	}
	return 0;
}

/* The session becomes what the plan says, and only then is the caller's. */
static int32_t become(struct immure_link *l, const struct brought *b, const struct immure_acquire_options *o,
		      struct immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r;

	immure_link_begin(l, &ask, "take");
	immure_jsonw_object(&ask.w, "plan");
	immure_jsonw_uint(&ask.w, "fd", 0);
	immure_jsonw_end(&ask.w, '}');
	r = immure_link_put_labels(&ask, o->labels, err);
	if (r < 0) {
		immure_buf_done(&ask.text);
		return r;
	}
	immure_jsonw_bool(&ask.w, "lane", true);
	if (o->plan->carried)
		immure_jsonw_str(&ask.w, "policy", o->plan->carried);
	if (b->any)
		immure_jsonw_array(&ask.w, "secrets");
	for (size_t i = 0; i < b->n; i++)
		immure_jsonw_uint(&ask.w, NULL, b->number[i]);
	if (b->any)
		immure_jsonw_end(&ask.w, ']');
	r = immure_link_send(l, &ask, b->fd, 1 + b->n, err);
	if (r == 0)
		r = immure_link_answer(l, &ask, &root, &l->lane_fd, err);
	if (r == 0 && l->lane_fd >= 0) {
		l->lane_tried = true;
		l->wall_ms = immure_link_uint(l, root, "timeout_ms");
	}
	return r;
}

/* For sessions that wait for a workspace: the caller's plan, own or made here. */
static int32_t plan_for(immure_pool *pool, struct immure_acquire_options *o, immure_plan **ret_made,
			struct immure_error **err)
{
	int32_t r = ask_policy(pool, err);

	if (r < 0)
		return r;
	if (!pool->open)
		return o->policy || o->settings_n || o->labels
			       ? immure_fail(err, IMMURE_ERR_POLICY, 0, "pool", "workspace", "the sessions of this "
					     "pool have their workspace: they take a plan, and nothing else")
			       : 0;
	if (o->plan)
		return immure_plan_startable(o->plan, err);
	r = immure_pool_plan_for(&pool->policy, o, ret_made, err);
	o->plan = *ret_made;
	return r;
}

static int32_t ask_acquire(immure_pool *pool, const struct immure_acquire_options *o,
			   struct immure_link_ask *ask, struct immure_error **err)
{
	const char *workspace = o->workspace ? o->workspace : o->plan ? o->plan->workspace : NULL;

	immure_link_begin(pool->link, ask, "acquire");
	if (o->plan)
		immure_jsonw_str(&ask->w, "policy_version", o->plan->policy_version);
	if (workspace)
		immure_jsonw_str(&ask->w, "workspace", workspace);
	if (o->owner)
		immure_jsonw_str(&ask->w, "owner", o->owner);
	if (o->wait_ms)
		immure_jsonw_uint(&ask->w, "wait_ms", o->wait_ms);
	return immure_link_send(pool->link, ask, NULL, 0, err);
}

int32_t immure_pool_acquire(immure_pool *pool, const struct immure_acquire_options *options,
			    immure_session **ret, immure_error **err)
{
	struct immure_acquire_options o = { .size = sizeof(o) };
	immure_session *s = calloc(1, sizeof(*s));
	struct immure_link_ask ask;
	immure_plan *made = NULL;
	struct brought b = { .n = 0 };
	int fds[2] = { -1, -1 };
	int32_t sealed = 0, r = s ? usable(pool, err) : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "",
							"out of memory");

	if (r == 0 && pool->template)
		r = immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", "mode", "this pool makes a sandbox for "
				"each command: there is no session to be had");
	if (r == 0 && options)
		r = immure_options_copy(&o, sizeof(o), options, "acquire", err);
	if (r == 0)
		r = plan_for(pool, &o, &made, err);
	b.fd[0] = -1;
	if (r == 0 && pool->open)
		r = bring(o.plan, o.env, &b, err);
	if (r == 0)
		r = ask_acquire(pool, &o, &ask, err);
	if (r == 0) {
		if (pool->open)
			sealed = seal(o.plan, &b.fd[0], err);
		/* In any case: the answer brings something that is to be given back. */
		r = take(pool, &ask, fds, s, sealed < 0 ? NULL : err);
		r = sealed < 0 ? sealed : r;
	}
	if (r == 0 && pool->open)
		r = become(s->link, &b, &o, err);
	immure_plan_free(made);
	immure_close(&b.fd[0]);
	immure_close_all(&b.fd[1], b.n);
	immure_close(&fds[0]);
	immure_close(&fds[1]);
	if (r < 0) {
		if (s && s->link) /* given, and not to be had: it ends with this */
			immure_link_free(s->link);
		free(s);
		return r;
	}
	s->kind = IMMURE_SESSION_SERVED;
	s->owner = getpid();
	s->control_fd = s->pid = -1;
	*ret = s;
	return 0;
}

void immure_pool_release(immure_pool *pool, immure_session *session)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	char id[IMMURE_ID_LEN + 1];

	(void)snprintf(id, sizeof(id), "%s", session ? immure_session_id(session) : "");
	immure_session_free(session);
	if (!id[0] || usable(pool, NULL) < 0)
		return;
	/* Its holder sees the end of the session by itself, but not at once. */
	immure_link_begin(pool->link, &ask, "release");
	immure_jsonw_str(&ask.w, "session", id);
	(void)immure_link_request(pool->link, &ask, &root, NULL, NULL);
}

/* ---- asking ---- */

int32_t immure_pool_warm(immure_pool *pool, uint32_t target, immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r = usable(pool, err);

	if (r < 0)
		return r;
	immure_link_begin(pool->link, &ask, "warm");
	immure_jsonw_uint(&ask.w, "target", target);
	r = immure_link_request(pool->link, &ask, &root, NULL, err);
	return r < 0 ? r : (int32_t)immure_link_uint(pool->link, root, "inserted");
}

static int32_t ask_text(immure_pool *pool, const char *op, char **ret_json, struct immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r = usable(pool, err);

	if (r < 0)
		return r;
	immure_link_begin(pool->link, &ask, op);
	r = immure_link_request(pool->link, &ask, &root, NULL, err);
	if (r < 0)
		return r;
	*ret_json = immure_link_text(pool->link, root);
	return *ret_json ? 0 : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "pool", "", "out of memory");
}

int32_t immure_pool_stats(immure_pool *pool, char **ret_json, immure_error **err)
{
	return ask_text(pool, "stats", ret_json, err);
}

int32_t immure_pool_list(immure_pool *pool, char **ret_json, immure_error **err)
{
	return ask_text(pool, "list", ret_json, err);
}

int32_t immure_pool_stop(immure_pool *pool, int32_t force, immure_error **err)
{
	struct immure_link_ask ask;
	int32_t r = usable(pool, err);

	if (r < 0)
		return r;
	immure_link_begin(pool->link, &ask, "stop");
	immure_jsonw_bool(&ask.w, "force", force);
	r = immure_link_request(pool->link, &ask, NULL, NULL, err);
	/* Its end of the line is the last thing it closes. */
	while (r == 0 && !pool->link->ended)
		r = immure_link_read(pool->link, true, err);
	return r;
}

void immure_pool_free(immure_pool *pool)
{
	bool ours = pool && pool->link && pool->link->owner == getpid();

	if (!pool)
		return;
	if (pool->link)
		immure_link_free(pool->link);
	if (ours)
		immure_reap(&pool->pid);
	immure_arena_done(&pool->policy.arena);
	free(pool);
}
