/* SPDX-License-Identifier: Apache-2.0 */
#include "asm.h"

#include <stdbool.h>
#include <stdlib.h>

#include "policy.h"

enum { STONE_T = 1, STONE_F = 2, REACH = 255 };

struct asm_unit *asm_new(void)
{
	struct asm_unit *u = calloc(1, sizeof(*u));

	if (!u)
		die("asm", 0, "out of memory");
	return u;
}

int asm_label(struct asm_unit *u)
{
	if (u->labels_n == ASM_MAX)
		die("asm", 0, "too many labels");
	u->labels[u->labels_n] = -1;
	return u->labels_n++;
}

void asm_place(struct asm_unit *u, int label)
{
	if (u->labels[label] != -1)
		die("asm", 0, "label placed twice");
	u->labels[label] = (int)u->n;
}

void asm_jump(struct asm_unit *u, uint16_t code, uint32_t k, int jt, int jf)
{
	if (u->n == ASM_MAX)
		die("asm", 0, "too long");
	u->insns[u->n++] = (struct asm_insn){ .code = code, .k = k, .jt = jt, .jf = jf };
}

void asm_emit(struct asm_unit *u, uint16_t code, uint32_t k)
{
	asm_jump(u, code, k, ASM_NEXT, ASM_NEXT);
}

static bool is_conditional(const struct asm_insn *i)
{
	return BPF_CLASS(i->code) == BPF_JMP && BPF_OP(i->code) != BPF_JA;
}

static size_t length(const struct asm_insn *i)
{
	return 1 + !!(i->stones & STONE_T) + !!(i->stones & STONE_F);
}

static size_t target(const struct asm_unit *u, size_t from, int label)
{
	int at = label == ASM_NEXT ? (int)from + 1 : u->labels[label];

	if (at <= (int)from || (size_t)at >= u->n)
		die("asm", 0, "jump from %zu to nowhere or backwards", from);
	return (size_t)at;
}

/* Adds stones until every jump reaches; positions only grow, so it ends. */
static void settle(struct asm_unit *u, size_t *pos)
{
	bool changed;

	do {
		changed = false;
		pos[0] = 0;
		for (size_t i = 0; i < u->n; i++)
			pos[i + 1] = pos[i] + length(&u->insns[i]);
		for (size_t i = 0; i < u->n; i++) {
			struct asm_insn *in = &u->insns[i];
			unsigned char need = in->stones;

			if (!is_conditional(in))
				continue;
			if (pos[target(u, i, in->jt)] - pos[i] - 1 > REACH)
				need |= STONE_T;
			if (pos[target(u, i, in->jf)] - pos[i] - 1 > REACH)
				need |= STONE_F;
			changed |= need != in->stones;
			in->stones = need;
		}
	} while (changed);
}

static struct sock_filter stone(const struct asm_unit *u, const size_t *pos, size_t at, size_t to)
{
	const struct asm_insn *t = &u->insns[to];

	if (BPF_CLASS(t->code) == BPF_RET)
		return (struct sock_filter){ t->code, 0, 0, t->k };
	return (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, (uint32_t)(pos[to] - at - 1) };
}

size_t asm_finish(struct asm_unit *u, struct sock_filter *out, size_t max)
{
	size_t *pos = calloc(ASM_MAX + 1, sizeof(*pos));
	size_t total;

	if (!pos)
		die("asm", 0, "out of memory");
	settle(u, pos);
	total = pos[u->n];
	if (total > max)
		die("asm", 0, "%zu instructions, at most %zu", total, max);
	for (size_t i = 0; i < u->n; i++) {
		const struct asm_insn *in = &u->insns[i];
		size_t at = pos[i], next = at + 1, to;
		struct sock_filter *f = &out[at];

		*f = (struct sock_filter){ in->code, 0, 0, in->k };
		if (BPF_CLASS(in->code) != BPF_JMP)
			continue;
		to = target(u, i, in->jt);
		if (!is_conditional(in)) {
			f->k = (uint32_t)(pos[to] - at - 1);
			continue;
		}
		f->jt = (uint8_t)(pos[to] - at - 1);
		if (in->stones & STONE_T) {
			f->jt = (uint8_t)(next - at - 1);
			out[next] = stone(u, pos, next, to);
			next++;
		}
		to = target(u, i, in->jf);
		f->jf = (uint8_t)(pos[to] - at - 1);
		if (in->stones & STONE_F) {
			f->jf = (uint8_t)(next - at - 1);
			out[next] = stone(u, pos, next, to);
		}
	}
	free(pos);
	return total;
}
