/* SPDX-License-Identifier: Apache-2.0 */
/* immure-attack: tries, from inside, what the plan says is impossible. It does
 * not know the plan and judges nothing; it reports what happened. Every point
 * is one function, run in a child of its own, so that a filter that kills takes
 * one point and not the rest.
 *
 * These acts are real. The program refuses to run in the initial pid namespace,
 * and each act is shaped so that even where nothing stops it, nothing outside
 * changes: bad magic numbers, signal 0, exchange and exchange back. */
#ifndef IMMURE_ATTACK_H
#define IMMURE_ATTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTACK_ERRNOS 6
#define ATTACK_DETAIL 200

enum attack_outcome {
	ATTACK_NONE,        /* the child ended without an answer */
	ATTACK_DENIED,      /* every attempt was refused */
	ATTACK_DONE,        /* an attempt succeeded */
	ATTACK_ERROR,       /* the attempt itself could not be set up */
	ATTACK_UNSUPPORTED, /* has no meaning on this machine or with these targets */
};

/* Lives in memory shared with the parent. */
struct attack_result {
	enum attack_outcome outcome;
	unsigned int count;           /* attempts made */
	unsigned int errnos_n;
	int errnos[ATTACK_ERRNOS];    /* the different errnos seen */
	char detail[ATTACK_DETAIL];
};

/* One line of standard input: "KIND VALUE". */
struct attack_target {
	const char *kind;
	const char *value;
};

struct attack_ctx {
	const struct attack_target *targets;
	size_t n;
	int report_fd;
	long init; /* the process that runs the session: it executed this one */
	char **envp;
};

struct attack {
	const char *id;
	void (*fn)(const struct attack_ctx *ctx, struct attack_result *r);
};

struct attack_list {
	const struct attack *v;
	size_t n;
};

/* One list a file, in the order in which they run. */
extern const struct attack_list attack_controls, attack_files, attack_secrets, attack_network,
	attack_ipc, attack_processes, attack_syscalls, attack_privileges, attack_devices,
	attack_resources, attack_kernel, attack_egress, attack_values;

/* Notes one refused attempt. The first detail is kept. */
void attack_denied(struct attack_result *r, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Notes one that succeeded; nothing afterwards changes the outcome. */
void attack_done(struct attack_result *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void attack_error(struct attack_result *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void attack_unsupported(struct attack_result *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* ret < 0 with errno: denied; otherwise done. True when done. */
bool attack_try(struct attack_result *r, long ret, const char *what);

/* The next target of this kind from *i on; NULL at the end. */
const char *attack_next(const struct attack_ctx *ctx, const char *kind, size_t *i);
const char *attack_first(const struct attack_ctx *ctx, const char *kind);
/* Decimal text at *s, moved past it and one space; 0 when there is none. */
uint64_t attack_number(const char **s);

/* "/proc/INIT/name" */
const char *attack_init_file(const struct attack_ctx *ctx, const char *name, char *buf, size_t size);

/* Reads at most size - 1 bytes, NUL-terminated; -1 with errno. */
long attack_read_file(const char *path, char *buf, size_t size);
/* A name that nobody else has, from the pid and the clock. */
void attack_name(char *buf, size_t size, const char *dir);
/* The value of "Key:" in a /proc status text; NULL when missing. */
const char *attack_field(const char *text, const char *key);

#endif
