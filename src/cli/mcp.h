/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `immure mcp`: the server's loop and its messages (mcp.c), commands that
 * run (mcp_exec.c), files that are kept (mcp_snapshot.c), and the tools (mcp_tools.c). */
#ifndef IMMURE_CLI_MCP_H
#define IMMURE_CLI_MCP_H

#include "base/json.h"
#include "base/jsonw.h"
#include "cli/session.h"

enum {
	MCP_SANDBOXES = 64,
	MCP_CALLS = 64,                /* commands that run at one time */
	MCP_SNAPSHOTS = 64,            /* of one server: they stay when it ends */
	MCP_LINE_BYTES = 16 << 20,     /* of one message */
	MCP_FILE_BYTES = 10 << 20,
	MCP_OUTPUT_BYTES = 4 << 20,    /* of one command, both streams together */
	MCP_COMMAND_BYTES = 64 << 10,
	MCP_ARG_BYTES = 32 << 10,
	MCP_CODE_BYTES = 1 << 20,
	MCP_ENTRIES = 10000,
	MCP_ENV = 64,
	MCP_TIMEOUT_MS = 120000,       /* unless told */
	MCP_TIMEOUT_MAX_MS = 3600000,
};

enum { MCP_PARSE = -32700, MCP_INVALID = -32600, MCP_NO_METHOD = -32601, MCP_PARAMS = -32602 };

struct mcp_sandbox {
	immure_session *session; /* NULL: this place is free */
	char id[64];
	bool ephemeral; /* ends with its one command */
};

/* A command that runs; its answer is sent when it has ended. */
struct mcp_call {
	immure_process *process; /* NULL: this place is free */
	struct mcp_sandbox *in;
	char *id; /* of the request, as JSON */
	struct immure_buf out, err;
	bool truncated, cancelled;
};

struct mcp {
	struct immure_runflags *flags;
	struct mcp_sandbox sandboxes[MCP_SANDBOXES];
	struct mcp_call calls[MCP_CALLS];
	char snapshots[MCP_SNAPSHOTS][32]; /* ids of those that were taken here */
	size_t snapshots_n;
	struct immure_buf in;
	bool discard; /* until the end of a line that is too long */
	bool broken;  /* nobody reads any more */
};

/* One request while it is answered. */
struct mcp_request {
	struct mcp *m;
	const struct immure_json *args; /* of a tool; NULL: none */
	const char *id;                 /* as JSON */
	struct immure_buf body;         /* the tool's answer: one object */
	struct immure_jsonw w;          /* into it */
	bool later;                     /* will be answered when a command has ended */
};

/* mcp.c. What a request came to; each sends one message. */
void immure_mcp_reply(struct mcp *m, const char *id, const char *result);
void immure_mcp_refuse(struct mcp *m, const char *id, int code, const char *why);
/* A tool's answer: body is one JSON object. */
void immure_mcp_tool_reply(struct mcp *m, const char *id, const char *body, bool failed);
/* An error of the library as a tool's answer; frees it. Returns -1. */
int immure_mcp_tool_fail(struct mcp_request *q, struct immure_error *err);
/* A tool's answer that it failed, in these words. Returns -1. */
int immure_mcp_tool_say(struct mcp_request *q, const char *fmt, ...) IMMURE_PRINTF(2, 3);

/* mcp_tools.c */
void immure_mcp_tools_list(struct immure_jsonw *w);
/* false: no such tool. Answers, or has begun what will be. */
bool immure_mcp_tools_call(struct mcp_request *q, const char *name);
struct mcp_sandbox *immure_mcp_sandbox(struct mcp_request *q, bool ephemeral);
void immure_mcp_end(struct mcp_sandbox *s);
/* Where a new one has room; NULL: nowhere, and that is answered. */
struct mcp_sandbox *immure_mcp_place(struct mcp_request *q);
/* Its session is there: its id is the answer. Returns 0. */
int immure_mcp_made(struct mcp_request *q, struct mcp_sandbox *s);
/* A string argument, at most max bytes; NULL: not given. false: the wrong type, or too
 * long, and the request is refused. */
bool immure_mcp_text(struct mcp_request *q, const char *key, bool needed, size_t max,
		     const char **ret);

/* mcp_snapshot.c */
int immure_mcp_snapshot(struct mcp_request *q);
int immure_mcp_fork(struct mcp_request *q);
int immure_mcp_from_snapshot(struct mcp_request *q, const char *id);

/* mcp_exec.c */
int immure_mcp_execute_command(struct mcp_request *q);
int immure_mcp_execute_code(struct mcp_request *q);
/* Takes what its session has to tell. */
void immure_mcp_news(struct mcp *m, struct mcp_sandbox *s);
void immure_mcp_cancel(struct mcp *m, const char *id);
void immure_mcp_forget(struct mcp_call *c);

#endif
