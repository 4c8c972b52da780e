/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share: a session of the strict profile in this directory. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdio.h>
#include <stdlib.h>

#include <immure/immure.h>

extern char **environ;

static inline void fail(immure_error *err)
{
	fprintf(stderr, "%s\n", immure_error_text(err));
	immure_error_free(err);
	exit(125);
}

static inline struct immure_session_options session_options(uint32_t lifetime)
{
	/* Where immure is installed it is found; elsewhere this variable names it. */
	return (struct immure_session_options){
		.size = sizeof(struct immure_session_options), .lifetime = lifetime,
		.supervisor = getenv("IMMURE_PROGRAM"), .env = (const char *const *)environ,
	};
}

static inline immure_session *make_session(uint32_t lifetime)
{
	static const char *const nothing[] = { "true", NULL }; /* the plan's command is not run */
	struct immure_policy_options po = { .size = sizeof(po), .profile = "strict",
					    .env = (const char *const *)environ,
					    .flags = IMMURE_POLICY_NO_DISCOVERY };
	struct immure_plan_options pl = { .size = sizeof(pl), .argv = nothing,
					  .env = (const char *const *)environ };
	struct immure_session_options so = session_options(lifetime);
	immure_session *session = NULL;
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	immure_error *err = NULL;

	if (immure_policy_load(&po, &policy, &err) < 0 ||
	    immure_plan_create(policy, &pl, &plan, &err) < 0 ||
	    immure_session_create(plan, &so, &session, &err) < 0)
		fail(err);
	immure_plan_free(plan);
	immure_policy_free(policy);
	return session;
}

#endif
