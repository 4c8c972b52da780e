/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that run many commands: made, and reached by name. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel/sys.h"
#include "lib/options.h"
#include "lib/session.h"
#include "plan/plan.h"
#include "session/control.h"
#include "session/many.h"
#include "session/registry.h"

enum { FLAGS = IMMURE_SESSION_IDLE_STOPS | IMMURE_SESSION_REMOVE | IMMURE_SESSION_PROVE };
enum { LIST_MAX = 1 << 20 };
enum { REFUSED_MS = 2000 }; /* for the end of a server that refused its start */
enum { OVERTAKEN_MOST = 3 }; /* so often one start may be, as a run's */

int32_t immure_session_options_take(struct immure_session_options *to,
				    const struct immure_session_options *from, struct immure_error **err)
{
	int32_t r = immure_options_copy(to, sizeof(*to), from, "session", err);

	if (r == 0 && (to->flags & ~(uint32_t)FLAGS || to->lifetime > IMMURE_LIFE_LEASED))
		r = immure_fail(err, IMMURE_ERR_INVALID, 0, "api", "flags", "unknown flags or lifetime");
	return r;
}

/* ---- making ---- */

static int32_t spawn_server(const struct immure_session_options *o, bool many, int plan_fd, int theirs,
			    pid_t *ret_pid, struct immure_error **err)
{
	const char *argv[10] = { "immure", "supervise", "--session", "--plan-fd", "3", "--control-fd", "4" };
	int fds[5] = { -1, -1, -1, plan_fd, theirs }, up[5] = { -1, -1, -1, -1, -1 }, e = 0, n = 7;

	if (many)
		argv[n++] = "--many";
	else if (o->lifetime != IMMURE_LIFE_CALLER)
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

/* count 0: one of that name; else as many, of names that begin with it. */
static int32_t begin_create(struct immure_link *l, struct immure_link_ask *ask, const immure_plan *plan,
			    const struct immure_session_options *o, const char *runtime, uint32_t count,
			    struct immure_error **err)
{
	static const char *const lifetimes[] = { "caller", "detached", "leased" };
	int32_t r;

	immure_link_begin(l, ask, "create");
	if (count)
		immure_jsonw_uint(&ask->w, "count", count);
	immure_jsonw_str(&ask->w, "runtime", runtime);
	if (o->name)
		immure_jsonw_str(&ask->w, "name", o->name);
	immure_jsonw_str(&ask->w, "lifetime", lifetimes[o->lifetime]);
	immure_jsonw_uint(&ask->w, "idle_ms", o->idle_ms);
	immure_jsonw_uint(&ask->w, "life_ms", o->life_ms);
	immure_jsonw_str(&ask->w, "on_idle", o->flags & IMMURE_SESSION_IDLE_STOPS ? "stop" : "suspend");
	immure_jsonw_bool(&ask->w, "remove", o->flags & IMMURE_SESSION_REMOVE);
	if (plan->carried)
		immure_jsonw_str(&ask->w, "policy", plan->carried);
	r = immure_link_put_labels(ask, o->labels, err);
	if (r < 0)
		immure_buf_done(&ask->text);
	return r;
}

static int32_t ask_create(struct immure_link *l, const immure_plan *plan, const struct immure_session_options *o,
			  const char *runtime, int restore_fd, struct immure_error **err)
{
	const struct immure_jsonr_value *root;
	struct immure_link_ask ask;
	int32_t r = begin_create(l, &ask, plan, o, runtime, 0, err);

	if (r == 0 && restore_fd >= 0) {
		immure_jsonw_object(&ask.w, "restore");
		immure_jsonw_uint(&ask.w, "fd", 0);
		immure_jsonw_end(&ask.w, '}');
	}
	if (r == 0)
		r = immure_link_send(l, &ask, &restore_fd, restore_fd >= 0, err);
	if (r == 0)
		r = immure_link_answer(l, &ask, &root, NULL, err);
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
	r = spawn_server(o, false, plan_fd, pair[1], &s->pid, err);
	immure_close(&pair[1]);
	if (r == 0 && o->lifetime != IMMURE_LIFE_CALLER)
		immure_reap(&s->pid); /* it went on in a child of its own at once */
	if (r == 0)
		r = immure_link_new(&ours, &s->link, err);
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

/* What may be made, where it is registered, and the plan in a descriptor. */
static int32_t begin(const immure_plan *plan, const struct immure_session_options *o,
		     struct immure_arena *arena, const char **ret_runtime, int *ret_plan_fd,
		     struct immure_error **err)
{
	void *sealed = NULL;
	size_t len = 0;
	int32_t r = immure_plan_startable(plan, err);

	if (r < 0)
		return r;
	*ret_runtime = o->runtime_dir ? o->runtime_dir : immure_runtime_dir_of(arena, o->env);
	if (!*ret_runtime)
		return immure_fail(err, IMMURE_ERR_INVALID, ENOENT, "session", "runtime_dir",
				   "no place to register the session: neither XDG_RUNTIME_DIR nor HOME is set");
	r = immure_plan_seal_bytes(plan, &sealed, &len, err);
	if (r < 0)
		return r;
	*ret_plan_fd = immure_memfd_of("immure-plan", sealed, len);
	free(sealed);
	return *ret_plan_fd >= 0 ? 0 : immure_fail(err, IMMURE_ERR_LAUNCH, -*ret_plan_fd, "session", "",
						   "memfd: %s", strerror(-*ret_plan_fd));
}

static int32_t create_once(const immure_plan *plan, const struct immure_session_options *options,
			   int restore_fd, immure_session **ret, immure_error **err)
{
	struct immure_session_options o;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	IMMURE_CLEANUP_FD int plan_fd = -1;
	struct immure_session *s = calloc(1, sizeof(*s));
	const char *runtime = NULL;
	int32_t r = s ? immure_session_options_take(&o, options, err)
		      : immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "session", "", "out of memory");

	if (s) { /* a refusal frees it: nothing in it may be anybody's descriptor 0 */
		s->kind = IMMURE_SESSION_SERVED;
		s->owner = getpid();
		s->control_fd = s->pid = -1;
	}
	if (r == 0)
		r = begin(plan, &o, &arena, &runtime, &plan_fd, err);
	if (r == 0)
		r = connect_server(&o, plan_fd, s, err);
	if (r == 0)
		r = ask_create(s->link, plan, &o, runtime, restore_fd, err);
	if ((r == -IMMURE_ERR_LAUNCH || (r < 0 && restore_fd >= 0)) && s->link)
		await_end(s->link);
	immure_arena_done(&arena);
	if (r < 0) {
		immure_session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* A program of the host replaced a file just when the place was made of the old one: init
 * saw it while it set up, so nothing is there. */
static bool was_overtaken(const struct immure_error *err)
{
	return immure_error_code(err) == IMMURE_ERR_LAUNCH && immure_error_errno(err) == ESTALE;
}

int32_t immure_session_create(const immure_plan *plan, const struct immure_session_options *options,
			      immure_session **ret, immure_error **err)
{
	return immure_session_make(plan, options, -1, ret, err);
}

int32_t immure_session_make(const immure_plan *plan, const struct immure_session_options *options,
			    int restore_fd, immure_session **ret, struct immure_error **err)
{
	for (int i = 1;; i++) {
		struct immure_error *why = NULL;
		int32_t r = create_once(plan, options, restore_fd, ret, &why);

		if (r < 0 && i < OVERTAKEN_MOST && was_overtaken(why)) {
			immure_error_free(why);
			continue;
		}
		if (r < 0 && err)
			*err = why;
		else
			immure_error_free(why);
		return r;
	}
}

/* ---- many at once ---- */

/* The maker ends when it has answered, and all that it could not finish has ended before. */
static int32_t ask_maker(const immure_plan *plan, const struct immure_session_options *o, int plan_fd, const char *runtime,
			 uint32_t count, int *ret_list, struct immure_error **err)
{
	IMMURE_CLEANUP_FD int ours = -1;
	struct immure_link *l = NULL;
	struct immure_link_ask ask;
	int pair[2], no_lane = -1;
	pid_t pid = -1;
	int32_t r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return immure_fail(err, IMMURE_ERR_LAUNCH, errno, "session", "", "socketpair: %s",
				   strerror(errno));
	ours = pair[0];
	r = spawn_server(o, true, plan_fd, pair[1], &pid, err);
	immure_close(&pair[1]);
	if (r == 0)
		r = immure_link_adopt(&ours, &no_lane, "", &l, err);
	if (r == 0)
		r = begin_create(l, &ask, plan, o, runtime, count, err);
	if (r == 0)
		r = immure_link_request(l, &ask, NULL, ret_list, err);
	if (l)
		immure_link_free(l);
	immure_close(&ours);
	immure_reap(&pid);
	return r;
}

int32_t immure_session_create_many(const immure_plan *plan, const struct immure_session_options *options,
				   uint32_t count, char **ret_json, immure_error **err)
{
	struct immure_session_options o;
	struct immure_arena arena = IMMURE_ARENA_INIT;
	IMMURE_CLEANUP_FD int plan_fd = -1, list = -1;
	const char *runtime = NULL;
	size_t len = 0;
	int32_t r = immure_session_options_take(&o, options, err);
	int e;

	if (r == 0 && (count < 1 || count > IMMURE_MANY_MAX || o.lifetime == IMMURE_LIFE_CALLER || !ret_json))
		r = immure_fail(err, IMMURE_ERR_INVALID, ERANGE, "session", "count", "from 1 to %d sessions at "
				"once, which outlive who asks for them (detached or leased)", IMMURE_MANY_MAX);
	if (r == 0)
		r = begin(plan, &o, &arena, &runtime, &plan_fd, err);
	if (r == 0)
		r = ask_maker(plan, &o, plan_fd, runtime, count, &list, err);
	immure_arena_done(&arena);
	if (r < 0)
		return r;
	e = lseek(list, 0, SEEK_SET) < 0 ? -errno : immure_read_all(list, LIST_MAX, ret_json, &len);
	return e < 0 ? immure_fail(err, IMMURE_ERR_IO, -e, "session", "", "the list of sessions cannot be read: %s",
				   strerror(-e)) : 0;
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
	int32_t r = immure_session_options_take(&o, options, err);

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
