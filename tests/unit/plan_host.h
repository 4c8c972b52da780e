/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up host for tests of the planner: what is not declared is absent. */
#ifndef IMMURE_TESTS_PLAN_HOST_H
#define IMMURE_TESTS_PLAN_HOST_H

#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "facts/facts.h"
#include "plan/plan.h"
#include "policy/policy.h"

struct host {
	struct immure_facts facts;
	struct immure_policy *policy;
	struct immure_plan *plan;
	struct immure_error *err;
	struct immure_fact_path declared[128];
	size_t declared_n;
	struct immure_fact_mount mounts[32];
	struct immure_fact_listing lists[16]; /* declared directories */
	struct immure_fact_entry entries[128];
	size_t lists_n, entries_n;
	const char *cwd; /* of the command */
	bool no_workspace;
	const char *file; /* a policy file; NULL = none */
	void (*change)(struct immure_policy *p); /* after loading; NULL = nothing */
};

/* Landlock ABI 7, everything works, no cgroup; user 1000, home /home/u, caller
 * in /home/u/ws, which exist as /, /usr, /run, /sys, /tmp, /var/tmp do. */
void host_init(struct host *h);
void host_done(struct host *h);
/* For cmocka: a host of the test's own, and its end. */
int host_setup(void **state);
int host_teardown(void **state);

/* type as in struct immure_fact_path. */
struct immure_fact_path *host_has(struct host *h, const char *path, char type);
/* A symlink; real is what it leads to, NULL when it dangles. */
struct immure_fact_path *host_link(struct host *h, const char *path, const char *text,
				   const char *real, char type);
/* A path that is reached through a link further up. */
struct immure_fact_path *host_through(struct host *h, const char *path, const char *real,
				      char type);
/* What a listing of dir gives: "d:name", "f:name" ..., NULL at the end. Directories
 * that are asked for and not declared are empty. */
void host_lists(struct host *h, const char *dir, ...);
void host_mount(struct host *h, uint32_t minor, const char *root, const char *target);
void host_socket(struct host *h, const char *path);

/* Plans with profile and "key=value" settings ended by NULL; NULL profile: dev.
 * Returns the code of immure_plan_make(). */
int32_t host_plan(struct host *h, const char *profile, ...);
/* The same, and it must succeed. */
#define host_must(h, ...)                                                                      \
	do {                                                                                   \
		int32_t r_ = host_plan(h, __VA_ARGS__);                                        \
		if (r_ < 0)                                                                    \
			fail_msg("%d: %s", r_, immure_error_text((h)->err));                   \
	} while (0)
/* The same, and it must be refused with this code, the text containing word. */
#define host_refuses(h, code, word, ...)                                                       \
	do {                                                                                   \
		assert_int_equal(host_plan(h, __VA_ARGS__), -(code));                          \
		host_said(h, word);                                                            \
	} while (0)
void host_said(struct host *h, const char *word);

/* What stands at dst: the op, or NULL. kind IMMURE_OP_MAX: any of the mounts. */
const struct immure_op *host_at(const struct host *h, const char *dst, uint32_t kind);
/* dst is exactly that, or nothing is there: else the test fails and says what is. */
void host_shows(const struct host *h, const char *dst, uint32_t kind);
void host_lacks(const struct host *h, const char *dst);
size_t host_count(const struct host *h, uint32_t kind);
/* The WATCH for pattern below dir, NULL = none. */
const struct immure_op *host_watch(const struct host *h, const char *dir, const char *pattern);
const struct immure_gap *host_gap(const struct host *h, const char *dimension);
/* Position of the op among all, -1 = not there. */
int host_position(const struct host *h, uint32_t kind, const char *dst);

#endif
