/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classic BPF as seccomp knows it: a checker with the kernel's rules and an
 * interpreter, so that a filter can be judged without being installed.
 */
#ifndef IMMURE_KERNEL_BPF_H
#define IMMURE_KERNEL_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMMURE_BPF_MAX 4096 /* instructions; the kernel's BPF_MAXINSNS */

/* 0 when the kernel would take the program as a seccomp filter, else -EINVAL
 * and, when ret_at is not NULL, the number of the offending instruction. */
int immure_bpf_check(const struct sock_filter *insns, size_t n, size_t *ret_at);

struct immure_bpf_result {
	uint32_t action;     /* what RET gave */
	uint32_t steps;      /* instructions executed */
	bool read_args;      /* looked at more than arch and number */
};

/* Runs a program that immure_bpf_check() accepted. */
struct immure_bpf_result immure_bpf_run(const struct sock_filter *insns, size_t n,
					const struct seccomp_data *data);

#endif
