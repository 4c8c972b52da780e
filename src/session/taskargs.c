/* SPDX-License-Identifier: Apache-2.0 */
#include "session/taskargs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "base/base64.h"
#include "base/fd.h"
#include "session/control.h"
#include "session/supervise.h"

enum { CAPTURE_DEFAULT = 64 << 10, KEY_MAX = 128 };

static int32_t oom(struct immure_ask *a)
{
	return immure_ask_fail(a, IMMURE_ERR_NOMEM, ENOMEM, "", "out of memory");
}

/* A list of strings, NULL-terminated; none of them has a NUL (jsonr.h). */
static int32_t strings(struct immure_ask *a, const struct immure_jsonr_value *list, const char *key,
		       const char *const **ret)
{
	const char **v = immure_arena_alloc(&a->arena, ((size_t)list->size + 1) * sizeof(*v));
	const struct immure_jsonr_value *e = immure_jsonr_first(&a->json, list);
	size_t n = 0;

	if (!v)
		return oom(a);
	for (; e; e = immure_jsonr_after(&a->json, list, e)) {
		if (e->type != IMMURE_JSON_STRING)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, key, "%s is a list of strings", key);
		v[n++] = e->text;
	}
	*ret = v;
	return 0;
}

static int32_t take_argv(struct immure_ask *a, struct immure_task_args *t)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "argv");

	if (!v || v->type != IMMURE_JSON_ARRAY || v->size == 0)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "argv", "argv is a list with a command");
	return strings(a, v, "argv", &t->spec.argv);
}

static int32_t take_env(struct immure_ask *a, struct immure_task_args *t)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "env"), *e;
	bool clear = false;
	int32_t r = immure_arg_bool(a, "clear_env", &clear);
	const char **env;
	size_t n = 0;

	if (r < 0 || !v || v->type == IMMURE_JSON_NULL)
		return r;
	if (clear)
		t->spec.head.flags |= IMMURE_RUNF_CLEAR_ENV;
	if (v->type == IMMURE_JSON_ARRAY)
		return strings(a, v, "env", &t->spec.env);
	if (v->type != IMMURE_JSON_OBJECT)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "env", "env is an object of strings");
	env = immure_arena_alloc(&a->arena, ((size_t)v->size + 1) * sizeof(*env));
	for (e = immure_jsonr_first(&a->json, v); e && env; e = immure_jsonr_after(&a->json, v, e)) {
		if (e->type != IMMURE_JSON_STRING || !e->key[0] || strchr(e->key, '='))
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "env", "env is an object of strings");
		env[n++] = immure_arena_printf(&a->arena, "%s=%s", e->key, e->text);
	}
	t->spec.env = env;
	return env && !a->arena.failed ? 0 : oom(a);
}

/* "null", "stream", {"fd":N}; stdin also {"data":B64}, stderr also "stdout". */
static int32_t take_stream(struct immure_ask *a, int which, struct immure_task_args *t)
{
	static const char *const keys[] = { "stdin", "stdout", "stderr" };
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, keys[which]), *data;

	t->spec.stdio[which] = -1;
	t->streamed[which] = which > 0 && !v;
	if (!v)
		return 0;
	if (v->type == IMMURE_JSON_STRING && strcmp(v->text, "null") == 0)
		return 0;
	if (v->type == IMMURE_JSON_STRING && strcmp(v->text, "stream") == 0) {
		t->streamed[which] = true;
		return 0;
	}
	if (which == 2 && v->type == IMMURE_JSON_STRING && strcmp(v->text, "stdout") == 0) {
		t->merge = true;
		return 0;
	}
	data = which == 0 ? immure_jsonr_get(&a->json, v, "data") : NULL;
	if (data && data->type == IMMURE_JSON_STRING) {
		long n = immure_base64_decode((char *)(uintptr_t)data->text, data->len);

		if (n < 0)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "stdin", "data is base 64");
		t->data_len = (size_t)n;
		t->data_fd = immure_memfd_of("immure-stdin", data->text, t->data_len);
		t->spec.stdio[0] = t->data_fd;
		return t->data_fd < 0 ? oom(a) : 0;
	}
	if (which > 0 && immure_plan_find(a->s->plan, IMMURE_OP_OUTPUT_CAP))
		return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "limits.output", "%s: what is written to "
				       "a descriptor of the caller's is not counted; take it as a stream", keys[which]);
	return immure_arg_fd(a, v, &t->spec.stdio[which]);
}

static int32_t take_pty(struct immure_ask *a, struct immure_task_args *t)
{
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "pty"), *rows, *cols;

	if (!v || v->type == IMMURE_JSON_NULL || (v->type == IMMURE_JSON_BOOL && !v->integer))
		return 0;
	rows = immure_jsonr_get(&a->json, v, "rows");
	cols = immure_jsonr_get(&a->json, v, "cols");
	t->spec.head.rows = 24;
	t->spec.head.cols = 80;
	if (rows && rows->type == IMMURE_JSON_INTEGER && rows->integer > 0 && rows->integer <= 4096)
		t->spec.head.rows = (uint16_t)rows->integer;
	if (cols && cols->type == IMMURE_JSON_INTEGER && cols->integer > 0 && cols->integer <= 4096)
		t->spec.head.cols = (uint16_t)cols->integer;
	t->spec.head.flags |= IMMURE_RUNF_PTY;
	for (int i = 0; i < 3; i++) {
		t->streamed[i] = false;
		if (t->spec.stdio[i] >= 0 || t->merge)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "pty", "a terminal is all three streams");
	}
	return 0;
}

static int32_t take_limits(struct immure_ask *a, struct immure_task_args *t)
{
	static const struct {
		const char *name;
		uint32_t resource;
		uint64_t unit;
	} known[] = {
		{ "cpu_time_ms", RLIMIT_CPU, 1000 },   { "open_files", RLIMIT_NOFILE, 1 },
		{ "file_size", RLIMIT_FSIZE, 1 },      { "address_space", RLIMIT_AS, 1 },
		{ "data", RLIMIT_DATA, 1 },
	};
	const struct immure_jsonr_value *v = immure_jsonr_get(&a->json, a->root, "limits"), *e;

	if (v && v->type != IMMURE_JSON_OBJECT && v->type != IMMURE_JSON_NULL)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "limits", "limits is an object");
	for (e = immure_jsonr_first(&a->json, v); e; e = immure_jsonr_after(&a->json, v, e)) {
		struct immure_init_run *h = &t->spec.head;
		size_t i = 0;

		while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i].name, e->key) != 0)
			i++;
		if (i == sizeof(known) / sizeof(known[0]))
			return immure_ask_fail(a, IMMURE_ERR_UNSUPPORTED, 0, "limits",
					       "%.40s: no such limit of a single command", e->key);
		if (e->type != IMMURE_JSON_INTEGER || e->integer <= 0)
			return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "limits", "%s is a number above 0",
					       e->key);
		h->rlimit[h->rlimits_n].resource = known[i].resource;
		h->rlimit[h->rlimits_n++].value = ((uint64_t)e->integer + known[i].unit - 1) / known[i].unit;
	}
	return 0;
}

static int32_t take_capture(struct immure_ask *a, struct immure_task_args *t)
{
	static const char *const names[] = { "off", "metadata", "summary", "content" };
	const char *name = "summary";
	uint64_t max = CAPTURE_DEFAULT;
	const struct immure_op *most;
	int32_t r = immure_arg_string(a, "capture", &name);

	if (r == 0)
		r = immure_arg_uint(a, "capture_max", IMMURE_RING_MAX, &max);
	if (r < 0)
		return r;
	for (t->capture = 0; t->capture < IMMURE_CAPTURE_MAX; t->capture++)
		if (strcmp(names[t->capture], name) == 0)
			break;
	if (t->capture == IMMURE_CAPTURE_MAX)
		return immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "capture",
				       "capture is off, metadata, summary or content");
	t->capture_max = (size_t)max;
	most = immure_plan_find(a->s->plan, IMMURE_OP_CAPTURE);
	if (most && t->capture > most->num[0])
		t->capture = (enum immure_capture)most->num[0];
	return 0;
}

/* What a key stands for: everything that makes it this command. How long it may
 * take and who listens is not; of a descriptor nothing can be said. */
static void fingerprint(struct immure_ask *a, struct immure_task_args *t)
{
	const struct immure_jsonr_value *in = immure_jsonr_get(&a->json, a->root, "stdin"), *data;
	const char *const *lists[] = { t->spec.argv, t->spec.env };
	const struct immure_init_run *h = &t->spec.head;
	struct immure_sha256 sha;

	immure_sha256_init(&sha);
	for (int i = 0; i < 2; i++) {
		for (const char *const *p = lists[i]; p && *p; p++)
			immure_sha256_add(&sha, *p, strlen(*p) + 1);
		immure_sha256_add(&sha, "", 1);
	}
	immure_sha256_add(&sha, t->spec.cwd ? t->spec.cwd : "", t->spec.cwd ? strlen(t->spec.cwd) + 1 : 1);
	immure_sha256_add(&sha, &h->flags, sizeof(h->flags));
	immure_sha256_add(&sha, &h->rlimits_n, sizeof(h->rlimits_n));
	immure_sha256_add(&sha, h->rlimit, h->rlimits_n * sizeof(h->rlimit[0]));
	data = immure_jsonr_get(&a->json, in, "data"); /* decoded in place by now */
	if (data)
		immure_sha256_add(&sha, data->text, t->data_len);
	immure_sha256_done(&sha, t->request);
}

static int32_t take_times(struct immure_ask *a, struct immure_task_args *t)
{
	const struct immure_op *wall = immure_plan_find(a->s->plan, IMMURE_OP_WALL_TIME);
	struct immure_init_run *h = &t->spec.head;
	int32_t r;

	h->grace_ms = 2000;
	h->timeout_ms = wall ? wall->num[0] : 0; /* the policy's is for each command */
	r = immure_arg_uint(a, "timeout_ms", UINT32_MAX, &h->timeout_ms);
	if (r == 0)
		r = immure_arg_uint(a, "grace_ms", 3600000, &h->grace_ms);
	if (r == 0 && wall && (h->timeout_ms == 0 || h->timeout_ms > wall->num[0]))
		h->timeout_ms = wall->num[0];
	return r;
}

int32_t immure_task_args(struct immure_ask *a, struct immure_task_args *ret)
{
	struct immure_task_args *t = ret;
	int32_t r;

	*t = (struct immure_task_args){ .data_fd = -1 };
	r = take_argv(a, t);
	if (r == 0)
		r = take_env(a, t);
	if (r == 0)
		r = immure_arg_string(a, "cwd", &t->spec.cwd);
	for (int i = 0; i < 3 && r == 0; i++)
		r = take_stream(a, i, t);
	if (r == 0)
		r = take_pty(a, t);
	if (r == 0)
		r = take_limits(a, t);
	if (r == 0)
		r = take_times(a, t);
	if (r == 0)
		r = take_capture(a, t);
	if (r == 0)
		r = immure_arg_string(a, "key", &t->key);
	if (r == 0)
		r = immure_arg_string(a, "approval", &t->approval);
	if (r == 0 && t->approval && (!t->approval[0] || strlen(t->approval) >= IMMURE_CONTROL_TOKEN))
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "approval", "approval is a token of 1 to %d bytes",
				    IMMURE_CONTROL_TOKEN - 1);
	if (r == 0)
		r = immure_arg_bool(a, "detach", &t->detach);
	t->follow = !t->detach;
	if (r == 0)
		r = immure_arg_bool(a, "follow", &t->follow);
	if (r == 0 && t->spec.cwd && t->spec.cwd[0] != '/')
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "cwd", "cwd is an absolute path inside");
	if (r == 0 && t->key && (!t->key[0] || strlen(t->key) > KEY_MAX))
		r = immure_ask_fail(a, IMMURE_ERR_INVALID, 0, "key", "a key has 1 to %d bytes", KEY_MAX);
	if (r == 0)
		fingerprint(a, t);
	else
		immure_close(&t->data_fd);
	return r;
}

int immure_signal_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} known[] = {
		{ "HUP", SIGHUP },   { "INT", SIGINT },	  { "QUIT", SIGQUIT }, { "KILL", SIGKILL },
		{ "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
		{ "TERM", SIGTERM }, { "CHLD", SIGCHLD }, { "CONT", SIGCONT }, { "STOP", SIGSTOP },
		{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU }, { "WINCH", SIGWINCH },
		{ "ABRT", SIGABRT }, { "SEGV", SIGSEGV }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
	};
	char *end;
	long n;

	if (!name)
		return 0;
	n = strtol(name, &end, 10);
	if (end != name)
		return *end == '\0' && n > 0 && n <= 64 ? (int)n : 0;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(known[i].name, name) == 0)
			return known[i].number;
	return 0;
}
