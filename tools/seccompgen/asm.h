/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An assembler for classic BPF with labels.
 *
 * A conditional jump reaches 255 instructions. Where a target is farther away,
 * the assembler puts a stepping stone right behind the jump: a copy of the
 * target when that is a return, else an unconditional jump, which reaches all.
 */
#ifndef SECCOMPGEN_ASM_H
#define SECCOMPGEN_ASM_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

enum { ASM_MAX = 16384, ASM_NEXT = -1 };

struct asm_insn {
	uint16_t code;
	uint32_t k;
	int jt, jf;             /* labels, or ASM_NEXT */
	unsigned char stones;   /* 1: for jt, 2: for jf */
};

struct asm_unit {
	struct asm_insn insns[ASM_MAX];
	size_t n;
	int labels[ASM_MAX];    /* index of an instruction; -1 = not placed yet */
	int labels_n;
};

struct asm_unit *asm_new(void);
int asm_label(struct asm_unit *u);
void asm_place(struct asm_unit *u, int label);
void asm_emit(struct asm_unit *u, uint16_t code, uint32_t k);
void asm_jump(struct asm_unit *u, uint16_t code, uint32_t k, int jt, int jf);
/* Number of instructions written to out, at most max; dies when it is more. */
size_t asm_finish(struct asm_unit *u, struct sock_filter *out, size_t max);

#endif
