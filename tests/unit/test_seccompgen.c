/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator on policies that the project does not have: so long that jumps
 * do not reach, so ragged that no two neighbours agree, all conditions.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../tools/seccompgen/asm.h"
#include "../../tools/seccompgen/compile.h"
#include "../../tools/seccompgen/policy.h"
#include "kernel/bpf.h"

enum { CALLS = 500 };

static const struct machine machine = { "x86_64", AUDIT_ARCH_X86_64, true };

static uint64_t state = UINT64_C(88172645463325252);

static uint32_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 11);
}

static uint32_t ask(const struct sock_filter *f, size_t n, uint32_t nr, const uint64_t args[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64 };

	memcpy(d.args, args, sizeof(d.args));
	return immure_bpf_run(f, n, &d).action;
}

/* One clause of the reference: arg0 between lo and hi gives EPERM. */
struct reference {
	uint32_t action;  /* 0: by range */
	uint32_t lo, hi;
};

static void fill(struct policy *p, struct call_table *t, struct reference *ref, int ruled_percent)
{
	static const uint32_t actions[] = { SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM,
					    SECCOMP_RET_ERRNO | ENOSYS };

	*p = (struct policy){ .table = t, .default_action = SECCOMP_RET_ERRNO | ENOSYS };
	t->n = CALLS;
	for (int i = 0; i < CALLS; i++) {
		struct decision *d = &p->decisions[i];

		(void)snprintf(t->calls[i].name, sizeof(t->calls[i].name), "call%d", i);
		t->calls[i].nr = i;
		d->decided = true;
		ref[i] = (struct reference){ actions[draw() % 3], 0, 0 };
		d->action = ref[i].action;
		if (draw() % 100 >= (uint32_t)ruled_percent)
			continue;
		ref[i] = (struct reference){ 0, draw() % 50, 50 + draw() % 50 };
		d->clauses = calloc(2, sizeof(*d->clauses));
		assert_non_null(d->clauses);
		d->clauses_n = 2;
		d->clauses[0] = (struct clause){
			.action = SECCOMP_RET_ERRNO | EPERM, .conds_n = 1,
			.conds[0] = { .arg = 0, .op = COND_IS, .mask = UINT32_MAX, .values_n = 1,
				      .values[0] = { ref[i].lo, ref[i].hi } } };
		d->clauses[1].action = SECCOMP_RET_ALLOW;
	}
}

/* Enough rules that outcomes lie more than 255 instructions apart. */
static void long_and_ragged(void **unused)
{
	static struct sock_filter out[BPF_MAXINSNS];
	static struct policy p;
	static struct call_table t;
	struct reference ref[CALLS];
	struct variant v = { .name = "v" };

	(void)unused;
	for (int round = 0; round < 6; round++) {
		size_t n;

		fill(&p, &t, ref, round * 4);
		n = compile_filter(&p, &v, &machine, out, BPF_MAXINSNS);
		assert_int_equal(immure_bpf_check(out, n, NULL), 0);
		if (round == 5)
			assert_true(n > 512);
		for (uint32_t nr = 0; nr < CALLS; nr++) {
			uint64_t args[6] = { 0 };

			for (args[0] = 0; args[0] < 105; args[0] += ref[nr].action ? 105 : 1) {
				uint32_t want = ref[nr].action;

				if (!want)
					want = args[0] >= ref[nr].lo && args[0] <= ref[nr].hi
						       ? SECCOMP_RET_ERRNO | EPERM
						       : SECCOMP_RET_ALLOW;
				assert_int_equal(ask(out, n, nr, args), want);
			}
		}
		policy_free(&p);
	}
}

/* Both ways of a jump too far, and to things that are no returns. */
static void stepping_stones(void **unused)
{
	for (int far_t = 0; far_t < 2; far_t++) {
		for (int far_f = 0; far_f < 2; far_f++) {
			struct asm_unit *u = asm_new();
			struct sock_filter out[1024];
			int near = asm_label(u), far = asm_label(u);
			size_t n;

			asm_emit(u, BPF_LD | BPF_W | BPF_ABS, 0);
			asm_jump(u, BPF_JMP | BPF_JEQ | BPF_K, 5, far_t ? far : near,
				 far_f ? far : near);
			asm_place(u, near);
			for (int i = 0; i < 300; i++)
				asm_emit(u, BPF_ALU | BPF_ADD | BPF_K, 1);
			asm_emit(u, BPF_RET | BPF_A, 0);
			asm_place(u, far);
			asm_emit(u, BPF_ALU | BPF_ADD | BPF_K, 1000);
			asm_emit(u, BPF_RET | BPF_A, 0);
			n = asm_finish(u, out, 1024);
			assert_int_equal(n, 305 + (size_t)far_t + (size_t)far_f);
			assert_int_equal(immure_bpf_check(out, n, NULL), 0);
			assert_int_equal(ask(out, n, 5, (uint64_t[6]){ 0 }),
					 far_t ? 1005 : 305);
			assert_int_equal(ask(out, n, 6, (uint64_t[6]){ 0 }),
					 far_f ? 1006 : 306);
			free(u);
		}
	}
	(void)unused;
}

static struct call_table *small_table(void)
{
	static struct call_table t = { .n = 2, .calls = { { "first", 1 }, { "second", 2 } } };

	return &t;
}

static void write_text(char *path, const char *text)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static size_t build(const char *text, struct sock_filter *out)
{
	static struct policy p;
	char path[] = "/tmp/immure-policy-XXXXXX";
	size_t n;

	write_text(path, text);
	policy_read(&p, small_table(), path);
	(void)unlink(path);
	n = compile_filter(&p, &p.variants[0], &machine, out, BPF_MAXINSNS);
	policy_free(&p);
	assert_int_equal(immure_bpf_check(out, n, NULL), 0);
	return n;
}

static void conditions(void **unused)
{
	static const struct {
		const char *when;
		uint64_t yes[2], no[2]; /* values of arg1 */
	} cases[] = {
		{ "arg1 is 5", { 5, 0x900000005 }, { 4, 6 } },
		{ "arg1 not 5", { 4, 0x500000000 }, { 5, 0x100000005 } },
		{ "arg1 is 1 3..5 9", { 1, 4 }, { 2, 6 } },
		{ "arg1 is 1 3..5 9", { 3, 9 }, { 0, 10 } },
		{ "arg1 not 0..2 0xfffffff0..0xffffffff", { 3, 0xffffffef }, { 0, 0xffffffff } },
		{ "arg1&0xf0 is 0x30", { 0x30, 0xf3f }, { 0x3, 0x70 } },
		{ "arg1&0xf0 not 0x30", { 0x3, 0x70 }, { 0x30, 0xf3f } },
		{ "arg1 has 6", { 2, 0xc }, { 1, 0x600000000 } },
		{ "arg1 lacks 6", { 1, 0x600000000 }, { 2, 0xc } },
		{ "arg1:64 has 0x8000000000000001", { 1, 0x8000000000000000 }, { 2, 0x80000000 } },
		{ "arg1:64 has 0x100000000", { 0x100000000, 0x1ffffffff }, { 0, 0xffffffff } },
		{ "arg1:64 lacks 0x8000000000000001", { 2, 0x80000000 },
		  { 1, 0x8000000000000000 } },
		{ "arg1 is 5 and arg1&4 is 4 and arg0 is 0", { 5, 0xf00000005 }, { 4, 1 } },
		{ "arg1&1 is 1 and arg1&2 is 2 and arg1 has 4", { 7, 15 }, { 3, 5 } },
	};
	static struct sock_filter out[BPF_MAXINSNS];

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		size_t n;

		/* the rule behind it makes a wrongly remembered accumulator visible */
		(void)snprintf(text, sizeof(text), "default ENOSYS\nfamilies v 1\nallow second\n"
			       "rule first EPERM when %s\nrule first EINVAL when arg1 is 4\n"
			       "rule first ALLOW\n", cases[i].when);
		n = build(text, out);
		for (int k = 0; k < 2; k++) {
			uint64_t yes[6] = { 0, cases[i].yes[k] }, no[6] = { 0, cases[i].no[k] };
			uint32_t otherwise = (uint32_t)no[1] == 4 ? SECCOMP_RET_ERRNO | EINVAL
								  : SECCOMP_RET_ALLOW;

			if (ask(out, n, 1, yes) != (SECCOMP_RET_ERRNO | EPERM) ||
			    ask(out, n, 1, no) != otherwise)
				fail_msg("%s, value %d", cases[i].when, k);
			assert_int_equal(ask(out, n, 2, yes), SECCOMP_RET_ALLOW);
			assert_int_equal(ask(out, n, 3, yes), SECCOMP_RET_ERRNO | ENOSYS);
		}
	}
}

/* Mistakes in a policy must stop the build. */
static void mistakes_are_fatal(void **unused)
{
	static const char *const texts[] = {
		"families v 1\n",
		"default ENOSYS\n",
		"default ENOSYS\nfamilies v 1\nallow third\n",
		"default ENOSYS\nfamilies v 1\nallow first first\n",
		"default ENOSYS\nfamilies v 1\nallow first\nerrno EPERM first\n",
		"default ENOSYS\nfamilies v 1\nallow first\nrule first ALLOW\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW\nrule first EPERM when arg0 is 1\n",
		"default ENOSYS\nfamilies v 1\nrule first EPERM when arg0 is 1\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg6 is 1\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is 1 and\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is 1 1..2\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is 2..1\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 has 0\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 has 0x100000000\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is 0x100000000\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first ALLOW when arg0 is NONSENSE\nrule first EPERM\n",
		"default ENOSYS\nfamilies v 1\nrule first MAYBE\n",
		"default ENOSYS\nfamilies v 1\nreset first\n",
		"default ENOSYS\nfamilies v 64\n",
		"default ENOSYS\nfamilies v 1\ncomplete\nallow first\n",
		"default ENOSYS\nfamilies v 1\nconst A 1\nconst A 2\n",
		"default ENOSYS\nfamilies v 1\ninclude nowhere.policy\n",
		"default ENOSYS\nfamilies v 1\nwhatever\n",
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		static struct policy p;
		char path[] = "/tmp/immure-policy-XXXXXX";
		int status;
		pid_t pid;

		write_text(path, texts[i]);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			(void)close(2);
			policy_read(&p, small_table(), path);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		(void)unlink(path);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
			fail_msg("was taken:\n%s", texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_and_ragged),
		cmocka_unit_test(stepping_stones),
		cmocka_unit_test(conditions),
		cmocka_unit_test(mistakes_are_fatal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
