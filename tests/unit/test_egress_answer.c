/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "egress/answer.h"

static void questions(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		bool six;
		enum immure_answer_outcome outcome;
		int rcode, answers;
	} t[] = {
		{ "a.example", IMMURE_DNS_A, false, IMMURE_ANSWER_GIVEN, 0, 1 },
		{ "a.example", IMMURE_DNS_AAAA, false, IMMURE_ANSWER_GIVEN, 0, 0 },
		{ "a.example", IMMURE_DNS_AAAA, true, IMMURE_ANSWER_GIVEN, 0, 1 },
		{ "a.example", IMMURE_DNS_TXT, true, IMMURE_ANSWER_GIVEN, 0, 0 },
		{ "a.example", IMMURE_DNS_HTTPS, true, IMMURE_ANSWER_GIVEN, 0, 0 },
		{ "a.example", IMMURE_DNS_SVCB, true, IMMURE_ANSWER_GIVEN, 0, 0 },
		{ "a.example", IMMURE_DNS_ANY, true, IMMURE_ANSWER_GIVEN, 0, 0 },
		{ "b.example", IMMURE_DNS_A, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "b.example", IMMURE_DNS_TXT, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "secret.a.example", IMMURE_DNS_A, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "denied.wild.example", IMMURE_DNS_A, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "wild.example", IMMURE_DNS_A, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "x.wild.example", IMMURE_DNS_A, true, IMMURE_ANSWER_GIVEN, 0, 1 },
		{ "toolong.wild.example", IMMURE_DNS_A, true, IMMURE_ANSWER_BOUNDED, 3, 0 },
		{ "abcde.wild.example", IMMURE_DNS_A, true, IMMURE_ANSWER_BOUNDED, 2, 0 },
		{ "1.0.19.198.in-addr.arpa", IMMURE_DNS_PTR, true, IMMURE_ANSWER_GIVEN, 0, 1 },
		{ "9.0.19.198.in-addr.arpa", IMMURE_DNS_PTR, true, IMMURE_ANSWER_GIVEN, 3, 0 },
		{ "8.8.8.8.in-addr.arpa", IMMURE_DNS_PTR, true, IMMURE_ANSWER_GIVEN, 3, 0 },
		{ "8.8.8.8.in-addr.arpa", IMMURE_DNS_TXT, true, IMMURE_ANSWER_DENIED, 3, 0 },
		{ "a.example", 252, true, IMMURE_ANSWER_REJECTED, 5, 0 },
	};
	struct immure_arena arena = IMMURE_ARENA_INIT;
	struct immure_strv allow = { 0 }, deny = { 0 };
	struct immure_synth_config config;
	struct immure_complaint c;
	struct immure_synth *s;
	struct immure_judge j;

	(void)state;
	assert_true(immure_strv_add(&arena, &allow, "a.example"));
	assert_true(immure_strv_add(&arena, &allow, "*.wild.example"));
	assert_true(immure_strv_add(&arena, &deny, "denied.wild.example"));
	assert_int_equal(immure_judge_init(&arena, &allow, &deny, &j, &c), 0);
	immure_synth_defaults(&config);
	config.wild_label_bytes = config.wild_burst_bytes = 5;
	assert_int_equal(immure_synth_new(&config, &s), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		unsigned char msg[IMMURE_DNS_QUERY_MAX], out[IMMURE_DNS_RESPONSE_MAX];
		char name[IMMURE_HOST_NAME_MAX + 1];
		int len = immure_dns_ask(7, t[i].name, t[i].type, msg, sizeof(msg));
		enum immure_answer_outcome k;
		struct immure_verdict v;
		size_t n = 0;

		assert_true(len > 0);
		k = immure_answer(&j, s, t[i].six, msg, (size_t)len, 0, out, &n, name, &v);
		if (k != t[i].outcome || n < 12 || (out[3] & 15) != t[i].rcode ||
		    out[7] != t[i].answers)
			fail_msg("%zu: %s: %d, rcode %d, answers %d", i, t[i].name, (int)k, out[3] & 15,
				 out[7]);
		assert_string_equal(name, t[i].name);
		if (k == IMMURE_ANSWER_DENIED || k == IMMURE_ANSWER_BOUNDED)
			assert_true(v.why[0] != '\0');
		/* A response is never answered. */
		msg[2] |= 0x80;
		assert_int_equal(immure_answer(&j, s, true, msg, (size_t)len, 0, out, &n, name, &v),
				 IMMURE_ANSWER_SILENT);
	}
	/* Only what was answered with an address is in the table. */
	assert_int_equal(immure_synth_count(s), 2);
	immure_synth_free(s);
	immure_arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(questions) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
