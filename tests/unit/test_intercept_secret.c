/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "intercept/attribution.h"
#include "intercept/secret.h"

#define VALUE "canary-0123456789"

struct fixture {
	struct immure_arena a;
	struct immure_secrets s;
};

static int add(struct fixture *f, uint32_t use, const char *header, const char *to, const char *value)
{
	struct immure_lend_secret m = { .use = use, .name = "n", .placeholder = "immure-placeholder-1" };
	int fd = memfd_create("test", 0), r;
	const char *why;

	assert_true(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	(void)strcpy(m.header, header);
	(void)strcpy(m.to, to);
	r = immure_secrets_add(&f->s, &f->a, &m, fd, &why);
	assert_int_equal(close(fd), 0);
	return r;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return !f || immure_secrets_init(&f->s);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	immure_secrets_done(&f->s);
	immure_arena_done(&f->a);
	free(f);
	return 0;
}

static struct immure_endpoint at(const char *text)
{
	struct immure_endpoint e;

	assert_int_equal(immure_endpoint_authority(&e, text, strlen(text)), 0);
	return e;
}

/* What becomes of a request; the caller frees. */
static char *rewritten(struct fixture *f, const char *to, const char *text, uint64_t *sent)
{
	static char buf[4096];
	struct immure_endpoint e = at(to);
	struct immure_http_reader r;
	struct immure_http_head h;
	char *out, *copy;
	size_t used, len;

	immure_http_reader_init(&r, buf, sizeof(buf));
	assert_int_equal(immure_http_reader_feed(&r, text, strlen(text), &used), 1);
	assert_int_equal(immure_http_head_parse(&r, &h), 0);
	assert_int_equal(immure_secrets_rewrite(&f->s, &e, &h, r.buf, r.len, sent, &out, &len), 0);
	copy = calloc(1, len + 1);
	assert_non_null(copy);
	memcpy(copy, out, len);
	free(out);
	return copy;
}

static void values_that_no_field_can_have(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "", "\n", "a\r\nX: y", "a\nb", "a\tb", " a", "a ", "a\x7f" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example", bad[i]), -EINVAL);
	assert_int_equal(add(f, IMMURE_LEND_BASIC, "", "https://h.example", "no colon"), -EINVAL);
	assert_int_equal(f->s.n, 0);
	assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example", VALUE "\r\n"), 0);
	assert_int_equal(f->s.v[0].value_len, strlen(VALUE));
}

static void one_field_of_the_right_requests(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *to, *request;
		bool goes;
	} t[] = {
#define R(host, path) "GET " path " HTTP/1.1\r\nHost: " host "\r\nauthorization: mine\r\n" \
		      "Accept-Encoding: gzip\r\nX: y\r\n\r\n"
		{ "h.example:443", R("h.example", "/v1/x"), true },
		{ "h.example:443", R("h.example", "/v2/x"), false },
		{ "h.example:443", R("h.example", "/v1/../v2"), false },
		{ "h.example:443", R("e.example", "/v1/x"), false },
		{ "h.example:8443", R("h.example:8443", "/v1/x"), false },
		{ "e.example:443", R("e.example", "/v1/x"), false },
	};

	assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example/v1/*", VALUE), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t sent = 0;
		char *out = rewritten(f, t[i].to, t[i].request, &sent);

		if (!t[i].goes) {
			assert_string_equal(out, t[i].request);
			assert_int_equal(sent, 0);
		} else {
			assert_string_equal(out, "GET /v1/x HTTP/1.1\r\nHost: h.example\r\nX: y\r\n"
					    "Accept-Encoding: identity\r\n"
					    "Authorization: Bearer " VALUE "\r\n\r\n");
			assert_int_equal(sent, 1);
		}
		free(out);
	}
}

static void each_use(void **state)
{
	struct fixture *f = *state;
	uint64_t sent = 0;
	char *out;

	assert_int_equal(add(f, IMMURE_LEND_BASIC, "", "https://a.example", "user:secret"), 0);
	assert_int_equal(add(f, IMMURE_LEND_HEADER, "X-Api-Key", "https://*.example", VALUE), -EINVAL);
	assert_int_equal(add(f, IMMURE_LEND_HEADER, "X-Api-Key", "https://a.example|GET https://b.example", VALUE), 0);
	/* The first for a field has it. */
	assert_int_equal(add(f, IMMURE_LEND_HEADER, "x-api-KEY", "https://a.example", "other"), 0);
	out = rewritten(f, "a.example:443", "GET / HTTP/1.1\r\nHost: a.example\r\nx-API-key: z\r\n\r\n", &sent);
	assert_string_equal(out, "GET / HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: identity\r\n"
			    "Authorization: Basic dXNlcjpzZWNyZXQ=\r\nX-Api-Key: " VALUE "\r\n\r\n");
	assert_int_equal(sent, 3);
	free(out);
	sent = 0;
	out = rewritten(f, "b.example:443", "PUT / HTTP/1.1\r\nHost: b.example\r\n\r\n", &sent);
	assert_null(strstr(out, VALUE));
	free(out);
}

static void a_placeholder_elsewhere(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "GET / HTTP/1.1\r\nX: immure-placeholder-1\r\n\r\n";
	struct immure_endpoint here = at("h.example:443"), other = at("h.example:8443");

	assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example", VALUE), 0);
	assert_null(immure_secrets_misplaced(&f->s, &here, text, strlen(text)));
	assert_string_equal(immure_secrets_misplaced(&f->s, &other, text, strlen(text)), "n");
	assert_null(immure_secrets_misplaced(&f->s, &other, text, 20));
}

/* However it is cut up, and nothing else is changed or kept back. */
static void what_comes_back(void **state)
{
	struct fixture *f = *state;
	static const char in[] = "a " VALUE " canary-01 canary-" VALUE VALUE " dXNlcjpzZWNyZXQ= canar",
			  want[] = "a ***************** canary-01 canary-********************************** "
				   "**************** canar";

	assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example", VALUE), 0);
	assert_int_equal(add(f, IMMURE_LEND_BASIC, "", "https://h.example", "user:secret"), 0);
	for (size_t piece = 1; piece < sizeof(in); piece++) {
		struct immure_scrub k = { .sent = 3 };
		char got[sizeof(in)] = "", *out;
		size_t n = 0, len;

		for (size_t i = 0; i < sizeof(in) - 1; i += piece) {
			size_t some = sizeof(in) - 1 - i < piece ? sizeof(in) - 1 - i : piece;

			assert_int_equal(immure_secrets_scrub(&f->s, &k, in + i, some, false, &out, &len), 0);
			memcpy(got + n, out, len);
			n += len;
			free(out);
		}
		assert_int_equal(immure_secrets_scrub(&f->s, &k, NULL, 0, true, &out, &len), 0);
		memcpy(got + n, out, len);
		n += len;
		free(out);
		assert_int_equal(n, sizeof(in) - 1);
		assert_int_equal(k.len, 0);
		if (memcmp(got, want, n) != 0)
			fail_msg("pieces of %zu: %s", piece, got);
	}
}

static void what_was_not_sent_is_let_through(void **state)
{
	struct fixture *f = *state;
	struct immure_scrub k = { .sent = 0 };
	size_t len;
	char *out;

	assert_int_equal(add(f, IMMURE_LEND_BEARER, "", "https://h.example", VALUE), 0);
	assert_int_equal(immure_secrets_scrub(&f->s, &k, VALUE, strlen(VALUE), false, &out, &len), 0);
	assert_int_equal(len, strlen(VALUE));
	assert_memory_equal(out, VALUE, len);
	free(out);
}

/* What becomes of a request where rules ask for fields of ours; "" = nothing does. */
static const char *told(const struct immure_attribution *a, const char *to, const char *text)
{
	static char buf[4096], out[4096];
	struct immure_endpoint e = at(to);
	struct immure_http_reader r;
	struct immure_http_head h;
	size_t used, len = 0;
	char *got;

	immure_http_reader_init(&r, buf, sizeof(buf));
	assert_int_equal(immure_http_reader_feed(&r, text, strlen(text), &used), 1);
	assert_int_equal(immure_http_head_parse(&r, &h), 0);
	assert_int_equal(immure_attribution_rewrite(a, &e, &h, r.buf, r.len, &got, &len), 0);
	assert_true(len < sizeof(out));
	if (got)
		memcpy(out, got, len);
	out[len] = '\0';
	free(got);
	return out;
}

static void requests_say_whose_they_are(void **state)
{
	struct fixture *f = *state;
	struct immure_strv rules = { 0 }, fields = { 0 };
	struct immure_attribution a = { .fields = &fields };
	struct immure_complaint c = { 0 };
	struct immure_judge j = { 0 };

	assert_true(immure_strv_add(&f->a, &rules, "GET https://a.example:443/x/*"));
	assert_true(immure_strv_add(&f->a, &fields, "Immure-Session: s1"));
	assert_true(immure_strv_add(&f->a, &fields, "Immure-Agent: me"));
	assert_int_equal(immure_judge_secrets(&f->a, &rules, &j, &c), 0);
	a.rules = j.secret;
	a.rules_n = j.secret_n;
#define HEAD(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n"
#define OURS "Immure-Session: s1\r\nImmure-Agent: me\r\n\r\n"
	assert_string_equal(told(&a, "a.example:443", HEAD("/x/y") "\r\n"), HEAD("/x/y") OURS);
	assert_string_equal(told(&a, "a.example:443", HEAD("/x/y") "immure-session: s2\r\nIMMURE_AGENT: you\r\n"
				 "Immure-: \r\nImmured: yes\r\nX: Immure-Agent: z\r\n\r\n"),
			    HEAD("/x/y") "Immured: yes\r\nX: Immure-Agent: z\r\n" OURS);
	assert_string_equal(told(&a, "a.example:443", HEAD("/y") "Immure-Session: s2\r\n\r\n"), "");
	assert_string_equal(told(&a, "a.example:444", HEAD("/x/y") "\r\n"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values_that_no_field_can_have, setup, teardown),
		cmocka_unit_test_setup_teardown(one_field_of_the_right_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(each_use, setup, teardown),
		cmocka_unit_test_setup_teardown(a_placeholder_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_not_sent_is_let_through, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_say_whose_they_are, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
