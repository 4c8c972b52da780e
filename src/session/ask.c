/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: one JSON object a packet, checked before anything is done: its keys
 * against the table here, its moment against the permit table (states.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "session/handover.h"
#include "session/serve.h"
#include "session/snapshot.h"

static int32_t hello(struct immure_ask *a);
static int32_t create(struct immure_ask *a);
static int32_t stop(struct immure_ask *a);
static int32_t root(struct immure_ask *a);

/* keys: those that the request may have besides "id", "op" and "params". */
static const struct {
	int32_t (*fn)(struct immure_ask *a);
	const char *keys;
} handlers[IMMURE_REQ_MAX] = {
	[IMMURE_REQ_HELLO] = { hello, " protocol client " },
	[IMMURE_REQ_CREATE] = { create, " runtime name labels lifetime idle_ms life_ms on_idle remove root reuse "
			  "policy restore " },
	[IMMURE_REQ_LEND] = { immure_reuse_lend, " " },
	[IMMURE_REQ_TAKE] = { immure_take, " plan labels lane policy secrets " },
	[IMMURE_REQ_EXEC] = { immure_task_exec, " argv cwd env clear_env stdin stdout stderr pty timeout_ms "
			      "grace_ms limits key capture capture_max detach follow approval " },
	[IMMURE_REQ_ATTACH] = { immure_stream_attach, " exec replay blocking " },
	[IMMURE_REQ_INPUT] = { immure_task_input, " exec data eof " },
	[IMMURE_REQ_RESIZE] = { immure_task_resize, " exec rows cols " },
	[IMMURE_REQ_SIGNAL] = { immure_task_signal, " exec signal target " },
	[IMMURE_REQ_WAIT] = { immure_task_wait, " exec " },
	[IMMURE_REQ_EXECS] = { immure_task_list, " " },
	[IMMURE_REQ_OUTPUT] = { immure_stream_output, " exec stream cursor " },
	[IMMURE_REQ_FORGET] = { immure_task_forget, " exec " },
	[IMMURE_REQ_INSPECT] = { immure_life_inspect, " " },
	[IMMURE_REQ_STATS] = { immure_life_stats, " " },
	[IMMURE_REQ_FREEZE] = { immure_life_freeze, " " },
	[IMMURE_REQ_THAW] = { immure_life_thaw, " " },
	[IMMURE_REQ_LIMITS] = { immure_life_limits, " memory processes cpus " },
	[IMMURE_REQ_LEASE] = { immure_life_lease, " idle_ms life_ms on_idle " },
	[IMMURE_REQ_DETACH] = { immure_handover_detach, " ticket valid_ms " },
	[IMMURE_REQ_LANE] = { immure_life_lane, " " },
	[IMMURE_REQ_ROOT] = { root, " " },
	[IMMURE_REQ_FILE] = { immure_inside_ask, " do path to flags mode " },
	[IMMURE_REQ_MOUNT] = { immure_attach_mount, " source target mode " },
	[IMMURE_REQ_UNMOUNT] = { immure_attach_unmount, " target " },
	[IMMURE_REQ_TIGHTEN] = { immure_tighten, " deny read_only " },
	[IMMURE_REQ_PROOF] = { immure_prove_tell, " " },
	[IMMURE_REQ_NET] = { immure_net_rules, " allow deny follow from replace " },
	[IMMURE_REQ_SNAPSHOT] = { immure_snapshot_ask, " file path " },
	[IMMURE_REQ_STOP] = { stop, " grace_ms remove " },
};

/* ---- arguments ---- */

int32_t immure_ask_fail(struct immure_ask *a, int32_t code, int errnum, const char *subject,
			const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return immure_fail(&a->err, code, errnum, immure_request_name(a->what), subject, "%s", text);
}

static int32_t wrong_type(struct immure_ask *a, const char *key, const char *want)
{
	return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is %s", key, want);
}

int32_t immure_arg_string(struct immure_ask *a, const char *key, const char **ret)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, key);

	if (!v || v->type == IMMURE_JSON_NULL)
		return 0;
	if (v->type != IMMURE_JSON_STRING)
		return wrong_type(a, key, "a string");
	*ret = v->text;
	return 0;
}

int32_t immure_arg_uint(struct immure_ask *a, const char *key, uint64_t max, uint64_t *ret)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, key);

	if (!v || v->type == IMMURE_JSON_NULL)
		return 0;
	if (v->type != IMMURE_JSON_INTEGER || v->integer < 0 || (uint64_t)v->integer > max)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is a whole number, at most %llu",
				       key, (unsigned long long)max);
	*ret = (uint64_t)v->integer;
	return 0;
}

int32_t immure_arg_bool(struct immure_ask *a, const char *key, bool *ret)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, key);

	if (!v || v->type == IMMURE_JSON_NULL)
		return 0;
	if (v->type != IMMURE_JSON_BOOL)
		return wrong_type(a, key, "true or false");
	*ret = v->integer;
	return 0;
}

int32_t immure_arg_fd(struct immure_ask *a, const struct immure_jsonr_value *v, int *ret)
{
	const struct immure_jsonr_value *n = immure_jsonr_get(&a->json, v, "fd");

	if (!n || n->type != IMMURE_JSON_INTEGER || n->integer < 0 || (uint64_t)n->integer >= a->fds_n)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, EBADF, v && v->key ? v->key : "fd",
				       "{\"fd\":N} counts the descriptors of the message, from 0");
	*ret = a->fds[n->integer];
	return 0;
}

/* ---- answers ---- */

void immure_answer_send(struct immure_server *s, struct immure_client *c, struct immure_jsonw *w,
			const int *fds, size_t fds_n)
{
	immure_jsonw_end(w, '}');
	if (!immure_buf_ok(w->out) || w->out->len > IMMURE_SERVE_PACKET)
		immure_client_drop(s, c);
	else
		immure_client_send(s, c, w->out->data, w->out->len, fds, fds_n);
	immure_buf_done(w->out);
}

void immure_answer_ok(struct immure_server *s, struct immure_client *c, uint64_t id)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_begin(&w, &b, id);
	immure_answer_send(s, c, &w, NULL, 0);
}

void immure_answer_error(struct immure_server *s, struct immure_client *c, uint64_t id,
			 const struct immure_error *err)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	immure_answer_refusal(&w, &b, id, err);
	immure_answer_send(s, c, &w, NULL, 0);
}

/* ---- taking a request ---- */

static int32_t check_keys(struct immure_ask *a)
{
	const char *keys = handlers[a->what].keys;
	const struct immure_jsonr_value *v;

	for (v = immure_jsonr_first(&a->json, a->root); v; v = immure_jsonr_after(&a->json, a->root, v)) {
		char spaced[40];
		int n = snprintf(spaced, sizeof(spaced), " %s ", v->key);

		if (strcmp(v->key, "id") == 0 || strcmp(v->key, "op") == 0)
			continue;
		if (n < 0 || (size_t)n >= sizeof(spaced) || strchr(v->key, ' ') || !strstr(keys, spaced))
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "", "%.40s: no such argument of %s",
					       v->key, immure_request_name(a->what));
	}
	return 0;
}

static int32_t parse(struct immure_ask *a, char *text, size_t len)
{
	int r = immure_jsonr_parse(&a->json, text, len, a->s->values, IMMURE_SERVE_VALUES);

	if (r < 0)
		return immure_fail(&a->err, IMMURE_ERR_INVALID, 0, "protocol", "",
				   "not a request: %s at byte %zu",
				   r == -E2BIG ? "too many values" : a->json.why, a->json.at);
	a->root = &a->json.v[0];
	if (a->root->type != IMMURE_JSON_OBJECT)
		return immure_fail(&a->err, IMMURE_ERR_INVALID, 0, "protocol", "",
				   "a request is an object");
	return 0;
}

static int32_t head(struct immure_ask *a)
{
	const char *op = NULL;
	int32_t r = immure_arg_uint(a, "id", INT64_MAX, &a->id);

	if (r == 0)
		r = immure_arg_string(a, "op", &op);
	if (r < 0)
		return r;
	if (!op)
		return immure_fail(&a->err, IMMURE_ERR_INVALID, 0, "protocol", "op", "a request has an op");
	a->what = immure_request_by_name(op);
	if (a->what == IMMURE_REQ_MAX || !handlers[a->what].fn)
		return immure_fail(&a->err, IMMURE_ERR_UNSUPPORTED, 0, "protocol", "op",
				   "%.40s: no such request", op);
	if (!a->c->hello && a->what != IMMURE_REQ_HELLO)
		return immure_fail(&a->err, IMMURE_ERR_STATE, 0, "protocol", "op", "hello comes first");
	return 0;
}

/* {"id":N,"op":"..","params":{"fd":0}}: the whole request, with more room, is in a
 * file in memory. Reading one of those never waits. */
static int32_t take_params(struct immure_ask *a, char **ret_text)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "params");
	size_t len = 0;
	int fd, r;

	if (!v)
		return 0;
	if (immure_arg_fd(a, v, &fd) < 0)
		return -IMMURE_ERR_INVALID;
	if (fcntl(fd, 1034 /* F_GET_SEALS */) < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, errno, "params", "params is a memfd");
	r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : immure_read_all(fd, IMMURE_SERVE_PARAMS, ret_text, &len);
	if (r < 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, -r, "params", "params: %s", strerror(-r));
	r = parse(a, *ret_text, len);
	return r < 0 ? r : head(a); /* what counts is in there, the id as well */
}

static int32_t permit(struct immure_ask *a, bool *ret_done)
{
	enum immure_permit p;

	if (a->c->spare && !immure_request_is_spare(a->what))
		return immure_ask_fail(a, IMMURE_ERR_STATE, EAGAIN, "", "%d connections are busy with this "
				       "session; this one may look, signal, thaw and stop",
				       IMMURE_SERVE_CLIENTS);
	if (immure_snapshot_busy(a) < 0)
		return -IMMURE_ERR_STATE;
	if ((a->what == IMMURE_REQ_EXEC || a->what == IMMURE_REQ_FILE) && a->s->state == IMMURE_STATE_FROZEN) {
		int32_t r = immure_life_wake(a);

		if (r < 0)
			return r;
	}
	p = immure_permit(a->what, a->s->state);
	*ret_done = p == IMMURE_PERMIT_DONE;
	if (p == IMMURE_PERMIT_NO)
		return immure_ask_fail(a, IMMURE_ERR_STATE, 0, immure_state_name(a->s->state),
				       "the session is %s", immure_state_name(a->s->state));
	return 0;
}

static void take(struct immure_ask *a, char *text, size_t len)
{
	IMMURE_CLEANUP_FREE char *params = NULL;
	bool done = false, garbage;
	int32_t r = parse(a, text, len);

	garbage = r < 0;
	if (r == 0)
		r = head(a);
	if (r == 0)
		r = take_params(a, &params);
	if (r == 0)
		r = check_keys(a);
	if (r == 0)
		r = permit(a, &done);
	if (a->what < IMMURE_REQ_MAX) /* refused or not: it was read */
		immure_reuse_asked(a->s, a->c, (int)a->what);
	if (r == 0 && done)
		immure_answer_ok(a->s, a->c, a->id);
	else if (r == 0)
		r = handlers[a->what].fn(a);
	if (r < 0)
		immure_answer_error(a->s, a->c, a->id, a->err);
	immure_error_free(a->err);
	immure_arena_done(&a->arena);
	/* Who has never spoken JSON is not worth another packet. */
	if (garbage && !a->c->hello)
		immure_client_drop(a->s, a->c);
}

void immure_ask_take(struct immure_server *s, struct immure_client *c, char *text, size_t len, int *fds,
		     size_t fds_n)
{
	struct immure_ask a = { .s = s, .c = c, .what = IMMURE_REQ_MAX, .fds = fds, .fds_n = fds_n };
	IMMURE_CLEANUP_FREE char *raw = NULL;

	c->asked_ms = immure_server_ms();
	/* Reading changes it, and what is put aside is read again. */
	if (immure_plan_find(s->plan, IMMURE_OP_MEDIATOR)) {
		raw = malloc(len + 1);
		if (!raw) {
			immure_client_drop(s, c);
			return;
		}
		memcpy(raw, text, len);
		a.raw = raw;
		a.raw_len = len;
	}
	take(&a, text, len);
}

void immure_ask_again(struct immure_server *s, struct immure_client *c, char *text, size_t len, int *fds,
		      size_t fds_n)
{
	struct immure_ask a = { .s = s, .c = c, .what = IMMURE_REQ_MAX, .fds = fds, .fds_n = fds_n,
				.allowed = true };

	take(&a, text, len);
}

/* ---- the small ones ---- */

static int32_t hello(struct immure_ask *a)
{
	uint64_t protocol = IMMURE_SERVE_PROTOCOL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	int32_t r = immure_arg_uint(a, "protocol", INT32_MAX, &protocol);

	if (r < 0)
		return r;
	if (protocol != IMMURE_SERVE_PROTOCOL)
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "protocol",
				       "this session speaks protocol %d", IMMURE_SERVE_PROTOCOL);
	a->c->hello = true;
	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_uint(&w, "protocol", IMMURE_SERVE_PROTOCOL);
	immure_jsonw_str(&w, "immure", IMMURE_VERSION);
	immure_jsonw_str(&w, "session", a->s->entry.id);
	immure_jsonw_str(&w, "state", immure_state_name(a->s->state));
	immure_answer_send(a->s, a->c, &w, NULL, 0);
	return 0;
}

static int32_t create(struct immure_ask *a)
{
	return immure_server_create(a->s, a);
}

static int32_t stop(struct immure_ask *a)
{
	uint64_t grace = 2000;
	bool gone = a->s->remove;
	int32_t r = immure_arg_uint(a, "grace_ms", 3600000, &grace);

	if (r == 0)
		r = immure_arg_bool(a, "remove", &gone);
	if (r < 0)
		return r;
	a->s->remove = gone;
	immure_answer_ok(a->s, a->c, a->id); /* the end of the connection says the rest */
	immure_server_stop(a->s, grace, "stop");
	return 0;
}

static int32_t root(struct immure_ask *a)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	if (immure_plan_is_bare(a->s->plan)) {
		immure_answer_begin(&w, &b, a->id);
		immure_jsonw_str(&w, "cwd", a->s->plan->cwd);
		immure_jsonw_bool(&w, "inside", true); /* files are asked for one by one */
		immure_answer_send(a->s, a->c, &w, NULL, 0);
		return 0;
	}
	if (a->s->handle[IMMURE_HANDLE_ROOT] < 0 || !immure_plan_find(a->s->plan, IMMURE_OP_PIVOT))
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "",
				       "this session has no view of files of its own");
	immure_answer_begin(&w, &b, a->id);
	immure_jsonw_str(&w, "cwd", a->s->plan->cwd);
	immure_answer_send(a->s, a->c, &w, &a->s->handle[IMMURE_HANDLE_ROOT], 1);
	return 0;
}
