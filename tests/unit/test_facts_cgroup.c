/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a place for limits, on recorded hosts: /proc/self/cgroup, the cgroup
 * mounts, which directories may be written and what their files say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "facts/internal.h"

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define USER "/user.slice/user-1000.slice/user@1000.service"
#define CG "/sys/fs/cgroup"

struct host_file {
	const char *dir, *name, *text;
};

struct host {
	const char *cgroup, *mountinfo;
	bool root;
	const char *writable[8];
	struct host_file files[24];
};

static bool fake_writable(void *ctx, const char *dir, bool v2)
{
	const struct host *h = ctx;

	(void)v2;
	for (size_t i = 0; i < 8 && h->writable[i]; i++)
		if (strcmp(h->writable[i], dir) == 0)
			return true;
	return false;
}

static int fake_read(void *ctx, const char *dir, const char *name, char *buf, size_t cap)
{
	const struct host *h = ctx;

	for (size_t i = 0; i < 24 && h->files[i].dir; i++)
		if (strcmp(h->files[i].dir, dir) == 0 && strcmp(h->files[i].name, name) == 0)
			return snprintf(buf, cap, "%s", h->files[i].text);
	return -ENOENT;
}

static struct immure_cgroup_facts find(struct immure_arena *a, struct host *h)
{
	const struct immure_cgroup_fs fs = { h, fake_writable, fake_read };
	struct immure_cgroup_facts c;
	struct immure_fact_mount *m;
	size_t n;

	assert_int_equal(immure_facts_parse_mountinfo(a, h->mountinfo, &m, &n), 0);
	immure_facts_find_cgroup(a, h->cgroup, m, n, h->root, &fs, &c);
	return c;
}

static void assert_none(const struct immure_cgroup_facts *c)
{
	assert_int_equal(c->kind, IMMURE_CGROUP_NONE);
	assert_null(c->v2);
	assert_null(c->v1_memory);
	assert_false(c->memory || c->pids || c->cpu);
}

/* systemd-run --user --scope: app.slice is delegated, and its scopes are ours. */
static void v2_user_scope(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::" USER "/app.slice/run-u1.scope\n",
		.mountinfo = V2_MOUNT,
		.writable = { CG USER "/app.slice/run-u1.scope", CG USER "/app.slice", CG USER },
		.files = {
			{ CG USER "/app.slice/run-u1.scope", "cgroup.controllers", "cpu memory pids\n" },
			{ CG USER "/app.slice/run-u1.scope", "cgroup.subtree_control", "\n" },
			{ CG USER "/app.slice/run-u1.scope", "cgroup.type", "domain\n" },
			{ CG USER "/app.slice/run-u1.scope", "cgroup.procs", "4242\n" },
			{ CG USER "/app.slice", "cgroup.controllers", "cpuset cpu io memory pids\n" },
			{ CG USER "/app.slice", "cgroup.subtree_control", "cpu memory pids\n" },
			{ CG USER, "cgroup.controllers", "cpuset cpu io memory pids\n" },
			{ CG USER, "cgroup.subtree_control", "cpu memory pids\n" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_int_equal(c.kind, IMMURE_CGROUP_V2);
	assert_string_equal(c.v2, CG USER "/app.slice");
	assert_false(c.v2_enable);
	assert_true(c.memory && c.pids && c.cpu);
	immure_arena_done(&a);
}

/* Debian 12: no cpu controller is passed to users. */
static void v2_user_without_cpu(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::" USER "/app.slice/x.scope\n",
		.mountinfo = V2_MOUNT,
		.writable = { CG USER "/app.slice/x.scope", CG USER "/app.slice", CG USER },
		.files = {
			{ CG USER "/app.slice", "cgroup.controllers", "memory pids" },
			{ CG USER "/app.slice", "cgroup.subtree_control", "memory pids" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_int_equal(c.kind, IMMURE_CGROUP_V2);
	assert_string_equal(c.v2, CG USER "/app.slice");
	assert_true(c.memory && c.pids);
	assert_false(c.cpu);
	immure_arena_done(&a);
}

/* A login over ssh: the session's scope belongs to root, and nothing may be
 * moved from there into the user's own service. */
static void v2_ssh_session(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::/user.slice/user-1000.slice/session-3.scope\n",
		.mountinfo = V2_MOUNT,
		.writable = { CG USER, CG USER "/app.slice" },
		.files = {
			{ CG "/user.slice/user-1000.slice", "cgroup.controllers", "cpu memory pids" },
			{ CG "/user.slice/user-1000.slice", "cgroup.subtree_control", "memory pids" },
			{ CG USER "/app.slice", "cgroup.controllers", "cpu memory pids" },
			{ CG USER "/app.slice", "cgroup.subtree_control", "cpu memory pids" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_none(&c);
	immure_arena_done(&a);
}

static void v2_root(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::/system.slice/ssh.service\n",
		.mountinfo = V2_MOUNT,
		.root = true,
		.writable = { CG, CG "/system.slice", CG "/system.slice/ssh.service" },
		.files = {
			{ CG, "cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma\n" },
			{ CG, "cgroup.subtree_control", "cpuset cpu io memory pids\n" },
			{ CG "/system.slice", "cgroup.controllers", "cpu memory pids" },
			{ CG "/system.slice", "cgroup.subtree_control", "cpu memory pids" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_string_equal(c.v2, CG);
	assert_false(c.v2_enable);
	immure_arena_done(&a);
}

/* A bare init mounted cgroup2 and did nothing else. */
static void v2_root_nothing_enabled(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::/\n",
		.mountinfo = V2_MOUNT,
		.root = true,
		.writable = { CG },
		.files = {
			{ CG, "cgroup.controllers", "cpu memory pids\n" },
			{ CG, "cgroup.subtree_control", "\n" },
			{ CG, "cgroup.procs", "1\n2\n" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_string_equal(c.v2, CG);
	assert_true(c.v2_enable);
	assert_true(c.memory && c.pids && c.cpu);
	immure_arena_done(&a);
}

/* A container with a cgroup namespace of its own whose root holds processes:
 * looks like the top, but cannot pass controllers on. */
static void v2_container_writable(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::/\n",
		.mountinfo = V2_MOUNT,
		.root = true,
		.writable = { CG },
		.files = {
			{ CG, "cgroup.controllers", "cpu memory pids\n" },
			{ CG, "cgroup.subtree_control", "" },
			{ CG, "cgroup.type", "domain\n" },
			{ CG, "cgroup.procs", "1\n" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_none(&c);
	immure_arena_done(&a);
}

/* An empty delegated cgroup above us may be told to pass controllers on. */
static void v2_delegated_empty(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "0::/job/me\n",
		.mountinfo = V2_MOUNT,
		.writable = { CG "/job", CG "/job/me" },
		.files = {
			{ CG "/job", "cgroup.controllers", "memory pids\n" },
			{ CG "/job", "cgroup.subtree_control", "" },
			{ CG "/job", "cgroup.type", "domain\n" },
			{ CG "/job", "cgroup.procs", "" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_string_equal(c.v2, CG "/job");
	assert_true(c.v2_enable);
	assert_true(c.memory && c.pids);
	assert_false(c.cpu);
	immure_arena_done(&a);
}

static void docker(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host read_only = {
		.cgroup = "0::/\n",
		.mountinfo = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
		.root = true,
		.writable = { CG },
		.files = {
			{ CG, "cgroup.controllers", "cpu memory pids" },
			{ CG, "cgroup.subtree_control", "cpu memory pids" },
		},
	};
	/* The host's cgroup namespace: our place is above the mount's root. */
	struct host outside = read_only;
	struct immure_cgroup_facts c = find(&a, &read_only);

	(void)state;
	assert_none(&c);
	outside.mountinfo = V2_MOUNT;
	outside.cgroup = "0::/../../system.slice\n";
	c = find(&a, &outside);
	assert_none(&c);
	immure_arena_done(&a);
}

#define V1_MOUNTS                                                                               \
	"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                            \
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"           \
	"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"                     \
	"39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"                         \
	"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"

static void v1(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "9:name=systemd:/\n8:pids:/\n4:memory:/job:1/x\n2:cpu,cpuacct:/\n",
		.mountinfo = V1_MOUNTS,
		.writable = { CG "/memory/job:1/x", CG "/pids", CG "/cpu,cpuacct" },
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_int_equal(c.kind, IMMURE_CGROUP_V1);
	assert_string_equal(c.v1_memory, CG "/memory/job:1/x");
	assert_string_equal(c.v1_pids, CG "/pids");
	assert_string_equal(c.v1_cpu, CG "/cpu,cpuacct");
	assert_string_equal(c.v1_cpuacct, CG "/cpu,cpuacct");
	assert_true(c.memory && c.pids && c.cpu);
	h.writable[0] = CG "/pids"; /* an ordinary user whom someone gave one tree */
	h.writable[1] = NULL;
	c = find(&a, &h);
	assert_int_equal(c.kind, IMMURE_CGROUP_V1);
	assert_null(c.v1_memory);
	assert_false(c.memory || c.cpu);
	assert_true(c.pids);
	immure_arena_done(&a);
}

/* docker on v1: the mount's root is the container's own cgroup. */
static void v1_container(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "4:memory:/docker/abc\n8:pids:/docker/abcd\n",
		.mountinfo = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup c rw,memory\n"
			     "39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw - cgroup c rw,pids\n",
		.root = true,
		.writable = { CG "/memory", CG "/pids" },
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_string_equal(c.v1_memory, CG "/memory");
	assert_null(c.v1_pids); /* /docker/abcd does not lie below /docker/abc */
	immure_arena_done(&a);
}

static void hybrid(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = {
		.cgroup = "8:pids:/\n4:memory:/\n2:cpu,cpuacct:/\n0::/\n",
		.mountinfo = V1_MOUNTS "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n",
		.root = true,
		.writable = { CG "/unified", CG "/memory", CG "/pids", CG "/cpu,cpuacct" },
		.files = {
			{ CG "/unified", "cgroup.controllers", "hugetlb\n" },
			{ CG "/unified", "cgroup.subtree_control", "\n" },
		},
	};
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_int_equal(c.kind, IMMURE_CGROUP_V1);
	assert_null(c.v2);
	assert_string_equal(c.v1_memory, CG "/memory");
	immure_arena_done(&a);
}

static void none(void **state)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct host h = { .cgroup = "", .mountinfo = "1 0 0:1 / / rw - ext4 /dev/vda rw\n" };
	struct immure_cgroup_facts c = find(&a, &h);

	(void)state;
	assert_none(&c);
	h.cgroup = "nonsense\n::\n4:memory\n0::relative\n";
	h.mountinfo = V1_MOUNTS V2_MOUNT;
	h.root = true;
	c = find(&a, &h);
	assert_none(&c);
	immure_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v2_user_scope),
		cmocka_unit_test(v2_user_without_cpu),
		cmocka_unit_test(v2_ssh_session),
		cmocka_unit_test(v2_root),
		cmocka_unit_test(v2_root_nothing_enabled),
		cmocka_unit_test(v2_container_writable),
		cmocka_unit_test(v2_delegated_empty),
		cmocka_unit_test(docker),
		cmocka_unit_test(v1),
		cmocka_unit_test(v1_container),
		cmocka_unit_test(hybrid),
		cmocka_unit_test(none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
