/* SPDX-License-Identifier: Apache-2.0 */
/* Requirement and downgrade: each class against each, each capability and dimension,
 * each value of trust against each, and for one gap of each kind who lists it, who
 * approves it and whose work it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facts/report.h"
#include "plan_host.h"
#include "policy/keys.h"

static int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	host_init(h);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	host_done(*state);
	free(*state);
	return 0;
}

static void classes(void **state)
{
	/* row: offered; column: asked; in the order of immure_isolation_classes */
	static const bool enough[5][5] = {
		{ true, false, false, false, false }, { true, true, false, false, false },
		{ true, false, true, false, false },  { true, false, false, true, false },
		{ false, false, false, false, true },
	};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < 5; j++)
			if (immure_class_enough(immure_isolation_classes[i],
						immure_isolation_classes[j]) != enough[i][j])
				fail_msg("%s for %s", immure_isolation_classes[i],
					 immure_isolation_classes[j]);
	assert_null(immure_isolation_classes[5]);
}

static void classes_in_plans(void **state)
{
	struct host *h = *state;
	char setting[64];

	for (size_t i = 0; i < 5; i++) {
		const char *asked = immure_isolation_classes[i];
		bool met = i < 2; /* host_process and sandbox: what native is */

		(void)snprintf(setting, sizeof(setting), "require.class=%s", asked);
		host_must(h, "dev", setting, NULL);
		assert_int_equal(h->plan->gaps_n, !met);
		if (met)
			continue;
		assert_string_equal(h->plan->gaps[0].key, "require.class");
		assert_string_equal(h->plan->gaps[0].dimension, "sandbox");
		/* the delta is the class that is accepted instead, not the key, not the other */
		host_must(h, "dev", setting, "require.downgrade=require.class", NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
		host_must(h, "dev", setting, "require.downgrade=container", NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
		host_must(h, "dev", setting, "require.downgrade=sandbox", NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	}
}

static const struct immure_backend_report *native(struct host *h, struct immure_arena *a)
{
	struct immure_backend_report *r = NULL;
	size_t n = immure_reports(&h->facts, a, &r);

	for (size_t i = 0; i < n; i++)
		if (strcmp(r[i].backend, "native") == 0)
			return &r[i];
	fail();
	return NULL;
}

static void one_name(struct host *h, const char *name, bool met)
{
	char require[96], downgrade[96];

	(void)snprintf(require, sizeof(require), "require.capabilities=%s", name);
	(void)snprintf(downgrade, sizeof(downgrade), "require.downgrade=%s", name);
	host_must(h, "dev", require, NULL);
	if (h->plan->gaps_n != (size_t)!met)
		fail_msg("%s: %zu gaps", name, h->plan->gaps_n);
	if (met)
		return;
	assert_string_equal(h->plan->gaps[0].dimension, name);
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
	host_must(h, "dev", require, "require.downgrade=require.capabilities", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
	host_must(h, "dev", require, downgrade, NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	host_must(h, "dev", require, downgrade, "origin=remote", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
}

static void capabilities(void **state)
{
	struct host *h = *state;
	struct immure_arena a = IMMURE_ARENA_INIT;
	const struct immure_backend_report *r = native(h, &a);
	size_t met = 0;

	assert_int_equal(immure_capability_names_n, 19);
	for (size_t c = 0; c < immure_capability_names_n; c++) {
		one_name(h, immure_capability_names[c], r->capabilities & 1u << c);
		met += (r->capabilities & 1u << c) != 0;
	}
	assert_true(met > 0 && met < 19);
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		one_name(h, immure_dimension_name((enum immure_dimension)d),
			 r->dims[d].level == IMMURE_LEVEL_ENFORCED);
	immure_arena_done(&a);
}

/* What the policy itself gives away is not guaranteed by any backend. */
static void capability_and_policy(void **state)
{
	struct host *h = *state;
	static const char *const names[] = { "no_network_guarantee", "network_egress",
					     "network_ingress" };

	for (size_t i = 0; i < 3; i++) {
		char require[96];

		(void)snprintf(require, sizeof(require), "require.capabilities=%s", names[i]);
		host_must(h, "dev", require, "network.mode=none", NULL);
		assert_null(host_gap(h, names[i]));
		host_must(h, "dev", require, "network.mode=host", NULL);
		assert_non_null(host_gap(h, names[i]));
	}
	host_must(h, "dev", "require.capabilities=no_network_guarantee", "network.mode=limited", NULL);
	assert_non_null(host_gap(h, "no_network_guarantee"));
}

static void trust(void **state)
{
	static const struct {
		enum immure_trust_field field;
		uint32_t enough[3]; /* per asked value: bits of offers that are enough */
	} t[] = {
		{ IMMURE_TRUST_LOCALITY, { 7, 2, 4 } },
		{ IMMURE_TRUST_TENANCY, { 3, 2, 0 } },
		{ IMMURE_TRUST_AUDITABILITY, { 7, 6, 4 } },
		{ IMMURE_TRUST_CLEANUP, { 3, 2, 0 } },
		{ IMMURE_TRUST_DATA_RESIDENCY, { 7, 2, 4 } },
		{ IMMURE_TRUST_SECRET_ISOLATION, { 7, 6, 4 } },
	};
	struct host *h = *state;
	struct immure_arena a = IMMURE_ARENA_INIT;
	const struct immure_backend_report *r = native(h, &a);

	_Static_assert(sizeof(t) / sizeof(t[0]) == IMMURE_TRUST_MAX, "every field");
	for (size_t i = 0; i < IMMURE_TRUST_MAX; i++) {
		const struct immure_trust_info *info = &immure_trust_fields[t[i].field];

		for (uint32_t asked = 0; info->values[asked]; asked++) {
			bool met = t[i].enough[asked] & 1u << r->trust[t[i].field];
			char require[96], downgrade[96];

			for (uint32_t had = 0; info->values[had]; had++)
				if (immure_trust_enough(t[i].field, had, asked) !=
				    !!(t[i].enough[asked] & 1u << had))
					fail_msg("%s: %s for %s", info->name, info->values[had],
						 info->values[asked]);
			(void)snprintf(require, sizeof(require), "%s=%s", info->key,
				       info->values[asked]);
			host_must(h, "dev", require, NULL);
			assert_int_equal(h->plan->gaps_n, !met);
			if (met)
				continue;
			assert_string_equal(h->plan->gaps[0].key, info->key);
			assert_string_equal(h->plan->gaps[0].dimension, info->delta);
			(void)snprintf(downgrade, sizeof(downgrade), "require.downgrade=%s",
				       info->delta);
			host_must(h, "dev", require, downgrade, NULL);
			assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
			host_must(h, "dev", require, downgrade, "origin=remote", NULL);
			assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
		}
	}
	immure_arena_done(&a);
}

/* --require and --downgrade as flags have them. */
static void words(void **state)
{
	static const struct { const char *key, *value, *said; } wrong[] = {
		{ "require.capabilities", "colour=red", "no field of trust" },
		{ "require.capabilities", "downgrade=allow", "no field of trust" },
		{ "require.capabilities", "class=sandbox", "no field of trust" },
		{ "require.capabilities", "tenancy=some", "expected shared_allowed or dedicated" },
		{ "require.capabilities", "cleanup,", "no capability" },
		{ "require.capabilities", "", "no capability" },
		{ "require.downgrade", "ipc,", "expected a policy key" },
		{ "require.downgrade", "ipc,everything", "expected a policy key" },
		{ "require.prefer", "auto", "no backend" },
		{ "require.prefer", "nativ", "no backend" },
		{ "require.locality", "here", "expected any, local or remote" },
	};
	struct host *h = *state;

	host_must(h, "dev", "require.capabilities=sandbox,cleanup,tenancy=dedicated,locality=local",
		  NULL);
	assert_string_equal(h->policy->require_class, "sandbox");
	assert_int_equal(h->policy->require_caps.n, 1);
	assert_int_equal(h->policy->require_trust[IMMURE_TRUST_TENANCY], IMMURE_TENANCY_DEDICATED);
	assert_int_equal(h->policy->require_trust[IMMURE_TRUST_LOCALITY], IMMURE_LOCALITY_LOCAL);
	assert_int_equal(h->plan->gaps_n, 1);
	host_must(h, "dev", "require.capabilities=tenancy=dedicated,audit_log",
		  "require.downgrade=trust_tenancy,audit_log", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	host_must(h, "dev", "require.capabilities=tenancy=dedicated,audit_log",
		  "require.downgrade=trust_tenancy", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct immure_setting setting = { wrong[i].key, wrong[i].value, "--x" };
		struct immure_policy_options o = { .size = sizeof(o), .settings = &setting,
						   .settings_n = 1,
						   .flags = IMMURE_POLICY_NO_DISCOVERY };
		struct immure_policy *p = NULL;
		struct immure_error *err = NULL;

		assert_int_equal(immure_policy_load(&o, &p, &err), -IMMURE_ERR_POLICY);
		if (!strstr(immure_error_text(err), wrong[i].said))
			fail_msg("%s: %s", wrong[i].value, immure_error_text(err));
		immure_error_free(err);
	}
}

/* ---- who lists, who approves, whose work ---- */

/* The same thing asked and not given, with a policy file (or none) and a caller. */
static void ask(struct host *h, const char *file, const char *caller, bool remote)
{
	char name[] = "/tmp/immure-require-XXXXXX", downgrade[96];
	const char *said[2] = { NULL, NULL };
	size_t n = 0;

	h->file = NULL;
	if (file) {
		int fd = mkstemp(name);

		assert_true(fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file));
		(void)close(fd);
		h->file = name;
	}
	if (caller) {
		(void)snprintf(downgrade, sizeof(downgrade), "require.downgrade=%s", caller);
		said[n++] = downgrade;
	}
	if (remote)
		said[n++] = "origin=remote";
	host_must(h, "dev", "require.tenancy=dedicated", said[0], said[1], NULL);
	if (file)
		(void)unlink(name);
	h->file = NULL;
}

#define LISTS(gap) "{\"require\":{\"downgrade\":[" gap "]}}"

static void two_must_agree(void **state)
{
	static const struct {
		const char *file, *caller;
		bool started;
	} t[] = {
		{ NULL, NULL, false },
		{ NULL, "deny", false },
		{ NULL, "allow", false }, /* nothing is listed */
		{ NULL, "trust_tenancy", true }, /* the flags are the policy */
		{ NULL, "require.tenancy", true },
		{ NULL, "trust_locality", false },
		{ "{}", NULL, false },
		{ "{}", "allow", false },
		{ "{}", "trust_tenancy", false }, /* the policy does not list it */
		{ "{\"require\":{\"downgrade\":\"allow\"}}", NULL, false },
		{ "{\"require\":{\"downgrade\":\"allow\"}}", "trust_tenancy", false },
		{ "{\"require\":{\"downgrade\":\"deny\"}}", "trust_tenancy", false },
		{ LISTS("\"trust_tenancy\""), NULL, false }, /* the caller did not approve */
		{ LISTS("\"trust_tenancy\""), "deny", false },
		{ LISTS("\"trust_tenancy\""), "allow", true },
		{ LISTS("\"trust_tenancy\""), "trust_tenancy", true },
		{ LISTS("\"require.tenancy\""), "trust_tenancy", true }, /* one delta, two names */
		{ LISTS("\"trust_tenancy\""), "require.tenancy", true },
		{ LISTS("\"trust_tenancy\""), "audit_log", false },
		{ LISTS("\"audit_log\""), "trust_tenancy", false },
		{ LISTS("\"audit_log\""), "allow", false },
		{ LISTS("\"audit_log\",\"trust_tenancy\""), "audit_log", false },
		{ LISTS("\"audit_log\",\"trust_tenancy\""), "allow", true },
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		for (int remote = 0; remote < 2; remote++) {
			bool started;

			ask(h, t[i].file, t[i].caller, remote);
			started = immure_plan_startable(h->plan, NULL) == 0;
			if (started != (t[i].started && !remote))
				fail_msg("%zu: %s + %s%s", i, t[i].file ? t[i].file : "no file",
					 t[i].caller ? t[i].caller : "nothing",
					 remote ? ", remote" : "");
			/* a caller who approved what is not listed is told why it does not count */
			if (!remote && t[i].file && t[i].caller &&
			    strstr(t[i].caller, "tenancy") && !t[i].started)
				assert_non_null(strstr(h->plan->gaps[0].remedy, "does not list"));
		}
	}
}

/* What is approved is part of the policy's version. */
static void versions(void **state)
{
	static const char *const files[] = { "{}", LISTS("\"trust_tenancy\""), LISTS("\"audit_log\"") };
	struct host *h = *state;
	char seen[3][32];

	for (size_t i = 0; i < 3; i++) {
		ask(h, files[i], "trust_tenancy", false);
		memcpy(seen[i], h->policy->version, sizeof(seen[i]));
	}
	assert_string_not_equal(seen[0], seen[1]);
	assert_string_not_equal(seen[1], seen[2]);
	assert_string_not_equal(seen[0], seen[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test_setup_teardown(classes_in_plans, setup, teardown),
		cmocka_unit_test_setup_teardown(capabilities, setup, teardown),
		cmocka_unit_test_setup_teardown(capability_and_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(trust, setup, teardown),
		cmocka_unit_test_setup_teardown(words, setup, teardown),
		cmocka_unit_test_setup_teardown(two_must_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(versions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
