/* SPDX-License-Identifier: Apache-2.0 */
/* The request to run a command in a live session: a fixed head, then strings
 * (cwd, argv, environment), each ended by NUL, in the message itself or in a
 * memfd. Senders are the supervisor and, over a lane, a program of the
 * session's owner; init believes no number in it. */
#ifndef IMMURE_INIT_RUN_H
#define IMMURE_INIT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "init/message.h"

enum {
	IMMURE_RUN_INLINE_MAX = 48 << 10, /* strings in the message itself */
	IMMURE_RUN_BLOB_MAX = 8 << 20,    /* strings in a memfd */
	IMMURE_RUN_STRINGS_MAX = 65536,
	IMMURE_RUN_ENV_MAX = 2048,
	IMMURE_RUN_RLIMITS = 8,
	IMMURE_RUN_FDS = 4,               /* three streams and a memfd */
};

enum immure_run_flag {
	IMMURE_RUNF_NULL_IN = 1,  /* /dev/null; no descriptor of it in the message */
	IMMURE_RUNF_NULL_OUT = 2,
	IMMURE_RUNF_NULL_ERR = 4,
	IMMURE_RUNF_PTY = 8,      /* a terminal made inside is all three; no descriptors */
	IMMURE_RUNF_MEMFD = 16,   /* the last descriptor holds the strings */
	IMMURE_RUNF_QUIET = 32,   /* no STARTED, ENDED or DENIED is enough */
	IMMURE_RUNF_CLEAR_ENV = 64, /* not on top of the plan's environment */
	IMMURE_RUNF_KEEP = 128,   /* the end of the lane is not the end of the command */
	IMMURE_RUNF_TERMINAL = 256, /* PTY: one that the sender has made, the first descriptor */
	IMMURE_RUNF_ALL = 511,
};

struct immure_init_run {
	uint32_t type; /* IMMURE_INIT_RUN */
	uint32_t flags;
	uint64_t id;   /* the sender's own; in its replies */
	uint32_t argc, envc;
	uint64_t blob_len;
	uint64_t timeout_ms; /* 0 = none */
	uint64_t grace_ms;   /* from SIGTERM to SIGKILL */
	uint16_t rows, cols;
	uint32_t rlimits_n;
	struct {
		uint32_t resource; /* RLIMIT_* */
		uint32_t reserved;
		uint64_t value;    /* soft and hard; never raised */
	} rlimit[IMMURE_RUN_RLIMITS];
};

/* What a sender fills in. argv is not empty; env and cwd may be NULL. */
struct immure_run_spec {
	struct immure_init_run head; /* type, argc, envc and blob_len are filled in */
	const char *const *argv, *const *env;
	const char *cwd; /* NULL = the plan's */
	int stdio[3];    /* borrowed; -1 = /dev/null */
};

/* One message on sock: 0, -E2BIG when the strings are too large, -EINVAL, or
 * -errno of sending (-EAGAIN with MSG_DONTWAIT). Allocates only for strings
 * beyond IMMURE_RUN_INLINE_MAX, by memfd. flags as sendmsg(2). */
int immure_run_send(int sock, struct immure_run_spec *spec, int flags);

/* The vectors of a request, pointing into blob. n entries of v are: argv, NULL,
 * envp, NULL. */
struct immure_run_strings {
	const char *cwd; /* "" = the plan's */
	const char **argv, **envp;
};

/* How many pointers immure_run_parse() needs. */
size_t immure_run_pointers(const struct immure_init_run *head, size_t plan_env);
/* Checks the blob against the head, lays out the vectors in v. plan_env: what
 * the request's environment goes on top of, env_n entries. -EINVAL: not a
 * request; -EACCES: it sets a variable that only the policy may (*ret_name).
 * No allocation. */
int immure_run_parse(const struct immure_init_run *head, const char *blob,
		     const char *const *plan_env, size_t plan_env_n, const char **v,
		     struct immure_run_strings *ret, const char **ret_name);

#endif
