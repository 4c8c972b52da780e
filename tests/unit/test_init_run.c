/* SPDX-License-Identifier: Apache-2.0 */
/* A request to init: what goes in comes out, what is not a request is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fdmsg.h"
#include "init/run.h"

static const char *const plan_env[] = { "HOME=/h", "LD_PRELOAD=x", "PATH=/bin" };

static struct {
	struct immure_init_run head;
	char blob[IMMURE_RUN_INLINE_MAX];
} message;

static ssize_t carry(struct immure_run_spec *spec, int *fds, size_t *n)
{
	int pair[2];
	ssize_t len;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(immure_run_send(pair[0], spec, 0), 0);
	len = immure_fdmsg_receive(pair[1], &message, sizeof(message), fds, IMMURE_RUN_FDS, n, 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
	return len;
}

static void there_and_back(void **state)
{
	static const char *const argv[] = { "prog", "", "a b", "\xff", NULL };
	static const char *const env[] = { "HOME=/other", "NEW=1", NULL };
	struct immure_run_spec spec = { .argv = argv, .env = env, .cwd = "/w", .stdio = { 0, -1, 2 } };
	struct immure_run_strings s;
	const char *v[64], *name;
	int fds[IMMURE_RUN_FDS];
	size_t n;

	(void)state;
	spec.head.id = 77;
	assert_true(carry(&spec, fds, &n) > (ssize_t)sizeof(struct immure_init_run));
	assert_int_equal(n, 2);
	immure_close_all(fds, n);
	assert_int_equal(message.head.id, 77);
	assert_int_equal(message.head.flags, IMMURE_RUNF_NULL_OUT);
	assert_int_equal(immure_run_parse(&message.head, message.blob, plan_env, 3, v, &s, &name), 0);
	assert_string_equal(s.cwd, "/w");
	for (int i = 0; i < 4; i++)
		assert_string_equal(s.argv[i], argv[i]);
	assert_null(s.argv[4]);
	assert_string_equal(s.envp[0], "HOME=/other");
	assert_string_equal(s.envp[1], "NEW=1");
	assert_string_equal(s.envp[2], "LD_PRELOAD=x");
	assert_string_equal(s.envp[3], "PATH=/bin");
	assert_null(s.envp[4]);
}

static int judged(const char *entry)
{
	const char *const argv[] = { "x", NULL }, *const env[] = { entry, NULL };
	struct immure_run_spec spec = { .argv = argv, .env = env, .stdio = { -1, -1, -1 } };
	struct immure_run_strings s;
	const char *v[64], *name;
	int fds[IMMURE_RUN_FDS];
	size_t n;

	(void)carry(&spec, fds, &n);
	immure_close_all(fds, n);
	return immure_run_parse(&message.head, message.blob, plan_env, 3, v, &s, &name);
}

static void environment_is_the_policys(void **state)
{
	(void)state;
	assert_int_equal(judged("FINE=1"), 0);
	assert_int_equal(judged("BASH_ENV=/x"), -EACCES);
	assert_int_equal(judged("LD_AUDIT=/x"), -EACCES);
	assert_int_equal(judged("LD_PRELOAD="), 0); /* the policy sets it */
	assert_int_equal(judged("=x"), -EINVAL);
	assert_int_equal(judged("novalue"), -EINVAL);
}

static void large_ones_go_by_memfd(void **state)
{
	static const char *argv[3000];
	struct immure_run_spec spec = { .argv = argv, .stdio = { -1, -1, -1 } };
	int fds[IMMURE_RUN_FDS];
	size_t n;
	static char word[101];

	(void)state;
	memset(word, 'w', 100);
	for (size_t i = 0; i < 2000; i++)
		argv[i] = word;
	assert_int_equal(carry(&spec, fds, &n), sizeof(struct immure_init_run));
	assert_int_equal(n, 1);
	assert_true(message.head.flags & IMMURE_RUNF_MEMFD);
	assert_int_equal(message.head.blob_len, 1 + 2000 * 101);
	immure_close_all(fds, n);
}

/* Any change of a head or blob is a request or is refused; nothing is read beyond. */
static void mutations(void **state)
{
	static const char *const argv[] = { "prog", "arg", NULL }, *const env[] = { "A=1", NULL };
	struct immure_run_spec spec = { .argv = argv, .env = env, .cwd = "/", .stdio = { -1, -1, -1 } };
	struct immure_run_strings s;
	uint64_t seed = 99;
	const char *name;
	int fds[IMMURE_RUN_FDS];
	size_t n;

	(void)state;
	(void)carry(&spec, fds, &n);
	for (int i = 0; i < 200000; i++) {
		struct immure_init_run head = message.head;
		size_t len = (size_t)head.blob_len;
		char *blob = malloc(len);
		const char **v;

		memcpy(blob, message.blob, len);
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		if (seed & 1)
			blob[(seed >> 8) % len] = (char)(seed >> 40);
		if (seed & 2)
			head.argc = (uint32_t)(seed >> 16) % 6;
		if (seed & 4)
			head.envc = (uint32_t)(seed >> 24) % 6;
		if (seed & 8)
			head.blob_len = (seed >> 32) % (len + 1);
		v = malloc(immure_run_pointers(&head, 3) * sizeof(*v));
		if (immure_run_parse(&head, blob, plan_env, 3, v, &s, &name) == 0) {
			for (uint32_t k = 0; k < head.argc; k++)
				assert_in_range((uintptr_t)s.argv[k], (uintptr_t)blob,
						(uintptr_t)blob + head.blob_len);
			assert_null(s.argv[head.argc]);
		}
		free(v);
		free(blob);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back), cmocka_unit_test(environment_is_the_policys),
		cmocka_unit_test(large_ones_go_by_memfd), cmocka_unit_test(mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
