/* SPDX-License-Identifier: Apache-2.0 */
/* For which plans the view that was begun ahead of them is the one that they say. */
#include <string.h>

#include "backend/ahead_view.h"
#include "plan/identity.h"
#include "plan_host.h"

static struct immure_op *op_of(struct host *h, enum immure_op_kind kind)
{
	struct immure_op *op = (struct immure_op *)(uintptr_t)immure_plan_find(h->plan, kind);

	assert_non_null(op);
	return op;
}

static bool fits(const struct host *h, enum immure_identity who)
{
	struct immure_ahead_view v;
	uint64_t ids[4];

	immure_plan_ids(who, h->facts.uid, h->facts.gid, ids);
	immure_ahead_view_init(&v, ids);
	return immure_ahead_view_fits(&v, h->plan);
}

/* What is told from the policy alone is what the plan says of it. */
static void ids_are_the_plans(void **state)
{
	static const struct {
		const char *setting;
		enum immure_identity who;
	} all[] = { { "identity=caller", IMMURE_IDENTITY_CALLER },
		    { "identity=root", IMMURE_IDENTITY_ROOT },
		    { "identity=nobody", IMMURE_IDENTITY_NOBODY } };
	struct host *h = *state;

	for (uint32_t uid = 0; uid <= 1000; uid += 1000) {
		h->facts.uid = h->facts.gid = uid;
		for (size_t i = 0; i < 3; i++) {
			host_must(h, "strict", all[i].setting, NULL);
			for (size_t k = 0; k < 3; k++)
				assert_int_equal(fits(h, all[k].who),
						 i == k || (uid == 0 && i < 2 && k < 2)); /* root is root */
		}
	}
}

static void another_root_is_not_it(void **state)
{
	struct host *h = *state;

	host_must(h, "dev", NULL);
	assert_false(fits(h, IMMURE_IDENTITY_CALLER));
	host_must(h, "strict", NULL);
	assert_true(fits(h, IMMURE_IDENTITY_CALLER));
	op_of(h, IMMURE_OP_DEV)->dst = "/other";
	assert_false(fits(h, IMMURE_IDENTITY_CALLER));
}

/* Its size is settled before it is known what comes into it. */
static void nor_is_a_larger_one(void **state)
{
	static char large[10000];
	struct host *h = *state;

	memset(large, 'x', sizeof(large) - 1);
	host_must(h, "strict", NULL);
	op_of(h, IMMURE_OP_FILE)->src = large;
	assert_true(immure_plan_texts(h->plan) >= sizeof(large) - 1);
	assert_false(fits(h, IMMURE_IDENTITY_CALLER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ids_are_the_plans, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(another_root_is_not_it, host_setup, host_teardown),
		cmocka_unit_test_setup_teardown(nor_is_a_larger_one, host_setup, host_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
