/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy/build.h"
#include "policy/checks.h"
#include "policy/env.h"

static struct immure_policy *with(const struct immure_setting *s, size_t n)
{
	struct immure_policy_options o = { .size = sizeof(o), .settings = s, .settings_n = n,
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *p = NULL;
	immure_error *e = NULL;

	if (immure_policy_load(&o, &p, &e) < 0)
		fail_msg("%s", immure_error_text(e));
	return p;
}

static void expect(const struct immure_policy *p, const char *const *env, const char *want)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_strv l = { 0 };
	char got[500] = "";

	assert_true(immure_env_filter(p, env, &a, &l));
	for (size_t i = 0; i < l.n; i++) {
		strcat(got, i ? " " : "");
		strcat(got, l.v[i]);
	}
	assert_string_equal(got, want);
	immure_arena_done(&a);
}

static void filter(void **state)
{
	static const struct immure_setting s[] = {
		{ "environment.pass", "A", "x" }, { "environment.pass", "LC_*", "x" },
		{ "environment.pass", "GIT_*", "x" }, { "environment.set", "SET=1", "x" },
		{ "environment.set", "LD_PRELOAD=mine", "x" }, { "environment.set", "A_B=2", "x" },
	};
	static const char *const env[] = {
		"B=1", "LC_ALL=C", "A=first", "A=second", "LC_=", "LC=no", "AA=no", "GIT_AUTHOR_NAME=n",
		"GIT_CONFIG_COUNT=1", "GIT_SSH_COMMAND=evil", "SET=theirs", "LD_PRELOAD=theirs",
		"=x", "novalue", "A", "", NULL,
	};
	struct immure_policy *p = with(s, 6);

	(void)state;
	expect(p, env, "A=first A_B=2 GIT_AUTHOR_NAME=n LC_= LC_ALL=C LD_PRELOAD=mine SET=1");
	expect(p, NULL, "A_B=2 LD_PRELOAD=mine SET=1");
	immure_policy_free(p);
}

/* Nothing that the table of controls names passes, not even by a pattern that
 * covers it, in any profile. */
static void controls_never_pass(void **state)
{
	(void)state;
	for (size_t i = 0; immure_env_controls[i]; i++) {
		const char *pattern = immure_env_controls[i];
		size_t n = strlen(pattern);
		struct immure_arena a = IMMURE_ARENA_INIT;
		struct immure_complaint c = { 0 };
		char name[80], var[100], prefix[8];
		const char *env[] = { var, NULL }, *out;
		struct immure_setting s = { "environment.pass", prefix, "x" };
		struct immure_policy *p;

		(void)snprintf(name, sizeof(name), "%.*s%s", (int)(n - (pattern[n - 1] == '*')),
			       pattern, pattern[n - 1] == '*' ? "X" : "");
		(void)snprintf(var, sizeof(var), "%s=evil", name);
		assert_true(immure_env_is_control(name, strlen(name)));
		assert_true(immure_check_pass(&a, name, &out, &c) < 0);
		assert_non_null(strstr(c.hint, "environment.set"));
		assert_true(immure_check_pass(&a, pattern, &out, &c) < 0);
		(void)snprintf(prefix, sizeof(prefix), "%.1s*", name);
		p = with(&s, 1);
		expect(p, env, "TMPDIR=/tmp XDG_CACHE_HOME=/tmp/.cache");
		immure_policy_free(p);
		immure_arena_done(&a);
	}
	assert_false(immure_env_is_control("PATH", 4));
	assert_false(immure_env_is_control("LD", 2));
	assert_false(immure_env_is_control("ENVIRONMENT", 11));
}

/* What dev lets through, of an environment with secrets in it. */
static void safe_list(void **state)
{
	static const char *const env[] = {
		"PATH=/bin", "HOME=/h", "TERM=xterm", "LANG=C", "AWS_SECRET_ACCESS_KEY=s",
		"GITHUB_TOKEN=s", "SSH_AUTH_SOCK=/s", "DBUS_SESSION_BUS_ADDRESS=s", "DISPLAY=:0",
		"XDG_RUNTIME_DIR=/run/user/1", "WAYLAND_DISPLAY=s", "IMMURE_POLICY=s", "OPENAI_API_KEY=s",
		"LC_TIME=C", NULL,
	};
	struct immure_policy *p = with(NULL, 0);

	(void)state;
	expect(p, env, "HOME=/h LANG=C LC_TIME=C PATH=/bin TERM=xterm TMPDIR=/tmp "
		       "XDG_CACHE_HOME=/tmp/.cache");
	immure_policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filter),
		cmocka_unit_test(controls_never_pass),
		cmocka_unit_test(safe_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
