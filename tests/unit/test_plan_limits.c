/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and what stands in for them; identities; Landlock; gaps and which of
 * them a policy can approve. */
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/landlock.h"
#include "plan_host.h"

/* UINT64_MAX: no such limit. */
static uint64_t rlimit(const struct host *h, const char *name)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == IMMURE_OP_RLIMIT &&
		    strcmp(h->plan->ops[i].src, name) == 0)
			return h->plan->ops[i].num[0];
	return UINT64_MAX;
}

#define ALL "limits.memory=1G", "limits.processes=50", "limits.cpus=1.5"

static void cgroup_v2(void **state)
{
	struct host *h = *state;
	const struct immure_op *leaf;

	h->facts.cgroup = (struct immure_cgroup_facts){
		.kind = IMMURE_CGROUP_V2, .v2 = "/sys/fs/cgroup/x", .v2_enable = true,
		.memory = true, .pids = true, .cpu = true,
	};
	host_must(h, "dev", ALL, NULL);
	leaf = immure_plan_find(h->plan, IMMURE_OP_CGROUP_LEAF);
	assert_string_equal(leaf->src, "/sys/fs/cgroup/x");
	assert_int_equal(leaf->num[0], IMMURE_CGROUP_V2);
	assert_int_equal(leaf->num[1], 1);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_CGROUP_MEMORY)->num[0], 1u << 30);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_CGROUP_PIDS)->num[0], 50);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_CGROUP_CPU)->num[0], 1500);
	assert_int_equal(rlimit(h, "nproc"), UINT64_MAX);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_CPU_AFFINITY));
	assert_null(immure_plan_find(h->plan, IMMURE_OP_MEMORY_WATCH));
	/* no leaf when nothing needs one */
	host_must(h, "dev", "limits.wall_time=5s", NULL);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_CGROUP_LEAF));
}

static void cgroup_v1(void **state)
{
	struct host *h = *state;

	h->facts.cgroup = (struct immure_cgroup_facts){
		.kind = IMMURE_CGROUP_V1, .v1_memory = "/c/memory", .v1_pids = "/c/pids",
		.v1_cpu = "/c/cpu", .v1_cpuacct = "/c/cpuacct", .memory = true, .pids = true,
	};
	host_must(h, "dev", ALL, NULL);
	assert_string_equal(immure_plan_find(h->plan, IMMURE_OP_CGROUP_LEAF)->src,
			    "memory=/c/memory:pids=/c/pids:cpuacct=/c/cpuacct");
	assert_null(immure_plan_find(h->plan, IMMURE_OP_CGROUP_CPU));
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_CPU_AFFINITY)->num[0], 2);
	/* a directory that the leaf's text could not carry */
	h->facts.cgroup.v1_memory = "/c/a:b";
	host_must(h, "dev", ALL, NULL);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_CGROUP_MEMORY));
	assert_non_null(immure_plan_find(h->plan, IMMURE_OP_MEMORY_WATCH));
}

static void no_cgroup(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", ALL, NULL);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_CGROUP_LEAF));
	assert_int_equal(rlimit(h, "nproc"), 50);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_MEMORY_WATCH)->num[0], 1u << 30);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_CPU_AFFINITY)->num[0], 2);
	assert_int_equal(h->plan->gaps_n, 0);
	/* RLIMIT_NPROC does not bind uid 0 */
	h->facts.uid = h->facts.gid = 0;
	host_must(h, "dev", ALL, NULL);
	assert_non_null(host_gap(h, "resources"));
	host_must(h, "dev", ALL, "identity=nobody", NULL);
	assert_null(host_gap(h, "resources"));
}

static void shared(struct host *h, const char *dst, enum immure_op_kind kind, uint64_t bytes)
{
	const struct immure_op *op = host_at(h, dst, kind);

	assert_int_equal(op->num[0], bytes);
	assert_true(op->flags & IMMURE_OPF_SHARED);
}

static void other_limits(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", NULL);
	assert_int_equal(rlimit(h, "core"), 1);
	assert_int_equal(rlimit(h, "rtprio"), 0);
	assert_int_equal(rlimit(h, "nice"), 0);
	assert_int_equal(host_count(h, IMMURE_OP_RLIMIT), 3);
	host_must(h, "dev", "limits.cpu_time=1500ms", "limits.open_files=64",
		  "limits.file_size=1M", "limits.wall_time=3s", "limits.output=2M",
		  "limits.disk=30M", NULL);
	assert_int_equal(rlimit(h, "cpu"), 2);
	assert_int_equal(rlimit(h, "nofile"), 64);
	assert_int_equal(rlimit(h, "fsize"), 1 << 20);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_WALL_TIME)->num[0], 3000);
	assert_int_equal(immure_plan_find(h->plan, IMMURE_OP_OUTPUT_CAP)->num[0], 2 << 20);
	/* /tmp, /var/tmp and /dev/shm are in one file system of that size */
	shared(h, "/tmp", IMMURE_OP_TMPFS, 30 << 20);
	shared(h, "/var/tmp", IMMURE_OP_TMPFS, 30 << 20);
	shared(h, "/dev", IMMURE_OP_DEV, 30 << 20);
	assert_int_equal(host_at(h, "/run", IMMURE_OP_TMPFS)->num[0], 0); /* nothing fits in */
	/* sampling does not see files in memory: the areas are limited as it is */
	host_must(h, "dev", "limits.memory=30M", NULL);
	shared(h, "/tmp", IMMURE_OP_TMPFS, 30 << 20);
	h->facts.cgroup = (struct immure_cgroup_facts){
		.kind = IMMURE_CGROUP_V2, .v2 = "/x", .memory = true,
	};
	host_must(h, "dev", "limits.memory=30M", NULL);
	assert_int_equal(host_at(h, "/tmp", IMMURE_OP_TMPFS)->num[0], 0);
	shared(h, "/tmp", IMMURE_OP_TMPFS, 0);
	host_must(h, "dev", "limits.disk=4K", NULL);
}

static void ids(struct host *h, const char *identity, uint32_t uid, const uint64_t want[4])
{
	char setting[32] = "identity=";
	const struct immure_op *op;

	strcat(setting, identity);
	h->facts.uid = h->facts.gid = uid;
	host_must(h, "dev", setting, NULL);
	op = immure_plan_find(h->plan, IMMURE_OP_IDMAP);
	assert_memory_equal(op->num, want, sizeof(op->num));
}

static void identities(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	ids(h, "caller", 1000, (const uint64_t[]){ 1000, 1000, 1000, 1000 });
	ids(h, "root", 1000, (const uint64_t[]){ 0, 1000, 0, 1000 });
	ids(h, "nobody", 1000, (const uint64_t[]){ 65534, 1000, 65534, 1000 });
	ids(h, "caller", 0, (const uint64_t[]){ 0, 0, 0, 0 });
	ids(h, "root", 0, (const uint64_t[]){ 0, 0, 0, 0 });
	ids(h, "nobody", 0, (const uint64_t[]){ 65534, 65534, 65534, 65534 });
	op = immure_plan_find(h->plan, IMMURE_OP_NAMESPACES);
	assert_true(op->num[0] & CLONE_NEWNET);
	host_must(h, "dev", "network.mode=host", NULL);
	op = immure_plan_find(h->plan, IMMURE_OP_NAMESPACES);
	assert_false(op->num[0] & CLONE_NEWNET);
	assert_null(strstr(op->src, "net"));
	host_must(h, "dev", "id_range=subid", NULL);
	assert_non_null(immure_plan_find(h->plan, IMMURE_OP_IDMAP_SUBID));
	assert_int_equal(h->plan->gaps_n, 0);
	h->facts.newuidmap = IMMURE_NO;
	host_must(h, "dev", "id_range=subid", NULL);
	assert_false(host_gap(h, "privileges")->approved);
}

static void landlock(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	for (int abi = 1; abi <= 9; abi++) {
		h->facts.landlock_abi = abi;
		host_must(h, "dev", NULL);
		op = immure_plan_find(h->plan, IMMURE_OP_LANDLOCK);
		assert_int_equal(op->num[0], abi > 7 ? 7 : abi);
		assert_int_equal(op->num[1], immure_landlock_fs_rights(abi));
		assert_int_equal(op->num[2], abi >= 6 ? 3 : 0);
		assert_int_equal(op->num[3], 0);
		for (size_t i = 0; i < h->plan->ops_n; i++)
			if (h->plan->ops[i].kind == IMMURE_OP_LANDLOCK_RULE)
				assert_int_equal(h->plan->ops[i].num[0] & ~op->num[1], 0);
		op = host_at(h, "/home/u/ws", IMMURE_OP_LANDLOCK_RULE);
		assert_true(op->num[0] & IMMURE_LANDLOCK_FS_MAKE_REG);
		assert_false(op->num[0] & IMMURE_LANDLOCK_FS_MAKE_CHAR);
		assert_false(op->num[0] & IMMURE_LANDLOCK_FS_MAKE_BLOCK);
	}
	h->facts.landlock_abi = 0;
	host_must(h, "dev", NULL);
	assert_null(immure_plan_find(h->plan, IMMURE_OP_LANDLOCK));
	assert_null(immure_plan_find(h->plan, IMMURE_OP_LANDLOCK_RULE));
	assert_false(host_gap(h, "landlock")->approved);
	/* abstract sockets of a shared network need the scopes */
	h->facts.landlock_abi = 5;
	host_must(h, "dev", "network.mode=host", NULL);
	assert_non_null(host_gap(h, "ipc"));
	h->facts.landlock_abi = 6;
	host_must(h, "dev", "network.mode=host", NULL);
	assert_null(host_gap(h, "ipc"));
}

/* What is asked and cannot be had is a gap, whichever key asked. */
static void gaps(void **state)
{
	static const struct { const char *setting, *dimension, *key; } cases[] = {
		/* this host has no /etc/resolv.conf */
		{ "network.mode=limited", "egress_allowlist", "network.mode" },
		{ "workspace.mode=cow", "writable_layer", "workspace.mode" },
		{ "files.view=image", "file_read", "image" },
		{ "require.class=lightweight_vm", "sandbox", "require.class" },
		{ "require.capabilities=audit_log", "audit_log", "require.capabilities" },
		{ "backend=bwrap", "backend", "backend" },
		{ "syscalls=/none.bpf", "syscalls", "syscalls" },
	};
	struct host *h = *state;

	h->facts.overlay_userns = IMMURE_NO;
	host_must(h, "dev", NULL);
	assert_int_equal(h->plan->gaps_n, 0);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct immure_error *err = NULL;
		const struct immure_gap *g;

		host_must(h, "dev", cases[i].setting, NULL);
		g = host_gap(h, cases[i].dimension);
		if (!g)
			fail_msg("%s is no gap", cases[i].setting);
		assert_string_equal(g->key, cases[i].key);
		assert_true(*g->what && *g->remedy && !strchr(g->what, '\n'));
		assert_int_equal(immure_plan_startable(h->plan, &err), -IMMURE_ERR_GAP);
		assert_non_null(strstr(immure_error_text(err), g->what));
		assert_int_equal(strncmp(immure_error_hint(err), g->remedy, strlen(g->remedy)), 0); /* and the others */
		immure_error_free(err);
	}
	host_must(h, "dev", "require.class=sandbox", "require.capabilities=no_network_guarantee",
		  NULL);
	assert_int_equal(h->plan->gaps_n, 0);
	host_must(h, "dev", "require.capabilities=no_network_guarantee", "network.mode=host", NULL);
	assert_non_null(host_gap(h, "no_network_guarantee"));
	host_must(h, "dev", "backend=native", NULL);
	assert_int_equal(h->plan->gaps_n, 0);
}

static struct immure_secret secret = { .name = "k", .from = "env:K", .as = "bearer" };

static void with_secret(struct immure_policy *p)
{
	p->secrets = &secret;
	p->secrets_n = 1;
}

static void more_gaps(void **state)
{
	struct host *h = *state;

	host_must(h, "image", "image=debian:12", NULL);
	assert_string_equal(h->plan->gaps[0].key, "image"); /* nobody looked whether there is one */
	host_must(h, "image", "image=debian:12", "require.downgrade=file_read", NULL);
	assert_false(host_gap(h, "file_read")->approved); /* there is nothing to run in */
	/* a denied file that has another name somewhere */
	host_has(h, "/home/u/.netrc", 'f')->nlink = 2;
	host_must(h, "dev", NULL);
	assert_string_equal(host_gap(h, "secret_read")->key, "files.sensitive");
	host_must(h, "dev", "require.downgrade=secret_read", NULL);
	assert_int_equal(immure_plan_startable(h->plan, NULL), 0);
	host_must(h, "strict", NULL); /* nothing of the home is shown there */
	assert_int_equal(h->plan->gaps_n, 0);
	h->declared[h->declared_n - 1].nlink = 1;
	h->change = with_secret;
	host_must(h, "dev", NULL);
	assert_string_equal(host_gap(h, "secret_isolation")->key, "secrets");
	assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
}

static void facts_that_say_no(void **state)
{
	struct host *h = *state;
	enum immure_tri *const all[] = { &h->facts.userns, &h->facts.userns_mount,
					 &h->facts.userns_proc, &h->facts.netns,
					 &h->facts.seccomp };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		enum immure_tri old = *all[i];

		*all[i] = IMMURE_NO;
		host_must(h, "dev", NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
		/* never by approval */
		host_must(h, "dev", "require.downgrade=allow", "require.downgrade=network_egress",
			  "require.downgrade=file_write", "require.downgrade=syscalls",
			  "require.downgrade=process_visibility", NULL);
		assert_int_equal(immure_plan_startable(h->plan, NULL), -IMMURE_ERR_GAP);
		*all[i] = old;
	}
}

static bool started(struct host *h, const char *a, const char *b, const char *c)
{
	host_must(h, "dev", "workspace.mode=cow", a, b, c, NULL);
	return immure_plan_startable(h->plan, NULL) == 0;
}

/* Approved needs: allow, exactly that name, and local work. */
static void downgrades(void **state)
{
	struct host *h = *state;

	h->facts.overlay_userns = IMMURE_NO;
	assert_false(started(h, NULL, NULL, NULL));
	assert_false(started(h, "require.downgrade=file_write", NULL, NULL));
	assert_true(started(h, "require.downgrade=writable_layer", NULL, NULL));
	assert_true(started(h, "require.downgrade=writable_layer", "origin=local", NULL));
	assert_false(started(h, "require.downgrade=writable_layer", "origin=remote", NULL));
	assert_false(started(h, "require.downgrade=deny", NULL, NULL));
	assert_true(started(h, "require.downgrade=workspace.mode", NULL, NULL));
	assert_false(started(h, "require.downgrade=network.mode", NULL, NULL));
	assert_false(started(h, "require.downgrade=allow", NULL, NULL)); /* not all at once */
	/* one of two gaps approved is not enough */
	assert_false(started(h, "require.downgrade=writable_layer", "network.mode=limited", NULL));
	assert_true(host_gap(h, "writable_layer")->approved);
	assert_false(host_gap(h, "egress_allowlist")->approved);
	/* what is planned in its stead is not wider */
	assert_true(started(h, "require.downgrade=writable_layer",
			    "require.downgrade=egress_allowlist", "network.mode=limited"));
	assert_non_null(immure_plan_find(h->plan, IMMURE_OP_EGRESS));
	assert_null(immure_plan_find(h->plan, IMMURE_OP_EGRESS_ALLOW));
	assert_null(host_at(h, "/home/u/ws", IMMURE_OP_BIND));
	assert_null(host_at(h, "/home/u/ws", IMMURE_OP_LANDLOCK_RULE));
}

static void seccomp(void **state)
{
	struct host *h = *state;
	const struct immure_op *op;

	host_must(h, "strict", NULL);
	op = immure_plan_find(h->plan, IMMURE_OP_SECCOMP);
	assert_string_equal(op->src, "strict");
	assert_int_equal(op->num[0], 1u << AF_UNIX | 1u << AF_INET | 1u << AF_INET6 |
				     1u << AF_NETLINK);
	host_has(h, "/f.bpf", 'f');
	host_must(h, "dev", "syscalls=/f.bpf", NULL);
	assert_string_equal(immure_plan_find(h->plan, IMMURE_OP_SECCOMP)->src, "/f.bpf");
	assert_int_equal(h->plan->gaps_n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cgroup_v2, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(cgroup_v1, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(no_cgroup, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(other_limits, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(identities, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(landlock, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(gaps, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(more_gaps, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(facts_that_say_no, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(downgrades, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(seccomp, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
