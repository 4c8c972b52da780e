/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for other platforms: planned, checked and rendered here, never startable.
 * The golden files hold everything but the hashes; IMMURE_WRITE_GOLDEN=DIR writes
 * them anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "plan/render.h"
#include "plan_host.h"

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

static char *render(struct host *h)
{
	bool known = false;
	char *text = immure_plan_artefact(h->plan, &known);

	assert_true(known);
	assert_non_null(text);
	return text;
}

/* The hashes change with every built-in table. */
static void without_hashes(char *text)
{
	for (char *p = text; *p; p++) {
		size_t n = strspn(p, "0123456789abcdef");

		if (n == 64 || n == 24)
			memset(p, '0', n);
		p += n ? n - 1 : 0;
	}
}

static void compare(struct host *h, const char *name)
{
	const char *dir = getenv("IMMURE_SOURCE_DIR"), *write = getenv("IMMURE_WRITE_GOLDEN");
	char path[512], *want = NULL, *text = render(h);
	size_t n;

	without_hashes(text);
	if (write) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "%s/%s", write, name);
		f = fopen(path, "w");
		assert_non_null(f);
		(void)fputs(text, f);
		(void)fclose(f);
	}
	(void)snprintf(path, sizeof(path), "%s/tests/unit/golden/%s", dir ? dir : ".", name);
	assert_int_equal(immure_read_file_at(-100, path, 1 << 20, &want, &n), 0);
	assert_string_equal(text, want);
	free(want);
	free(text);
}

static void golden_seatbelt(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/.ssh", 'd');
	host_has(h, "/home/u/ws/.git", 'd');
	host_has(h, "/home/u/ws/.git/config", 'f');
	host_has(h, "/home/u/ws/a \"b\"\\c", 'd');
	host_has(h, "/opt/data\nx", 'd');
	host_has(h, "/var/cache", 'd');
	host_must(h, "dev", "backend=seatbelt", "network.mode=limited", "+network.allow=pypi.org",
		  "+files.deny=a \"b\"\\c", "+files.write=/opt/data\nx", "+files.write=/var/cache",
		  "+files.protect=.git/config", "limits.open_files=100", "files.protected=false",
		  "+network.publish=8080:80", NULL);
	compare(h, "render-seatbelt-dev.txt");
}

static void golden_seatbelt_strict(void **state)
{
	struct host *h = *state;

	host_must(h, "strict", "backend=seatbelt", "syscalls=default", "files.protected=false", NULL);
	compare(h, "render-seatbelt-strict.txt");
}

static void golden_vz(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/.ssh", 'd');
	host_must(h, "dev", "backend=vz", "network.mode=limited", "+network.allow=pypi.org:443",
		  "+network.deny=evil.example", "limits.memory=1G", "limits.processes=64",
		  "limits.wall_time=10m", "limits.output=1M", "+environment.set=A=b c",
		  "files.protected=false", NULL);
	compare(h, "render-vz.txt");
}

static void golden_wsl2(void **state)
{
	struct host *h = *state;

	host_must(h, "ci", "backend=wsl2", "workspace.path=/home/u/ws", "+files.deny=private \"x\"",
		  "-environment.pass=", NULL);
	compare(h, "render-wsl2.txt");
}

static void golden_remote(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", "backend=remote", "require.class=remote_sandbox", "limits.memory=1G", NULL);
	compare(h, "render-remote.txt");
}

/* Sealed bytes of it are not opened as if they were of this platform. */
static void refuses_to_travel(const struct immure_plan *plan)
{
	struct immure_plan *copy = NULL;
	struct immure_error *err = NULL;
	void *bytes = NULL;
	size_t len = 0;

	assert_int_equal(immure_plan_seal_bytes(plan, &bytes, &len, NULL), 0);
	assert_true(immure_plan_unseal(bytes, len, &copy, &err) < 0);
	assert_non_null(strstr(immure_error_text(err), "for another platform"));
	immure_error_free(err);
	free(bytes);
}

/* Whatever the policy approves. */
static void never_startable_here(void **state)
{
	static const char *const names[] = { "backend=seatbelt", "backend=vz", "backend=wsl2",
					     "backend=remote" };
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct immure_gap *g;

		host_must(h, "dev", names[i], "require.downgrade=backend",
			  "require.downgrade=process_visibility", NULL);
		g = host_gap(h, "backend");
		assert_non_null(g);
		assert_false(g->approved);
		assert_non_null(strstr(g->what, "unsupported here"));
		assert_string_equal(h->plan->backend, names[i] + strlen("backend="));
		assert_true(immure_plan_startable(h->plan, NULL) < 0);
		refuses_to_travel(h->plan);
	}
}

/* What this host lacks is no gap of a plan for another platform. */
static void not_this_hosts_gaps(void **state)
{
	static const char *const backends[] = { "backend=vz", "backend=native" };
	struct host *h = *state;

	h->facts.seccomp = h->facts.egress = IMMURE_NO;
	for (size_t i = 0; i < 2; i++) {
		host_must(h, "dev", backends[i], "network.mode=limited", "network.allow=example.org", NULL);
		assert_int_equal(!!host_gap(h, "syscalls"), i);
		assert_int_equal(!!host_gap(h, "egress_allowlist"), i);
	}
}

/* Also where nothing that is tried first will do. */
static void never_chosen_by_auto(void **state)
{
	struct host *h = *state;

	h->facts.seccomp = IMMURE_NO;
	h->facts.userns = IMMURE_NO;
	h->facts.landlock_abi = 0;
	host_must(h, "dev", NULL);
	assert_false(immure_elsewhere_is(h->plan->backend));
	assert_null(strstr(h->plan->backend_why, "seatbelt"));
	host_must(h, "dev", "require.prefer=seatbelt", NULL);
	assert_false(immure_elsewhere_is(h->plan->backend));
}

static void nothing_to_render_for_linux(void **state)
{
	struct host *h = *state;
	bool known = true;

	host_must(h, "dev", NULL);
	assert_null(immure_plan_artefact(h->plan, &known));
	assert_false(known);
}

static void gaps_of_platforms(void **state)
{
	static const struct {
		const char *setting, *backend, *dimension;
		bool final;
	} t[] = {
		{ "limits.memory=1G", "backend=seatbelt", "resources", false },
		{ "limits.cpus=1", "backend=seatbelt", "resources", false },
		{ "limits.disk=1G", "backend=seatbelt", "resources", false },
		{ "syscalls=strict", "backend=seatbelt", "syscalls", true },
		{ "identity=root", "backend=seatbelt", "privileges", true },
		{ "origin=local", "backend=seatbelt", "process_visibility", false },
		{ "network.mode=host", "backend=vz", "network_egress", true },
		{ "+network.publish=80", "backend=vz", "network_ingress", false },
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char approve[64];
		const struct immure_gap *g;

		(void)snprintf(approve, sizeof(approve), "require.downgrade=%s", t[i].dimension);
		host_must(h, "dev", t[i].backend, t[i].setting, approve, NULL);
		g = host_gap(h, t[i].dimension);
		if (!g)
			fail_msg("%s %s", t[i].backend, t[i].setting);
		assert_int_equal(g->approved, !t[i].final);
	}
}

/* Every line of a profile is a comment or has its brackets closed: no name of a
 * path can end a string or a rule. */
static void brackets_balance(void **state)
{
	static const char *const odd[] = {
		"/home/u/ws/\")(allow default)(\"", "/home/u/ws/\\", "/home/u/ws/\\\"", "/home/u/ws/\n(allow x)",
		"/home/u/ws/;", "/home/u/ws/\x7f\x01", "/home/u/ws/#\"", "/home/u/ws/\xc3\xa9[](){}*.^$|?+",
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		char deny[128], protect[128];
		bool string = false, comment = false;
		int depth = 0;
		char *text;

		(void)snprintf(deny, sizeof(deny), "+files.deny=%s", odd[i]);
		(void)snprintf(protect, sizeof(protect), "+files.protect=%s x", odd[i]);
		h->declared_n = 0;
		host_done(h);
		host_init(h);
		host_has(h, odd[i], 'd');
		host_must(h, "dev", "backend=seatbelt", deny, protect, NULL);
		text = render(h);
		for (const char *p = text; *p; p++) {
			assert_true((unsigned char)*p >= 0x20 || *p == '\n' || *p == '\t');
			if (comment) {
				comment = *p != '\n';
			} else if (string) {
				assert_int_not_equal(*p, '\n');
				if (*p == '\\')
					p++;
				else
					string = *p != '"';
			} else {
				string = *p == '"';
				comment = *p == ';';
				depth += *p == '(';
				depth -= *p == ')';
				assert_true(depth >= 0);
				assert_true(*p != '(' || strncmp(p, "(allow default", 14) != 0);
			}
		}
		assert_int_equal(depth, 0);
		assert_false(string);
		free(text);
	}
}

static void windows_paths(void **state)
{
	static const struct {
		const char *workspace, *inside;
	} t[] = {
		{ "workspace.path=/home/u/ws", "/home/u/ws" },
		{ "workspace.path=/mnt/c/x", "/mnt/c/x" },
		{ "workspace.path=C:\\Users\\u x\\ws", "/mnt/c/Users/u x/ws" },
		{ "workspace.path=d:/y", "/mnt/d/y" },
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		host_must(h, "dev", "backend=wsl2", t[i].workspace, NULL);
		assert_string_equal(h->plan->argv.v[0], "wsl.exe");
		assert_string_equal(h->plan->argv.v[2], t[i].inside);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(golden_seatbelt, setup, teardown),
		cmocka_unit_test_setup_teardown(golden_seatbelt_strict, setup, teardown),
		cmocka_unit_test_setup_teardown(golden_vz, setup, teardown),
		cmocka_unit_test_setup_teardown(golden_wsl2, setup, teardown),
		cmocka_unit_test_setup_teardown(golden_remote, setup, teardown),
		cmocka_unit_test_setup_teardown(never_startable_here, setup, teardown),
		cmocka_unit_test_setup_teardown(not_this_hosts_gaps, setup, teardown),
		cmocka_unit_test_setup_teardown(never_chosen_by_auto, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_to_render_for_linux, setup, teardown),
		cmocka_unit_test_setup_teardown(gaps_of_platforms, setup, teardown),
		cmocka_unit_test_setup_teardown(brackets_balance, setup, teardown),
		cmocka_unit_test_setup_teardown(windows_paths, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
