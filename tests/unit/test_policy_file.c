/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy file may say, and where exactly a mistake is reported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "immure/immure.h"
#include "policy/policy.h"

/* text: the whole message; key: the error's subject; hint: part of the hint. */
struct mistake {
	const char *json, *text, *key, *hint;
};

static const struct mistake mistakes[] = {
	/* keys */
	{ "{\n\"limit\": {}\n}", "p:2: limit: unknown key", "limit", "\"limits\"" },
	{ "{\"limits\": {\n\n\"memry\": 1}}", "p:3: limits.memry: unknown key", "limits.memry",
	  "\"limits.memory\"" },
	{ "{\"memory\": 1}", "p:1: memory: unknown key", "memory", "\"limits.memory\"" },
	{ "{\"zzz\": 1}", "p:1: zzz: unknown key", "zzz", "reference" },
	{ "{\"\": 1}", "p:1: unknown key", "", "reference" },
	{ "{\"files\": {\"\": 1}}", "p:1: files.: unknown key", "files.", "" },
	{ "{\n\"origin\": \"local\",\n\"origin\": \"remote\"}", "p:3: duplicate key '\"origin\"'", "",
	  "" },
	{ "{\"files\": {\"deny\": [],\n\"deny\": []}}", "p:2: duplicate key '\"deny\"'", "", "" },
	{ "{\"secrets\": {\"a\": {}, \"a\": {}}}", "p:1: duplicate key '\"a\"'", "", "" },
	{ "{\"+files\": {}}",
	  "p:1: +files: \"+\" goes before the name of a list, not of a group", "+files", "" },
	{ "{\"limits\": {\"+memory\": \"1G\"}}",
	  "p:1: limits.memory: takes one value, so \"+\" has nothing to add to", "limits.memory", "" },
	{ "{\"files\": {\"deny\": [\"a\"],\n\"+deny\": [\"b\"]}}",
	  "p:2: files.deny: both \"deny\" and \"+deny\" are here", "files.deny", "" },
	{ "{\"files\": {\"++deny\": []}}", "p:1: files.+deny: unknown key", "files.+deny",
	  "\"files.deny\"" },
	{ "{\"files.deny\": [\"a\"]}",
	  "p:1: files.deny: stands in the object \"files\", under \"deny\"", "files.deny", "" },

	/* the text */
	{ "", "p:1: not JSON: unexpected token near end of file", "", "" },
	{ "{}\n{}", "p:2: expected the end of the file near '{'", "", "" },
	{ "{\n/* x", "p:2: a comment that does not end", "", "" },
	{ "[\n]", "p:1: expected an object, got a list", "", "" },
	{ "\n null", "p:2: expected an object, got null", "", "" },
	{ "{} /**/ // x", NULL, NULL, NULL },
	{ "{\"$schema\": \"x\"}", NULL, NULL, NULL },
	{ "{\"$schema\": 1}", "p:1: $schema: expected a string, got a number", "$schema", "" },

	/* types */
	{ "{\"files\": []}", "p:1: files: expected an object, got a list", "files", "" },
	{ "{\"network\": null}", "p:1: network: expected an object, got null", "network", "" },
	{ "{\"files\":\n{\"deny\":\n\"x\"}}", "p:3: files.deny: expected a list of paths, got a string",
	  "files.deny", "" },
	{ "{\"files\": {\"deny\": [\"a\",\n1]}}",
	  "p:2: files.deny[1]: expected a string, got a number", "files.deny", "" },
	{ "{\"files\": {\"deny\": null}}", "p:1: files.deny: expected a list of paths, got null",
	  "files.deny", "" },
	{ "{\"network\": {\"allow\": null}}", NULL, NULL, NULL },
	{ "{\"network\": {\"+allow\": null}}",
	  "p:1: network.allow: expected a list of strings, got null", "network.allow", "" },
	{ "{\"files\": {\"sensitive\": \"true\"}}",
	  "p:1: files.sensitive: expected true or false, got a string", "files.sensitive", "" },
	{ "{\"identity\": 0}", "p:1: identity: expected a string, got a number", "identity", "" },
	{ "{\"limits\": {\"memory\": true}}",
	  "p:1: limits.memory: expected a size such as \"512M\" or \"2G\", or bytes, got true or false",
	  "limits.memory", "" },
	{ "{\"limits\": {\"memory\": 1.5}}",
	  "p:1: limits.memory: expected a size such as \"512M\" or \"2G\", or bytes, got a fraction",
	  "limits.memory", "" },
	{ "{\"limits\": {\"processes\": \"5\"}}",
	  "p:1: limits.processes: expected a whole number, got a string", "limits.processes", "" },
	{ "{\"environment\": {\"set\": {\"A\": \"x\",\n\"B\": 1}}}",
	  "p:2: environment.set: B: expected a string, got a number", "environment.set", "" },
	{ "{\"environment\": {\"set\": [\"A=1\"]}}",
	  "p:1: environment.set: expected an object of names and string values, got a list",
	  "environment.set", "" },

	/* numbers */
	{ "{\"limits\": {\"memory\":\n0}}", "p:2: limits.memory: a limit of zero is an error",
	  "limits.memory", "leave the key out" },
	{ "{\"limits\": {\"wall_time\": \"0s\"}}", "p:1: limits.wall_time: a limit of zero is an error",
	  "limits.wall_time", "" },
	{ "{\"limits\": {\"wall_time\": 0.0}}", "p:1: limits.wall_time: a limit of zero is an error",
	  "limits.wall_time", "" },
	{ "{\"limits\": {\"memory\": -1}}",
	  "p:1: limits.memory: expected a size such as \"512M\" or \"2G\", or bytes, got \"-1\"",
	  "limits.memory", "" },
	{ "{\"limits\": {\"cpus\": 1e3}}",
	  "p:1: limits.cpus: expected a number such as 2 or 0.5, got \"1e3\"", "limits.cpus", "" },
	{ "{\"limits\": {\"memory\": \"16777216T\"}}", "p:1: limits.memory: 16777216T is too large",
	  "limits.memory", "" },
	{ "{\"limits\": {\"memory\": \"8388608T\"}}",
	  "p:1: limits.memory: 8388608T is out of range: 1M to 9223372036854775807", "limits.memory",
	  "" },
	{ "{\"limits\": {\"memory\": 99999999999999999999}}",
	  "p:1: not JSON: too big integer near '99999999999999999999'", "", "" },
	{ "{\"limits\": {\"processes\": 4194305}}",
	  "p:1: limits.processes: 4194305 is out of range: 1 to 4194304", "limits.processes", "" },
	{ "{\"limits\": {\"cpus\": 0.001}}", "p:1: limits.cpus: 0.001 is out of range: 0.01 to 1024",
	  "limits.cpus", "" },
	{ "{\"limits\": {\"memory\": \"2 G\"}}",
	  "p:1: limits.memory: expected a size such as \"512M\" or \"2G\", or bytes, got \"2 G\"",
	  "limits.memory", "" },

	/* paths */
	{ "{\"files\": {\"deny\": [\"\"]}}",
	  "p:1: files.deny[0]: expected a path, got an empty string", "files.deny", "" },
	{ "{\"files\": {\"deny\": [\"a/../b\"]}}",
	  "p:1: files.deny[0]: \"a/../b\": a path of a policy has no \"..\"", "files.deny", "" },
	{ "{\"files\": {\"+deny\": [\"x\", \"/..\"]}}",
	  "p:1: files.deny[1]: \"/..\": a path of a policy has no \"..\"", "files.deny", "" },
	{ "{\"files\": {\"deny\": [\"~bob/x\"]}}",
	  "p:1: files.deny[0]: \"~bob/x\": only \"~\" and \"~/\" stand for a home", "files.deny",
	  "./~bob/x" },
	{ "{\"files\": {\"deny\": [\"a\\u0000b\"]}}",
	  "p:1: not JSON: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"a\\u0000b\"'", "", "" },
	{ "{\"files\": {\"deny\": [\"a\\nb\", \"..a\", \"a..\", \"./~x\"]}}", NULL, NULL, NULL },
	{ "{\"workspace\": {\"path\": \"\"}}",
	  "p:1: workspace.path: expected a path, got an empty string", "workspace.path", "" },
	{ "{\"syscalls\": \"strct\"}",
	  "p:1: syscalls: expected default or strict or an absolute path, got \"strct\"", "syscalls",
	  "\"strict\"" },
	{ "{\"syscalls\": \"./filter\"}", "p:1: syscalls: expected an absolute path, got \"./filter\"",
	  "syscalls", "" },

	/* choices */
	{ "{\"network\": {\"mode\": \"limitd\"}}",
	  "p:1: network.mode: expected none, limited or host, got \"limitd\"", "network.mode",
	  "\"limited\"" },
	{ "{\"network\": {\"mode\": \"NONE\"}}",
	  "p:1: network.mode: expected none, limited or host, got \"NONE\"", "network.mode", "" },
	{ "{\"require\": {\"capabilities\": [\"no_network\"]}}",
	  "p:1: require.capabilities[0]: \"no_network\" is no capability or dimension",
	  "require.capabilities", "doctor" },
	{ "{\"files\": {\"created\": [\"Makefil\"]}}",
	  "p:1: files.created[0]: \"Makefil\" is no entry of the protected table", "files.created",
	  "\"Makefile\"" },
	{ "{\"require\": {\"downgrade\": \"limits.memory\"}}",
	  "p:1: require.downgrade: expected \"deny\", \"allow\" or a list of gaps, got "
	  "\"limits.memory\"", "require.downgrade", "" },
	{ "{\"require\": {\"downgrade\": [\"sandbox\", \"ipc\",\n\"writeable_layer\"]}}",
	  "p:2: require.downgrade: expected a policy key, dimension or capability, got "
	  "\"writeable_layer\"", "require.downgrade", "" },
	{ "{\"require\": {\"downgrade\": [\n\"Limits\"]}}",
	  "p:2: require.downgrade: expected a policy key, dimension or capability, got \"Limits\"",
	  "require.downgrade", "" },

	/* environment */
	{ "{\"environment\": {\"pass\": [\"LANG\", \"LD_PRELOAD\"]}}",
	  "p:1: environment.pass[1]: LD_PRELOAD makes programs run other code and is never passed",
	  "environment.pass", "environment.set" },
	{ "{\"environment\": {\"pass\": [\"*\"]}}",
	  "p:1: environment.pass[0]: \"*\" would pass every variable, secrets included",
	  "environment.pass", "" },
	{ "{\"environment\": {\"set\": {\"A=B\": \"x\"}}}",
	  "p:1: environment.set: \"A=B\" is no name of a variable", "environment.set", "" },
	{ "{\"environment\": {\"set\": {\"\": \"x\"}}}",
	  "p:1: environment.set: the variable's name is empty", "environment.set", "" },

	/* secrets */
	{ "{\"secrets\": {\"a\": {\"from\": \"env:X\"}}}",
	  "p:1: secrets.a: to is missing or empty: a secret for nobody", "secrets", "" },
	{ "{\"secrets\": {\"a\": {\"to\": [\"x.org\"]}}}",
	  "p:1: secrets.a: from is missing: where the secret comes from", "secrets", "" },
	{ "{\"secrets\": {\"a\": {\n\"form\": \"env:X\"}}}",
	  "p:2: secrets.a.form: unknown key, a secret has from, to and as", "secrets", "\"from\"" },
	{ "{\"secrets\": {\"a\": {\"from\": \"env:X\", \"to\": [\"x.org\"],\n\"as\": 1}}}",
	  "p:2: secrets.a.as: expected a string, got a number", "secrets", "" },
	{ "{\"secrets\": {\"a\": {\"from\": \"X\", \"to\": [\"x.org\"]}}}",
	  "p:1: secrets.a: from: expected env:NAME, file:/PATH or fd:N (3 or more), got \"X\"",
	  "secrets", "" },
	{ "{\"secrets\": {\"a\": {\"from\": \"fd:2\", \"to\": [\"x.org\"]}}}",
	  "p:1: secrets.a: from: expected env:NAME, file:/PATH or fd:N (3 or more), got \"fd:2\"",
	  "secrets", "" },
	{ "{\"secrets\": {\"a\": {\"from\": \"env:X\", \"to\": [\"x.org\"], \"as\": \"cookie\"}}}",
	  "p:1: secrets.a: as: expected bearer, basic, header:NAME, query:NAME or env:NAME, got "
	  "\"cookie\"", "secrets", "" },
	{ "{\"secrets\": {\"a b\": {\"from\": \"env:X\", \"to\": [\"x.org\"]}}}",
	  "p:1: secrets.a b: a secret's name has 1 to 64 letters, digits, \"_\" or \"-\"", "secrets",
	  "" },

	/* the whole */
	{ "{\"network\": {\"allow\": [\"x.org\"]}}",
	  "p: network.allow has rules, but network.mode is none and would not enforce them",
	  "network.allow", "limited" },
	{ "{\"network\": {\"mode\": \"host\", \"deny\": [\"x.org\"]}}",
	  "p: network.deny has rules, but network.mode is host and would not enforce them",
	  "network.deny", "limited" },
	{ "{\"network\": {\"publish\": [\"8080\", \"8080:80\"]}}",
	  "network.publish: 127.0.0.1:8080:8080 and 127.0.0.1:8080:80 publish the same host port",
	  "network.publish", "" },
	{ "{\"image\": \"debian\"}",
	  "image: \"debian\" would not be used, since files.view is not image", "image", "--view" },
	{ "{\"image\": \"debian\", \"extends\": \"image\"}", NULL, NULL, NULL },

	/* extends */
	{ "{\n\"extends\": \"nope\"}", "p:2: extends: \"nope\" is no built-in profile", "extends", "" },
	{ "{\"extends\": \"\"}", "p:1: extends: expected a profile or a path, got an empty string",
	  "extends", "" },
	{ "{\"extends\": [\"dev\"]}", "p:1: extends: expected a string, got a list", "extends", "" },
	{ "{\"extends\": \"./x\"}", "p:1: extends: only a file can extend a file", "extends", "" },
};

static void exact_errors(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const struct mistake *m = &mistakes[i];
		immure_policy *p = NULL;
		immure_error *e = NULL;
		int32_t r = immure_policy_parse(m->json, strlen(m->json), "p", &p, &e);
		bool ok;

		if (!m->text)
			ok = r == 0 && p && !e;
		else
			ok = r == -IMMURE_ERR_POLICY && !p && e &&
			     strcmp(immure_error_text(e), m->text) == 0 &&
			     strcmp(immure_error_subject(e), m->key) == 0 &&
			     strcmp(immure_error_stage(e), "policy") == 0 &&
			     strstr(immure_error_hint(e), m->hint);
		if (!ok) {
			wrong++;
			print_error("%s\n  want %s\n  got  %s [%s] (%s)\n", m->json,
				    m->text ? m->text : "no error", immure_error_text(e),
				    immure_error_subject(e), immure_error_hint(e));
		}
		immure_policy_free(p);
		immure_error_free(e);
	}
	assert_int_equal(wrong, 0);
}

static void limits_of_size(void **state)
{
	size_t len = 1024 * 1024 + 1;
	char *big = malloc(len + 1);
	immure_policy *p = NULL;
	immure_error *e = NULL;

	(void)state;
	assert_non_null(big);
	memset(big, ' ', len);
	memcpy(big, "{}", 2);
	assert_int_equal(immure_policy_parse(big, len - 1, "p", &p, NULL), 0);
	immure_policy_free(p);
	p = NULL;
	assert_int_equal(immure_policy_parse(big, len, "p", &p, &e), -IMMURE_ERR_POLICY);
	assert_string_equal(immure_error_text(e), "p: a policy has at most 1 MiB");
	immure_error_free(e);
	e = NULL;
	memset(big, '[', 100);
	assert_int_equal(immure_policy_parse(big, 100, "p", &p, &e), -IMMURE_ERR_POLICY);
	assert_string_equal(immure_error_text(e), "p:1: nested too deeply");
	immure_error_free(e);
	e = NULL;
	/* a list as long as a file can hold must neither pass nor take long */
	memcpy(big, "{\"files\":{\"deny\":[", 18);
	len = 18;
	for (int i = 0; len < 1000000; i++)
		len += (size_t)sprintf(big + len, "\"%d\",", i);
	memcpy(big + len - 1, "]}}", 3);
	assert_int_equal(immure_policy_parse(big, len + 2, "p", &p, &e), -IMMURE_ERR_POLICY);
	assert_string_equal(immure_error_text(e),
			    "p:1: files.deny[4096]: the list has more than 4096 entries");
	immure_error_free(e);
	free(big);
}

static void every_key(void **state)
{
	static const char text[] =
		"// everything\n{\n"
		"\"extends\": \"strict\",\n"
		"\"workspace\": { \"path\": \"./sub//dir/\", \"mode\": \"cow\" },\n"
		"\"files\": { \"view\": \"host\", \"home\": \"host\", \"read\": [\"/a\"], \"write\": [\"~/b\"],\n"
		"  \"deny\": [\"~\", \"x\", \"x\"], \"tmp\": [\"/t\"], \"protect\": [\"y/.\"],\n"
		"  \"sensitive\": false, \"protected\": false, \"created\": [\"Makefile\"] },\n"
		"\"network\": { \"mode\": \"limited\", \"allow\": [\"PyPI.org.:443\"], \"deny\": [\"10.0.0.0/8\"],\n"
		"  \"publish\": [\"80\"], \"private\": true, \"prefix\": \"198.18.0.0/15\" },\n"
		"\"environment\": { \"pass\": [\"A\", \"B_*\"], \"set\": { \"C\": \"\" } },\n"
		"\"secrets\": { \"k\": { \"from\": \"file:~/k\", \"to\": [\"x.org\"] } },\n"
		"\"limits\": { \"memory\": \"1.5G\", \"processes\": 5, \"cpus\": 0.5, \"wall_time\": 1.5,\n"
		"  \"cpu_time\": \"2m\", \"open_files\": 64, \"file_size\": 1024, \"disk\": \"1M\", \"output\": \"1K\" },\n"
		"\"syscalls\": \"/f//x\", \"identity\": \"nobody\", \"id_range\": \"subid\",\n"
		"\"require\": { \"class\": \"sandbox\", \"capabilities\": [\"no_network_guarantee\", \"ipc\"],\n"
		"  \"downgrade\": [\"limits.memory\"] },\n"
		"\"origin\": \"remote\", \"backend\": \"native\"\n} /* end */\n";
	immure_policy *p = NULL;
	immure_error *e = NULL;

	(void)state;
	if (immure_policy_parse(text, strlen(text), "p", &p, &e) < 0)
		fail_msg("%s", immure_error_text(e));
	assert_string_equal(p->profile, "strict");
	assert_string_equal(p->workspace, "sub/dir");
	assert_int_equal(p->workspace_mode, IMMURE_WORKSPACE_COW);
	assert_int_equal(p->view, IMMURE_VIEW_HOST);
	assert_string_equal(p->write.v[0], "~/b");
	assert_int_equal(p->deny.n, 2); /* said twice, kept once */
	assert_string_equal(p->deny.v[0], "~");
	assert_string_equal(p->protect.v[0], "y");
	assert_false(p->sensitive);
	assert_string_equal(p->net_allow.v[0], "pypi.org:443");
	assert_string_equal(p->net_deny.v[0], "10.0.0.0/8");
	assert_string_equal(p->publish.v[0], "127.0.0.1:80:80");
	assert_true(p->net_private);
	assert_string_equal(p->env_pass.v[1], "B_*");
	assert_int_equal(p->env_set_n, 1);
	assert_string_equal(p->env_set[0].value, "");
	assert_string_equal(p->secrets[0].as, "bearer");
	assert_true(p->limits.memory == 3ULL << 29);
	assert_true(p->limits.cpus == 500 && p->limits.wall_time == 1500);
	assert_true(p->limits.cpu_time == 120000 && p->limits.output == 1024);
	assert_string_equal(p->syscalls, "/f/x");
	assert_int_equal(p->id_range, IMMURE_ID_RANGE_SUBID);
	assert_string_equal(p->require_class, "sandbox");
	assert_int_equal(p->require_caps.n, 2);
	assert_int_equal(p->downgrade, IMMURE_DOWNGRADE_DENY);
	assert_string_equal(p->downgrades.v[0], "limits.memory");
	assert_int_equal(p->origin, IMMURE_ORIGIN_REMOTE);
	assert_string_equal(p->backend, "native");
	immure_policy_free(p);
}

/* What the messages quote cannot drive a terminal. */
static void hostile_names_are_escaped(void **state)
{
	static const char text[] = "{\"\\u001b[31mred\\u202e\": 1}";
	immure_policy *p = NULL;
	immure_error *e = NULL;

	(void)state;
	assert_int_equal(immure_policy_parse(text, strlen(text), "p", &p, &e), -IMMURE_ERR_POLICY);
	assert_string_equal(immure_error_text(e), "p:1: \\x1b[31mred\\u{202e}: unknown key");
	immure_error_free(e);
}

static void arguments(void **state)
{
	immure_policy *p = NULL;
	immure_error *e = NULL;
	struct { struct immure_policy_options o; uint64_t later; } newer = { { 0 }, 1 };
	char *s = NULL;

	(void)state;
	assert_int_equal(immure_policy_parse(NULL, 0, "p", &p, &e), -IMMURE_ERR_INVALID);
	immure_error_free(e);
	e = NULL;
	assert_int_equal(immure_policy_check(NULL, &e), -IMMURE_ERR_INVALID);
	immure_error_free(e);
	e = NULL;
	newer.o.size = sizeof(newer);
	newer.o.flags = IMMURE_POLICY_NO_DISCOVERY;
	assert_int_equal(immure_policy_load(&newer.o, &p, &e), -IMMURE_ERR_INVALID);
	immure_error_free(e);
	e = NULL;
	newer.later = 0; /* a newer caller that uses nothing new */
	assert_int_equal(immure_policy_load(&newer.o, &p, &e), 0);
	immure_policy_free(p);
	newer.o.flags = 1U << 31;
	assert_int_equal(immure_policy_load(&newer.o, &p, NULL), -IMMURE_ERR_INVALID);
	assert_int_equal(immure_policy_reference("pdf", &s, &e), -IMMURE_ERR_INVALID);
	assert_null(s);
	immure_error_free(e);
	immure_policy_free(NULL);
	assert_string_equal(immure_policy_version(NULL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_errors), cmocka_unit_test(limits_of_size),
		cmocka_unit_test(every_key),    cmocka_unit_test(hostile_names_are_escaped),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
