/* SPDX-License-Identifier: Apache-2.0 */
/* Bait: real things on the host for the attacker inside to reach for, so that
 * a refusal is a refusal and not a target that was never there. Made by the
 * supervisor before the session starts, looked at after the attack, closed. */
#ifndef IMMURE_EVIDENCE_BAIT_H
#define IMMURE_EVIDENCE_BAIT_H

#include <stdint.h>

#include "base/arena.h"

enum immure_bait_kind {
	IMMURE_BAIT_TCP4, /* listens on 127.0.0.1 */
	IMMURE_BAIT_TCP6, /* listens on ::1 */
	IMMURE_BAIT_UDP4,
	IMMURE_BAIT_UDP6,
	IMMURE_BAIT_ABSTRACT, /* abstract unix socket with a random name */
	IMMURE_BAIT_UNIX,     /* pathname unix socket in the directory given */
	IMMURE_BAIT_MAX
};

#define IMMURE_BAIT_NS_MAX 8
/* "user", "mnt", "pid", ... and the CLONE_NEW* bit; index as in ns[] below. */
struct immure_bait_ns {
	const char *name;
	uint64_t flag;
};
extern const struct immure_bait_ns immure_bait_ns[IMMURE_BAIT_NS_MAX];

struct immure_bait {
	struct immure_arena arena;
	int fd[IMMURE_BAIT_MAX];        /* -1: could not be made on this host */
	uint16_t port[IMMURE_BAIT_MAX]; /* of the first four */
	uint32_t touched;               /* bit per kind: something from inside arrived */
	char abstract[32];              /* without the leading NUL */
	const char *unix_path;          /* NULL: none was made */
	uint32_t pid;                   /* of the supervisor */
	uint64_t start_time;            /* of it, in ticks since boot */
	uint64_t ns[IMMURE_BAIT_NS_MAX]; /* inodes of its namespaces, 0 = unknown */
	struct immure_strv env;         /* names in the caller's environment */
	struct immure_strv secrets;     /* "LENGTH BASE HASH NAME" (base/needle.h) */
	struct immure_strv secret_env, secret_files; /* where their values are for the caller */
	struct immure_strv addresses;   /* of the host's interfaces, a sample */
};

#define IMMURE_BAIT_INIT { .fd = { -1, -1, -1, -1, -1, -1 } }

/* dir: a directory of ours outside the sandbox for the pathname socket, NULL =
 * no such bait. env: the caller's environment (names only are kept). A kind of
 * bait that this host does not let us make is left out; -ENOMEM otherwise.
 * Descriptors are CLOEXEC. */
int immure_bait_prepare(struct immure_bait *b, const char *dir, const char *const *env);
/* bait_secrets.c: what the values of the plan's secrets are known by. -ENOMEM, -EIO. */
struct immure_plan;
int immure_bait_secrets(struct immure_bait *b, const struct immure_plan *plan, const char *const *env);
/* Notes who came; never blocks. */
void immure_bait_check(struct immure_bait *b);
/* Closes and removes everything. */
void immure_bait_done(struct immure_bait *b);

#endif
