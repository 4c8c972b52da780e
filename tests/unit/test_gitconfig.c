/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session/gitconfig.h"

static bool at(const char *text, size_t depth)
{
	return immure_gitconfig_harmless(text, strlen(text), depth);
}

static void test_what_git_writes(void **state)
{
	(void)state;
	assert_true(at("", 1));
	assert_true(at("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
		       "\tlogallrefupdates = true\n"
		       "[remote \"origin\"]\n\turl = https://example.com/x.git\n"
		       "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
		       "[branch \"a/b\"]\n\tremote = origin\n\tmerge = refs/heads/a/b\n", 1));
	assert_true(at("[remote \"a\"]\n\turl = git@example.com:x/y.git\n"
		       "[remote \"b\"]\n\turl = ../other dir/x\n"
		       "[remote \"c\"]\n\turl = ssh://git@example.com:22/x\n"
		       "[remote \"d\"]\n\turl = /srv/x.git\n", 1));
	assert_true(at("# comment\n; another\n[CORE]\r\n  Bare = false  \r\n", 1));
	assert_true(at("[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\trequired = true\n", 1));
	assert_true(at("[core]\n\tbare", 1));
}

static void test_what_starts_programs(void **state)
{
	static const char *const bad[] = {
		"[core]\n\tfsmonitor = touch x\n",
		"[core]\n\tsshCommand = x\n",
		"[core]\n\thooksPath = x\n",
		"[core]\n\tpager = x\n",
		"[alias]\n\tst = !x\n",
		"[filter \"lfs\"]\n\tclean = x\n",
		"[filter \"lfs\"]\n\tclean = git-lfs clean -- %f; x\n",
		"[include]\n\tpath = x\n",
		"[includeIf \"gitdir:/\"]\n\tpath = x\n",
		"[remote \"o\"]\n\tuploadpack = x\n",
		"[submodule \"s\"]\n\tupdate = !x\n",
		"[extensions]\n\tworktreeConfig = true\n",
		"[diff \"d\"]\n\ttextconv = x\n",
		"[credential]\n\thelper = x\n",
		"[nonsense]\n\tbare = false\n",
		"[remote \"o\"]\n\turl = ext::sh -c x\n",
		"[remote \"o\"]\n\turl = foo://host/x\n",
		"[remote \"o\"]\n\tpushurl = foo::x\n",
		"[remote \"o\"]\n\turl = --upload-pack=x\n",
		"[remote \"o\"]\n\turl = ssh://-oProxyCommand=x/y\n",
		"[remote \"o\"]\n\turl =\n",
		"[branch \"b\"]\n\tremote = foo::x\n",
		"[submodule \"s\"]\n\turl = -x\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (at(bad[i], 1))
			fail_msg("called harmless: %s", bad[i]);
}

static void test_forms_that_hide(void **state)
{
	static const char *const bad[] = {
		"bare = false\n",
		"[core] bare = false\n",
		"[core]\n\tbare = \\\n[core]\n\tfalse\n",
		"# \\\n",
		"[core]\n\tbare = \"false\"\n",
		"[core.x]\n\tbare = false\n",
		"[core \"x]\n",
		"[core",
		"[]\n\tbare = false\n",
		"[core]\n\tba\\\nre = false\n",
		"[core]\n\t= false\n",
		"\xef\xbb\xbf[core]\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (at(bad[i], 1))
			fail_msg("called harmless: %s", bad[i]);
	assert_false(immure_gitconfig_harmless("[core]\n\0\n", 9, 1));
}

static void test_worktree(void **state)
{
	(void)state;
	assert_true(at("[core]\n\tworktree = ../../../sub\n", 3));
	assert_false(at("[core]\n\tworktree = ../../../sub\n", 2));
	assert_false(at("[core]\n\tworktree = ../../../sub/../../x\n", 3));
	assert_false(at("[core]\n\tworktree = /home\n", 3));
	assert_false(at("[core]\n\tworktree = ..\n", 0));
	assert_false(at("[core]\n\tworktree =\n", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_git_writes),
		cmocka_unit_test(test_what_starts_programs),
		cmocka_unit_test(test_forms_that_hide),
		cmocka_unit_test(test_worktree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
