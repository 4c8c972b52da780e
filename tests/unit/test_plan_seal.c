/* SPDX-License-Identifier: Apache-2.0 */
/* Same inputs, same bytes; the order of stages; the sealed form and its
 * enemies; what is printed. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/sha256.h"
#include "plan/seal.h"
#include "plan_host.h"

static int setup(void **state)
{
	static struct host h;

	host_init(&h);
	host_has(&h, "/home/u/.ssh", 'd');
	host_has(&h, "/home/u/ws/.envrc", 'f');
	*state = &h;
	return 0;
}

static void same_bytes(void **state)
{
	struct host *h = *state;
	void *one, *two;
	size_t n, m;
	char hash[65];

	host_must(h, "dev", "+files.deny=/home/u/ws/x", NULL);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &one, &n, NULL), 0);
	memcpy(hash, immure_plan_hash_of(h->plan), sizeof(hash));
	/* the same paths, declared in another order */
	for (size_t i = 0; i < h->declared_n / 2; i++) {
		struct immure_fact_path p = h->declared[i];

		h->declared[i] = h->declared[h->declared_n - 1 - i];
		h->declared[h->declared_n - 1 - i] = p;
	}
	host_must(h, "dev", "+files.deny=/home/u/ws/x", NULL);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &two, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_memory_equal(one, two, n);
	assert_string_equal(hash, immure_plan_hash_of(h->plan));
	free(two);
	host_must(h, "dev", "+files.deny=/home/u/ws/y", NULL);
	assert_string_not_equal(hash, immure_plan_hash_of(h->plan));
	free(one);
}

static void order(void **state)
{
	struct host *h = *state;
	uint32_t stage = 0;

	host_must(h, "ci", NULL);
	for (size_t i = 0; i < h->plan->ops_n; i++) {
		assert_true(h->plan->ops[i].stage >= stage);
		stage = h->plan->ops[i].stage;
	}
	assert_true(host_position(h, IMMURE_OP_DEV, "/dev") ==
		    host_position(h, IMMURE_OP_ROOT_EMPTY, "") + 1);
	for (uint32_t k = 0; k < IMMURE_OP_MAX; k++)
		assert_string_not_equal(immure_op_name(k), "unknown");
	for (uint32_t s = 0; s < IMMURE_STAGE_MAX; s++)
		assert_string_not_equal(immure_stage_name(s), "unknown");
	assert_string_equal(immure_op_name(IMMURE_OP_MAX), "unknown");
}

static void assert_same_plan(const struct immure_plan *a, const struct immure_plan *b)
{
	assert_string_equal(immure_plan_hash_of(a), immure_plan_hash_of(b));
	assert_string_equal(a->backend, b->backend);
	assert_string_equal(a->backend_why, b->backend_why);
	assert_string_equal(a->profile, b->profile);
	assert_string_equal(a->policy_version, b->policy_version);
	assert_string_equal(a->workspace, b->workspace);
	assert_string_equal(a->cwd, b->cwd);
	assert_string_equal(a->state_dir, b->state_dir);
	assert_int_equal(a->ops_n, b->ops_n);
	for (size_t i = 0; i < a->ops_n; i++) {
		assert_int_equal(a->ops[i].kind, b->ops[i].kind);
		assert_int_equal(a->ops[i].stage, b->ops[i].stage);
		assert_int_equal(a->ops[i].flags, b->ops[i].flags);
		assert_memory_equal(a->ops[i].num, b->ops[i].num, sizeof(a->ops[i].num));
		assert_string_equal(a->ops[i].src, b->ops[i].src);
		assert_string_equal(a->ops[i].dst, b->ops[i].dst);
		assert_string_equal(a->ops[i].key, b->ops[i].key);
	}
	assert_int_equal(a->gaps_n, b->gaps_n);
	for (size_t i = 0; i < a->gaps_n; i++) {
		assert_string_equal(a->gaps[i].what, b->gaps[i].what);
		assert_int_equal(a->gaps[i].approved, b->gaps[i].approved);
	}
	assert_int_equal(a->argv.n, b->argv.n);
	assert_int_equal(a->env.n, b->env.n);
	for (size_t i = 0; i < a->env.n; i++)
		assert_string_equal(a->env.v[i], b->env.v[i]);
}

static void round_trip(void **state)
{
	struct host *h = *state;
	struct immure_plan *again = NULL;
	void *data, *twice;
	size_t n, m;

	host_must(h, "ci", "network.mode=limited", "+network.allow=*.example.com:443",
		  "+network.allow=10.0.0.0/8:80-90", "+network.deny=a.example.com",
		  "+network.publish=8080:80", "network.connections=7", "workspace.mode=cow",
		  "require.downgrade=writable_layer", NULL);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &data, &n, NULL), 0);
	assert_int_equal(immure_plan_unseal(data, n, &again, NULL), 0);
	assert_same_plan(h->plan, again);
	assert_int_equal(immure_plan_seal_bytes(again, &twice, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_memory_equal(data, twice, n);
	/* the plan needs neither policy nor facts any more */
	immure_policy_free(h->policy);
	h->policy = NULL;
	immure_arena_done(&h->facts.arena);
	h->facts.sockets = (struct immure_strv){ 0 };
	assert_same_plan(h->plan, again);
	immure_plan_destroy(again);
	free(data);
	free(twice);
}

static void refused(const void *data, size_t n, const char *why)
{
	struct immure_plan *p = NULL;
	struct immure_error *err = NULL;

	if (immure_plan_unseal(data, n, &p, &err) != -IMMURE_ERR_INVALID)
		fail_msg("unsealed although %s", why);
	assert_null(p);
	assert_non_null(err);
	immure_error_free(err);
}

/* Any single byte changed is found by the digest. */
static void every_byte(void **state)
{
	struct host *h = *state;
	unsigned char *data;
	void *sealed;
	size_t n;

	host_must(h, "dev", "files.protected=false", "files.sensitive=false", NULL);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &sealed, &n, NULL), 0);
	data = sealed;
	for (size_t i = 0; i < n; i++) {
		data[i] ^= 1u << i % 8;
		refused(data, n, "a byte changed");
		data[i] ^= 1u << i % 8;
	}
	for (size_t i = 0; i < n; i += 7)
		refused(data, i, "it was cut");
	free(sealed);
}

static void reseal(unsigned char *data, size_t n)
{
	struct immure_sha256 sha;

	immure_sha256_init(&sha);
	immure_sha256_add(&sha, data, n - 32);
	immure_sha256_done(&sha, data + n - 32);
}

/* With the digest made right again no byte may crash it, and what is accepted
 * must be a plan that its own checks accept when sealed again. */
static void every_byte_resealed(void **state)
{
	static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, '/' };
	struct host *h = *state;
	unsigned char *data;
	void *sealed;
	size_t n;

	host_must(h, "dev", "files.protected=false", "files.sensitive=false", NULL);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &sealed, &n, NULL), 0);
	data = sealed;
	for (size_t i = 0; i < n - 32; i++)
		for (size_t k = 0; k < sizeof(values); k++) {
			unsigned char old = data[i];
			struct immure_plan *p = NULL;

			data[i] = values[k];
			reseal(data, n);
			if (immure_plan_unseal(data, n, &p, NULL) == 0) {
				char *text = immure_plan_text(p), *json = immure_plan_to_json(p);

				assert_non_null(text);
				assert_non_null(json);
				free(text);
				free(json);
			}
			immure_plan_destroy(p);
			data[i] = old;
		}
	free(sealed);
}

/* A change to a finished plan, sealed again by the same code. */
static void refuse_changed(struct host *h, const char *why)
{
	void *data;
	size_t n;

	assert_int_equal(immure_plan_close(h->plan, NULL), 0);
	assert_int_equal(immure_plan_seal_bytes(h->plan, &data, &n, NULL), 0);
	refused(data, n, why);
	free(data);
}

static struct immure_op *op_of(struct host *h, uint32_t kind)
{
	for (size_t i = 0; i < h->plan->ops_n; i++)
		if (h->plan->ops[i].kind == kind)
			return &h->plan->ops[i];
	fail_msg("no %s", immure_op_name(kind));
	return NULL;
}

/* Three operations more at the end of the mounts. */
static void insert(struct host *h, const struct immure_op more[3])
{
	struct immure_plan *p = h->plan;
	struct immure_op *ops = immure_arena_alloc(&p->arena, (p->ops_n + 3) * sizeof(*ops));
	size_t at = 0;

	assert_non_null(ops);
	while (p->ops[at].stage <= IMMURE_STAGE_MOUNT)
		at++;
	memcpy(ops, p->ops, at * sizeof(*ops));
	memcpy(ops + at, more, 3 * sizeof(*ops));
	memcpy(ops + at + 3, p->ops + at, (p->ops_n - at) * sizeof(*ops));
	p->ops = ops;
	p->ops_n += 3;
}

#define LAYER(at) { .kind = IMMURE_OP_LAYER, .stage = IMMURE_STAGE_MOUNT, .src = "/l", .dst = at, .key = "k" }
#define OVERLAY(at, n, size, how, to)                                                              \
	{ .kind = IMMURE_OP_OVERLAY, .stage = IMMURE_STAGE_MOUNT, .flags = how, .num = { n, size }, \
	  .src = to, .dst = at, .key = "k" }

/* Layers stand right before the overlay that they belong to, as many as it says, and there
 * is one answer to where changes go. */
static void overlays(void **state)
{
	static const struct immure_op good[][3] = {
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 4096, IMMURE_OPF_SHARED, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_KEPT, "/k") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, 0, "/k") },
	}, bad[][3] = {
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 3, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 1, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 1000, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/x"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/x", 2, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), OVERLAY("/o", 1, 0, IMMURE_OPF_RO, ""), LAYER("/o") },
		{ OVERLAY("/o", 0, 0, IMMURE_OPF_RO, ""), LAYER("/o"), OVERLAY("/o", 1, 0, IMMURE_OPF_RO, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, 0, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_KEPT, "k") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_SHARED, "/k") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 0, IMMURE_OPF_RO | IMMURE_OPF_KEPT, "") },
		{ LAYER("/o"), LAYER("/o"), OVERLAY("/o", 2, 4096, IMMURE_OPF_RO, "") },
		{ LAYER("/"), LAYER("/"), OVERLAY("/", 2, 0, IMMURE_OPF_RO, "") }, /* there is a root */
	};
	struct host *h = *state;
	char why[32];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct immure_plan *again = NULL;
		void *data;
		size_t n;

		host_must(h, "dev", NULL);
		insert(h, good[i]);
		assert_int_equal(immure_plan_close(h->plan, NULL), 0);
		assert_int_equal(immure_plan_seal_bytes(h->plan, &data, &n, NULL), 0);
		if (immure_plan_unseal(data, n, &again, NULL) != 0)
			fail_msg("good overlay %zu is refused", i);
		assert_same_plan(h->plan, again);
		immure_plan_destroy(again);
		free(data);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		host_must(h, "dev", NULL);
		insert(h, bad[i]);
		(void)snprintf(why, sizeof(why), "overlay %zu is wrong", i);
		refuse_changed(h, why);
	}
}

static void weakened(void **state)
{
	static const uint32_t needed[] = {
		IMMURE_OP_NAMESPACES, IMMURE_OP_IDMAP, IMMURE_OP_ROOT_HOST, IMMURE_OP_PROC,
		IMMURE_OP_DEV, IMMURE_OP_PIVOT, IMMURE_OP_LOOPBACK, IMMURE_OP_CLOSE_FDS,
		IMMURE_OP_DROP_CAPS, IMMURE_OP_NO_NEW_PRIVS, IMMURE_OP_SELF_CHECK,
		IMMURE_OP_SECCOMP, IMMURE_OP_EXEC, IMMURE_OP_LANDLOCK,
	};
	struct host *h = *state;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		struct immure_op *op;

		host_must(h, "dev", NULL);
		op = op_of(h, needed[i]);
		memmove(op, op + 1, (size_t)(h->plan->ops + h->plan->ops_n - op - 1) * sizeof(*op));
		h->plan->ops_n--;
		refuse_changed(h, immure_op_name(needed[i]));
	}
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_MASK)->dst = "etc/shadow";
	refuse_changed(h, "a path is relative");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_BIND)->src = "/a/../b";
	refuse_changed(h, "a path is not normal");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_MASK)->flags = IMMURE_OPF_RO;
	refuse_changed(h, "a flag is unknown");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_NAMESPACES)->num[0] &= ~(uint64_t)CLONE_NEWNET;
	refuse_changed(h, "the network is not its own");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_NAMESPACES)->num[0] &= ~(uint64_t)CLONE_NEWPID;
	refuse_changed(h, "a namespace is missing");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_LANDLOCK)->num[1] = 1;
	refuse_changed(h, "Landlock handles less than it could");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_IDMAP)->num[1] = UINT32_MAX;
	refuse_changed(h, "an id is no id");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_SECCOMP)->src = "none";
	refuse_changed(h, "there is no such filter");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_WATCH)->dst = "../x";
	refuse_changed(h, "a pattern leads out");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_RLIMIT)->src = "luck";
	refuse_changed(h, "there is no such limit");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_PIVOT)->num[2] = 1;
	refuse_changed(h, "a number means nothing");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_SECCOMP)->stage = IMMURE_STAGE_CGROUP;
	refuse_changed(h, "a stage is out of order");
	host_must(h, "dev", NULL);
	h->plan->argv.v[0] = "";
	refuse_changed(h, "there is no command");
	host_must(h, "dev", NULL);
	h->plan->env.v[0] = "noequals";
	refuse_changed(h, "a variable has no value");
	host_must(h, "dev", NULL);
	h->plan->cwd = "";
	refuse_changed(h, "there is no directory");
	host_must(h, "dev", NULL);
	op_of(h, IMMURE_OP_MASK)->key = "";
	refuse_changed(h, "an operation has no cause");
}

static void command(void **state)
{
	struct host *h = *state;
	static const char *const none[] = { NULL };
	static const char *const empty[] = { "", NULL };
	struct immure_command cmd = { .argv = none };
	struct immure_plan *p = NULL;

	host_must(h, "dev", NULL);
	assert_int_equal(immure_plan_make(h->policy, &h->facts, &cmd, NULL, &p, NULL),
			 -IMMURE_ERR_INVALID);
	cmd.argv = empty;
	assert_int_equal(immure_plan_make(h->policy, &h->facts, &cmd, NULL, &p, NULL),
			 -IMMURE_ERR_INVALID);
	assert_int_equal(h->plan->argv.n, 2);
	assert_string_equal(h->plan->argv.v[0], "/bin/prog");
	for (size_t i = 0; i < h->plan->env.n; i++) {
		assert_null(strstr(h->plan->env.v[i], "hunter2"));
		assert_null(strstr(h->plan->env.v[i], "LD_PRELOAD"));
	}
}

static void golden(void **state)
{
	struct host *h = *state;
	const char *dir = getenv("IMMURE_SOURCE_DIR");
	char path[512], *want = NULL, *text;
	size_t n;

	host_has(h, "/etc/resolv.conf", 'f');
	host_has(h, "/etc/hosts", 'f');
	host_must(h, "dev", "limits.memory=1G", "limits.processes=50", "limits.wall_time=10s",
		  "+files.deny=/home/u/ws/later", "network.mode=limited", "files.protected=false",
		  "require.capabilities=audit_log", "+network.allow=pypi.org:443", "+network.allow=192.0.2.0/24:80-90",
		  "+network.deny=*.evil.example", "+network.publish=8080", NULL);
	text = immure_plan_text(h->plan);
	assert_non_null(text);
	assert_null(strstr(text, "xterm")); /* names of variables only */
	if (getenv("IMMURE_WRITE_GOLDEN")) {
		FILE *f = fopen(getenv("IMMURE_WRITE_GOLDEN"), "w");

		assert_non_null(f);
		(void)fputs(text, f);
		(void)fclose(f);
	}
	(void)snprintf(path, sizeof(path), "%s/tests/unit/golden/plan-dev.txt", dir ? dir : ".");
	assert_int_equal(immure_read_file_at(-100, path, 1 << 20, &want, &n), 0);
	/* the hashes change with every built-in table; the rest is fixed */
	assert_string_equal(strstr(text, "backend"), strstr(want, "backend"));
	free(want);
	free(text);
}

/* Bytes that terminals act on, in every string that is printed. */
static void hostile_text(void **state)
{
	struct host *h = *state;
	char *text, *json;

	host_has(h, "/home/u/\x1b[2J\x07", 'd');
	h->facts.cwd = "/home/u/\x1b[2J\x07";
	host_must(h, "dev", NULL);
	text = immure_plan_text(h->plan);
	json = immure_plan_to_json(h->plan);
	assert_null(strchr(text, '\x1b'));
	assert_null(strchr(text, '\x07'));
	assert_null(strchr(json, '\x1b'));
	assert_null(strstr(json, "xterm"));
	free(text);
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_bytes, setup, host_teardown),
		cmocka_unit_test_setup_teardown(order, setup, host_teardown),
		cmocka_unit_test_setup_teardown(round_trip, setup, host_teardown),
		cmocka_unit_test_setup_teardown(every_byte, setup, host_teardown),
		cmocka_unit_test_setup_teardown(every_byte_resealed, setup, host_teardown),
		cmocka_unit_test_setup_teardown(overlays, setup, host_teardown),
		cmocka_unit_test_setup_teardown(weakened, setup, host_teardown),
		cmocka_unit_test_setup_teardown(command, setup, host_teardown),
		cmocka_unit_test_setup_teardown(golden, setup, host_teardown),
		cmocka_unit_test_setup_teardown(hostile_text, setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
