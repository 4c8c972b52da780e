/* SPDX-License-Identifier: Apache-2.0 */
/* A policy carried as settings is the same policy: every key of the table, every
 * profile, and refused where it could not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/build.h"
#include "policy/carry.h"
#include "policy/file.h"
#include "policy/keys.h"

static immure_policy *parse(const char *text)
{
	immure_policy *p = NULL;
	immure_error *err = NULL;

	if (immure_policy_parse(text, strlen(text), "test", &p, &err) < 0)
		fail_msg("%s: %s", text, immure_error_text(err));
	return p;
}

/* Loads what was carried as another process would. */
static immure_policy *load(const struct immure_carried *c)
{
	struct immure_policy_options o = { .size = sizeof(o), .profile = c->profile,
					   .workspace = c->workspace, .settings = c->settings,
					   .settings_n = c->settings_n,
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *p = NULL;
	immure_error *err = NULL;

	if (immure_policy_load(&o, &p, &err) < 0)
		fail_msg("%s", immure_error_text(err));
	return p;
}

static void round_trip(const char *text)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_carried c;
	immure_error *err = NULL;
	immure_policy *p = parse(text), *made;
	char *was, *is;

	if (immure_policy_carry(p, "/w", NULL, &a, &c, &err) < 0)
		fail_msg("%s: %s", text, immure_error_text(err));
	made = load(&c);
	assert_string_equal(made->version, c.version);
	p->workspace = "/w"; /* that alone may differ */
	was = immure_policy_canonical(p);
	is = immure_policy_canonical(made);
	assert_string_equal(is, was);
	free(was);
	free(is);
	immure_policy_free(p);
	immure_policy_free(made);
	immure_arena_done(&a);
}

static void every_profile(void **state)
{
	char text[200];

	(void)state;
	for (size_t i = 0; i < immure_profiles_n; i++) {
		(void)snprintf(text, sizeof(text), "{\"extends\": \"%s\"}", immure_profiles[i].name);
		round_trip(text);
	}
}

/* The example of each key, so that a new key is tried by itself. */
static void every_key(void **state)
{
	char text[1000], member[200];
	size_t tried = 0;

	(void)state;
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		const char *dot = strchr(k->path, '.');
		const char *with = "";

		if (k->type == IMMURE_KEY_SECRETS)
			continue;
		if (strcmp(k->path, "image") == 0)
			with = ", \"extends\": \"image\"";
		if (strncmp(k->path, "network.", 8) == 0 && strcmp(k->path, "network.mode") != 0)
			(void)snprintf(member, sizeof(member), "\"mode\": \"limited\", \"%s\"", dot + 1);
		else
			(void)snprintf(member, sizeof(member), "\"%s\"", dot ? dot + 1 : k->path);
		if (dot)
			(void)snprintf(text, sizeof(text), "{\"%.*s\": {%s: %s}%s}",
				       (int)(dot - k->path), k->path, member, k->example, with);
		else
			(void)snprintf(text, sizeof(text), "{%s: %s%s}", member, k->example, with);
		round_trip(text);
		tried++;
	}
	assert_int_equal(tried, immure_keys_n - 1);
}

static void empty_and_odd_values(void **state)
{
	(void)state;
	round_trip("{\"files\": {\"tmp\": [], \"created\": []}, \"environment\": {\"pass\": [], "
		   "\"set\": {}}}");
	round_trip("{\"extends\": \"agent-claude\", \"network\": {\"mode\": \"none\"}}");
	round_trip("{\"extends\": \"agent-claude\", \"network\": {\"allow\": []}}");
	round_trip("{\"extends\": \"ci\", \"limits\": {\"wall_time\": 1.5, \"cpus\": 0.25, "
		   "\"memory\": 1234567}}");
	round_trip("{\"require\": {\"downgrade\": [\"resources\", \"landlock\"]}}");
	round_trip("{\"require\": {\"downgrade\": \"allow\"}}");
	round_trip("{\"environment\": {\"set\": {\"A\": \"\", \"B\": \"x=y z\\n'\\\"\"}}}");
	round_trip("{\"files\": {\"read\": [\"./~x\", \"a b\", \"/x=y\", \"./-z\"]}}");
}

static void environment_wins(void **state)
{
	static const char *const env[] = { "TMPDIR=/w/tmp", "NEW=1=2", NULL };
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_carried c;
	immure_policy *p = parse("{}"), *made;

	(void)state;
	assert_int_equal(immure_policy_carry(p, "/w", env, &a, &c, NULL), 0);
	assert_string_not_equal(c.version, p->version);
	made = load(&c);
	assert_string_equal(made->version, c.version);
	assert_int_equal(made->env_set_n, p->env_set_n + 1);
	assert_string_equal(made->env_set[0].value, "/w/tmp");
	assert_string_equal(made->env_set[made->env_set_n - 1].value, "1=2");
	immure_policy_free(p);
	immure_policy_free(made);
	immure_arena_done(&a);
}

/* A file that the policy came from is never the command's to change. */
static void files_stay_protected(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_carried c;
	immure_policy *p = parse("{\"files\": {\"protect\": [\"own\"]}}"), *made;

	(void)state;
	assert_true(immure_strv_add(&p->arena, &p->files, "/elsewhere/policy.json"));
	assert_int_equal(immure_policy_carry(p, "/w", NULL, &a, &c, NULL), 0);
	made = load(&c);
	assert_int_equal(made->protect.n, 2);
	assert_string_equal(made->protect.v[0], "own");
	assert_string_equal(made->protect.v[1], "/elsewhere/policy.json");
	immure_policy_free(p);
	immure_policy_free(made);
	immure_arena_done(&a);
}

/* What a file lists and what the caller names are one list in arguments: it must
 * not approve what only one of the two has. */
static void downgrades_do_not_grow(void **state)
{
	static const struct immure_setting named[] = {
		{ "require.downgrade", "resources", "--downgrade" },
		{ "require.downgrade", "landlock", "--downgrade" },
	};
	struct immure_policy_file f = { 0 };
	struct immure_policy_build b = { 0 };
	struct immure_arena a = IMMURE_ARENA_INIT;
	const char *text = "{\"require\": {\"downgrade\": [\"resources\", \"ipc\"]}}";
	struct immure_carried c;
	immure_policy *p = NULL, *made;

	(void)state;
	assert_int_equal(immure_policy_file_parse(text, strlen(text), "f", &f, NULL), 0);
	assert_int_equal(immure_build_begin(&b, NULL), 0);
	assert_int_equal(immure_build_profile(&b, "dev", NULL), 0);
	assert_int_equal(immure_policy_file_apply(&f, &b, NULL), 0);
	assert_int_equal(immure_build_settings(&b, named, 2, NULL), 0);
	assert_int_equal(immure_build_finish(&b, &p, NULL), 0);
	assert_int_equal(immure_policy_carry(p, "/w", NULL, &a, &c, NULL), 0);
	made = load(&c);
	assert_int_equal(made->downgrades.n, 1);
	assert_string_equal(made->downgrades.v[0], "resources");
	assert_int_equal(made->downgrade, IMMURE_DOWNGRADE_ALLOW);
	immure_policy_free(p);
	immure_policy_free(made);
	immure_policy_file_done(&f);
	immure_arena_done(&a);
}

static void refused(void **state)
{
	static const struct {
		const char *policy, *workspace, *env;
		int32_t code;
		const char *subject;
	} t[] = {
		{ "{}", NULL, NULL, IMMURE_ERR_INVALID, "workspace.path" },
		{ "{}", "sub", NULL, IMMURE_ERR_INVALID, "workspace.path" },
		{ "{}", "/w/../x", NULL, IMMURE_ERR_POLICY, "workspace.path" },
		{ "{}", "/w", "NOVALUE", IMMURE_ERR_POLICY, "environment.set" },
		{ "{}", "/w", "A B=1", IMMURE_ERR_POLICY, "environment.set" },
		{ "{\"network\": {\"mode\": \"limited\"}, \"secrets\": {\"x\": {\"from\": \"env:X\", "
		  "\"to\": [\"a.example\"]}}}", "/w", NULL, IMMURE_ERR_UNSUPPORTED, "secrets" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const char *const env[] = { t[i].env, NULL };
		struct immure_arena a = IMMURE_ARENA_INIT;
		struct immure_carried c = { .version = "untouched" };
		immure_policy *p = parse(t[i].policy);
		immure_error *err = NULL;

		assert_int_equal(immure_policy_carry(p, t[i].workspace, env, &a, &c, &err), -t[i].code);
		assert_string_equal(immure_error_subject(err), t[i].subject);
		assert_string_equal(c.version, "untouched");
		immure_error_free(err);
		immure_policy_free(p);
		immure_arena_done(&a);
	}
}

static void emptying_settings(void **state)
{
	static const struct {
		struct immure_setting s;
		const char *error; /* NULL: right */
	} t[] = {
		{ { "-files.tmp", "", "--set" }, NULL },
		{ { "-environment.set", "", "--set" }, NULL },
		{ { "-files.tmp", "/x", "--set" }, "--set: to empty a list takes no value, got \"/x\"" },
		{ { "-limits.memory", "", "--set" }, "--set: takes one value, so there is nothing to empty" },
		{ { "-files.tpm", "", "--set" }, "--set: unknown policy key \"files.tpm\"" },
		{ { "-+files.tmp", "", "--set" }, "--set: unknown policy key \"+files.tmp\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_policy_options o = { .size = sizeof(o), .settings = &t[i].s,
						   .settings_n = 1,
						   .flags = IMMURE_POLICY_NO_DISCOVERY };
		immure_policy *p = NULL;
		immure_error *err = NULL;
		int32_t r = immure_policy_load(&o, &p, &err);

		if (t[i].error) {
			assert_true(r < 0);
			assert_string_equal(immure_error_text(err), t[i].error);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(i == 0 ? p->tmp.n : p->env_set_n, 0);
		}
		immure_error_free(err);
		immure_policy_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_profile),
		cmocka_unit_test(every_key),
		cmocka_unit_test(empty_and_odd_values),
		cmocka_unit_test(environment_wins),
		cmocka_unit_test(files_stay_protected),
		cmocka_unit_test(downgrades_do_not_grow),
		cmocka_unit_test(refused),
		cmocka_unit_test(emptying_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
