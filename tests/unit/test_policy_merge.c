/* SPDX-License-Identifier: Apache-2.0 */
/* Profile, file with and without "+", and settings, over every kind of key;
 * and what one policy may do to another. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/build.h"
#include "policy/file.h"
#include "policy/tighten.h"

/* A policy of these layers; settings are "key=value" texts. */
static struct immure_policy *build(const char *profile, const char *file,
				   const struct immure_setting *s, size_t n)
{
	struct immure_policy_file f = { 0 };
	struct immure_policy_build b;
	struct immure_policy *p = NULL;
	struct immure_error *e = NULL;
	int32_t r = immure_build_begin(&b, &e);

	if (r == 0)
		r = immure_build_profile(&b, profile, &e);
	if (r == 0 && file) {
		r = immure_policy_file_parse(file, strlen(file), "file", &f, &e);
		if (r == 0)
			r = immure_policy_file_apply(&f, &b, &e);
	}
	if (r == 0)
		r = immure_build_settings(&b, s, n, &e);
	if (r == 0)
		r = immure_build_finish(&b, &p, &e);
	if (r < 0)
		fail_msg("%s", immure_error_text(e));
	immure_policy_file_done(&f);
	return p;
}

static const char *joined(const struct immure_strv *l, char *buf)
{
	*buf = '\0';
	for (size_t i = 0; i < l->n; i++) {
		strcat(buf, i ? " " : "");
		strcat(buf, l->v[i]);
	}
	return buf;
}

static const char *source(const struct immure_policy *p, const char *key)
{
	return p->sources[immure_key_find(key)];
}

static void lists(void **state)
{
	static const struct {
		const char *profile, *file, *setting[2], *want, *source;
	} t[] = {
		/* agent-codex writes ~/.codex; dev writes nothing */
		{ "dev", NULL, { NULL, NULL }, "", "default" },
		{ "agent-codex", NULL, { NULL, NULL }, "?~/.codex/", "agent-codex" },
		{ "agent-codex", "{\"files\":{\"write\":[]}}", { NULL, NULL }, "", "file" },
		{ "agent-codex", "{\"files\":{\"write\":[\"a\",\"b\"]}}", { NULL, NULL }, "a b", "file" },
		{ "agent-codex", "{\"files\":{\"+write\":[\"a\"]}}", { NULL, NULL }, "?~/.codex/ a",
		  "agent-codex, file" },
		{ "agent-codex", "{\"files\":{\"+write\":[]}}", { NULL, NULL }, "?~/.codex/",
		  "agent-codex" },
		{ "agent-codex", NULL, { "files.write", NULL }, "s1", "--s1" },
		{ "agent-codex", NULL, { "files.write", "files.write" }, "s1 s2", "--s1, --s2" },
		{ "agent-codex", NULL, { "+files.write", NULL }, "?~/.codex/ s1", "agent-codex, --s1" },
		{ "agent-codex", NULL, { "files.write", "+files.write" }, "s1 s2", "--s1, --s2" },
		{ "agent-codex", "{\"files\":{\"write\":[\"a\"]}}", { "+files.write", NULL }, "a s1",
		  "file, --s1" },
		{ "agent-codex", "{\"files\":{\"+write\":[\"a\"]}}", { "+files.write", "+files.write" },
		  "?~/.codex/ a s1 s2", "agent-codex, file, --s1, --s2" },
		{ "agent-codex", "{\"files\":{\"+write\":[\"a\"]}}", { "files.write", "files.write" },
		  "s1 s2", "--s1, --s2" },
		{ "dev", "{\"files\":{\"+write\":[\"a\"]}}", { NULL, NULL }, "a", "file" },
	};
	char buf[400];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_setting s[] = { { t[i].setting[0], "s1", "--s1" },
					      { t[i].setting[1], "s2", "--s2" } };
		size_t n = (t[i].setting[0] != NULL) + (size_t)(t[i].setting[1] != NULL);
		struct immure_policy *p = build(t[i].profile, t[i].file, s, n);

		if (strcmp(joined(&p->write, buf), t[i].want) != 0 ||
		    strcmp(source(p, "files.write"), t[i].source) != 0)
			fail_msg("%zu: \"%s\" from %s", i, buf, source(p, "files.write"));
		immure_policy_free(p);
	}
}

static void scalars(void **state)
{
	static const struct {
		const char *profile, *file, *setting;
		uint64_t want;
		const char *source;
	} t[] = {
		{ "dev", NULL, NULL, 0, "default" },
		{ "ci", NULL, NULL, 2ULL << 30, "ci" },
		{ "ci", "{\"limits\":{\"memory\":\"1G\"}}", NULL, 1ULL << 30, "file" },
		{ "ci", NULL, "3G", 3ULL << 30, "--memory" },
		{ "ci", "{\"limits\":{\"memory\":\"1G\"}}", "3G", 3ULL << 30, "--memory" },
		{ "ci", "{\"limits\":{\"cpus\":1}}", NULL, 2ULL << 30, "ci" },
		{ "dev", "{\"limits\":{\"memory\":1048576}}", NULL, 1 << 20, "file" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		/* the flag's own name, as a caller may give it, is shown with dashes */
		struct immure_setting s = { "limits.memory", t[i].setting, "memory" };
		struct immure_policy *p = build(t[i].profile, t[i].file, &s, t[i].setting != NULL);

		assert_true(p->limits.memory == t[i].want);
		assert_string_equal(source(p, "limits.memory"), t[i].source);
		immure_policy_free(p);
	}
}

static void maps(void **state)
{
	struct immure_setting s[] = { { "+environment.set", "TMPDIR=/other", "--env" },
				      { "+environment.set", "X=1=2", "--env" } };
	struct immure_policy *p = build("dev", "{\"environment\":{\"+set\":{\"A\":\"b\"}}}", s, 2);

	(void)state;
	assert_int_equal(p->env_set_n, 4);
	assert_string_equal(p->env_set[0].name, "TMPDIR");
	assert_string_equal(p->env_set[0].value, "/other");
	assert_string_equal(p->env_set[3].value, "1=2");
	immure_policy_free(p);
	p = build("dev", "{\"environment\":{\"set\":{}}}", NULL, 0);
	assert_int_equal(p->env_set_n, 0);
	immure_policy_free(p);
	p = build("dev", "{\"secrets\":{\"a\":{\"from\":\"env:A\",\"to\":[\"x.org\"]},"
			 "\"b\":{\"from\":\"env:B\",\"to\":[\"x.org\"]}}}", NULL, 0);
	assert_int_equal(p->secrets_n, 2);
	immure_policy_free(p);
}

static void downgrades(void **state)
{
	static const struct {
		const char *file, *setting[2];
		enum immure_downgrade mode;
		const char *gaps;
	} t[] = {
		{ NULL, { NULL, NULL }, IMMURE_DOWNGRADE_DENY, "" },
		{ NULL, { "allow", NULL }, IMMURE_DOWNGRADE_ALLOW, "" },
		{ NULL, { "limits.memory", NULL }, IMMURE_DOWNGRADE_ALLOW, "limits.memory" },
		{ NULL, { "limits.memory", "ipc" }, IMMURE_DOWNGRADE_ALLOW, "limits.memory ipc" },
		{ "\"allow\"", { NULL, NULL }, IMMURE_DOWNGRADE_ALLOW, "" },
		{ "\"allow\"", { "deny", NULL }, IMMURE_DOWNGRADE_DENY, "" },
		/* a list is what the policy can live with; accepting is the caller's */
		{ "[\"ipc\"]", { NULL, NULL }, IMMURE_DOWNGRADE_DENY, "ipc" },
		{ "[\"ipc\"]", { "allow", NULL }, IMMURE_DOWNGRADE_ALLOW, "ipc" },
		{ "[\"ipc\"]", { "signals", NULL }, IMMURE_DOWNGRADE_ALLOW, "signals" },
		{ "[]", { NULL, NULL }, IMMURE_DOWNGRADE_DENY, "" },
	};
	char buf[200], file[100];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_setting s[] = {
			{ "require.downgrade", t[i].setting[0], "--downgrade" },
			{ "require.downgrade", t[i].setting[1], "--downgrade" },
		};
		size_t n = (t[i].setting[0] != NULL) + (size_t)(t[i].setting[1] != NULL);
		struct immure_policy *p;

		(void)snprintf(file, sizeof(file), "{\"require\":{\"downgrade\":%s}}",
			       t[i].file ? t[i].file : "\"deny\"");
		p = build("dev", t[i].file ? file : NULL, s, n);
		if (p->downgrade != t[i].mode || strcmp(joined(&p->downgrades, buf), t[i].gaps) != 0)
			fail_msg("%zu: %d \"%s\"", i, (int)p->downgrade, buf);
		immure_policy_free(p);
	}
}

/* A higher layer may turn the network off or fully on without having to empty
 * the rules below; within one layer the two contradict each other. */
static void network_rules_follow_the_mode(void **state)
{
	static const char *const modes[] = { "none", "host" };
	struct immure_policy *p = build("agent-claude", NULL, NULL, 0);

	(void)state;
	assert_true(p->net_allow.n > 0);
	immure_policy_free(p);
	for (size_t i = 0; i < 2; i++) {
		struct immure_setting s = { "network.mode", modes[i], "--net" };

		p = build("agent-claude", NULL, &s, 1);
		assert_int_equal(p->net_allow.n, 0);
		immure_policy_free(p);
	}
}

static void versions(void **state)
{
	struct immure_setting s = { "limits.memory", "1G", "--memory" };
	struct immure_policy *a = build("dev", NULL, NULL, 0), *b = build("dev", "{}", NULL, 0);
	struct immure_policy *c = build("dev", NULL, &s, 1);
	struct immure_policy *d = build("dev", "{\"limits\":{\"memory\":\"1024M\"}}", NULL, 0);

	(void)state;
	assert_string_equal(a->version, b->version);
	assert_string_not_equal(a->version, c->version);
	assert_string_equal(c->version, d->version); /* sources do not count */
	immure_policy_free(a);
	immure_policy_free(b);
	immure_policy_free(c);
	immure_policy_free(d);
}

static void settings_errors(void **state)
{
	static const struct {
		const char *key, *value;
		int32_t code;
		const char *text;
	} t[] = {
		{ "limits.memry", "1", IMMURE_ERR_INVALID, "--x: unknown policy key \"limits.memry\"" },
		{ "+limits.memory", "1G", IMMURE_ERR_POLICY,
		  "--x: takes one value, so there is nothing to append to" },
		{ "files.deny", NULL, IMMURE_ERR_INVALID, "--x: no value" },
		{ "files.deny", "", IMMURE_ERR_POLICY, "--x: expected a path, got an empty string" },
		{ "secrets", "a", IMMURE_ERR_POLICY, "--x: has no text form" },
		{ "environment.set", "A", IMMURE_ERR_POLICY, "--x: expected NAME=VALUE, got \"A\"" },
		{ "files.sensitive", "yes", IMMURE_ERR_POLICY,
		  "--x: expected true or false, got \"yes\"" },
		{ "", "1", IMMURE_ERR_INVALID, "--x: unknown policy key \"\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct immure_setting s = { t[i].key, t[i].value, "--x" };
		struct immure_policy_options o = { .size = sizeof(o), .settings = &s, .settings_n = 1,
						   .flags = IMMURE_POLICY_NO_DISCOVERY };
		immure_policy *p = NULL;
		immure_error *e = NULL;

		assert_int_equal(immure_policy_load(&o, &p, &e), -t[i].code);
		assert_string_equal(immure_error_text(e), t[i].text);
		immure_error_free(e);
	}
}

/* before and after are the insides of files over dev. */
static const struct {
	const char *key, *before, *after;
	bool tightens;
} changes[] = {
	{ "workspace.mode", "", "\"workspace\":{\"mode\":\"ro\"}", true },
	{ "workspace.mode", "", "\"workspace\":{\"mode\":\"cow\"}", true },
	{ "workspace.mode", "\"workspace\":{\"mode\":\"ro\"}", "\"workspace\":{\"mode\":\"cow\"}", false },
	{ "workspace.path", "", "\"workspace\":{\"path\":\"/\"}", false },
	{ "workspace.path", "", "\"workspace\":{\"path\":\"sub\"}", false },
	{ "files.view", "", "\"files\":{\"view\":\"system\"}", true },
	{ "files.view", "\"files\":{\"view\":\"system\"}", "\"files\":{\"view\":\"host\"}", false },
	{ "files.view", "", "\"files\":{\"view\":\"image\"}", false },
	{ "files.root", "", "\"files\":{\"root\":\"layer\"}", false },
	{ "files.root", "\"files\":{\"root\":\"layer\"}", "\"files\":{\"root\":\"ro\"}", true },
	{ "files.home", "", "\"files\":{\"home\":\"empty\"}", true },
	{ "files.home", "\"files\":{\"home\":\"empty\"}", "\"files\":{\"home\":\"host\"}", false },
	{ "files.proc", "", "\"files\":{\"proc\":\"pids\"}", true },
	{ "files.proc", "\"files\":{\"proc\":\"pids\"}", "\"files\":{\"proc\":\"masked\"}", false },
	{ "files.read", "", "\"files\":{\"read\":[\"/x\"]}", false },
	{ "files.read", "\"files\":{\"read\":[\"/x\",\"/y\"]},\"workspace\":{\"mode\":\"ro\"}",
	  "\"files\":{\"read\":[\"/y\"]},\"workspace\":{\"mode\":\"ro\"}", true },
	{ "files.read", "\"files\":{\"read\":[\"x\"]}", "\"files\":{\"read\":[]}", false },
	{ "files.read", "\"files\":{\"read\":[\"/w/x\"],\"write\":[\"/w\"]},"
	  "\"workspace\":{\"mode\":\"ro\"}",
	  "\"files\":{\"write\":[\"/w\"]},\"workspace\":{\"mode\":\"ro\"}", false },
	{ "files.write", "", "\"files\":{\"write\":[\"/x\"]}", false },
	{ "files.write", "\"files\":{\"write\":[\"/x\"]}", "\"files\":{\"write\":[]}", true },
	{ "files.write", "\"files\":{\"write\":[\"/x\"]}", "\"files\":{\"write\":[\"/x/y\"]}", false },
	{ "files.mounts", "", "\"files\":{\"mounts\":[\"/x:/y\"]}", false },
	{ "files.mounts", "\"files\":{\"mounts\":[\"/x:/y\"]}", "\"files\":{\"mounts\":[]}", false },
	{ "limits.output_over", "", "\"limits\":{\"output_over\":\"fail\"}", true },
	{ "limits.output_over", "\"limits\":{\"output_over\":\"fail\"}",
	  "\"limits\":{\"output_over\":\"cut\"}", false },
	{ "deny_syscalls", "", "\"deny_syscalls\":[\"credential.write\"]", true },
	{ "deny_syscalls", "\"deny_syscalls\":[\"credential.write\"]", "\"deny_syscalls\":[]", false },
	{ "files.executables", "", "\"files\":{\"executables\":\"listed\"}", true },
	{ "files.executables", "\"files\":{\"executables\":\"listed\"}",
	  "\"files\":{\"executables\":\"any\"}", false },
	{ "files.execute", "\"files\":{\"execute\":[\"/a\",\"/b\"]}", "\"files\":{\"execute\":[\"/a\"]}", true },
	{ "files.execute", "\"files\":{\"execute\":[\"/a\"]}", "\"files\":{\"execute\":[\"/b\"]}", false },
	/* a program of the host's is never named by a stranger */
	{ "mediator.ask", "", "\"mediator\":{\"ask\":\"program:/a\"}", false },
	{ "mediator.mode", "", "\"mediator\":{\"mode\":\"async_token\"}", false },
	{ "mediator.answer_time", "", "\"mediator\":{\"answer_time\":\"1s\"}", true },
	{ "mediator.wait_time", "\"mediator\":{\"wait_time\":\"1s\"}",
	  "\"mediator\":{\"wait_time\":\"2s\"}", false },
	{ "mediator.budget", "", "\"mediator\":{\"budget\":\"b\"}", false },
	{ "journal", "", "\"journal\":\"/a\"", false },
	{ "agent", "", "\"agent\":\"a\"", false },
	{ "require.agent", "", "\"require\":{\"agent\":true}", true },
	{ "session.capture", "", "\"session\":{\"capture\":\"off\"}", true },
	{ "session.capture", "\"session\":{\"capture\":\"off\"}",
	  "\"session\":{\"capture\":\"summary\"}", false },
	{ "files.presets", "", "\"files\":{\"presets\":[\"toolchains\"]}", false },
	{ "files.links", "", "\"files\":{\"links\":\"deny_escapes\"}", true },
	{ "files.links", "\"files\":{\"links\":\"deny_escapes\"}",
	  "\"files\":{\"links\":\"follow\"}", false },
	{ "files.links", "", "\"files\":{\"links\":\"follow\"}", false },
	{ "workspace.target", "", "\"workspace\":{\"target\":\"/w\"}", false },
	{ "workspace.mode", "", "\"workspace\":{\"mode\":\"none\"}", true },
	{ "workspace.mode", "", "\"workspace\":{\"mode\":\"scratch\"}", true },
	{ "workspace.mode", "\"workspace\":{\"mode\":\"ro\"}", "\"workspace\":{\"mode\":\"scratch\"}",
	  false },
	{ "files.deny", "", "\"files\":{\"deny\":[\"/x\"]}", true },
	{ "files.deny", "\"files\":{\"deny\":[\"/x\"]}", "\"files\":{\"deny\":[\"/y\"]}", false },
	{ "files.deny", "\"files\":{\"deny\":[\"/x\"]}", "\"files\":{\"deny\":[]}", false },
	{ "files.protect", "", "\"files\":{\"protect\":[\"x\"]}", true },
	{ "files.protect", "\"files\":{\"protect\":[\"x\"]}", "\"files\":{\"protect\":[]}", false },
	{ "files.tmp", "", "\"files\":{\"tmp\":[]}", false },
	{ "files.tmp", "", "\"files\":{\"+tmp\":[\"/x\"]}", false },
	{ "files.sensitive", "", "\"files\":{\"sensitive\":false}", false },
	{ "files.sensitive", "\"files\":{\"sensitive\":false}", "\"files\":{\"sensitive\":true}", true },
	{ "files.protected", "", "\"files\":{\"protected\":false}", false },
	{ "files.created", "", "\"files\":{\"created\":[]}", true },
	{ "files.created", "", "\"files\":{\"+created\":[\".envrc\"]}", false },
	{ "network.mode", "", "\"network\":{\"mode\":\"limited\"}", false },
	{ "network.mode", "", "\"network\":{\"mode\":\"host\"}", false },
	{ "network.mode", "\"network\":{\"mode\":\"host\"}", "\"network\":{\"mode\":\"limited\"}", true },
	{ "network.allow", "\"network\":{\"mode\":\"limited\",\"allow\":[\"a.org\"]}",
	  "\"network\":{\"mode\":\"limited\",\"allow\":[\"a.org\",\"b.org\"]}", false },
	{ "network.allow", "\"network\":{\"mode\":\"limited\",\"allow\":[\"a.org\",\"b.org\"]}",
	  "\"network\":{\"mode\":\"limited\",\"allow\":[\"B.ORG\"]}", true },
	{ "network.deny", "\"network\":{\"mode\":\"limited\"}",
	  "\"network\":{\"mode\":\"limited\",\"deny\":[\"a.org\"]}", true },
	{ "network.publish", "", "\"network\":{\"publish\":[\"80\"]}", false },
	{ "network.private", "", "\"network\":{\"private\":true}", false },
	{ "network.private", "\"network\":{\"private\":true}", "\"network\":{\"private\":false}", true },
	{ "network.prefix", "", "\"network\":{\"prefix\":\"10.0.0.0/8\"}", false },
	{ "network.connections", "", "\"network\":{\"connections\":9}", true },
	{ "network.connections", "\"network\":{\"connections\":9}",
	  "\"network\":{\"connections\":10}", false },
	{ "network.bandwidth", "", "\"network\":{\"bandwidth\":\"1M\"}", true },
	{ "network.proxy", "", "\"network\":{\"proxy\":false}", true },
	{ "network.proxy", "\"network\":{\"proxy\":false}", "\"network\":{\"proxy\":true}", false },
	{ "environment.pass", "", "\"environment\":{\"+pass\":[\"AWS_SECRET\"]}", false },
	{ "environment.pass", "", "\"environment\":{\"pass\":[\"PATH\"]}", true },
	{ "environment.set", "", "\"environment\":{\"+set\":{\"LD_PRELOAD\":\"x\"}}", false },
	{ "environment.set", "", "\"environment\":{\"set\":{\"TMPDIR\":\"/x\"}}", false },
	{ "environment.set", "", "\"environment\":{\"set\":{}}", true },
	{ "environment.set", "\"environment\":{\"set\":{\"LC_ALL\":\"C\"}}",
	  "\"environment\":{\"set\":{}}", false },
	{ "secrets", "", "\"secrets\":{\"a\":{\"from\":\"env:A\",\"to\":[\"x.org\"]}}", false },
	{ "secrets", "\"secrets\":{\"a\":{\"from\":\"env:A\",\"to\":[\"x.org\"]}}",
	  "\"secrets\":{\"a\":{\"from\":\"env:A\",\"to\":[\"y.org\"]}}", false },
	{ "secrets", "\"secrets\":{\"a\":{\"from\":\"env:A\",\"to\":[\"x.org\"]}}", "\"secrets\":{}",
	  true },
	{ "limits.memory", "", "\"limits\":{\"memory\":\"1G\"}", true },
	{ "limits.memory", "\"limits\":{\"memory\":\"1G\"}", "\"limits\":{\"memory\":\"2G\"}", false },
	{ "limits.memory", "\"limits\":{\"memory\":\"1G\"}", "\"limits\":{\"memory\":\"512M\"}", true },
	{ "limits.output", "\"limits\":{\"output\":5}", "\"limits\":{\"output\":6}", false },
	{ "syscalls", "", "\"syscalls\":\"strict\"", true },
	{ "syscalls", "\"syscalls\":\"strict\"", "\"syscalls\":\"default\"", false },
	{ "syscalls", "", "\"syscalls\":\"/x\"", false },
	{ "syscalls", "\"syscalls\":\"/x\"", "\"syscalls\":\"strict\"", false },
	{ "identity", "", "\"identity\":\"root\"", false },
	{ "identity", "", "\"identity\":\"nobody\"", true },
	{ "identity", "\"identity\":\"nobody\"", "\"identity\":\"caller\"", false },
	{ "id_range", "", "\"id_range\":\"subid\"", false },
	{ "image", "\"files\":{\"view\":\"image\"}", "\"files\":{\"view\":\"image\"},\"image\":\"x\"",
	  false },
	{ "network.idle_time", "", "\"network\":{\"idle_time\":\"1h\"}", true },
	{ "network.handshake_time", "\"network\":{\"handshake_time\":\"3s\"}",
	  "\"network\":{\"handshake_time\":\"4s\"}", false },
	{ "network.request_body", "", "\"network\":{\"request_body\":\"1M\"}", true },
	{ "network.request_body", "\"network\":{\"request_body\":\"1M\"}", "\"network\":{\"request_body\":\"2M\"}",
	  false },
	{ "network.response_body", "\"network\":{\"response_body\":\"2M\"}",
	  "\"network\":{\"response_body\":\"1M\"}", true },
	{ "network.attribution", "", "\"network\":{\"attribution\":[\"a.example\"]}", false },
	{ "network.ech", "", "\"network\":{\"ech\":false}", true },
	{ "network.trust", "", "\"network\":{\"trust\":\"sole\"}", true },
	{ "network.trust", "\"network\":{\"trust\":\"sole\"}",
	  "\"network\":{\"trust\":\"append_system_roots\"}", false },
	{ "network.sockets", "", "\"network\":{\"sockets\":[\"/a\"]}", false },
	{ "network.sockets", "\"network\":{\"sockets\":[\"/a\",\"/b/\"]}",
	  "\"network\":{\"sockets\":[\"/a\"]}", true },
	{ "require.class", "", "\"require\":{\"class\":\"sandbox\"}", true },
	{ "require.class", "\"require\":{\"class\":\"sandbox\"}", "\"require\":{\"class\":\"container\"}",
	  false },
	{ "require.capabilities", "", "\"require\":{\"capabilities\":[\"ipc\"]}", true },
	{ "require.capabilities", "\"require\":{\"capabilities\":[\"ipc\"]}",
	  "\"require\":{\"capabilities\":[]}", false },
	{ "require.locality", "", "\"require\":{\"locality\":\"local\"}", true },
	{ "require.tenancy", "", "\"require\":{\"tenancy\":\"dedicated\"}", true },
	{ "require.auditability", "\"require\":{\"auditability\":\"required\"}",
	  "\"require\":{\"auditability\":\"best_effort\"}", false },
	{ "require.cleanup", "\"require\":{\"cleanup\":\"required\"}", "", false },
	{ "require.data_residency", "", "\"require\":{\"data_residency\":\"region\"}", true },
	{ "require.secret_isolation", "\"require\":{\"secret_isolation\":\"required\"}",
	  "\"require\":{\"secret_isolation\":\"none\"}", false },
	{ "require.prefer", "", "\"require\":{\"prefer\":[\"bwrap\"]}", false },
	{ "require.downgrade", "", "\"require\":{\"downgrade\":\"allow\"}", false },
	{ "require.downgrade", "\"require\":{\"downgrade\":[\"ipc\"]}",
	  "\"require\":{\"downgrade\":[]}", true },
	{ "require.downgrade", "\"require\":{\"downgrade\":\"allow\"}",
	  "\"require\":{\"downgrade\":\"deny\"}", true },
	{ "require.downgrade", "", "\"require\":{\"downgrade\":[\"ipc\"]}", false },
	{ "require.downgrade", "\"require\":{\"downgrade\":[\"ipc\"]}",
	  "\"require\":{\"downgrade\":\"deny\"}", true },
	{ "origin", "", "\"origin\":\"remote\"", true },
	{ "origin", "\"origin\":\"remote\"", "\"origin\":\"local\"", false },
	{ "backend", "", "\"backend\":\"landlock\"", false },
};

static void tightening(void **state)
{
	size_t wrong = 0, seen = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char before[300], after[300];
		struct immure_policy *x, *y;
		const struct immure_key *k;

		(void)snprintf(before, sizeof(before), "{%s}", changes[i].before);
		(void)snprintf(after, sizeof(after), "{%s}", changes[i].after);
		x = build("dev", before, NULL, 0);
		y = build("dev", after, NULL, 0);
		k = immure_policy_loosened(x, y);
		if (changes[i].tightens ? k != NULL :
					  !k || strcmp(k->path, changes[i].key) != 0) {
			print_error("%s -> %s: %s\n", before, after, k ? k->path : "tightens");
			wrong++;
		}
		assert_null(immure_policy_loosened(x, x));
		assert_string_not_equal(x->version, y->version);
		immure_policy_free(x);
		immure_policy_free(y);
	}
	assert_int_equal(wrong, 0);
	for (size_t i = 0; i < immure_keys_n; i++)
		for (size_t j = 0; j < sizeof(changes) / sizeof(changes[0]); j++)
			if (strcmp(changes[j].key, immure_keys[i].path) == 0) {
				seen++;
				break;
			}
	/* limits of one kind are alike */
	assert_int_equal(seen, immure_keys_n - 7);
}

/* A stranger's workspace may ask for these without being trusted. */
static void stricter_profiles_tighten(void **state)
{
	static const char *const chain[] = { "dev", "readonly", "strict", "ci" };
	struct immure_policy *dev = build("dev", NULL, NULL, 0);
	struct immure_policy *p;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		p = build(chain[i], NULL, NULL, 0);
		assert_null(immure_policy_loosened(dev, p));
		immure_policy_free(p);
	}
	p = build("agent-claude", NULL, NULL, 0);
	assert_non_null(immure_policy_loosened(dev, p));
	immure_policy_free(p);
	immure_policy_free(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),      cmocka_unit_test(scalars),
		cmocka_unit_test(maps),	      cmocka_unit_test(downgrades),
		cmocka_unit_test(network_rules_follow_the_mode), cmocka_unit_test(versions),
		cmocka_unit_test(settings_errors), cmocka_unit_test(stricter_profiles_tighten), cmocka_unit_test(tightening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
