/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are found, which are refused, and what may be trusted: each test
 * in a tree of its own with a home and a workspace in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/load.h"
#include "policy/trust.h"

struct tree {
	char dir[64];
	char home[80], ws[80];
	char env_home[100], env_policy[PATH_MAX + 16];
	const char *env[4];
	char path[PATH_MAX];
};

static const char *at(struct tree *t, const char *rel)
{
	(void)snprintf(t->path, sizeof(t->path), "%s/%s", t->dir, rel);
	return t->path;
}

static void make_dir(struct tree *t, const char *rel)
{
	assert_int_equal(mkdir(at(t, rel), 0755), 0);
}

static void put(struct tree *t, const char *rel, const char *text)
{
	FILE *f = fopen(at(t, rel), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(t->path, 0644), 0);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	strcpy(t->dir, "/tmp/immure-discover-XXXXXX");
	if (!mkdtemp(t->dir))
		return -1;
	umask(022);
	(void)snprintf(t->home, sizeof(t->home), "%s/home", t->dir);
	(void)snprintf(t->ws, sizeof(t->ws), "%s/ws", t->dir);
	(void)snprintf(t->env_home, sizeof(t->env_home), "HOME=%s", t->home);
	t->env[0] = t->env_home;
	make_dir(t, "home");
	make_dir(t, "home/.config");
	make_dir(t, "home/.config/immure");
	make_dir(t, "ws");
	make_dir(t, "ws/.immure");
	make_dir(t, "ws/sub");
	make_dir(t, "out");
	*state = t;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct tree *t = *state;
	int r = nftw(t->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

	free(t);
	return r;
}

static int32_t load_from(struct tree *t, const char *ws, const char *file, immure_policy **ret,
			 immure_error **err)
{
	struct immure_policy_options o = { .size = sizeof(o), .workspace = ws, .file = file,
					   .env = t->env };

	return immure_policy_load(&o, ret, err);
}

/* Loads from the workspace; the memory limit tells which file it was. */
static void expect(struct tree *t, const char *rel_ws, uint64_t memory)
{
	immure_policy *p = NULL;
	immure_error *e = NULL;

	if (load_from(t, at(t, rel_ws), NULL, &p, &e) < 0)
		fail_msg("%s", immure_error_text(e));
	assert_true(p->limits.memory == memory);
	immure_policy_free(p);
}

static void refused_as(struct tree *t, const char *rel_ws, const char *file, int32_t code,
		       const char *text)
{
	immure_policy *p = NULL;
	immure_error *e = NULL;
	char ws[PATH_MAX], given[PATH_MAX];
	int32_t r;

	if (file)
		strcpy(given, file); /* it may be in at()'s buffer */
	strcpy(ws, at(t, rel_ws));
	r = load_from(t, ws, file ? given : NULL, &p, &e);
	if (r != -code || p || !strstr(immure_error_text(e), text))
		fail_msg("%d %s", r, immure_error_text(e));
	immure_error_free(e);
}

#define MEMORY(n) "{\"limits\":{\"memory\":\"" #n "M\"}}"
#define MB(n) ((uint64_t)(n) << 20)

static void order(void **state)
{
	struct tree *t = *state;
	immure_policy *p = NULL;
	char given[PATH_MAX];

	expect(t, "ws", 0); /* nothing anywhere */
	put(t, "home/.config/immure/policy.json", MEMORY(40));
	expect(t, "ws", MB(40));
	put(t, "ws/.immure/policy.json", MEMORY(30));
	expect(t, "ws", MB(30));
	expect(t, "ws/sub", MB(30)); /* upward */
	expect(t, "out", MB(40));
	make_dir(t, "ws/sub/.immure"); /* without a file in it: goes on upward */
	expect(t, "ws/sub", MB(30));
	put(t, "ws/sub/.immure/policy.json", MEMORY(20));
	expect(t, "ws/sub", MB(20)); /* the nearest alone */
	put(t, "out/env.json", MEMORY(50));
	(void)snprintf(t->env_policy, sizeof(t->env_policy), "IMMURE_POLICY=%s", at(t, "out/env.json"));
	t->env[1] = t->env_policy;
	expect(t, "ws", MB(50)); /* in place of both */
	put(t, "out/given.json", MEMORY(60));
	strcpy(given, at(t, "out/given.json"));
	assert_int_equal(load_from(t, NULL, given, &p, NULL), 0);
	assert_true(p->limits.memory == MB(60));
	immure_policy_free(p);
	t->env[1] = "IMMURE_POLICY="; /* empty is unset */
	expect(t, "ws", MB(30));
	t->env[0] = "HOME=relative"; /* no home that could be used */
	expect(t, "out", 0);
}

static void no_discovery(void **state)
{
	struct tree *t = *state;
	struct immure_policy_options o = { .size = sizeof(o), .workspace = t->ws, .env = t->env,
					   .flags = IMMURE_POLICY_NO_DISCOVERY };
	immure_policy *p = NULL;

	put(t, "ws/.immure/policy.json", "broken");
	assert_int_equal(immure_policy_load(&o, &p, NULL), 0);
	immure_policy_free(p);
}

static void xdg_config_home(void **state)
{
	struct tree *t = *state;
	char xdg[100];

	(void)snprintf(xdg, sizeof(xdg), "XDG_CONFIG_HOME=%s/out", t->dir);
	t->env[1] = xdg;
	make_dir(t, "out/immure");
	put(t, "out/immure/policy.json", MEMORY(70));
	put(t, "home/.config/immure/policy.json", MEMORY(40));
	expect(t, "ws", MB(70));
	t->env[1] = "XDG_CONFIG_HOME=relative";
	expect(t, "ws", MB(40));
}

static void profile_and_files(void **state)
{
	struct tree *t = *state;
	struct immure_policy_options o = { .size = sizeof(o), .workspace = t->ws, .env = t->env };
	immure_policy *p = NULL;

	put(t, "home/.config/immure/policy.json", "{\"extends\":\"readonly\"}");
	put(t, "ws/.immure/policy.json", "{\"extends\":\"strict\"}");
	assert_int_equal(immure_policy_load(&o, &p, NULL), 0);
	assert_int_equal(p->workspace_mode, IMMURE_WORKSPACE_RO); /* the user's, below */
	assert_int_equal(p->view, IMMURE_VIEW_SYSTEM);            /* the workspace's, above */
	immure_policy_free(p);
	o.profile = "ci"; /* takes the place of both */
	p = NULL;
	assert_int_equal(immure_policy_load(&o, &p, NULL), 0);
	assert_string_equal(p->profile, "ci");
	assert_int_equal(p->workspace_mode, IMMURE_WORKSPACE_RW);
	immure_policy_free(p);
	o.profile = "cii";
	assert_int_equal(immure_policy_load(&o, &p, NULL), -IMMURE_ERR_INVALID);
}

static void never_skipped(void **state)
{
	struct tree *t = *state;

	put(t, "home/.config/immure/policy.json", MEMORY(40));
	put(t, "ws/.immure/policy.json", "{ broken");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "/ws/.immure/policy.json:1: not JSON");
	put(t, "ws/.immure/policy.json", "");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "not JSON");
	assert_int_equal(unlink(at(t, "ws/.immure/policy.json")), 0);
	make_dir(t, "ws/.immure/policy.json");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not a regular file");
	assert_int_equal(rmdir(at(t, "ws/.immure/policy.json")), 0);
	assert_int_equal(mkfifo(at(t, "ws/.immure/policy.json"), 0600), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not a regular file");
	assert_int_equal(unlink(at(t, "ws/.immure/policy.json")), 0);
	expect(t, "ws", MB(40));
	put(t, "home/.config/immure/policy.json", "{\"x\":1}");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "policy.json:1: x: unknown key");
	refused_as(t, "ws", at(t, "absent.json"), IMMURE_ERR_IO, "No such file");
	refused_as(t, "ws", "", IMMURE_ERR_INVALID, "empty string");
	refused_as(t, "absent", NULL, IMMURE_ERR_IO, "No such file");
	if (geteuid() != 0) {
		put(t, "ws/.immure/policy.json", "{}");
		assert_int_equal(chmod(at(t, "ws/.immure/policy.json"), 0), 0);
		refused_as(t, "ws", NULL, IMMURE_ERR_IO, "Permission denied");
		assert_int_equal(chmod(at(t, "ws/.immure"), 0), 0);
		refused_as(t, "ws", NULL, IMMURE_ERR_IO, "Permission denied");
		assert_int_equal(chmod(at(t, "ws/.immure"), 0755), 0);
	}
}

static void modes(void **state)
{
	static const struct {
		mode_t file, dir;
		const char *why; /* NULL: obeyed */
	} t[] = {
		{ 0600, 0700, NULL },
		{ 0644, 0755, NULL },
		{ 0444, 0775, NULL }, /* a private group's directory: owner is checked */
		{ 0644, 01777, NULL },
		{ 0664, 0755, "can be written by group or others" },
		{ 0646, 0755, "can be written by group or others" },
		{ 0644, 0777, "is in a directory that others can write" },
	};
	struct tree *tree = *state;

	put(tree, "ws/.immure/policy.json", MEMORY(30));
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(chmod(at(tree, "ws/.immure/policy.json"), t[i].file), 0);
		assert_int_equal(chmod(at(tree, "ws/.immure"), t[i].dir), 0);
		if (t[i].why)
			refused_as(tree, "ws", NULL, IMMURE_ERR_TRUST, t[i].why);
		else
			expect(tree, "ws", MB(30));
	}
}

static void owners(void **state)
{
	struct tree *t = *state;

	if (geteuid() != 0) {
		print_message("needs root to give files away\n");
		skip();
	}
	put(t, "ws/.immure/policy.json", MEMORY(30));
	assert_int_equal(chown(at(t, "ws/.immure/policy.json"), 12345, 12345), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "belongs to another user");
	assert_int_equal(chown(at(t, "ws/.immure/policy.json"), 0, 0), 0);
	assert_int_equal(chown(at(t, "ws/.immure"), 12345, 12345), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is in a directory of another user");
}

static void link_to(struct tree *t, const char *target, const char *rel)
{
	(void)unlink(at(t, rel)); /* may not be there */
	assert_int_equal(symlink(target, at(t, rel)), 0);
}

static void symlinks(void **state)
{
	struct tree *t = *state;
	const char *file = "ws/.immure/policy.json";
	char absolute[PATH_MAX];

	put(t, "ws/inside.json", MEMORY(30));
	put(t, "out/outside.json", MEMORY(99));
	put(t, "out/policy.json", MEMORY(99));
	link_to(t, "../inside.json", file);
	expect(t, "ws", MB(30));
	make_dir(t, "ws/sub/.immure");
	link_to(t, "../../inside.json", "ws/sub/.immure/policy.json");
	refused_as(t, "ws/sub", NULL, IMMURE_ERR_TRUST, "leaves its tree"); /* ws/sub is the tree */
	link_to(t, "../../out/outside.json", file);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "leaves its tree");
	strcpy(absolute, at(t, "ws/inside.json"));
	link_to(t, absolute, file); /* absolute: could lead anywhere */
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "leaves its tree");
	link_to(t, "/proc/self/root/tmp/x", file);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "leaves its tree");
	link_to(t, "../absent.json", file);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is a symlink to nothing");
	link_to(t, "policy.json", file);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "too many others");
	/* the directory */
	assert_int_equal(unlink(at(t, file)), 0);
	assert_int_equal(rmdir(at(t, "ws/.immure")), 0);
	link_to(t, "../out", "ws/.immure");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "leaves its tree");
	link_to(t, "nowhere", "ws/.immure");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "cannot be followed");
	make_dir(t, "ws/conf");
	put(t, "ws/conf/policy.json", MEMORY(31));
	link_to(t, "conf", "ws/.immure");
	expect(t, "ws", MB(31));
	/* an explicit one */
	link_to(t, "out/outside.json", "link.json");
	refused_as(t, "ws", at(t, "link.json"), IMMURE_ERR_TRUST, "is a symlink");
	/* the user's: a link within home is how people keep their files */
	make_dir(t, "home/dotfiles");
	put(t, "home/dotfiles/p.json", MEMORY(41));
	link_to(t, "../../dotfiles/p.json", "home/.config/immure/policy.json");
	expect(t, "out", MB(41));
	link_to(t, "../../../out/outside.json", "home/.config/immure/policy.json");
	refused_as(t, "out", NULL, IMMURE_ERR_TRUST, "leaves its tree");
}

/* The workspace itself may be reached by links; its own tree is meant. */
static void linked_workspace(void **state)
{
	struct tree *t = *state;

	put(t, "ws/.immure/policy.json", MEMORY(30));
	link_to(t, "../ws/sub", "out/ws");
	expect(t, "out/ws", MB(30));
	expect(t, "ws/sub/..", MB(30)); /* --workspace .. */
}

static void deleted_cwd(void **state)
{
	struct tree *t = *state;
	immure_policy *p = NULL;
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(back >= 0);
	put(t, "ws/.immure/policy.json", "broken");
	assert_int_equal(chdir(at(t, "ws/sub")), 0);
	assert_int_equal(rmdir(t->path), 0);
	assert_int_equal(load_from(t, NULL, NULL, &p, NULL), 0);
	immure_policy_free(p);
	assert_int_equal(fchdir(back), 0);
	assert_int_equal(close(back), 0);
}

static void extends(void **state)
{
	struct tree *t = *state;
	char given[PATH_MAX], text[100];

	put(t, "ws/.immure/policy.json", "{\"extends\":\"base.json\",\"limits\":{\"output\":5}}");
	put(t, "ws/.immure/base.json", "{\"extends\":\"../ws.json\"}");
	put(t, "ws/ws.json", "{\"extends\":\"ci\",\"limits\":{\"memory\":\"30M\"}}");
	expect(t, "ws", MB(30));
	put(t, "ws/.immure/base.json", "{\"extends\":\"../../out/x.json\"}");
	put(t, "out/x.json", "{}");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "leaves its tree");
	put(t, "ws/.immure/base.json", "{\n\"extends\":\"~/x.json\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "base.json:2: extends: leads out");
	put(t, "ws/.immure/base.json", "{\"extends\":\"/etc/x.json\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "base.json:1: extends: leads out");
	put(t, "ws/.immure/base.json", "{\"extends\":\"policy.json\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "extends itself");
	put(t, "ws/.immure/base.json", "{\"extends\":\"stict\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_POLICY, "base.json:1: extends: is no built-in profile");
	put(t, "ws/.immure/base.json", "{}");
	assert_int_equal(chmod(at(t, "ws/.immure/base.json"), 0666), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "can be written by group or others");
	/* an explicit file may go anywhere, and eight deep */
	for (int i = 0; i < 9; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "out/%d.json", i);
		(void)snprintf(text, sizeof(text), "{\"extends\":\"%s%d.json\"}",
			       i % 2 ? "./" : "../out/", i + 1);
		put(t, name, text);
	}
	put(t, "out/8.json", MEMORY(80));
	strcpy(given, at(t, "out/0.json"));
	refused_as(t, "ws", given, IMMURE_ERR_POLICY, "more than 8 files");
	strcpy(given, at(t, "out/1.json"));
	assert_int_equal(immure_policy_check(given, NULL), 0);
	put(t, "home/h.json", MEMORY(81));
	put(t, "out/8.json", "{\"extends\":\"~/h.json\"}");
	strcpy(given, at(t, "out/8.json"));
	assert_int_equal(immure_policy_check(given, NULL), -IMMURE_ERR_POLICY); /* no home known */
	{
		immure_policy *p = NULL;

		assert_int_equal(load_from(t, NULL, given, &p, NULL), 0);
		assert_true(p->limits.memory == MB(81));
		immure_policy_free(p);
	}
}

static void trust(struct tree *t, const char *rel)
{
	immure_error *e = NULL;
	char *digest = NULL;

	if (immure_policy_trust(at(t, rel), t->env, &digest, &e) < 0)
		fail_msg("%s", immure_error_text(e));
	assert_int_equal(strlen(digest), 64);
	immure_string_free(digest);
}

static void trust_is_by_content_and_place(void **state)
{
	struct tree *t = *state;
	const char *file = "ws/.immure/policy.json", *loose = "{\"files\":{\"write\":[\"/opt\"]}}";
	struct stat st;

	put(t, file, loose);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "files.write gives more than default does");
	trust(t, file);
	expect(t, "ws", 0);
	assert_int_equal(stat(at(t, "home/.local/state/immure/trust"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(at(t, "home/.local/state/immure"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	put(t, file, "{\"files\":{\"write\":[\"/opt\"] }}"); /* one byte more */
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not trusted");
	put(t, file, loose);
	expect(t, "ws", 0);
	make_dir(t, "out/.immure"); /* the same content elsewhere */
	put(t, "out/.immure/policy.json", loose);
	refused_as(t, "out", NULL, IMMURE_ERR_TRUST, "is not trusted");
	/* trusting new content of a path ends trust in the old */
	put(t, file, "{\"files\":{\"write\":[\"/srv\"]}}");
	trust(t, file);
	trust(t, "out/.immure/policy.json");
	expect(t, "ws", 0);
	expect(t, "out", 0);
	put(t, file, loose);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not trusted");
}

/* Trust in a file is trust in what it extends, and ends with that. */
static void trust_covers_extended_files(void **state)
{
	struct tree *t = *state;

	put(t, "ws/.immure/policy.json", "{\"extends\":\"./base.json\"}");
	put(t, "ws/.immure/base.json", "{\"network\":{\"mode\":\"host\"}}");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "network.mode gives more");
	trust(t, "ws/.immure/policy.json");
	expect(t, "ws", 0);
	put(t, "ws/.immure/base.json", "{\"network\":{\"mode\":\"host\"},\"identity\":\"root\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not trusted");
}

static void trust_list_of_others(void **state)
{
	struct tree *t = *state;
	const char *list = "home/.local/state/immure/trust";

	put(t, "ws/.immure/policy.json", "{\"files\":{\"write\":[\"/opt\"]}}");
	trust(t, "ws/.immure/policy.json");
	assert_int_equal(chmod(at(t, list), 0644), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "mode 0600");
	assert_int_equal(chmod(at(t, list), 0600), 0);
	assert_int_equal(chmod(at(t, "home/.local/state/immure"), 0755), 0);
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "mode 0700");
	assert_int_equal(chmod(at(t, "home/.local/state/immure"), 0700), 0);
	expect(t, "ws", 0);
	assert_int_equal(rename(at(t, list), "/tmp/immure-none/x"), -1);
	assert_int_equal(unlink(at(t, list)), 0);
	link_to(t, "../../../../out/list", list);
	refused_as(t, "ws", NULL, IMMURE_ERR_IO, "symbolic links");
	t->env[0] = NULL; /* no home: nothing is trusted, nothing can be */
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "is not trusted");
	{
		immure_error *e = NULL;

		assert_int_equal(immure_policy_trust(at(t, "ws/.immure/policy.json"), t->env, NULL, &e),
				 -IMMURE_ERR_IO);
		immure_error_free(e);
	}
}

/* Odd names cannot forge a line of the list. */
static void trust_list_is_unambiguous(void **state)
{
	struct tree *t = *state;
	char hex[65], state_dir[200];
	bool has;

	memset(hex, 'a', 64);
	hex[64] = '\0';
	(void)snprintf(state_dir, sizeof(state_dir), "%s/state", t->dir);
	assert_int_equal(immure_trust_has(state_dir, hex, "/x", &has, NULL), 0);
	assert_false(has);
	assert_int_equal(immure_trust_add(state_dir, hex, "/a b\n\\\xff", NULL), 0);
	assert_int_equal(immure_trust_has(state_dir, hex, "/a b\n\\\xff", &has, NULL), 0);
	assert_true(has);
	assert_int_equal(immure_trust_has(state_dir, hex, "/a b", &has, NULL), 0);
	assert_false(has);
	assert_int_equal(immure_trust_has(state_dir, hex, "/a", &has, NULL), 0);
	assert_false(has);
	for (int i = 0; i < 3; i++)
		assert_int_equal(immure_trust_add(state_dir, hex, "/same", NULL), 0);
	{
		struct stat st;

		assert_int_equal(stat(at(t, "state/trust"), &st), 0);
		assert_int_equal(st.st_size, 2 * 65 + (int)strlen("/a\\x20b\\x0a\\x5c\\xff\n") +
				 (int)strlen("/same\n"));
	}
}

/* What a workspace says is held against the user's own policy, not against the
 * profile alone. */
static void against_the_users_policy(void **state)
{
	struct tree *t = *state;

	put(t, "home/.config/immure/policy.json",
	    "{\"files\":{\"+deny\":[\"~/mail\"]},\"network\":{\"mode\":\"limited\",\"allow\":[\"a.org\"]},"
	    "\"limits\":{\"memory\":\"40M\"}}");
	put(t, "ws/.immure/policy.json", "{\"files\":{\"deny\":[\"x\"]}}");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "files.deny gives more than");
	put(t, "ws/.immure/policy.json", "{\"files\":{\"+deny\":[\"x\"]},\"network\":{\"mode\":\"none\"}}");
	expect(t, "ws", MB(40));
	put(t, "ws/.immure/policy.json", MEMORY(41));
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "limits.memory gives more than");
	put(t, "ws/.immure/policy.json", "{\"network\":{\"allow\":[\"a.org\"]}}");
	expect(t, "ws", MB(40));
	/* dev would undo what the user chose */
	put(t, "home/.config/immure/policy.json", "{\"extends\":\"strict\"}");
	put(t, "ws/.immure/policy.json", "{\"extends\":\"agent-claude\"}");
	refused_as(t, "ws", NULL, IMMURE_ERR_TRUST, "gives more than");
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(order),	     TREE_TEST(no_discovery),
		TREE_TEST(xdg_config_home),  TREE_TEST(profile_and_files),
		TREE_TEST(never_skipped),    TREE_TEST(modes),
		TREE_TEST(owners),	     TREE_TEST(symlinks),
		TREE_TEST(linked_workspace), TREE_TEST(deleted_cwd),
		TREE_TEST(extends),	     TREE_TEST(trust_is_by_content_and_place),
		TREE_TEST(trust_covers_extended_files), TREE_TEST(trust_list_of_others),
		TREE_TEST(trust_list_is_unambiguous), TREE_TEST(against_the_users_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
