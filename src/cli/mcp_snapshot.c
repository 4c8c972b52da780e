/* SPDX-License-Identifier: Apache-2.0 */
/* Tools of `immure mcp` that keep a sandbox's files, and make sandboxes of them. What is made is
 * under the policy that this server was started with and what was tightened since, as its origin is;
 * snapshots that somebody else took are not for a client to open. */
#include "cli/mcp.h"

#include <stdio.h>
#include <string.h>

static const struct immure_json *member(const struct immure_json *of, const char *key, enum immure_json_type type)
{
	const struct immure_json *v = of ? immure_json_get(of, key) : NULL;

	return v && immure_json_type(v) == type ? v : NULL;
}

static void copy_list(struct immure_jsonw *w, const struct immure_json *about, const char *key)
{
	const struct immure_json *list = member(about, key, IMMURE_JSON_ARRAY);

	immure_jsonw_array(w, key);
	for (size_t i = 0; list && i < immure_json_size(list); i++)
		immure_jsonw_str(w, NULL, immure_json_string(immure_json_element(list, i)));
	immure_jsonw_end(w, ']');
}

static void copy_number(struct immure_jsonw *w, const struct immure_json *files, const char *key)
{
	const struct immure_json *v = member(files, key, IMMURE_JSON_INTEGER);

	immure_jsonw_int(w, key, v ? immure_json_integer(v) : 0);
}

/* What is in it and what is not; of the policy a client learns nothing. */
static int tell(struct mcp_request *q, const char *json)
{
	struct immure_json_failure f;
	struct immure_json *doc = NULL;
	const struct immure_json *id, *about, *files;
	int r = immure_json_parse(json, strlen(json), &doc, &f);

	id = r == 0 ? member(doc, "id", IMMURE_JSON_STRING) : NULL;
	if (!id) {
		immure_json_free(doc);
		return immure_mcp_tool_say(q, "what is said of the snapshot cannot be read");
	}
	about = member(doc, "about", IMMURE_JSON_OBJECT);
	files = member(about, "files", IMMURE_JSON_OBJECT);
	(void)snprintf(q->m->snapshots[q->m->snapshots_n], sizeof(q->m->snapshots[0]), "%s", immure_json_string(id));
	q->m->snapshots_n++;
	immure_jsonw_str(&q->w, "snapshot_id", immure_json_string(id));
	copy_list(&q->w, about, "contains");
	copy_list(&q->w, about, "excludes");
	copy_number(&q->w, files, "entries");
	copy_number(&q->w, files, "bytes");
	copy_number(&q->w, files, "left_out");
	immure_json_free(doc);
	return 0;
}

int immure_mcp_snapshot(struct mcp_request *q)
{
	struct immure_snapshot_options o = { .size = sizeof(o), .labels = q->m->flags->session.labels.v,
					     .env = q->m->flags->policy.env };
	struct mcp_sandbox *s = immure_mcp_sandbox(q, false);
	struct immure_error *err = NULL;
	char *json = NULL;
	int r;

	if (!s || !immure_mcp_text(q, "name", false, 63, &o.name))
		return -1;
	if (q->m->snapshots_n == MCP_SNAPSHOTS)
		return immure_mcp_tool_say(q, "%d snapshots were taken already", MCP_SNAPSHOTS);
	if (immure_snapshot_create(s->session, &o, &json, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	r = tell(q, json);
	immure_string_free(json);
	return r;
}

/* As create makes one, and ends with us; without a name, which one has already. */
static struct immure_session_options session_of(const struct immure_runflags *f, char *path)
{
	struct immure_session_options o = immure_cli_session_options(path);

	o.labels = f->session.labels.v;
	o.life_ms = f->session.life_ms;
	o.idle_ms = f->session.idle_ms;
	o.lifetime = IMMURE_LIFE_CALLER;
	o.flags = (f->session.idle_stops ? IMMURE_SESSION_IDLE_STOPS : 0U) |
		  (f->session.remove ? IMMURE_SESSION_REMOVE : 0U) | (f->prove ? IMMURE_SESSION_PROVE : 0U);
	return o;
}

int immure_mcp_fork(struct mcp_request *q)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options so = session_of(q->m->flags, path);
	struct immure_resume_options o = { .size = sizeof(o), .session = &so };
	struct mcp_sandbox *from = immure_mcp_sandbox(q, false), *s = from ? immure_mcp_place(q) : NULL;
	struct immure_error *err = NULL;

	if (!s)
		return -1;
	if (immure_session_fork(from->session, 1, &o, &s->session, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	return immure_mcp_made(q, s);
}

int immure_mcp_from_snapshot(struct mcp_request *q, const char *id)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options so = session_of(q->m->flags, path);
	struct immure_resume_options o = { .size = sizeof(o), .session = &so };
	struct immure_error *err = NULL;
	struct mcp_sandbox *s;
	size_t i = 0;

	while (i < q->m->snapshots_n && strcmp(q->m->snapshots[i], id) != 0)
		i++;
	if (i == q->m->snapshots_n)
		return immure_mcp_tool_say(q, "%s: no snapshot of this server", id);
	s = immure_mcp_place(q);
	if (!s)
		return -1;
	if (immure_session_resume(id, &o, &s->session, &err) < 0)
		return immure_mcp_tool_fail(q, err);
	return immure_mcp_made(q, s);
}
