/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a session that outlives this command and prints its id. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "cli/session.h"

/* One session, or a list of many. */
struct made {
	uint32_t count; /* 0 = one */
	immure_session *session;
	char *list;
};

static int32_t start(const immure_plan *plan, const struct immure_session_options *o, struct made *ret,
		     struct immure_error **err)
{
	int32_t r = immure_plan_check(plan, err);

	if (r < 0)
		return r;
	immure_cli_print_downgrades(plan);
	return ret->count ? immure_session_create_many(plan, o, ret->count, &ret->list, err)
			  : immure_session_create(plan, o, &ret->session, err);
}

/* As run does: what the host refuses is tried once more by each backend that is left,
 * where the policy leaves the choice. A refused one has ended, and so has its record. */
static int32_t start_somehow(const immure_policy *policy, const struct immure_plan_options *how,
			     immure_plan **plan, const struct immure_session_options *o,
			     struct made *ret, struct immure_error **err)
{
	struct immure_error *first = NULL, *lacks = NULL;
	int32_t r = start(*plan, o, ret, &first);

	for (int i = 0, again = r; i < 3 && again < 0; i++) {
		struct immure_error *why = NULL;
		immure_plan *other = NULL;

		if (immure_plan_replace(policy, how, *plan, first, &other, &lacks) < 0 || !other)
			break;
		immure_plan_free(*plan);
		*plan = other;
		again = start(*plan, o, ret, &why);
		immure_error_free(why); /* the first refusal is what counts */
		if (again == 0)
			r = 0;
	}
	if (r < 0)
		immure_cli_add_other(first, lacks);
	immure_error_free(lacks);
	if (r < 0 && err)
		*err = first;
	else
		immure_error_free(first);
	return r;
}

static int32_t create(struct immure_runflags *f, bool with_us, struct made *ret, struct immure_error **err)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options o = immure_cli_session_options(path);
	struct immure_plan_options plan_options = {
		.size = sizeof(plan_options), .argv = nothing, .env = f->policy.env, .cwd = f->cwd,
		.facts = IMMURE_FACTS_QUICK,
	};
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	int32_t r;

	o.name = f->session.name;
	o.labels = f->session.labels.v;
	o.life_ms = f->session.life_ms;
	o.idle_ms = f->session.idle_ms;
	o.lifetime = with_us		      ? IMMURE_LIFE_CALLER
		     : o.life_ms || o.idle_ms ? IMMURE_LIFE_LEASED
					      : IMMURE_LIFE_DETACHED;
	o.flags = (f->session.idle_stops ? IMMURE_SESSION_IDLE_STOPS : 0U) |
		  (f->session.remove ? IMMURE_SESSION_REMOVE : 0U) | (f->prove ? IMMURE_SESSION_PROVE : 0U);
	r = immure_runflags_policy(f, &policy, err);
	if (r == 0)
		(void)immure_scope_enter(policy, f->policy.env, NULL); /* as in run.c */
	if (r == 0)
		r = immure_plan_create(policy, &plan_options, &plan, err);
	if (r == 0)
		r = start_somehow(policy, &plan_options, &plan, &o, ret, err);
	immure_plan_free(plan);
	immure_policy_free(policy);
	return r;
}

int32_t immure_cli_create_session(struct immure_runflags *f, bool with_us, immure_session **ret,
				  struct immure_error **err)
{
	struct made made = { .count = 0 };
	int32_t r = create(f, with_us, &made, err);

	if (r == 0)
		*ret = made.session;
	return r;
}

/* All of them as JSON, or the id of each in a line. */
static int create_many(struct immure_runflags *f)
{
	struct made made = { .count = f->session.count };
	struct immure_error *err = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	char *text;
	int status;

	if (create(f, false, &made, &err) < 0)
		return immure_cli_fail(err);
	if (f->json) {
		status = immure_cli_print_json(made.list);
	} else {
		const char *at = made.list;

		while ((at = strstr(at, "\"session\":\""))) { /* ids are letters and digits */
			at += sizeof("\"session\":\"") - 1;
			if (b.len)
				immure_buf_putc(&b, '\n');
			immure_buf_put(&b, at, strcspn(at, "\""));
		}
		text = immure_buf_take(&b);
		status = immure_cli_print_json(text);
		free(text);
	}
	immure_string_free(made.list);
	return status;
}

int immure_cli_create(int argc, char **argv)
{
	struct immure_runflags f;
	struct immure_error *err = NULL;
	immure_session *session = NULL;
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text, *proof = NULL;
	int status = immure_runflags_parse("create", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	if (f.first < argc) {
		immure_cli_say("create: %s: a session is made without a command; then: immure exec SESSION -- "
			       "COMMAND", argv[f.first]);
		immure_runflags_done(&f);
		return IMMURE_EXIT_FAILED;
	}
	if (f.session.count) {
		status = create_many(&f);
		immure_runflags_done(&f);
		return status;
	}
	if (immure_cli_create_session(&f, false, &session, &err) < 0) {
		immure_runflags_done(&f);
		return immure_cli_fail(err);
	}
	if (f.json) {
		immure_jsonw_init(&w, &b, 0);
		immure_jsonw_object(&w, NULL);
		immure_jsonw_str(&w, "session", immure_session_id(session));
		immure_jsonw_str(&w, "name", f.session.name ? f.session.name : "");
		immure_jsonw_str(&w, "state", "RUNNING");
		if (f.prove && immure_session_proof(session, &proof, &err) == 0)
			immure_jsonw_raw(&w, "proof", proof);
		immure_string_free(proof);
		immure_jsonw_end(&w, '}');
	} else {
		immure_buf_puts(&b, immure_session_id(session));
	}
	text = immure_buf_take(&b);
	status = immure_cli_print_json(text);
	free(text);
	immure_session_free(session);
	immure_runflags_done(&f);
	return status;
}
