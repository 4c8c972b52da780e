/* SPDX-License-Identifier: Apache-2.0 */
/* wrap: the arguments that run a command sealed in, for other programs. */
#include "cli/runflags.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/jsonw.h"

/* The launcher of this installation, by its real path: beside us, or from
 * libexec/immure in the same prefix. */
static const char *launcher(char *ret)
{
	static const char *const places[] = { "immure", "../../bin/immure" };
	char self[PATH_MAX], path[IMMURE_CLI_PATH_MAX];

	if (!immure_cli_own_directory(self))
		return NULL;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", self, places[i]);

		if (n > 0 && n < (int)sizeof(path) && realpath(path, ret) && access(ret, X_OK) == 0)
			return ret;
	}
	return NULL;
}

static bool is_plain(const char *word)
{
	size_t n = strlen(word);

	return n && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			   "_-./:=+,@%") == n;
}

/* POSIX shell, any bytes: in single quotes only a single quote is special. */
static void put_quoted(struct immure_buf *out, const char *word)
{
	if (is_plain(word)) {
		immure_buf_puts(out, word);
		return;
	}
	immure_buf_putc(out, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			immure_buf_puts(out, "'\\''");
		else
			immure_buf_putc(out, *word);
	}
	immure_buf_putc(out, '\'');
}

static void put_words(struct immure_buf *out, const char *const *argv)
{
	for (size_t i = 0; argv[i]; i++) {
		if (i)
			immure_buf_putc(out, ' ');
		put_quoted(out, argv[i]);
	}
}

static void put_json(struct immure_buf *out, const immure_wrapped *w)
{
	const char *const *argv = immure_wrapped_argv(w), *const *env = immure_wrapped_env(w);
	struct immure_jsonw j;

	immure_jsonw_init(&j, out, 2);
	immure_jsonw_object(&j, NULL);
	immure_jsonw_array(&j, "argv");
	for (size_t i = 0; argv[i]; i++)
		immure_jsonw_str(&j, NULL, argv[i]);
	immure_jsonw_end(&j, ']');
	immure_jsonw_array(&j, "env");
	for (size_t i = 0; env[i]; i++)
		immure_jsonw_str(&j, NULL, env[i]);
	immure_jsonw_end(&j, ']');
	immure_jsonw_str(&j, "policy_version", immure_wrapped_policy_version(w));
	immure_jsonw_end(&j, '}');
}

static void put(struct immure_buf *out, const char *format, const immure_wrapped *w)
{
	const char *const *argv = immure_wrapped_argv(w);

	if (!strcmp(format, "json")) {
		put_json(out, w);
	} else if (!strcmp(format, "nul")) {
		for (size_t i = 0; argv[i]; i++)
			immure_buf_put(out, argv[i], strlen(argv[i]) + 1);
	} else if (!strcmp(format, "script")) {
		immure_buf_puts(out, "#!/bin/sh\nexec ");
		put_words(out, argv);
		immure_buf_puts(out, " \"$@\"\n");
	} else {
		put_words(out, argv);
		immure_buf_putc(out, '\n');
	}
}

static int print(const char *format, const immure_wrapped *w)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	int r, status = 0;

	put(&out, format, w);
	r = immure_buf_ok(&out) ? immure_write_all(STDOUT_FILENO, out.data, out.len) : -ENOMEM;
	if (r < 0) {
		immure_cli_say("standard output: %s", strerror(-r));
		status = IMMURE_EXIT_FAILED;
	}
	immure_buf_done(&out);
	return status;
}

static int finish(const struct immure_runflags *f, immure_policy *policy,
		  const struct immure_wrap_options *o, struct immure_error **err)
{
	const char *format = f->json ? "json" : f->format ? f->format : "shell";
	immure_wrapped *w = NULL;
	int status = IMMURE_EXIT_FAILED;

	if (immure_wrap(policy, o, &w, err) == 0)
		status = print(format, w);
	immure_wrapped_free(w);
	return status;
}

/* For a session that is there already: what can be given is the command's
 * directory and environment. */
static int for_session(const struct immure_runflags *f, struct immure_error **err)
{
	static const char *const names[] = { "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME" };
	const char **env = calloc(f->policy.settings_n + 1, sizeof(*env));
	char where[3][PATH_MAX + 20], program[PATH_MAX];
	const char *found[4] = { NULL };
	struct immure_wrap_options o = {
		.size = sizeof(o), .argv = (const char *const *)f->argv + f->first, .env = env,
		.cwd = f->cwd, .program = launcher(program), .session = f->session.session,
		.where = found,
	};
	bool given = f->policy.profile || f->policy.file || f->policy.workspace || f->policy.flags ||
		     f->quiet;
	size_t n = 0, at = 0;
	int status = IMMURE_EXIT_FAILED;

	for (uint64_t i = 0; env && i < f->policy.settings_n; i++) {
		if (!strcmp(f->policy.settings[i].key, "+environment.set"))
			env[n++] = f->policy.settings[i].value;
		else
			given = true;
	}
	for (size_t i = 0; geteuid() && i < 3; i++) { /* root's are at their own places */
		const char *value = getenv(names[i]);

		if (value && value[0] == '/' &&
		    snprintf(where[at], sizeof(where[0]), "%s=%s", names[i], value) <
			    (int)sizeof(where[0])) {
			found[at] = where[at];
			at++;
		}
	}
	if (!env)
		immure_cli_say("out of memory");
	else if (given)
		immure_cli_say("wrap: --session: the policy is the session's; only --cwd and --env can "
			       "be given with it");
	else
		status = finish(f, NULL, &o, err);
	free(env);
	return status;
}

static int wrap(const struct immure_runflags *f, struct immure_error **err)
{
	static const char *const shell[] = { "/bin/sh", NULL };
	const char *const *argv = (const char *const *)f->argv + f->first;
	const char *format = f->json ? "json" : f->format ? f->format : "shell";
	bool script = !strcmp(format, "script");
	char here[PATH_MAX], program[PATH_MAX], workspace[PATH_MAX], set[PATH_MAX + 8];
	const char *env[] = { set, NULL };
	struct immure_wrap_options o = {
		.size = sizeof(o),
		.argv = script && !argv[0] ? shell : argv,
		.base = getcwd(here, sizeof(here)),
		.cwd = f->cwd,
		.program = launcher(program),
		.flags = f->quiet ? IMMURE_WRAP_QUIET : 0,
	};
	immure_policy *policy = NULL;
	int status = IMMURE_EXIT_FAILED;

	if (f->session.session)
		return for_session(f, err);
	if (f->policy.workspace)
		o.workspace = realpath(f->policy.workspace, workspace) ? workspace :
									 f->policy.workspace;
	/* What looks for "the shell" inside must not find the script. */
	if (script && o.argv[0][0] == '/' &&
	    snprintf(set, sizeof(set), "SHELL=%s", o.argv[0]) < (int)sizeof(set))
		o.env = env;
	if (immure_runflags_policy(f, &policy, err) == 0)
		status = finish(f, policy, &o, err);
	immure_policy_free(policy);
	return status;
}

int immure_cli_wrap(int argc, char **argv)
{
	struct immure_error *err = NULL;
	struct immure_runflags f;
	int status = immure_runflags_parse("wrap", argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	status = wrap(&f, &err);
	if (err)
		status = immure_cli_fail(err);
	immure_runflags_done(&f);
	return status;
}
