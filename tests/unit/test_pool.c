/* SPDX-License-Identifier: Apache-2.0 */
/* The accounts of a pool: states, how many to make, who waits in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session/pool.h"

static uint32_t sum(const struct immure_pool_book *b)
{
	uint32_t n = 0;

	for (int i = 0; i < IMMURE_SLOT_MAX; i++)
		n += b->count[i];
	return n;
}

static void go(struct immure_pool_book *b, enum immure_slot_state *s, enum immure_slot_state to)
{
	assert_true(immure_pool_move(b, s, to));
	assert_int_equal(*s, to);
	assert_int_equal(sum(b), b->max);
}

static void test_states(void **state)
{
	/* By rows: from; by columns: free making checking idle used ending. */
	static const char may[IMMURE_SLOT_MAX][IMMURE_SLOT_MAX + 1] = {
		".x....", "...x.x", "...x.x", "..x.xx", ".x...x", "x.....",
	};

	(void)state;
	for (enum immure_slot_state from = 0; from < IMMURE_SLOT_MAX; from++)
		for (enum immure_slot_state to = 0; to < IMMURE_SLOT_MAX; to++) {
			struct immure_pool_book b;
			enum immure_slot_state s = from;
			bool moved;

			immure_pool_book_init(&b, 1, 3);
			b.count[IMMURE_SLOT_FREE]--;
			b.count[from]++;
			moved = immure_pool_move(&b, &s, to);
			assert_int_equal(moved, may[from][to] == 'x');
			assert_int_equal(s, moved ? to : from);
			assert_int_equal(sum(&b), 3);
		}
}

static void test_a_used_one_does_not_wait_at_once(void **state)
{
	enum immure_slot_state s = IMMURE_SLOT_FREE;
	struct immure_pool_book b;

	(void)state;
	immure_pool_book_init(&b, 1, 1);
	go(&b, &s, IMMURE_SLOT_MAKING);
	go(&b, &s, IMMURE_SLOT_IDLE);
	go(&b, &s, IMMURE_SLOT_USED);
	assert_int_equal(immure_pool_alive(&b), 1);
	assert_false(immure_pool_move(&b, &s, IMMURE_SLOT_IDLE));
	assert_false(immure_pool_move(&b, &s, IMMURE_SLOT_FREE));
	go(&b, &s, IMMURE_SLOT_ENDING);
	assert_int_equal(immure_pool_alive(&b), 1); /* its processes may still be there */
	go(&b, &s, IMMURE_SLOT_FREE);
	assert_int_equal(immure_pool_alive(&b), 0);
}

static void test_how_many_to_make(void **state)
{
	enum immure_slot_state s[8] = { 0 };
	struct immure_pool_book b;

	(void)state;
	immure_pool_book_init(&b, 3, 8);
	assert_int_equal(immure_pool_to_make(&b, 0), 3);
	assert_int_equal(immure_pool_to_make(&b, 1), 4);
	assert_int_equal(immure_pool_to_make(&b, 100), IMMURE_POOL_PARALLEL); /* not all at once */
	for (int i = 0; i < 3; i++)
		go(&b, &s[i], IMMURE_SLOT_MAKING);
	assert_int_equal(immure_pool_to_make(&b, 0), 0);
	assert_int_equal(immure_pool_to_make(&b, 5), IMMURE_POOL_PARALLEL - 3);
	for (int i = 0; i < 3; i++)
		go(&b, &s[i], IMMURE_SLOT_IDLE);
	assert_int_equal(immure_pool_to_make(&b, 0), 0);
	go(&b, &s[0], IMMURE_SLOT_USED);
	assert_int_equal(immure_pool_to_make(&b, 0), 1); /* refilled */
	go(&b, &s[1], IMMURE_SLOT_CHECKING);
	assert_int_equal(immure_pool_to_make(&b, 0), 1); /* it is still one that waits */
}

static void test_never_above_max(void **state)
{
	enum immure_slot_state s[4] = { 0 };
	struct immure_pool_book b;

	(void)state;
	immure_pool_book_init(&b, 2, 4);
	for (int i = 0; i < 4; i++) {
		assert_true(immure_pool_to_make(&b, 4) > 0);
		go(&b, &s[i], IMMURE_SLOT_MAKING);
		go(&b, &s[i], IMMURE_SLOT_IDLE);
		go(&b, &s[i], IMMURE_SLOT_USED);
	}
	assert_int_equal(immure_pool_to_make(&b, 4), 0);
	assert_int_equal(immure_pool_in_vain(&b, 4), 4);
	go(&b, &s[0], IMMURE_SLOT_ENDING);
	assert_int_equal(immure_pool_to_make(&b, 4), 0); /* it is not gone yet */
	assert_int_equal(immure_pool_in_vain(&b, 4), 3);
	go(&b, &s[0], IMMURE_SLOT_FREE);
	assert_int_equal(immure_pool_to_make(&b, 4), 1);
}

static void test_surplus_is_above_the_target(void **state)
{
	enum immure_slot_state s[4] = { 0 };
	struct immure_pool_book b;

	(void)state;
	immure_pool_book_init(&b, 1, 4);
	b.target = 3;
	for (int i = 0; i < 4; i++) {
		go(&b, &s[i], IMMURE_SLOT_MAKING);
		go(&b, &s[i], IMMURE_SLOT_IDLE);
	}
	assert_int_equal(immure_pool_surplus(&b), 1);
	b.target = b.size;
	assert_int_equal(immure_pool_surplus(&b), 3);
	go(&b, &s[0], IMMURE_SLOT_CHECKING);
	assert_int_equal(immure_pool_surplus(&b), 3);
}

static void test_latency(void **state)
{
	static const struct {
		uint64_t us;
		int bucket;
	} cases[] = { { 0, 0 }, { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 1000, 10 },
		      { UINT64_MAX, IMMURE_POOL_BUCKETS - 1 } };
	struct immure_pool_book b;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		immure_pool_book_init(&b, 1, 1);
		immure_pool_latency(&b, cases[i].us);
		assert_int_equal(b.latency[cases[i].bucket], 1);
	}
}

static void test_as_json(void **state)
{
	struct immure_buf out = IMMURE_BUF_INIT;
	struct immure_pool_book b;
	struct immure_jsonw w;

	(void)state;
	immure_pool_book_init(&b, 2, 5);
	b.hits = 7;
	immure_pool_latency(&b, 20);
	immure_jsonw_init(&w, &out, 0);
	immure_jsonw_object(&w, NULL);
	immure_pool_book_json(&b, &w);
	immure_jsonw_end(&w, '}');
	immure_buf_putc(&out, '\0');
	assert_string_equal(out.data,
			    "{\"size\":2,\"max\":5,\"warm\":0,\"idle\":0,\"in_use\":0,\"making\":0,\"ending\":0,"
			    "\"hits\":7,\"misses\":0,\"evictions\":0,\"created\":0,\"failed\":0,"
			    "\"acquire_us\":[{\"up_to\":32,\"count\":1}]}");
	immure_buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_a_used_one_does_not_wait_at_once),
		cmocka_unit_test(test_how_many_to_make),
		cmocka_unit_test(test_never_above_max),
		cmocka_unit_test(test_surplus_is_above_the_target),
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
