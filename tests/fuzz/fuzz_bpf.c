/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stranger's filter: whatever the checker takes must run to an end inside its
 * own bounds. The first bytes are the call, the rest the program.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "kernel/bpf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct seccomp_data call;
	struct immure_bpf_result r;
	struct sock_filter *insns;
	size_t n, at = 0;

	if (len < sizeof(call))
		return 0;
	memcpy(&call, data, sizeof(call));
	n = (len - sizeof(call)) / sizeof(*insns);
	/* a block of its own size, so that one step too far is seen */
	insns = malloc(n * sizeof(*insns) + !n);
	if (!insns)
		return 0;
	memcpy(insns, data + sizeof(call), n * sizeof(*insns));
	if (immure_bpf_check(insns, n, &at) < 0) {
		if (n && at >= n)
			abort();
	} else {
		r = immure_bpf_run(insns, n, &call);
		if (r.steps == 0 || r.steps > n)
			abort(); /* jumps only go forward */
	}
	free(insns);
	return 0;
}
