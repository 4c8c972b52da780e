/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: started, listed, looked at, stopped. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonr.h"
#include "base/jsonw.h"
#include "cli/session.h"

enum { VALUES = 65536 };

static int32_t open_pool(const char *name, immure_pool **ret, struct immure_error **err)
{
	struct immure_pool_options o = { .size = sizeof(o), .name = name, .env = (const char *const *)environ };

	return immure_pool_open(NULL, &o, ret, err);
}

/* What every one of its sessions lacks is said once, here. */
static int32_t look(const immure_policy *policy, const struct immure_runflags *f, uint32_t flags,
		    immure_plan **ret, struct immure_error **err)
{
	static const char *const nothing[] = { "/bin/true", NULL };
	struct immure_plan_options o = {
		.size = sizeof(o), .argv = nothing, .env = f->policy.env, .cwd = f->cwd,
		.facts = IMMURE_FACTS_QUICK, .flags = flags,
	};
	int32_t r = immure_plan_create(policy, &o, ret, err);

	if (r == 0)
		r = immure_plan_check(*ret, err);
	if (r == 0)
		immure_cli_print_downgrades(*ret);
	return r;
}

/* Each is what the snapshot is resumed as. */
static int32_t restore(const struct immure_runflags *f, struct immure_pool_options *o, immure_pool **ret,
		       struct immure_error **err)
{
	struct immure_resume_options how = { .size = sizeof(how) };
	struct immure_setting *own = NULL;
	immure_policy *policy = NULL;
	int32_t r = immure_cli_resume_policy(f, &how, &own, &policy, err);

	(void)immure_scope_enter(policy, f->policy.env, NULL); /* as in run.c */
	o->snapshot = f->session.snapshot;
	o->resume = &how;
	if (r == 0)
		r = immure_pool_open(NULL, o, ret, err);
	immure_policy_free(policy);
	immure_cli_resume_forget(own, how.settings_n);
	return r;
}

/* With a workspace all of them have that one; without, each gets its caller's. A template
 * has one in any case. */
static int32_t make(struct immure_runflags *f, immure_pool **ret, struct immure_error **err)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_pool_options o = {
		.size = sizeof(o), .name = f->session.name, .lifetime = IMMURE_LIFE_DETACHED,
		.pool_size = f->session.pool_size, .pool_max = f->session.pool_max,
		.mode = f->session.zygote ? IMMURE_POOL_ZYGOTE : IMMURE_POOL_SESSIONS,
		.idle_ms = f->session.idle_ms, .env = (const char *const *)environ,
		.reuse = f->session.reuse,
	};
	bool fixed = f->policy.workspace || f->session.zygote;
	immure_policy *policy = NULL;
	immure_plan *plan = NULL;
	int32_t r;

	if (immure_cli_own_program("immure", path))
		o.supervisor = path;
	if (f->session.snapshot)
		return restore(f, &o, ret, err);
	r = immure_runflags_policy(f, &policy, err);
	if (r == 0)
		(void)immure_scope_enter(policy, f->policy.env, NULL); /* as in run.c */
	if (r == 0)
		r = look(policy, f, fixed ? 0 : IMMURE_PLAN_NO_WORKSPACE, &plan, err);
	o.policy = fixed ? NULL : policy;
	if (r == 0)
		r = immure_pool_open(fixed ? plan : NULL, &o, ret, err);
	immure_plan_free(plan);
	immure_policy_free(policy);
	return r;
}

static int print_stats(immure_pool *pool, bool json)
{
	struct immure_error *err = NULL;
	char *text = NULL;
	int status;

	if (immure_pool_stats(pool, &text, &err) < 0)
		return immure_cli_fail(err);
	status = json ? immure_cli_print_json(text) : immure_cli_print_lines(text);
	immure_string_free(text);
	return status;
}

static int start(struct immure_runflags *f)
{
	struct immure_error *err = NULL;
	immure_pool *pool = NULL;
	int status = 0;

	if (f->first < f->argc) {
		immure_cli_say("pool: %s: a pool is started without a command; then: immure run --pool "
			       "NAME -- COMMAND", f->argv[f->first]);
		return IMMURE_EXIT_FAILED;
	}
	if (!f->session.name)
		f->session.name = "pool";
	if (make(f, &pool, &err) < 0)
		return immure_cli_fail(err);
	if (f->json)
		status = print_stats(pool, true);
	immure_pool_free(pool);
	return status;
}

static int stop(immure_pool *pool, const struct immure_runflags *f)
{
	struct immure_error *err = NULL;

	if (immure_pool_stop(pool, f->force, &err) < 0)
		return immure_cli_fail(err);
	return f->json ? immure_cli_print("{\"state\":\"SEALED\"}\n") : 0;
}

/* ---- ls ---- */

/* Of the list of all that is registered, what is a living pool. */
static void put_pools(const struct immure_jsonr *r, bool json, struct immure_buf *b)
{
	const struct immure_jsonr_value *top = &r->v[0];
	struct immure_jsonw w;

	immure_jsonw_init(&w, b, 0);
	if (json)
		immure_jsonw_array(&w, NULL);
	for (const struct immure_jsonr_value *v = immure_jsonr_first(r, top); v;
	     v = immure_jsonr_after(r, top, v)) {
		static const char *const keys[] = { "name", "session", "profile", "backend",
						    "policy_version", "note" };

		if (strcmp(immure_jsonr_text(r, v, "state"), "POOL") != 0)
			continue;
		if (json)
			immure_jsonw_object(&w, NULL);
		for (size_t i = 0; json && i < sizeof(keys) / sizeof(keys[0]); i++)
			immure_jsonw_str(&w, i == 0 ? "pool" : keys[i], immure_jsonr_text(r, v, keys[i]));
		if (json)
			immure_jsonw_end(&w, '}');
		else
			immure_buf_printf(b, "%-20s %-18s %-16s %s\n", immure_jsonr_text(r, v, "name"),
					  immure_jsonr_text(r, v, "session"), immure_jsonr_text(r, v, "profile"),
					  immure_jsonr_text(r, v, "note"));
	}
	if (json)
		immure_jsonw_end(&w, ']');
	if (json)
		immure_buf_putc(b, '\n');
}

static int list(bool json)
{
	struct immure_session_options o = { .size = sizeof(o), .env = (const char *const *)environ };
	struct immure_jsonr_value *v = calloc(VALUES, sizeof(*v));
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_error *err = NULL;
	struct immure_jsonr r;
	char *text = NULL, *lines;
	int status;

	if (immure_session_list(&o, &text, &err) < 0) {
		free(v);
		return immure_cli_fail(err);
	}
	if (!v || immure_jsonr_parse(&r, text, strlen(text), v, VALUES) < 0) {
		immure_cli_say("pool: the list of sessions is too long to be read");
		status = IMMURE_EXIT_FAILED;
	} else {
		put_pools(&r, json, &b);
		lines = immure_buf_take(&b);
		status = immure_cli_print(lines ? lines : "");
		free(lines);
	}
	immure_string_free(text);
	free(v);
	return status;
}

/* ---- which ---- */

/* NAME, or --name as with start; NULL, said why: both, or more than one. */
static const char *which(const char *what, const struct immure_runflags *f)
{
	const char *name = f->first < f->argc ? f->argv[f->first] : NULL;

	if (f->argc - f->first > 1 || (name && f->session.name)) {
		immure_cli_say("pool: %s: one pool at a time", what);
		return NULL;
	}
	return name ? name : f->session.name ? f->session.name : "pool";
}

static int dispatch(const char *what, struct immure_runflags *f)
{
	struct immure_error *err = NULL;
	immure_pool *pool = NULL;
	const char *name;
	int status;

	if (!strcmp(what, "start"))
		return start(f);
	if (!strcmp(what, "ls"))
		return list(f->json);
	if (strcmp(what, "stats") != 0 && strcmp(what, "stop") != 0)
		return immure_cli_no_verb("pool", what, "start, stats, stop or ls");
	name = which(what, f);
	if (!name)
		return IMMURE_EXIT_FAILED;
	if (open_pool(name, &pool, &err) < 0)
		return immure_cli_fail(err);
	status = strcmp(what, "stop") == 0 ? stop(pool, f) : print_stats(pool, f->json);
	immure_pool_free(pool);
	return status;
}

int immure_cli_pool(int argc, char **argv)
{
	const char *what;
	struct immure_runflags f;
	int status;

	status = immure_runflags_parse_verb("pool", argc, argv, &what, &f);
	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = dispatch(what, &f);
	immure_runflags_done(&f);
	return status;
}
