/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the host executes, in every state they can be found in. */
#include <string.h>

#include "plan_host.h"

#define WS "/home/u/ws"

static void existing(void **state)
{
	struct host *h = *state;

	host_has(h, WS "/.git", 'd');
	host_has(h, WS "/.git/hooks", 'd');
	host_has(h, WS "/.git/config", 'f');
	host_has(h, WS "/.envrc", 'f');
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.git", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS "/.git/hooks", IMMURE_OP_READONLY));
	assert_non_null(host_at(h, WS "/.git/config", IMMURE_OP_READONLY));
	assert_non_null(host_at(h, WS "/.envrc", IMMURE_OP_READONLY));
	assert_true(host_position(h, IMMURE_OP_BIND, WS) <
		    host_position(h, IMMURE_OP_PIN, WS "/.git"));
	assert_true(host_position(h, IMMURE_OP_PIN, WS "/.git") <
		    host_position(h, IMMURE_OP_READONLY, WS "/.git/hooks"));
	assert_null(host_watch(h, WS, ".git/hooks"));
	/* one at any depth is watched besides */
	assert_true(host_watch(h, WS, ".git/config")->flags & IMMURE_OPF_ANYWHERE);
	/* nothing to protect where nothing is written */
	host_must(h, "readonly", NULL);
	assert_null(host_at(h, WS "/.git", IMMURE_OP_PIN));
	assert_null(host_at(h, WS "/.git/hooks", IMMURE_OP_READONLY));
	host_must(h, "dev", "files.protected=false", NULL);
	assert_null(host_at(h, WS "/.git/hooks", IMMURE_OP_READONLY));
}

static void absent(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_PIN), 0);
	assert_non_null(host_watch(h, WS, ".vscode"));
	assert_int_equal(host_watch(h, WS, ".vscode")->flags, 0);
	/* the dev profile lets a repository be made */
	assert_int_equal(host_watch(h, WS, ".git/hooks")->flags, IMMURE_OPF_ALLOWED);
	assert_int_equal(host_watch(h, WS, "*.code-workspace")->flags, IMMURE_OPF_ANYWHERE);
	assert_true(host_watch(h, WS, "package.json")->flags & IMMURE_OPF_BUILD);
	assert_true(host_watch(h, WS, "*.pth")->flags & IMMURE_OPF_ANYWHERE);
	/* a directory on the way is not pinned for what is not in it */
	host_has(h, WS "/.github", 'd');
	host_must(h, "dev", NULL);
	assert_int_equal(host_count(h, IMMURE_OP_PIN), 0);
	assert_non_null(host_watch(h, WS, ".github/workflows"));
	host_must(h, "dev", "+files.created=.vscode", NULL);
	assert_int_equal(host_watch(h, WS, ".vscode")->flags, IMMURE_OPF_ALLOWED);
}

static void own_policy(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", "files.protected=false", NULL);
	assert_non_null(host_watch(h, WS, ".immure"));
	host_has(h, WS "/.immure", 'd');
	host_must(h, "dev", "files.protected=false", NULL);
	assert_non_null(host_at(h, WS "/.immure", IMMURE_OP_READONLY));
}

static const char *policy_files[] = { WS "/etc/sandbox.json", "/srv/base.json" };

static void with_files(struct immure_policy *p)
{
	p->files = (struct immure_strv){ .v = policy_files, .n = 2 };
}

static void policy_from_anywhere(void **state)
{
	struct host *h = *state;

	host_has(h, WS "/etc", 'd');
	host_has(h, WS "/etc/sandbox.json", 'f');
	host_has(h, "/srv/base.json", 'f');
	h->change = with_files;
	host_must(h, "dev", "files.protected=false", NULL);
	assert_non_null(host_at(h, WS "/etc", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS "/etc/sandbox.json", IMMURE_OP_READONLY));
	assert_null(host_at(h, "/srv/base.json", IMMURE_OP_READONLY));
}

static void links(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	/* a link inside, to a place inside: both */
	host_link(h, WS "/.vscode", "conf/vscode", WS "/conf/vscode", 'd');
	host_must(h, "dev", NULL);
	op = host_at(h, WS "/.vscode", IMMURE_OP_PROTECT_LINK);
	assert_non_null(op);
	assert_string_equal(op->src, "conf/vscode");
	assert_non_null(host_at(h, WS "/conf", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS "/conf/vscode", IMMURE_OP_READONLY));
	/* to a place outside: the link only */
	host_link(h, WS "/.envrc", "/etc/envrc", "/etc/envrc", 'f');
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.envrc", IMMURE_OP_PROTECT_LINK));
	assert_null(host_at(h, "/etc/envrc", IMMURE_OP_READONLY));
	/* dangling */
	host_link(h, WS "/.npmrc", "none", NULL, 0);
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.npmrc", IMMURE_OP_PROTECT_LINK));
	/* a directory on the way is one */
	host_link(h, WS "/.github", "gh", WS "/gh", 'd');
	host_through(h, WS "/.github/workflows", WS "/gh/workflows", 'd');
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.github", IMMURE_OP_PROTECT_LINK));
	assert_non_null(host_at(h, WS "/gh/workflows", IMMURE_OP_READONLY));
	assert_non_null(host_at(h, WS "/gh", IMMURE_OP_PIN));
	/* to the workspace itself: cannot be both */
	host_link(h, WS "/.cursor", ".", WS, 'd');
	host_refuses(h, IMMURE_ERR_POLICY, "writable place itself", "dev", NULL);
}

/* A worktree's .git is a file that says where the repository is. */
static void pointer_file(void **state)
{
	struct host *h = *state;

	host_has(h, WS "/.git", 'f');
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.git", IMMURE_OP_READONLY));
	assert_int_equal(host_count(h, IMMURE_OP_READONLY) - 6, 1); /* 6 below /proc */
}

static void hard_links(void **state)
{
	struct host *h = *state;

	host_has(h, WS "/AGENTS.md", 'f')->nlink = 2;
	host_refuses(h, IMMURE_ERR_POLICY, "2 hard links", "dev", NULL);
	assert_non_null(strstr(immure_error_hint(h->err), "files.created"));
	host_must(h, "dev", "+files.created=AGENTS.md", NULL);
	assert_null(host_at(h, WS "/AGENTS.md", IMMURE_OP_READONLY));
	host_must(h, "readonly", NULL);
	/* directories always have several */
	host_has(h, WS "/.husky", 'd')->nlink = 5;
	h->declared[h->declared_n - 2].nlink = 1;
	host_must(h, "dev", NULL);
	assert_non_null(host_at(h, WS "/.husky", IMMURE_OP_READONLY));
}

static void named(void **state)
{
	struct host *h = *state;

	host_has(h, WS "/deploy.sh", 'f');
	host_has(h, WS "/ci", 'd');
	host_has(h, WS "/ci/run", 'f');
	host_has(h, "/srv/x", 'f');
	host_must(h, "dev", "+files.protect=deploy.sh", "+files.protect=" WS "/ci/run",
		  "+files.protect=later/x", "+files.protect=/srv/x", NULL);
	assert_string_equal(host_at(h, WS "/deploy.sh", IMMURE_OP_READONLY)->key, "files.protect");
	assert_non_null(host_at(h, WS "/ci", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS "/ci/run", IMMURE_OP_READONLY));
	assert_non_null(host_watch(h, WS, "later/x"));
	assert_null(host_at(h, "/srv/x", IMMURE_OP_READONLY)); /* not writable there */
	/* a protected file that is also allowed is shown, read-only */
	host_must(h, "dev", "+files.protect=/srv/x", "+files.write=/srv/x", NULL);
	assert_true(host_at(h, "/srv/x", IMMURE_OP_MAX) == NULL ||
		    host_at(h, "/srv/x", IMMURE_OP_BIND)->flags & IMMURE_OPF_RO);
	/* a link to something writable */
	host_link(h, "/home/u/l", "ws/deploy.sh", WS "/deploy.sh", 'f');
	host_must(h, "dev", "+files.protect=~/l", NULL);
	assert_non_null(host_at(h, WS "/deploy.sh", IMMURE_OP_READONLY));
}

/* Every writable directory is a place for such files, not the workspace alone. */
static void other_roots(void **state)
{
	struct host *h = *state;

	host_has(h, "/srv/repo", 'd');
	host_has(h, "/srv/repo/.git", 'd');
	host_has(h, "/srv/repo/.git/hooks", 'd');
	host_must(h, "readonly", "+files.write=/srv/repo", NULL);
	assert_non_null(host_at(h, "/srv/repo/.git/hooks", IMMURE_OP_READONLY));
	assert_non_null(host_watch(h, "/srv/repo", ".vscode"));
	assert_null(host_watch(h, WS, ".vscode"));
	/* the workspace seen through a link: places are real paths */
	host_link(h, "/w", "/srv/repo", "/srv/repo", 'd');
	host_through(h, "/w/.git", "/srv/repo/.git", 'd');
	host_through(h, "/w/.git/hooks", "/srv/repo/.git/hooks", 'd');
	host_must(h, "dev", "workspace.path=/w", NULL);
	assert_non_null(host_at(h, "/srv/repo/.git/hooks", IMMURE_OP_READONLY));
	assert_non_null(host_at(h, "/srv/repo/.git", IMMURE_OP_PIN));
	assert_non_null(host_watch(h, "/srv/repo", ".vscode"));
}

/* A writable place in a writable place, and what stands in the way to it. */
static void nested_roots(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/ws/.vscode", 'd');
	host_has(h, "/home/u/ws/conf", 'd');
	host_has(h, "/home/u/ws/conf/fixed", 'f');
	host_has(h, "/home/u/.config/gcloud", 'd');
	h->facts.cwd = "/home/u/ws";
	host_must(h, "dev", "+files.write=/home", "+files.read=/home/u/ws/conf/fixed", NULL);
	assert_non_null(host_at(h, "/home", IMMURE_OP_BIND));
	assert_non_null(host_at(h, "/home/u", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS, IMMURE_OP_PIN)); /* the workspace itself */
	assert_non_null(host_at(h, WS "/.vscode", IMMURE_OP_READONLY));
	assert_non_null(host_at(h, WS "/conf", IMMURE_OP_PIN));
	assert_non_null(host_at(h, WS "/conf/fixed", IMMURE_OP_READONLY));
	/* the way to what is denied */
	assert_non_null(host_at(h, "/home/u/.config/gcloud", IMMURE_OP_MASK));
	assert_non_null(host_at(h, "/home/u/.config", IMMURE_OP_PIN));
}

static void unexaminable(void **state)
{
	struct host *h = *state;
	struct immure_fact_path *p = host_has(h, WS "/.envrc", 0);

	p->real = NULL;
	p->errnum = 13;
	host_refuses(h, IMMURE_ERR_POLICY, "examined", "dev", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(existing, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(absent, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(own_policy, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(policy_from_anywhere, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(links, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(pointer_file, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(hard_links, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(named, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(other_roots, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(nested_roots, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(unexaminable, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
