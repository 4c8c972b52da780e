/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of `immure mcp`: started at once, answered when they have ended. */
#include "cli/mcp.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static struct mcp_call *free_call(struct mcp *m)
{
	for (size_t i = 0; i < MCP_CALLS; i++)
		if (!m->calls[i].process)
			return &m->calls[i];
	return NULL;
}

void immure_mcp_forget(struct mcp_call *c)
{
	immure_process_free(c->process);
	free(c->id);
	immure_buf_done(&c->out);
	immure_buf_done(&c->err);
	*c = (struct mcp_call){ 0 };
}

/* ---- arguments ---- */

static int refuse(struct mcp_request *q, const char *why)
{
	immure_mcp_refuse(q->m, q->id, MCP_PARAMS, why);
	return -1;
}

/* A string is a shell's; a list is an argv. */
static int take_command(struct mcp_request *q, struct immure_arena *a, struct immure_strv *argv)
{
	const struct immure_json *v = q->args ? immure_json_get(q->args, "command") : NULL;
	size_t total = 0, n = v && immure_json_type(v) == IMMURE_JSON_ARRAY ? immure_json_size(v) : 0;

	if (v && immure_json_type(v) == IMMURE_JSON_STRING) {
		if (strlen(immure_json_string(v)) > MCP_COMMAND_BYTES || !immure_json_string(v)[0])
			return refuse(q, "command: empty, or more than 64 KiB");
		(void)immure_strv_add(a, argv, "/bin/sh");
		(void)immure_strv_add(a, argv, "-c");
		(void)immure_strv_add(a, argv, immure_json_string(v));
		return a->failed ? refuse(q, "out of memory") : 0;
	}
	if (n == 0)
		return refuse(q, "command: expected a string, or a list of strings");
	for (size_t i = 0; i < n; i++) {
		const struct immure_json *e = immure_json_element(v, i);
		size_t len;

		if (immure_json_type(e) != IMMURE_JSON_STRING)
			return refuse(q, "command: expected a list of strings");
		len = strlen(immure_json_string(e));
		total += len;
		if (len > MCP_ARG_BYTES || total > MCP_COMMAND_BYTES)
			return refuse(q, "command: an argument of more than 32 KiB, or more than 64 KiB of them");
		(void)immure_strv_add(a, argv, immure_json_string(e));
	}
	return a->failed ? refuse(q, "out of memory") : 0;
}

static int take_env(struct mcp_request *q, struct immure_arena *a, struct immure_strv *env)
{
	const struct immure_json *v = q->args ? immure_json_get(q->args, "env") : NULL;
	struct immure_json_member e = { 0 };

	if (!v)
		return 0;
	if (immure_json_type(v) != IMMURE_JSON_OBJECT || immure_json_size(v) > MCP_ENV)
		return refuse(q, "env: expected an object of at most 64 members");
	while (immure_json_next(v, &e)) {
		if (immure_json_type(e.value) != IMMURE_JSON_STRING || strchr(e.key, '=') || !e.key[0] ||
		    strlen(immure_json_string(e.value)) > 8192)
			return refuse(q, "env: expected names, and strings of at most 8 KiB");
		(void)immure_strv_add(a, env, immure_arena_printf(a, "%s=%s", e.key,
								  immure_json_string(e.value)));
	}
	return a->failed ? refuse(q, "out of memory") : 0;
}

static int take_timeout(struct mcp_request *q, uint64_t *ret)
{
	const struct immure_json *v = q->args ? immure_json_get(q->args, "timeout_ms") : NULL;

	*ret = MCP_TIMEOUT_MS;
	if (!v)
		return 0;
	if (immure_json_type(v) != IMMURE_JSON_INTEGER || immure_json_integer(v) < 1 ||
	    immure_json_integer(v) > MCP_TIMEOUT_MAX_MS)
		return refuse(q, "timeout_ms: expected 1 to 3600000");
	*ret = (uint64_t)immure_json_integer(v);
	return 0;
}

/* ---- starting ---- */

static int start(struct mcp_request *q, struct immure_exec_options *o)
{
	struct mcp_call *c = free_call(q->m);
	struct immure_error *err = NULL;
	struct mcp_sandbox *s;

	if (!c)
		return immure_mcp_tool_say(q, "%d commands run already", MCP_CALLS);
	s = immure_mcp_sandbox(q, true);
	if (!s)
		return -1;
	o->size = sizeof(*o);
	o->stdin_fd = IMMURE_STREAM_NULL;
	o->stdout_fd = o->stderr_fd = IMMURE_STREAM_EVENTS;
	o->capture = IMMURE_CAPTURE_METADATA_MODE;
	*c = (struct mcp_call){ .in = s, .id = strdup(q->id) };
	if (!c->id || immure_session_exec(s->session, o, &c->process, &err) < 0) {
		immure_mcp_forget(c);
		if (s->ephemeral)
			immure_mcp_end(s);
		return err ? immure_mcp_tool_fail(q, err) : immure_mcp_tool_say(q, "out of memory");
	}
	q->later = true;
	return 0;
}

int immure_mcp_execute_command(struct mcp_request *q)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv argv = { 0 }, env = { 0 };
	struct immure_exec_options o = { 0 };
	const char *input = NULL;
	int r = take_command(q, &a, &argv);

	if (r == 0)
		r = take_env(q, &a, &env);
	if (r == 0)
		r = take_timeout(q, &o.timeout_ms);
	if (r == 0 && (!immure_mcp_text(q, "cwd", false, 4095, &o.cwd) ||
		       !immure_mcp_text(q, "stdin", false, MCP_CODE_BYTES, &input)))
		r = -1;
	if (r == 0) {
		o.argv = argv.v;
		o.env = env.v;
		o.input = input;
		o.input_len = input ? strlen(input) : 0;
		r = start(q, &o);
	}
	immure_arena_done(&a);
	return r;
}

int immure_mcp_execute_code(struct mcp_request *q)
{
	static const struct {
		const char *language;
		const char *argv[3];
	} interpreters[] = {
		{ "python", { "python3", "-", NULL } }, { "bash", { "bash", "-s", NULL } },
		{ "sh", { "/bin/sh", "-s", NULL } },	{ "javascript", { "node", "-", NULL } },
		{ "ruby", { "ruby", "-", NULL } },	{ "perl", { "perl", "-", NULL } },
	};
	struct immure_exec_options o = { 0 };
	const char *language, *code;

	if (!immure_mcp_text(q, "language", true, 32, &language) ||
	    !immure_mcp_text(q, "code", true, MCP_CODE_BYTES, &code) ||
	    !immure_mcp_text(q, "cwd", false, 4095, &o.cwd) || take_timeout(q, &o.timeout_ms) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(interpreters) / sizeof(interpreters[0]); i++)
		if (strcmp(interpreters[i].language, language) == 0)
			o.argv = interpreters[i].argv;
	if (!o.argv)
		return refuse(q, "language: expected python, javascript, bash, sh, ruby or perl");
	o.input = code;
	o.input_len = strlen(code);
	return start(q, &o);
}

/* ---- what comes of them ---- */

static void take_output(struct mcp_call *c, const struct immure_event *e)
{
	size_t have = c->out.len + c->err.len, n = (size_t)e->bytes;

	if (have + n > MCP_OUTPUT_BYTES || e->lost) {
		c->truncated = true;
		n = have < MCP_OUTPUT_BYTES && have + n > MCP_OUTPUT_BYTES ? MCP_OUTPUT_BYTES - have :
		    have >= MCP_OUTPUT_BYTES				  ? 0 : n;
	}
	immure_buf_put(e->stream == 2 ? &c->err : &c->out, e->data, n);
}

static void put_stream(struct immure_jsonw *w, const char *key, const struct immure_buf *b)
{
	struct immure_buf quoted = IMMURE_BUF_INIT;
	char *text;

	immure_json_quote(&quoted, b->data ? b->data : "", b->len);
	text = immure_buf_take(&quoted);
	immure_jsonw_raw(w, key, text ? text : "\"\"");
	free(text);
}

static void answer(struct mcp *m, struct mcp_call *c)
{
	struct immure_exit x = { .size = sizeof(x), .code = -1 };
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *body;

	if (immure_process_wait(c->process, 0, &x, NULL) != 1)
		x.code = -1; /* its session has ended under it */
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_bool(&w, "ok", x.code == 0 && !x.timed_out);
	immure_jsonw_int(&w, "exit_code", x.timed_out ? IMMURE_EXIT_TIMEOUT :
			 x.signo ? 128 + x.signo : x.code);
	immure_jsonw_int(&w, "signal", x.signo);
	immure_jsonw_bool(&w, "timed_out", x.timed_out);
	immure_jsonw_bool(&w, "out_of_memory", x.over_memory);
	immure_jsonw_uint(&w, "elapsed_ms", x.wall_us / 1000);
	immure_jsonw_uint(&w, "peak_memory", x.peak_memory);
	put_stream(&w, "stdout", &c->out);
	put_stream(&w, "stderr", &c->err);
	immure_jsonw_bool(&w, "truncated", c->truncated);
	immure_jsonw_end(&w, '}');
	body = immure_buf_take(&b);
	if (body && immure_buf_ok(&c->out) && immure_buf_ok(&c->err))
		immure_mcp_tool_reply(m, c->id, body, false);
	else
		m->broken = true;
	free(body);
}

static void finish(struct mcp *m, struct mcp_call *c)
{
	struct mcp_sandbox *s = c->in;

	if (!c->cancelled)
		answer(m, c);
	immure_mcp_forget(c);
	if (s->ephemeral)
		immure_mcp_end(s);
}

static void lost(struct mcp *m, struct mcp_sandbox *s)
{
	for (size_t i = 0; i < MCP_CALLS; i++) {
		struct mcp_request q = { .m = m, .id = m->calls[i].id };

		if (!m->calls[i].process || m->calls[i].in != s)
			continue;
		if (!m->calls[i].cancelled)
			(void)immure_mcp_tool_say(&q, "the sandbox has ended");
		immure_mcp_forget(&m->calls[i]);
	}
	immure_mcp_end(s);
}

void immure_mcp_news(struct mcp *m, struct mcp_sandbox *s)
{
	struct immure_event e = { .size = sizeof(e) };

	while (s->session) {
		struct mcp_call *c = NULL;
		int32_t r = immure_session_next(s->session, &e, NULL);

		if (r == 0)
			return;
		if (r < 0 || e.type == IMMURE_EVENT_SESSION_ENDED) {
			lost(m, s);
			return;
		}
		for (size_t i = 0; i < MCP_CALLS; i++)
			if (m->calls[i].process && m->calls[i].process == e.process)
				c = &m->calls[i];
		if (c && e.type == IMMURE_EVENT_OUTPUT)
			take_output(c, &e);
		else if (c && e.type == IMMURE_EVENT_EXITED)
			finish(m, c);
	}
}

void immure_mcp_cancel(struct mcp *m, const char *id)
{
	for (size_t i = 0; i < MCP_CALLS; i++) {
		struct mcp_call *c = &m->calls[i];

		if (!c->process || strcmp(c->id, id) != 0)
			continue;
		c->cancelled = true; /* nobody waits for the answer */
		(void)immure_process_signal(c->process, SIGKILL, IMMURE_SIGNAL_TREE, NULL); /* or over */
	}
}
