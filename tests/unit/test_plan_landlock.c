/* SPDX-License-Identifier: Apache-2.0 */
/* Plans without namespaces: what the rules grant, told by an oracle that does what
 * the kernel does with them. */
#include "plan_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "kernel/landlock.h"
#include "plan/seal.h"

#define READ IMMURE_LANDLOCK_FS_READ_FILE
#define LIST IMMURE_LANDLOCK_FS_READ_DIR
#define WRITE IMMURE_LANDLOCK_FS_WRITE_FILE
#define MAKE IMMURE_LANDLOCK_FS_MAKE_REG
#define REMOVE IMMURE_LANDLOCK_FS_REMOVE_FILE
#define BARE "backend=landlock", "require.downgrade=process_visibility", \
	     "require.downgrade=file_metadata"

/* A right is granted by any rule at or above the path. */
static bool may(const struct host *h, const char *path, uint64_t right)
{
	for (size_t i = 0; i < h->plan->ops_n; i++) {
		const struct immure_op *op = &h->plan->ops[i];

		if (op->kind == IMMURE_OP_LANDLOCK_RULE && immure_path_is_under(path, op->dst) &&
		    (op->num[0] & right) == right)
			return true;
	}
	return false;
}

static void grants(const struct host *h, const char *path, uint64_t rights)
{
	for (int bit = 0; bit < 16; bit++)
		if ((rights >> bit & 1) && !may(h, path, UINT64_C(1) << bit))
			fail_msg("%s: %#llx is not granted", path, 1ULL << bit);
}

static void withholds(const struct host *h, const char *path, uint64_t rights)
{
	for (int bit = 0; bit < 16; bit++)
		if ((rights >> bit & 1) && may(h, path, UINT64_C(1) << bit))
			fail_msg("%s: %#llx is granted", path, 1ULL << bit);
}

static struct host *fresh(struct host *h)
{
	host_init(h);
	h->facts.landlock_abi = 7;
	host_lists(h, "/", "d:usr", "d:run", "d:sys", "d:tmp", "d:var", "d:opt", "d:home", "d:proc",
		   "d:dev", "l:bin", "d:etc", "f:vmlinuz", NULL);
	host_lists(h, "/home", "d:u", "d:other", NULL);
	host_lists(h, "/var", "d:lib", "d:tmp", NULL);
	return h;
}

static void nothing_denied_needs_little(void **unused)
{
	struct host h;

	(void)unused;
	host_must(fresh(&h), "dev", BARE, NULL);
	assert_string_equal(h.plan->backend, "landlock");
	assert_int_equal(immure_plan_startable(h.plan, NULL), 0);
	grants(&h, "/usr/bin/true", READ | IMMURE_LANDLOCK_FS_EXECUTE);
	grants(&h, "/usr/lib", LIST);
	withholds(&h, "/usr/bin/true", WRITE | MAKE | REMOVE);
	grants(&h, "/home/u/ws/deep/file", READ | WRITE | MAKE | REMOVE | IMMURE_LANDLOCK_FS_REFER);
	withholds(&h, "/home/u/ws/x", IMMURE_LANDLOCK_FS_MAKE_CHAR | IMMURE_LANDLOCK_FS_MAKE_BLOCK);
	/* private areas show nothing of the host; kernel's places nothing but these */
	for (size_t i = 0; i < 4; i++) {
		static const char *const hidden[] = { "/tmp/x", "/run/x", "/var/tmp/x", "/sys/kernel/x" };

		withholds(&h, hidden[i], ~UINT64_C(0));
	}
	grants(&h, "/proc/self/status", READ);
	withholds(&h, "/proc/self/comm", WRITE);
	grants(&h, "/dev/null", READ | WRITE);
	withholds(&h, "/dev/sda", ~UINT64_C(0));
	grants(&h, "/run/user/1000/immure/tmp/session/tmp/x", READ | WRITE | MAKE);
	assert_int_equal(host_count(&h, IMMURE_OP_NAMESPACES), 0);
	assert_int_equal(host_count(&h, IMMURE_OP_NET_CLOSED), 1);
	host_done(&h);
}

static void complement_of_a_directory(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/home/u/.ssh", 'd');
	host_lists(&h, "/home/u", "d:.ssh", "d:ws", "f:notes", "d:src", "l:link", NULL);
	host_must(&h, "dev", BARE, NULL);
	withholds(&h, "/home/u/.ssh", ~UINT64_C(0));
	withholds(&h, "/home/u/.ssh/id", ~UINT64_C(0));
	grants(&h, "/home/u/notes", READ);
	grants(&h, "/home/u/src/a", READ | LIST);
	grants(&h, "/home/other/a", READ);
	withholds(&h, "/home/u", LIST); /* it would list .ssh as well */
	withholds(&h, "/home/u/new", READ); /* came later */
	assert_null(host_at(&h, "/home/u/link", IMMURE_OP_LANDLOCK_RULE));
	assert_non_null(host_at(&h, "/home/u/.ssh", IMMURE_OP_WITHHELD));
	host_done(&h);
}

static void a_masked_file_leaves_the_list(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/opt/data", 'd');
	(void)host_has(&h, "/opt/data/key", 'f');
	host_lists(&h, "/opt", "d:data", "d:b", NULL);
	host_lists(&h, "/opt/data", "f:key", "f:open", NULL);
	host_must(&h, "dev", BARE, "+files.deny=/opt/data/key", NULL);
	withholds(&h, "/opt/data/key", READ | WRITE);
	grants(&h, "/opt/data/open", READ);
	grants(&h, "/opt/data", LIST);
	grants(&h, "/opt/b/x", READ);
	host_done(&h);
}

static void allowed_inside_denied(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/opt/data", 'd');
	(void)host_has(&h, "/opt/data/sub", 'd');
	(void)host_has(&h, "/opt/data/sub/no", 'd');
	host_lists(&h, "/opt", "d:data", NULL);
	host_lists(&h, "/opt/data/sub", "d:no", "d:yes", NULL);
	host_must(&h, "dev", BARE, "+files.deny=/opt/data", "+files.deny=/opt/data/sub/no",
		  "+files.read=/opt/data/sub", NULL);
	withholds(&h, "/opt/data/x", ~UINT64_C(0));
	grants(&h, "/opt/data/sub/yes/f", READ);
	withholds(&h, "/opt/data/sub/no/f", ~UINT64_C(0));
	host_done(&h);
}

/* What is protected can be read and not changed, nor its surroundings around it. */
static void protected_in_a_workspace(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/home/u/ws/.git", 'd');
	(void)host_has(&h, "/home/u/ws/.git/config", 'f');
	host_lists(&h, "/home/u/ws", "d:.git", "d:src", "f:README", NULL);
	host_lists(&h, "/home/u/ws/.git", "f:config", "f:HEAD", "d:objects", NULL);
	host_must(&h, "dev", BARE, NULL);
	assert_non_null(host_gap(&h, "file_create"));
	assert_int_not_equal(immure_plan_startable(h.plan, NULL), 0);
	host_must(&h, "dev", BARE, "require.downgrade=file_create", NULL);
	assert_int_equal(immure_plan_startable(h.plan, NULL), 0);
	grants(&h, "/home/u/ws/.git/config", READ);
	withholds(&h, "/home/u/ws/.git/config", WRITE | REMOVE | IMMURE_LANDLOCK_FS_TRUNCATE);
	withholds(&h, "/home/u/ws/.git", MAKE | REMOVE | IMMURE_LANDLOCK_FS_REMOVE_DIR);
	withholds(&h, "/home/u/ws", MAKE | REMOVE | IMMURE_LANDLOCK_FS_REMOVE_DIR);
	grants(&h, "/home/u/ws/.git/HEAD", WRITE);
	grants(&h, "/home/u/ws/.git/objects/aa", WRITE | MAKE);
	grants(&h, "/home/u/ws/src/x", WRITE | MAKE | REMOVE);
	grants(&h, "/home/u/ws", LIST | READ);
	assert_non_null(host_at(&h, "/home/u/ws/.git/config", IMMURE_OP_WITHHELD));
	host_done(&h);
}

static void too_much_is_refused(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/opt/data", 'd');
	(void)host_has(&h, "/opt/data/key", 'd');
	host_lists(&h, "/opt", "d:data", NULL);
	host_lists(&h, "/opt/data", "d:key", NULL);
	h.lists[h.lists_n - 1].truncated = true;
	host_refuses(&h, IMMURE_ERR_POLICY, "too many entries", "dev", BARE, "+files.deny=/opt/data/key",
		     NULL);
	/* What cannot be listed grants nothing: less, never more. */
	h.lists[h.lists_n - 1].truncated = false;
	h.lists[h.lists_n - 1].n = 0;
	h.lists[h.lists_n - 1].errnum = 13;
	host_must(&h, "dev", BARE, "+files.deny=/opt/data/key", NULL);
	withholds(&h, "/opt/data/other", ~UINT64_C(0));
	host_done(&h);
}

static void many_rules_are_refused(void **unused)
{
	static struct immure_fact_entry many[3000];
	static char names[3000][8];
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/opt/data", 'd');
	(void)host_has(&h, "/opt/data/key", 'd');
	host_lists(&h, "/opt", "d:data", NULL);
	host_lists(&h, "/opt/data", NULL);
	for (size_t i = 0; i < 3000; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "f%zu", i);
		many[i] = (struct immure_fact_entry){ names[i], 'f' };
	}
	h.lists[h.lists_n - 1].entries = many;
	h.lists[h.lists_n - 1].n = 3000;
	host_refuses(&h, IMMURE_ERR_POLICY, "rules are needed", "dev", BARE, "+files.deny=/opt/data/key",
		     NULL);
	host_done(&h);
}

/* Each version has what it has, and what it lacks is a gap. */
static void versions(void **unused)
{
	(void)unused;
	for (int abi = 0; abi <= 9; abi++) {
		struct host h;
		const struct immure_op *op;
		int known = abi > IMMURE_LANDLOCK_ABI_MAX ? IMMURE_LANDLOCK_ABI_MAX : abi;

		fresh(&h);
		h.facts.landlock_abi = abi;
		host_must(&h, "dev", BARE, NULL);
		if (abi == 0) {
			assert_non_null(host_gap(&h, "landlock"));
			assert_false(host_gap(&h, "landlock")->approved);
			assert_int_not_equal(immure_plan_startable(h.plan, NULL), 0);
			host_done(&h);
			continue;
		}
		op = immure_plan_find(h.plan, IMMURE_OP_LANDLOCK);
		assert_int_equal(op->num[0], known);
		assert_int_equal(op->num[1], immure_landlock_fs_rights(known));
		assert_int_equal(op->num[2], immure_landlock_scopes(known));
		assert_int_equal(op->num[3], immure_landlock_net_rights(known));
		for (size_t i = 0; i < h.plan->ops_n; i++)
			if (h.plan->ops[i].kind == IMMURE_OP_LANDLOCK_RULE)
				assert_int_equal(h.plan->ops[i].num[0] & ~op->num[1], 0);
		assert_int_equal(immure_plan_find(h.plan, IMMURE_OP_SECCOMP)->num[1],
				 abi < 3 ? IMMURE_BENEATH_FILES_OLD : IMMURE_BENEATH_FILES);
		assert_int_equal(!!host_gap(&h, "signals"), abi < 6);
		assert_int_equal(immure_plan_startable(h.plan, NULL) == 0, abi >= 6);
		host_done(&h);
	}
}

/* What a file's mode denies already needs no rule; what one's own mode denies does. */
static void closed_by_mode(void **unused)
{
	struct host h;

	(void)unused;
	fresh(&h);
	(void)host_has(&h, "/opt/data", 'd');
	host_has(&h, "/opt/data/key", 'f')->closed = true;
	host_lists(&h, "/opt/data", "f:key", "f:open", NULL);
	host_must(&h, "dev", BARE, "+files.deny=/opt/data/key", NULL);
	assert_null(host_at(&h, "/opt/data/key", IMMURE_OP_WITHHELD));
	assert_null(host_at(&h, "/opt/data/open", IMMURE_OP_LANDLOCK_RULE));
	grants(&h, "/opt/data/new", READ);
	host_done(&h);
}

/* Each loss has a name, and nothing else is a loss. */
static void gaps_by_name(void **unused)
{
	struct host h;

	(void)unused;
	host_must(fresh(&h), "dev", "backend=landlock", NULL);
	assert_int_equal(h.plan->gaps_n, 2);
	assert_non_null(host_gap(&h, "process_visibility"));
	assert_non_null(host_gap(&h, "file_metadata"));
	h.facts.seccomp_notify = IMMURE_NO;
	host_must(&h, "dev", BARE, "limits.disk=1G", "identity=root", "id_range=subid",
		  "network.mode=limited", NULL);
	assert_non_null(host_gap(&h, "resources"));
	assert_non_null(host_gap(&h, "privileges"));
	assert_non_null(host_gap(&h, "egress_allowlist"));
	host_done(&h);
}

static void network_of_the_host(void **unused)
{
	struct host h;
	const struct immure_op *op;

	(void)unused;
	host_must(fresh(&h), "dev", BARE, "network.mode=host", NULL);
	op = immure_plan_find(h.plan, IMMURE_OP_SECCOMP);
	assert_int_equal(op->num[0], 1 << 2 | 1 << 10 | 1 << 16); /* never unix sockets */
	assert_int_equal(immure_plan_find(h.plan, IMMURE_OP_LANDLOCK)->num[3], 0);
	assert_int_equal(host_count(&h, IMMURE_OP_NET_HOST), 1);
	host_done(&h);
}

/* By a filter that asks, and with Landlock against whatever would not. */
static void network_of_names(void **unused)
{
	struct host h;
	const struct immure_op *op;

	(void)unused;
	for (int abi = 2; abi < 8; abi++) {
		fresh(&h);
		h.facts.landlock_abi = abi;
		host_must(&h, "dev", BARE, "require.downgrade=process_visibility,file_metadata,signals",
			  "network.mode=limited", "+network.allow=a.example:443", "+network.allow=192.0.2.1:80", NULL);
		assert_null(host_gap(&h, "egress_allowlist"));
		op = immure_plan_find(h.plan, IMMURE_OP_SECCOMP);
		assert_int_equal(op->num[0], 1 << 2 | 1 << 10);
		assert_int_equal(op->num[1], abi < 3 ? IMMURE_BENEATH_NAMES_OLD : IMMURE_BENEATH_NAMES);
		assert_int_equal(immure_plan_find(h.plan, IMMURE_OP_LANDLOCK)->num[3],
				 immure_landlock_net_rights(abi));
		assert_int_equal(host_count(&h, IMMURE_OP_EGRESS), 1);
		assert_int_equal(host_count(&h, IMMURE_OP_EGRESS_ALLOW), 2);
		assert_int_equal(host_count(&h, IMMURE_OP_NET_CLOSED), 0);
		assert_null(immure_plan_check_whole(h.plan));
		host_done(&h);
	}
	fresh(&h);
	host_must(&h, "dev", BARE, "network.mode=limited", "network.publish=8000:80", NULL);
	assert_null(host_gap(&h, "network_ingress"));
	assert_int_equal(host_count(&h, IMMURE_OP_PUBLISH), 1);
	assert_null(immure_plan_check_whole(h.plan));
	host_done(&h);
	fresh(&h);
	host_must(&h, "dev", BARE, "network.mode=none", "network.publish=8000:80", NULL);
	assert_non_null(host_gap(&h, "network_ingress"));
	assert_int_equal(host_count(&h, IMMURE_OP_PUBLISH), 0);
	host_done(&h);
}

/* A plan whose filter does not ask is none for names, and the other way round. */
static void filters_fit_their_network(void **unused)
{
	struct host h;
	struct immure_op *op;

	(void)unused;
	host_must(fresh(&h), "dev", BARE, "network.mode=limited", NULL);
	for (size_t i = 0; i < h.plan->ops_n; i++)
		if (h.plan->ops[i].kind == IMMURE_OP_SECCOMP) {
			op = &h.plan->ops[i];
			op->num[1] = IMMURE_BENEATH_BARE;
			assert_non_null(immure_plan_check_whole(h.plan));
		}
	host_must(&h, "dev", BARE, NULL);
	for (size_t i = 0; i < h.plan->ops_n; i++)
		if (h.plan->ops[i].kind == IMMURE_OP_SECCOMP)
			h.plan->ops[i].num[1] = IMMURE_BENEATH_NAMES;
	assert_non_null(immure_plan_check_whole(h.plan));
	/* Nor is there anybody who would publish a port. */
	host_must(&h, "dev", BARE, "network.mode=limited", "network.publish=8000:80", NULL);
	for (size_t i = 0; i < h.plan->ops_n; i++) {
		op = &h.plan->ops[i];
		if (op->kind == IMMURE_OP_EGRESS)
			op->kind = IMMURE_OP_NET_CLOSED;
		if (op->kind == IMMURE_OP_SECCOMP)
			op->num[0] = 0, op->num[1] = IMMURE_BENEATH_BARE;
	}
	assert_string_equal(immure_plan_check_whole(h.plan), "not one network");
	host_done(&h);
}

static const char *env(const struct host *h, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < h->plan->env.n; i++)
		if (strncmp(h->plan->env.v[i], name, n) == 0 && h->plan->env.v[i][n] == '=')
			return h->plan->env.v[i] + n + 1;
	return "";
}

static void places_of_its_own(void **unused)
{
	struct host h;

	(void)unused;
	host_must(fresh(&h), "strict", BARE, NULL);
	assert_string_equal(env(&h, "TMPDIR"), "/run/user/1000/immure/tmp/session/tmp");
	assert_string_equal(env(&h, "HOME"), "/run/user/1000/immure/tmp/session/home");
	withholds(&h, "/home/u/x", ~UINT64_C(0));
	host_must(&h, "dev", BARE, NULL);
	assert_string_equal(env(&h, "HOME"), "/home/u");
	host_done(&h);
}

/* A plan that lost what it rests on is no plan. */
static void sealed(void **unused)
{
	struct host h;
	struct immure_plan *back = NULL;
	void *bytes;
	size_t len;

	(void)unused;
	host_must(fresh(&h), "dev", BARE, NULL);
	assert_int_equal(immure_plan_seal_bytes(h.plan, &bytes, &len, NULL), 0);
	assert_int_equal(immure_plan_unseal(bytes, len, &back, NULL), 0);
	assert_true(immure_plan_is_bare(back));
	assert_string_equal(immure_plan_hash_of(back), immure_plan_hash_of(h.plan));
	immure_plan_destroy(back);
	free(bytes);
	host_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_denied_needs_little),
		cmocka_unit_test(complement_of_a_directory),
		cmocka_unit_test(a_masked_file_leaves_the_list),
		cmocka_unit_test(allowed_inside_denied),
		cmocka_unit_test(protected_in_a_workspace),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(many_rules_are_refused),
		cmocka_unit_test(closed_by_mode),
		cmocka_unit_test(versions),
		cmocka_unit_test(gaps_by_name),
		cmocka_unit_test(network_of_the_host),
		cmocka_unit_test(network_of_names),
		cmocka_unit_test(filters_fit_their_network),
		cmocka_unit_test(places_of_its_own),
		cmocka_unit_test(sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
