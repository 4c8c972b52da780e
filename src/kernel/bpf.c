/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/bpf.h"

#include <errno.h>
#include <string.h>

/* Opcodes that the kernel lets a seccomp filter use. MOD, packet loads of other
 * widths and MSH are not among them. */
static bool is_known(uint16_t code)
{
	switch (code) {
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
	case BPF_ALU | BPF_NEG:
	case BPF_JMP | BPF_JA:
		return true;
	default:
		break;
	}
	if (code & ~(uint16_t)(7 | BPF_X | 0xf0))
		return false;
	if (BPF_CLASS(code) == BPF_ALU)
		return BPF_OP(code) <= BPF_RSH || BPF_OP(code) == BPF_XOR;
	if (BPF_CLASS(code) == BPF_JMP)
		return BPF_OP(code) != BPF_JA && BPF_OP(code) <= BPF_JSET;
	return false;
}

static bool operand_ok(const struct sock_filter *f)
{
	switch (f->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return f->k % 4 == 0 && f->k < sizeof(struct seccomp_data);
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return f->k < BPF_MEMWORDS;
	case BPF_ALU | BPF_DIV | BPF_K:
		return f->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return f->k < 32;
	default:
		return true;
	}
}

static bool jump_ok(const struct sock_filter *f, size_t left)
{
	if (BPF_CLASS(f->code) != BPF_JMP)
		return true;
	if (BPF_OP(f->code) == BPF_JA)
		return f->k < left;
	return f->jt < left && f->jf < left;
}

static void meet(uint16_t *known, size_t target, uint16_t valid)
{
	known[target] &= valid;
}

/* Scratch words may be read only after a store on every way there. */
static int check_memory(const struct sock_filter *insns, size_t n, size_t *ret_at)
{
	uint16_t known[IMMURE_BPF_MAX], valid = 0;

	memset(known, 0xff, n * sizeof(known[0]));
	for (size_t i = 0; i < n; i++) {
		const struct sock_filter *f = &insns[i];

		valid &= known[i];
		if (f->code == BPF_ST || f->code == BPF_STX) {
			valid |= (uint16_t)(1U << f->k);
		} else if (f->code == (BPF_LD | BPF_MEM) || f->code == (BPF_LDX | BPF_MEM)) {
			if (!(valid & 1U << f->k)) {
				*ret_at = i;
				return -EINVAL;
			}
		} else if (f->code == (BPF_JMP | BPF_JA)) {
			meet(known, i + 1 + f->k, valid);
			valid = 0xffff;
		} else if (BPF_CLASS(f->code) == BPF_JMP) {
			meet(known, i + 1 + f->jt, valid);
			meet(known, i + 1 + f->jf, valid);
			valid = 0xffff;
		}
	}
	return 0;
}

int immure_bpf_check(const struct sock_filter *insns, size_t n, size_t *ret_at)
{
	size_t at = 0;

	if (!ret_at)
		ret_at = &at;
	*ret_at = 0;
	if (n == 0 || n > IMMURE_BPF_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		const struct sock_filter *f = &insns[i];

		*ret_at = i;
		if (!is_known(f->code) || !operand_ok(f) || !jump_ok(f, n - i - 1))
			return -EINVAL;
	}
	if (BPF_CLASS(insns[n - 1].code) != BPF_RET)
		return -EINVAL;
	return check_memory(insns, n, ret_at);
}

/* false: division by zero, which ends the program with 0 (kill the thread). */
static bool alu(uint16_t code, uint32_t b, uint32_t *a)
{
	switch (BPF_OP(code)) {
	case BPF_ADD: *a += b; break;
	case BPF_SUB: *a -= b; break;
	case BPF_MUL: *a *= b; break;
	case BPF_AND: *a &= b; break;
	case BPF_OR: *a |= b; break;
	case BPF_XOR: *a ^= b; break;
	case BPF_LSH: *a <<= b & 31; break; /* by X: the kernel masks too */
	case BPF_RSH: *a >>= b & 31; break;
	case BPF_NEG: *a = -*a; break;
	case BPF_DIV:
		if (b == 0)
			return false;
		*a /= b;
		break;
	default: return false;
	}
	return true;
}

static bool test(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ: return a == b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	default: return a & b; /* JSET */
	}
}

static uint32_t word(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t v;

	memcpy(&v, (const char *)data + offset, sizeof(v));
	return v;
}

struct immure_bpf_result immure_bpf_run(const struct sock_filter *insns, size_t n,
					const struct seccomp_data *data)
{
	struct immure_bpf_result r = { 0 };
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &insns[pc];
		uint32_t b = BPF_SRC(f->code) == BPF_X ? x : f->k;

		r.steps++;
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = word(data, f->k);
			r.read_args |= f->k >= offsetof(struct seccomp_data, instruction_pointer);
			continue;
		case BPF_LD | BPF_W | BPF_LEN: a = sizeof(*data); continue;
		case BPF_LDX | BPF_W | BPF_LEN: x = sizeof(*data); continue;
		case BPF_LD | BPF_IMM: a = f->k; continue;
		case BPF_LDX | BPF_IMM: x = f->k; continue;
		case BPF_LD | BPF_MEM: a = mem[f->k]; continue;
		case BPF_LDX | BPF_MEM: x = mem[f->k]; continue;
		case BPF_ST: mem[f->k] = a; continue;
		case BPF_STX: mem[f->k] = x; continue;
		case BPF_MISC | BPF_TAX: x = a; continue;
		case BPF_MISC | BPF_TXA: a = x; continue;
		case BPF_RET | BPF_K: r.action = f->k; return r;
		case BPF_RET | BPF_A: r.action = a; return r;
		case BPF_JMP | BPF_JA: pc += f->k; continue;
		default: break;
		}
		if (BPF_CLASS(f->code) == BPF_JMP)
			pc += test(f->code, a, b) ? f->jt : f->jf;
		else if (!alu(f->code, b, &a))
			break;
	}
	r.action = SECCOMP_RET_KILL_THREAD;
	return r;
}
