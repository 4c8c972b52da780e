/* SPDX-License-Identifier: Apache-2.0 */
/* The tables against themselves and against each other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "facts/report.h"
#include "policy/build.h"
#include "policy/checks.h"
#include "policy/env.h"
#include "policy/keys.h"

static bool is_name(const char *s, const char *also)
{
	size_t n = strlen(s);

	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || strchr(also, s[i])))
			return false;
	return true;
}

static bool is_enforceable(const char *name)
{
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		if (strcmp(immure_dimension_name((enum immure_dimension)d), name) == 0)
			return true;
	for (size_t i = 0; i < immure_capability_names_n; i++)
		if (strcmp(immure_capability_names[i], name) == 0)
			return true;
	return false;
}

static void rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];

		print_message("%s\n", k->path);
		assert_true(is_name(k->path, "._"));
		assert_int_equal(k->plus[0], '+');
		assert_string_equal(k->plus + 1, k->path);
		assert_true(k->type < IMMURE_KEY_TYPE_MAX);
		assert_true(k->tighten < IMMURE_TIGHTEN_MAX);
		assert_true(k->offset < sizeof(struct immure_policy));
		assert_int_equal(immure_key_find(k->path), i);
		assert_true(strlen(k->help) > 5 && k->help[strlen(k->help) - 1] != '.');
		assert_true(strlen(k->doc) > 20 && k->doc[strlen(k->doc) - 1] == '.');
		assert_true(is_enforceable(k->enforced_by));
		assert_non_null(k->example);
		assert_true(!k->flag == !k->argument);
		if (k->flag)
			assert_true(is_name(k->flag, "-"));
		assert_int_equal(immure_key_is_number(k), k->max != 0);
		if (immure_key_is_number(k))
			assert_true(k->min > 0 && k->min < k->max && !k->fallback);
		if (immure_key_is_list(k) || k->type == IMMURE_KEY_TEXT)
			assert_non_null(k->check);
		if (k->tighten == IMMURE_TIGHTEN_LOWER)
			assert_true(immure_key_is_number(k));
		if (k->tighten == IMMURE_TIGHTEN_RANK)
			assert_true(k->names && k->rank);
		if (k->tighten == IMMURE_TIGHTEN_TRUE || k->tighten == IMMURE_TIGHTEN_FALSE)
			assert_int_equal(k->type, IMMURE_KEY_BOOL);
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(k->path, immure_keys[j].path);
			assert_int_not_equal(k->offset, immure_keys[j].offset);
			if (k->flag && immure_keys[j].flag)
				assert_string_not_equal(k->flag, immure_keys[j].flag);
		}
	}
	assert_int_equal(immure_key_find("no.such"), -1);
}

static void choices_are_the_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		char joined[200] = "";

		if (k->type == IMMURE_KEY_BOOL) {
			assert_string_equal(k->choices, "true|false");
			continue;
		}
		if (!k->choices)
			continue;
		for (size_t j = 0; k->names[j]; j++) {
			strcat(joined, j ? "|" : "");
			strcat(joined, k->names[j]);
		}
		assert_string_equal(k->choices, joined);
	}
}

/* Defaults are put in place unchecked: here they are checked. */
static void defaults_are_legal(void **state)
{
	(void)state;
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		struct immure_complaint c = { 0 };
		struct immure_policy_build b;
		char *before, *after;

		if (!k->fallback)
			continue;
		assert_int_equal(immure_build_begin(&b, NULL), 0);
		before = immure_policy_canonical(b.p);
		assert_true(immure_build_assign(&b, k, k->fallback, false, &c) >= 0);
		after = immure_policy_canonical(b.p);
		assert_string_equal(before, after);
		free(before);
		free(after);
		immure_build_abort(&b);
	}
}

static void examples_are_legal(void **state)
{
	(void)state;
	for (size_t i = 0; i < immure_keys_n; i++) {
		const struct immure_key *k = &immure_keys[i];
		const char *dot = strchr(k->path, '.');
		immure_policy *p = NULL;
		immure_error *e = NULL;
		char text[500];

		if (dot)
			(void)snprintf(text, sizeof(text), "{\"%.*s\": {\"%s\": %s}%s}",
				       (int)(dot - k->path), k->path, dot + 1, k->example, "");
		else
			(void)snprintf(text, sizeof(text), "{\"%s\": %s}", k->path, k->example);
		if (strcmp(k->path, "network.allow") == 0 || strcmp(k->path, "network.deny") == 0)
			(void)snprintf(text, sizeof(text), "{\"network\": {\"mode\": \"limited\", "
				       "\"%s\": %s}}", dot + 1, k->example);
		if (strcmp(k->path, "image") == 0)
			(void)snprintf(text, sizeof(text), "{\"extends\": \"image\", \"image\": %s}",
				       k->example);
		if (immure_policy_parse(text, strlen(text), "example", &p, &e) < 0)
			fail_msg("%s: %s", text, immure_error_text(e));
		immure_policy_free(p);
	}
}

/* A profile's values are put in place unchecked, so here each goes through the
 * checks, and has to be in normal form already. */
static void profiles_are_legal(void **state)
{
	(void)state;
	for (size_t i = 0; i < immure_profiles_n; i++) {
		const struct immure_profile *pr = &immure_profiles[i];
		struct immure_policy_build b;

		assert_true(is_name(pr->name, "-"));
		assert_ptr_equal(immure_profile_find(pr->name), pr);
		assert_true(!pr->extends || immure_profile_find(pr->extends));
		assert_int_equal(immure_build_begin(&b, NULL), 0);
		for (size_t j = 0; j < pr->values_n; j++) {
			const struct immure_profile_value *v = &pr->values[j];
			int at = immure_key_find(v->key);
			const char *one[] = { v->value, NULL }, *const *list = v->list ? v->list : one;

			assert_true(at >= 0);
			assert_true(!v->list == !!v->value);
			for (; *list; list++) {
				struct immure_complaint c = { 0 };
				const char *normal = *list;

				if (immure_build_assign(&b, &immure_keys[at], *list, true, &c) < 0)
					fail_msg("%s: %s: %s", pr->name, v->key, c.text);
				if (immure_keys[at].check && immure_key_is_list(&immure_keys[at]))
					(void)immure_keys[at].check(&b.p->arena, *list, &normal, &c);
				assert_string_equal(normal, *list);
			}
		}
		immure_build_abort(&b);
	}
}

static void profiles_load(void **state)
{
	char *names = NULL;

	(void)state;
	assert_int_equal(immure_policy_profiles(&names, NULL), 0);
	for (size_t i = 0; i < immure_profiles_n; i++) {
		struct immure_policy_options o = { .size = sizeof(o), .profile = immure_profiles[i].name,
						   .flags = IMMURE_POLICY_NO_DISCOVERY };
		immure_policy *p = NULL;
		immure_error *e = NULL;

		assert_non_null(strstr(names, immure_profiles[i].name));
		if (immure_policy_load(&o, &p, &e) < 0)
			fail_msg("%s: %s", o.profile, immure_error_text(e));
		assert_string_equal(p->profile, o.profile);
		assert_true(p->sensitive && p->protected_table);
		assert_int_equal(p->downgrade, IMMURE_DOWNGRADE_DENY);
		assert_int_not_equal(p->network, IMMURE_NETWORK_HOST);
		/* no limit that costs a cgroup, except where they are the point */
		assert_int_equal(p->limits.memory != 0, strcmp(o.profile, "ci") == 0 ||
				 strcmp(o.profile, "untrusted") == 0);
		assert_int_equal(strlen(p->version), 7 + 24);
		immure_policy_free(p);
	}
	immure_string_free(names);
}

static void sensitive_paths(void **state)
{
	static const char *const must[] = {
		"~/.ssh", "~/.aws", "~/.azure", "~/.kube", "~/.gnupg", "~/.config/gcloud",
		"~/.config/gh", "~/.docker", "~/.netrc", "~/.npmrc", "~/.pypirc",
		"~/.cargo/credentials.toml", "~/.git-credentials", "~/.config/git/credentials",
		"~/.password-store", "~/.local/share/keyrings", "~/.mozilla",
		"~/.config/google-chrome", "~/.config/chromium", "~/snap/firefox",
		"~/.var/app/org.mozilla.firefox", "~/.bash_history", "~/.config/op", "~/.vault-token",
		"~/.config/immure", "~/.local/state/immure", "/etc/shadow", "/etc/sudoers",
		"/etc/ssl/private", "/var/run/docker.sock",
	};

	(void)state;
	for (size_t i = 0; i < immure_sensitive_paths_n; i++) {
		const struct immure_sensitive_path *s = &immure_sensitive_paths[i];
		const char *rest = s->path[0] == '~' ? s->path + 1 : s->path;

		print_message("%s\n", s->path);
		assert_true(immure_path_is_normal(rest) && rest[1]);
		assert_true(strlen(s->why) > 2);
		assert_null(strpbrk(s->path, "*?[`|"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(s->path, immure_sensitive_paths[j].path);
		/* whole trees that ordinary work needs are never masked */
		assert_string_not_equal(s->path, "~/.config");
		assert_string_not_equal(s->path, "~/.cache");
		assert_string_not_equal(s->path, "~/.local");
	}
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++) {
		size_t j = 0;

		while (j < immure_sensitive_paths_n &&
		       strcmp(immure_sensitive_paths[j].path, must[i]) != 0)
			j++;
		if (j == immure_sensitive_paths_n)
			fail_msg("%s is missing", must[i]);
	}
}

static const struct immure_protected_path *find_protected(const char *path)
{
	for (size_t i = 0; i < immure_protected_paths_n; i++)
		if (strcmp(immure_protected_paths[i].path, path) == 0)
			return &immure_protected_paths[i];
	return NULL;
}

static void protected_paths(void **state)
{
	static const char *const must[] = {
		".git/hooks", ".git/config", ".envrc", ".vscode", ".idea", ".claude", ".codex",
		".cursor", ".gemini", ".mcp.json", ".husky", ".devcontainer", ".github/workflows",
		".pre-commit-config.yaml", ".npmrc", ".yarnrc.yml", ".cargo/config.toml",
		"AGENTS.md", "CLAUDE.md", ".bashrc", ".profile", ".immure", "sitecustomize.py",
		".ssh", ".config/autostart", ".config/systemd", ".pam_environment",
	};

	(void)state;
	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *p = &immure_protected_paths[i];
		const char *star = strchr(p->path, '*');
		char absolute[200];

		print_message("%s\n", p->path);
		(void)snprintf(absolute, sizeof(absolute), "/%s", p->path);
		assert_true(immure_path_is_normal(absolute));
		assert_true(strlen(p->why) > 0);
		if (star) /* only to open the last component */
			assert_true((star == p->path || star[-1] == '/') && !strpbrk(star + 1, "*/"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(p->path, immure_protected_paths[j].path);
	}
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++) {
		const struct immure_protected_path *p = find_protected(must[i]);

		if (!p || p->build)
			fail_msg("%s is not protected", must[i]);
	}
	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *p = &immure_protected_paths[i];

		if (strcmp(p->path, "Makefile") == 0 || strcmp(p->path, "conftest.py") == 0)
			assert_true(p->build);
		if (strcmp(p->path, ".git/config") == 0)
			assert_true(p->anywhere);
	}
}

/* A preset that named a place of secrets, or one in it, would uncover it. */
static void presets(void **state)
{
	(void)state;
	assert_true(immure_presets_n > 30);
	for (size_t i = 0; i < immure_presets_n; i++) {
		const struct immure_preset *p = &immure_presets[i];

		assert_true(strncmp(p->path, "~/", 2) == 0 || p->path[0] == '/');
		for (size_t k = 0; k < immure_sensitive_paths_n; k++) {
			const char *secret = immure_sensitive_paths[k].path;
			size_t n = strlen(secret);

			if (strncmp(p->path, secret, n) == 0 && (p->path[n] == '/' || !p->path[n]))
				fail_msg("%s is in %s", p->path, secret);
		}
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(p->path, immure_presets[k].path);
	}
}

/* A build must be able to write its inputs, and a clone its repository; a live
 * hook is never among what may be created. */
static void what_dev_may_create(void **state)
{
	struct immure_policy_options o = { .size = sizeof(o), .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *p = NULL;

	(void)state;
	assert_int_equal(immure_policy_load(&o, &p, NULL), 0);
	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		const struct immure_protected_path *t = &immure_protected_paths[i];
		bool git = strcmp(t->path, ".git/config") == 0 || strcmp(t->path, ".git/hooks") == 0;

		if (immure_strv_has(&p->created, t->path) != (t->build || git))
			fail_msg("%s", t->path);
	}
	immure_policy_free(p);
}

static void flags(void **state)
{
	static const char *const must[] = {
		"profile", "policy", "workspace", "read", "write", "deny", "protect", "tmp", "env",
		"pass", "net", "allow", "memory", "processes", "cpus", "timeout", "disk", "output",
		"syscalls", "identity", "require", "downgrade", "backend", "origin", "cpu-time",
		"open-files", "file-size", "view", "home", "workspace-mode", "image", "publish",
		"created",
	};
	size_t seen = 0, n = 0;

	(void)state;
	for (uint32_t i = 0;; i++) {
		struct immure_flag f = { .size = sizeof(f) };

		if (immure_policy_flag(i, &f) < 0)
			break;
		n++;
		assert_int_equal(f.size, sizeof(f));
		assert_true(f.key && f.argument && f.help);
		for (size_t j = 0; j < sizeof(must) / sizeof(must[0]); j++)
			seen += strcmp(must[j], f.flag) == 0;
	}
	assert_int_equal(seen, sizeof(must) / sizeof(must[0]));
	assert_true(n > seen);
}

/* An older caller's struct may have ended before the later fields. */
static void flag_of_an_older_caller(void **state)
{
	struct immure_flag f = { .size = offsetof(struct immure_flag, key), .key = "untouched" };

	(void)state;
	assert_int_equal(immure_policy_flag(0, &f), 0);
	assert_string_equal(f.flag, "profile");
	assert_string_equal(f.key, "untouched");
	assert_int_equal(immure_policy_flag(0, NULL), -IMMURE_ERR_INVALID);
}

static void nearest(void **state)
{
	static const char *const words[] = { "limits.memory", "files.read", "none", "limited", "host" };

	(void)state;
	assert_string_equal(immure_nearest("limits.memry", words, 5), "limits.memory");
	assert_string_equal(immure_nearest("hots", words, 5), "host");
	assert_null(immure_nearest("zzzzzzzz", words, 5));
	assert_null(immure_nearest("x", words, 5));
	assert_null(immure_nearest("", words, 5));
	assert_null(immure_nearest("none", words, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),		      cmocka_unit_test(choices_are_the_names),
		cmocka_unit_test(defaults_are_legal), cmocka_unit_test(examples_are_legal),
		cmocka_unit_test(profiles_are_legal), cmocka_unit_test(profiles_load),
		cmocka_unit_test(sensitive_paths),    cmocka_unit_test(protected_paths),
		cmocka_unit_test(what_dev_may_create), cmocka_unit_test(presets), cmocka_unit_test(flags),
		cmocka_unit_test(flag_of_an_older_caller), cmocka_unit_test(nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
