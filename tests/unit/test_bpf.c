/* SPDX-License-Identifier: Apache-2.0 */
/* The checker against the kernel's own verdict, and the interpreter. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/bpf.h"
#include "kernel/seccomp.h"

#define RET_ALLOW { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW }
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Would the kernel take it? Asked in a child, which ends right after. */
static bool kernel_takes(const struct sock_filter *insns, size_t n)
{
	struct immure_filter f = { insns, (uint16_t)n };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(2);
		_exit(immure_filter_install(&f, 0) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* killed by its own filter: it was taken */
	if (WIFSIGNALED(status))
		return true;
	assert_int_not_equal(WEXITSTATUS(status), 2);
	return WEXITSTATUS(status) == 0;
}

/* Every opcode alone, then a return: checker and kernel agree. */
static void opcodes_as_the_kernel(void **unused)
{
	(void)unused;
	for (unsigned int code = 0; code < 0x120; code++) {
		struct sock_filter p[] = { { BPF_ST, 0, 0, 0 }, { (uint16_t)code, 0, 0, 0 },
					   RET_ALLOW };
		size_t at;

		if (immure_bpf_check(p, COUNT(p), &at) == 0) {
			if (!kernel_takes(p, COUNT(p)))
				fail_msg("opcode %#x: the kernel refuses it", code);
		} else if (kernel_takes(p, COUNT(p))) {
			fail_msg("opcode %#x: the kernel takes it", code);
		}
	}
}

static void operands_as_the_kernel(void **unused)
{
	static const struct {
		struct sock_filter insn;
		int ok;
	} cases[] = {
		{ { BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 }, 1 },
		{ { BPF_LD | BPF_W | BPF_ABS, 0, 0, 60 }, 1 },
		{ { BPF_LD | BPF_W | BPF_ABS, 0, 0, 64 }, 0 },
		{ { BPF_LD | BPF_W | BPF_ABS, 0, 0, 2 }, 0 },
		{ { BPF_LD | BPF_W | BPF_ABS, 0, 0, 0xfffffffc }, 0 },
		{ { BPF_LD | BPF_MEM, 0, 0, 15 }, 0 }, /* never stored */
		{ { BPF_ST, 0, 0, 15 }, 1 },
		{ { BPF_ST, 0, 0, 16 }, 0 },
		{ { BPF_STX, 0, 0, 0x80000000 }, 0 },
		{ { BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0 }, 0 },
		{ { BPF_ALU | BPF_DIV | BPF_K, 0, 0, 1 }, 1 },
		{ { BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0 }, 1 },
		{ { BPF_ALU | BPF_LSH | BPF_K, 0, 0, 31 }, 1 },
		{ { BPF_ALU | BPF_LSH | BPF_K, 0, 0, 32 }, 0 },
		{ { BPF_ALU | BPF_RSH | BPF_K, 0, 0, 32 }, 0 },
		{ { BPF_JMP | BPF_JA, 0, 0, 0 }, 1 },
		{ { BPF_JMP | BPF_JA, 0, 0, 1 }, 0 },
		{ { BPF_JMP | BPF_JA, 0, 0, 0xffffffff }, 0 },
		{ { BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 7 }, 1 },
		{ { BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 7 }, 0 },
		{ { BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 7 }, 0 },
		{ { BPF_JMP | BPF_JSET | BPF_X, 255, 0, 0 }, 0 },
	};

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sock_filter p[] = { cases[i].insn, RET_ALLOW };
		size_t at = 99;

		if ((immure_bpf_check(p, 2, &at) == 0) != cases[i].ok)
			fail_msg("case %zu: expected %d", i, cases[i].ok);
		if (!cases[i].ok)
			assert_int_equal(at, 0);
		if (kernel_takes(p, 2) != cases[i].ok)
			fail_msg("case %zu: the kernel thinks otherwise", i);
	}
}

static void shape(void **unused)
{
	static struct sock_filter many[IMMURE_BPF_MAX + 1];
	struct sock_filter no_ret[] = { { BPF_LD | BPF_IMM, 0, 0, 0 } };

	(void)unused;
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = (struct sock_filter)RET_ALLOW;
	assert_int_equal(immure_bpf_check(many, 0, NULL), -EINVAL);
	assert_int_equal(immure_bpf_check(many, 1, NULL), 0);
	assert_int_equal(immure_bpf_check(many, IMMURE_BPF_MAX, NULL), 0);
	assert_int_equal(immure_bpf_check(many, IMMURE_BPF_MAX + 1, NULL), -EINVAL);
	assert_int_equal(immure_bpf_check(no_ret, 1, NULL), -EINVAL);
}

/* A word that is stored on one way only may not be read where both meet. */
static void memory_on_every_way(void **unused)
{
	struct sock_filter p[] = {
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 5 },
		{ BPF_ST, 0, 0, 3 },
		{ BPF_LD | BPF_MEM, 0, 0, 3 },
		{ BPF_RET | BPF_A, 0, 0, 0 },
	};
	size_t at;

	(void)unused;
	assert_int_equal(immure_bpf_check(p, COUNT(p), &at), -EINVAL);
	assert_int_equal(at, 2);
	assert_false(kernel_takes(p, COUNT(p)));
	p[0].jf = 0;
	assert_int_equal(immure_bpf_check(p, COUNT(p), &at), 0);
	assert_true(kernel_takes(p, COUNT(p)));
}

static uint32_t run(const struct sock_filter *p, size_t n)
{
	const struct seccomp_data d = { .nr = 7, .arch = 0x1234,
					.instruction_pointer = 0x1122334455667788,
					.args = { 0xaaaaaaaabbbbbbbb, 1, 2, 3, 4, 0x99 } };

	assert_int_equal(immure_bpf_check(p, n, NULL), 0);
	return immure_bpf_run(p, n, &d).action;
}

/* A starts as a, X as x; what OP makes of A. */
static uint32_t alu(uint16_t op, uint32_t a, uint32_t x)
{
	struct sock_filter p[] = { { BPF_LDX | BPF_IMM, 0, 0, x },
				   { BPF_LD | BPF_IMM, 0, 0, a },
				   { (uint16_t)(BPF_ALU | op), 0, 0, 0 },
				   { BPF_RET | BPF_A, 0, 0, 0 } };

	return run(p, COUNT(p));
}

static void arithmetic(void **unused)
{
	(void)unused;
	assert_int_equal(alu(BPF_ADD | BPF_X, 0xffffffff, 2), 1);
	assert_int_equal(alu(BPF_SUB | BPF_X, 1, 2), 0xffffffff);
	assert_int_equal(alu(BPF_MUL | BPF_X, 0x10000, 0x10001), 0x10000);
	assert_int_equal(alu(BPF_DIV | BPF_X, 7, 2), 3);
	assert_int_equal(alu(BPF_DIV | BPF_X, 7, 0), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(alu(BPF_AND | BPF_X, 0xf0f, 0xff), 0xf);
	assert_int_equal(alu(BPF_OR | BPF_X, 0xf00, 0xff), 0xfff);
	assert_int_equal(alu(BPF_XOR | BPF_X, 0xf0f, 0xff), 0xff0);
	assert_int_equal(alu(BPF_LSH | BPF_X, 1, 33), 2);
	assert_int_equal(alu(BPF_RSH | BPF_X, 0x80000000, 31), 1);
	assert_int_equal(alu(BPF_NEG, 1, 0), 0xffffffff);
}

static void loads_and_stores(void **unused)
{
	struct sock_filter p[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 20 }, /* upper half of args[0] */
		{ BPF_ST, 0, 0, 2 },
		{ BPF_LDX | BPF_MEM, 0, 0, 2 },
		{ BPF_MISC | BPF_TXA, 0, 0, 0 },
		{ BPF_MISC | BPF_TAX, 0, 0, 0 },
		{ BPF_STX, 0, 0, 0 },
		{ BPF_LD | BPF_W | BPF_LEN, 0, 0, 0 },
		{ BPF_LD | BPF_MEM, 0, 0, 0 },
		{ BPF_RET | BPF_A, 0, 0, 0 },
	};

	(void)unused;
	assert_int_equal(run(p, COUNT(p)), 0xaaaaaaaa);
	p[0].k = 16;
	assert_int_equal(run(p, COUNT(p)), 0xbbbbbbbb);
	p[0].k = 8;
	assert_int_equal(run(p, COUNT(p)), 0x55667788);
	p[0].k = 4;
	assert_int_equal(run(p, COUNT(p)), 0x1234);
	p[8] = (struct sock_filter){ BPF_RET | BPF_K, 0, 0, 5 };
	assert_int_equal(run(p, COUNT(p)), 5);
}

static uint32_t jump(uint16_t op, uint32_t a, uint32_t k)
{
	struct sock_filter p[] = { { BPF_LD | BPF_IMM, 0, 0, a },
				   { BPF_LDX | BPF_IMM, 0, 0, k },
				   { (uint16_t)(BPF_JMP | op), 1, 0, k },
				   { BPF_RET | BPF_K, 0, 0, 0 },
				   { BPF_RET | BPF_K, 0, 0, 1 } };

	return run(p, COUNT(p));
}

static void jumps(void **unused)
{
	(void)unused;
	for (uint16_t src = BPF_K; src <= BPF_X; src = (uint16_t)(src + BPF_X)) {
		assert_int_equal(jump(BPF_JEQ | src, 5, 5), 1);
		assert_int_equal(jump(BPF_JEQ | src, 5, 6), 0);
		assert_int_equal(jump(BPF_JGT | src, 5, 5), 0);
		assert_int_equal(jump(BPF_JGT | src, 0x80000000, 5), 1);
		assert_int_equal(jump(BPF_JGE | src, 5, 5), 1);
		assert_int_equal(jump(BPF_JGE | src, 4, 5), 0);
		assert_int_equal(jump(BPF_JSET | src, 6, 2), 1);
		assert_int_equal(jump(BPF_JSET | src, 6, 8), 0);
	}
}

static void arguments_are_noticed(void **unused)
{
	const struct seccomp_data d = { .nr = 1 };
	struct sock_filter p[] = { { BPF_LD | BPF_W | BPF_ABS, 0, 0, 4 }, RET_ALLOW };

	(void)unused;
	assert_false(immure_bpf_run(p, 2, &d).read_args);
	assert_int_equal(immure_bpf_run(p, 2, &d).steps, 2);
	p[0].k = 16;
	assert_true(immure_bpf_run(p, 2, &d).read_args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opcodes_as_the_kernel),
		cmocka_unit_test(operands_as_the_kernel),
		cmocka_unit_test(shape),
		cmocka_unit_test(memory_on_every_way),
		cmocka_unit_test(arithmetic),
		cmocka_unit_test(loads_and_stores),
		cmocka_unit_test(jumps),
		cmocka_unit_test(arguments_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
