/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mcp: sandboxes as tools of the Model Context Protocol, over standard streams: JSON-RPC
 * 2.0, one message a line. The policy is the one that this command was given; nothing
 * that a client says makes it wider. Sandboxes are sessions that end with this process.
 *
 * One loop waits for the client and for every session. Whatever takes no time is answered
 * at once; a command is answered when it has ended, so others can be asked meanwhile, in
 * any order.
 */
#include "cli/mcp.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

static const char *const versions[] = { "2025-06-18", "2025-03-26", "2024-11-05" };

/* ---- messages ---- */

static void send_text(struct mcp *m, struct immure_buf *b)
{
	char *text;
	size_t len;

	immure_buf_putc(b, '\n');
	len = b->len;
	text = immure_buf_take(b);
	if (!text || immure_write_all(STDOUT_FILENO, text, len) < 0)
		m->broken = true;
	free(text);
}

static void begin(struct immure_jsonw *w, struct immure_buf *b, const char *id)
{
	immure_jsonw_init(w, b, 0);
	immure_jsonw_object(w, NULL);
	immure_jsonw_str(w, "jsonrpc", "2.0");
	immure_jsonw_raw(w, "id", id ? id : "null");
}

void immure_mcp_reply(struct mcp *m, const char *id, const char *result)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	begin(&w, &b, id);
	immure_jsonw_raw(&w, "result", result);
	immure_jsonw_end(&w, '}');
	send_text(m, &b);
}

void immure_mcp_refuse(struct mcp *m, const char *id, int code, const char *why)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	begin(&w, &b, id);
	immure_jsonw_object(&w, "error");
	immure_jsonw_int(&w, "code", code);
	immure_jsonw_str(&w, "message", why);
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	send_text(m, &b);
}

void immure_mcp_tool_reply(struct mcp *m, const char *id, const char *body, bool failed)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;

	begin(&w, &b, id);
	immure_jsonw_object(&w, "result");
	immure_jsonw_array(&w, "content"); /* the same as text, for clients that know no other */
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "type", "text");
	immure_jsonw_str(&w, "text", body);
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, ']');
	immure_jsonw_raw(&w, "structuredContent", body);
	immure_jsonw_bool(&w, "isError", failed);
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	send_text(m, &b);
}

static int failed(struct mcp_request *q, int code, const char *stage, const char *text, const char *hint)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *body;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_bool(&w, "ok", false);
	immure_jsonw_int(&w, "code", code);
	immure_jsonw_str(&w, "stage", stage);
	immure_jsonw_str(&w, "message", text);
	immure_jsonw_str(&w, "hint", hint);
	immure_jsonw_end(&w, '}');
	body = immure_buf_take(&b);
	if (body)
		immure_mcp_tool_reply(q->m, q->id, body, true);
	else
		q->m->broken = true;
	free(body);
	return -1;
}

int immure_mcp_tool_fail(struct mcp_request *q, struct immure_error *err)
{
	(void)failed(q, immure_error_code(err), immure_error_stage(err), immure_error_text(err),
		     immure_error_hint(err));
	immure_error_free(err);
	return -1;
}

int immure_mcp_tool_say(struct mcp_request *q, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine: a message */
	va_end(ap);
	return failed(q, IMMURE_ERR_INVALID, "mcp", text, "");
}

/* ---- requests ---- */

static void initialize(struct mcp *m, const char *id, const struct immure_json *params)
{
	const struct immure_json *asked = params ? immure_json_get(params, "protocolVersion") : NULL;
	const char *version = versions[0];
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (asked && immure_json_type(asked) == IMMURE_JSON_STRING &&
		    strcmp(immure_json_string(asked), versions[i]) == 0)
			version = versions[i];
	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_str(&w, "protocolVersion", version);
	immure_jsonw_object(&w, "capabilities");
	immure_jsonw_object(&w, "tools");
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	immure_jsonw_object(&w, "serverInfo");
	immure_jsonw_str(&w, "name", "immure");
	immure_jsonw_str(&w, "version", IMMURE_VERSION);
	immure_jsonw_end(&w, '}');
	immure_jsonw_str(&w, "instructions",
			 "Commands run sealed in, by a policy that was fixed when this server was started. "
			 "What it does not allow answers \"permission denied\"; trying again does not help. "
			 "Without sandbox_id a command gets a sandbox of its own that ends with it.");
	immure_jsonw_end(&w, '}');
	text = immure_buf_take(&b);
	if (text)
		immure_mcp_reply(m, id, text);
	free(text);
}

static void tools_list(struct mcp *m, const char *id)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;

	immure_jsonw_init(&w, &b, 0);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_array(&w, "tools");
	immure_mcp_tools_list(&w);
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	text = immure_buf_take(&b);
	if (text)
		immure_mcp_reply(m, id, text);
	free(text);
}

static void tools_call(struct mcp *m, const char *id, const struct immure_json *params)
{
	const struct immure_json *name = params ? immure_json_get(params, "name") : NULL;
	const struct immure_json *args = params ? immure_json_get(params, "arguments") : NULL;
	struct mcp_request q = { .m = m, .id = id, .args = args, .body = IMMURE_BUF_INIT };

	if (!name || immure_json_type(name) != IMMURE_JSON_STRING) {
		immure_mcp_refuse(m, id, MCP_PARAMS, "name: which tool?");
	} else if (args && immure_json_type(args) != IMMURE_JSON_OBJECT) {
		immure_mcp_refuse(m, id, MCP_PARAMS, "arguments: expected an object");
	} else {
		immure_jsonw_init(&q.w, &q.body, 0);
		if (!immure_mcp_tools_call(&q, immure_json_string(name)))
			immure_mcp_refuse(m, id, MCP_PARAMS, "name: no such tool");
	}
	immure_buf_done(&q.body);
}

/* A number or a string, as JSON; NULL: none of these. Owned by the caller. */
static char *id_text(const struct immure_json *id)
{
	struct immure_buf b = IMMURE_BUF_INIT;

	if (id && immure_json_type(id) == IMMURE_JSON_STRING)
		immure_json_quote(&b, immure_json_string(id), strlen(immure_json_string(id)));
	else if (id && immure_json_type(id) == IMMURE_JSON_INTEGER)
		immure_buf_printf(&b, "%lld", (long long)immure_json_integer(id));
	else
		return NULL;
	return immure_buf_take(&b);
}

static void notified(struct mcp *m, const char *method, const struct immure_json *params)
{
	char *id;

	if (strcmp(method, "notifications/cancelled") != 0 || !params)
		return; /* nothing else asks for anything */
	id = id_text(immure_json_get(params, "requestId"));
	if (id)
		immure_mcp_cancel(m, id);
	free(id);
}

static void requested(struct mcp *m, const char *id, const char *method, const struct immure_json *params)
{
	if (strcmp(method, "initialize") == 0)
		initialize(m, id, params);
	else if (strcmp(method, "ping") == 0)
		immure_mcp_reply(m, id, "{}");
	else if (strcmp(method, "tools/list") == 0)
		tools_list(m, id);
	else if (strcmp(method, "tools/call") == 0)
		tools_call(m, id, params);
	else
		immure_mcp_refuse(m, id, MCP_NO_METHOD, "no such method");
}

static void message(struct mcp *m, const char *line, size_t len)
{
	struct immure_json_failure f;
	struct immure_json *doc = NULL;
	const struct immure_json *method, *version, *params;
	char *id;

	if (strspn(line, " \t\r") >= len)
		return;
	if (immure_json_parse(line, len, &doc, &f) < 0) {
		immure_mcp_refuse(m, NULL, MCP_PARSE, f.text);
		return;
	}
	if (immure_json_type(doc) != IMMURE_JSON_OBJECT) {
		immure_mcp_refuse(m, NULL, MCP_INVALID, "expected one object");
		immure_json_free(doc);
		return;
	}
	method = immure_json_get(doc, "method");
	version = immure_json_get(doc, "jsonrpc");
	params = immure_json_get(doc, "params");
	id = id_text(immure_json_get(doc, "id"));
	if (!version || immure_json_type(version) != IMMURE_JSON_STRING ||
	    strcmp(immure_json_string(version), "2.0") != 0 || !method ||
	    immure_json_type(method) != IMMURE_JSON_STRING ||
	    (params && immure_json_type(params) != IMMURE_JSON_OBJECT) ||
	    (!id && immure_json_get(doc, "id"))) {
		/* An answer to something that we never ask is no request. */
		if (method || !immure_json_get(doc, "id"))
			immure_mcp_refuse(m, id, MCP_INVALID, "not a request of JSON-RPC 2.0");
	} else if (id) {
		requested(m, id, immure_json_string(method), params);
	} else {
		notified(m, immure_json_string(method), params);
	}
	free(id);
	immure_json_free(doc);
}

/* ---- the loop ---- */

/* 1 at the end of input. */
static int from_client(struct mcp *m)
{
	char piece[65536], *nl;
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	size_t at = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return 1;
	immure_buf_put(&m->in, piece, (size_t)n);
	if (!immure_buf_ok(&m->in))
		return -ENOMEM;
	while (!m->broken && (nl = memchr(m->in.data + at, '\n', m->in.len - at))) {
		size_t len = (size_t)(nl - (m->in.data + at));

		*nl = '\0';
		if (!m->discard)
			message(m, m->in.data + at, len);
		m->discard = false;
		at += len + 1;
	}
	memmove(m->in.data, m->in.data + at, m->in.len - at);
	m->in.len -= at;
	if (m->in.len > MCP_LINE_BYTES) {
		if (!m->discard)
			immure_mcp_refuse(m, NULL, MCP_INVALID, "the message is too long");
		m->in.len = 0;
		m->discard = true;
	}
	return 0;
}

static int loop(struct mcp *m)
{
	int r = 0;

	while (r == 0 && !m->broken) {
		struct pollfd p[1 + MCP_SANDBOXES] = { { .fd = STDIN_FILENO, .events = POLLIN } };

		for (size_t i = 0; i < MCP_SANDBOXES; i++)
			p[1 + i] = (struct pollfd){
				.fd = m->sandboxes[i].session ? immure_session_fd(m->sandboxes[i].session) : -1,
				.events = POLLIN,
			};
		if (poll(p, 1 + MCP_SANDBOXES, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			r = from_client(m);
		/* All of them: a request that waited for its answer took in what came before. */
		for (size_t i = 0; i < MCP_SANDBOXES; i++)
			if (m->sandboxes[i].session)
				immure_mcp_news(m, &m->sandboxes[i]);
	}
	return r < 0 ? r : 0;
}

/* What a client's list of servers wants to know. */
static int print_config(int argc, char **argv)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_jsonw w;
	char *text;
	int status;

	immure_jsonw_init(&w, &b, 2);
	immure_jsonw_object(&w, NULL);
	immure_jsonw_object(&w, "mcpServers");
	immure_jsonw_object(&w, "immure");
	immure_jsonw_str(&w, "command", immure_cli_own_program("immure", path) ? path : "immure");
	immure_jsonw_array(&w, "args");
	immure_jsonw_str(&w, NULL, "mcp");
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--config") != 0)
			immure_jsonw_str(&w, NULL, argv[i]);
	immure_jsonw_end(&w, ']');
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&b, '\n');
	text = immure_buf_take(&b);
	status = text ? immure_cli_print(text) : IMMURE_EXIT_FAILED;
	free(text);
	return status;
}

int immure_cli_mcp(int argc, char **argv)
{
	struct immure_runflags f;
	struct immure_error *err = NULL;
	immure_policy *policy = NULL;
	struct mcp *m;
	int r, status = immure_runflags_parse("mcp", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first < argc) {
		immure_cli_say("mcp: %s: the client says what to run", argv[f.first]);
		immure_runflags_done(&f);
		return IMMURE_EXIT_FAILED;
	}
	/* A policy that is wrong is found out now, not at a client's first call. */
	if (immure_runflags_policy(&f, &policy, &err) < 0) {
		immure_runflags_done(&f);
		return immure_cli_fail(err);
	}
	immure_policy_free(policy);
	if (f.session.config) {
		status = print_config(argc, argv);
		immure_runflags_done(&f);
		return status;
	}
	m = calloc(1, sizeof(*m));
	if (m)
		m->flags = &f;
	r = m ? loop(m) : -ENOMEM;
	for (size_t i = 0; m && i < MCP_CALLS; i++)
		immure_mcp_forget(&m->calls[i]);
	for (size_t i = 0; m && i < MCP_SANDBOXES; i++)
		immure_mcp_end(&m->sandboxes[i]);
	if (m)
		immure_buf_done(&m->in);
	free(m);
	immure_runflags_done(&f);
	if (r < 0)
		immure_cli_say("mcp: %s", strerror(-r));
	return r < 0 ? IMMURE_EXIT_FAILED : 0;
}
