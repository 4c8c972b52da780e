/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that begin with the files of a snapshot, or of another session. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/session.h"

enum { FORKS = 256 };

/* What the flags say of the new sessions. path has IMMURE_CLI_PATH_MAX bytes. */
static struct immure_session_options session_of(const struct immure_runflags *f, char *path)
{
	struct immure_session_options o = immure_cli_session_options(path);

	o.name = f->session.name;
	o.labels = f->session.labels.v;
	o.life_ms = f->session.life_ms;
	o.idle_ms = f->session.idle_ms;
	o.lifetime = o.life_ms || o.idle_ms ? IMMURE_LIFE_LEASED : IMMURE_LIFE_DETACHED;
	o.flags = (f->session.idle_stops ? IMMURE_SESSION_IDLE_STOPS : 0U) |
		  (f->session.remove ? IMMURE_SESSION_REMOVE : 0U) | (f->prove ? IMMURE_SESSION_PROVE : 0U);
	return o;
}

int32_t immure_cli_resume_policy(const struct immure_runflags *f, struct immure_resume_options *o,
				 struct immure_setting **ret_own, immure_policy **ret, struct immure_error **err)
{
	uint64_t n = f->policy.settings_n - f->self_n;
	struct immure_setting *v;
	int32_t r;

	if (f->policy.profile || f->policy.file) {
		r = immure_runflags_policy(f, ret, err);
		o->policy = *ret;
		return r;
	}
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return immure_fail(err, IMMURE_ERR_NOMEM, 0, "resume", "", "out of memory");
	if (n)
		memcpy(v, f->policy.settings, n * sizeof(*v));
	if (f->policy.workspace) {
		char *here = realpath(f->policy.workspace, NULL);

		if (!here) {
			free(v);
			return immure_fail(err, IMMURE_ERR_INVALID, 0, "resume", "workspace", "%s: cannot be found",
					   f->policy.workspace);
		}
		v[n++] = (struct immure_setting){ "workspace.path", here, "--workspace" };
	}
	o->settings = *ret_own = v;
	o->settings_n = n;
	return 0;
}

void immure_cli_resume_forget(struct immure_setting *v, uint64_t n)
{
	if (v && n && strcmp(v[n - 1].key, "workspace.path") == 0 && strcmp(v[n - 1].source, "--workspace") == 0)
		free((void *)(uintptr_t)v[n - 1].value);
	free(v);
}

static int print(immure_session **v, uint32_t n, const struct immure_runflags *f, bool list)
{
	struct immure_buf b = IMMURE_BUF_INIT;
	struct immure_jsonw w;
	char *text;
	int status;

	immure_jsonw_init(&w, &b, 0);
	if (f->json && list)
		immure_jsonw_array(&w, NULL);
	for (uint32_t i = 0; i < n; i++) {
		if (f->json) {
			immure_jsonw_object(&w, NULL);
			immure_jsonw_str(&w, "session", immure_session_id(v[i]));
			immure_jsonw_str(&w, "state", "RUNNING");
			immure_jsonw_end(&w, '}');
		} else {
			immure_buf_printf(&b, "%s%s", i ? "\n" : "", immure_session_id(v[i]));
		}
		immure_session_free(v[i]);
	}
	if (f->json && list)
		immure_jsonw_end(&w, ']');
	text = immure_buf_take(&b);
	status = immure_cli_print_json(text);
	free(text);
	return status;
}

static int32_t clone(const char *from, const struct immure_runflags *f, bool fork, uint32_t count, immure_session **ret,
		     struct immure_error **err)
{
	char path[IMMURE_CLI_PATH_MAX];
	struct immure_session_options so = session_of(f, path);
	struct immure_resume_options o = { .size = sizeof(o), .session = &so };
	struct immure_setting *own = NULL;
	immure_policy *policy = NULL;
	immure_session *source = NULL;
	int32_t r = immure_cli_resume_policy(f, &o, &own, &policy, err);

	if (r == 0) /* as in run.c; without a policy of ours it is the snapshot's, which may have limits */
		(void)immure_scope_enter(policy, f->policy.env, NULL);
	if (r == 0 && fork)
		r = immure_session_open(from, &so, &source, err);
	if (r == 0)
		r = fork ? immure_session_fork(source, count, &o, ret, err) : immure_session_resume(from, &o, ret, err);
	immure_session_free(source);
	immure_policy_free(policy);
	immure_cli_resume_forget(own, o.settings_n);
	return r;
}

static int run(const char *command, int argc, char **argv, bool fork)
{
	immure_session *made[FORKS];
	struct immure_runflags f;
	struct immure_error *err = NULL;
	uint32_t count;
	int status = immure_runflags_parse(command, argc, argv, &f);

	if (status != IMMURE_CLI_GO_ON)
		return status;
	count = f.session.count ? f.session.count : 1;
	if (f.first + 1 != argc || count > FORKS) {
		if (count > FORKS)
			immure_cli_say("%s: --count: at most %d at once", command, FORKS);
		else
			immure_cli_say("%s: which %s? `immure %s` lists them", command, fork ? "session" : "snapshot",
				       fork ? "ps" : "snapshot ls");
		immure_runflags_done(&f);
		return IMMURE_EXIT_FAILED;
	}
	if (clone(argv[f.first], &f, fork, count, made, &err) < 0)
		status = immure_cli_fail(err);
	else
		status = print(made, count, &f, f.session.count > 0);
	immure_runflags_done(&f);
	return status;
}

int immure_cli_resume(int argc, char **argv)
{
	return run("resume", argc, argv, false);
}

int immure_cli_fork(int argc, char **argv)
{
	return run("fork", argc, argv, true);
}
