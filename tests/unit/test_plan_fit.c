/* SPDX-License-Identifier: Apache-2.0 */
/* What a session that waits may become. */
#include <string.h>

#include "plan/fit.h"
#include "plan_host.h"

/* The plan that was made, and no other knows of it any more. */
static struct immure_plan *mine(struct host *h)
{
	struct immure_plan *p = h->plan;

	h->plan = NULL;
	return p;
}

#define base_of(h, ret, ...)                            \
	do {                                            \
		(h)->no_workspace = true;               \
		host_must(h, __VA_ARGS__);              \
		*(ret) = mine(h);                       \
		(h)->no_workspace = false;              \
	} while (0)

static void fits(struct host *h, const struct immure_plan *base, bool *now)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_error *err = NULL;
	bool *marks;

	if (immure_plan_fit(base, h->plan, &a, &marks, &err) < 0)
		fail_msg("%s", immure_error_text(err));
	if (now)
		memcpy(now, marks, h->plan->ops_n);
	immure_arena_done(&a);
}

static void refused(struct host *h, const struct immure_plan *base, const char *key)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_error *err = NULL;
	bool *marks;

	if (immure_plan_fit(base, h->plan, &a, &marks, &err) != -IMMURE_ERR_POLICY)
		fail_msg("%s: fits", key);
	if (strcmp(immure_error_subject(err), key) != 0)
		fail_msg("%s, not %s: %s", immure_error_subject(err), key, immure_error_text(err));
	immure_error_free(err);
	immure_arena_done(&a);
}

static bool marked(const struct host *h, const bool *now, const char *dst)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (now[i] && strcmp(h->plan->ops[i].dst, dst) == 0)
			return true;
	return false;
}

/* Whatever the profile: its own plan with a workspace fits, and what is left to do is
 * the workspace and what lies in it. */
static void a_workspace_is_added(void **state)
{
	static const char *const profiles[] = { "dev", "strict", "readonly", "agent-claude" };
	struct host *h = *state;
	bool now[4096];

	host_has(h, "/home/u/ws/.git", 'd');
	host_has(h, "/home/u/ws/.git/hooks", 'd');
	host_has(h, "/home/u/.ssh", 'd');
	for (size_t k = 0; k < sizeof(profiles) / sizeof(profiles[0]); k++) {
		struct immure_plan *base;

		base_of(h, &base, profiles[k], NULL);
		for (size_t i = 0; i < base->ops_n; i++)
			assert_int_not_equal(strncmp(base->ops[i].dst, "/home/u/ws", 10), 0);
		host_must(h, profiles[k], NULL);
		fits(h, base, now);
		for (size_t i = 0; i < h->plan->ops_n; i++)
			assert_int_equal(now[i], h->plan->ops[i].stage == IMMURE_STAGE_MOUNT &&
				       strncmp(h->plan->ops[i].dst, "/home/u/ws", 10) == 0);
		assert_int_equal(marked(h, now, "/home/u/ws"), strcmp(profiles[k], "readonly") != 0);
		immure_plan_destroy(base);
	}
}

/* A home as workspace covers the masks in it that were there: they are placed again. */
static void what_is_covered_is_done_again(void **state)
{
	struct host *h = *state;
	struct immure_plan *base;
	bool now[4096];

	host_has(h, "/home/u/.ssh", 'd');
	base_of(h, &base, "dev", NULL);
	host_must(h, "dev", "workspace.path=/home/u", NULL);
	fits(h, base, now);
	assert_true(marked(h, now, "/home/u") && marked(h, now, "/home/u/.ssh"));
	assert_false(marked(h, now, "/tmp") || marked(h, now, "/proc"));
	immure_plan_destroy(base);
}

/* The host goes on meanwhile: what is to be hidden may be more, or have gone. */
static void hidden_things_come_and_go(void **state)
{
	struct host *h = *state;
	struct immure_plan *base;
	bool now[4096];

	host_has(h, "/srv", 'd');
	host_has(h, "/srv/one.sock", 's');
	host_has(h, "/srv/two.sock", 's');
	host_socket(h, "/srv/one.sock");
	base_of(h, &base, "dev", NULL);
	h->facts.sockets.n = 0;
	host_socket(h, "/srv/two.sock");
	host_must(h, "dev", NULL);
	fits(h, base, now);
	assert_true(marked(h, now, "/srv/two.sock"));
	/* But not where something is to be seen now. */
	host_must(h, "dev", "files.write=/srv/one.sock", NULL);
	refused(h, base, "files.write");
	immure_plan_destroy(base);
	host_has(h, "/data", 'd');
	host_has(h, "/data/ws", 'd');
	base_of(h, &base, "dev", "+files.deny=/data", NULL);
	host_must(h, "dev", "+files.deny=/data", "workspace.path=/data/ws", NULL);
	refused(h, base, "files.deny");
	immure_plan_destroy(base);
}

static void more_is_refused(void **state)
{
	static const char *const more[][2] = {
		{ "files.write=/data", "files.write" },
		{ "network.mode=host", "(always)" },
		{ "syscalls=strict", "syscalls" },
		{ "limits.memory=1G", "limits.memory" },
		{ "limits.wall_time=9m", "limits.wall_time" },
		{ "identity=root", "identity" },
		{ "-files.tmp=", "files.tmp" },
		{ "+files.tmp=/data", "files.tmp" },
	};
	struct host *h = *state;
	struct immure_plan *base;

	host_has(h, "/data", 'd');
	base_of(h, &base, "dev", NULL);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		host_must(h, "dev", more[i][0], NULL);
		refused(h, base, more[i][1]);
	}
	immure_plan_destroy(base);
	/* A view that is made of what is named. */
	base_of(h, &base, "strict", NULL);
	host_must(h, "strict", "files.read=/data", NULL);
	refused(h, base, "files.read");
	immure_plan_destroy(base);
}

static void hosts_may_only_become_fewer(void **state)
{
	struct host *h = *state;
	struct immure_plan *base;

	base_of(h, &base, "dev", "network.mode=limited", "network.allow=a.example:443",
		"network.allow=b.example:443", "network.deny=c.example", NULL);
	host_must(h, "dev", "network.mode=limited", "network.allow=b.example:443", "network.deny=c.example",
		  "network.deny=d.example", NULL);
	fits(h, base, NULL);
	host_must(h, "dev", "network.mode=limited", "network.allow=e.example:443", "network.deny=c.example", NULL);
	refused(h, base, "network.allow");
	host_must(h, "dev", "network.mode=limited", "network.allow=a.example:80", "network.deny=c.example", NULL);
	refused(h, base, "network.allow");
	host_must(h, "dev", "network.mode=limited", "network.allow=a.example:443", NULL);
	refused(h, base, "network.deny");
	immure_plan_destroy(base);
}

/* "/" stands for no workspace: then nothing lies in it. */
static void no_workspace_gives_nothing(void **state)
{
	struct host *h = *state;
	struct immure_plan *base;

	host_has(h, "/data", 'd');
	base_of(h, &base, "dev", NULL);
	h->no_workspace = true;
	host_must(h, "dev", "files.write=/data", NULL);
	refused(h, base, "files.write");
	h->no_workspace = false;
	immure_plan_destroy(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_workspace_is_added, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(what_is_covered_is_done_again, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(hidden_things_come_and_go, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(more_is_refused, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(hosts_may_only_become_fewer, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(no_workspace_gives_nothing, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
