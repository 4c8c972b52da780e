/* SPDX-License-Identifier: Apache-2.0 */
/* States and permits are tables: what must hold of them as a whole. And the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "session/ring.h"
#include "session/states.h"

static void tables_are_whole(void **state)
{
	(void)state;
	for (int r = 0; r < IMMURE_REQ_MAX; r++) {
		assert_true(immure_request_name(r)[0] >= 'a');
		assert_int_equal(immure_request_by_name(immure_request_name(r)), r);
	}
	assert_int_equal(immure_request_by_name("nosuch"), IMMURE_REQ_MAX);
	for (int s = 0; s < IMMURE_STATE_MAX; s++)
		assert_true(immure_state_name(s)[0] >= 'A');
	assert_string_equal(immure_state_name(IMMURE_STATE_MAX), "?");
	assert_int_equal(immure_permit(IMMURE_REQ_MAX, IMMURE_STATE_RUNNING), IMMURE_PERMIT_NO);
	assert_int_equal(immure_permit(IMMURE_REQ_EXEC, IMMURE_STATE_MAX), IMMURE_PERMIT_NO);
}

static void transitions(void **state)
{
	(void)state;
	/* From everywhere there is a way to the end, and from the end none back. */
	for (int s = 0; s < IMMURE_STATE_SEALED; s++)
		assert_true(s == IMMURE_STATE_EXITED || immure_state_may_become(s, IMMURE_STATE_EXITED));
	assert_true(immure_state_may_become(IMMURE_STATE_EXITED, IMMURE_STATE_SEALED));
	for (int to = 0; to < IMMURE_STATE_MAX; to++) {
		assert_false(immure_state_may_become(IMMURE_STATE_SEALED, to));
		assert_false(immure_state_may_become(to, IMMURE_STATE_NEW));
		assert_false(immure_state_may_become(to, to));
		if (to != IMMURE_STATE_SEALED)
			assert_false(immure_state_may_become(IMMURE_STATE_EXITED, to));
	}
	assert_false(immure_state_may_become(IMMURE_STATE_STOPPING, IMMURE_STATE_RUNNING));
}

static void permits(void **state)
{
	(void)state;
	/* Nothing is started where nothing may run. */
	for (int s = 0; s < IMMURE_STATE_MAX; s++) {
		assert_int_equal(immure_permit(IMMURE_REQ_EXEC, s) == IMMURE_PERMIT_YES, s == IMMURE_STATE_RUNNING);
		assert_int_equal(immure_permit(IMMURE_REQ_CREATE, s) == IMMURE_PERMIT_YES, s == IMMURE_STATE_NEW);
		/* Ending can be asked for at any time, and twice. */
		assert_int_not_equal(immure_permit(IMMURE_REQ_STOP, s), IMMURE_PERMIT_NO);
		assert_int_equal(immure_permit(IMMURE_REQ_HELLO, s), IMMURE_PERMIT_YES);
	}
	assert_int_equal(immure_permit(IMMURE_REQ_FREEZE, IMMURE_STATE_FROZEN), IMMURE_PERMIT_DONE);
	assert_int_equal(immure_permit(IMMURE_REQ_THAW, IMMURE_STATE_RUNNING), IMMURE_PERMIT_DONE);
	for (int r = 0; r < IMMURE_REQ_MAX; r++)
		if (r != IMMURE_REQ_HELLO && r != IMMURE_REQ_INSPECT)
			assert_int_not_equal(immure_permit(r, IMMURE_STATE_SEALED), IMMURE_PERMIT_YES);
}

static unsigned char byte_at(uint64_t n)
{
	return (unsigned char)(n * 2654435761U >> 11);
}

static void check(const struct immure_ring *r)
{
	for (uint64_t at = r->from; at < r->to;) {
		const char *p = NULL;
		size_t n = immure_ring_peek(r, at, SIZE_MAX, &p);

		assert_true(n > 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal((unsigned char)p[i], byte_at(at + i));
		at += n;
	}
}

static void put(struct immure_ring *r, size_t n)
{
	unsigned char *data = malloc(n + 1);

	assert_non_null(data);
	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(r->to + i);
	assert_int_equal(immure_ring_put(r, data, n), 0);
	free(data);
}

static void ring(void **state)
{
	struct immure_ring r;
	uint64_t seed = 1;

	(void)state;
	immure_ring_init(&r, 65536);
	for (int i = 0; i < 2000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		put(&r, (size_t)(seed >> 33) % 5000);
		assert_true(r.to - r.from <= 65536 && r.cap <= 65536);
		if (i % 50 == 0)
			check(&r);
	}
	assert_int_equal(r.to - r.from, 65536);
	put(&r, 200000); /* more than it holds */
	check(&r);
	assert_int_equal(r.to - r.from, 65536);
	immure_ring_trim(&r, 512);
	assert_int_equal(r.to - r.from, 512);
	assert_true(r.cap <= 4096);
	check(&r);
	put(&r, 10000);
	assert_true(r.cap <= 4096);
	check(&r);
	immure_ring_trim(&r, 0);
	assert_int_equal(r.from, r.to);
	assert_int_equal(r.cap, 0);
	immure_ring_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_whole), cmocka_unit_test(transitions), cmocka_unit_test(permits),
		cmocka_unit_test(ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
