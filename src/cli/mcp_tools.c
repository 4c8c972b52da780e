/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of `immure mcp`: sandboxes and their files. Commands: mcp_exec.c; snapshots:
 * mcp_snapshot.c. */
#include "cli/mcp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/fd.h"

enum { PATH_BYTES = 4095 };

bool immure_mcp_text(struct mcp_request *q, const char *key, bool needed, size_t max, const char **ret)
{
	const struct immure_json *v = q->args ? immure_json_get(q->args, key) : NULL;
	char why[128];

	*ret = NULL;
	if (v && immure_json_type(v) == IMMURE_JSON_STRING) {
		*ret = immure_json_string(v);
		if (strlen(*ret) <= max)
			return true;
	} else if (!v && !needed) {
		return true;
	}
	(void)snprintf(why, sizeof(why), "%s: expected a string of at most %zu bytes", key, max);
	immure_mcp_refuse(q->m, q->id, MCP_PARAMS, why);
	return false;
}

static bool flag(struct mcp_request *q, const char *key)
{
	const struct immure_json *v = q->args ? immure_json_get(q->args, key) : NULL;

	return v && immure_json_type(v) == IMMURE_JSON_BOOL && immure_json_bool(v);
}

/* ---- sandboxes ---- */

void immure_mcp_end(struct mcp_sandbox *s)
{
	immure_session_free(s->session);
	*s = (struct mcp_sandbox){ 0 };
}

struct mcp_sandbox *immure_mcp_place(struct mcp_request *q)
{
	for (size_t i = 0; i < MCP_SANDBOXES; i++)
		if (!q->m->sandboxes[i].session)
			return &q->m->sandboxes[i];
	(void)immure_mcp_tool_say(q, "there are %d sandboxes already", MCP_SANDBOXES);
	return NULL;
}

static void name_it(struct mcp_sandbox *s, bool ephemeral)
{
	(void)snprintf(s->id, sizeof(s->id), "%s", immure_session_id(s->session));
	s->ephemeral = ephemeral;
}

int immure_mcp_made(struct mcp_request *q, struct mcp_sandbox *s)
{
	name_it(s, false);
	immure_jsonw_str(&q->w, "sandbox_id", s->id);
	return 0;
}

static struct mcp_sandbox *make(struct mcp_request *q, bool ephemeral)
{
	struct immure_error *err = NULL;
	struct mcp_sandbox *s = immure_mcp_place(q);

	if (!s)
		return NULL;
	if (immure_cli_create_session(q->m->flags, true, &s->session, &err) < 0) {
		(void)immure_mcp_tool_fail(q, err);
		return NULL;
	}
	name_it(s, ephemeral);
	return s;
}

struct mcp_sandbox *immure_mcp_sandbox(struct mcp_request *q, bool ephemeral)
{
	const char *id;

	if (!immure_mcp_text(q, "sandbox_id", !ephemeral, 63, &id))
		return NULL;
	if (!id)
		return make(q, true);
	for (size_t i = 0; i < MCP_SANDBOXES; i++)
		if (q->m->sandboxes[i].session && !q->m->sandboxes[i].ephemeral &&
		    strcmp(q->m->sandboxes[i].id, id) == 0)
			return &q->m->sandboxes[i];
	(void)immure_mcp_tool_say(q, "%s: no such sandbox", id);
	return NULL;
}

static int create_sandbox(struct mcp_request *q)
{
	struct mcp_sandbox *s;
	const char *snapshot;

	if (!immure_mcp_text(q, "snapshot_id", false, 31, &snapshot))
		return -1;
	if (snapshot)
		return immure_mcp_from_snapshot(q, snapshot);
	s = make(q, false);
	return s ? immure_mcp_made(q, s) : -1;
}

static int destroy_sandbox(struct mcp_request *q)
{
	struct mcp_sandbox *s = immure_mcp_sandbox(q, false);
	struct immure_error *err = NULL;

	if (!s)
		return -1;
	if (immure_session_stop(s->session, 100, IMMURE_SESSION_REMOVE, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	immure_mcp_news(q->m, s); /* who waits for a command in it is told */
	if (s->session)
		immure_mcp_end(s);
	immure_jsonw_bool(&q->w, "destroyed", true);
	return 0;
}

static int list_sandboxes(struct mcp_request *q)
{
	/* Of one that ended while it was asked for something else, nothing more may come. */
	for (size_t i = 0; i < MCP_SANDBOXES; i++)
		if (q->m->sandboxes[i].session)
			immure_mcp_news(q->m, &q->m->sandboxes[i]);
	immure_jsonw_array(&q->w, "sandboxes");
	for (size_t i = 0; i < MCP_SANDBOXES; i++) {
		size_t running = 0;

		if (!q->m->sandboxes[i].session)
			continue;
		for (size_t k = 0; k < MCP_CALLS; k++)
			running += q->m->calls[k].process && q->m->calls[k].in == &q->m->sandboxes[i];
		immure_jsonw_object(&q->w, NULL);
		immure_jsonw_str(&q->w, "sandbox_id", q->m->sandboxes[i].id);
		immure_jsonw_uint(&q->w, "running", running);
		immure_jsonw_bool(&q->w, "ephemeral", q->m->sandboxes[i].ephemeral);
		immure_jsonw_end(&q->w, '}');
	}
	immure_jsonw_end(&q->w, ']');
	return 0;
}

/* ---- files ---- */

static struct mcp_sandbox *with_path(struct mcp_request *q, const char *key, const char **ret)
{
	if (!immure_mcp_text(q, key, true, PATH_BYTES, ret))
		return NULL;
	return immure_mcp_sandbox(q, false);
}

static bool is_text(const char *data, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = immure_utf8_len(data + i, len - i, NULL);

		if (n == 0 || data[i] == '\0')
			return false;
		i += n;
	}
	return true;
}

static int read_file(struct mcp_request *q)
{
	const char *path;
	struct mcp_sandbox *s = with_path(q, "path", &path);
	IMMURE_CLEANUP_FREE char *data = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	char *text;
	size_t len;
	int32_t fd;
	int r;

	if (!s)
		return -1;
	if (immure_session_open_file(s->session, path, O_RDONLY | O_NONBLOCK, 0, &fd, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	r = immure_read_all(fd, MCP_FILE_BYTES, &data, &len);
	(void)close(fd); /* was only read */
	if (r < 0)
		return immure_mcp_tool_say(q, "%s: %s", path,
					   r == -EFBIG ? "has more than 10 MiB" : strerror(-r));
	if (is_text(data, len))
		immure_json_quote(&b, data, len);
	else
		immure_base64_put(&b, data, len);
	immure_jsonw_str(&q->w, "encoding", is_text(data, len) ? "utf8" : "base64");
	immure_jsonw_uint(&q->w, "bytes", len);
	text = immure_buf_take(&b);
	if (!text)
		return immure_mcp_tool_say(q, "out of memory");
	if (is_text(data, len))
		immure_jsonw_raw(&q->w, "content", text);
	else
		immure_jsonw_str(&q->w, "content", text);
	free(text);
	return 0;
}

static int write_file(struct mcp_request *q)
{
	const char *path, *content, *encoding;
	int flags = O_WRONLY | O_CREAT | O_NONBLOCK | (flag(q, "append") ? O_APPEND : O_TRUNC);
	struct mcp_sandbox *s = with_path(q, "path", &path);
	struct immure_error *err = NULL;
	IMMURE_CLEANUP_FREE char *copy = NULL;
	int32_t fd;
	long len;
	int r;

	if (!s || !immure_mcp_text(q, "content", true, MCP_FILE_BYTES / 3 * 4 + 4, &content) ||
	    !immure_mcp_text(q, "encoding", false, 16, &encoding))
		return -1;
	len = (long)strlen(content);
	if (encoding && strcmp(encoding, "base64") == 0) {
		copy = strdup(content);
		len = copy ? immure_base64_decode(copy, (size_t)len) : -ENOMEM;
		content = copy;
	}
	if (len < 0 || len > MCP_FILE_BYTES)
		return immure_mcp_tool_say(q, "content: %s", len < 0 ? "not base64" : "has more than 10 MiB");
	if (immure_session_open_file(s->session, path, flags, 0666, &fd, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	r = immure_write_all(fd, content, (size_t)len);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		return immure_mcp_tool_say(q, "%s: %s", path, strerror(-r));
	immure_jsonw_uint(&q->w, "written", (uint64_t)len);
	return 0;
}

static int list_dir(struct mcp_request *q)
{
	const char *path;
	struct mcp_sandbox *s = with_path(q, "path", &path);
	struct immure_json_failure f;
	struct immure_error *err = NULL;
	struct immure_json *list = NULL;
	size_t n = 0;
	char *text;

	if (!s)
		return -1;
	if (immure_session_list_files(s->session, path, &text, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	if (immure_json_parse(text, strlen(text), &list, &f) == 0)
		n = immure_json_size(list);
	if (list && n <= MCP_ENTRIES)
		immure_jsonw_raw(&q->w, "entries", text);
	immure_json_free(list);
	immure_string_free(text);
	return list && n <= MCP_ENTRIES ? 0 : immure_mcp_tool_say(q, "%s: too many entries", path);
}

static int stat_file(struct mcp_request *q)
{
	static const char *const types[] = { "other", "file", "directory", "link", "other" };
	struct immure_file_info info = { .size = sizeof(info) };
	const char *path;
	struct mcp_sandbox *s = with_path(q, "path", &path);
	struct immure_error *err = NULL;

	if (!s)
		return -1;
	if (immure_session_stat_file(s->session, path, &info, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	immure_jsonw_str(&q->w, "type", types[info.type <= IMMURE_FILE_OTHER ? info.type : 0]);
	immure_jsonw_uint(&q->w, "bytes", info.bytes);
	immure_jsonw_uint(&q->w, "mode", info.mode);
	immure_jsonw_int(&q->w, "modified_ms", info.modified_ms);
	return 0;
}

static int make_dir(struct mcp_request *q)
{
	const char *path;
	struct mcp_sandbox *s = with_path(q, "path", &path);
	struct immure_error *err = NULL;

	if (!s)
		return -1;
	if (immure_session_make_directory(s->session, path, 0755, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	return 0;
}

static int remove_file(struct mcp_request *q)
{
	const char *path;
	struct mcp_sandbox *s = with_path(q, "path", &path);
	struct immure_error *err = NULL;

	if (!s)
		return -1;
	if (immure_session_remove_file(s->session, path, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	return 0;
}

static int rename_file(struct mcp_request *q)
{
	const char *from, *to;
	struct mcp_sandbox *s = with_path(q, "from", &from);
	struct immure_error *err = NULL;

	if (!s || !immure_mcp_text(q, "to", true, PATH_BYTES, &to))
		return -1;
	if (immure_session_rename_file(s->session, from, to, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	return 0;
}

/* ---- the table ---- */

#define ID "\"sandbox_id\":{\"type\":\"string\",\"description\":\"from create_sandbox\"}"
#define PATH "\"path\":{\"type\":\"string\",\"description\":\"absolute, inside\"}"
#define COMMON "\"cwd\":{\"type\":\"string\"},\"timeout_ms\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":3600000}"
#define SCHEMA(properties, required)                                                            \
	"{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required "],"     \
	"\"additionalProperties\":false}"

static const struct tool {
	const char *name, *help, *schema;
	int (*fn)(struct mcp_request *q); /* 0: body is the answer; -1: answered */
	const char *members; /* what it takes, each with a space on either side */
} tools[] = {
	{ "create_sandbox",
	  "Make a sandbox that keeps its files and processes between commands; with snapshot_id one that begins "
	  "with the files of a snapshot.",
	  SCHEMA("\"snapshot_id\":{\"type\":\"string\",\"description\":\"from snapshot\"}", ""), create_sandbox,
	  " snapshot_id " },
	{ "destroy_sandbox", "End a sandbox and everything in it.", SCHEMA(ID, "\"sandbox_id\""),
	  destroy_sandbox, " sandbox_id " },
	{ "list_sandboxes", "List the sandboxes of this server.", SCHEMA("", ""), list_sandboxes, " " },
	{ "execute_command",
	  "Run a command: a string for a shell, or a list of arguments. Without sandbox_id in a sandbox of "
	  "its own.",
	  SCHEMA(ID ",\"command\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":"
		 "{\"type\":\"string\"}}]},\"stdin\":{\"type\":\"string\"},\"env\":{\"type\":\"object\","
		 "\"additionalProperties\":{\"type\":\"string\"}}," COMMON, "\"command\""),
	  immure_mcp_execute_command, " sandbox_id command stdin env cwd timeout_ms " },
	{ "execute_code", "Run a program text with its interpreter, where that is installed.",
	  SCHEMA(ID ",\"language\":{\"enum\":[\"python\",\"javascript\",\"bash\",\"sh\",\"ruby\",\"perl\"]},"
		 "\"code\":{\"type\":\"string\"}," COMMON, "\"language\",\"code\""),
	  immure_mcp_execute_code, " sandbox_id language code cwd timeout_ms " },
	{ "read_file", "Read a file of a sandbox, at most 10 MiB; as base64 when it is no text.",
	  SCHEMA(ID "," PATH, "\"sandbox_id\",\"path\""), read_file, " sandbox_id path " },
	{ "write_file", "Write a file of a sandbox, at most 10 MiB.",
	  SCHEMA(ID "," PATH ",\"content\":{\"type\":\"string\"},\"encoding\":{\"enum\":[\"utf8\","
		 "\"base64\"]},\"append\":{\"type\":\"boolean\"}", "\"sandbox_id\",\"path\",\"content\""),
	  write_file, " sandbox_id path content encoding append " },
	{ "list_dir", "List a directory of a sandbox.", SCHEMA(ID "," PATH, "\"sandbox_id\",\"path\""),
	  list_dir, " sandbox_id path " },
	{ "make_dir", "Make a directory in a sandbox.", SCHEMA(ID "," PATH, "\"sandbox_id\",\"path\""),
	  make_dir, " sandbox_id path " },
	{ "stat", "What a path of a sandbox is. A link is not followed.",
	  SCHEMA(ID "," PATH, "\"sandbox_id\",\"path\""), stat_file, " sandbox_id path " },
	{ "remove_file", "Remove a file, a link or an empty directory of a sandbox.",
	  SCHEMA(ID "," PATH, "\"sandbox_id\",\"path\""), remove_file, " sandbox_id path " },
	{ "rename", "Rename a file of a sandbox, replacing what is there.",
	  SCHEMA(ID ",\"from\":{\"type\":\"string\"},\"to\":{\"type\":\"string\"}",
		 "\"sandbox_id\",\"from\",\"to\""),
	  rename_file, " sandbox_id from to " },
	{ "snapshot",
	  "Keep the private files of a sandbox as they are now (/tmp and changes of a copy-on-write workspace, no "
	  "processes); create_sandbox with snapshot_id begins with them.",
	  SCHEMA(ID ",\"name\":{\"type\":\"string\"}", "\"sandbox_id\""), immure_mcp_snapshot, " sandbox_id name " },
	{ "fork", "Make another sandbox that begins with the files of one as they are now. Processes are not copied.",
	  SCHEMA(ID, "\"sandbox_id\""), immure_mcp_fork, " sandbox_id " },
};

void immure_mcp_tools_list(struct immure_jsonw *w)
{
	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
		immure_jsonw_object(w, NULL);
		immure_jsonw_str(w, "name", tools[i].name);
		immure_jsonw_str(w, "description", tools[i].help);
		immure_jsonw_raw(w, "inputSchema", tools[i].schema);
		immure_jsonw_end(w, '}');
	}
}

/* What a tool does not know it would silently not do. */
static bool knows_all(struct mcp_request *q, const struct tool *t)
{
	struct immure_json_member m = { 0 };
	char word[80], why[160];

	while (q->args && immure_json_next(q->args, &m)) {
		(void)snprintf(word, sizeof(word), " %s ", m.key);
		if (strlen(m.key) < 64 && strstr(t->members, word))
			continue;
		(void)snprintf(why, sizeof(why), "%.64s: no such argument of %s", m.key, t->name);
		immure_mcp_refuse(q->m, q->id, MCP_PARAMS, why);
		return false;
	}
	return true;
}

bool immure_mcp_tools_call(struct mcp_request *q, const char *name)
{
	const struct tool *t = NULL;
	char *body;

	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (strcmp(tools[i].name, name) == 0)
			t = &tools[i];
	if (!t)
		return false;
	if (!knows_all(q, t))
		return true;
	immure_jsonw_object(&q->w, NULL);
	immure_jsonw_bool(&q->w, "ok", true);
	if (t->fn(q) < 0 || q->later)
		return true;
	immure_jsonw_end(&q->w, '}');
	body = immure_buf_take(&q->body);
	if (body)
		immure_mcp_tool_reply(q->m, q->id, body, false);
	else
		(void)immure_mcp_tool_say(q, "out of memory");
	free(body);
	return true;
}
