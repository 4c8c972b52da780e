/* SPDX-License-Identifier: Apache-2.0 */
/* wrap: arguments that run a command sealed in, for programs that only know how
 * to start an argv. A pure function: no file is looked at and nothing is
 * started, so it can be called for every command. Everything is carried in the
 * arguments, because runners clear or rewrite the environment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "lib/options.h"
#include "policy/carry.h"

struct immure_wrapped {
	struct immure_arena arena;
	struct immure_strv argv;
	char version[32];
};

static const char *const no_env[] = { NULL };

static int32_t no_memory(immure_error **err)
{
	return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "wrap", "", "out of memory");
}

static int32_t wrong(immure_error **err, const char *what, const char *why)
{
	return immure_fail(err, IMMURE_ERR_INVALID, 0, "wrap", what, "wrap: %s: %s", what, why);
}

static int32_t take_options(const struct immure_wrap_options *options,
			    struct immure_wrap_options *o, immure_error **err)
{
	int32_t r = immure_options_copy(o, sizeof(*o), options, "wrap", err);

	if (r < 0)
		return r;
	if (o->flags & ~(uint32_t)IMMURE_WRAP_QUIET || o->reserved)
		return wrong(err, "options", "flags or reserved are wrong");
	if (o->argv && o->argv[0] && !o->argv[0][0])
		return wrong(err, "argv", "the command's name is empty");
	if (o->program && o->program[0] != '/')
		return wrong(err, "program", "not an absolute path");
	if (o->session && (!o->session[0] || o->session[0] == '-'))
		return wrong(err, "session", "not a name or id");
	if (o->session && (o->workspace || o->base || o->flags))
		return wrong(err, "session", "it has its workspace and policy already");
	if (o->where && !o->session)
		return wrong(err, "where", "there is no session to find");
	if (o->base && o->base[0] != '/')
		return wrong(err, "base", "not an absolute path");
	return 0;
}

static void put(struct immure_wrapped *w, const char *word)
{
	const char *copy = immure_arena_strdup(&w->arena, word);

	if (copy)
		(void)immure_strv_add(&w->arena, &w->argv, copy); /* the arena knows */
}

static void put_setting(struct immure_wrapped *w, const struct immure_setting *s)
{
	put(w, "--set");
	if (s->key[0] == '-')
		put(w, s->key);
	else
		(void)immure_strv_add(&w->arena, &w->argv,
				      immure_arena_printf(&w->arena, "%s=%s", s->key, s->value));
}

static void put_prefix(struct immure_wrapped *w, const struct immure_wrap_options *o,
		       const struct immure_carried *c)
{
	put(w, o->program ? o->program : IMMURE_BINDIR "/immure");
	put(w, "run");
	if (o->flags & IMMURE_WRAP_QUIET)
		put(w, "--quiet");
	put(w, "--no-policy");
	put(w, "--profile");
	put(w, c->profile);
	put(w, "--workspace");
	put(w, c->workspace);
	put(w, "--cwd");
	put(w, o->cwd ? o->cwd : ".");
	for (size_t i = 0; i < c->settings_n; i++)
		put_setting(w, &c->settings[i]);
	put(w, "--policy-version");
	put(w, c->version);
	put(w, "--");
}

/* Into the session: a command more, and no sandbox more. */
static int32_t put_session(struct immure_wrapped *w, const struct immure_wrap_options *o,
			   immure_error **err)
{
	static const char *const found_by[] = { "XDG_RUNTIME_DIR=", "XDG_STATE_HOME=", "HOME=" };

	if (o->where && o->where[0])
		put(w, "/usr/bin/env");
	for (size_t i = 0; o->where && o->where[i]; i++) {
		bool known = false;

		for (size_t k = 0; k < sizeof(found_by) / sizeof(found_by[0]); k++)
			known |= strncmp(o->where[i], found_by[k], strlen(found_by[k])) == 0;
		if (!known)
			return wrong(err, "where", "XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME only");
		put(w, o->where[i]);
	}
	put(w, o->program ? o->program : IMMURE_BINDIR "/immure");
	put(w, "exec");
	if (o->cwd) {
		put(w, "--cwd");
		put(w, o->cwd);
	}
	for (size_t i = 0; o->env && o->env[i]; i++) {
		const char *eq = strchr(o->env[i], '=');

		if (!eq || eq == o->env[i])
			return wrong(err, "env", "expected NAME=value");
		put(w, "--env");
		put(w, o->env[i]);
	}
	put(w, o->session);
	put(w, "--");
	return 0;
}

/* What begins with exactly these words is wrapped already. */
static bool is_wrapped(const struct immure_strv *prefix, const char *const *argv)
{
	for (size_t i = 0; i < prefix->n; i++)
		if (!argv[i] || strcmp(argv[i], prefix->v[i]) != 0)
			return false;
	return true;
}

static const char *workspace_of(const immure_policy *p, const struct immure_wrap_options *o,
				struct immure_arena *a)
{
	const char *own = p->workspace ? p->workspace : ".";

	if (o->workspace || own[0] == '/' || !o->base)
		return o->workspace;
	return strcmp(own, ".") == 0 ? o->base : immure_path_join(a, o->base, own);
}

static int32_t wrap(const immure_policy *policy, const struct immure_wrap_options *o,
		    struct immure_wrapped *w, immure_error **err)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_carried carried;
	size_t from = 0;
	int32_t r;

	if (o->session) {
		r = put_session(w, o, err);
	} else {
		r = immure_policy_carry(policy, workspace_of(policy, o, &a), o->env, &a, &carried, err);
		if (r == 0) {
			memcpy(w->version, carried.version, sizeof(w->version));
			put_prefix(w, o, &carried);
		}
	}
	if (r == 0) {
		if (!w->arena.failed && o->argv && is_wrapped(&w->argv, o->argv))
			from = w->argv.n;
		for (size_t i = from; o->argv && o->argv[i]; i++)
			put(w, o->argv[i]);
		if (w->arena.failed)
			r = no_memory(err);
	}
	immure_arena_done(&a);
	return r;
}

int32_t immure_wrap(const immure_policy *policy, const struct immure_wrap_options *options,
		    immure_wrapped **ret, immure_error **err)
{
	struct immure_wrap_options o;
	struct immure_wrapped *w;
	int32_t r = take_options(options, &o, err);

	if (r < 0)
		return r;
	if (!policy == !o.session || !ret)
		return wrong(err, "policy", "one of policy and session is needed, and a place for the result");
	w = calloc(1, sizeof(*w));
	if (!w)
		return no_memory(err);
	r = wrap(policy, &o, w, err);
	if (r < 0)
		immure_wrapped_free(w);
	else
		*ret = w;
	return r;
}

void immure_wrapped_free(immure_wrapped *wrapped)
{
	if (!wrapped)
		return;
	immure_arena_done(&wrapped->arena);
	free(wrapped);
}

const char *const *immure_wrapped_argv(const immure_wrapped *wrapped)
{
	return wrapped->argv.v;
}

const char *const *immure_wrapped_env(const immure_wrapped *wrapped)
{
	(void)wrapped;
	return no_env;
}

const char *immure_wrapped_policy_version(const immure_wrapped *wrapped)
{
	return wrapped->version;
}
