/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/runflags.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "cli/flagtable.h"

enum { SELF_MAX = 5 }; /* programs of ours */

static int add_setting(struct immure_runflags *f, uint32_t index, const char *value)
{
	struct immure_flag flag = { .size = sizeof(flag) };
	struct immure_setting *s;

	if (immure_policy_flag(index, &flag) < 0)
		return -EINVAL;
	f->image.is_named = f->image.is_named || strcmp(flag.key, "image") == 0;
	s = &f->settings[f->policy.settings_n++];
	s->key = flag.key;
	s->value = value ? value : "true";
	s->source = immure_arena_printf(&f->arena, "--%s", flag.flag);
	return s->source ? 0 : -ENOMEM;
}

/* KEY=VALUE, +KEY=VALUE or -KEY. */
static int add_any(struct immure_runflags *f, const char *text)
{
	struct immure_setting *s = &f->settings[f->policy.settings_n];
	const char *eq = strchr(text, '=');

	if (!eq && text[0] != '-') {
		f->wrong = "--set: expected KEY=VALUE, or -KEY to empty a list";
		return -EINVAL;
	}
	s->key = eq ? immure_arena_strndup(&f->arena, text, (size_t)(eq - text)) : text;
	s->value = eq ? eq + 1 : "";
	s->source = "--set";
	if (!s->key)
		return -ENOMEM;
	f->policy.settings_n++;
	return 0;
}

static int add_text(struct immure_runflags *f, struct immure_strv *l, const char *value)
{
	if (!strchr(value, '=')) {
		f->wrong = "expected NAME=VALUE";
		return -EINVAL;
	}
	return immure_strv_add(&f->arena, l, value) ? 0 : -ENOMEM;
}

static int take_time(struct immure_runflags *f, const char *value, uint64_t *ret_ms)
{
	if (immure_parse_duration(value, ret_ms) == 0 && *ret_ms > 0)
		return 0;
	f->wrong = "expected a time above 0, such as 30s or 10m";
	return -EINVAL;
}

static int take_exec(struct immure_runflags *f, const char *value)
{
	f->session.has_exec = true;
	if (immure_parse_u64(value, &f->session.exec) == 0 && f->session.exec > 0)
		return 0;
	f->wrong = "expected the number of an exec";
	return -EINVAL;
}

static int take_count(struct immure_runflags *f, const char *value, uint32_t *ret)
{
	uint64_t n;

	f->wrong = "expected a number from 1 to 4096";
	if (immure_parse_u64(value, &n) < 0 || n < 1 || n > 4096)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

/* 1: none of these. */
static int take_session_option(struct immure_runflags *f, int id, const char *value)
{
	struct immure_sessionflags *s = &f->session;

	switch (id) {
	case OPT_SESSION: s->session = value; return 0;
	case OPT_NAME: s->name = value; return 0;
	case OPT_LABEL: return add_text(f, &s->labels, value);
	case OPT_MAX_LIFE: return take_time(f, value, &s->life_ms);
	case OPT_IDLE: return take_time(f, value, &s->idle_ms);
	case OPT_ON_IDLE: s->idle_stops = strcmp(value, "stop") == 0; return 0;
	case OPT_RM: s->remove = true; return 0;
	case OPT_TTY: s->tty = true; return 0;
	case OPT_DETACH: s->detach = true; return 0;
	case OPT_ENV: return add_text(f, &s->env, value);
	case OPT_TIMEOUT: return take_time(f, value, &s->timeout_ms);
	case OPT_ID_KEY: s->key = value; return 0;
	case OPT_APPROVAL: s->approval = value; return 0;
	case OPT_CAPTURE: s->capture = value; return 0;
	case OPT_ALL: s->all = true; return 0;
	case OPT_FOLLOW: s->follow = true; return 0;
	case OPT_GRACE: s->has_grace = true; return take_time(f, value, &s->grace_ms);
	case OPT_EXEC: return take_exec(f, value);
	case OPT_RW: s->writable = true; return 0;
	case OPT_STDIO: s->stdio = true; return 0;
	case OPT_CLEANUP:
		s->keep_always = strcmp(value, "host") == 0;
		s->keep_failed = strcmp(value, "on-success") == 0;
		return 0;
	case OPT_TARGET: s->target = value; return 0;
	case OPT_COUNT: return take_count(f, value, &s->count);
	case OPT_CONFIG: s->config = true; return 0;
	case OPT_POOL: s->pool = value; return 0;
	case OPT_POOL_WAIT: return take_time(f, value, &s->wait_ms);
	case OPT_REUSE: s->reuse = true; return 0;
	case OPT_SNAPSHOT: s->snapshot = value; return 0;
	case OPT_MODE: s->zygote = strcmp(value, "zygote") == 0; return 0;
	case OPT_POOL_SIZE: return take_count(f, value, &s->pool_size);
	case OPT_POOL_MAX: return take_count(f, value, &s->pool_max);
	case OPT_SIGNAL: s->user_signal = value; return 0;
	case OPT_PLATFORM: f->image.platform = value; return 0;
	case OPT_HOST: return immure_strv_add(&f->arena, &f->image.hosts, value) ? 0 : -ENOMEM;
	case OPT_AUTHFILE: f->image.auth_file = value; return 0;
	case OPT_PLAIN_HTTP: f->image.plain_http = true; return 0;
	case OPT_REF: f->image.which = value; return 0;
	case OPT_MAX_SIZE:
		f->wrong = "--max-size: expected a size above 0, such as 2G";
		return immure_parse_size(value, &f->image.max_bytes) == 0 && f->image.max_bytes ? 0 : -EINVAL;
	case OPT_STAT: f->stat = true; return 0;
	case OPT_LIST: f->list = true; return 0;
	case OPT_OVERWRITE: f->apply |= IMMURE_WORKSPACE_OVERWRITE; return 0;
	case OPT_REST: f->apply |= IMMURE_WORKSPACE_REST; return 0;
	case OPT_LINKS: f->apply |= IMMURE_WORKSPACE_LINKS; return 0;
	case OPT_UNDO: f->apply |= IMMURE_WORKSPACE_UNDO; return 0;
	case OPT_ABANDON: f->apply |= IMMURE_WORKSPACE_ABANDON; return 0;
	default: return 1;
	}
}

static int take_option(void *ctx, int id, const char *value)
{
	struct immure_runflags *f = ctx;
	int r = id < OPT_KEY ? take_session_option(f, id, value) : 1;

	if (r <= 0)
		return r;

	switch (id) {
	case OPT_HELP:
		return -ECANCELED;
	case OPT_JSON:
		f->json = true;
		break;
	case OPT_PROFILE:
		f->policy.profile = value;
		break;
	case OPT_POLICY:
		f->policy.file = value;
		break;
	case OPT_NO_POLICY:
		f->policy.flags |= IMMURE_POLICY_NO_DISCOVERY;
		break;
	case OPT_WORKSPACE:
		f->policy.workspace = value;
		break;
	case OPT_RESULT:
		f->result = value;
		break;
	case OPT_PROVE:
		f->prove = true;
		break;
	case OPT_TRACE_TIME:
		f->trace_time = true;
		break;
	case OPT_QUIET:
		f->quiet = true;
		break;
	case OPT_DISCLOSE:
		f->disclose = true;
		break;
	case OPT_COW:
		f->settings[f->policy.settings_n++] = (struct immure_setting){ "workspace.mode", "cow", "--cow" };
		break;
	case OPT_SET:
		return add_any(f, value);
	case OPT_CWD:
		f->cwd = value;
		break;
	case OPT_VERSION:
		f->version = value;
		break;
	case OPT_RENDER:
		f->render = true;
		break;
	case OPT_COMMAND:
		f->command = value;
		break;
	case OPT_FORMAT:
		f->format = value;
		break;
	case OPT_DRY_RUN:
		f->dry_run = true;
		break;
	case OPT_ENDED:
		f->ended = true;
		break;
	case OPT_FORCE:
		f->force = true;
		break;
	case OPT_ACKNOWLEDGE:
		f->acknowledge = true;
		break;
	case OPT_VALID:
		f->wrong = "--valid: expected a time such as 10m";
		return immure_parse_duration(value, &f->valid_ms);
	case OPT_STOP_TIME:
		f->wrong = "--stop-time: expected a time such as 10s";
		return immure_parse_duration(value, &f->stop_ms);
	default:
		return add_setting(f, (uint32_t)(id - OPT_KEY), value);
	}
	return 0;
}

static int print_help(const struct immure_cli_command *c, const struct immure_opt *table, size_t n)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	char *text;
	int status;

	immure_buf_printf(&out, "usage: immure %s%s%s\n\n%s.\n", c->name, c->usage[0] ? " " : "",
			  c->usage, c->summary);
	if (c->description)
		immure_buf_printf(&out, "\n%s\n", c->description);
	immure_buf_puts(&out, "\nOptions:\n");
	immure_opt_help(table, n, &out);
	text = immure_buf_take(&out);
	status = immure_cli_print(text);
	free(text);
	return status;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return !strncmp(path, top, len) && (!path[len] || path[len] == '/' || len == 1);
}

/* When we run from inside the workspace (a build tree, a tool kept in the
 * repository), the command must not be able to change what runs next time. */
static int protect_self(struct immure_runflags *f)
{
	static const char *const names[] = { "immure", "immure-full", "immure-attack",
					     "immure-egress", "immure-image" };
	const char *given = f->policy.workspace;
	char top[PATH_MAX], path[IMMURE_CLI_PATH_MAX], real[PATH_MAX];

	/* No workspace: loading the policy says so. */
	if (!(given ? realpath(given, top) : getcwd(top, sizeof(top))) ||
	    !immure_cli_own_directory(path) || !is_below(path, top))
		return 0;
	for (size_t i = 0; i < SELF_MAX; i++) {
		struct immure_setting *s = &f->settings[f->policy.settings_n];

		if (!immure_cli_own_program(names[i], path) || !realpath(path, real) ||
		    !is_below(real, top))
			continue;
		s->key = "+files.protect";
		s->value = immure_arena_strdup(&f->arena, real);
		s->source = "(the program itself)";
		if (!s->value)
			return -ENOMEM;
		f->policy.settings_n++;
		f->self_n++;
	}
	return 0;
}

int immure_runflags_parse(const char *command, int argc, char **argv, struct immure_runflags *ret)
{
	const struct immure_cli_command *c = immure_cli_command_find(command);
	struct immure_runflags f = { .argc = argc, .argv = argv };
	struct immure_opt *table;
	char *error = NULL;
	int r, status = IMMURE_CLI_GO_ON;
	size_t n = 0;

	f.policy.size = sizeof(f.policy);
	f.policy.env = (const char *const *)environ;
	table = immure_runflags_table(c ? c->bit : 0, &n);
	f.settings = calloc((size_t)argc + SELF_MAX + 1, sizeof(*f.settings)); /* 1: shell.c */
	if (!table || !f.settings) {
		immure_cli_say("out of memory");
		status = IMMURE_EXIT_FAILED;
		goto out;
	}
	r = immure_opt_parse(table, n, argc, argv, take_option, &f, &error);
	if (r == -ECANCELED) {
		status = c ? print_help(c, table, n) : 0;
	} else if (r < 0) {
		immure_cli_say("%s: %s", command, error ? error : f.wrong ? f.wrong : strerror(-r));
		status = IMMURE_EXIT_FAILED;
	}
	f.first = r;
	f.policy.settings = f.settings;
	if (f.image.is_named && !f.policy.profile)
		f.policy.profile = "image";
	/* What is wrapped is started by this program, which then does it anew. */
	if (status == IMMURE_CLI_GO_ON && c && c->bit & IMMURE_CLI_WITH_POLICY &&
	    c->bit != IMMURE_CLI_WRAP && protect_self(&f) < 0) {
		immure_cli_say("out of memory");
		status = IMMURE_EXIT_FAILED;
	}
out:
	free(error);
	free(table);
	if (status != IMMURE_CLI_GO_ON)
		immure_runflags_done(&f);
	*ret = f;
	return status;
}

/* `COMMAND --help` is about all of its verbs. */
int immure_runflags_parse_verb(const char *command, int argc, char **argv, const char **ret_verb,
			       struct immure_runflags *ret)
{
	*ret_verb = argc > 1 ? argv[1] : "";
	if (argc > 1 && argv[1][0] != '-') {
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	return immure_runflags_parse(command, argc, argv, ret);
}

int immure_cli_no_verb(const char *command, const char *verb, const char *verbs)
{
	if (verb[0] && verb[0] != '-')
		immure_cli_say("%s: %s: expected %s", command, verb, verbs);
	else
		immure_cli_say("%s: expected %s", command, verbs);
	return IMMURE_EXIT_FAILED;
}

void immure_runflags_done(struct immure_runflags *f)
{
	free(f->settings);
	f->settings = NULL;
	immure_arena_done(&f->arena);
}

static int32_t load(const struct immure_runflags *f, uint64_t settings_n, immure_policy **ret,
		    struct immure_error **err)
{
	struct immure_policy_options options = f->policy;
	int32_t r;

	options.settings_n = settings_n;
	r = immure_policy_load(&options, ret, err);
#ifdef IMMURE_LEAN
	if (r == -IMMURE_ERR_UNSUPPORTED && !strcmp(immure_error_stage(*err), "json")) {
		immure_error_free(*err);
		*err = NULL;
		r = immure_cli_hand_over(f->argc, f->argv, err);
	}
#endif
	return r;
}

/* Whoever made these arguments saw this policy; a profile of another release, or
 * a file that changed since, is not it. */
static int32_t check_version(const struct immure_runflags *f, const immure_policy *policy,
			     struct immure_error **err)
{
	int32_t r;

	if (!strcmp(immure_policy_version(policy), f->version))
		return 0;
	r = immure_fail(err, IMMURE_ERR_POLICY, 0, "policy", "",
			"--policy-version: the policy is %s now, not %s",
			immure_policy_version(policy), f->version);
	if (*err)
		immure_error_set_hint(*err, "look at it and wrap the command anew");
	return r;
}

int32_t immure_runflags_policy(const struct immure_runflags *f, immure_policy **ret,
			       struct immure_error **err)
{
	uint64_t given = f->policy.settings_n - f->self_n;
	struct immure_error *e = NULL;
	immure_policy *policy = NULL;
	int32_t r = 0;

	if (f->version) {
		r = load(f, given, &policy, &e);
		if (r == 0)
			r = check_version(f, policy, &e);
	}
	if (r == 0 && (!policy || f->self_n)) {
		immure_policy_free(policy);
		policy = NULL;
		r = load(f, f->policy.settings_n, &policy, &e);
	}
	if (r == 0) {
		*ret = policy;
		return 0;
	}
	immure_policy_free(policy);
	if (err)
		*err = e;
	else
		immure_error_free(e);
	return r;
}
