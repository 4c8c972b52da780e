/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox that is made after a template has for itself, told from the plan alone. */
#include <stdio.h>
#include <string.h>

#include "init/fresh.h"
#include "plan_host.h"

static bool is_at(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* The kind of the last operation on dst; it must be there. */
static enum immure_fresh_kind kind_at(const struct host *h, const char *dst, uint32_t kind)
{
	for (uint32_t i = (uint32_t)h->plan->ops_n; i-- > 0;)
		if (h->plan->ops[i].stage == IMMURE_STAGE_MOUNT && h->plan->ops[i].kind == kind &&
		    strcmp(h->plan->ops[i].dst, dst) == 0)
			return immure_fresh_kind_of(h->plan, i);
	fail_msg("nothing of kind %s at %s", immure_op_name(kind), dst);
	return IMMURE_FRESH_SHARED;
}

/* Whatever the policy: what can be written to is made anew unless it is the host's by
 * the policy's word, what shows namespaces is of one's own, and all that lies in such a
 * place comes again. */
static void nothing_writable_is_shared(void **state)
{
	static const char *const profiles[] = { "dev", "strict", "readonly", "ci" };
	struct host *h = *state;

	host_has(h, "/scratch", 'd');
	for (size_t n = 0; n < sizeof(profiles) / sizeof(profiles[0]); n++) {
		host_must(h, profiles[n], "+files.tmp=/scratch", NULL);
		for (uint32_t i = 0; i < h->plan->ops_n; i++) {
			const struct immure_op *op = &h->plan->ops[i];
			enum immure_fresh_kind kind = immure_fresh_kind_of(h->plan, i);

			if (op->stage != IMMURE_STAGE_MOUNT) {
				assert_int_equal(kind, IMMURE_FRESH_SHARED);
				continue;
			}
			if (op->kind == IMMURE_OP_PROC || op->kind == IMMURE_OP_SYSFS ||
			    op->kind == IMMURE_OP_DEV ||
			    (op->kind == IMMURE_OP_TMPFS && !(op->flags & IMMURE_OPF_RO)))
				assert_int_equal(kind, IMMURE_FRESH_NEW);
			else if (is_at(op->dst, "/proc") || (is_at(op->dst, "/sys") && op->dst[4]))
				assert_int_equal(kind, op->kind == IMMURE_OP_BIND ? IMMURE_FRESH_CLONE :
										     IMMURE_FRESH_AGAIN);
		}
	}
}

/* What only is copied has a plain /proc and /sys, and all that copies cannot make again. */
static void a_view_to_copy(void **state)
{
	static const char *const profiles[] = { "dev", "strict", "readonly", "ci" };
	struct host *h = *state;
	size_t left_out = 0;

	for (size_t n = 0; n < sizeof(profiles) / sizeof(profiles[0]); n++) {
		host_must(h, profiles[n], NULL);
		assert_true(immure_fresh_fits(h->plan));
		for (uint32_t i = 0; i < h->plan->ops_n; i++) {
			const struct immure_op *op = &h->plan->ops[i];
			bool inside = (is_at(op->dst, "/proc") && op->dst[5]) || (is_at(op->dst, "/sys") && op->dst[4]);

			if (op->stage != IMMURE_STAGE_MOUNT)
				continue;
			assert_int_equal(immure_fresh_needs(h->plan, i), !inside || op->kind == IMMURE_OP_BIND);
			left_out += inside;
		}
	}
	assert_true(left_out > 0);
}

/* What would be shared within what is only made again has no place to be in a copy. */
static void what_cannot_be_copied(void **state)
{
	struct host *h = *state;
	struct immure_op *ops;
	char inside[64] = "";

	host_must(h, "dev", NULL);
	ops = h->plan->ops;
	for (size_t i = 0; i + 1 < h->plan->ops_n && !inside[0]; i++)
		if (ops[i].stage == IMMURE_STAGE_MOUNT && ops[i + 1].stage == IMMURE_STAGE_MOUNT &&
		    ops[i].kind == IMMURE_OP_READONLY && is_at(ops[i].dst, "/proc")) {
			(void)snprintf(inside, sizeof(inside), "%s/x", ops[i].dst);
			ops[i + 1].kind = IMMURE_OP_MASK;
			ops[i + 1].dst = inside;
		}
	assert_true(inside[0]);
	assert_false(immure_fresh_fits(h->plan));
}

/* A workspace in a private directory goes along with all that is in it; a private
 * directory in the workspace is made anew. */
static void places_within_places(void **state)
{
	struct host *h = *state;

	host_has(h, "/home/u/ws/sub", 'd');
	host_has(h, "/home/u/ws/sub/key", 'f');
	host_has(h, "/home/u/ws/keep", 'f');
	host_must(h, "strict", "files.home=empty", "+files.deny=/home/u/ws/sub/key",
		  "+files.protect=/home/u/ws/keep", NULL);
	assert_int_equal(kind_at(h, "/home/u", IMMURE_OP_TMPFS), IMMURE_FRESH_NEW);
	assert_int_equal(kind_at(h, "/home/u/ws", IMMURE_OP_BIND), IMMURE_FRESH_CLONE);
	assert_int_equal(kind_at(h, "/home/u/ws/sub/key", IMMURE_OP_MASK), IMMURE_FRESH_SHARED);
	assert_int_equal(kind_at(h, "/home/u/ws/keep", IMMURE_OP_READONLY), IMMURE_FRESH_SHARED);

	host_must(h, "dev", "+files.tmp=/home/u/ws/sub", "+files.deny=/home/u/ws/keep", NULL);
	assert_int_equal(kind_at(h, "/home/u/ws", IMMURE_OP_BIND), IMMURE_FRESH_SHARED);
	assert_int_equal(kind_at(h, "/home/u/ws/sub", IMMURE_OP_TMPFS), IMMURE_FRESH_NEW);
	assert_int_equal(kind_at(h, "/home/u/ws/keep", IMMURE_OP_MASK), IMMURE_FRESH_SHARED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_writable_is_shared, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(a_view_to_copy, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_copied, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(places_within_places, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
