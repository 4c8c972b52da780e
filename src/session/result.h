/* SPDX-License-Identifier: Apache-2.0 */
/* What one run came to. Made by the supervisor, carried to another process in
 * encoded form, printed for people and as JSON. */
#ifndef IMMURE_SESSION_RESULT_H
#define IMMURE_SESSION_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct immure_jsonw;

/* Something found in the tree when the command had ended. */
struct immure_found {
	const char *path;   /* absolute */
	const char *why;    /* which program obeys it */
	const char *action; /* "quarantined", "renamed", "reported", "restored", "failed" */
	const char *to;     /* where it was moved; renamed: its name now; "" */
};

/* Something of the network that was denied, or that was allowed and failed: the same
 * thing once. */
struct immure_denial {
	const char *step;  /* "lookup", "connect", "dial", "content", "cut", "limit", "datagram";
			    * of a failure "resolve", "reach" */
	bool failed;
	const char *code;  /* "http_denied_acl" and others of PROTOCOL.md; "" = not about HTTP */
	const char *host;
	const char *why;
	const char *rule;  /* that decided; "" = none matches */
	const char *add;   /* the rule that would allow it; "" = none would */
	const char *exe;   /* who was first, "" = gone or unknown */
	uint32_t pid;      /* as the session numbers it */
	uint32_t port;     /* 0 = none: a lookup */
	uint64_t count;    /* how often the gatekeeper said so */
	uint64_t at_ms;    /* the first time, since 1970 */
};

struct immure_network {
	bool there; /* the session had a gatekeeper */
	const char *way; /* how names are caught, NULL or "" = they are not */
	uint64_t connections, bytes_out, bytes_in, lookups;
	uint64_t restarts;
	struct immure_denial *denied; /* and what failed */
	size_t denied_n, denied_cap;
	uint64_t denied_more; /* that are not in the list */
};

struct immure_result {
	struct immure_arena arena;
	int32_t outcome, code, verdict;
	uint64_t wall_ms;
	uint64_t cpu_user_us, cpu_system_us;
	uint64_t peak_memory;        /* bytes */
	const char *peak_memory_of;  /* "session" (cgroup) or "largest process" */
	uint64_t processes;          /* made in the session, threads included; 0 = not counted */
	uint64_t io_read, io_written; /* bytes from and to disks, by what was waited for */
	uint64_t bytes_out;
	bool bytes_out_known;        /* false: the streams were passed through */
	const char *backend, *profile, *policy_version, *plan_hash;
	const char *agent; /* "" = none was named */
	struct immure_found *found;
	size_t found_n, found_cap;
	const char *kept;            /* id of what was changed in a copy-on-write workspace; "" */
	const char *notices;         /* lines, "" */
	const char *proof_json, *proof_text; /* NULL: not asked for */
	uint64_t proof_points, proof_short;
	struct immure_network network;
	uint64_t trace_ns[20];       /* see trace_names, 0 = not recorded */
};

/* A command can leave as many things as it likes: so many are in the record. */
enum { IMMURE_FOUND_MAX = 10000, IMMURE_DENIED_MAX = 1000 };

struct immure_result *immure_result_new(void);
void immure_result_notice(struct immure_result *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool immure_result_add_found(struct immure_result *r, const char *path, const char *why,
			     const char *action, const char *to);
/* As an object, of an array when name is NULL. */
void immure_result_denial_json(const char *name, const struct immure_denial *d,
			       struct immure_jsonw *w);
/* One line, for people. */
void immure_result_denial_text(const struct immure_denial *d, struct immure_buf *out);
/* Copies. */
bool immure_result_add_denial(struct immure_result *r, const struct immure_denial *d);
int32_t immure_result_encode(const struct immure_result *r, struct immure_buf *out);
int32_t immure_result_decode(const void *data, size_t len, struct immure_result **ret);
void immure_result_json(const struct immure_result *r, struct immure_buf *out);
void immure_result_text(const struct immure_result *r, struct immure_buf *out);

/* Points on the way of one run, in order of time. */
enum {
	IMMURE_TRACE_START,
	IMMURE_TRACE_PREPARED,
	IMMURE_TRACE_CLONED,
	IMMURE_TRACE_STAGES, /* + enum immure_stage order inside, see result.c */
	IMMURE_TRACE_EXITED = 17,
	IMMURE_TRACE_REAPED,
	IMMURE_TRACE_DONE,
};

#endif
